//! The rate limit layer.
use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context as Cx, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderValue, Request, Response};
use http_body::Body as HttpBody;
use portcullis_core::stack::{KnownCaller, Plan, Staged};
use portcullis_core::{Body, BoxError, ConfigError, Context, Problem, Refusable, stage};
use tower_layer::Layer;
use tower_service::Service;

use crate::kinds::RATE_LIMITED;
use crate::memory::{Memory, Slot, Who};
use crate::option::Limits;
use crate::quota::{Key, Quota, Rate};

/// Applies [`RateLimit`]: counts requests against quotas, by the keys that its stage has.
///
/// A quota with a name counts the requests of routes that name it ([`LimitExt`](crate::LimitExt)); one that stands
/// [`everywhere`](Self::everywhere) counts all that pass.
///
/// A request that one quota refuses costs nothing in the others. On a public route nobody's identity is looked at, so a
/// quota by identity counts by address there.
///
/// Used alone, without a route table, only quotas that stand everywhere count.
///
/// # Cancellation
/// A request counts when it is admitted, and stays counted when it is dropped.
pub struct RateLimitLayer<S = stage::Limit> {
    quotas: Vec<Named>,
    /// The number of the next quota.
    next: u32,
    capacity: usize,
    // Made when the first request comes, and shared by the services of all clones.
    state: Arc<OnceLock<State>>,
    stage: PhantomData<fn() -> S>,
}

#[derive(Clone, Debug)]
struct Named {
    /// `None` counts everywhere.
    name: Option<Arc<str>>,
    quota: Quota,
    rate: Rate,
    /// Which of the counts are its own.
    number: u32,
}

struct State {
    memory: Memory,
    /// Times are counted from the first request.
    epoch: Instant,
    warned: AtomicBool,
}

impl RateLimitLayer<stage::Limit> {
    /// Counts in memory, behind authentication: by identity or by address.
    pub fn in_memory() -> Self {
        Self::empty()
    }
}

impl RateLimitLayer<stage::Shed> {
    /// Counts in memory, before the route is known: everything that gets past the edge, by address. Also what no route
    /// answers, such as a scan for addresses.
    pub fn before_routing() -> Self {
        Self::empty()
    }
}

impl RateLimitLayer<stage::PreLimit> {
    /// Counts in memory, before authentication: by address. What no route answers (404, 405, OPTIONS) does not get
    /// here.
    pub fn before_authentication() -> Self {
        Self::empty()
    }
}

impl<S> RateLimitLayer<S> {
    fn empty() -> Self {
        Self {
            quotas: Vec::new(),
            next: 0,
            capacity: 1_000_000,
            state: Arc::default(),
            stage: PhantomData,
        }
    }
    /// Defines a quota for the routes that name it.
    #[must_use]
    pub fn quota(self, name: &str, quota: Quota) -> Self {
        self.with(Some(name.into()), quota)
    }
    /// Defines a quota for every request that gets to this layer: see where its stage stands.
    #[must_use]
    pub fn everywhere(self, quota: Quota) -> Self {
        self.with(None, quota)
    }
    fn with(mut self, name: Option<Arc<str>>, quota: Quota) -> Self {
        self.quotas.push(Named { name, quota, rate: quota.rate(), number: self.next });
        self.next = self.next.wrapping_add(1);
        // What was shared with clones counted other quotas.
        self.state = Arc::default();
        self
    }
    /// How many keys are remembered at most. Default: a million, which take about 64 MB.
    #[must_use]
    pub fn capacity(self, keys: usize) -> Self {
        Self { capacity: keys, state: Arc::default(), ..self }
    }

    /// Goes on where another layer has got to, which this one replaces: a quota that has the same name, rate and key there keeps its
    /// counts, so that replacing a stack gives nobody a fresh start. The capacity stays that of the other.
    #[must_use]
    pub fn continuing(mut self, before: &Self) -> Self {
        self.next = before.next;
        let mut known: Vec<_> = before.quotas.iter().collect();
        for named in &mut self.quotas {
            let same = |old: &&Named| old.name == named.name && old.quota == named.quota;
            if let Some(at) = known.iter().position(same) {
                named.number = known.swap_remove(at).number;
            } else {
                named.number = self.next;
                self.next = self.next.wrapping_add(1);
            }
        }
        self.capacity = before.capacity;
        self.state = Arc::clone(&before.state);
        self
    }

    fn check_quotas(&self, plan: &mut Plan, has_identity: bool) {
        let names: Vec<_> = self.quotas.iter().filter_map(|quota| quota.name.clone()).collect();
        for (at, name) in names.iter().enumerate() {
            if names.iter().take(at).any(|other| other == name) {
                plan.errors([ConfigError::new(
                    format!("quota `{name}`"),
                    "the name stands twice in one layer",
                )]);
            }
        }
        for quota in
            self.quotas.iter().filter(|named| named.quota.key() == Key::Identity && !has_identity)
        {
            let place = quota
                .name
                .as_ref()
                .map_or("a quota that counts everywhere".to_owned(), |n| format!("quota `{n}`"));
            let message = "it counts by identity, but stands before authentication: move it to `RateLimitLayer::in_memory()`";
            plan.errors([ConfigError::new(place, message)]);
        }
        plan.reads::<Limits>(names);
    }
}

impl<S> Clone for RateLimitLayer<S> {
    fn clone(&self) -> Self {
        Self {
            quotas: self.quotas.clone(),
            next: self.next,
            capacity: self.capacity,
            state: Arc::clone(&self.state),
            stage: PhantomData,
        }
    }
}

impl<S> fmt::Debug for RateLimitLayer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitLayer").field("quotas", &self.quotas).finish_non_exhaustive()
    }
}

impl<S, St> Layer<S> for RateLimitLayer<St> {
    type Service = RateLimit<S>;
    fn layer(&self, inner: S) -> Self::Service {
        let Self { quotas, capacity, state, .. } = self;
        let limiter =
            Limiter { quotas: quotas.clone(), capacity: *capacity, state: Arc::clone(state) };
        RateLimit { inner, limiter: Arc::new(limiter) }
    }
}

impl Staged for RateLimitLayer<stage::Shed> {
    type Stage = stage::Shed;
    type Needs = ();
    type Provides = ();
    fn check(&self, plan: &mut Plan) {
        self.check_quotas(plan, false);
        let named = self.quotas.iter().filter_map(|quota| quota.name.as_ref());
        let message = "it has a name, but stands before the route is known: move it to `before_authentication()`";
        plan.errors(named.map(|name| ConfigError::new(format!("quota `{name}`"), message)));
    }
}

impl Staged for RateLimitLayer<stage::PreLimit> {
    type Stage = stage::PreLimit;
    type Needs = ();
    type Provides = ();
    fn check(&self, plan: &mut Plan) {
        self.check_quotas(plan, false);
    }
}

impl Staged for RateLimitLayer<stage::Limit> {
    type Stage = stage::Limit;
    type Needs = KnownCaller;
    type Provides = ();
    fn check(&self, plan: &mut Plan) {
        self.check_quotas(plan, true);
    }
}

/// Answers 429 with `Retry-After` to a request over a quota; the inner service is not called then.
#[derive(Clone, Debug)]
pub struct RateLimit<S> {
    inner: S,
    limiter: Arc<Limiter>,
}

struct Limiter {
    quotas: Vec<Named>,
    capacity: usize,
    state: Arc<OnceLock<State>>,
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter").field("quotas", &self.quotas).finish_non_exhaustive()
    }
}

impl<S, ReqBody, B> Service<Request<ReqBody>> for RateLimit<S>
where
    S: Service<Request<ReqBody>, Response = Response<B>>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Refusable<S::Future>;

    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let context = Context::of(&mut request);
        match self.limiter.admit(&context) {
            Ok(()) => Refusable::calling(self.inner.call(request)),
            Err(problem) => Refusable::answered(problem.respond(&context)),
        }
    }
}

impl Limiter {
    fn admit(&self, context: &Context) -> Result<(), Problem> {
        let named = context.route().and_then(|route| route.options().get::<Limits>());
        let now = context.clock().now();
        let state = self.state.get_or_init(|| State::new(self.capacity, now));
        let since = now.saturating_duration_since(state.epoch).as_nanos();
        let now = u64::try_from(since).unwrap_or(u64::MAX);
        let slot = |limit: &Named| Slot {
            quota: limit.number,
            who: state.who(limit.quota.key(), context),
        };
        let counting = || self.quotas.iter().enumerate().filter(|(_, limit)| limit.counts(named));
        for (quota, limit) in counting() {
            let Err(wait) = state.memory.admit(slot(limit), limit.rate, now) else {
                continue;
            };
            // A refused request costs nothing, and is told when all its quotas have room again.
            for (_, limit) in counting().take_while(|(before, _)| *before < quota) {
                state.memory.take_back(slot(limit), limit.rate);
            }
            let after = counting().skip_while(|(after, _)| *after <= quota);
            let waits =
                after.filter_map(|(_, limit)| state.memory.wait(slot(limit), limit.rate, now));
            let wait = waits.fold(wait, Duration::max);
            let name = limit.name.as_deref().unwrap_or("everywhere");
            context.note("limit", || format!("over the quota `{name}`, {wait:?} too early"));
            return Err(refusal(name, wait));
        }
        Ok(())
    }
}

impl Named {
    /// Whether a request to a route with these limits counts against this quota.
    fn counts(&self, limits: Option<&Limits>) -> bool {
        self.name.as_ref().is_none_or(|name| limits.is_some_and(|limits| limits.contains(name)))
    }
}

/// 429, with the time to wait in whole seconds, rounded up.
fn refusal(name: &str, wait: Duration) -> Problem {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let cause = format!("over the quota `{name}`");
    Problem::new(RATE_LIMITED)
        .header(RETRY_AFTER, HeaderValue::from(seconds.max(1)))
        .cause(cause)
        .retry_is_safe()
}

impl State {
    fn new(capacity: usize, epoch: Instant) -> Self {
        Self { memory: Memory::new(capacity), epoch, warned: AtomicBool::new(false) }
    }
    fn who(&self, key: Key, context: &Context) -> Who {
        if let (Key::Identity, Some(identity)) = (key, context.identity()) {
            return Who::Identity(identity.fingerprint());
        }
        if let Some(client) = context.client() {
            return Who::Address(client.key().to_bits());
        }
        if !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "the address of the client is not known, so all such clients share one limit: let the server or \
                 the adapter pass the peer's address on (axum: serve with connect info, and put `BridgeLayer` \
                 outside of a layer that is used without a stack)"
            );
        }
        Who::Unknown
    }
}
