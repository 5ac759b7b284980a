//! Calls the endpoint of the matched route.
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Cx, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::{Guard, GuardLayer, RouteTable};
use crate::problem::kinds::AUTHORIZATION_MISSING;
use crate::{Body, BoxError, Context, Problem, Refusable};

/// Calls the endpoint of the route that the route layer matched, behind the leaf guard.
///
/// It is always ready: an endpoint's readiness is awaited by the response future, since which endpoint it is shows
/// only with the request.
pub struct Dispatch<E>(Guard<ByIndex<E>>);

struct ByIndex<E> {
    endpoints: Arc<[E]>,
}

impl<E> Dispatch<E> {
    pub(super) fn new(table: Arc<RouteTable>, endpoints: Arc<[E]>) -> Self {
        Self(GuardLayer::table(table).layer(ByIndex { endpoints }))
    }
}

impl<E> Clone for Dispatch<E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<E> Clone for ByIndex<E> {
    fn clone(&self) -> Self {
        Self { endpoints: Arc::clone(&self.endpoints) }
    }
}

impl<E> fmt::Debug for Dispatch<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dispatch")
    }
}

impl<E, ReqBody, B> Service<Request<ReqBody>> for Dispatch<E>
where
    E: Service<Request<ReqBody>, Response = Response<B>> + Clone,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = E::Error;
    type Future = super::GuardFuture<Refusable<DispatchFuture<E, ReqBody>>>;

    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), E::Error>> {
        self.0.poll_ready(cx)
    }
    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        self.0.call(request)
    }
}

impl<E, ReqBody, B> Service<Request<ReqBody>> for ByIndex<E>
where
    E: Service<Request<ReqBody>, Response = Response<B>> + Clone,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = E::Error;
    type Future = Refusable<DispatchFuture<E, ReqBody>>;

    fn poll_ready(&mut self, _: &mut Cx<'_>) -> Poll<Result<(), E::Error>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let context = Context::of(&mut request);
        let index = context.route().map(super::Route::index);
        // The guard in front has seen to it that there is a route of this table.
        if let Some(endpoint) = index.and_then(|index| self.endpoints.get(index)) {
            let state = State::Waiting { endpoint: endpoint.clone(), request: Some(request) };
            return Refusable::calling(DispatchFuture { state });
        }
        Refusable::answered(Problem::new(AUTHORIZATION_MISSING).respond(&context))
    }
}

pin_project! {
    /// Waits until the endpoint is ready, then for its answer.
    #[must_use = "futures do nothing unless polled"]
    pub struct DispatchFuture<E, ReqBody>
    where
        E: Service<Request<ReqBody>>,
    {
        #[pin]
        state: State<E, ReqBody, E::Future>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<E, ReqBody, F> {
        Waiting { endpoint: E, request: Option<Request<ReqBody>> },
        Calling { #[pin] call: F },
    }
}

impl<E, ReqBody> Future for DispatchFuture<E, ReqBody>
where
    E: Service<Request<ReqBody>>,
{
    type Output = Result<E::Response, E::Error>;
    fn poll(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let call = match state.as_mut().project() {
                StateProj::Waiting { endpoint, request } => {
                    ready!(endpoint.poll_ready(cx))?;
                    endpoint
                        .call(request.take().expect("a future is not polled after it completed"))
                }
                StateProj::Calling { call } => return call.poll(cx),
            };
            state.set(State::Calling { call });
        }
    }
}

impl<E, ReqBody> fmt::Debug for DispatchFuture<E, ReqBody>
where
    E: Service<Request<ReqBody>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DispatchFuture")
    }
}
