//! A request, from its parts to its answer.
use std::fmt;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::panic::Location;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderName, HeaderValue, Method, Request, Response, Uri};
use http_body::Body as HttpBody;
use portcullis_core::{Body, BoxError, Clock, Connection, Context};
use serde_json::Value;
use tower_service::Service;

use super::{Asked, Rules, TestResponse, complaints, header_name};
use crate::fail::fail;
use crate::{AsUser, collect};

/// The host of a request that names none.
const DEFAULT_HOST: &str = "test.example";

/// A request in the making: of a [`TestClient`](crate::TestClient), which [`send`](Self::send) sends, or without one,
/// by [`get`] and [`request`](request()), for [`build`](Self::build).
///
/// Every request has a `Host` header, as HTTP/1.1 asks: by default the URI's authority, otherwise `test.example`.
#[must_use = "a request is sent by `send`"]
pub struct TestRequest<S = ()> {
    service: S,
    rules: Rules,
    clock: Option<Clock>,
    connection: Option<Connection>,
    request: Request<Body>,
}

/// Begins a GET request that no client sends: for a [`Contract`](crate::Contract), or to call a service by hand.
///
/// # Panics
/// When `target` is not a URI.
#[track_caller]
pub fn get<U>(target: U) -> TestRequest
where
    U: TryInto<Uri>,
    U::Error: fmt::Debug,
{
    request(Method::GET, target)
}

/// Begins a request that no client sends: for a [`Contract`](crate::Contract), or to call a service by hand.
///
/// ```
/// let request = portcullis_testkit::request(http::Method::PUT, "/books/7").as_user("alice").build();
/// assert_eq!(request.headers()["host"], "test.example");
/// ```
///
/// # Panics
/// When `target` is not a URI.
#[track_caller]
pub fn request<U>(method: Method, target: U) -> TestRequest
where
    U: TryInto<Uri>,
    U::Error: fmt::Debug,
{
    let uri =
        target.try_into().unwrap_or_else(|error| fail(format!("not a request target: {error:?}")));
    let mut request = Request::new(Body::empty());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    TestRequest { service: (), rules: Rules::default(), clock: None, connection: None, request }
}

impl TestRequest {
    pub(super) fn to<S>(self, service: S, rules: Rules, clock: Option<Clock>) -> TestRequest<S> {
        TestRequest { service, rules, clock, connection: self.connection, request: self.request }
    }
}

impl<S> TestRequest<S> {
    /// Adds a header. The same name may be added several times, `host` too.
    ///
    /// # Panics
    /// When the name is not a header name, or the value not a header value.
    #[track_caller]
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName>,
        N::Error: fmt::Debug,
        V: TryInto<HeaderValue>,
        V::Error: fmt::Debug,
    {
        let value =
            value.try_into().unwrap_or_else(|error| fail(format!("not a header value: {error:?}")));
        self.request.headers_mut().append(header_name(name), value);
        self
    }
    /// The `Host` header. Default: the URI's authority, otherwise `test.example`.
    ///
    /// # Panics
    /// When `host` is not a header value.
    #[track_caller]
    pub fn host(mut self, host: &str) -> Self {
        self.request.headers_mut().remove(HOST);
        self.header(HOST, host)
    }
    /// The body. Default: none.
    pub fn body(mut self, body: impl Into<Body>) -> Self {
        *self.request.body_mut() = body.into();
        self
    }
    /// A JSON body, with its `Content-Type`. `serde_json::json!` makes the value.
    pub fn json(mut self, value: impl Into<Value>) -> Self {
        let kind = HeaderValue::from_static("application/json");
        self.request.headers_mut().insert(CONTENT_TYPE, kind);
        self.body(value.into().to_string())
    }
    /// The address that the request comes from. Default: unknown.
    pub fn peer(self, peer: SocketAddr) -> Self {
        self.connection(Connection::new(Some(peer)))
    }
    /// The connection that the request comes on, with its TLS. Default: unknown.
    pub fn connection(self, connection: Connection) -> Self {
        Self { connection: Some(connection), ..self }
    }
    /// The clock that the request begins with, as if an outer layer had set it. Default: the outermost layer's.
    pub fn clock(self, clock: Clock) -> Self {
        Self { clock: Some(clock), ..self }
    }
    /// Who asks: a name, or an [`AsUser`]. A [`StubAuthenticateLayer`](crate::StubAuthenticateLayer) in the stack
    /// believes it. Default: nobody.
    pub fn as_user(self, user: impl Into<AsUser>) -> Self {
        self.extension(user.into())
    }
    /// A request extension, such as one that the application's server sets.
    pub fn extension<T: Clone + Send + Sync + 'static>(mut self, value: T) -> Self {
        self.request.extensions_mut().insert(value);
        self
    }

    /// The request itself.
    pub fn build(self) -> Request<Body> {
        self.split().0
    }

    fn split(self) -> (Request<Body>, S, Rules) {
        let Self { service, rules, clock, connection, mut request } = self;
        if !request.headers().contains_key(HOST) {
            let host =
                request.uri().authority().map_or(DEFAULT_HOST, |authority| authority.as_str());
            // An authority is visible ASCII.
            let host = HeaderValue::try_from(host).expect("an authority is a header value");
            request.headers_mut().insert(HOST, host);
        }
        if let Some(connection) = connection {
            request.extensions_mut().insert(connection);
        }
        // The context reads the dialect off the request, which is complete only now.
        if let Some(clock) = clock {
            Context::with_clock(&mut request, &clock);
        }
        (request, service, rules)
    }

    /// Sends the request, reads the answer to its end, and checks it.
    ///
    /// # Panics
    /// When the service or the body fails, and when the answer is not as it must be: see the [crate docs](crate).
    #[track_caller]
    pub fn send<B>(self) -> impl Future<Output = TestResponse>
    where
        S: Service<Request<Body>, Response = Response<B>>,
        S::Error: fmt::Debug,
        B: HttpBody<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        let sent_at = Location::caller();
        let (request, mut service, rules) = self.split();
        let asked = Asked::of(&request);
        async move {
            let failed = |what: &str, error: &dyn fmt::Debug| -> ! {
                fail(format!("{asked} (sent at {sent_at}): {what} failed: {error:?}"))
            };
            if let Err(error) = poll_fn(|cx| service.poll_ready(cx)).await {
                failed("the service", &error);
            }
            let (head, body) = match service.call(request).await {
                Ok(response) => response.into_parts(),
                Err(error) => failed("the service", &error),
            };
            let (body, trailers) = match collect(body).await {
                Ok(read) => read,
                Err(error) => failed("the body of the answer", &error),
            };
            let complaints = complaints(&rules, &asked.method, &head, &body);
            let response = TestResponse::new(asked, head, body, trailers);
            if !complaints.is_empty() {
                fail(format!("{response} (sent at {sent_at}):\n- {}", complaints.join("\n- ")));
            }
            response
        }
    }
}

impl<S> fmt::Debug for TestRequest<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestRequest").field("request", &self.request).finish_non_exhaustive()
    }
}
