//! The rate limit layer.
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context as Cx, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use portcullis_core::stack::{KnownCaller, Plan, Staged};
use portcullis_core::{Body, BoxError, ConfigError, Context, stage};
use tower_layer::Layer;
use tower_service::Service;

use crate::cost::Cost;
use crate::fields::{self, Fields};
use crate::future::RateLimitFuture;
use crate::key::Asked;
use crate::limiter::{Begun, Counts, Limiter, Named};
use crate::memory::MOST_WINDOWS;
use crate::option::Limits;
use crate::quota::{Quota, Window};
use crate::stats::RateLimitStats;

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
/// A request counts when the inner service is called, and stays counted when it is dropped. One that is dropped while it waits, or while a store is asked, gives
/// back what it took; what a store was just being asked may stay counted.
pub struct RateLimitLayer<S = stage::Limit> {
    quotas: Vec<Named>,
    keys: usize,
    fields: Fields,
    /// Whether it was said that clients have no address.
    warned: Arc<AtomicBool>,
    stage: PhantomData<fn() -> S>,
}

impl RateLimitLayer<stage::Limit> {
    /// Counts behind authentication: by identity, by tenant, or by whatever else there is.
    pub fn in_memory() -> Self {
        Self::empty()
    }
}

impl RateLimitLayer<stage::Shed> {
    /// Counts before the route is known: everything that gets past the edge, by address or by a header. Also what no route
    /// answers, such as a scan for addresses.
    pub fn before_routing() -> Self {
        Self::empty()
    }
}

impl RateLimitLayer<stage::PreLimit> {
    /// Counts before authentication: by what needs no identity. What no route answers (404, 405, OPTIONS) does not get
    /// here.
    pub fn before_authentication() -> Self {
        Self::empty()
    }
}

impl<S> RateLimitLayer<S> {
    fn empty() -> Self {
        Self {
            quotas: Vec::new(),
            keys: 1_000_000,
            fields: Fields::default(),
            warned: Arc::default(),
            stage: PhantomData,
        }
    }
    /// Defines a quota for the routes that name it. The name stands in answers, so it is plain ASCII, of 64 characters at most.
    #[must_use]
    pub fn quota(self, name: &str, quota: Quota) -> Self {
        self.with(name.into(), false, quota)
    }
    /// Defines a quota for every request that gets to this layer: see where its stage stands. Answers call it `everywhere`, and `everywhere-2` the second one; where several layers
    /// have one, [`everywhere_as`](Self::everywhere_as) tells them apart.
    #[must_use]
    pub fn everywhere(self, quota: Quota) -> Self {
        let name = match self.quotas.iter().filter(|named| named.everywhere).count() {
            0 => "everywhere".into(),
            others => format!("everywhere-{}", others + 1).into(),
        };
        self.with(name, true, quota)
    }
    /// The same, and answers call it by this name, which no other quota has.
    #[must_use]
    pub fn everywhere_as(self, name: &str, quota: Quota) -> Self {
        self.with(name.into(), true, quota)
    }
    fn with(mut self, name: Arc<str>, everywhere: bool, quota: Quota) -> Self {
        self.quotas.push(Named::new(name, everywhere, quota, self.keys));
        self
    }
    /// For how many keys each bound of a quota has room. Default: a million, which take 36 MB when they are all there; few keys take little, and there is always room for some
    /// hundred. Where there are more, those go first that have nothing used up, then those that have used least.
    #[must_use]
    pub fn capacity(mut self, keys: usize) -> Self {
        self.keys = keys;
        for named in &mut self.quotas {
            named.counts = Arc::new(Counts::new(keys));
        }
        self
    }
    /// What answers say about quotas. Default: [`Fields::Standard`].
    #[must_use]
    pub fn fields(self, fields: Fields) -> Self {
        Self { fields, ..self }
    }

    /// Goes on where another layer has got to, which this one replaces: a quota that has the same name and key there keeps its
    /// counts, so that replacing a stack gives nobody a fresh start, also where the quota allows more or less now.
    #[must_use]
    pub fn continuing(mut self, before: &Self) -> Self {
        let mut known: Vec<_> = before.quotas.iter().collect();
        for named in &mut self.quotas {
            let same = |old: &&Named| {
                old.everywhere == named.everywhere
                    && old.name == named.name
                    && old.quota.key == named.quota.key
            };
            if let Some(at) = known.iter().position(same) {
                named.counts = Arc::clone(&known.swap_remove(at).counts);
            }
        }
        self
    }

    /// What its quotas count about themselves, of several layers [together](RateLimitStats::and): for `Metrics::with_source` of `portcullis-telemetry`: refusals, waits, calls to stores, memory. Labels are the names of quotas.
    pub fn stats(&self) -> RateLimitStats {
        let counts = self.quotas.iter().map(|named| (named.name.clone(), named.counts.clone()));
        RateLimitStats::new(counts.collect())
    }

    fn check_quotas(&self, plan: &mut Plan, knows: Knows) {
        let names = self.quotas.iter().filter(|named| !named.everywhere);
        let names: Vec<_> = names.map(|named| Arc::clone(&named.name)).collect();
        let all: Vec<_> = self.quotas.iter().map(|named| &named.name).collect();
        for (at, name) in all.iter().enumerate() {
            let place = format!("quota `{name}`");
            if all.iter().take(at).any(|other| other == name) {
                let message = "the name stands twice in one layer";
                plan.errors([ConfigError::new(place.clone(), message)]);
            }
            if !fields::is_name(name) {
                let message = "the name stands in answers: write it in plain ASCII, with 64 characters at most";
                plan.errors([ConfigError::new(place, message)]);
            }
        }
        for named in &self.quotas {
            let place = if named.everywhere {
                "a quota that counts everywhere".to_owned()
            } else {
                format!("quota `{}`", named.name)
            };
            plan.errors(
                mistakes(&named.quota, knows).map(|text| ConfigError::new(place.clone(), text)),
            );
        }
        plan.reads::<Limits>(names);
    }
}

/// What is known where a layer stands.
#[derive(Clone, Copy)]
struct Knows {
    identity: bool,
    route: bool,
}

/// What is wrong with a quota where this is known.
fn mistakes(quota: &Quota, knows: Knows) -> impl Iterator<Item = &'static str> {
    let needs_identity = quota.needs_identity() && !knows.identity;
    let needs_route = quota.key.needs_route() && !knows.route;
    let misses_refusals = quota.cost == Cost::Refusals && knows.identity;
    let most = quota.all_windows().map(|windows| windows.len()).max().unwrap_or(0);
    let least = match quota.cost {
        Cost::Fixed(units) => units,
        Cost::Settled { first } | Cost::SettledBy { first, .. } => first,
        _ => 0,
    };
    let mut bounds = quota.all_windows().flat_map(|windows| windows.iter());
    let never = bounds.any(|bound| matches!(bound, Window::Rate(rate) if rate.at_once() < least));
    [
        needs_identity.then_some("it asks who is calling, but stands before authentication: move it to `RateLimitLayer::in_memory()`"),
        needs_route.then_some("it counts by route, but stands before the route is known: move it to `before_authentication()`"),
        (most > MOST_WINDOWS).then_some("it has more than eight bounds"),
        never.then_some("a request costs more than it ever has room for, so nobody would get through: lower the cost, or raise the burst"),
        misses_refusals.then_some("it counts refusals, but stands behind authentication, which answers wrong credentials before it: move it to `before_authentication()`"),
    ]
    .into_iter()
    .flatten()
}

impl<S> Clone for RateLimitLayer<S> {
    fn clone(&self) -> Self {
        Self {
            quotas: self.quotas.clone(),
            keys: self.keys,
            fields: self.fields,
            warned: Arc::clone(&self.warned),
            stage: PhantomData,
        }
    }
}

impl<S> fmt::Debug for RateLimitLayer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quotas = self.quotas.iter().map(|named| (&named.name, &named.quota));
        f.debug_struct("RateLimitLayer")
            .field("quotas", &quotas.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl<S, St> Layer<S> for RateLimitLayer<St> {
    type Service = RateLimit<S>;
    fn layer(&self, inner: S) -> Self::Service {
        let Self { quotas, fields, warned, .. } = self;
        let (quotas, warned) = (quotas.clone(), Arc::clone(warned));
        let limiter = Limiter::new(quotas, *fields, warned);
        RateLimit { inner, limiter: Arc::new(limiter) }
    }
}

impl Staged for RateLimitLayer<stage::Shed> {
    type Stage = stage::Shed;
    type Needs = ();
    type Provides = ();
    fn check(&self, plan: &mut Plan) {
        self.check_quotas(plan, Knows { identity: false, route: false });
        let named = self.quotas.iter().filter(|named| !named.everywhere);
        let message = "it has a name, but stands before the route is known: move it to `before_authentication()`";
        plan.errors(
            named.map(|named| ConfigError::new(format!("quota `{}`", named.name), message)),
        );
    }
}

impl Staged for RateLimitLayer<stage::PreLimit> {
    type Stage = stage::PreLimit;
    type Needs = ();
    type Provides = ();
    fn check(&self, plan: &mut Plan) {
        self.check_quotas(plan, Knows { identity: false, route: true });
    }
}

impl Staged for RateLimitLayer<stage::Limit> {
    type Stage = stage::Limit;
    type Needs = KnownCaller;
    type Provides = ();
    fn check(&self, plan: &mut Plan) {
        self.check_quotas(plan, Knows { identity: true, route: true });
    }
}

/// Answers 429 with `Retry-After` to a request over a quota; the inner service is not called then.
#[derive(Clone)]
pub struct RateLimit<S> {
    inner: S,
    limiter: Arc<Limiter>,
}

impl<S: fmt::Debug> fmt::Debug for RateLimit<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, ReqBody, B> Service<Request<ReqBody>> for RateLimit<S>
where
    S: Service<Request<ReqBody>, Response = Response<B>> + Clone,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = RateLimitFuture<S, ReqBody>;

    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let context = Context::of(&mut request);
        let asked = Asked {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
            context: &context,
        };
        if let Some(said) = self.limiter.quick(&asked) {
            return RateLimitFuture::quick(self.inner.call(request), said);
        }
        match self.limiter.begin(&asked) {
            Begun::Passed(admitted) => RateLimitFuture::calling(&mut self.inner, request, admitted),
            Begun::Pending(admitted) => {
                RateLimitFuture::deciding(&mut self.inner, request, admitted)
            }
            Begun::Refused(problem) => RateLimitFuture::refused(problem.respond(&context)),
        }
    }
}
