//! What axum knows, in our vocabulary.
use std::net::SocketAddr;
use std::task::{Context as Cx, Poll};

use axum::extract::{ConnectInfo, MatchedPath};
use http::Request;
use portcullis_core::{Connection, Context};
use tower_layer::Layer;
use tower_service::Service;

/// Applies [`Bridge`], for single layers on an axum router. It stands outside of them, that is: it is added last.
///
/// A stack around a [`Guarded`](crate::Guarded) router does not need it.
#[derive(Clone, Copy, Debug, Default)]
pub struct BridgeLayer;

impl BridgeLayer {
    /// Bridges `ConnectInfo<SocketAddr>` and `MatchedPath`.
    pub fn new() -> Self {
        Self
    }
}

impl<S> Layer<S> for BridgeLayer {
    type Service = Bridge<S>;
    fn layer(&self, inner: S) -> Bridge<S> {
        Bridge { inner }
    }
}

/// Leaves in the context what axum knows: the client's address (`ConnectInfo<SocketAddr>`) and the template of the route
/// (`MatchedPath`). Under a server that is not axum's it gives `ConnectInfo` to handlers.
#[derive(Clone, Debug)]
pub struct Bridge<S> {
    inner: S,
}

impl<S, B> Service<Request<B>> for Bridge<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }
    fn call(&mut self, mut request: Request<B>) -> S::Future {
        connect(&mut request);
        if let Some(path) = request.extensions().get::<MatchedPath>().cloned() {
            Context::of(&mut request).set_route_label(path.as_str().into());
        }
        self.inner.call(request)
    }
}

/// Hands the peer's address on from axum's `ConnectInfo` to the outermost of our layers, unless the server has said more;
/// and to axum's extractor, where a server that is not axum's has said it.
pub(crate) fn connect<B>(request: &mut Request<B>) {
    let extensions = request.extensions_mut();
    let info = extensions.get::<ConnectInfo<SocketAddr>>().copied();
    let connection = extensions.get().map(Connection::peer);
    match (info, connection) {
        (Some(ConnectInfo(peer)), None) => drop(extensions.insert(Connection::new(Some(peer)))),
        (None, Some(Some(peer))) => drop(extensions.insert(ConnectInfo(peer))),
        _ => {}
    }
}

/// Hands the peer's address on to axum's extractor, where it does not stand yet.
pub(crate) fn connect_info<B>(context: Option<&Context>, request: &mut Request<B>) {
    let connection = context.and_then(Context::connection);
    if let Some(peer) = connection.and_then(Connection::peer)
        && request.extensions().get::<ConnectInfo<SocketAddr>>().is_none()
    {
        request.extensions_mut().insert(ConnectInfo(peer));
    }
}
