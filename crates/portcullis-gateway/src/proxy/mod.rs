//! The reverse proxy: an endpoint that passes requests on to an upstream.
use std::collections::HashSet;
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context as Cx, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, EXPECT, HOST, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, Version};
use http_body::Body as HttpBody;
use hyper::upgrade::OnUpgrade;
use portcullis_core::problem::kinds::CONFIGURATION_INVALID;
use portcullis_core::{
    Body, BodyError, BodyErrorKind, BodyLimit, BoxError, Context, Destination, Problem,
};
use tower_service::Service;

use crate::balance::{Balance, HashKey};
use crate::error::{kinds, sent, unsent};
use crate::identity_token::{Audience, IdentityTokens};
use crate::send::{Route, Time, Trail};
use crate::server::{fingerprint, mix};
use crate::upload::{PATIENCE, Upload, UploadBody};
use crate::upstream::Upstream;

mod grpc_web;
mod headers;
mod mirror;
mod rewrite;
mod split;
mod tunnel;

pub use headers::IdentityFact;
pub use split::Split;

use grpc_web::GrpcWeb;
use headers::{
    FORWARDED, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO, cookie, fold, wanted_upgrade,
};
use mirror::Mirror;
use rewrite::Rewrite;
pub(crate) use rewrite::{capture, parameters};

/// How many informational responses of one answer are passed on.
const MAX_INFORMATIONAL: usize = 16;

/// An endpoint that passes requests on to an upstream, and its answers back. Cheap to clone.
///
/// Bodies are streamed both ways, and nobody reads more than the other side takes. The path is the one that was routed and
/// authorized, or a rewrite of it that is declared here. What belongs to one connection stays on it (RFC 9110, section 7.6.1).
/// `X-Forwarded-*` and `Forwarded` are made anew from what the edge has found out; what the client sent of them, and of other
/// headers that servers believe of proxies, is dropped, in every spelling that some server takes for the same.
/// Trailers, informational responses and changes of protocol (WebSocket) pass.
///
/// ```
/// use portcullis_core::Routes;
/// use portcullis_gateway::{Proxy, Upstream};
/// let catalog = Upstream::builder("catalog").server("http://127.0.0.1:9001").build()?;
/// let routes = Routes::builder()
///     .get("/books/{*rest}", Proxy::to(&catalog).strip_prefix("/books")).public()
///     .build()?;
/// # Ok::<(), portcullis_core::ConfigErrors>(())
/// ```
#[derive(Clone)]
pub struct Proxy(Arc<Settings>);

#[derive(Clone)]
struct Settings {
    split: Split,
    rewrite: Rewrite,
    host: Host,
    forwarding: Forwarding,
    identity: Vec<(HeaderName, IdentityFact)>,
    identity_token: Option<Audience>,
    request_headers: Vec<(HeaderName, Option<HeaderValue>)>,
    response_headers: Vec<(HeaderName, Option<HeaderValue>)>,
    /// What only we may say, in the spelling that others are folded to.
    written: HashSet<Box<str>>,
    mirror: Option<Mirror>,
    mirror_identity: bool,
    grpc_web: bool,
    faults: Vec<String>,
}

/// Which `Host` servers see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Host {
    /// The one that the client asked for.
    #[default]
    Keep,
    /// The server's own.
    Server,
    /// This one.
    Set(HeaderValue),
}

/// In which headers servers are told where a request comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Forwarding {
    /// `X-Forwarded-For`, `-Proto` and `-Host`.
    #[default]
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// Both.
    Both,
    /// In none.
    Nothing,
}

impl Proxy {
    /// Passes requests on to this upstream.
    pub fn to(upstream: &Upstream) -> Self {
        Self::split(Split::new().to(1, upstream))
    }
    /// Passes requests on to one of several upstreams, as the split says.
    pub fn split(split: Split) -> Self {
        let written = [FORWARDED, X_FORWARDED_FOR, X_FORWARDED_PROTO, X_FORWARDED_HOST];
        let written = written.iter().map(|name| name.as_str().into());
        Self(Arc::new(Settings {
            split,
            rewrite: Rewrite::Keep,
            host: Host::Keep,
            forwarding: Forwarding::default(),
            identity: Vec::new(),
            identity_token: None,
            request_headers: Vec::new(),
            response_headers: Vec::new(),
            written: written.chain([Box::from("x-request-id"), Box::from("traceparent")]).collect(),
            mirror: None,
            mirror_identity: false,
            grpc_web: false,
            faults: Vec::new(),
        }))
    }
    fn edit(mut self, edit: impl FnOnce(&mut Settings)) -> Self {
        edit(Arc::make_mut(&mut self.0));
        self
    }
    /// A header that is said here, unless it is one that says how a message is framed or goes on.
    fn named(self, name: &HeaderName, edit: impl FnOnce(&mut Settings)) -> Self {
        self.edit(|settings| match headers::unsettable(name) {
            Some(fault) => settings.faults.push(fault),
            None => edit(settings),
        })
    }
    fn rewritten(self, rewrite: Result<Rewrite, String>) -> Self {
        self.edit(|settings| match rewrite {
            Ok(rewrite) => settings.rewrite = rewrite,
            Err(fault) => settings.faults.push(fault),
        })
    }
    /// Takes this prefix off the path: `/books/7` becomes `/7` without `/books`. The path of the route begins with it.
    #[must_use]
    pub fn strip_prefix(self, prefix: &str) -> Self {
        self.rewritten(Rewrite::strip(prefix))
    }
    /// Puts this in front of the path.
    #[must_use]
    pub fn add_prefix(self, prefix: &str) -> Self {
        self.rewritten(Rewrite::add(prefix))
    }
    /// Makes the path of this template and the parameters of the route's: `/v2/{rest}`.
    #[must_use]
    pub fn rewrite_path(self, template: &str) -> Self {
        self.rewritten(Rewrite::template(template))
    }
    /// Which `Host` servers see. Default: the client's.
    #[must_use]
    pub fn host(self, host: Host) -> Self {
        self.edit(|settings| settings.host = host)
    }
    /// In which headers servers are told where a request comes from. Default: [`Forwarding::XForwarded`].
    #[must_use]
    pub fn forwarding(self, forwarding: Forwarding) -> Self {
        self.edit(|settings| settings.forwarding = forwarding)
    }
    /// Tells servers something about the caller in this header, which nobody else can then send. Where there is no caller, or
    /// nothing to say, the header is not there.
    #[must_use]
    pub fn identity_header(self, name: HeaderName, fact: IdentityFact) -> Self {
        self.named(&name.clone(), |settings| {
            settings.faults.extend(headers::no_identity(&name));
            settings.written.insert(fold(name.as_str()).into());
            settings.identity.push((name, fact));
        })
    }
    /// Tells servers who is calling by a token of ours for this audience, as `Authorization: Bearer`, which nobody else can then send. Where there is no
    /// caller the header is not there.
    #[must_use]
    pub fn identity_token(self, tokens: &IdentityTokens, audience: &str) -> Self {
        self.identity_token_in(AUTHORIZATION, tokens, audience)
    }
    /// The same in another header, which holds the token alone.
    #[must_use]
    pub fn identity_token_in(
        self,
        name: HeaderName,
        tokens: &IdentityTokens,
        audience: &str,
    ) -> Self {
        self.named(&name.clone(), |settings| {
            settings.faults.extend(headers::no_identity(&name));
            settings.written.insert(fold(name.as_str()).into());
            let token = Audience::new(tokens, audience, name);
            settings.faults.extend(token.fault());
            settings.identity_token = Some(token);
        })
    }
    /// Gives requests this header, in place of the client's.
    #[must_use]
    pub fn set_request_header(self, name: HeaderName, value: HeaderValue) -> Self {
        self.named(&name.clone(), |settings| {
            settings.written.insert(fold(name.as_str()).into());
            settings.request_headers.push((name, Some(value)));
        })
    }
    /// Takes this header from requests, in every spelling.
    #[must_use]
    pub fn remove_request_header(self, name: HeaderName) -> Self {
        self.named(&name.clone(), |settings| {
            settings.written.insert(fold(name.as_str()).into());
            settings.request_headers.push((name, None));
        })
    }
    /// Gives answers this header, in place of the server's.
    #[must_use]
    pub fn set_response_header(self, name: HeaderName, value: HeaderValue) -> Self {
        self.named(&name.clone(), |settings| settings.response_headers.push((name, Some(value))))
    }
    /// Takes this header from answers.
    #[must_use]
    pub fn remove_response_header(self, name: HeaderName) -> Self {
        self.named(&name.clone(), |settings| settings.response_headers.push((name, None)))
    }
    /// Sends a share of the requests, from 0 to 1, to a shadow as well, and throws its answers away. Bodies over 64 KiB are not
    /// copied, and neither are requests while 100 copies are on their way. The shadow is not told who is calling.
    #[must_use]
    pub fn mirror(self, upstream: &Upstream, share: f64) -> Self {
        self.edit(|settings| settings.mirror = Some(Mirror::new(upstream.clone(), share)))
    }
    /// Tells the shadow too who is calling, as the servers are told: by the same headers, and by the same token, with which it could call them.
    #[must_use]
    pub fn mirror_identity(self) -> Self {
        self.edit(|settings| settings.mirror_identity = true)
    }
    /// Translates gRPC-Web, which browsers speak, into gRPC for the servers, and their answers back. Servers that speak gRPC-Web themselves
    /// need none of it. Default: it passes as it is.
    #[must_use]
    pub fn grpc_web(self) -> Self {
        self.edit(|settings| settings.grpc_web = true)
    }
    /// What cannot work at a route with this template.
    pub fn faults(&self, template: &str) -> Vec<String> {
        let mut faults = self.0.faults.clone();
        faults.extend(self.0.rewrite.fault(template));
        faults.extend(self.0.split.fault());
        let told = self.0.identity.iter().map(|(name, _)| name);
        let told = told.chain(self.0.identity_token.iter().map(Audience::header));
        let others = self.0.request_headers.iter().map(|(name, _)| name);
        let mut seen: HashSet<_> = others.map(|name| fold(name.as_str())).collect();
        for name in told.filter(|name| !seen.insert(fold(name.as_str()))) {
            faults.push(format!(
                "`{name}` is said twice, by one header or by two that servers take for one"
            ));
        }
        faults
    }

    async fn answer(self, mut request: Request<Body>) -> Response<Body> {
        let context = Context::of(&mut request);
        let version = request.version();
        let on_upgrade = request.extensions_mut().remove::<OnUpgrade>();
        match self.pass_on(&context, request, on_upgrade).await {
            Ok(response) => response,
            Err(problem) => {
                context.note("gateway", || problem.to_string());
                let mut response = problem.respond(&context);
                *response.version_mut() = version;
                response
            }
        }
    }

    async fn pass_on(
        &self,
        context: &Context,
        request: Request<Body>,
        on_upgrade: Option<OnUpgrade>,
    ) -> Result<Response<Body>, Problem> {
        let deadline = context.deadline();
        let now = context.clock().now();
        if deadline.is_expired(now) {
            return Err(unsent(kinds::UPSTREAM_TIMEOUT, "the time for the request is over"));
        }
        if let Some(limit) = request.extensions().get::<BodyLimit>()
            && request.body().size_hint().lower() > limit.get()
        {
            // It says so itself: nobody need be asked.
            limit.failed(BodyErrorKind::TooLarge);
            return Err(BodyError::new(BodyErrorKind::TooLarge).problem());
        }
        let (upstream, split_cookie) = self.0.split.choose(context, request.headers())?;
        let version = request.version();
        let upgrade = wanted_upgrade(request.headers(), version).filter(|_| on_upgrade.is_some());
        let route = route(upstream, context, request.headers());
        if let Some(fault) = self.0.faults.first() {
            return Err(Problem::new(CONFIGURATION_INVALID).cause(fault.clone()));
        }
        let web = if self.0.grpc_web { GrpcWeb::of(request.headers()) } else { None };
        let wish = headers::wish(request.headers(), context, now);
        let least = deadline.remaining(now).unwrap_or(Duration::MAX);
        let patience = upstream.0.try_timeout.unwrap_or(upstream.0.timeout).min(least) / 4;
        let asked = Asked { upgrade: upgrade.as_ref(), web: web.as_ref(), wish, patience };
        let (outbound, upload) = self.outbound(context, request, &asked)?;
        context.note("gateway", || format!("to upstream `{}`", upstream.name()));
        let time = deadline
            .remaining(now)
            .map(|left| Time { left, by_client: wish <= Some(left) && wish.is_some() });
        let mut trail = Trail::default();
        let result = upstream.send(outbound, upload.as_ref(), route, time, &mut trail).await;
        if let Some(server) = trail.server {
            let (name, label) = (Arc::clone(&upstream.0.name), Arc::clone(&server.label));
            context.set_destination(Destination::new(name, label, trail.tries));
        }
        let answered = result?;
        let mut response = answered.response;
        response.body_mut().sift(self);
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let (Some(client), Some(_)) = (on_upgrade, upgrade) else {
                let cause = "it changed the protocol unasked";
                return Err(sent(kinds::UPSTREAM_INVALID, cause));
            };
            let server = hyper::upgrade::on(&mut response);
            let (idle, held) = (upstream.0.body_idle, answered.tunnel);
            tunnel::carry(client, server, context, idle, held);
            return Ok(self.change_protocol(response.map(drop)));
        }
        let server_version = response.version();
        headers::check_framing(response.headers_mut(), server_version)
            .map_err(|cause| sent(kinds::UPSTREAM_INVALID, cause))?;
        self.clean_answer(response.headers_mut(), server_version);
        if let Balance::StickyCookie(name) = &upstream.0.rules.balance
            && route.sticky != Some(answered.server)
        {
            remember(&mut response, name, &format!("{:016x}", answered.server), context);
        }
        if let Some((name, value)) = split_cookie {
            remember(&mut response, &name, &value, context);
        }
        *response.version_mut() = Version::HTTP_11;
        response.extensions_mut().clear();
        Ok(match web {
            Some(web) => web.answer(response),
            None => response.map(Body::new),
        })
    }

    /// The request as servers see it.
    fn outbound(
        &self,
        context: &Context,
        request: Request<Body>,
        asked: &Asked<'_>,
    ) -> Result<(Request<Body>, Option<Upload>), Problem> {
        let (mut parts, body) = request.into_parts();
        let body = match asked.web {
            Some(web) => web.body(body),
            None => body,
        };
        // HTTP/1.0 has no such word, and we have no way to say it over HTTP/2.
        let expects = parts.version == Version::HTTP_11
            && !body.is_end_stream()
            && parts.headers.contains_key(EXPECT);
        let patience = expects.then(|| asked.patience.min(PATIENCE));
        let (body, upload) = if body.is_end_stream() {
            (body, None)
        } else {
            let (proxy, facts) = (self.clone(), context.clone());
            let sieve = move |trailers: &mut HeaderMap| proxy.sift(trailers, &facts);
            let (body, upload) = UploadBody::new(body, Box::new(sieve), patience);
            (Body::new(body), Some(upload))
        };
        let path = match context.target() {
            Some(target) => self.0.rewrite.apply(context, target)?,
            None => parts
                .uri
                .path_and_query()
                .cloned()
                .unwrap_or_else(|| http::uri::PathAndQuery::from_static("/")),
        };
        self.clean(&mut parts.headers, context, asked.upgrade)?;
        if let Some(web) = asked.web {
            web.clean(&mut parts.headers);
        }
        if expects {
            // There is no other expectation: the server in front refuses those.
            parts.headers.insert(EXPECT, HeaderValue::from_static("100-continue"));
        }
        headers::say_wish(&mut parts.headers, context, asked.wish);
        self.introduce(&mut parts.headers, context, parts.version);
        match self.host_header(context) {
            Some(host) => drop(parts.headers.insert(HOST, host)),
            // The one that is chosen says its own.
            None => drop(parts.headers.remove(HOST)),
        }
        let mut outbound = Request::new(body);
        *outbound.method_mut() = parts.method;
        *outbound.uri_mut() = Uri::from(path);
        *outbound.headers_mut() = parts.headers;
        let informational = context.informational().cloned();
        if informational.is_some() || expects {
            let (sent, upload) = (AtomicUsize::new(0), upload.clone());
            hyper::ext::on_informational(&mut outbound, move |early| {
                if early.status() == StatusCode::CONTINUE {
                    // Our server says so itself, when the body is read.
                    upload.iter().for_each(Upload::want);
                } else if let Some(informational) = &informational
                    && sent.fetch_add(1, Relaxed) < MAX_INFORMATIONAL
                {
                    let mut passed = Response::new(());
                    *passed.status_mut() = early.status();
                    *passed.headers_mut() = early.headers().clone();
                    informational.send(passed);
                }
            });
        }
        let outbound = match &self.0.mirror {
            Some(mirror) => mirror.copy(outbound, self.hidden_from_shadow()),
            None => outbound,
        };
        Ok((outbound, upload))
    }

    /// What says to servers who is calling, where the shadow need not know.
    fn hidden_from_shadow(&self) -> impl Iterator<Item = &HeaderName> {
        let headers = self.0.identity.iter().map(|(name, _)| name);
        let token = self.0.identity_token.iter().map(Audience::header);
        headers.chain(token).filter(|_| !self.0.mirror_identity)
    }

    fn change_protocol(&self, mut response: Response<()>) -> Response<Body> {
        let protocol = response.headers().get(http::header::UPGRADE).cloned();
        self.clean_answer(response.headers_mut(), Version::HTTP_11);
        let headers = response.headers_mut();
        headers.insert(http::header::CONNECTION, HeaderValue::from_static("upgrade"));
        if let Some(protocol) = protocol {
            headers.insert(http::header::UPGRADE, protocol);
        }
        response.extensions_mut().clear();
        response.map(|()| Body::empty())
    }
}

/// What is special about a request.
struct Asked<'a> {
    /// The protocol that the connection shall change to.
    upgrade: Option<&'a HeaderValue>,
    web: Option<&'a GrpcWeb>,
    /// What is left of the time that a client of gRPC gives.
    wish: Option<Duration>,
    /// How long a body may wait for the server to ask for it.
    patience: Duration,
}

/// What the choice of a server goes by.
fn route(upstream: &Upstream, context: &Context, headers: &HeaderMap) -> Route {
    match &upstream.0.rules.balance {
        Balance::Hash(HashKey::Header(name)) => {
            let value = headers.get(name).map(HeaderValue::as_bytes);
            let key = value.map(|value| fingerprint(&String::from_utf8_lossy(value)));
            Route { key, sticky: None }
        }
        Balance::Hash(HashKey::Address) => Route { key: client_key(context), sticky: None },
        Balance::Hash(HashKey::Identity) => {
            let key = context.identity().map(identity_key).or_else(|| client_key(context));
            Route { key, sticky: None }
        }
        Balance::StickyCookie(name) => {
            let sticky = cookie(headers, name).and_then(|id| u64::from_str_radix(id, 16).ok());
            Route { key: None, sticky }
        }
        _ => Route::default(),
    }
}

fn client_key(context: &Context) -> Option<u64> {
    context.client().map(|client| fold_bits(client.key().to_bits()))
}

fn identity_key(identity: &portcullis_core::Identity) -> u64 {
    fold_bits(identity.fingerprint())
}

fn fold_bits(bits: u128) -> u64 {
    #[expect(clippy::cast_possible_truncation, reason = "both halves are used")]
    let (high, low) = ((bits >> 64) as u64, bits as u64);
    mix(high.rotate_left(32) ^ low)
}

/// Lets the client come back to where it was.
fn remember<B>(response: &mut Response<B>, name: &str, value: &str, context: &Context) {
    let secure = if context.scheme() == portcullis_core::Scheme::Https { "; Secure" } else { "" };
    let cookie = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}");
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
}

impl<B> Service<Request<B>> for Proxy
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = ProxyFuture;

    fn poll_ready(&mut self, _: &mut Cx<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, request: Request<B>) -> ProxyFuture {
        ProxyFuture(Box::pin(self.clone().answer(request.map(Body::new))))
    }
}

/// The response future of [`Proxy`].
#[must_use = "futures do nothing unless polled"]
pub struct ProxyFuture(Pin<Box<dyn Future<Output = Response<Body>> + Send>>);

impl Future for ProxyFuture {
    type Output = Result<Response<Body>, Infallible>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx).map(Ok)
    }
}

impl fmt::Debug for ProxyFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProxyFuture")
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("to", &self.0.split).finish_non_exhaustive()
    }
}
