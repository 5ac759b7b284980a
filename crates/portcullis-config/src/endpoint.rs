//! Where a route ends.
use std::convert::Infallible;
use std::fmt;
use std::future::Ready;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Cx, Poll};

use http::{Request, Response};
use portcullis_core::Body;
use portcullis_gateway::{JwksEndpoint, Proxy, ProxyFuture, Redirect};
use tower_http::compression::Compression;
use tower_http::compression::predicate::DefaultPredicate;
use tower_service::Service;

/// Where a route ends.
#[derive(Clone)]
pub(crate) enum Endpoint {
    Proxy(Proxy, Arc<str>),
    Redirect(Redirect, Arc<str>),
    Jwks(JwksEndpoint),
    /// A proxy whose answers are compressed.
    Compressed(Compression<Proxy>, Arc<str>),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Proxy(_, text) | Self::Redirect(_, text) | Self::Compressed(_, text) => {
                f.write_str(text)
            }
            Self::Jwks(_) => f.write_str("our keys"),
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
            Self::Proxy(proxy, _) => EndpointFuture::Proxy(proxy.call(request)),
            Self::Redirect(redirect, _) => EndpointFuture::Ready(redirect.call(request)),
            Self::Jwks(keys) => EndpointFuture::Ready(keys.call(request)),
            Self::Compressed(proxy, _) => EndpointFuture::Compressed(Box::pin(proxy.call(request))),
        }
    }
}

/// The response future of [`Endpoint`].
pub(crate) enum EndpointFuture {
    Proxy(ProxyFuture),
    Ready(Ready<Result<Response<Body>, Infallible>>),
    Compressed(Pin<Box<CompressedFuture>>),
}

type CompressedFuture = tower_http::compression::ResponseFuture<ProxyFuture, DefaultPredicate>;

impl Future for EndpointFuture {
    type Output = Result<Response<Body>, Infallible>;
    fn poll(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Proxy(call) => Pin::new(call).poll(cx),
            Self::Ready(answer) => Pin::new(answer).poll(cx),
            Self::Compressed(call) => {
                call.as_mut().poll(cx).map_ok(|response| response.map(Body::new))
            }
        }
    }
}
