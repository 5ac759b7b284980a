//! What our layers know about one request.
use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use http::{Extensions, HeaderMap, Method, Request};

use crate::problem::RenderProblem;
use crate::request_id::X_REQUEST_ID;
use crate::{
    AuthState, BodyLimit, ClientAddr, Clock, Connection, ConsumedCredentials, Deadline, Decision,
    Destination, Dialect, Explain, Identity, Informational, Note, Problem, QuotaUse, RequestId,
    Route, Scheme, SecurityHeaders, Target, TraceContext,
};

/// What our layers know about one request: the one request extension.
///
/// The outermost of our layers creates it and keeps a clone; inner layers thereby report to outer ones also when the
/// request is refused, fails or is dropped. Every fact is set once: the first value stays.
///
/// It is never stored by a cache, and nothing of it crosses to an upstream by itself.
///
/// ```
/// use portcullis_core::{AuthState, Challenges, Context, Identity};
/// let mut request = http::Request::new(());
/// let context = Context::of(&mut request);
/// context.set_auth(AuthState::Authenticated(Identity::builder("api-key", "ci").build()));
/// // Another layer, further in, sees the same.
/// assert_eq!(Context::of(&mut request).identity().unwrap().subject(), "ci");
/// // The first value stays.
/// assert!(!context.set_auth(AuthState::Anonymous(Challenges::default())));
/// ```
#[derive(Clone)]
pub struct Context(Arc<Facts>);

struct Facts {
    clock: Clock,
    start: Instant,
    dialect: Dialect,
    only_reads: bool,
    connection: OnceLock<Connection>,
    target: OnceLock<Target>,
    scheme: OnceLock<Scheme>,
    client: OnceLock<ClientAddr>,
    request_id: OnceLock<RequestId>,
    trace: OnceLock<TraceContext>,
    /// Nanoseconds after the start; the maximum is none.
    time_limit: AtomicU64,
    route: OnceLock<Route>,
    route_label: OnceLock<Arc<str>>,
    auth: OnceLock<AuthState>,
    consumed: OnceLock<ConsumedCredentials>,
    decision: OnceLock<Decision>,
    destination: OnceLock<Destination>,
    problem: OnceLock<Problem>,
    renderer: OnceLock<Arc<dyn RenderProblem>>,
    security_headers: OnceLock<Arc<SecurityHeaders>>,
    body_limit: OnceLock<BodyLimit>,
    explain: OnceLock<Explain>,
    /// Whoever decides about objects.
    authority: OnceLock<Arc<dyn Any + Send + Sync>>,
    object_checked: AtomicBool,
    quotas: Mutex<[Option<QuotaUse>; QUOTAS]>,
    /// What it has cost, as its endpoint says; the maximum is nothing said.
    spent: AtomicU64,
}

/// Of how many quotas it is said what is left.
const QUOTAS: usize = 3;

/// Makes the getter and the setter of facts.
macro_rules! facts {
    ($($(#[doc = $doc:literal])+ $get:ident / $set:ident : $type:ty),* $(,)?) => {$(
        $(#[doc = $doc])+
        pub fn $get(&self) -> Option<&$type> {
            self.0.$get.get()
        }
        #[doc = concat!("Sets [`", stringify!($get), "`](Self::", stringify!($get), "), unless it is set; says whether it did.")]
        pub fn $set(&self, value: $type) -> bool {
            self.0.$get.set(value).is_ok()
        }
    )*};
}

impl Context {
    /// The context of `request`; a new one, on the machine's clock, if no layer has made one yet.
    pub fn of<B>(request: &mut Request<B>) -> Self {
        Self::with_clock(request, &Clock::system())
    }
    /// The context of `request`; a new one, on `clock`, if no layer has made one yet. A new one takes over the
    /// [`Connection`] that the server or an adapter has put into the request's extensions, and beside one the
    /// [`BodyLimit`] of a server that holds the request body to it.
    pub fn with_clock<B>(request: &mut Request<B>, clock: &Clock) -> Self {
        if let Some(context) = Self::get(request.extensions()) {
            return context.clone();
        }
        let extensions = request.extensions();
        let connection = extensions.get::<Connection>().cloned();
        // Whoever has a limit to be changed also says where the request comes from: nobody else pays for the look.
        let limit = connection.as_ref().and_then(|_| extensions.get::<BodyLimit>().cloned());
        let only_reads = [Method::GET, Method::HEAD].contains(request.method());
        let asked = (Dialect::of(request), only_reads);
        let context = Self::new(clock.clone(), asked, connection, limit);
        request.extensions_mut().insert(context.clone());
        context
    }
    /// The context in these extensions, if one of our layers has seen the request.
    pub fn get(extensions: &Extensions) -> Option<&Self> {
        extensions.get()
    }

    fn new(
        clock: Clock,
        (dialect, only_reads): (Dialect, bool),
        connection: Option<Connection>,
        body_limit: Option<BodyLimit>,
    ) -> Self {
        Self(Arc::new(Facts {
            start: clock.now(),
            clock,
            dialect,
            only_reads,
            connection: connection.map_or_else(OnceLock::new, OnceLock::from),
            target: OnceLock::new(),
            scheme: OnceLock::new(),
            client: OnceLock::new(),
            request_id: OnceLock::new(),
            trace: OnceLock::new(),
            time_limit: AtomicU64::new(u64::MAX),
            route: OnceLock::new(),
            route_label: OnceLock::new(),
            auth: OnceLock::new(),
            consumed: OnceLock::new(),
            decision: OnceLock::new(),
            destination: OnceLock::new(),
            problem: OnceLock::new(),
            renderer: OnceLock::new(),
            security_headers: OnceLock::new(),
            body_limit: body_limit.map_or_else(OnceLock::new, OnceLock::from),
            explain: OnceLock::new(),
            authority: OnceLock::new(),
            object_checked: AtomicBool::new(false),
            quotas: Mutex::new([const { None }; QUOTAS]),
            spent: AtomicU64::new(u64::MAX),
        }))
    }

    /// A context for work that goes on behind this request, such as looking whether what a cache has is still good: for the same target, caller and decision, but with a
    /// beginning, a deadline and a problem of its own, and without the client's connection.
    #[must_use]
    pub fn behind(&self) -> Self {
        let facts = &*self.0;
        let context = Self::new(facts.clock.clone(), (facts.dialect, true), None, None);
        // Each is set once, in a context that nobody else has yet.
        if let Some(target) = self.target() {
            context.set_target(target.clone());
        }
        context.set_scheme(self.scheme());
        if let Some(client) = self.client() {
            context.set_client(client);
        }
        if let Some(id) = self.request_id() {
            context.set_request_id(id.clone());
        }
        if let Some(trace) = self.trace() {
            context.set_trace(*trace);
        }
        if let Some(route) = self.route() {
            context.set_route(route.clone());
        }
        if let Some(auth) = self.auth() {
            context.set_auth(auth.clone());
        }
        if let Some(consumed) = self.consumed() {
            context.set_consumed(consumed.clone());
        }
        if let Some(decision) = self.decision() {
            context.set_decision(decision.clone());
        }
        if let Some(authority) = facts.authority.get() {
            context.set_authority(Arc::clone(authority));
        }
        context
    }

    facts! {
        /// The connection, as the server or an adapter says it.
        connection / set_connection: Connection,
        /// What is asked for, in its one spelling. The edge sets it.
        target / set_target: Target,
        /// One name for this request, in every log. The edge sets it.
        request_id / set_request_id: RequestId,
        /// The trace that this request belongs to. The edge sets it.
        trace / set_trace: TraceContext,
        /// The route that was matched. The route layer sets it.
        route / set_route: Route,
        /// What authentication found out.
        auth / set_auth: AuthState,
        /// What must not go upstream, because it was a credential for us.
        consumed / set_consumed: ConsumedCredentials,
        /// What authorization decided.
        decision / set_decision: Decision,
        /// Where the request was passed on to. A gateway sets it.
        destination / set_destination: Destination,
        /// The problem that was answered.
        problem / set_problem: Problem,
    }

    /// Where time comes from.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }
    /// When the outermost of our layers saw the request.
    pub fn start(&self) -> Instant {
        self.0.start
    }
    /// In what shape the client expects an error.
    pub fn dialect(&self) -> Dialect {
        self.0.dialect
    }
    /// Whether the request is one that can be sent again, as a browser does that comes back to a page.
    pub(crate) fn only_reads(&self) -> bool {
        self.0.only_reads
    }
    /// Who asks, when it is known.
    pub fn identity(&self) -> Option<&Identity> {
        self.auth().and_then(AuthState::identity)
    }
    /// The address of the client: as the edge resolved it, otherwise the peer. `None` where neither is known.
    pub fn client(&self) -> Option<ClientAddr> {
        let peer = || Some(ClientAddr::peer(self.connection()?.peer()?.ip()));
        self.0.client.get().copied().or_else(peer)
    }
    /// Sets [`client`](Self::client), unless it is set; says whether it did.
    pub fn set_client(&self, client: ClientAddr) -> bool {
        self.0.client.set(client).is_ok()
    }
    /// A way to send informational responses (1xx) ahead of the answer, where the server and the protocol have one.
    pub fn informational(&self) -> Option<&Informational> {
        self.connection()?.informational()
    }
    /// How long the request may take.
    pub fn deadline(&self) -> Deadline {
        let deadline = Deadline::starting(self.0.start);
        match self.0.time_limit.load(Ordering::Relaxed) {
            u64::MAX => deadline,
            nanos => deadline.at_most(Duration::from_nanos(nanos)),
        }
    }
    /// Says that the request may take `limit` since it began: the client's wish, the route's limit. Of several the
    /// shortest holds.
    pub fn limit_time(&self, limit: Duration) {
        let nanos = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        self.0.time_limit.fetch_min(nanos, Ordering::Relaxed);
    }
    /// The template of the route, for logs and metrics: of our own table, or what an adapter says of a foreign router.
    pub fn route_template(&self) -> Option<&str> {
        self.route().map(Route::template).or_else(|| self.0.route_label.get().map(|label| &**label))
    }
    /// Says the template that a foreign router matched, unless it is said; says whether it did.
    pub fn set_route_label(&self, template: Arc<str>) -> bool {
        self.0.route_label.set(template).is_ok()
    }
    /// How large the request body may be. The route may raise it before the first read. Without a server that looks at it,
    /// nobody does.
    pub fn body_limit(&self) -> &BodyLimit {
        self.0.body_limit.get_or_init(BodyLimit::default)
    }
    /// The limit, where somebody reads by it.
    pub(crate) fn body_limit_known(&self) -> Option<&BodyLimit> {
        self.0.body_limit.get()
    }
    /// The application's own way to show problems.
    pub fn renderer(&self) -> Option<&dyn RenderProblem> {
        self.0.renderer.get().map(|renderer| &**renderer)
    }
    /// Sets [`renderer`](Self::renderer), unless it is set; says whether it did.
    pub fn set_renderer(&self, renderer: Arc<dyn RenderProblem>) -> bool {
        self.0.renderer.set(renderer).is_ok()
    }
    /// Sets the headers that every answer carries, unless they are set; says whether it did. The edge sets them.
    pub fn set_security_headers(&self, headers: Arc<SecurityHeaders>) -> bool {
        self.0.security_headers.set(headers).is_ok()
    }
    /// Adds what every answer carries: the request id and the security headers, as far as the edge has set them. A
    /// header that stands there already stays, but for the id.
    pub fn add_standard_headers(&self, headers: &mut HeaderMap) {
        let security = self.0.security_headers.get();
        // One growth instead of several, and none where there is room.
        let scheme = self.scheme();
        headers.reserve(security.map_or(0, |security| security.len(scheme)) + 1);
        if let Some(security) = security {
            security.add_to(headers, scheme);
        }
        if let Some(id) = self.request_id() {
            headers.insert(X_REQUEST_ID, id.header_value());
        }
    }
    /// `http` or `https`: as the edge found out, otherwise as the connection says.
    pub fn scheme(&self) -> Scheme {
        let tls = || self.connection().is_some_and(|connection| connection.tls().is_some());
        let by_connection = || if tls() { Scheme::Https } else { Scheme::Http };
        self.0.scheme.get().copied().unwrap_or_else(by_connection)
    }
    /// Sets [`scheme`](Self::scheme), unless it is set; says whether it did.
    pub fn set_scheme(&self, scheme: Scheme) -> bool {
        self.0.scheme.set(scheme).is_ok()
    }
    /// What the endpoint asks about objects. The authorization layer sets it, as a type of its own.
    pub fn authority(&self) -> Option<&(dyn Any + Send + Sync)> {
        self.0.authority.get().map(|authority| &**authority)
    }
    /// Sets [`authority`](Self::authority), unless it is set; says whether it did.
    pub fn set_authority(&self, authority: Arc<dyn Any + Send + Sync>) -> bool {
        self.0.authority.set(authority).is_ok()
    }
    /// Whether the endpoint has asked who may do something with an object.
    pub fn is_object_checked(&self) -> bool {
        self.0.object_checked.load(Ordering::Relaxed)
    }
    /// Says that the endpoint has asked who may do something with an object.
    pub fn set_object_checked(&self) {
        self.0.object_checked.store(true, Ordering::Relaxed);
    }
    /// What the caller has left of the quotas that count this request, outermost first; of at most three.
    pub fn quotas(&self) -> impl Iterator<Item = QuotaUse> {
        let quotas = self.0.quotas.lock().unwrap_or_else(PoisonError::into_inner).clone();
        quotas.into_iter().flatten()
    }
    /// Says what is left of a quota; whether there was a place for it.
    pub fn add_quota(&self, quota: QuotaUse) -> bool {
        let mut quotas = self.0.quotas.lock().unwrap_or_else(PoisonError::into_inner);
        let place = quotas.iter_mut().find(|place| place.is_none());
        place.map(|place| *place = Some(quota)).is_some()
    }
    /// What the request has cost, in the units of the quota that settles by it, if its endpoint has said so.
    pub fn spent(&self) -> Option<u64> {
        Some(self.0.spent.load(Ordering::Relaxed)).filter(|units| *units != u64::MAX)
    }
    /// Adds to what the request has cost, as far as its endpoint knows: tokens of a language model, rows of a report. It counts until the body of the answer is
    /// over.
    pub fn spend(&self, units: u64) {
        let add = |spent: u64| {
            let before = if spent == u64::MAX { 0 } else { spent };
            Some(before.saturating_add(units).min(u64::MAX - 1))
        };
        // It always says what comes next.
        _ = self.0.spent.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }
    /// Asks the layers further in to note what they decide and why.
    pub fn start_explaining(&self) -> &Explain {
        self.0.explain.get_or_init(Explain::default)
    }
    /// What the layers noted; `None` unless somebody asked for it.
    pub fn explain(&self) -> Option<&Explain> {
        self.0.explain.get()
    }
    /// Notes what a layer decided. `text` is made only when somebody asked.
    pub fn note<T: Into<std::borrow::Cow<'static, str>>>(
        &self,
        stage: &'static str,
        text: impl FnOnce() -> T,
    ) {
        if let Some(explain) = self.explain() {
            let after = self.clock().now().saturating_duration_since(self.start());
            explain.add(Note { stage, text: text().into(), after });
        }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("request_id", &self.request_id())
            .field("target", &self.target().map(Target::path))
            .field("client", &self.client())
            .field("route", &self.route_template())
            .field("auth", &self.auth())
            .field("decision", &self.decision())
            .field("problem", &self.problem())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_facts_fit_into_what_an_allocator_hands_out_quickly() {
        // glibc keeps blocks of up to 1,032 bytes in a list of their own for each thread; 16 are the counters.
        assert!(size_of::<Facts>() + 16 <= 1_032, "{}", size_of::<Facts>());
    }
}
