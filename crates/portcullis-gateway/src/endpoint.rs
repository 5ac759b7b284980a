//! Endpoints of several kinds in one table.
use std::convert::Infallible;
use std::fmt;
use std::future::{Future, Ready};
use std::pin::Pin;
use std::task::{Context as Cx, Poll};

use http::{Request, Response};
use portcullis_core::Body;
use tower_service::Service;

use crate::identity_token::JwksEndpoint;
use crate::proxy::{Proxy, ProxyFuture};
use crate::redirect::Redirect;

/// An endpoint of any kind that a gateway has, for a table in which they stand beside each other: all endpoints of a table are of one type.
///
/// ```
/// use portcullis_core::Routes;
/// use portcullis_gateway::{Endpoint, Proxy, Redirect, Upstream};
/// let catalog = Upstream::builder("catalog").server("http://127.0.0.1:9001").build()?;
/// let routes = Routes::<Endpoint, _>::builder()
///     .get("/books/{*rest}", Proxy::to(&catalog).into()).public()
///     .get("/old/{*rest}", Redirect::permanent("/books/{rest}").into()).public()
///     .build()?;
/// # Ok::<(), portcullis_core::ConfigErrors>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Endpoint {
    /// Passes requests on.
    Proxy(Proxy),
    /// Sends clients elsewhere.
    Redirect(Redirect),
    /// Answers with keys.
    Jwks(JwksEndpoint),
}

impl From<Proxy> for Endpoint {
    fn from(proxy: Proxy) -> Self {
        Self::Proxy(proxy)
    }
}
impl From<Redirect> for Endpoint {
    fn from(redirect: Redirect) -> Self {
        Self::Redirect(redirect)
    }
}
impl From<JwksEndpoint> for Endpoint {
    fn from(keys: JwksEndpoint) -> Self {
        Self::Jwks(keys)
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
        EndpointFuture(match self {
            Self::Proxy(proxy) => Kind::Proxy(proxy.call(request)),
            Self::Redirect(redirect) => Kind::Ready(redirect.call(request)),
            Self::Jwks(keys) => Kind::Ready(keys.call(request)),
        })
    }
}

/// The response future of [`Endpoint`].
#[must_use = "futures do nothing unless polled"]
pub struct EndpointFuture(Kind);

enum Kind {
    Proxy(ProxyFuture),
    Ready(Ready<Result<Response<Body>, Infallible>>),
}

impl Future for EndpointFuture {
    type Output = Result<Response<Body>, Infallible>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Kind::Proxy(call) => Pin::new(call).poll(cx),
            Kind::Ready(answer) => Pin::new(answer).poll(cx),
        }
    }
}

impl fmt::Debug for EndpointFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EndpointFuture")
    }
}
