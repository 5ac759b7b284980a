//! What operators tell a running server.
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Cx, Poll};

use bytes::Bytes;
use http::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, HOST, ORIGIN, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, Response};
use portcullis_core::problem::kinds;
use portcullis_core::{Body, BoxError, Connection, Problem, Secret};
use subtle::ConstantTimeEq;
use tower_service::Service;

use crate::{Handle, Stats, Tls};

mod body;
#[cfg(test)]
mod tests;

/// What it does by itself.
const BUILT_IN: [&str; 4] = ["status", "drain", "close", "reload-certificates"];
/// How long an answer has that says that everything is being closed.
const LAST_ANSWER: std::time::Duration = std::time::Duration::from_millis(100);

/// Lets operators look at a server and tell it what to do. It belongs on [`Server::admin`](crate::Server::admin).
///
/// | request | does |
/// |---|---|
/// | `GET /status` | says the state, the open connections, and what was accepted and refused, as JSON |
/// | `POST /drain` | drains |
/// | `POST /close` | closes everything at once |
/// | `POST /reload-certificates` | reads the certificates again ([`tls`](Self::tls)); 409 with what is wrong, and nothing changes |
/// | `POST /NAME` | a [`command`](Self::command) of the application, or one [with a body](Self::command_with_body) |
///
/// # Deployment
/// On a Unix socket the file's permissions guard it: its owner alone may connect. On TCP it needs a [`token`](Self::token) and the
/// [`host`](Self::host) that requests must name; a server does not open otherwise. A request with an `Origin` is refused: no page
/// in a browser has business here.
#[derive(Clone)]
pub struct Admin(Arc<Settings>);

#[derive(Clone)]
struct Settings {
    handle: Handle,
    stats: Stats,
    token: Option<Arc<Secret<String>>>,
    hosts: Vec<String>,
    tls: Option<Tls>,
    commands: Vec<(String, Command)>,
}

type Answer = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;
type Outcome = Pin<Box<dyn Future<Output = Result<String, BoxError>> + Send>>;

/// A command of the application.
#[derive(Clone)]
enum Command {
    Plain(Arc<dyn Fn() -> Outcome + Send + Sync>),
    WithBody(Arc<dyn Fn(Bytes) -> Result<Outcome, String> + Send + Sync>),
}

impl Admin {
    /// For the server of this handle and these figures. No token, no host, no certificates, no commands.
    pub fn new(handle: Handle, stats: Stats) -> Self {
        let (token, hosts, tls, commands) = (None, Vec::new(), None, Vec::new());
        Self(Arc::new(Settings { handle, stats, token, hosts, tls, commands }))
    }
    fn edit(mut self, edit: impl FnOnce(&mut Settings)) -> Self {
        edit(Arc::make_mut(&mut self.0));
        self
    }
    /// What every request must carry, as `Authorization: Bearer TOKEN`. Default: nothing.
    #[must_use]
    pub fn token(self, token: Secret<String>) -> Self {
        self.edit(|settings| settings.token = Some(Arc::new(token)))
    }
    /// A `Host` that requests may name, such as `127.0.0.1:9901`; every other one is refused, so that no name that somebody else
    /// owns leads here. Default: any.
    #[must_use]
    pub fn host(self, host: impl Into<String>) -> Self {
        self.edit(|settings| settings.hosts.push(host.into()))
    }
    /// The certificates that `POST /reload-certificates` reads again. Default: none.
    #[must_use]
    pub fn tls(self, tls: Tls) -> Self {
        self.edit(|settings| settings.tls = Some(tls))
    }
    /// A command of the application, at `POST /NAME`, which none of those above may have for its own; a server does not open
    /// otherwise. What it says is the answer; where it fails, the answer is 409 with the reason,
    /// which operators may see.
    #[must_use]
    pub fn command<F, R>(self, name: impl Into<String>, command: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<String, BoxError>> + Send + 'static,
    {
        let command = Command::Plain(Arc::new(move || Box::pin(command())));
        self.edit(|settings| settings.commands.push((name.into(), command)))
    }
    /// A [command](Self::command) that is told more by the body of its request, of 64 KiB at most. What it says is wrong with the body is the
    /// `detail` of a 400, and nothing is done then.
    #[must_use]
    pub fn command_with_body<F, R>(self, name: impl Into<String>, command: F) -> Self
    where
        F: Fn(Bytes) -> Result<R, String> + Send + Sync + 'static,
        R: Future<Output = Result<String, BoxError>> + Send + 'static,
    {
        let command = Command::WithBody(Arc::new(move |body| {
            let work: Outcome = Box::pin(command(body)?);
            Ok(work)
        }));
        self.edit(|settings| settings.commands.push((name.into(), command)))
    }
    /// What is wrong with it at a listener of that kind.
    pub(crate) fn faults(&self, by_tcp: bool) -> impl Iterator<Item = String> {
        let missing = self.0.missing_on_tcp().filter(|_| by_tcp).map(str::to_owned);
        let hidden = self.0.commands.iter().filter(|(name, _)| BUILT_IN.contains(&name.as_str()));
        let hidden = hidden
            .map(|(name, _)| format!("the command `{name}` is built in: name yours otherwise"));
        missing.into_iter().chain(hidden)
    }
}

impl Settings {
    /// What is missing where strangers can come.
    fn missing_on_tcp(&self) -> Option<&'static str> {
        if self.token.as_ref().is_none_or(|token| token.expose().is_empty()) {
            return Some("administration by TCP needs a `token`");
        }
        self.hosts.is_empty().then_some("administration by TCP needs the `host` that requests name")
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let answered = match self.admit(&request) {
            Ok(()) => self.obey(request).await,
            Err(problem) => Err(problem),
        };
        let mut response = answered.unwrap_or_else(Problem::into_response);
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
        response
    }

    /// Whether whoever asks may ask at all.
    fn admit(&self, request: &Request<Body>) -> Result<(), Problem> {
        let headers = request.headers();
        let by_tcp = request.extensions().get().is_none_or(|way: &Connection| way.peer().is_some());
        if headers.contains_key(ORIGIN) {
            let detail = "a page in a browser has no business here";
            return Err(Problem::new(kinds::ADDRESS_NOT_ALLOWED).detail(detail));
        }
        let named = headers.get(HOST).and_then(|host| host.to_str().ok());
        let named = request.uri().authority().map(http::uri::Authority::as_str).or(named);
        let is_known = |named: &str| self.hosts.iter().any(|host| host.eq_ignore_ascii_case(named));
        if !self.hosts.is_empty() && !named.is_some_and(is_known) {
            return Err(Problem::new(kinds::HOST_MISDIRECTED));
        }
        if let Some(missing) = self.missing_on_tcp().filter(|_| by_tcp) {
            tracing::warn!("refused an operator: {missing}");
            return Err(Problem::new(kinds::ADDRESS_NOT_ALLOWED));
        }
        match &self.token {
            Some(token) if !carries(request, token.expose()) => {
                let bearer = HeaderValue::from_static("Bearer");
                Err(Problem::new(kinds::AUTHENTICATION_REQUIRED).header(WWW_AUTHENTICATE, bearer))
            }
            _ => Ok(()),
        }
    }

    async fn obey(&self, request: Request<Body>) -> Result<Response<Body>, Problem> {
        let (head, body) = request.into_parts();
        let (method, path) = (&head.method, head.uri.path());
        let name = path.strip_prefix('/').unwrap_or(path);
        let command = self.commands.iter().find(|(known, _)| known == name);
        let allowed = match name {
            "status" => Method::GET,
            "drain" | "close" => Method::POST,
            "reload-certificates" if self.tls.is_some() => Method::POST,
            _ if command.is_some() => Method::POST,
            _ => return Err(Problem::new(kinds::ROUTE_NOT_FOUND)),
        };
        let is_head = method == Method::HEAD && allowed == Method::GET;
        if method != allowed && !is_head {
            let allow = HeaderValue::from_str(allowed.as_str());
            let problem = Problem::new(kinds::METHOD_NOT_ALLOWED);
            return Err(allow
                .into_iter()
                .fold(problem, |problem, allow| problem.header(ALLOW, allow)));
        }
        if method == Method::POST {
            tracing::info!(command = name, "told by an operator");
        }
        match (name, &self.tls, command) {
            ("status", ..) => return Ok(self.status()),
            ("drain", ..) => self.handle.drain(),
            ("close", ..) => {
                let handle = self.handle.clone();
                // Behind the answer, which would be cut off with everything else.
                tokio::spawn(async move {
                    tokio::time::sleep(LAST_ANSWER).await;
                    handle.close();
                });
            }
            ("reload-certificates", Some(tls), _) => {
                let tls = tls.clone();
                // Files, and keys to check: no work for a runtime.
                let reloaded = tokio::task::spawn_blocking(move || tls.reload()).await;
                reloaded.map_err(|error| failed(&error))?.map_err(|errors| failed(&errors))?;
            }
            (_, _, Some((_, command))) => {
                let work = match command {
                    Command::Plain(command) => command(),
                    Command::WithBody(command) => {
                        command(body::read(body).await?).map_err(body::malformed)?
                    }
                };
                let said = work.await.map_err(|error| failed(&*error))?;
                return Ok(Response::new(Body::from(said)));
            }
            _ => return Err(Problem::new(kinds::ROUTE_NOT_FOUND)),
        }
        Ok(Response::new(Body::from("done\n")))
    }

    fn status(&self) -> Response<Body> {
        let state = self.handle.state_name();
        let (open, accepted) = (self.stats.connections(), self.stats.accepted());
        let refused = self.stats.refused();
        let text = format!(
            "{{\"state\":\"{state}\",\"connections\":{open},\"accepted\":{accepted},\"refused\":{refused}}}\n"
        );
        let mut response = Response::new(Body::from(text));
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(http::header::CONTENT_TYPE, json);
        response
    }
}

fn failed(error: &(impl fmt::Display + ?Sized)) -> Problem {
    Problem::new(kinds::COMMAND_FAILED).detail(error.to_string())
}

fn carries(request: &Request<Body>, token: &str) -> bool {
    let sent =
        request.headers().get(AUTHORIZATION).and_then(|sent| sent.as_bytes().split_at_checked(7));
    sent.is_some_and(|(scheme, sent)| {
        scheme.eq_ignore_ascii_case(b"Bearer ")
            && !token.is_empty()
            && bool::from(sent.ct_eq(token.as_bytes()))
    })
}

impl Service<Request<Body>> for Admin {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = AdminFuture;

    fn poll_ready(&mut self, _: &mut Cx<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, request: Request<Body>) -> AdminFuture {
        let settings = Arc::clone(&self.0);
        AdminFuture(Box::pin(async move { settings.answer(request).await }))
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let commands: Vec<_> = self.0.commands.iter().map(|(name, _)| name).collect();
        f.debug_struct("Admin").field("commands", &commands).finish_non_exhaustive()
    }
}

/// The response future of [`Admin`].
#[must_use = "futures do nothing unless polled"]
pub struct AdminFuture(Answer);

impl Future for AdminFuture {
    type Output = Result<Response<Body>, Infallible>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx).map(Ok)
    }
}

impl fmt::Debug for AdminFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminFuture")
    }
}
