//! An authenticator that believes what the test says.
use std::task::{Context as Cx, Poll};

use http::{HeaderValue, Request};
use portcullis_core::stack::{KnownCaller, Staged};
use portcullis_core::{AuthState, Challenges, Context, Identity, stage};
use tower_layer::Layer;
use tower_service::Service;

use crate::AsUser;

/// Applies [`StubAuthenticate`]: stands in a stack where the real authenticator does, and believes the test.
///
/// The caller is the one that [`TestRequest::as_user`](crate::TestRequest::as_user) put into the request; otherwise
/// nobody, and the challenge is `Stub`. On a public route nobody is looked at, as a real authenticator does it.
///
/// ```
/// use portcullis_core::{Context, EdgeLayer, Stack};
/// # use portcullis_core::Body;
/// use portcullis_testkit::{StubAuthenticateLayer, TestClient};
/// # use tower::service_fn;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), portcullis_core::ConfigErrors> {
/// # let application = service_fn(async |mut request: http::Request<Body>| {
/// #     let context = Context::of(&mut request);
/// #     let name = context.identity().map_or("nobody", |identity| identity.subject()).to_owned();
/// #     Ok::<_, std::convert::Infallible>(http::Response::new(Body::from(name)))
/// # });
/// let stack = Stack::new().layer(EdgeLayer::new()).layer(StubAuthenticateLayer::new());
/// let client = TestClient::new(stack.service(application)?);
/// assert_eq!(client.get("/whoami").as_user("alice").send().await.text(), "alice");
/// assert_eq!(client.get("/whoami").send().await.text(), "nobody");
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct StubAuthenticateLayer(());

impl StubAuthenticateLayer {
    /// Believes each request.
    pub fn new() -> Self {
        Self::default()
    }
}

impl<S> Layer<S> for StubAuthenticateLayer {
    type Service = StubAuthenticate<S>;
    fn layer(&self, inner: S) -> Self::Service {
        StubAuthenticate { inner, always: None }
    }
}

impl Staged for StubAuthenticateLayer {
    type Stage = stage::Authenticate;
    type Needs = ();
    type Provides = KnownCaller;
}

/// Leaves in the [`Context`] who calls: as the layer says, or as the request says.
///
/// An [`AuthState`] that is there already stays, as every fact of the context does.
#[derive(Clone, Debug)]
pub struct StubAuthenticate<S> {
    inner: S,
    always: Option<Identity>,
}

impl<S> StubAuthenticate<S> {
    pub(crate) fn always(inner: S, identity: Identity) -> Self {
        Self { inner, always: Some(identity) }
    }
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for StubAuthenticate<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        let context = Context::of(&mut request);
        let said = || {
            let public = context.route().is_some_and(|route| route.access().is_public());
            let user = request.extensions().get::<AsUser>().filter(|_| !public);
            user.map(AsUser::identity)
        };
        let state = self.always.clone().or_else(said).map_or_else(
            || AuthState::Anonymous(Challenges::new([HeaderValue::from_static("Stub")])),
            AuthState::Authenticated,
        );
        context.set_auth(state);
        self.inner.call(request)
    }
}
