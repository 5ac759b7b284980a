//! A client that looks closely at every answer.
use http::{HeaderName, Method, Request, Uri};
use portcullis_core::{Body, Clock};

mod check;
mod request;
mod response;
mod rules;

pub(crate) use check::complaints;
pub use request::{TestRequest, get, request};
pub use response::TestResponse;
pub(crate) use rules::Rules;

/// Sends requests to a service in the same process, and fails the test when an answer is not as it must be.
///
/// What is checked on every answer stands in the [crate docs](crate). A header or member that is the application's own
/// is allowed by name; an application whose own errors are no problems says [`foreign_errors`](Self::foreign_errors).
///
/// ```
/// use portcullis_core::{Body, EdgeLayer, Stack};
/// use portcullis_testkit::TestClient;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), portcullis_core::ConfigErrors> {
/// # let application = tower::service_fn(async |_: http::Request<Body>| {
/// #     let answer = http::Response::builder().header("x-shop", "7").body(Body::from("a book"));
/// #     Ok::<_, std::convert::Infallible>(answer.unwrap())
/// # });
/// let service = Stack::new().layer(EdgeLayer::new()).service(application)?;
/// let client = TestClient::new(service).allow_header("x-shop");
/// let answer = client.get("/books/7").header("accept", "text/plain").send().await;
/// answer.assert_status(200);
/// assert_eq!(answer.text(), "a book");
/// client.get("/books%2F7").send().await.assert_problem("target-invalid");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct TestClient<S> {
    service: S,
    rules: Rules,
    clock: Option<Clock>,
}

impl<S> TestClient<S> {
    /// A client of `service`: any tower service, such as a finished stack or an axum `Router`.
    pub fn new(service: S) -> Self {
        Self { service, rules: Rules::default(), clock: None }
    }
    /// Allows a header that our layers never send. Default: those that they may send.
    ///
    /// # Panics
    /// When `name` is not a header name.
    #[must_use]
    #[track_caller]
    pub fn allow_header(mut self, name: &str) -> Self {
        self.rules.allow_header(name);
        self
    }
    /// Allows a member of problems that RFC 9457 does not define. Default: none.
    #[must_use]
    pub fn allow_member(mut self, name: &str) -> Self {
        self.rules.allow_member(name);
        self
    }
    /// Allows problems whose `type` begins with `prefix`: the application's own. Default: those of our registry.
    #[must_use]
    pub fn allow_problems(mut self, prefix: &str) -> Self {
        self.rules.allow_problems(prefix);
        self
    }
    /// Leaves errors alone that are no problems. Default: every 4xx and 5xx must be one.
    #[must_use]
    pub fn foreign_errors(mut self) -> Self {
        self.rules.allow_foreign_errors();
        self
    }
    /// The clock that every request begins with, as if an outer layer had set it. Default: the outermost layer's.
    ///
    /// For layers that are tested alone, on fake time: they take their clock from the context.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        Self { clock: Some(clock), ..self }
    }
}

/// Makes the methods that begin a request.
macro_rules! methods {
    ($($name:ident $method:ident)*) => {$(
        #[doc = concat!("Begins a ", stringify!($method), " request.\n\n# Panics\nWhen `target` is not a URI.")]
        #[track_caller]
        pub fn $name<U>(&self, target: U) -> TestRequest<S>
        where
            U: TryInto<Uri>,
            U::Error: std::fmt::Debug,
        {
            self.request(Method::$method, target)
        }
    )*};
}

impl<S: Clone> TestClient<S> {
    methods! { get GET head HEAD post POST put PUT patch PATCH delete DELETE options OPTIONS }

    /// Begins a request. `target` is a path with a query, or a whole URI, as HTTP/2 has it.
    ///
    /// # Panics
    /// When `target` is not a URI.
    #[track_caller]
    pub fn request<U>(&self, method: Method, target: U) -> TestRequest<S>
    where
        U: TryInto<Uri>,
        U::Error: std::fmt::Debug,
    {
        request(method, target).to(self.service.clone(), self.rules.clone(), self.clock.clone())
    }
}

/// What the checks need to know of a request after it was sent.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
}

impl Asked {
    pub(crate) fn of(request: &Request<Body>) -> Self {
        Self { method: request.method().clone(), uri: request.uri().clone() }
    }
}

impl std::fmt::Display for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.uri)
    }
}

/// Reads a header name.
#[track_caller]
fn header_name<N>(name: N) -> HeaderName
where
    N: TryInto<HeaderName>,
    N::Error: std::fmt::Debug,
{
    name.try_into()
        .unwrap_or_else(|error| crate::fail::fail(format!("not a header name: {error:?}")))
}
