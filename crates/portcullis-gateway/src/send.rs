//! Sends a request to one of the servers of an upstream.
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use http::header::{HOST, TRANSFER_ENCODING};
use http::{HeaderValue, Request, Response, StatusCode, Version};
use http_body::Body as HttpBody;
use hyper::body::Incoming;
use portcullis_core::problem::Source;
use portcullis_core::{Body, BodyError, BodyErrorKind, Problem, ProblemKind};
use tokio::time::timeout;

use crate::balance::{InFlight, Wish};
use crate::body::{Lease, UpstreamBody};
use crate::connect::{ConnectError, Sender};
use crate::error::{broken, kinds, sent, unsent};
use crate::health::failed;
use crate::pool::{Kept, Slot, Stream};
use crate::server::Server;
use crate::upload::Upload;
use crate::upstream::{Inner, Upstream};

/// What the choice of a server goes by.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Route {
    pub(crate) key: Option<u64>,
    pub(crate) sticky: Option<u64>,
}

/// Who was tried for a request.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    /// The last of them.
    pub(crate) server: Option<Arc<Server>>,
    pub(crate) tries: u32,
    /// Why those before it gave no answer.
    told: String,
}

impl Trail {
    fn begin(&mut self, server: &Arc<Server>) {
        self.server = Some(Arc::clone(server));
        self.tries += 1;
    }
    /// One more that gave no answer.
    fn remember(&mut self, problem: &Problem) {
        use std::fmt::Write;
        let gap = if self.told.is_empty() { "" } else { "; " };
        if let Some(cause) = problem.cause_error() {
            // Writing to a string never fails.
            let _ = write!(self.told, "{gap}{cause}");
            let mut next = cause.source();
            while let Some(error) = next {
                let _ = write!(self.told, ": {error}");
                next = error.source();
            }
        }
    }
    /// The problem, with what went wrong before it.
    fn whole(&mut self, problem: Problem) -> Problem {
        if self.told.is_empty() {
            return problem;
        }
        self.remember(&problem);
        problem.cause(std::mem::take(&mut self.told))
    }
}

/// An answer, and which server gave it.
pub(crate) struct Answered {
    pub(crate) response: Response<UpstreamBody>,
    pub(crate) server: u64,
    /// What a connection holds that goes on in another protocol.
    pub(crate) tunnel: Option<(InFlight, Slot)>,
}

impl Upstream {
    /// Sends the request, and waits for the head of the answer. `limit` is what is left of the request's own time.
    ///
    /// What a server may have seen is not sent again, but for this: a request without a body whose method is safe (RFC 9110, section
    /// 9.2.1), on a connection that was used before and broke before any answer. What surely nobody has seen goes to another
    /// connection, or another server.
    ///
    /// # Cancellation
    /// The connection closes, or the stream is reset; nothing is kept.
    pub(crate) async fn send(
        &self,
        mut request: Request<Body>,
        upload: Option<&Upload>,
        route: Route,
        limit: Option<Duration>,
        trail: &mut Trail,
    ) -> Result<Answered, Problem> {
        if !self.0.is_started()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            self.start(&runtime);
        }
        let mut counted = Counted { upstream: &self.0, done: false };
        let limit = limit.map_or(self.0.timeout, |limit| limit.min(self.0.timeout));
        let mut tried: Vec<u64> = Vec::new();
        let mut last: Option<Problem> = None;
        // On a server whose kept connection broke, the next attempt takes a new one.
        let mut again: Option<Arc<Server>> = None;
        loop {
            let servers = self.0.servers.load();
            let wish = Wish { key: route.key, server: route.sticky, not: &tried };
            let fresh = again.is_some();
            let chosen = again
                .take()
                .or_else(|| self.0.rules.choose(&servers, wish, self.0.now()).map(Arc::clone));
            let Some(server) = chosen else {
                let nobody = || {
                    let cause = format!("upstream `{}` has no server", self.0.name);
                    unsent(kinds::UPSTREAM_UNAVAILABLE, cause)
                };
                return Err(counted.problem(trail.whole(last.unwrap_or_else(nobody))));
            };
            if let Some(before) = last.take() {
                trail.remember(&before);
            }
            trail.begin(&server);
            let attempt = Attempt::begin(&self.0, server);
            let (connection, reused) = match self.0.connection(attempt.server(), fresh).await {
                Ok(connected) => connected,
                Err(problem) => {
                    let hard = problem.kind() == kinds::UPSTREAM_UNREACHABLE;
                    tracing::debug!(upstream = %self.0.name, server = %attempt.server().origin, cause = ?problem.cause_error().map(ToString::to_string), "cannot send");
                    tried.push(attempt.server().id);
                    attempt.could_not(&servers, hard, &problem);
                    last = Some(problem);
                    continue;
                }
            };
            let copy = (reused && request.method().is_safe() && request.body().is_end_stream())
                .then(|| head_of(&request));
            match attempt.send(connection, request, limit, upload, &servers).await {
                Ok(answered) => {
                    counted.answered();
                    return Ok(answered);
                }
                Err(Failure { unseen: Some(back), problem, .. }) if reused => {
                    request = *back.request;
                    again = Some(back.server);
                    last = Some(problem);
                }
                Err(Failure { unseen: Some(back), problem, .. }) => {
                    request = *back.request;
                    tried.push(back.server.id);
                    last = Some(problem);
                }
                Err(Failure { broke: Some(server), problem, .. }) => match copy {
                    Some(copy) if problem.kind() == kinds::UPSTREAM_FAILED => {
                        request = copy;
                        again = Some(server);
                        last = Some(problem);
                    }
                    _ => return Err(counted.problem(trail.whole(problem))),
                },
                Err(Failure { problem, .. }) => {
                    return Err(counted.problem(trail.whole(problem)));
                }
            }
            self.0.counters.resent.fetch_add(1, Relaxed);
        }
    }
}

/// The request again, without its body, which is empty. What the sender is told by callbacks it is told again.
fn head_of(request: &Request<Body>) -> Request<Body> {
    let mut copy = Request::new(Body::empty());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    copy
}

impl Inner {
    /// A connection to the server, and whether it was used before.
    async fn connection(&self, server: &Arc<Server>, fresh: bool) -> Result<(Kept, bool), Problem> {
        if !fresh && let Some(kept) = server.pool.take(self.instant()) {
            return Ok((kept, true));
        }
        // In a box, since it is large and seldom needed: every request would be as large.
        Box::pin(self.new_connection(server, fresh)).await
    }

    async fn new_connection(
        &self,
        server: &Arc<Server>,
        fresh: bool,
    ) -> Result<(Kept, bool), Problem> {
        let slot = server.pool.slot(self.instant(), !fresh);
        let slot = match timeout(self.connector.timeout, slot).await {
            Ok(Ok(slot)) => slot,
            Ok(Err(kept)) => return Ok((kept, true)),
            Err(_) => {
                let cause = format!("every connection to {} is in use", server.origin);
                return Err(unsent(kinds::UPSTREAM_UNAVAILABLE, cause));
            }
        };
        let opened = self.connector.open(&server.origin, slot).await;
        match opened.map_err(|error: ConnectError| unsent(kinds::UPSTREAM_UNREACHABLE, error))? {
            Sender::Http1(sender) => Ok((Kept::Http1(sender), false)),
            Sender::Http2(sender) => {
                let stream = server.pool.share(server, sender.clone(), self.instant());
                Ok((Kept::Http2(sender, stream), false))
            }
        }
    }
}

/// What came of an attempt that brought no answer.
struct Failure {
    problem: Problem,
    /// Nobody has seen the request.
    unseen: Option<Back>,
    /// The connection broke; the server may have seen it.
    broke: Option<Arc<Server>>,
}

struct Back {
    request: Box<Request<Body>>,
    server: Arc<Server>,
}

/// One request to one server, from the choice to the head of the answer.
struct Attempt {
    upstream: Arc<Inner>,
    in_flight: Option<InFlight>,
    server: Arc<Server>,
    began: Instant,
}

impl Attempt {
    fn begin(upstream: &Arc<Inner>, server: Arc<Server>) -> Self {
        let in_flight = Some(InFlight::new(Arc::clone(&server)));
        Self { upstream: Arc::clone(upstream), in_flight, server, began: upstream.instant() }
    }
    fn server(&self) -> &Arc<Server> {
        &self.server
    }
    fn elapsed(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.began)
    }

    /// Nothing was sent.
    fn could_not(mut self, servers: &[Arc<Server>], hard: bool, problem: &Problem) {
        self.in_flight = None;
        if !hard {
            return;
        }
        if let Some(time) = self.eject(servers, true) {
            let cause = problem.cause_error().map(tracing::field::display);
            tracing::warn!(upstream = %self.upstream.name, server = %self.server.label, cause, "the server takes no connections: left alone for {time:?}");
        }
    }
    fn blame(&self, servers: &[Arc<Server>]) {
        if let Some(time) = self.eject(servers, false) {
            tracing::warn!(upstream = %self.upstream.name, server = %self.server.label, "the server keeps failing: left alone for {time:?}");
        }
    }
    fn eject(&self, servers: &[Arc<Server>], hard: bool) -> Option<Duration> {
        let now = self.upstream.now();
        let time = failed(&self.server, servers, &self.upstream.outliers, hard, now)?;
        self.upstream.counters.ejected.fetch_add(1, Relaxed);
        Some(time)
    }

    async fn send(
        mut self,
        connection: Kept,
        mut request: Request<Body>,
        limit: Duration,
        upload: Option<&Upload>,
        servers: &[Arc<Server>],
    ) -> Result<Answered, Failure> {
        let (mut sender, held, kept);
        let result = match connection {
            Kept::Http1(http1) => {
                *request.version_mut() = Version::HTTP_11;
                if !request.body().is_end_stream() && request.body().size_hint().exact().is_none() {
                    // Hyper says so by itself only for methods that usually have a body.
                    let chunked = HeaderValue::from_static("chunked");
                    request.headers_mut().insert(TRANSFER_ENCODING, chunked);
                }
                if !request.headers().contains_key(HOST) {
                    request.headers_mut().insert(HOST, self.server.origin.host_header());
                }
                sender = http1;
                let answer = sender.try_send_request(request);
                kept = Some(sender);
                held = None;
                in_time(answer, limit, upload).await
            }
            Kept::Http2(mut http2, stream) => {
                for_http2(&mut request, &self.server);
                held = Some(stream);
                kept = None;
                in_time(http2.try_send_request(request), limit, upload).await
            }
        };
        let now = self.upstream.instant();
        match result {
            Ok(Ok(response)) => {
                self.judge(&response, now, servers);
                Ok(self.lease(response, kept, held))
            }
            Ok(Err(mut error)) => {
                self.in_flight = None;
                if let Some(mut request) = error.take_message() {
                    back_to_http1(&mut request);
                    let back =
                        Back { request: Box::new(request), server: Arc::clone(&self.server) };
                    let error = self.server.blamed(error.into_error());
                    let problem = unsent(kinds::UPSTREAM_UNREACHABLE, error);
                    return Err(Failure { problem, unseen: Some(back), broke: None });
                }
                let (problem, to_blame) = broken(error.into_error(), &self.server);
                let is_invalid = problem.kind() == kinds::UPSTREAM_INVALID;
                if to_blame && (kept.is_none() || is_invalid || !problem_is_race(&problem)) {
                    self.blame(servers);
                }
                let broke = to_blame.then(|| Arc::clone(&self.server));
                Err(Failure { problem, unseen: None, broke })
            }
            Err(()) if upload.is_some_and(Upload::waits_for_client) => {
                // It is not the server that keeps everybody waiting.
                self.in_flight = None;
                let problem = BodyError::new(BodyErrorKind::TooSlow).problem();
                Err(Failure { problem, unseen: None, broke: None })
            }
            Err(()) => {
                self.blame(servers);
                let cause = format!("{} sent no answer within {limit:?}", self.server.origin);
                let problem = sent(kinds::UPSTREAM_TIMEOUT, cause);
                Err(Failure { problem, unseen: None, broke: None })
            }
        }
    }

    /// What the head of the answer says about the server.
    fn judge(&mut self, response: &Response<Incoming>, now: Instant, servers: &[Arc<Server>]) {
        self.server.load.took(self.elapsed(now), self.upstream.since(now));
        let is_failure = matches!(
            response.status(),
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
        );
        if is_failure {
            self.blame(servers);
        } else {
            self.server.ejection.succeeded();
        }
    }

    /// The answer, which gives back what it holds when it is over.
    fn lease(
        mut self,
        response: Response<Incoming>,
        sender: Option<hyper::client::conn::http1::SendRequest<Body>>,
        stream: Option<Stream>,
    ) -> Answered {
        let server = self.server.id;
        let tunnel = (response.status() == StatusCode::SWITCHING_PROTOCOLS)
            .then(|| self.in_flight.take())
            .flatten()
            .map(|in_flight| (in_flight, self.server.pool.count()));
        let lease = Lease {
            in_flight: self.in_flight.take(),
            sender: sender.filter(|_| response.status() != StatusCode::SWITCHING_PROTOCOLS),
            stream,
            upstream: Arc::clone(&self.upstream),
        };
        let idle = self.upstream.body_idle;
        let response = response.map(|incoming| UpstreamBody::new(incoming, lease, idle));
        Answered { response, server, tunnel }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.in_flight.take().is_some() {
            // The client went away, or nobody waited any longer.
            let now = self.upstream.instant();
            self.server.load.gave_up(self.elapsed(now), self.upstream.since(now));
        }
    }
}

/// Whether a failure may only be that the server closed a connection which it had kept for long enough.
fn problem_is_race(problem: &Problem) -> bool {
    problem.kind() == kinds::UPSTREAM_FAILED
}

/// Gives the request the form that HTTP/2 needs.
fn for_http2(request: &mut Request<Body>, server: &Server) {
    *request.version_mut() = Version::HTTP_2;
    request.headers_mut().remove(TRANSFER_ENCODING);
    let host = request.headers_mut().remove(HOST).unwrap_or_else(|| server.origin.host_header());
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    let scheme = if server.origin.scheme() == "https" { "https" } else { "http" };
    parts.scheme = scheme.parse().ok();
    parts.authority = host.to_str().ok().and_then(|host| host.parse().ok());
    if parts.authority.is_none() {
        parts.authority = server.origin.host.parse().ok();
    }
    *request.uri_mut() = http::Uri::from_parts(parts).unwrap_or_default();
}

/// Undoes [`for_http2`].
fn back_to_http1(request: &mut Request<Body>) {
    let Some(authority) = request.uri().authority() else { return };
    if let Ok(host) = HeaderValue::try_from(authority.as_str()) {
        request.headers_mut().insert(HOST, host);
    }
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map(http::Uri::from).unwrap_or_default();
}

/// The answer, unless it takes too long. While the request's body is on its way, only a pause counts.
async fn in_time<F: Future>(
    answer: F,
    limit: Duration,
    upload: Option<&Upload>,
) -> Result<F::Output, ()> {
    let mut answer = std::pin::pin!(answer);
    let mut seen = upload.map(Upload::taken);
    loop {
        if let Ok(answered) = timeout(limit, answer.as_mut()).await {
            return Ok(answered);
        }
        let now = upload.map(Upload::taken);
        if now == seen {
            return Err(());
        }
        seen = now;
    }
}

/// Counts what came of a request, also if nobody waits for it.
struct Counted<'a> {
    upstream: &'a Inner,
    done: bool,
}

impl Counted<'_> {
    fn answered(&mut self) {
        self.done = true;
        self.upstream.counters.answered.fetch_add(1, Relaxed);
    }
    fn problem(&mut self, problem: Problem) -> Problem {
        if problem.error_source() == Source::Downstream {
            // The client's own body; what it gets is no matter of the upstream's.
            self.done = true;
            self.upstream.counters.client.fetch_add(1, Relaxed);
            return problem;
        }
        self.done = true;
        let counters = &self.upstream.counters;
        let is = |kind: ProblemKind| problem.kind() == kind;
        let counter = if is(kinds::UPSTREAM_UNREACHABLE) {
            &counters.unreachable
        } else if is(kinds::UPSTREAM_TIMEOUT) {
            &counters.timed_out
        } else if is(kinds::UPSTREAM_UNAVAILABLE) {
            &counters.unavailable
        } else {
            &counters.failed
        };
        counter.fetch_add(1, Relaxed);
        problem
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.upstream.counters.cancelled.fetch_add(1, Relaxed);
        }
    }
}
