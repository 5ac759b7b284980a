//! The response future.
use std::fmt;
use std::pin::Pin;
use std::task::{Context as Cx, Poll};

use bytes::Bytes;
use http::Response;
use http_body::Body as HttpBody;
use pin_project_lite::pin_project;
use portcullis_core::{Body, BoxError, Problem};

use super::panics;
use super::record::Record;

pin_project! {
    /// The response future of [`Observe`](super::Observe).
    ///
    /// # Cancellation
    /// Dropping it before it completed accounts for the request as one whose client went away.
    #[must_use = "futures do nothing unless polled"]
    pub struct ObserveFuture<F> {
        #[pin]
        state: State<F>,
        // Invariant: it is there until the future completed.
        record: Option<Record>,
    }

    impl<F> PinnedDrop for ObserveFuture<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if let Some(record) = this.record {
                // The call goes first, so that what it still reports is accounted for.
                record.inside(|| this.state.set(State::Over));
            }
        }
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        Calling { #[pin] call: F },
        Panicked { problem: Option<Problem> },
        Over,
    }
}

impl<F> ObserveFuture<F> {
    pub(super) fn calling(call: F, record: Record) -> Self {
        Self { state: State::Calling { call }, record: Some(record) }
    }
    pub(super) fn panicked(problem: Problem, mut record: Record) -> Self {
        // At once, since nobody has to poll the future.
        record.panicked(&problem);
        Self { state: State::Panicked { problem: Some(problem) }, record: Some(record) }
    }
}

impl<F, B, E> Future for ObserveFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, E>;
    fn poll(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let record = this.record.as_ref();
        let record = record.expect("a future is not polled after it completed");
        let polled = match this.state.as_mut().project() {
            StateProj::Calling { call } => record.inside(|| panics::catch(|| call.poll(cx))),
            StateProj::Panicked { problem } => {
                Err(problem.take().expect("the state is left at once"))
            }
            StateProj::Over => unreachable!("a future that is over has no record"),
        };
        // An answer is large: it is moved once.
        if matches!(polled, Ok(Poll::Pending)) {
            return Poll::Pending;
        }
        let mut record = this.record.take().expect("it was there a moment ago");
        Poll::Ready(match polled {
            Ok(Poll::Pending) => unreachable!("returned above"),
            Ok(Poll::Ready(Ok(response))) => {
                let mut response = response.map(Body::new);
                record.answered(&mut response);
                Ok(response)
            }
            Ok(Poll::Ready(Err(error))) => {
                record.failed();
                Err(error)
            }
            Err(problem) => {
                record.panicked(&problem);
                record.inside(|| this.state.set(State::Over));
                let mut answer = panics::answer(problem, record.context());
                record.answered(&mut answer);
                Ok(answer)
            }
        })
    }
}

impl<F> fmt::Debug for ObserveFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObserveFuture")
            .field("context", &self.record.as_ref().map(Record::context))
            .finish_non_exhaustive()
    }
}
