//! A layer that may be absent.
use std::pin::Pin;
use std::task::{Context as Cx, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::{Plan, Staged};
use crate::{Body, BoxError};

/// A layer that may be absent: what `stack.layer(option)` makes of an `Option`.
///
/// It provides nothing to the layers behind it, since it may not be there.
#[derive(Clone, Copy, Debug)]
pub struct Optional<L>(pub(super) Option<L>);

impl<L: Staged> Staged for Optional<L> {
    type Stage = L::Stage;
    type Needs = L::Needs;
    type Provides = ();
    fn check(&self, plan: &mut Plan) {
        if let Some(layer) = &self.0 {
            layer.check(plan);
        }
    }
}

impl<L: Layer<S>, S> Layer<S> for Optional<L> {
    type Service = OptionalService<L::Service, S>;
    fn layer(&self, inner: S) -> Self::Service {
        match &self.0 {
            Some(layer) => OptionalService::With(layer.layer(inner)),
            None => OptionalService::Without(inner),
        }
    }
}

/// A service with its layer or without.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum OptionalService<A, B> {
    /// The layer is there.
    With(A),
    /// It is not.
    Without(B),
}

impl<A, B, ReqBody, BodyA, BodyB> Service<Request<ReqBody>> for OptionalService<A, B>
where
    A: Service<Request<ReqBody>, Response = Response<BodyA>>,
    B: Service<Request<ReqBody>, Response = Response<BodyB>, Error = A::Error>,
    BodyA: HttpBody<Data = Bytes> + Send + 'static,
    BodyA::Error: Into<BoxError>,
    BodyB: HttpBody<Data = Bytes> + Send + 'static,
    BodyB::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = A::Error;
    type Future = OptionalFuture<A::Future, B::Future>;

    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), A::Error>> {
        match self {
            Self::With(service) => service.poll_ready(cx),
            Self::Without(service) => service.poll_ready(cx),
        }
    }
    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let state = match self {
            Self::With(service) => State::With { call: service.call(request) },
            Self::Without(service) => State::Without { call: service.call(request) },
        };
        OptionalFuture { state }
    }
}

pin_project! {
    /// The response future of [`OptionalService`].
    #[must_use = "futures do nothing unless polled"]
    #[derive(Debug)]
    pub struct OptionalFuture<A, B> { #[pin] state: State<A, B> }
}

pin_project! {
    #[project = StateProj]
    #[derive(Debug)]
    enum State<A, B> {
        With { #[pin] call: A },
        Without { #[pin] call: B },
    }
}

impl<A, B, BodyA, BodyB, E> Future for OptionalFuture<A, B>
where
    A: Future<Output = Result<Response<BodyA>, E>>,
    B: Future<Output = Result<Response<BodyB>, E>>,
    BodyA: HttpBody<Data = Bytes> + Send + 'static,
    BodyA::Error: Into<BoxError>,
    BodyB: HttpBody<Data = Bytes> + Send + 'static,
    BodyB::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, E>;
    fn poll(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        Poll::Ready(match self.project().state.project() {
            StateProj::With { call } => {
                ready!(call.poll(cx)).map(|response| response.map(Body::new))
            }
            StateProj::Without { call } => {
                ready!(call.poll(cx)).map(|response| response.map(Body::new))
            }
        })
    }
}
