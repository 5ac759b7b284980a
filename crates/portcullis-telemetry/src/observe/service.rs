//! The service.
use std::sync::Arc;
use std::task::{Context as Cx, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use portcullis_core::{Body, BoxError, Context};
use tower_service::Service;

use super::record::Record;
use super::{ObserveFuture, ObserveLayer, panics};

/// Creates the [`Context`], calls the inner service inside a span, and accounts for the request once it is over.
///
/// A request is over when its response body is: read to the end, failed or dropped; or earlier, when the service
/// failed or the response future was dropped. It then is one line of the access log and one count in the metrics.
///
/// A panic of the inner service, in `call` or while its future is polled, becomes 500 `internal-error`. One in the
/// response body cannot be answered any more; it is only accounted for.
#[derive(Clone, Debug)]
pub struct Observe<S> {
    pub(super) inner: S,
    pub(super) layer: ObserveLayer,
}

impl<S, ReqBody, B> Service<Request<ReqBody>> for Observe<S>
where
    S: Service<Request<ReqBody>, Response = Response<B>>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = ObserveFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let context = Context::with_clock(&mut request, &self.layer.clock);
        let record = Record::begin(context, Arc::clone(&self.layer.recorder), &request);
        let called = record.inside(|| panics::catch(|| self.inner.call(request)));
        record.called();
        match called {
            Ok(call) => ObserveFuture::calling(call, record),
            Err(problem) => ObserveFuture::panicked(problem, record),
        }
    }
}
