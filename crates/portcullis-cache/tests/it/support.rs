//! An origin that does as a test says, with a cache in front of it.
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context as Cx, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame};
use http_body_util::BodyExt;
use portcullis_cache::{Cache, CacheLayer};
use portcullis_core::{Body, BoxError, Context, Identity};
use portcullis_testkit::FakeTime;
use tokio::sync::mpsc;
use tower::{Layer, Service, ServiceExt};

/// What the origin answers.
pub(crate) type Answering = Arc<
    dyn Fn(Request<Body>) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> + Send + Sync,
>;

/// An origin that counts.
#[derive(Clone)]
pub(crate) struct Origin {
    answer: Answering,
    pub(crate) asked: Arc<AtomicUsize>,
    pub(crate) seen: Arc<Mutex<Vec<(Method, HeaderMap)>>>,
}

impl Origin {
    pub(crate) fn new<F, R>(answer: F) -> Self
    where
        F: Fn(Request<Body>) -> R + Send + Sync + 'static,
        R: Future<Output = Response<Body>> + Send + 'static,
    {
        let answer: Answering = Arc::new(move |request| Box::pin(answer(request)));
        Self { answer, asked: Arc::default(), seen: Arc::default() }
    }
    /// One that always answers so.
    pub(crate) fn saying(
        headers: &'static [(&'static str, &'static str)],
        body: &'static str,
    ) -> Self {
        Self::new(move |_| async move { response(200, headers, body) })
    }
    pub(crate) fn count(&self) -> usize {
        self.asked.load(SeqCst)
    }
}

impl Service<Request<Body>> for Origin {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;
    fn poll_ready(&mut self, _cx: &mut Cx<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.asked.fetch_add(1, SeqCst);
        self.seen.lock().unwrap().push((request.method().clone(), request.headers().clone()));
        let answer = (self.answer)(request);
        Box::pin(async move { Ok(answer.await) })
    }
}

/// A cache in front of an origin, and its time.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) service: Cache<Origin>,
    pub(crate) origin: Origin,
    pub(crate) time: FakeTime,
    pub(crate) layer: CacheLayer,
}

impl Site {
    pub(crate) fn new(origin: Origin) -> Self {
        Self::with(CacheLayer::in_memory(64 << 20), origin)
    }
    pub(crate) fn with(layer: CacheLayer, origin: Origin) -> Self {
        Self { service: layer.layer(origin.clone()), origin, time: FakeTime::new(), layer }
    }
    pub(crate) async fn send(&self, mut request: Request<Body>) -> Response<Body> {
        Context::with_clock(&mut request, &self.time.clock());
        self.service.clone().oneshot(request).await.unwrap()
    }
    pub(crate) async fn get(&self, path: &str) -> Got {
        self.fetch(get(path)).await
    }
    pub(crate) async fn fetch(&self, request: Request<Body>) -> Got {
        Got::of(self.send(request).await).await
    }
}

/// An answer that was read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Got {
    pub(crate) async fn of(response: Response<Body>) -> Self {
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("the body is whole").to_bytes();
        Self { status: head.status, headers: head.headers, body }
    }
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
    pub(crate) fn status_of_cache(&self) -> &str {
        self.header("cache-status")
    }
    pub(crate) fn is_hit(&self) -> bool {
        self.status_of_cache().contains("; hit")
    }
}

pub(crate) fn get(path: &str) -> Request<Body> {
    asking("GET", path, &[])
}

pub(crate) fn asking(method: &str, path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::new(Body::empty());
    *request.method_mut() = method.parse().unwrap();
    *request.uri_mut() = format!("http://shop.example{path}").parse().unwrap();
    add(request.headers_mut(), headers);
    request
}

pub(crate) fn response(status: u16, headers: &[(&str, &str)], body: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_owned()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    add(response.headers_mut(), headers);
    response
}

fn add(to: &mut HeaderMap, headers: &[(&str, &str)]) {
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        to.append(name, HeaderValue::from_str(value).unwrap());
    }
}

/// As a request of somebody that authorization has let through.
pub(crate) fn of(
    identity: &Identity,
    time: &FakeTime,
    mut request: Request<Body>,
) -> Request<Body> {
    use portcullis_core::{AuthState, Decision, Requirement, Verdict};
    let context = Context::with_clock(&mut request, &time.clock());
    context.set_auth(AuthState::Authenticated(identity.clone()));
    context.set_decision(Decision::new(Verdict::Allow, None, Requirement::Authenticated, "a test"));
    request
}

/// A body that a test says piece by piece.
pub(crate) struct Spoken(mpsc::UnboundedReceiver<Result<Bytes, BoxError>>);

pub(crate) fn spoken() -> (mpsc::UnboundedSender<Result<Bytes, BoxError>>, Body) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (sender, Body::new(Spoken(receiver)))
}

impl HttpBody for Spoken {
    type Data = Bytes;
    type Error = BoxError;
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Cx<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

/// Answers one after the other; the last one stays.
pub(crate) fn in_turn(answers: Vec<fn() -> Response<Body>>) -> Origin {
    let answers = Mutex::new(VecDeque::from(answers));
    Origin::new(move |_| {
        let mut answers = answers.lock().unwrap();
        let next = if answers.len() > 1 { answers.pop_front() } else { answers.front().copied() };
        let answer = next.expect("there is an answer")();
        async move { answer }
    })
}
