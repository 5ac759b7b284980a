//! The layer, and what can be said about it.
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Once, OnceLock};
use std::time::Duration;

use portcullis_core::stack::{KnownCaller, Plan, Staged};
use portcullis_core::{Context, stage};
use tower_layer::Layer;

use super::concurrency::Concurrency;
use super::priority::{Classify, Priority, RoutePriority, Shares};
use super::queue::Queue;
use super::service::{Overload, Shared};
use super::state::State;

/// Applies [`Overload`]: limits how many requests are under way at once, and sheds the rest.
///
/// A request is under way until the body of its answer is over. The limit is a number, or [follows the
/// latency](Concurrency::adaptive). Which requests are shed follows their [`Priority`] and, with [`fair`](Self::fair), what
/// their tenant has under way; with a [`queue`](Self::queue) those that find no room wait a little.
///
/// ```
/// use portcullis_ratelimit::{Concurrency, OverloadLayer, Queue};
/// let layer = OverloadLayer::new(Concurrency::fixed(200)).paid_plans(["pro"]).fair().queue(Queue::new(100));
/// ```
///
/// In front of everything, where only addresses are known:
///
/// ```
/// use portcullis_ratelimit::{Concurrency, OverloadLayer};
/// let layer = OverloadLayer::before_routing(Concurrency::fixed(1_000)).per_address(50);
/// ```
///
/// Behind the cache, so that its hits teach the adaptive limit nothing:
///
/// ```
/// use portcullis_ratelimit::{Concurrency, OverloadLayer};
/// let layer = OverloadLayer::inner(Concurrency::adaptive().between(10, 500).into());
/// ```
///
/// # Deployment
/// Each process has a limit of its own. An upgraded connection, such as a web socket, no longer counts once the answer that
/// upgrades it is over.
///
/// # Cancellation
/// Dropping the future or the body makes room, also while the request waits.
pub struct OverloadLayer<S = stage::Limit> {
    settings: Settings,
    // Made when it is first needed, and shared by the services of all clones.
    state: Arc<OnceLock<Arc<State>>>,
    continues: bool,
    stage: PhantomData<fn() -> S>,
}

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) limit: Concurrency,
    pub(super) shares: Shares,
    pub(super) classify: Classify,
    pub(super) fair: bool,
    pub(super) queue: Option<Queue>,
    pub(super) per_address: Option<usize>,
    pub(super) retry_after: Duration,
}

impl OverloadLayer<stage::Limit> {
    /// Limits behind authentication, where identity, tenant and plan are known.
    ///
    /// By default a request of an identity that has a plan is [`High`](Priority::High), of another identity
    /// [`Normal`](Priority::Normal), and of anybody else [`Low`](Priority::Low), unless its
    /// [route](super::PriorityExt::priority) says otherwise.
    pub fn new(limit: Concurrency) -> Self {
        Self::with_limit(limit, Classify::Caller { paid: None })
    }
}

impl OverloadLayer<stage::Shed> {
    /// Limits before the route is known: everything that gets past the edge. By default all have the same priority,
    /// [`High`](Priority::High).
    pub fn before_routing(limit: Concurrency) -> Self {
        Self::with_limit(limit, Classify::Same)
    }
    /// How many requests of one client's address (of one /64 in IPv6) may be under way or wait. Default: as many as in all.
    ///
    /// A client whose address is not known is not held to it.
    #[must_use]
    pub fn per_address(self, requests: usize) -> Self {
        self.with(|settings| settings.per_address = Some(requests.max(1)))
    }
}

impl OverloadLayer<stage::Inner> {
    /// Limits behind the cache. Priorities are by default as with [`new`](OverloadLayer::new).
    pub fn inner(limit: Concurrency) -> Self {
        Self::with_limit(limit, Classify::Caller { paid: None })
    }
}

impl<S> OverloadLayer<S> {
    fn with_limit(limit: Concurrency, classify: Classify) -> Self {
        let settings = Settings {
            limit,
            shares: Shares::default(),
            classify,
            fair: false,
            queue: None,
            per_address: None,
            retry_after: Duration::from_secs(1),
        };
        Self { settings, state: Arc::default(), continues: false, stage: PhantomData }
    }
    fn with(mut self, edit: impl FnOnce(&mut Settings)) -> Self {
        edit(&mut self.settings);
        if !self.continues {
            // What was shared with clones had other settings.
            self.state = Arc::default();
        }
        self
    }
    /// The priority of a request whose route says nothing, in place of the default. It is asked for each request, and must be quick.
    #[must_use]
    pub fn priority(self, priority: impl Fn(&Context) -> Priority + Send + Sync + 'static) -> Self {
        self.with(|settings| settings.classify = Classify::By(Arc::new(priority)))
    }
    /// The plans that make a request [`High`](Priority::High); an identity with another is [`Normal`](Priority::Normal), and everybody else
    /// [`Low`](Priority::Low). Default: every plan.
    #[must_use]
    pub fn paid_plans<P: Into<Arc<str>>>(self, plans: impl IntoIterator<Item = P>) -> Self {
        let paid = Some(plans.into_iter().map(Into::into).collect());
        self.with(|settings| settings.classify = Classify::Caller { paid })
    }
    /// How many percent of the limit a priority may use, from 1 to 100; never less than a lower one, and always room for one. What is
    /// said of [`Critical`](Priority::Critical) has no effect: it has the whole limit and its [`reserve`](Self::reserve). Default:
    /// High 100, Normal 90, Low 80.
    #[must_use]
    pub fn share(self, priority: Priority, percent: u8) -> Self {
        self.with(|settings| settings.shares.share(priority, percent))
    }
    /// How many critical requests may be under way beyond the limit. Default: a tenth of the limit, at least one.
    #[must_use]
    pub fn reserve(self, requests: usize) -> Self {
        self.with(|settings| settings.shares.reserve(requests))
    }
    /// Divides the limit fairly where it is used up. Default: first come, first served.
    ///
    /// A share is the limit, as far as the request's priority may use it, by the number of tenants that have something under way, and at
    /// least 1. All count alike: nothing gives one a larger share. The tenant is that of the identity, else the identity
    /// itself, else the address. One that is alone may use everything.
    ///
    /// With a [`queue`](Self::queue) the tenants that wait take turns, those below their share first, and one that asks for ten times its
    /// share takes nothing from the others. Without one it takes little: whoever has more than its share leaves some of the limit
    /// free (its root: 10 of 100), and requests of the others are shed where more than that come in a bunch.
    #[must_use]
    pub fn fair(self) -> Self {
        self.with(|settings| settings.fair = true)
    }
    /// Lets requests wait that find no room. Default: they are shed at once.
    ///
    /// # Panics
    /// With it, calls panic outside of a tokio runtime with timers.
    #[must_use]
    pub fn queue(self, queue: Queue) -> Self {
        self.with(|settings| settings.queue = Some(queue))
    }
    /// What `Retry-After` of a shed request says, in whole seconds, at least one. Default: 1 second.
    #[must_use]
    pub fn retry_after(self, time: Duration) -> Self {
        self.with(|settings| settings.retry_after = time)
    }
    /// Goes on where another layer has got to, which this one replaces: what is under way counts for both, who waits there is
    /// served, and what an adaptive limit has learned is kept. The settings of this one hold from its first request on.
    #[must_use]
    pub fn continuing(self, before: &Self) -> Self {
        Self { state: Arc::clone(&before.state), continues: true, ..self }
    }

    /// How many requests are under way.
    pub fn in_flight(&self) -> usize {
        self.state().in_flight()
    }
    /// How many may be.
    pub fn limit(&self) -> usize {
        self.state().limit()
    }
    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.state().waiting()
    }
    /// How many tenants and addresses are counted now. Whoever has nothing under way is not.
    pub fn counted(&self) -> usize {
        self.state().keys()
    }

    pub(super) fn state(&self) -> &Arc<State> {
        let Settings { limit, shares, queue, .. } = &self.settings;
        self.state.get_or_init(|| Arc::new(State::new(limit, *shares, *queue)))
    }
}

impl<S> Clone for OverloadLayer<S> {
    fn clone(&self) -> Self {
        Self {
            settings: self.settings.clone(),
            state: Arc::clone(&self.state),
            continues: self.continues,
            stage: PhantomData,
        }
    }
}

impl<S> fmt::Debug for OverloadLayer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OverloadLayer").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl<S, St> Layer<S> for OverloadLayer<St> {
    type Service = Overload<S>;
    fn layer(&self, inner: S) -> Self::Service {
        let shared = Shared {
            settings: self.settings.clone(),
            state: Arc::clone(self.state()),
            adopted: Once::new(),
        };
        Overload::new(inner, shared)
    }
}

impl Staged for OverloadLayer<stage::Shed> {
    type Stage = stage::Shed;
    type Needs = ();
    type Provides = ();
}

impl Staged for OverloadLayer<stage::Limit> {
    type Stage = stage::Limit;
    type Needs = KnownCaller;
    type Provides = ();
    fn check(&self, plan: &mut Plan) {
        plan.reads::<RoutePriority>([]);
    }
}

impl Staged for OverloadLayer<stage::Inner> {
    type Stage = stage::Inner;
    type Needs = ();
    type Provides = ();
    fn check(&self, plan: &mut Plan) {
        plan.reads::<RoutePriority>([]);
    }
}
