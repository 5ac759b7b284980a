//! The layer under test, with its types erased.
use std::pin::Pin;
use std::task::{Context as Cx, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use portcullis_core::{Body, BoxError};
use tower_service::Service;

use super::InnerError;

/// The layer under test around the inner service.
pub(super) struct Outer(Box<dyn AnyOuter>);

/// A call of the layer under test.
pub(super) type Call = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// How a call ends.
pub(super) type Answer = Result<Response<Body>, InnerError>;

trait AnyOuter {
    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), InnerError>>;
    fn call(&mut self, request: Request<Body>) -> Call;
    fn duplicate(&self) -> Outer;
}

impl Outer {
    pub(super) fn new<S, B>(service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<B>, Error = InnerError> + Clone + 'static,
        S::Future: Send + 'static,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self(Box::new(Erased(service)))
    }
    pub(super) fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), InnerError>> {
        self.0.poll_ready(cx)
    }
    pub(super) fn call(&mut self, request: Request<Body>) -> Call {
        self.0.call(request)
    }
}

impl Clone for Outer {
    fn clone(&self) -> Self {
        self.0.duplicate()
    }
}

struct Erased<S>(S);

impl<S, B> AnyOuter for Erased<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = InnerError> + Clone + 'static,
    S::Future: Send + 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), InnerError>> {
        self.0.poll_ready(cx)
    }
    fn call(&mut self, request: Request<Body>) -> Call {
        let call = self.0.call(request);
        Box::pin(async move { call.await.map(|response| response.map(Body::new)) })
    }
    fn duplicate(&self) -> Outer {
        Outer::new(self.0.clone())
    }
}
