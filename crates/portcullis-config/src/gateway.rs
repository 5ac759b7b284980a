//! The gateway that a file describes.
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response};
use portcullis_authn::{
    ApiKeys, AuthenticateLayer, ClientCertificates, SeenProofs, Sessions, TokenIssuer,
};
use portcullis_authz::{
    AuthorizeLayer, ExplainLayer, LiveRoles, Matrix, Roles, Shadow, StoredRoles,
};
use portcullis_cache::store::CacheStoreError;
use portcullis_cache::{CacheLayer, Cached, Purge};
use portcullis_core::route::{Open, Restricted};
use portcullis_core::stack::OptionalService;
use portcullis_core::{
    Body, ConfigErrors, EdgeLayer, MetricSource, Readiness, Requirement, Route, RouteLayer,
    RouteTable, Routes, Stack, TrustedProxies,
};
use portcullis_gateway::{IdentityTokens, Upstream, UpstreamStats};
use portcullis_ratelimit::OnFailure;
use portcullis_server::{Admin, Server, Tls};
use portcullis_telemetry::{Metrics, ObserveLayer, Operations};
use serde_json::Value;
use tower_service::Service;

use crate::cache::{Cache, CacheSettings};
use crate::cors::{CorsByRoute, CorsOption};
use crate::endpoint::Endpoint;
use crate::limits::{Limit, LimitLayers, Shared, StoreCounts};
use crate::live::Live;
use crate::methods::TakenMethods;
use crate::overload::{Overload, OverloadLayers};
use crate::read::{self, AuthorizationSettings, Issuer, LogSettings, NamedPolicy, ServerSettings};
use crate::reader::{Known, Reading, Span};
use crate::source::{FileErrors, Source};
use crate::stores::{Later, Store};

/// The gateway that a file describes: everything that the file says has been checked, and nothing has been opened yet.
#[derive(Debug)]
pub struct Gateway {
    source: Source,
    settings: ServerSettings,
    access_log: AccessLog,
    pub(crate) document: Value,
    upstreams: BTreeMap<String, Known>,
    routes: Routes<Endpoint, Restricted>,
    places: HashMap<String, Span>,
    keys: ApiKeys,
    stores: Vec<Later>,
    sessions: Option<Sessions>,
    pub(crate) issuers: Vec<Issuer>,
    certificates: Option<ClientCertificates>,
    pub(crate) identity_tokens: Option<IdentityTokens>,
    /// Of all workers, and of whatever takes the place of this.
    proofs: SeenProofs,
    /// What it remembers is remembered for all workers, so that a token is looked into once, and is one identity everywhere.
    authenticate: AuthenticateLayer,
    roles: Roles,
    pub(crate) policies: Vec<NamedPolicy>,
    authorization: AuthorizationSettings,
    /// The roles of the file with those of its store.
    stored_roles: Option<StoredRoles>,
    shadow: Option<Shadow>,
    /// Those of the candidate with those of the store.
    shadow_roles: Option<StoredRoles>,
    authorize: AuthorizeLayer,
    pub(crate) limits: Vec<Limit>,
    store_counts: StoreCounts,
    limit_layers: LimitLayers,
    /// The same without stores, for what is only explained.
    limits_alone: LimitLayers,
    pub(crate) overload: Option<Overload>,
    overload_layers: OverloadLayers,
    /// Where a route is cached.
    cache: Option<Cache>,
    methods: Arc<TakenMethods>,
    metrics: Metrics,
    readiness: Readiness,
}

/// How requests are written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccessLog {
    /// A line of text. The default.
    #[default]
    Text,
    /// An object of JSON.
    Json,
    /// Not at all.
    Off,
}

/// What [`Gateway::read`] found.
pub(crate) struct Parts {
    pub(crate) settings: ServerSettings,
    pub(crate) access_log: AccessLog,
    pub(crate) document: Value,
    pub(crate) upstreams: BTreeMap<String, Known>,
    pub(crate) routes: Option<Routes<Endpoint, Restricted>>,
    pub(crate) places: HashMap<String, Span>,
    pub(crate) keys: ApiKeys,
    pub(crate) stores: Vec<Later>,
    pub(crate) sessions: Option<Sessions>,
    pub(crate) issuers: Vec<Issuer>,
    pub(crate) certificates: Option<ClientCertificates>,
    pub(crate) identity_tokens: Option<IdentityTokens>,
    pub(crate) roles: Roles,
    pub(crate) policies: Vec<NamedPolicy>,
    pub(crate) authorization: AuthorizationSettings,
    pub(crate) limits: Vec<Limit>,
    pub(crate) store_counts: StoreCounts,
    pub(crate) overload: Option<Overload>,
    pub(crate) cache: CacheSettings,
}

impl Gateway {
    /// Reads a file. `${NAME}` in it is taken from the environment.
    ///
    /// # Errors
    /// Everything that is wrong, at once: with the file itself, and with what it says.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, FileErrors> {
        Self::read_after(path.as_ref(), None)
    }
    /// The same, in the place of another gateway: what has not changed goes on.
    pub(crate) fn read_after(path: &Path, before: Option<&Self>) -> Result<Self, FileErrors> {
        let name = path.display().to_string();
        let text = readable(path, before).map_err(|error| {
            let mut errors = FileErrors::default();
            let source = Source::new(&name, "");
            let error = source.error(None, "", format!("it cannot be read: {error}"));
            errors.push(error.hint("name the file with `--config FILE`"));
            errors
        })?;
        Self::parse_after(&name, &text, &|name| std::env::var(name).ok(), before)
    }

    /// Reads the text of a file with this name. `variable` knows the environment.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn parse(
        name: &str,
        text: &str,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, FileErrors> {
        Self::parse_after(name, text, variable, None)
    }

    fn parse_after(
        name: &str,
        text: &str,
        variable: &dyn Fn(&str) -> Option<String>,
        before: Option<&Self>,
    ) -> Result<Self, FileErrors> {
        let source = Source::new(name, text);
        let reading = Reading { source: &source, errors: RefCell::default(), variable, before };
        let parts = read::file(&reading, text);
        let mut errors = reading.errors.into_inner();
        let Some(Parts {
            settings,
            access_log,
            document,
            upstreams,
            routes: Some(routes),
            places,
            keys,
            stores,
            sessions,
            issuers,
            certificates,
            identity_tokens,
            roles,
            policies,
            authorization,
            limits,
            store_counts,
            overload,
            cache,
        }) = parts.filter(|_| errors.is_empty())
        else {
            if errors.is_empty() {
                errors.push(source.error(None, "", "it says nothing that can be served"));
            }
            return Err(errors.or(()).err().unwrap_or_default());
        };
        let quotas = settings.quotas;
        let methods = Arc::new(TakenMethods::of(routes.table()));
        let mut gateway = Self {
            source,
            settings,
            access_log,
            document,
            upstreams,
            routes,
            places,
            keys,
            stores,
            sessions,
            issuers,
            certificates,
            identity_tokens,
            proofs: SeenProofs::new(),
            authenticate: AuthenticateLayer::new(),
            authorize: AuthorizeLayer::new(roles.clone()),
            roles,
            policies,
            authorization,
            stored_roles: None,
            shadow: None,
            shadow_roles: None,
            limit_layers: LimitLayers::new(&limits, quotas, false),
            limits_alone: LimitLayers::new(&limits, quotas, true),
            limits,
            store_counts,
            overload_layers: OverloadLayers::new(overload.as_ref()),
            overload,
            cache: None,
            methods,
            metrics: Metrics::default(),
            readiness: Readiness::new(),
        };
        if let Some(before) = before {
            gateway.keys = gateway.keys.continuing(&before.keys);
            if before.says_the_same_of_stores(&gateway) {
                // They are open, and known to whatever is under way.
                gateway.stores.clone_from(&before.stores);
                gateway.sessions.clone_from(&before.sessions);
                gateway.authorization.with_stores(&before.stores);
                gateway.keys = gateway.keys.stored_as(&before.keys);
            }
            let issuers = std::mem::take(&mut gateway.issuers).into_iter();
            gateway.issuers = issuers.map(|issuer| issuer.continuing(&before.issuers)).collect();
            gateway.limit_layers = gateway.limit_layers.continuing(&before.limit_layers);
            gateway.overload_layers = gateway.overload_layers.continuing(&before.overload_layers);
            gateway.proofs = before.proofs.clone();
            gateway.metrics = before.metrics.clone();
            gateway.readiness = before.readiness.clone();
        }
        if gateway.has_cached() {
            gateway.cache =
                Some(Cache::new(cache, before.and_then(|before| before.cache.as_ref())));
        }
        gateway.authenticate = gateway.authenticates();
        gateway.stored_roles = gateway.stores_roles(before)?;
        gateway.run_shadow();
        gateway.authorize = gateway.authorizes();
        gateway.service().map(drop)?;
        Ok(gateway)
    }

    /// How requests are to be written down. Whoever installs the subscriber of `tracing` sees to it.
    pub fn access_log(&self) -> AccessLog {
        self.access_log
    }
    /// The upstreams.
    pub fn upstreams(&self) -> impl ExactSizeIterator<Item = &Upstream> {
        self.upstreams.values().map(|known| &known.upstream)
    }
    /// The stores, in the order of their names.
    pub fn stores(&self) -> impl ExactSizeIterator<Item = &Store> {
        self.stores.iter().map(Later::store)
    }
    /// The store that somebody means who names none: that of `[auth.api_key]` or `[auth.session]` which has tables, or the only one.
    pub fn main_store(&self) -> Option<&Store> {
        let named = |section: &str| self.document.pointer(&format!("/auth/{section}/store"));
        let named = [named("api_key"), named("session")].into_iter().flatten();
        let named: Vec<_> = named.filter_map(Value::as_str).collect();
        let with_tables = || self.stores().filter(|store| store.has_tables());
        let meant = with_tables().find(|store| named.contains(&store.name()));
        meant.or_else(|| with_tables().next().filter(|_| with_tables().count() == 1))
    }
    fn says_the_same_of_stores(&self, other: &Self) -> bool {
        let said = |gateway: &Self, place| gateway.document.pointer(place).cloned();
        ["/stores", "/auth/session", "/auth/api_key/store"]
            .iter()
            .all(|place| said(self, place) == said(other, place))
    }
    pub(crate) fn source(&self) -> &Source {
        &self.source
    }
    pub(crate) fn settings(&self) -> &ServerSettings {
        &self.settings
    }
    pub(crate) fn keys(&self) -> &ApiKeys {
        &self.keys
    }
    /// The roles of the file, without those that a store keeps.
    pub fn roles(&self) -> &Roles {
        &self.roles
    }
    pub(crate) fn shadow(&self) -> Option<&Shadow> {
        self.shadow.as_ref()
    }
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }
    pub(crate) fn table(&self) -> &Arc<RouteTable> {
        self.routes.table()
    }
    /// The methods that its routes take beside those that every server knows.
    pub(crate) fn methods(&self) -> &Arc<TakenMethods> {
        &self.methods
    }
    /// The routes, in the order of the file.
    pub fn routes(&self) -> impl ExactSizeIterator<Item = (Route, String)> {
        let ends: Vec<_> = self.routes.endpoints().iter().map(ToString::to_string).collect();
        self.routes.table().routes().zip(ends)
    }

    /// A service of one worker's own. What all workers share (limits, metrics, the state of servers) is shared.
    ///
    /// # Errors
    /// What does not fit together.
    pub fn service(
        &self,
    ) -> Result<
        impl Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
        + use<>,
        FileErrors,
    > {
        let edge = self.edge();
        let observe = ObserveLayer::default().metrics(self.metrics.clone());
        let table = self.routes.table();
        let cors = self.has_cors().then_some(CorsByRoute);
        let all_public = table.routes().all(|route| route.access().is_public())
            // What is a credential for us goes to no upstream, also where nobody looks at it.
            && self.document.get("auth").is_none();
        let LimitLayers { front, route, caller } = self.limit_layers.clone();
        let overload = self.overload_layers.clone();
        let cache: Option<CacheLayer> = self.cache.as_ref().map(Cache::layer);
        if all_public && self.limits.is_empty() && self.overload.is_none() {
            // Nobody is asked who they are, so nobody need find out.
            let open = Stack::new()
                .layer(observe)
                .layer(edge)
                .layer(RouteLayer::<Open>::new(Arc::clone(table)))
                .layer(cors)
                .layer(cache)
                .around(self.routes.clone());
            return Ok(OptionalService::Without(self.placed(open)?));
        }
        let guarded = Stack::new()
            .layer(observe)
            .layer(edge)
            .layer(overload.front)
            .layer(front)
            .layer(self.explains())
            .layer(self.routes.layer())
            .layer(cors)
            .layer(route)
            .layer(self.authenticate.clone())
            .layer(caller)
            .layer(self.authorize.clone())
            .layer(cache)
            .layer(overload.inner)
            .around(self.routes.clone());
        Ok(OptionalService::With(self.placed(guarded)?))
    }

    /// The roles of the file, with those of its store where there is one.
    fn stores_roles(&self, before: Option<&Self>) -> Result<Option<StoredRoles>, FileErrors> {
        let Some(store) = &self.authorization.store else { return Ok(None) };
        let before = before.and_then(|before| {
            let is_same = self.says_the_same_of_stores(before)
                && before.document.pointer("/authorization/store")
                    == self.document.pointer("/authorization/store");
            before.stored_roles.as_ref().filter(|_| is_same)
        });
        let Some(before) = before else {
            return Ok(Some(StoredRoles::later(self.roles.clone(), store.clone())));
        };
        let continuing = before.with_base(&self.roles);
        continuing.map(Some).map_err(|error| {
            let mut errors = FileErrors::default();
            let message = format!("the roles do not fit with those that the store keeps: {error}");
            errors.push(self.source.error(None, "roles", message));
            errors
        })
    }
    pub(crate) fn live_roles(&self) -> LiveRoles {
        match &self.stored_roles {
            Some(stored) => stored.into(),
            None => self.roles.clone().into(),
        }
    }
    /// What decides.
    fn authorizes(&self) -> AuthorizeLayer {
        let layer = AuthorizeLayer::new(self.live_roles());
        let policies = self.policies.iter();
        let layer = policies.fold(layer, |layer, NamedPolicy { name, policy, .. }| {
            layer.policy(name.as_str(), policy.clone())
        });
        let log = self.authorization.log.as_ref().map(LogSettings::build);
        let layer = log.into_iter().fold(layer, AuthorizeLayer::log);
        self.shadow.iter().cloned().fold(layer, AuthorizeLayer::shadow)
    }
    /// The candidate beside what decides.
    fn run_shadow(&mut self) {
        let Some((roles, policies)) = &self.authorization.shadow else { return };
        let stored = self.authorization.store.clone();
        self.shadow_roles = stored.map(|store| StoredRoles::later(roles.clone(), store));
        let shadow = match &self.shadow_roles {
            Some(stored) => Shadow::new(stored),
            None => Shadow::new(roles.clone()),
        };
        let policies = policies.iter();
        self.shadow = Some(policies.fold(shadow, |shadow, NamedPolicy { name, policy, .. }| {
            shadow.policy(name.as_str(), policy.clone())
        }));
    }
    /// Who is told why.
    fn explains(&self) -> Option<ExplainLayer> {
        let permission = self.authorization.explain.as_deref()?;
        Some(ExplainLayer::new(self.live_roles(), permission))
    }
    /// Begins to follow the roles of the store.
    pub(crate) fn start_roles(&self, runtime: &tokio::runtime::Handle) {
        for stored in self.stored_roles.iter().chain(&self.shadow_roles) {
            stored.start(runtime);
        }
    }
    pub(crate) fn edge(&self) -> EdgeLayer {
        EdgeLayer::new().trusted_proxies(self.settings.trusted_proxies.clone())
    }
    pub(crate) fn has_cors(&self) -> bool {
        self.table().routes().any(|route| route.options().get::<CorsOption>().is_some())
    }
    pub(crate) fn has_cached(&self) -> bool {
        self.table().routes().any(|route| route.options().get::<Cached>().is_some())
    }
    pub(crate) fn cache(&self) -> Option<&Cache> {
        self.cache.as_ref()
    }
    /// Takes something out of the cache. Says whether there is one.
    pub(crate) async fn purge(&self, purge: Purge) -> Result<bool, CacheStoreError> {
        let Some(cache) = &self.cache else { return Ok(false) };
        cache.purge(purge).await?;
        Ok(true)
    }
    /// The routes, with other ends.
    pub(crate) fn routes_map<T>(&self, end: impl FnMut(&Endpoint) -> T) -> Routes<T, Restricted> {
        self.routes.map(end)
    }
    /// The limits, by their names: what they let through, in words.
    pub fn limits(&self) -> impl ExactSizeIterator<Item = (&str, String)> {
        self.limits.iter().map(|limit| (limit.name.as_str(), limit.to_string()))
    }
    pub(crate) fn limit_layers(&self) -> &LimitLayers {
        &self.limit_layers
    }
    pub(crate) fn limits_alone(&self) -> &LimitLayers {
        &self.limits_alone
    }
    pub(crate) fn overload_layers(&self) -> &OverloadLayers {
        &self.overload_layers
    }
    pub(crate) fn store_counts(&self) -> &StoreCounts {
        &self.store_counts
    }
    pub(crate) fn known(&self, upstream: &str) -> Option<&Known> {
        self.upstreams.get(upstream)
    }
    /// Whether nobody asks a store but limits, which do without it as the file says, and the cache, which finds nothing then.
    pub(crate) fn can_be_away(&self, store: &Store) -> bool {
        let others = [
            "/auth/session/store",
            "/auth/api_key/store",
            "/authorization/store",
            "/authorization/decision_log/to",
        ];
        let named = |place: &str| self.document.pointer(place).and_then(Value::as_str);
        let caches = self.document.pointer("/cache/store").is_some_and(|kept| match kept {
            Value::Array(all) => all.iter().any(|one| one == store.name()),
            one => one == store.name(),
        });
        (caches || self.limits_in(store).next().is_some())
            && !others.iter().filter_map(|place| named(place)).any(|name| name == store.name())
    }
    fn limits_in(&self, store: &Store) -> impl Iterator<Item = &Shared> {
        let shared = self.limits.iter().filter_map(|limit| limit.shared.as_ref());
        shared.filter(|shared| shared.store == store.name())
    }
    /// Whether a store has to be open before requests are served: not where limits and the cache alone ask it, unless nobody would get through without it.
    fn waits_for(&self, store: &Store) -> bool {
        let is_closed = |shared: &Shared| shared.on_failure == OnFailure::Closed;
        !self.can_be_away(store) || self.limits_in(store).any(is_closed)
    }
    pub(crate) fn authenticate(&self) -> &AuthenticateLayer {
        &self.authenticate
    }
    pub(crate) fn authorize(&self) -> &AuthorizeLayer {
        &self.authorize
    }
    pub(crate) fn later_stores(&self) -> &[Later] {
        &self.stores
    }
    /// Waits until the store of roles, where there is one, has been asked.
    pub(crate) async fn roles_are_known(&self) {
        if let Some(stored) = &self.stored_roles {
            known(stored).await;
        }
    }
    /// Who vouches for callers, where it is one alone.
    pub fn only_issuer(&self) -> Option<&str> {
        let has_keys = self.document.pointer("/auth/api_key").is_some();
        let keys = has_keys.then_some(ApiKeys::ISSUER).into_iter();
        let tokens = self.issuers.iter().map(|issuer| issuer.policy.issuer());
        let others = self.certificates.iter().map(|_| ClientCertificates::ISSUER);
        let mut all = keys.chain(tokens).chain(others);
        let first = all.next();
        first.filter(|_| all.next().is_none() && self.sessions.is_none())
    }
    /// The store that keeps further roles.
    pub fn roles_store(&self) -> Option<&Store> {
        self.authorization.store.as_ref().map(Later::store)
    }
    /// Whether a store keeps further roles.
    pub fn has_stored_roles(&self) -> bool {
        self.stored_roles.is_some()
    }
    /// Who may call what, for each route and each role. Roles of a store are in it once they are known (`start_callers`).
    pub fn matrix(&self) -> Matrix {
        self.authorize.matrix(self.table())
    }
    /// Who is known. Without keys and issuers everybody is anonymous.
    fn authenticates(&self) -> AuthenticateLayer {
        let layer = AuthenticateLayer::new();
        // Where there are only others, nobody is asked for a key.
        let has_section = self.document.pointer("/auth/api_key").is_some();
        let others =
            !self.issuers.is_empty() || self.certificates.is_some() || self.sessions.is_some();
        let no_keys = !has_section && others;
        let layer = if no_keys { layer } else { layer.api_keys(self.keys.clone()) };
        let layer = self.sessions.clone().into_iter().fold(layer, AuthenticateLayer::sessions);
        let certificates = self.certificates.clone().into_iter();
        let layer = certificates.fold(layer, AuthenticateLayer::certificates);
        let layer = layer.seen_proofs(self.proofs.clone());
        self.issuers.iter().fold(layer, |layer, known| layer.bearer(known.policy.clone()))
    }

    /// The gateway as one that changes with its file.
    pub fn live(
        self,
    ) -> Live<
        impl Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
        + use<>,
    > {
        Live::new(self, Self::service)
    }

    /// Says where in the file it is that does not fit.
    pub(crate) fn placed<T>(&self, result: Result<T, ConfigErrors>) -> Result<T, FileErrors> {
        result.map_err(|errors| {
            let mut placed = FileErrors::default();
            for error in &errors {
                let span = self.places.get(error.place());
                placed.push(self.source.error(span, error.place(), error.message()));
            }
            placed.or(()).err().unwrap_or_default()
        })
    }

    /// The server that the file describes. Nothing is opened.
    ///
    /// # Errors
    /// What is wrong with its certificates.
    pub fn server(&self) -> Result<Server, ConfigErrors> {
        let stats = UpstreamStats::new(self.upstreams().cloned());
        let methods = Arc::clone(&self.methods);
        let takes = move |method: &Method| methods.contains(method);
        Ok(self.server_with(stats, takes, |admin| admin)?.0)
    }
    /// The server, whose metrics show this too, which takes these methods beside those of the file, and whose administration has these commands; and what it speaks TLS by.
    pub(crate) fn server_with(
        &self,
        stats: impl MetricSource + 'static,
        takes: impl Fn(&Method) -> bool + Send + Sync + 'static,
        commands: impl FnOnce(Admin) -> Admin,
    ) -> Result<(Server, Option<Tls>), ConfigErrors> {
        let mut spoken = None;
        let settings = &self.settings;
        let mut listen = settings.listen.iter().cloned();
        let first = listen.next().unwrap_or_else(|| "http://127.0.0.1:8080".to_owned());
        let mut server = listen.fold(Server::bind(first), Server::listen);
        server = server
            .limits(settings.limits.clone().method_if(takes))
            .proxy_protocol(TrustedProxies::new(settings.proxy_protocol.iter().copied()))
            .allow(settings.allow.iter().copied())
            .deny(settings.deny.iter().copied())
            .readiness(self.readiness.clone());
        let mut admin = Admin::new(server.handle(), server.stats());
        if let Some(builder) = settings.tls.clone() {
            let tls: Tls = builder.build()?;
            admin = admin.tls(tls.clone());
            spoken = Some(tls.clone());
            server = server.tls(tls);
        }
        if let Some(path) = &settings.handover {
            server = server.handover(PathBuf::from(path));
        }
        if let Some(workers) = settings.workers {
            server = server.workers(workers);
        }
        if let Some(observe) = &settings.observe {
            let metrics = self.metrics.clone().with_source(server.stats()).with_source(stats);
            let operations = Operations::new().readiness(self.readiness.clone()).metrics(metrics);
            server = server.side(observe.as_str(), operations);
        }
        if let Some(place) = &settings.admin {
            let token = settings.admin_token.clone();
            admin = token.into_iter().fold(admin, Admin::token);
            admin = settings.admin_host.iter().cloned().fold(admin, Admin::host);
            server = server.admin(place.as_str(), commands(admin));
        }
        Ok((server, spoken))
    }

    /// Begins to fetch the keys of issuers, and has them asked about tokens, on `runtime`.
    pub(crate) fn start_issuers(&self, runtime: &tokio::runtime::Handle) {
        let policies = || self.issuers.iter().map(|known| &known.policy);
        policies().filter_map(TokenIssuer::remote).for_each(|keys| keys.start(runtime));
        policies().filter_map(TokenIssuer::introspection).for_each(|asked| asked.start(runtime));
    }
    /// Begins health checks and discovery on `runtime`. The gateway is ready once every upstream is known.
    pub fn start(&self, runtime: &tokio::runtime::Handle) {
        self.start_issuers(runtime);
        self.start_roles(runtime);
        self.cache.iter().for_each(|cache| cache.start(runtime));
        if let Some(stored) = self.stored_roles.clone() {
            let ready = self.readiness.expect("roles".to_owned());
            let table = Arc::clone(self.table());
            runtime.spawn(async move {
                known(&stored).await;
                tell_unpermitted(&stored.current(), &table);
                ready.ready();
            });
        }
        for store in &self.stores {
            let name = format!("store {}", store.store().name());
            let known = self.waits_for(store.store()).then(|| self.readiness.expect(name));
            let store = store.clone();
            runtime.spawn(async move {
                store.start().await;
                if let Some(known) = known {
                    known.ready();
                }
            });
        }
        if let Some(sessions) = &self.sessions {
            sessions.start(runtime);
        }
        for Issuer { name, policy, .. } in &self.issuers {
            let Some(keys) = policy.remote().cloned() else { continue };
            let known = self.readiness.expect(format!("issuer {name}"));
            runtime.spawn(async move {
                keys.ready().await;
                known.ready();
            });
        }
        for upstream in self.upstreams() {
            upstream.start(runtime);
            let known = self.readiness.expect(format!("upstream {}", upstream.name()));
            let upstream = upstream.clone();
            runtime.spawn(async move {
                upstream.ready().await;
                known.ready();
            });
        }
    }
}

/// Waits until the store of these roles has been asked.
async fn known(roles: &StoredRoles) {
    while !roles.is_known() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Tells the log which routes nobody can call: with a store of roles that is not known before.
fn tell_unpermitted(roles: &Roles, table: &Arc<RouteTable>) {
    for route in table.routes() {
        let Requirement::Permission(permission) = route.access().requirement() else { continue };
        let grants =
            |role: &str| roles.grants(role, permission) || roles.grants_own(role, permission);
        if !roles.names().any(grants) {
            tracing::warn!(
                "route `{route}`: no role of the file or of its store grants the permission `{permission}`"
            );
        }
    }
}

/// How large a file may be that takes the place of another.
const LARGEST: u64 = 64 << 20;

/// The text of the file. What takes the place of another is not waited for, as a pipe would be.
fn readable(path: &Path, before: Option<&Gateway>) -> std::io::Result<String> {
    let is_odd = before.is_some() && {
        let about = std::fs::metadata(path)?;
        !about.is_file() || about.len() > LARGEST
    };
    if is_odd {
        return Err(std::io::Error::other("it is no file of at most 64 MiB"));
    }
    std::fs::read_to_string(path)
}
