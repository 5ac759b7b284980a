//! The edge layer: what came becomes what everybody further in can rely on.
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Cx, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::Body as HttpBody;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::client_addr::TrustedProxies;
use crate::problem::{RenderProblem, kinds};
use crate::request_id::X_REQUEST_ID;
use crate::stack::{CanonicalTarget, Staged};
use crate::target::{TargetError, TargetRules};
use crate::{
    Body, BoxError, ClientAddr, Clock, Connection, Context, Format, GrpcTimeout, Problem,
    Refusable, RequestId, Target, TraceContext, stage,
};

mod security_headers;
#[cfg(test)]
mod tests;

pub use security_headers::SecurityHeaders;

/// The prefix of header names that only we may write. A client's are dropped, in every spelling.
pub const OWN_PREFIX: &str = "x-portcullis-";

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// Applies [`Edge`]: canonical target, client address, request id, trace, security headers.
///
/// # Deployment
/// Behind a reverse proxy, name it with [`trusted_proxies`](Self::trusted_proxies); otherwise every client has the
/// proxy's address, since nobody is trusted unasked.
///
/// The edge stands in front of the router, since it changes the path. By `axum::Router::layer` it stands behind it; with
/// `BridgeLayer` of `portcullis-axum` outside of it, a path that it would have to change after it was routed is then
/// refused. Put around the whole router, it changes the path in time.
#[derive(Clone)]
pub struct EdgeLayer {
    settings: Arc<Settings>,
}

#[derive(Clone, Default)]
struct Settings {
    rules: TargetRules,
    proxies: TrustedProxies,
    headers: Arc<SecurityHeaders>,
    renderer: Option<Arc<dyn RenderProblem>>,
    clock: Clock,
}

impl Default for EdgeLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl EdgeLayer {
    /// Refuses ambiguous targets, trusts no proxy, adds the default security headers.
    pub fn new() -> Self {
        Self { settings: Arc::default() }
    }
    fn edit(mut self, edit: impl FnOnce(&mut Settings)) -> Self {
        edit(Arc::make_mut(&mut self.settings));
        self
    }
    /// How targets are read. Default: whatever could be read in two ways is refused.
    #[must_use]
    pub fn target_rules(self, rules: TargetRules) -> Self {
        self.edit(|settings| settings.rules = rules)
    }
    /// Which peers may speak for a client. Default: nobody.
    #[must_use]
    pub fn trusted_proxies(self, proxies: TrustedProxies) -> Self {
        self.edit(|settings| settings.proxies = proxies)
    }
    /// The headers that every answer carries. Default: [`SecurityHeaders::default`].
    #[must_use]
    pub fn security_headers(self, headers: SecurityHeaders) -> Self {
        self.edit(|settings| settings.headers = Arc::new(headers))
    }
    /// The application's own way to show problems. Default: ours.
    #[must_use]
    pub fn render_problems(self, renderer: impl RenderProblem + 'static) -> Self {
        self.edit(|settings| settings.renderer = Some(Arc::new(renderer)))
    }
    /// Where time comes from, when this is the outermost layer. Default: the machine's clocks.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        self.edit(|settings| settings.clock = clock)
    }
}

impl fmt::Debug for EdgeLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EdgeLayer")
            .field("rules", &self.settings.rules)
            .field("proxies", &self.settings.proxies)
            .finish_non_exhaustive()
    }
}

impl<S> Layer<S> for EdgeLayer {
    type Service = Edge<S>;
    fn layer(&self, inner: S) -> Self::Service {
        Edge { inner, settings: Arc::clone(&self.settings) }
    }
}

impl Staged for EdgeLayer {
    type Stage = stage::Edge;
    type Needs = ();
    type Provides = CanonicalTarget;
}

/// Makes a request something that everybody further in can rely on, and adds headers to every answer.
///
/// - The URI becomes the canonical [`Target`]; what could be read in two ways is 400 `target-invalid`.
/// - The client address, the scheme, the request id (`x-request-id`) and the trace (`traceparent`) continue only what
///   a trusted hop sent; for everyone else they are made anew, and what the client sent is dropped.
/// - Headers that begin with [`OWN_PREFIX`], in any spelling, are dropped.
/// - An answer that takes a request body which failed for a failure of the server's, or for just any bad request, is corrected
///   ([`BodyLimit::correction`](crate::BodyLimit::correction)).
/// - Every answer carries the request id and the [`SecurityHeaders`].
#[derive(Clone)]
pub struct Edge<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S: fmt::Debug> fmt::Debug for Edge<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edge").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, ReqBody, B> Service<Request<ReqBody>> for Edge<S>
where
    S: Service<Request<ReqBody>, Response = Response<B>>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = EdgeFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let context = Context::with_clock(&mut request, &self.settings.clock);
        let call = match self.settings.admit(&context, &mut request) {
            Ok(()) => Refusable::calling(self.inner.call(request)),
            Err(problem) => {
                context.note("edge", || problem.to_string());
                Refusable::answered(problem.respond(&context))
            }
        };
        EdgeFuture { call, context }
    }
}

impl Settings {
    /// Leaves what is known about the request in the context, and the canonical target in the request.
    fn admit<B>(&self, context: &Context, request: &mut Request<B>) -> Result<(), Problem> {
        if let Some(renderer) = &self.renderer {
            context.set_renderer(Arc::clone(renderer));
        }
        context.set_security_headers(Arc::clone(&self.headers));
        let sent = Sent::of(request.headers());
        if sent.own {
            drop_own(request.headers_mut());
        }
        let peer = context.connection().and_then(Connection::peer);
        let trusted = peer.filter(|peer| self.proxies.trusts(peer.ip()));
        identify(context, request.headers_mut(), sent, trusted.is_some());
        let hop = trusted.map(|peer| self.proxies.resolve(peer, request.headers())).transpose();
        let hop = hop
            .map_err(|error| Problem::new(kinds::FORWARDING_AMBIGUOUS).detail(error.to_string()))?;
        let hop = hop.unwrap_or_default();
        if let Some(client) =
            hop.client.map(ClientAddr::forwarded).or(peer.map(|peer| ClientAddr::peer(peer.ip())))
        {
            context.set_client(client);
        }
        if let Some(wish) = client_wish(context, request.headers()) {
            context.limit_time(wish);
        }
        let scheme = hop.scheme.unwrap_or_else(|| context.scheme());
        context.set_scheme(scheme);
        let target = Target::of(request, scheme, hop.host.as_deref(), &self.rules)
            .map_err(invalid_target)?;
        if context.route_template().is_some() && !target.matches(request.uri()) {
            let detail = "the path is not in its plain spelling, and has been routed already";
            return Err(Problem::new(kinds::TARGET_INVALID).detail(detail));
        }
        target.apply_to(request.uri_mut());
        if !context.set_target(target) {
            let cause =
                "a layer in front of the edge has set the target already: keep one edge layer";
            return Err(Problem::new(kinds::CONTEXT_CONFLICT).cause(cause));
        }
        Ok(())
    }
}

/// Gives the request its id and trace: of the trusted hop, or new ones. What is not continued is dropped.
fn identify(context: &Context, headers: &mut HeaderMap, sent: Sent, trusted: bool) {
    let (mut id, mut trace) = (None, None);
    if trusted {
        id = only_line(headers, X_REQUEST_ID).and_then(RequestId::parse);
        let line = only_line(headers, TRACEPARENT).and_then(|line| line.to_str().ok());
        trace = line.and_then(TraceContext::parse).map(TraceContext::child);
    }
    if sent.trace && trace.is_none() {
        for name in [TRACEPARENT, TRACESTATE, BAGGAGE] {
            headers.remove(name);
        }
    }
    if sent.request_id && id.is_none() {
        headers.remove(X_REQUEST_ID);
    }
    context.set_request_id(id.unwrap_or_else(RequestId::random));
    context.set_trace(trace.unwrap_or_else(TraceContext::random));
}

/// The value of a header that stands once. Several lines are no valid header (Trace Context, section 3.2, for its own).
fn only_line(headers: &HeaderMap, name: HeaderName) -> Option<&HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    lines.next().filter(|_| lines.next().is_none())
}

/// Which of the headers that the edge may have to drop a client sent. Found in one look over the names, since most
/// requests have none.
#[derive(Clone, Copy, Default)]
struct Sent {
    own: bool,
    request_id: bool,
    trace: bool,
}

impl Sent {
    fn of(headers: &HeaderMap) -> Self {
        let mut sent = Self::default();
        for name in headers.keys() {
            match name.as_str().as_bytes() {
                [b'x', ..] => {
                    sent.own |= is_own(name);
                    sent.request_id |= *name == X_REQUEST_ID;
                }
                [b't' | b'b', ..] => {
                    sent.trace |= [TRACEPARENT, TRACESTATE, BAGGAGE].contains(name);
                }
                _ => {}
            }
        }
        sent
    }
}

pub(crate) fn invalid_target(error: TargetError) -> Problem {
    Problem::new(kinds::TARGET_INVALID).detail(error.to_string())
}

/// Whether a name folds to one that begins with [`OWN_PREFIX`].
fn is_own(name: &HeaderName) -> bool {
    // `HeaderName` is in lower case; `_` and `.` become `-` in some servers behind us.
    let fold = |byte: u8| if matches!(byte, b'_' | b'.') { b'-' } else { byte };
    let bytes = name.as_str().bytes();
    bytes.len() >= OWN_PREFIX.len()
        && bytes.zip(OWN_PREFIX.bytes()).all(|(byte, own)| fold(byte) == own)
}

fn drop_own(headers: &mut HeaderMap) {
    while let Some(name) = headers.keys().find(|name| is_own(name)).cloned() {
        headers.remove(name);
    }
}

/// The time that a gRPC client gives us.
fn client_wish(context: &Context, headers: &HeaderMap) -> Option<Duration> {
    let is_grpc = context.dialect().format() == Format::Grpc;
    GrpcTimeout::read(headers).filter(|_| is_grpc).map(|wish| wish.0)
}

pin_project! {
    /// The response future of [`Edge`].
    #[must_use = "futures do nothing unless polled"]
    pub struct EdgeFuture<F> {
        #[pin]
        call: Refusable<F>,
        context: Context,
    }
}

impl<F> fmt::Debug for EdgeFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EdgeFuture").field("context", &self.context).finish_non_exhaustive()
    }
}

impl<F, B, E> Future for EdgeFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, E>;
    fn poll(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.call.poll(cx))?;
        if let Some(problem) =
            this.context.body_limit_known().and_then(|limit| limit.correction(response.status()))
        {
            this.context.note("edge", || problem.to_string());
            response = problem.respond(this.context);
        }
        this.context.add_standard_headers(response.headers_mut());
        Poll::Ready(Ok(response))
    }
}
