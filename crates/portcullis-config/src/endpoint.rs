//! Where a route ends.
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Cx, Poll};

use http::{Request, Response};
use portcullis_core::Body;
use portcullis_gateway::{self as gateway, Proxy, ProxyFuture};
use tower_http::compression::Compression;
use tower_http::compression::predicate::DefaultPredicate;
use tower_service::Service;

/// Where a route ends, and what is said of it.
#[derive(Clone)]
pub(crate) enum Endpoint {
    Plain(gateway::Endpoint, Arc<str>),
    /// A proxy whose answers are compressed.
    Compressed(Compression<Proxy>, Arc<str>),
}

impl Endpoint {
    pub(crate) fn new(endpoint: impl Into<gateway::Endpoint>, text: impl Into<Arc<str>>) -> Self {
        Self::Plain(endpoint.into(), text.into())
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(_, text) | Self::Compressed(_, text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Service<Request<Body>> for Endpoint {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = EndpointFuture;

    fn poll_ready(&mut self, _: &mut Cx<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, request: Request<Body>) -> EndpointFuture {
        match self {
            Self::Plain(endpoint, _) => EndpointFuture::Plain(endpoint.call(request)),
            Self::Compressed(proxy, _) => EndpointFuture::Compressed(Box::pin(proxy.call(request))),
        }
    }
}

/// The response future of [`Endpoint`].
pub(crate) enum EndpointFuture {
    Plain(gateway::EndpointFuture),
    Compressed(Pin<Box<CompressedFuture>>),
}

type CompressedFuture = tower_http::compression::ResponseFuture<ProxyFuture, DefaultPredicate>;

impl Future for EndpointFuture {
    type Output = Result<Response<Body>, Infallible>;
    fn poll(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Plain(call) => Pin::new(call).poll(cx),
            Self::Compressed(call) => {
                call.as_mut().poll(cx).map_ok(|response| response.map(Body::new))
            }
        }
    }
}
