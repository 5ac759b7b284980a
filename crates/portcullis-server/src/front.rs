//! What stands between hyper and the application: the screening of requests, the limits of bodies, the goodbye of a drain.
use std::any::Any;
use std::cell::RefCell;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Cx, Poll, Waker, ready};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, UPGRADE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Body as HttpBody;
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use portcullis_core::problem::kinds;
use portcullis_core::{
    Body, BodyLimit, BoxError, Connection, Informational, Problem, Revocation, SendInformational,
};
use tower_service::Service;

use crate::control::Control;
use crate::limits::Limits;
use crate::refusal::refuse;
use crate::request_body::{RequestBody, throw_away};
use crate::response_body::{ResponseBody, Turn};
use crate::screen::screen;
use crate::stats::{Ending, Stats};
use crate::streams::{StreamState, Streams};
use crate::tls::Names;
use crate::vitals::{Phase, Vitals};

/// What every connection of a listener shares.
pub(crate) struct Shared {
    pub(crate) limits: Limits,
    pub(crate) control: Arc<Control>,
    pub(crate) stats: Stats,
}

/// The service that hyper calls: the application's, with what the server adds.
pub(crate) struct Front<S> {
    /// Hyper calls through a shared reference, and one call at a time.
    service: RefCell<S>,
    vitals: Arc<Vitals>,
    connection: Connection,
    /// The certificate that the client was shown, where it named a host.
    names: Option<Names>,
    protocol: Protocol,
}

/// Which HTTP the connection speaks.
pub(crate) enum Protocol {
    /// With the way to send informational responses.
    Http1(Arc<dyn SendInformational>),
    Http2(Streams),
}

impl<S> Front<S> {
    pub(crate) fn new(
        service: S,
        vitals: Arc<Vitals>,
        connection: Connection,
        names: Option<Names>,
        protocol: Protocol,
    ) -> Self {
        Self { service: RefCell::new(service), vitals, connection, names, protocol }
    }

    /// What is known about the way of this request, and whom its answer reports to.
    fn begin(&self, request: &Request<Incoming>) -> (Connection, Turn) {
        let mut connection = self.connection.clone();
        let turn = match &self.protocol {
            Protocol::Http1(sink) => {
                let has_body = !request.body().is_end_stream();
                let number = self.vitals.begin_exchange(has_body);
                if request.version() == Version::HTTP_11 {
                    connection =
                        connection.with_informational(Informational::new(Arc::clone(sink), number));
                }
                Turn::Http1(Arc::clone(&self.vitals))
            }
            Protocol::Http2(streams) => {
                let stream = StreamState::begin(&self.vitals);
                streams.expect(&stream);
                Turn::Http2(stream)
            }
        };
        (connection, turn)
    }

    fn check(&self, request: &Request<Incoming>) -> Result<(), Problem> {
        screen(request, &self.vitals.shared().limits)
            .map_err(|refusal| refusal.problem(&self.vitals.shared().limits))?;
        let is_http2 = matches!(self.protocol, Protocol::Http2(_));
        if is_http2 && request.headers().len() > self.vitals.shared().limits.header_count {
            // In HTTP/1.1 hyper counts them.
            return Err(Problem::new(kinds::HEADERS_TOO_LARGE));
        }
        if self.vitals.takes_two_ends() {
            // RFC 9112, section 6.1, lets a server go by the transfer coding; a proxy in front may have gone by the length.
            let detail = "the request has both `Transfer-Encoding` and `Content-Length`";
            return Err(Problem::new(kinds::REQUEST_INVALID).detail(detail));
        }
        let misdirected = self.names.as_ref().is_some_and(|names| !names.cover(request));
        if misdirected {
            let detail = "this connection was opened for another host";
            return Err(Problem::new(kinds::HOST_MISDIRECTED).detail(detail));
        }
        Ok(())
    }

    fn body(
        &self,
        parts: &mut http::request::Parts,
        incoming: Incoming,
    ) -> (Body, Option<BodyLimit>) {
        if incoming.is_end_stream() {
            return (Body::empty(), None);
        }
        let limit = BodyLimit::new(self.vitals.shared().limits.body_bytes);
        parts.extensions.insert(limit.clone());
        let exchange = match &self.protocol {
            Protocol::Http1(_) => Some(Arc::clone(&self.vitals)),
            Protocol::Http2(_) => None,
        };
        let stats = self.vitals.shared().stats.clone();
        let limits = &self.vitals.shared().limits;
        let body = RequestBody::new(incoming, limit.clone(), limits, stats, exchange);
        (Body::new(body), Some(limit))
    }
}

impl<S, B> hyper::service::Service<Request<Incoming>> for Front<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone,
    S::Error: Into<BoxError>,
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Response = Response<ResponseBody<B>>;
    type Error = Infallible;
    type Future = FrontFuture<S, S::Future>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let (connection, turn) = self.begin(&request);
        if request.version() == Version::HTTP_10 {
            // RFC 9110, section 7.8: such a client knows nothing of it.
            request.headers_mut().remove(UPGRADE);
        }
        let version = request.version();
        let is_head = request.method() == Method::HEAD;
        let reply = Reply { turn: Some(turn), version, is_head, limit: None };
        if let Err(problem) = self.check(&request) {
            self.vitals.shared().stats.ended(Ending::RequestRefused);
            if !request.body().is_end_stream() {
                // Hyper drops the body; what is left of it makes closing linger.
                self.vitals.end_body(false);
            }
            let answer = refuse(&mut request, problem, &connection);
            if matches!(self.protocol, Protocol::Http2(_)) {
                throw_away(request.into_body());
            }
            return FrontFuture { state: Step::Refused { answer: Some(answer) }, reply };
        }
        let (mut parts, incoming) = request.into_parts();
        let (body, limit) = self.body(&mut parts, incoming);
        parts.extensions.insert(connection);
        let request = Request::from_parts(parts, body);
        let reply = Reply { limit, ..reply };
        let mut service = self.service.borrow_mut();
        // Most services are always ready; one that is not is waited for in the future, as a clone.
        let mut cx = Cx::from_waker(Waker::noop());
        let state = match caught(|| service.poll_ready(&mut cx)) {
            Ok(Poll::Ready(Ok(()))) => match caught(|| service.call(request)) {
                Ok(call) => Step::Calling { call },
                Err(panic) => Step::Panicked { panic },
            },
            Ok(_) => Step::Waiting { waiting: Box::new((service.clone(), Some(request))) },
            Err(panic) => Step::Panicked { panic },
        };
        FrontFuture { state, reply }
    }
}

/// The text of a panic.
type Panic = String;

fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Panic> {
    // What the panic may have left half done is the request's own; a service that shares state says by its own means when
    // that is broken (a poisoned lock).
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| text_of(&*panic))
}

fn text_of(panic: &(dyn Any + Send)) -> Panic {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".to_owned())
}

pin_project! {
    /// The answer to one request.
    pub(crate) struct FrontFuture<S, F> {
        #[pin]
        state: Step<S, F>,
        reply: Reply,
    }
}

pin_project! {
    #[project = StepProj]
    enum Step<S, F> {
        Refused { answer: Option<Response<Body>> },
        Panicked { panic: Panic },
        // In a box, so that the future of the others is small.
        Waiting { waiting: Box<(S, Option<Request<Body>>)> },
        Calling { #[pin] call: F },
    }
}

impl<S, B> Future for FrontFuture<S, S::Future>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<ResponseBody<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (mut state, reply) = (this.state, this.reply);
        loop {
            let next = match state.as_mut().project() {
                StepProj::Refused { answer } => {
                    return Poll::Ready(Ok(reply.ours(answer.take().unwrap_or_default())));
                }
                StepProj::Panicked { panic } => return Poll::Ready(Ok(reply.panicked(panic))),
                StepProj::Waiting { waiting } => {
                    let (service, request) = &mut **waiting;
                    let ready = caught(|| service.poll_ready(cx));
                    match ready {
                        Ok(Poll::Pending) => return Poll::Pending,
                        Ok(Poll::Ready(Ok(()))) => {
                            // Taken once: the next state does not come back here.
                            let request = request.take().unwrap_or_default();
                            match caught(|| service.call(request)) {
                                Ok(call) => Step::Calling { call },
                                Err(panic) => Step::Panicked { panic },
                            }
                        }
                        Ok(Poll::Ready(Err(error))) => {
                            return Poll::Ready(Ok(reply.failed(error.into())));
                        }
                        Err(panic) => Step::Panicked { panic },
                    }
                }
                StepProj::Calling { call } => match caught(|| call.poll(cx)) {
                    Ok(polled) => {
                        return Poll::Ready(Ok(match ready!(polled) {
                            Ok(response) => reply.theirs(response),
                            Err(error) => reply.failed(error.into()),
                        }));
                    }
                    Err(panic) => Step::Panicked { panic },
                },
            };
            state.set(next);
        }
    }
}

/// How the answer goes out.
struct Reply {
    /// There until the answer has it.
    turn: Option<Turn>,
    version: Version,
    is_head: bool,
    limit: Option<BodyLimit>,
}

impl Reply {
    fn shared(&self) -> Option<&Shared> {
        self.turn.as_ref().map(|turn| &**turn.vitals().shared())
    }

    /// The application's answer.
    fn theirs<B: HttpBody>(&mut self, mut response: Response<B>) -> Response<ResponseBody<B>> {
        let correction = self.limit.as_ref().and_then(|limit| limit.correction(response.status()));
        if let Some(problem) = correction {
            return self.ours(problem.into_response());
        }
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            self.upgrade(&response);
        }
        self.begin_answer(&mut response);
        if self.has_no_content(&mut response) {
            return response.map(|_| ResponseBody::ours(Body::empty(), self.turn.take()));
        }
        response.map(|body| ResponseBody::theirs(body, self.turn.take(), self.version))
    }
    /// An answer of the server's own.
    fn ours<B>(&mut self, mut response: Response<Body>) -> Response<ResponseBody<B>> {
        self.begin_answer(&mut response);
        let is_bare = self.has_no_content(&mut response);
        response.map(|body| {
            ResponseBody::ours(if is_bare { Body::empty() } else { body }, self.turn.take())
        })
    }
    fn failed<B>(&mut self, error: BoxError) -> Response<ResponseBody<B>> {
        tracing::error!(error = %error, "the service failed");
        self.ours(Problem::new(kinds::INTERNAL_ERROR).cause(error).into_response())
    }
    fn panicked<B>(&mut self, panic: &str) -> Response<ResponseBody<B>> {
        if let Some(shared) = self.shared() {
            shared.stats.ended(Ending::Panic);
        }
        tracing::error!(panic, "the service panicked");
        self.ours(Problem::new(kinds::INTERNAL_ERROR).into_response())
    }

    fn begin_answer<B>(&mut self, response: &mut Response<B>) {
        if let Some(Turn::Http1(vitals)) = &self.turn {
            vitals.begin_answer();
        }
        if self.version > Version::HTTP_11 {
            return;
        }
        let leaving = self.shared().is_some_and(|shared| shared.control.is_leaving());
        let upgrade = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if leaving && !upgrade {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if response.status() == StatusCode::NO_CONTENT {
            // RFC 9110, section 8.6: a 204 has no length.
            response.headers_mut().remove(CONTENT_LENGTH);
        }
    }
    /// Whether nothing but a head may be sent (RFC 9110, section 6.4.1). In HTTP/1.1 hyper sees to it, in HTTP/2 it does not; the
    /// length that a GET would have got stays known (section 8.6).
    fn has_no_content<B: HttpBody>(&self, response: &mut Response<B>) -> bool {
        let status = response.status();
        let is_bare = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if self.version < Version::HTTP_2 || !(self.is_head || is_bare) {
            return false;
        }
        let length = response.body().size_hint().exact().filter(|length| *length > 0);
        if let Some(length) = length
            && !is_bare
            && !response.headers().contains_key(CONTENT_LENGTH)
        {
            response.headers_mut().insert(CONTENT_LENGTH, length.into());
        }
        true
    }
    /// From here on the connection speaks another protocol, for as long as who opened it is who they were.
    fn upgrade<B>(&self, response: &Response<B>) {
        let Some(Turn::Http1(vitals)) = &self.turn else { return };
        vitals.enter(Phase::Upgraded);
        if let Some(revocation) = response.extensions().get::<Revocation>() {
            vitals.ends_with(revocation.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_content_says_how_long_it_would_have_been() {
        for (version, is_head, status, body, bare, length) in [
            (Version::HTTP_2, true, 200, "hello", true, Some("5")),
            (Version::HTTP_2, true, 200, "", true, None),
            (Version::HTTP_2, false, 200, "hello", false, None),
            (Version::HTTP_2, false, 304, "hello", true, None),
            (Version::HTTP_2, false, 204, "hello", true, None),
            // Hyper does it.
            (Version::HTTP_11, true, 200, "hello", false, None),
        ] {
            let reply = Reply { turn: None, version, is_head, limit: None };
            let mut response = Response::new(Body::from(body));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            assert_eq!(reply.has_no_content(&mut response), bare, "{version:?} {status}");
            let value = response.headers().get(CONTENT_LENGTH).map(|value| value.to_str().unwrap());
            assert_eq!(value, length, "{version:?} {status}");
        }
    }
}
