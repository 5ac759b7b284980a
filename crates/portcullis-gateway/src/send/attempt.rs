//! One request to one server.
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use http::header::{CONNECTION, EXPECT, HOST, TE, TRANSFER_ENCODING};
use http::{HeaderValue, Request, Response, StatusCode, Version};
use http_body::Body as HttpBody;
use hyper::body::Incoming;
use portcullis_core::{Body, BodyError, BodyErrorKind, Problem};
use portcullis_resilience::is_failure;
use tokio::time::{Instant, timeout, timeout_at};

use super::Answered;
use crate::balance::InFlight;
use crate::body::{Lease, UpstreamBody};
use crate::connect::{ConnectError, Sender};
use crate::error::{broken, kinds, sent, unsent};
use crate::health::failed;
use crate::pool::{Kept, Stream};
use crate::server::Server;
use crate::upload::Upload;
use crate::upstream::Inner;

impl Inner {
    /// A connection to the server, and whether it was used before.
    pub(super) async fn connection(
        &self,
        server: &Arc<Server>,
        fresh: bool,
        until: std::time::Instant,
    ) -> Result<(Kept, bool), Problem> {
        if !fresh && let Some(kept) = server.pool.take(self.instant()) {
            return Ok((kept, true));
        }
        // In a box, since it is large and seldom needed: every request would be as large.
        let left = until.saturating_duration_since(self.instant());
        let opened = timeout(left, Box::pin(self.new_connection(server, fresh))).await;
        opened.unwrap_or_else(|_| {
            let cause = format!("no connection to {} in the time of the request", server.origin);
            Err(unsent(kinds::UPSTREAM_TIMEOUT, cause))
        })
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

/// Why an attempt brought no answer.
pub(super) enum Failure {
    /// Nobody has seen the request.
    Unseen { request: Box<Request<Body>>, problem: Problem },
    /// The connection broke; the server may have seen it.
    Broke(Problem),
    /// No answer came in time; the server may be at work on it.
    TimedOut(Problem),
    /// It is the client's own fault.
    Client(Problem),
}

/// How long a try may take.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// From the last part of the request's body to the head of the answer.
    pub(super) limit: Duration,
    /// Whatever happens: the end of the request's own time.
    pub(super) until: Option<Instant>,
    /// That end is the client's wish, which says nothing about a server.
    pub(super) by_client: bool,
}

/// One request to one server, from the choice to the head of the answer.
pub(super) struct Attempt {
    upstream: Arc<Inner>,
    in_flight: Option<InFlight>,
    server: Arc<Server>,
    began: std::time::Instant,
}

impl Attempt {
    pub(super) fn begin(upstream: &Arc<Inner>, server: Arc<Server>) -> Self {
        let in_flight = Some(InFlight::new(Arc::clone(&server)));
        Self { upstream: Arc::clone(upstream), in_flight, server, began: upstream.instant() }
    }
    fn elapsed(&self, now: std::time::Instant) -> Duration {
        now.saturating_duration_since(self.began)
    }

    /// Nothing was sent.
    pub(super) fn could_not(mut self, servers: &[Arc<Server>], hard: bool, problem: &Problem) {
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

    pub(super) async fn send(
        mut self,
        connection: Kept,
        mut request: Request<Body>,
        limits: Limits,
        upload: Option<&Upload>,
        servers: &[Arc<Server>],
    ) -> Result<Answered, Failure> {
        let Limits { limit, until, by_client } = limits;
        let (mut sender, held, kept);
        let result = match connection {
            Kept::Http1(http1) => {
                *request.version_mut() = Version::HTTP_11;
                if !request.body().is_end_stream() && request.body().size_hint().exact().is_none() {
                    // Hyper says so by itself only for methods that usually have a body.
                    let chunked = HeaderValue::from_static("chunked");
                    request.headers_mut().insert(TRANSFER_ENCODING, chunked);
                }
                if request.headers().contains_key(TE) && !request.headers().contains_key(CONNECTION)
                {
                    // It is of this connection (RFC 9110, section 10.1.4).
                    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("te"));
                }
                if !request.headers().contains_key(HOST) {
                    request.headers_mut().insert(HOST, self.server.origin.host_header());
                }
                sender = http1;
                let answer = sender.try_send_request(request);
                kept = Some(sender);
                held = None;
                in_time(answer, limit, until, upload).await
            }
            Kept::Http2(mut http2, stream) => {
                for_http2(&mut request, &self.server);
                // Informational responses of HTTP/2 do not reach us.
                upload.into_iter().for_each(Upload::want);
                held = Some(stream);
                kept = None;
                in_time(http2.try_send_request(request), limit, until, upload).await
            }
        };
        let now = self.upstream.instant();
        match result {
            Ok(Ok(response)) => {
                self.judge(&response, now, servers);
                let upload = upload.cloned().filter(|_| !is_tunnel(&response));
                upload.iter().for_each(Upload::answered);
                Ok(self.lease(response, kept, held, upload))
            }
            Ok(Err(mut error)) => {
                self.in_flight = None;
                if let Some(mut request) = error.take_message() {
                    back_to_http1(&mut request);
                    let error = self.server.blamed(error.into_error());
                    let problem = unsent(kinds::UPSTREAM_UNREACHABLE, error);
                    return Err(Failure::Unseen { request: Box::new(request), problem });
                }
                let (problem, to_blame) = match upload.and_then(Upload::failure) {
                    Some(failure) => (failure.problem(), false),
                    None => broken(error.into_error(), &self.server),
                };
                let is_invalid = problem.kind() == kinds::UPSTREAM_INVALID;
                if to_blame && (kept.is_none() || is_invalid || !problem_is_race(&problem)) {
                    self.blame(servers);
                }
                Err(if to_blame { Failure::Broke(problem) } else { Failure::Client(problem) })
            }
            Err(_) if upload.is_some_and(Upload::waits_for_client) => {
                // It is not the server that keeps everybody waiting.
                self.in_flight = None;
                Err(Failure::Client(BodyError::new(BodyErrorKind::TooSlow).problem()))
            }
            Err(End::Whole) if by_client => {
                let cause =
                    format!("{} sent no answer in the client's own time", self.server.origin);
                Err(Failure::Client(sent(kinds::UPSTREAM_TIMEOUT, cause)))
            }
            Err(_) => {
                self.blame(servers);
                let cause = format!("{} sent no answer within {limit:?}", self.server.origin);
                Err(Failure::TimedOut(sent(kinds::UPSTREAM_TIMEOUT, cause)))
            }
        }
    }

    /// What the head of the answer says about the server.
    fn judge(
        &mut self,
        response: &Response<Incoming>,
        now: std::time::Instant,
        servers: &[Arc<Server>],
    ) {
        self.server.load.took(self.elapsed(now), self.upstream.since(now));
        if is_failure(response.status()) {
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
        upload: Option<Upload>,
    ) -> Answered {
        let server = self.server.id;
        let tunnel = is_tunnel(&response)
            .then(|| self.in_flight.take())
            .flatten()
            .map(|in_flight| (in_flight, self.server.pool.count()));
        let lease = Lease {
            in_flight: self.in_flight.take(),
            sender: sender.filter(|_| !is_tunnel(&response)),
            stream,
            upload,
            held: None,
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

fn is_tunnel<B>(response: &Response<B>) -> bool {
    response.status() == StatusCode::SWITCHING_PROTOCOLS
}

/// Gives the request the form that HTTP/2 needs.
fn for_http2(request: &mut Request<Body>, server: &Server) {
    *request.version_mut() = Version::HTTP_2;
    request.headers_mut().remove(TRANSFER_ENCODING);
    request.headers_mut().remove(EXPECT);
    request.headers_mut().remove(CONNECTION);
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

/// The answer, unless it takes too long: `limit` counts from the last part of the request's body that was taken, so that a long upload has its
/// time, and `until` is the end whatever happens.
async fn in_time<F: Future>(
    answer: F,
    limit: Duration,
    until: Option<Instant>,
    upload: Option<&Upload>,
) -> Result<F::Output, End> {
    let mut answer = std::pin::pin!(answer);
    let whole = until.unwrap_or_else(|| Instant::now() + FAR);
    let mut end = (Instant::now() + limit).min(whole);
    loop {
        if let Ok(answered) = timeout_at(end, answer.as_mut()).await {
            return Ok(answered);
        }
        let next = upload.map_or(end, |upload| upload.taken() + limit).min(whole);
        if next <= end {
            return Err(if end == whole { End::Whole } else { End::Limit });
        }
        end = next;
    }
}

/// Which time was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// That of the try.
    Limit,
    /// That of the request.
    Whole,
}

/// Later than anything that has an end.
const FAR: Duration = Duration::from_secs(86_400 * 365);

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use std::pin::Pin;
    use std::task::Context as Cx;
    use tokio::time::sleep;

    use crate::upload::UploadBody;

    const SECOND: Duration = Duration::from_secs(1);

    /// Reads a body that is over after so long, and then waits for ever.
    async fn upload(body: UploadBody, after: Duration) {
        let mut body = body;
        sleep(after).await;
        let poll = |cx: &mut Cx<'_>| Pin::new(&mut body).poll_frame(cx);
        drop(std::future::poll_fn(poll).await);
        pending::<()>().await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_of_an_answer_counts_from_the_end_of_the_body() {
        for (sent, until, want) in [
            (None, None, SECOND),
            (Some(Duration::ZERO), None, SECOND),
            (Some(SECOND / 2), None, SECOND * 3 / 2),
            (Some(SECOND / 2), Some(SECOND * 5 / 4), SECOND * 5 / 4),
            (None, Some(SECOND / 4), SECOND / 4),
            // A body that does not come is none of its time.
            (Some(SECOND * 9), None, SECOND),
        ] {
            let began = Instant::now();
            let until = until.map(|until| began + until);
            let (body, known) = UploadBody::new(Body::from("hello"), Box::new(|_| {}), None);
            let known = sent.is_some().then_some(&known);
            let answer = upload(body, sent.unwrap_or(SECOND * 9));
            assert!(in_time(answer, SECOND, until, known).await.is_err());
            let late = began.elapsed().saturating_sub(want);
            assert!(
                began.elapsed() >= want && late.as_millis() <= 2,
                "{sent:?} {:?}",
                began.elapsed()
            );
        }
    }
}
