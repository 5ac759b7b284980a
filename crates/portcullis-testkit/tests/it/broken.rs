//! Layers that break the contract, each in one way.
use std::any::Any;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context as Cx, Poll, Waker, ready};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, SERVER};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use portcullis_core::problem::kinds;
use portcullis_core::{Body, BoxError, Context, Problem, ProblemKind};
use tower::{Layer, Service};

/// In which way a [`BrokenLayer`] breaks the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    // Readiness.
    CallsTheClone,
    NeverAsks,
    LosesTheWaker,
    LeaksTheReadyInstance,
    ShedsLoad,
    // What passes.
    AnswersByItself,
    CallsTwice,
    SwallowsErrors,
    ChangesStatus,
    ChangesKind,
    DropsTrailers,
    ChangesData,
    AddsHeader,
    WaitsForTheBody,
    // Refusal of `/no`.
    DoesNotRefuse,
    CallsBeforeRefusing,
    RefusesWithoutProblem,
    RefusesWithStrayHeader,
    RefusesWithoutChallenge,
    ForgetsTheContext,
    // Cancellation.
    SpawnsTheCall,
    SpawnsTheCallLater,
    /// Once it has been polled so often.
    KeepsTheBody(usize),
    KeepsItsPermit,
    KeepsItsPermitWhenUnpolled,
}

/// Refuses `/no`; otherwise lets everything through.
#[derive(Clone, Debug)]
pub(crate) struct BrokenLayer {
    fault: Fault,
    permits: Arc<AtomicUsize>,
    leaked: Leaked,
}

/// Where things are kept that should be gone.
type Leaked = Arc<Mutex<Vec<Box<dyn Any + Send>>>>;

impl BrokenLayer {
    pub(crate) fn new(fault: Fault) -> Self {
        Self { fault, permits: Arc::default(), leaked: Arc::default() }
    }
    /// Whether no permit is out.
    pub(crate) fn released(&self) -> impl Fn() -> bool + 'static {
        let permits = Arc::clone(&self.permits);
        move || permits.load(Ordering::SeqCst) == 0
    }
}

impl<S> Layer<S> for BrokenLayer {
    type Service = Broken<S>;
    fn layer(&self, inner: S) -> Broken<S> {
        Broken { inner, layer: self.clone() }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Broken<S> {
    inner: S,
    layer: BrokenLayer,
}

const LOCKED: ProblemKind = ProblemKind::new("locked", StatusCode::UNAUTHORIZED, "Locked");
const OVERLOADED: ProblemKind =
    ProblemKind::new("overloaded", StatusCode::SERVICE_UNAVAILABLE, "Overloaded");

impl<S, B> Service<Request<Body>> for Broken<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Send,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), S::Error>> {
        match self.layer.fault {
            Fault::NeverAsks => Poll::Ready(Ok(())),
            Fault::LosesTheWaker => self.inner.poll_ready(&mut Cx::from_waker(Waker::noop())),
            Fault::ShedsLoad => {
                _ = self.inner.poll_ready(cx)?;
                Poll::Ready(Ok(()))
            }
            Fault::LeaksTheReadyInstance => {
                let mut other = self.inner.clone();
                ready!(other.poll_ready(cx))?;
                self.layer.leaked.lock().unwrap().push(Box::new(other));
                self.inner.poll_ready(cx)
            }
            _ => self.inner.poll_ready(cx),
        }
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let fault = self.layer.fault;
        let clone = self.inner.clone();
        let mut inner = match fault {
            Fault::CallsTheClone => clone,
            _ => std::mem::replace(&mut self.inner, clone),
        };
        if request.uri().path() == "/no" && fault != Fault::DoesNotRefuse {
            let answer = refusal(fault, &mut request);
            let call = (fault == Fault::CallsBeforeRefusing).then(|| inner.call(request));
            return Box::pin(async move {
                drop(call);
                Ok(answer)
            });
        }
        if fault == Fault::AnswersByItself {
            return Box::pin(async { Ok(Response::new(Body::empty())) });
        }
        if fault == Fault::ShedsLoad
            && inner.poll_ready(&mut Cx::from_waker(Waker::noop())).is_pending()
        {
            return Box::pin(async { Ok(Problem::new(OVERLOADED).into_response()) });
        }
        let BrokenLayer { permits, leaked, .. } = self.layer.clone();
        if fault == Fault::KeepsItsPermitWhenUnpolled {
            permits.fetch_add(1, Ordering::SeqCst);
        }
        let call = inner.call(request);
        Box::pin(async move {
            if fault == Fault::KeepsItsPermit {
                permits.fetch_add(1, Ordering::SeqCst);
            }
            if fault == Fault::SpawnsTheCallLater {
                tokio::task::yield_now().await;
            }
            let answer = match fault {
                Fault::SpawnsTheCall | Fault::SpawnsTheCallLater => {
                    tokio::spawn(call).await.unwrap()
                }
                _ => call.await,
            };
            permits.store(0, Ordering::SeqCst);
            let response = match answer {
                Err(_) if fault == Fault::SwallowsErrors => {
                    return Ok(Problem::new(kinds::INTERNAL_ERROR).into_response());
                }
                answer => answer?.map(Body::new),
            };
            if fault == Fault::CallsTwice {
                std::future::poll_fn(|cx| inner.poll_ready(cx)).await?;
                drop(inner.call(Request::new(Body::empty())));
            }
            Ok(changed(fault, response, &leaked).await)
        })
    }
}

fn refusal(fault: Fault, request: &mut Request<Body>) -> Response<Body> {
    let challenge = (http::header::WWW_AUTHENTICATE, HeaderValue::from_static("Key"));
    let problem = match fault {
        Fault::RefusesWithoutChallenge => Problem::new(LOCKED),
        _ => Problem::new(LOCKED).header(challenge.0, challenge.1),
    };
    if fault == Fault::ForgetsTheContext {
        return problem.into_response();
    }
    let mut answer = problem.respond(&Context::of(request));
    match fault {
        Fault::RefusesWithoutProblem => {
            answer = Response::new("no".into());
            *answer.status_mut() = StatusCode::FORBIDDEN;
        }
        Fault::RefusesWithStrayHeader => {
            answer.headers_mut().insert(SERVER, HeaderValue::from_static("ours"));
        }
        _ => {}
    }
    answer
}

async fn changed(fault: Fault, mut response: Response<Body>, leaked: &Leaked) -> Response<Body> {
    match fault {
        Fault::ChangesStatus => *response.status_mut() = StatusCode::ACCEPTED,
        Fault::ChangesKind => drop(response.headers_mut().remove(CONTENT_TYPE)),
        Fault::AddsHeader => {
            let name = HeaderName::from_static("x-debug");
            response.headers_mut().insert(name, HeaderValue::from_static("1"));
        }
        Fault::DropsTrailers | Fault::WaitsForTheBody => {
            let collected = response.body_mut().collect().await.unwrap();
            let trailers = collected.trailers().cloned().filter(|_| fault != Fault::DropsTrailers);
            let body = Full::new(collected.to_bytes());
            let trailers = async move { trailers.map(Ok) };
            *response.body_mut() = Body::new(body.with_trailers(trailers));
        }
        Fault::ChangesData => {
            response = response.map(|body| Body::new(body.map_frame(louder)));
        }
        Fault::KeepsTheBody(when) => {
            let leaked = Arc::clone(leaked);
            response = response.map(|body| Body::new(Kept { body, polls: 0, when, leaked }));
        }
        _ => {}
    }
    response
}

fn louder(frame: Frame<Bytes>) -> Frame<Bytes> {
    frame.map_data(|data| data.to_ascii_uppercase().into())
}

/// A body that does not let go of the inner one when it is dropped at a certain point.
struct Kept {
    body: Body,
    polls: usize,
    when: usize,
    leaked: Leaked,
}

impl http_body::Body for Kept {
    type Data = Bytes;
    type Error = BoxError;
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Cx<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.polls += 1;
        Pin::new(&mut self.body).poll_frame(cx)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if self.polls == self.when {
            self.leaked.lock().unwrap().push(Box::new(std::mem::take(&mut self.body)));
        }
    }
}

/// Shares one inner service between all its clones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SharingLayer;

#[derive(Debug)]
pub(crate) struct Sharing<S>(Arc<Mutex<S>>);

impl<S> Layer<S> for SharingLayer {
    type Service = Sharing<S>;
    fn layer(&self, inner: S) -> Sharing<S> {
        Sharing(Arc::new(Mutex::new(inner)))
    }
}

impl<S> Clone for Sharing<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: Service<R>, R> Service<R> for Sharing<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;
    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), S::Error>> {
        self.0.lock().unwrap().poll_ready(cx)
    }
    fn call(&mut self, request: R) -> S::Future {
        self.0.lock().unwrap().call(request)
    }
}
