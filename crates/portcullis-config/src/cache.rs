//! What a gateway keeps of answers, as its file says it.
use std::fmt::Write;
use std::sync::Arc;
use std::task::{Context as Cx, Poll};

use http::{HeaderMap, HeaderName, Method, Request, header};
use portcullis_cache::store::{CacheStore, CacheStoreError};
use portcullis_cache::{CacheLayer, Cached, Guarded, Memory, Preset, Purge, Scope, TwoLevels};
use portcullis_core::stack::{Plan, Staged};
use portcullis_core::{Context, Identity, MetricSource, Route, stage};
use portcullis_redis::RedisCache;
use tokio::runtime::Handle;
use tower_layer::Layer;
use tower_service::Service;

use crate::cache_store::Remote;
use crate::stores::Store;

/// What `[cache]` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CacheSettings {
    pub(crate) keep: Keep,
    pub(crate) rules: CacheRules,
    pub(crate) name: String,
    /// Headers of requests that no upstream looks at.
    pub(crate) ignored: Vec<HeaderName>,
    pub(crate) hide_tags: bool,
    pub(crate) background: usize,
}

/// Where answers are kept, and how much of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Keep {
    /// How many bytes memory has for them; `None` where nothing is kept in memory.
    pub(crate) memory: Option<u64>,
    pub(crate) shared: Option<SharedCache>,
    /// How large one of them may be, in bytes, where the file says it.
    pub(crate) largest: Option<u64>,
}

/// What several gateways keep together.
#[derive(Clone, Debug)]
pub(crate) struct SharedCache {
    /// The name of the store.
    pub(crate) name: String,
    pub(crate) compress: bool,
    pub(crate) store: Store,
}

/// Where a store is does not change while a gateway runs.
impl PartialEq for SharedCache {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.compress) == (&other.name, other.compress)
    }
}

impl Eq for SharedCache {}

/// By which rules. What was stored by some is not good by others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CacheRules {
    pub(crate) preset: Preset,
    pub(crate) targeted: Vec<HeaderName>,
}

/// The cache of a gateway.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    settings: CacheSettings,
    layer: CacheLayer,
    memory: Option<Memory>,
    remote: Option<Remote>,
}

impl Cache {
    /// An empty one; or what another one has, which it takes the place of, where that is good by these settings too.
    pub(crate) fn new(settings: CacheSettings, before: Option<&Self>) -> Self {
        let CacheSettings { keep, rules, name, ignored, hide_tags, background } = &settings;
        let same = before
            .filter(|before| before.settings.keep == *keep && before.settings.rules == *rules);
        let (layer, memory, remote) = match same {
            Some(before) if before.settings == settings => return before.clone(),
            Some(Self { layer, memory, remote, .. }) => {
                (layer.clone(), memory.clone(), remote.clone())
            }
            None => {
                let (store, memory, remote) = keep.build(rules.space());
                let layer = CacheLayer::new(store).preset(rules.preset);
                (layer.targeted(rules.targeted.clone()), memory, remote)
            }
        };
        let layer = layer.name(name).ignoring(ignored.clone());
        let layer = layer.hide_tags(*hide_tags).background(*background);
        Self { settings, layer, memory, remote }
    }
    /// Asks a store, where there is one, on `runtime`.
    pub(crate) fn start(&self, runtime: &Handle) {
        self.remote.iter().for_each(|remote| remote.start(runtime));
    }
    pub(crate) fn layer(&self) -> CacheLayer {
        self.layer.clone()
    }
    pub(crate) async fn purge(&self, purge: Purge) -> Result<(), CacheStoreError> {
        self.layer.handle().purge(purge).await
    }
}

impl Keep {
    /// The store, and what it is made of.
    fn build(&self, space: String) -> (Arc<dyn CacheStore>, Option<Memory>, Option<Remote>) {
        let memory = self.memory.map(Memory::new);
        let Some(SharedCache { compress, store, .. }) = self.shared.clone() else {
            let memory = memory.unwrap_or_else(|| Memory::new(0));
            let memory = self.largest.into_iter().fold(memory, Memory::largest);
            return (Arc::new(memory.clone()), Some(memory), None);
        };
        let (copies, largest) = (memory.clone(), self.largest);
        let remote = Remote::new(move || {
            let redis = store.cache(&space)?;
            let redis = if compress { redis.compressed() } else { redis };
            let redis = largest.into_iter().fold(redis, RedisCache::largest);
            Ok(match copies.clone() {
                Some(copies) => {
                    Arc::new(TwoLevels::new(copies, Guarded::new(redis.clone()), redis))
                }
                None => Arc::new(Guarded::new(redis)),
            })
        });
        (Arc::new(remote.clone()), memory, Some(remote))
    }
}

impl CacheRules {
    /// What is kept by them in a store: gateways that go by others keep apart.
    pub(crate) fn space(&self) -> String {
        let preset = if self.preset == Preset::Rfc { "rfc" } else { "application" };
        let fields = self.targeted.iter().map(HeaderName::as_str);
        [preset].into_iter().chain(fields).collect::<Vec<_>>().join(":")
    }
}

/// What it counts about itself, and what memory has.
impl MetricSource for Cache {
    fn write(&self, out: &mut String) {
        self.layer.stats().write(out);
        let Some(usage) = self.memory.as_ref().map(Memory::usage) else { return };
        // Writing to a string never fails.
        _ = write!(
            out,
            "# HELP portcullis_cache_memory_bytes How much the cache has in memory.\n\
             # TYPE portcullis_cache_memory_bytes gauge\n\
             portcullis_cache_memory_bytes {}\n\
             # HELP portcullis_cache_memory_entries For how many keys.\n\
             # TYPE portcullis_cache_memory_entries gauge\n\
             portcullis_cache_memory_entries {}\n\
             # HELP portcullis_cache_evictions_total How many keys have had to give way to others.\n\
             # TYPE portcullis_cache_evictions_total counter\n\
             portcullis_cache_evictions_total {}\n",
            usage.bytes, usage.entries, usage.evictions
        );
    }
}

/// Who shares what a route keeps; `None` where it keeps nothing.
pub(crate) fn scope_of(route: &Route) -> Option<Scope> {
    let cached = route.options().get::<Cached>()?;
    let is_public = route.access().is_public();
    Some(cached.shared_by().unwrap_or(if is_public { Scope::Public } else { Scope::Identity }))
}

/// A scope as the file says it.
pub(crate) fn word(scope: Scope) -> &'static str {
    match scope {
        Scope::Public => "public",
        Scope::Tenant => "tenant",
        _ => "identity",
    }
}

/// In the place of the cache: says what it would look for, and keeps nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WouldCache;

#[derive(Clone, Debug)]
pub(crate) struct WouldBeCached<S>(S);

impl<S> Layer<S> for WouldCache {
    type Service = WouldBeCached<S>;
    fn layer(&self, inner: S) -> WouldBeCached<S> {
        WouldBeCached(inner)
    }
}

impl Staged for WouldCache {
    type Stage = stage::Cache;
    type Needs = ();
    type Provides = ();
    fn check(&self, plan: &mut Plan) {
        plan.reads::<Cached>([]);
    }
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for WouldBeCached<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }
    fn call(&mut self, mut request: Request<B>) -> S::Future {
        let context = Context::of(&mut request);
        if let Some(route) = context.route().filter(|route| scope_of(route).is_some()) {
            let (method, headers) = (request.method(), request.headers());
            context.note("cache", || foretold(route, context.identity(), method, headers));
        }
        self.0.call(request)
    }
}

/// What a cache would do, as far as that is known without looking.
fn foretold(
    route: &Route,
    caller: Option<&Identity>,
    method: &Method,
    headers: &HeaderMap,
) -> String {
    let (Some(cached), Some(scope)) = (route.options().get::<Cached>(), scope_of(route)) else {
        return "not cached".to_owned();
    };
    match method.as_str() {
        "GET" | "HEAD" | "QUERY" => {}
        "PURGE" if cached.lets_purge() => return "takes out what is kept of this URL".to_owned(),
        "POST" => {
            return "not looked for, since it is a POST; its answer may be kept for a GET"
                .to_owned();
        }
        "OPTIONS" | "TRACE" | "PURGE" => return format!("not looked for, since it is a {method}"),
        _ => {
            return format!(
                "not looked for, since it is a {method}; what is kept of this URL goes if that succeeds"
            );
        }
    }
    let asks_anew = |value: &http::HeaderValue| {
        value.to_str().is_ok_and(|text| text.to_ascii_lowercase().contains("no-store"))
    };
    if headers.get_all(header::CACHE_CONTROL).iter().any(asks_anew) {
        return "nothing is kept: the request says `no-store`".to_owned();
    }
    let among = match scope {
        Scope::Public => "what is kept for everybody",
        Scope::Tenant if caller.is_some_and(|caller| caller.tenant().is_none()) => {
            return "not looked for: the caller has no tenant".to_owned();
        }
        Scope::Tenant => {
            "what is kept for callers of this tenant with the same rights, and for everybody"
        }
        _ => "what is kept for this caller, and for everybody",
    };
    match cached.ttl() {
        Some(ttl) => {
            format!("looked for in {among}; good for {ttl:?} where the answer does not say")
        }
        None => format!("looked for in {among}"),
    }
}
