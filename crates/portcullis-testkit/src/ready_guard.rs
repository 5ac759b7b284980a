//! A service that insists on being asked before it is called.
use std::mem;
use std::task::{Context as Cx, Poll, ready};

use tower_service::Service;

/// Panics when the very instance that is called has not been polled ready before. A clone starts unready.
///
/// Put it inside the layer under test. It finds the layer that answers `poll_ready` for the inner service, and the one
/// that polls one instance ready and calls its clone: a service that reserves a permit in `poll_ready` would serve
/// without one.
///
/// ```should_panic
/// use portcullis_testkit::ReadyGuard;
/// use tower::{Service, ServiceExt, service_fn};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let mut service = ReadyGuard::new(service_fn(async |text: &str| Ok::<_, ()>(text.len())));
/// service.ready().await.unwrap();
/// service.clone().call("the clone was not asked").await.unwrap();
/// # }
/// ```
#[derive(Debug)]
pub struct ReadyGuard<S> {
    inner: S,
    ready: bool,
}

impl<S> ReadyGuard<S> {
    /// Guards `inner`.
    pub fn new(inner: S) -> Self {
        Self { inner, ready: false }
    }
}

impl<S: Clone> Clone for ReadyGuard<S> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone())
    }
}

impl<S: Service<R>, R> Service<R> for ReadyGuard<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), S::Error>> {
        let polled = ready!(self.inner.poll_ready(cx));
        self.ready = polled.is_ok();
        Poll::Ready(polled)
    }

    fn call(&mut self, request: R) -> S::Future {
        assert!(
            mem::take(&mut self.ready),
            "the inner service was called on an instance that was not polled ready: keep the clone, and call the \
             instance that was"
        );
        self.inner.call(request)
    }
}
