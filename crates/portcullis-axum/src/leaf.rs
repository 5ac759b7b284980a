//! Where a stack meets the axum router.
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context as Cx, Poll, ready};

use axum::Router;
use axum::body::Body as AxumBody;
use axum::routing::future::RouteFuture;
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use pin_project_lite::pin_project;
use portcullis_core::route::adopt_problem;
use portcullis_core::{Body, BoxError, Context};
use tower_service::Service;

use crate::bridge::connect_info;

/// The innermost service of a stack around a [`Guarded`](crate::Guarded) router. A problem that a handler answers gets
/// the dialect of the request here. Handlers find `ConnectInfo<SocketAddr>` whichever server it is.
#[derive(Clone, Debug)]
pub struct Leaf {
    router: Router,
}

impl Leaf {
    pub(crate) fn new(router: Router) -> Self {
        Self { router }
    }
}

impl<B> Service<Request<B>> for Leaf
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = LeafFuture;

    fn poll_ready(&mut self, _: &mut Cx<'_>) -> Poll<Result<(), Infallible>> {
        // A router is always ready; its endpoints are waited for by the future.
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, mut request: Request<B>) -> LeafFuture {
        let context = Context::get(request.extensions()).cloned();
        connect_info(context.as_ref(), &mut request);
        // What holds nothing needs no box.
        let axums = |body: B| {
            if body.is_end_stream() { AxumBody::empty() } else { AxumBody::new(body) }
        };
        LeafFuture { call: self.router.call(request.map(axums)), context }
    }
}

pin_project! {
    /// The response future of [`Leaf`].
    #[must_use = "futures do nothing unless polled"]
    pub struct LeafFuture {
        #[pin]
        call: RouteFuture<Infallible>,
        context: Option<Context>,
    }
}

impl Future for LeafFuture {
    type Output = Result<Response<Body>, Infallible>;
    fn poll(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.call.poll(cx))?.map(Body::new);
        Poll::Ready(Ok(match this.context {
            Some(context) => adopt_problem(response, context),
            None => response,
        }))
    }
}

impl fmt::Debug for LeafFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeafFuture").finish_non_exhaustive()
    }
}
