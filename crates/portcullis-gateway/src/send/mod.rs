//! Sends a request to one of the servers of an upstream, and to another one where that is safe.
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use http::header::UPGRADE;
use http::{Request, Response};
use http_body::Body as HttpBody;
use portcullis_core::{Body, Problem};
use portcullis_resilience::kinds::unavailable;
use portcullis_resilience::{BreakerPermit, Spare, is_failure, retry_after};
use tokio::time::{sleep, timeout};

use crate::balance::{InFlight, Wish};
use crate::body::UpstreamBody;
use crate::error::{kinds, unsent};
use crate::pool::Slot;
use crate::server::Server;
use crate::upload::Upload;
use crate::upstream::{Inner, Upstream};

mod attempt;
mod trail;

use attempt::{Attempt, Failure, Limits};
use trail::Counted;
pub(crate) use trail::Trail;

/// How many bytes of a request are remembered, so that it can be sent again.
const REPLAYED: usize = 64 << 10;
/// How many servers are tried that take no connection.
const UNREACHABLE: u32 = 8;

/// What the choice of a server goes by.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Route {
    pub(crate) key: Option<u64>,
    pub(crate) sticky: Option<u64>,
}

/// How much time a request has, of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Time {
    pub(crate) left: Duration,
    /// The client wished so, and nobody else: that it is over says nothing about a server.
    pub(crate) by_client: bool,
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
    /// What surely nobody has seen goes to another connection, or another server. What a server may have seen is sent again only if
    /// that does no harm: its method is idempotent (RFC 9110, section 9.2.2), and its body can be sent again.
    ///
    /// # Cancellation
    /// The connection closes, or the stream is reset; nothing is kept.
    pub(crate) async fn send(
        &self,
        mut request: Request<Body>,
        upload: Option<&Upload>,
        route: Route,
        time: Option<Time>,
        trail: &mut Trail,
    ) -> Result<Answered, Problem> {
        if !self.0.is_started()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            self.start(&runtime);
        }
        let mut counted = Counted { upstream: &self.0, done: false };
        let held = self.0.bulkhead.as_ref().map(portcullis_resilience::Bulkhead::try_acquire);
        let held = held.transpose().map_err(|full| {
            let cause = format!("upstream `{}`: {full}", self.0.name);
            counted.problem(unsent(kinds::UPSTREAM_UNAVAILABLE, cause))
        })?;
        let now = self.0.instant();
        self.0.budget.request_at(now);
        let limit = time.map_or(self.0.timeout, |time| time.left.min(self.0.timeout));
        let tries = Tries::new(&self.0, upload, route, now + limit, time);
        let hedge = self.0.hedge.filter(|_| is_light(&request));
        let hedge = hedge.and_then(|after| Some((after, Spare::of(&mut request, 0)?.again()?)));
        let answered = match hedge {
            // In a box, since it is twice as large and seldom wanted.
            Some((after, copy)) => Box::pin(hedged(tries, request, copy, after, trail)).await,
            None => tries.send(request, trail, None).await,
        };
        match answered {
            Ok(mut answered) => {
                counted.answered();
                answered.response.body_mut().hold(held);
                Ok(answered)
            }
            Err(problem) => Err(counted.problem(problem)),
        }
    }
}

/// Whether a request can be sent twice at once: nothing changes by it, and it is all there.
fn is_light(request: &Request<Body>) -> bool {
    let plain = !request.headers().contains_key(UPGRADE);
    request.method().is_safe() && request.body().is_end_stream() && plain
}

/// Asks another server too where the first takes longer than most, and takes the answer that comes first.
async fn hedged(
    tries: Tries<'_>,
    request: Request<Body>,
    copy: Request<Body>,
    after: Duration,
    trail: &mut Trail,
) -> Result<Answered, Problem> {
    let asked = AtomicU64::new(0);
    let (mut first_trail, mut second_trail) = (Trail::default(), Trail::default());
    let answered = {
        let mut first = pin!(tries.clone().send(request, &mut first_trail, Some(&asked)));
        match timeout(after, first.as_mut()).await {
            Ok(answered) => answered,
            Err(_) if !tries.upstream.budget.try_retry() => first.await,
            Err(_) => {
                tries.upstream.counters.hedged.fetch_add(1, Relaxed);
                let mut other = tries.clone();
                other.tried.push(asked.load(Relaxed));
                // The first has them.
                other.left = 0;
                let mut second = pin!(other.send(copy, &mut second_trail, None));
                first_of(first.as_mut(), second.as_mut()).await
            }
        }
    };
    let by_second = second_trail.server.is_some()
        && answered.as_ref().is_ok_and(|answered| {
            second_trail.server.as_ref().is_some_and(|server| server.id == answered.server)
        });
    let tries = first_trail.tries + second_trail.tries;
    *trail = if by_second { second_trail } else { first_trail };
    trail.tries = tries;
    answered
}

/// The first of two that goes well; the second failure, where neither does.
async fn first_of<T, E>(
    mut one: Pin<&mut impl Future<Output = Result<T, E>>>,
    mut other: Pin<&mut impl Future<Output = Result<T, E>>>,
) -> Result<T, E> {
    tokio::select! {
        done = one.as_mut() => match done {
            Ok(done) => Ok(done),
            Err(_) => other.await,
        },
        done = other.as_mut() => match done {
            Ok(done) => Ok(done),
            Err(_) => one.await,
        },
    }
}

/// The tries of one request.
#[derive(Clone)]
struct Tries<'a> {
    upstream: &'a Arc<Inner>,
    upload: Option<&'a Upload>,
    route: Route,
    /// When all of them must be over.
    until: Instant,
    /// The end of the request's own time, which no upload prolongs, and whether it is the client's wish.
    whole: Option<tokio::time::Instant>,
    by_client: bool,
    /// How often it may be sent again, where a server may have seen it.
    left: u32,
    /// Who need not be asked again.
    tried: Vec<u64>,
}

/// What comes next.
enum Next {
    /// This is what the client gets.
    Over(Result<Answered, Problem>),
    /// Nobody has seen the request, or it does no harm: to the same server on a new connection, or to another one.
    Resend(Request<Body>, Option<Arc<Server>>, Problem),
    /// Once more, some time later.
    Retry(Duration, Problem),
}

/// One try, and what is known of it.
struct Try<'a> {
    server: &'a Arc<Server>,
    servers: &'a [Arc<Server>],
    /// On a connection that was used before.
    reused: bool,
    permit: Option<BreakerPermit>,
    spare: Option<&'a Spare>,
}

impl<'a> Tries<'a> {
    fn new(
        upstream: &'a Arc<Inner>,
        upload: Option<&'a Upload>,
        route: Route,
        until: Instant,
        time: Option<Time>,
    ) -> Self {
        let whole = time.map(|time| tokio::time::Instant::now() + time.left);
        let by_client = time.is_some_and(|time| time.by_client);
        let left = upstream.retries;
        Self { upstream, upload, route, until, whole, by_client, left, tried: Vec::new() }
    }
    fn time_left(&self) -> Duration {
        self.until.saturating_duration_since(self.upstream.instant())
    }
    /// The server for the next try. `or_again` takes one that was tried, where there is no other.
    fn choose(&self, servers: &[Arc<Server>], or_again: bool) -> Option<Arc<Server>> {
        let choose = |not| {
            let wish = Wish { key: self.route.key, server: self.route.sticky, not };
            self.upstream.rules.choose(servers, wish, self.upstream.now()).map(Arc::clone)
        };
        choose(&self.tried).or_else(|| if or_again { choose(&[]) } else { None })
    }
    fn acquire(&self) -> Result<Option<BreakerPermit>, Problem> {
        let Some(breaker) = &self.upstream.breaker else { return Ok(None) };
        breaker.try_acquire().map(Some).map_err(|open| {
            let cause = format!("upstream `{}`: {open}", self.upstream.name);
            unavailable(cause, open.retry_after())
        })
    }
    /// Keeps what is needed to send the request again, where it may be: also one that is never retried, if it is light and its
    /// connection may break just now, since the server has kept it for long enough.
    fn keep(&self, kept: &mut Option<Spare>, request: &mut Request<Body>, reused: bool) {
        let is_plain = !request.headers().contains_key(UPGRADE);
        let may_be_retried =
            self.upstream.retries > 0 && request.method().is_idempotent() && is_plain;
        if kept.is_none() && (may_be_retried || (reused && is_light(request))) {
            *kept = Spare::of(request, REPLAYED);
        }
    }
    /// How long to wait until the request may be sent again; `None` where it may not. `after` is what the server asks for.
    fn may_retry(
        &mut self,
        server: &Server,
        servers: &[Arc<Server>],
        after: Option<Duration>,
    ) -> Option<Duration> {
        if self.left == 0 {
            return None;
        }
        if !self.tried.contains(&server.id) {
            self.tried.push(server.id);
        }
        let delay = if self.choose(servers, false).is_some() {
            Duration::ZERO
        } else {
            self.upstream.backoff.delay_of(self.upstream.retries - self.left, after)?
        };
        if delay >= self.time_left() || !self.upstream.budget.try_retry() {
            return None;
        }
        self.left -= 1;
        Some(delay)
    }

    async fn send(
        mut self,
        mut request: Request<Body>,
        trail: &mut Trail,
        asked: Option<&AtomicU64>,
    ) -> Result<Answered, Problem> {
        let mut last: Option<Problem> = None;
        let mut kept: Option<Spare> = None;
        // On a server whose kept connection broke, the next attempt takes a new one.
        let mut again: Option<Arc<Server>> = None;
        let (mut unreachable, mut retried) = (0, false);
        loop {
            let servers = self.upstream.servers.load();
            let fresh = again.is_some();
            let Some(server) = again.take().or_else(|| self.choose(&servers, retried)) else {
                // Who comes before the servers are known waits for them. In a box, since it is seldom needed.
                if servers.is_empty() && Box::pin(self.upstream.first_look(self.time_left())).await
                {
                    continue;
                }
                let nobody = || {
                    let cause = format!("upstream `{}` has no server", self.upstream.name);
                    unsent(kinds::UPSTREAM_UNAVAILABLE, cause)
                };
                return Err(trail.whole(last.unwrap_or_else(nobody)));
            };
            if let Some(before) = last.take() {
                if self.time_left().is_zero() {
                    return Err(trail.whole(before));
                }
                trail.remember(&before);
            }
            let permit = self.acquire().map_err(|open| trail.whole(open))?;
            trail.begin(&server);
            if let Some(asked) = asked {
                asked.store(server.id, Relaxed);
            }
            let attempt = Attempt::begin(self.upstream, Arc::clone(&server));
            let (connection, reused) = match self
                .upstream
                .connection(&server, fresh, self.until)
                .await
            {
                Ok(connected) => connected,
                Err(problem) => {
                    let hard = problem.kind() == kinds::UPSTREAM_UNREACHABLE;
                    end(permit, hard.then_some(true));
                    tracing::debug!(upstream = %self.upstream.name, server = %server.label, cause = ?problem.cause_error().map(ToString::to_string), "cannot send");
                    attempt.could_not(&servers, hard, &problem);
                    self.tried.push(server.id);
                    unreachable += 1;
                    if unreachable >= UNREACHABLE {
                        return Err(trail.whole(problem));
                    }
                    last = Some(problem);
                    continue;
                }
            };
            self.keep(&mut kept, &mut request, reused);
            let limit = self.upstream.try_timeout.unwrap_or(Duration::MAX).min(self.time_left());
            let limits = Limits { limit, until: self.whole, by_client: self.by_client };
            let outcome = attempt.send(connection, request, limits, self.upload, &servers).await;
            let spare = kept.as_ref();
            let this = Try { server: &server, servers: &servers, reused, permit, spare };
            match self.judge(outcome, this) {
                Next::Over(result) => return result.map_err(|problem| trail.whole(problem)),
                Next::Resend(back, same, problem) => {
                    self.upstream.counters.resent.fetch_add(1, Relaxed);
                    if same.is_none() {
                        self.tried.push(server.id);
                    }
                    (request, again, last) = (back, same, Some(problem));
                }
                Next::Retry(delay, problem) => {
                    let Some(next) = kept.as_ref().and_then(Spare::again) else {
                        return Err(trail.whole(problem));
                    };
                    self.upstream.counters.retried.fetch_add(1, Relaxed);
                    (request, last, retried) = (next, Some(problem), true);
                    if !delay.is_zero() {
                        sleep(delay).await;
                    }
                }
            }
        }
    }

    /// Decides what comes next, and tells the breaker what came of it.
    fn judge(&mut self, outcome: Result<Answered, Failure>, this: Try<'_>) -> Next {
        let Try { server, servers, reused, permit, spare } = this;
        match outcome {
            Ok(answered) => {
                let failed = is_failure(answered.response.status());
                end(permit, Some(failed));
                if !failed || !spare.is_some_and(Spare::is_whole) {
                    return Next::Over(Ok(answered));
                }
                let after = retry_after(answered.response.headers());
                let Some(delay) = self.may_retry(server, servers, after) else {
                    return Next::Over(Ok(answered));
                };
                let cause = format!("{} answered {}", server.label, answered.response.status());
                Next::Retry(delay, unsent(kinds::UPSTREAM_UNAVAILABLE, cause))
            }
            Err(Failure::Unseen { request, problem }) => {
                end(permit, (!reused).then_some(true));
                Next::Resend(*request, reused.then(|| Arc::clone(server)), problem)
            }
            Err(Failure::Client(problem)) => {
                end(permit, None);
                Next::Over(Err(problem))
            }
            // The server may only have closed a connection which it had kept for long enough, just when it was used; and the request does
            // no harm if it was not so.
            Err(Failure::Broke(problem))
                if reused
                    && problem.kind() == kinds::UPSTREAM_FAILED
                    && spare.is_some_and(Spare::is_light) =>
            {
                end(permit, None);
                match spare.and_then(Spare::again) {
                    Some(request) => Next::Resend(request, Some(Arc::clone(server)), problem),
                    None => Next::Over(Err(problem)),
                }
            }
            Err(Failure::Broke(problem) | Failure::TimedOut(problem)) => {
                end(permit, Some(true));
                match spare.and_then(|_| self.may_retry(server, servers, None)) {
                    Some(delay) => Next::Retry(delay, problem),
                    None => Next::Over(Err(problem)),
                }
            }
        }
    }
}

/// Says what came of an ask: that it failed, that it did not, or nothing that says anything.
fn end(permit: Option<BreakerPermit>, failed: Option<bool>) {
    match (permit, failed) {
        (Some(permit), Some(true)) => permit.failed(),
        (Some(permit), Some(false)) => permit.succeeded(),
        _ => {}
    }
}
