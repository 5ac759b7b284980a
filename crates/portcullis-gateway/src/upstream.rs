//! An upstream: servers that do the same, and how requests get to them.
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use portcullis_core::{Clock, ConfigError, ConfigErrors};
use portcullis_resilience::{Backoff, Breaker, BreakerBuilder, Bulkhead, RetryBudget};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::address::{At, Origin, Wire};
use crate::balance::{Balance, Rules};
use crate::connect::{Connector, UpstreamTls};
use crate::discover::{Discover, File, Srv, resolve};
use crate::health::{HealthCheck, Outliers, watch};
use crate::pool::{Pool, PoolLimits};
use crate::server::{Server, Spec};
use crate::stats::Counters;

/// How soon discovery is tried again that has failed.
const AGAIN: Duration = Duration::from_secs(5);

/// Servers that do the same. Cheap to clone; every clone is the same upstream.
///
/// Health, ejection and load are shared by all workers; open connections belong to the thread that opened them.
///
/// ```
/// use portcullis_gateway::{HealthCheck, Upstream};
/// let catalog = Upstream::builder("catalog")
///     .server("http://127.0.0.1:9001")
///     .server("http://127.0.0.1:9002")
///     .health(HealthCheck::http("/healthz"))
///     .build()?;
/// # Ok::<(), portcullis_core::ConfigErrors>(())
/// ```
#[derive(Clone)]
pub struct Upstream(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) name: Arc<str>,
    pub(crate) servers: ArcSwap<Vec<Arc<Server>>>,
    pub(crate) rules: Rules,
    pub(crate) connector: Connector,
    pub(crate) timeout: Duration,
    pub(crate) body_idle: Duration,
    pub(crate) outliers: Outliers,
    pub(crate) retries: u32,
    pub(crate) try_timeout: Option<Duration>,
    pub(crate) budget: RetryBudget,
    pub(crate) backoff: Backoff,
    pub(crate) breaker: Option<Breaker>,
    pub(crate) bulkhead: Option<Bulkhead>,
    pub(crate) hedge: Option<Duration>,
    pub(crate) counters: Counters,
    pool: PoolLimits,
    health: Option<HealthCheck>,
    source: Source,
    clock: Clock,
    epoch: Instant,
    started: AtomicBool,
    /// Whether the list has been asked for once, however that went.
    looked: watch::Sender<bool>,
    runtime: OnceLock<Handle>,
}

/// Where the servers come from.
enum Source {
    /// As they stand there.
    Fixed,
    /// Names among them have to be looked up.
    Named(Vec<Spec>),
    Discovered(Box<dyn Discover>),
}

impl Upstream {
    /// Begins an upstream with this name, for messages, metrics and the routes that lead to it.
    pub fn builder(name: impl Into<Arc<str>>) -> UpstreamBuilder {
        UpstreamBuilder::new(name.into())
    }
    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }
    /// Begins health checks and discovery on `runtime`, which should be one that lasts. Without this they begin with the
    /// first request, on the runtime that serves it. A request that comes before the servers are known waits for them.
    pub fn start(&self, runtime: &Handle) {
        if self.0.started.swap(true, Relaxed) {
            return;
        }
        drop(self.0.runtime.set(runtime.clone()));
        for server in self.0.servers.load().iter() {
            self.0.watch(server);
        }
        if !matches!(self.0.source, Source::Fixed) {
            runtime.spawn(keep_looking(Arc::downgrade(&self.0)));
        }
    }
    /// Whether both are one and the same, with the same connections and the same state.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
    /// Waits until the servers are known, and each has been asked whether it is well.
    ///
    /// # Cancellation
    /// Nothing is lost.
    pub async fn ready(&self) {
        let is_ready = || {
            let servers = self.0.servers.load();
            let known = |server: &Arc<Server>| self.0.health.is_none() || server.probed.is_known();
            !servers.is_empty() && servers.iter().all(known)
        };
        while !is_ready() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    /// The servers as they are now.
    pub fn servers(&self) -> Vec<ServerState> {
        let now = self.0.now();
        let state = |server: &Arc<Server>| ServerState {
            url: server.origin.to_string(),
            is_well: server.probed.is_well(),
            is_ejected: server.ejection.is_ejected(now),
            in_flight: server.load.in_flight(),
            connections: server.pool.open(),
        };
        self.0.servers.load().iter().map(state).collect()
    }
}

/// How a server of an upstream is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerState {
    /// Where it is.
    pub url: String,
    /// What health checks say.
    pub is_well: bool,
    /// Whether it is left alone for a while, because it kept failing.
    pub is_ejected: bool,
    /// Requests that it has not answered yet, or whose answers are still on their way.
    pub in_flight: usize,
    /// Open connections.
    pub connections: usize,
}

impl Inner {
    /// Since the upstream began.
    pub(crate) fn now(&self) -> Duration {
        self.since(self.clock.now())
    }
    pub(crate) fn since(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.epoch)
    }
    pub(crate) fn instant(&self) -> Instant {
        self.clock.now()
    }
    pub(crate) fn is_started(&self) -> bool {
        self.started.load(Relaxed)
    }
    /// Waits until the list has been asked for once. Whether there is any server then.
    pub(crate) async fn first_look(&self, limit: Duration) -> bool {
        let mut looked = self.looked.subscribe();
        drop(tokio::time::timeout(limit, looked.wait_for(|looked| *looked)).await);
        !self.servers.load().is_empty()
    }

    fn watch(self: &Arc<Self>, server: &Arc<Server>) {
        let (Some(check), Some(runtime)) = (&self.health, self.runtime.get()) else { return };
        let connector = Connector { timeout: check.timeout, ..self.connector.clone() };
        let (upstream, server) = (Arc::downgrade(self), Arc::clone(server));
        runtime.spawn(watch(upstream, server, check.clone(), connector));
    }

    /// Takes a new list over. Servers that were on the old one stay what they are.
    fn take_over(self: &Arc<Self>, specs: &[Spec]) {
        let before = self.servers.load();
        let now = self.now();
        let mut fresh = Vec::new();
        let after: Vec<_> = specs
            .iter()
            .map(|spec| {
                let known = before.iter().find(|server| server.is(spec));
                known.cloned().unwrap_or_else(|| {
                    let server = Server::new(spec, Pool::new(self.pool), now);
                    fresh.push(Arc::clone(&server));
                    server
                })
            })
            .collect();
        let gone =
            before.iter().filter(|server| !after.iter().any(|kept| Arc::ptr_eq(kept, server)));
        let gone: Vec<_> = gone.cloned().collect();
        if fresh.is_empty() && gone.is_empty() {
            return;
        }
        tracing::info!(upstream = %self.name, servers = after.len(), "the list of servers has changed");
        self.servers.store(Arc::new(after));
        for server in gone {
            server.retire();
        }
        for server in &fresh {
            self.watch(server);
        }
    }

    /// Asks for the list, and answers when to ask again.
    async fn look(self: &Arc<Self>) -> Result<Duration, portcullis_core::BoxError> {
        let (specs, valid_for) = match &self.source {
            Source::Fixed => return Ok(Duration::MAX),
            Source::Named(specs) => (specs.clone(), Duration::MAX),
            Source::Discovered(source) => {
                let discovered = source.discover().await?;
                (discovered.specs()?, discovered.valid_for())
            }
        };
        let (specs, names_valid_for) = resolve(&specs).await?;
        if specs.is_empty() && !self.servers.load().is_empty() {
            return Err("the list is empty: the old one stays".into());
        }
        self.take_over(&specs);
        Ok(names_valid_for.map_or(valid_for, |time| time.min(valid_for)))
    }
}

async fn keep_looking(upstream: Weak<Inner>) {
    let mut said = false;
    loop {
        let wait = {
            let Some(upstream) = upstream.upgrade() else { return };
            let found = upstream.look().await;
            upstream.looked.send_replace(true);
            match found {
                Ok(wait) => {
                    said = false;
                    wait
                }
                Err(error) => {
                    if !std::mem::replace(&mut said, true) {
                        tracing::warn!(upstream = %upstream.name, %error, "cannot find out where the servers are; trying again every {AGAIN:?}");
                    }
                    AGAIN
                }
            }
        };
        tokio::time::sleep(wait).await;
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("name", &self.0.name)
            .field("servers", &**self.0.servers.load())
            .finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        for server in self.servers.load().iter() {
            server.retire();
        }
    }
}

/// Builds an [`Upstream`].
#[derive(Debug)]
#[must_use = "an upstream is made by `build`"]
pub struct UpstreamBuilder {
    name: Arc<str>,
    servers: Vec<(String, u32, u32)>,
    discover: Option<Box<dyn Discover>>,
    balance: Balance,
    slow_start: Duration,
    panic_threshold: f64,
    connect_timeout: Duration,
    timeout: Duration,
    body_idle: Duration,
    pool: PoolLimits,
    tls: UpstreamTls,
    health: Option<HealthCheck>,
    outliers: Outliers,
    retries: u32,
    try_timeout: Option<Duration>,
    budget: (f64, u32),
    backoff: Backoff,
    breaker: Option<BreakerBuilder>,
    most_requests: Option<usize>,
    hedge: Option<Duration>,
    header_bytes: usize,
    clock: Clock,
}

impl UpstreamBuilder {
    fn new(name: Arc<str>) -> Self {
        let second = Duration::from_secs(1);
        Self {
            name,
            servers: Vec::new(),
            discover: None,
            balance: Balance::default(),
            slow_start: Duration::ZERO,
            panic_threshold: 0.0,
            connect_timeout: second,
            timeout: 30 * second,
            body_idle: 60 * second,
            pool: PoolLimits { connections: 1_024, idle: 60 * second },
            tls: UpstreamTls::default(),
            health: None,
            outliers: Outliers::default(),
            retries: 1,
            try_timeout: None,
            budget: (0.2, 10),
            backoff: Backoff::default(),
            breaker: None,
            most_requests: None,
            hedge: None,
            header_bytes: 64 << 10,
            clock: Clock::system(),
        }
    }
    /// Adds a server: `http://127.0.0.1:9001`, `https://api.example`, `h2c://10.0.0.7:50051` (HTTP/2 in clear), `unix:/run/api.sock`. A name
    /// stands for all its addresses, and is looked up again when DNS says so.
    pub fn server(self, url: impl Into<String>) -> Self {
        self.weighted_server(url, 1, 0)
    }
    /// Adds a server that gets `weight` times as much as one of weight 1, once those of a lower priority number are not available.
    pub fn weighted_server(mut self, url: impl Into<String>, weight: u32, priority: u32) -> Self {
        self.servers.push((url.into(), weight, priority));
        self
    }
    /// Takes the servers from the SRV records of this name, such as `_api._tcp.example`, with their priorities and weights; they
    /// speak `http`, `https` or `h2c`.
    pub fn srv(self, name: impl Into<Arc<str>>, scheme: &'static str) -> Self {
        let name = name.into();
        self.discover(Srv { name, scheme })
    }
    /// Takes the servers from a file with a URL a line, and looks at it every second: `http://10.0.0.7:9000 weight=2 priority=1`.
    pub fn file(self, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        self.discover(File(path))
    }
    /// Takes the servers from elsewhere.
    pub fn discover(self, source: impl Discover) -> Self {
        Self { discover: Some(Box::new(source)), ..self }
    }
    /// How requests are shared out. Default: [`Balance::PeakEwma`].
    pub fn balance(self, balance: Balance) -> Self {
        Self { balance, ..self }
    }
    /// For how long a server that is new, or well again, gets less than its share. Default: not at all.
    pub fn slow_start(self, time: Duration) -> Self {
        Self { slow_start: time, ..self }
    }
    /// Below which share of available servers health is not believed any more, and all get requests. Default: 0, so that only when
    /// nobody is available all are asked.
    pub fn panic_threshold(self, share: f64) -> Self {
        Self { panic_threshold: share.clamp(0.0, 1.0), ..self }
    }
    /// How long a connection to one server may take to open, TLS included; also how long is waited for one to come free, where the
    /// server has as many as it may. The next server has as long again. Default: 1 s.
    pub fn connect_timeout(self, time: Duration) -> Self {
        Self { connect_timeout: time, ..self }
    }
    /// How long the head of an answer may take, once the request has been sent. Default: 30 s.
    pub fn timeout(self, time: Duration) -> Self {
        Self { timeout: time, ..self }
    }
    /// How long the body of an answer may pause. Default: 60 s.
    pub fn body_idle(self, time: Duration) -> Self {
        Self { body_idle: time, ..self }
    }
    /// How many connections one server may have, of all workers. Default: 1,024.
    pub fn connections(mut self, most: usize) -> Self {
        self.pool.connections = most;
        self
    }
    /// How long an unused connection is kept; zero is not at all. Default: 60 s.
    pub fn idle_timeout(mut self, time: Duration) -> Self {
        self.pool.idle = time;
        self
    }
    /// How TLS is spoken to `https` servers. Default: [`UpstreamTls::new`].
    pub fn tls(self, tls: UpstreamTls) -> Self {
        Self { tls, ..self }
    }
    /// Asks servers whether they are well. Default: they are not asked.
    pub fn health(self, check: HealthCheck) -> Self {
        Self { health: Some(check), ..self }
    }
    /// When a server that keeps failing is left alone. Default: [`Outliers::default`].
    pub fn outliers(self, outliers: Outliers) -> Self {
        Self { outliers, ..self }
    }
    /// How often a request is sent again that failed although a server may have seen it: no answer, none in time, 502, 503 or 504.
    /// Only where that does no harm: its method is idempotent (RFC 9110, section 9.2.2), and its body is empty or at most 64 KiB. It goes to another
    /// server where there is one. What surely nobody has seen is sent again in any case. Default: 1.
    pub fn retries(self, times: u32) -> Self {
        Self { retries: times, ..self }
    }
    /// Bounds what is sent again, retries and hedges, to this share of the requests, and so many a second besides
    /// ([`RetryBudget`]). Default: 0.2 and 10.
    pub fn retry_budget(self, share: f64, per_second: u32) -> Self {
        Self { budget: (share, per_second), ..self }
    }
    /// How long to wait before the same server is asked again, where there is no other. Default: [`Backoff::default`].
    pub fn backoff(self, backoff: Backoff) -> Self {
        Self { backoff, ..self }
    }
    /// How long the head of an answer may take in one try, where that is shorter than [`timeout`](Self::timeout), which is for all of
    /// them. Default: as long as all of them.
    pub fn try_timeout(self, time: Duration) -> Self {
        Self { try_timeout: Some(time), ..self }
    }
    /// Stops asking when too much fails: the client gets 503 at once. Default: it does not.
    pub fn breaker(self, breaker: BreakerBuilder) -> Self {
        Self { breaker: Some(breaker), ..self }
    }
    /// How many requests may be under way at a time, of all workers; one more is 503 at once. Default: no limit.
    pub fn requests(self, most: usize) -> Self {
        Self { most_requests: Some(most), ..self }
    }
    /// Asks a second server too where the first has not answered after this time, within the retry budget, and takes the answer that
    /// comes first. For requests without a body whose method is safe. Default: never.
    pub fn hedge(self, after: Duration) -> Self {
        Self { hedge: Some(after), ..self }
    }
    /// How large the head of an answer may be, in bytes. Default: 64 KiB.
    pub fn header_bytes(self, bytes: usize) -> Self {
        Self { header_bytes: bytes.max(8 << 10), ..self }
    }
    /// Where time comes from. Default: the machine's clocks.
    pub fn clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// Makes the upstream.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once.
    pub fn build(self) -> Result<Upstream, ConfigErrors> {
        let mut errors = ConfigErrors::default();
        let place = format!("upstream `{}`", self.name);
        let mut specs = Vec::new();
        for (url, weight, priority) in &self.servers {
            match Origin::parse(url) {
                Ok(_) if *weight == 0 => {
                    let message = format!("server `{url}`: a weight is 1 or more");
                    errors.push(ConfigError::new(&place, message));
                }
                Ok(origin) => {
                    let spec = Spec { origin, weight: *weight, priority: *priority };
                    if specs.contains(&spec) {
                        let message = format!("server `{url}` stands twice");
                        errors.push(ConfigError::new(&place, message));
                    }
                    specs.push(spec);
                }
                Err(error) => {
                    errors.push(ConfigError::new(&place, format!("server `{url}`: {error}")));
                }
            }
        }
        if self.servers.is_empty() && self.discover.is_none() {
            errors.push(ConfigError::new(&place, "it has no server: name one with `server(..)`"));
        }
        if !self.servers.is_empty() && self.discover.is_some() {
            let message = "its servers are named and discovered: choose one of the two";
            errors.push(ConfigError::new(&place, message));
        }
        let may_need_tls =
            self.discover.is_some() || specs.iter().any(|spec| spec.origin.wire == Wire::Tls);
        let tls = may_need_tls.then(|| self.tls.connector()).transpose();
        let tls = tls.map_err(|error| {
            errors.push(ConfigError::new(&place, format!("tls: {error}")));
        });
        errors.or(())?;
        let named = specs.iter().any(|spec| matches!(spec.origin.at, At::Name(..)));
        let (source, servers) = match self.discover {
            Some(source) => (Source::Discovered(source), Vec::new()),
            None if named => (Source::Named(specs), Vec::new()),
            None => (Source::Fixed, specs),
        };
        let servers = servers
            .iter()
            .map(|spec| Server::new(spec, Pool::new(self.pool), Duration::ZERO))
            .collect();
        Ok(Upstream(Arc::new(Inner {
            name: self.name,
            servers: ArcSwap::from_pointee(servers),
            rules: Rules {
                balance: self.balance,
                slow_start: self.slow_start,
                panic_threshold: self.panic_threshold,
                turn: AtomicUsize::new(0),
            },
            connector: Connector {
                timeout: self.connect_timeout,
                tls: tls.unwrap_or_default(),
                header_bytes: self.header_bytes,
            },
            timeout: self.timeout,
            body_idle: self.body_idle,
            outliers: self.outliers,
            retries: self.retries,
            try_timeout: self.try_timeout,
            budget: RetryBudget::with_clock(self.budget.0, self.budget.1, self.clock.clone()),
            backoff: self.backoff,
            breaker: self.breaker.map(|breaker| breaker.clock(self.clock.clone()).build()),
            bulkhead: self.most_requests.map(Bulkhead::new),
            hedge: self.hedge,
            counters: Counters::default(),
            pool: self.pool,
            started: AtomicBool::new(matches!(source, Source::Fixed) && self.health.is_none()),
            looked: watch::Sender::new(matches!(source, Source::Fixed)),
            health: self.health,
            source,
            epoch: self.clock.now(),
            clock: self.clock,
            runtime: OnceLock::new(),
        })))
    }
}
