//! From a request to what is done, and from what was done to an answer.
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context as Cx, Poll};
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION,
    REFERRER_POLICY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as HttpBody;
use portcullis_core::problem::kinds::{
    AUTHENTICATION_REQUIRED, INTERNAL_ERROR, METHOD_NOT_ALLOWED, ROUTE_NOT_FOUND,
};
use portcullis_core::{Body, BoxError, ClientAddr, Context, Format, Problem};
use serde_json::Value;
use tower_service::Service;

use super::Accounts;
use super::input::{Input, is_form, words};
use super::page::{Page, PageKind};
use crate::kinds::REQUEST_CROSS_SITE;
use crate::own_path::own_path;
use crate::secret_id::SecretId;
use crate::session::{Session, SessionInfo};
use crate::stored_key::KeyRecord;

/// The response future of [`Accounts`].
#[must_use = "futures do nothing unless polled"]
pub struct AccountsFuture(Pin<Box<dyn Future<Output = Response<Body>> + Send>>);

impl Future for AccountsFuture {
    type Output = Result<Response<Body>, Infallible>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx).map(Ok)
    }
}

impl fmt::Debug for AccountsFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountsFuture").finish_non_exhaustive()
    }
}

impl<B> Service<Request<B>> for Accounts
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = AccountsFuture;

    fn poll_ready(&mut self, _: &mut Cx<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let (accounts, context) = (self.clone(), Context::of(&mut request));
        let (parts, body) = request.into_parts();
        AccountsFuture(Box::pin(async move { accounts.answer(&context, &parts, body).await }))
    }
}

/// Who asks, and when.
pub(super) struct Ask<'a> {
    pub(super) session: &'a Session,
    pub(super) client: Option<ClientAddr>,
    pub(super) now: SystemTime,
}

impl<'a> Ask<'a> {
    fn of(context: &Context, session: &'a Session) -> Self {
        Self { session, client: context.client(), now: context.clock().wall() }
    }
}

/// What was done.
pub(super) struct Done {
    pub(super) status: StatusCode,
    pub(super) json: Value,
    pub(super) shown: Shown,
}

impl Done {
    pub(super) fn of(json: Value, shown: Shown) -> Self {
        Self { status: StatusCode::OK, json, shown }
    }
}

/// What a browser sees of it.
pub(super) enum Shown {
    /// The form.
    Form,
    /// The page to log in on, with a message.
    LogIn(&'static str),
    /// Another place.
    See(String),
    /// A message.
    Said(&'static str),
    Sessions(Vec<SessionInfo>),
    Keys(Vec<KeyRecord>, Option<String>),
}

/// What a form has again, whatever came of it.
#[derive(Default)]
struct Kept {
    email: String,
    token: String,
    next: String,
    label: String,
}

impl Kept {
    fn of(input: &Input) -> Self {
        let field = |name| input.optional(name).ok().flatten().unwrap_or_default().to_owned();
        Self {
            email: field("email"),
            token: field("token"),
            next: field("next"),
            label: field("label"),
        }
    }
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Form(PageKind),
    EndSession,
    RotateKey,
    EndKey,
}

impl Action {
    fn of(path: &str) -> Option<Self> {
        use PageKind::{
            Email, EmailConfirm, Keys, LogIn, LogOut, Password, Register, Reset, ResetConfirm,
            Sessions, Verify,
        };
        let forms = [
            Register,
            Verify,
            LogIn,
            LogOut,
            Reset,
            ResetConfirm,
            Password,
            Email,
            EmailConfirm,
            Sessions,
            Keys,
        ];
        let form = forms.into_iter().find(|kind| kind.path() == path).map(Self::Form);
        form.or(match path {
            "/sessions/end" => Some(Self::EndSession),
            "/keys/rotate" => Some(Self::RotateKey),
            "/keys/end" => Some(Self::EndKey),
            _ => None,
        })
    }
    /// The page on which it is asked for.
    fn page(self) -> PageKind {
        match self {
            Self::Form(kind) => kind,
            Self::EndSession => PageKind::Sessions,
            Self::RotateKey | Self::EndKey => PageKind::Keys,
        }
    }
    fn methods(self) -> &'static str {
        match self {
            Self::Form(PageKind::Sessions) => "GET, HEAD, OPTIONS",
            Self::Form(_) => "GET, HEAD, OPTIONS, POST",
            Self::EndSession | Self::RotateKey | Self::EndKey => "OPTIONS, POST",
        }
    }
    /// Whether a page with a form and nothing else is all that there is to see.
    fn is_form(self) -> bool {
        matches!(self, Self::Form(page) if ![PageKind::Sessions, PageKind::Keys].contains(&page))
    }
    fn needs_somebody(self) -> bool {
        use PageKind::{Email, EmailConfirm, Keys, Password, Sessions};
        [Password, Email, EmailConfirm, Sessions, Keys].contains(&self.page())
    }
}

/// How one says who one is here.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Form realm=\"account\"");

/// Nobody has logged in.
pub(super) fn nobody() -> Problem {
    let problem = Problem::new(AUTHENTICATION_REQUIRED);
    let problem =
        problem.detail("this asks for a log-in with a password: keys and tokens do not count here");
    problem.header(http::header::WWW_AUTHENTICATE, CHALLENGE)
}

/// What has become of an account, for who looks later: one line of the log each, with the target `portcullis::audit`.
pub(super) fn audit(event: &'static str, account: &str, outcome: &'static str) {
    tracing::info!(target: "portcullis::audit", event, account, outcome);
}

/// A password is wrong, or there is nobody whose it could be.
pub(super) fn wrong() -> Problem {
    let problem = Problem::new(crate::kinds::CREDENTIALS_INVALID);
    problem.header(http::header::WWW_AUTHENTICATE, CHALLENGE)
}

/// A parameter of a query.
fn parameter(parts: &Parts, name: &str) -> String {
    let query = parts.uri.query().unwrap_or_default();
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let found = pairs.find(|(own, _)| own == name);
    found.map(|(_, value)| value.into_owned()).unwrap_or_default()
}

impl Accounts {
    async fn answer<B>(&self, context: &Context, parts: &Parts, body: B) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Send,
        B::Error: Into<BoxError>,
    {
        let mount = self.0.mount.as_str();
        // As it was asked for; a router may have taken what it is mounted at away.
        let path = context.target().map_or(parts.uri.path(), |target| target.path());
        let own = path.strip_prefix(mount).filter(|rest| rest.starts_with('/') || rest.is_empty());
        let path = own.unwrap_or(path);
        if own.is_none() && context.target().is_some() {
            let cause = format!(
                "the endpoints for accounts are elsewhere than their forms and links lead to, `{mount}`: say where by `mounted_at`"
            );
            return private(Problem::new(INTERNAL_ERROR).cause(cause).respond(context));
        }
        let Some(action) = Action::of(path) else {
            return private(Problem::new(ROUTE_NOT_FOUND).respond(context));
        };
        let reads = [Method::GET, Method::HEAD].contains(&parts.method);
        let is_html = match is_form(&parts.headers) {
            Some(is_form) => is_form,
            // A form is a page, whoever asks for it.
            None if reads && action.is_form() => true,
            None => context.dialect().format() == Format::Html,
        };
        if reads && is_html && !matches!(action, Action::Form(_)) {
            // A browser that looks again at what it has sent.
            return private(see(&format!("{mount}{}", action.page().path())));
        }
        if parts.method == Method::OPTIONS {
            let mut answer = answer(StatusCode::NO_CONTENT, "text/plain", String::new());
            answer.headers_mut().remove(CONTENT_TYPE);
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static(action.methods()));
            return private(answer);
        }
        // Of an address that somebody else has made up, nothing but what must be there.
        let (token, next) = (parameter(parts, "token"), parameter(parts, "next"));
        let mut kept = Kept { token, next, ..Kept::default() };
        let done = self.handle(context, parts, body, action, &mut kept).await;
        let answer = match done {
            Ok(done) if is_html => self.show(context, action, &done, &kept),
            Ok(Done { status, json, .. }) => answer(status, "application/json", json.to_string()),
            Err(problem) if is_html => {
                let lists = self.lists(context, parts, action).await;
                self.show_problem(context, action, problem, (&kept, lists))
            }
            Err(problem) => problem.respond(context),
        };
        private(answer)
    }
    async fn handle<B>(
        &self,
        context: &Context,
        parts: &Parts,
        body: B,
        action: Action,
        kept: &mut Kept,
    ) -> Result<Done, Problem>
    where
        B: HttpBody<Data = Bytes> + Send,
        B::Error: Into<BoxError>,
    {
        let session = parts.extensions.get::<Session>().ok_or_else(|| {
            Problem::new(INTERNAL_ERROR).cause(
                "the endpoints for accounts see no session: they stand behind an AuthenticateLayer with sessions, on a route of optional access",
            )
        })?;
        let is_get = [Method::GET, Method::HEAD].contains(&parts.method);
        let knows =
            |method: &Method| action.methods().split(", ").any(|own| own == method.as_str());
        if !knows(&parts.method) {
            let allow = HeaderValue::from_static(action.methods());
            return Err(Problem::new(METHOD_NOT_ALLOWED).header(ALLOW, allow));
        }
        if action.page() == PageKind::Keys && self.0.keys.is_none() {
            return Err(Problem::new(ROUTE_NOT_FOUND));
        }
        if action.needs_somebody() && session.identity().is_none() {
            return Err(nobody());
        }
        let ask = Ask::of(context, session);
        if is_get {
            return self.get(&ask, action).await;
        }
        if session.is_cross_site() {
            return Err(Problem::new(REQUEST_CROSS_SITE));
        }
        let input = Input::read(&parts.headers, body).await?;
        *kept = Kept::of(&input);
        self.post(&ask, action, &input).await
    }
    /// What is shown before anything is sent.
    async fn get(&self, ask: &Ask<'_>, action: Action) -> Result<Done, Problem> {
        match action {
            Action::Form(PageKind::Sessions) => self.sessions(ask).await,
            Action::Form(PageKind::Keys) => self.keys(ask).await,
            _ => Ok(Done::of(serde_json::json!({}), Shown::Form)),
        }
    }
    async fn post(&self, ask: &Ask<'_>, action: Action, input: &Input) -> Result<Done, Problem> {
        match action {
            Action::Form(kind) => match kind {
                PageKind::Register => self.register(ask, input).await,
                PageKind::Verify => self.verify(ask, input).await,
                PageKind::LogIn => self.log_in(ask, input).await,
                PageKind::LogOut => self.log_out(ask).await,
                PageKind::Reset => self.reset(ask, input).await,
                PageKind::ResetConfirm => self.reset_confirm(ask, input).await,
                PageKind::Password => self.change_password(ask, input).await,
                PageKind::Email => self.change_email(ask, input).await,
                PageKind::EmailConfirm => self.confirm_email(ask, input).await,
                PageKind::Keys => self.make_key(ask, input).await,
                PageKind::Sessions | PageKind::Done => Err(Problem::new(METHOD_NOT_ALLOWED)),
            },
            Action::EndSession => self.end_session(ask, input).await,
            Action::RotateKey => self.rotate_key(ask, input).await,
            Action::EndKey => self.end_key(ask, input).await,
        }
    }
    /// A page, with what it shows beside its form.
    fn page<'a>(
        &'a self,
        context: &Context,
        kind: PageKind,
        kept: &'a Kept,
        shown: Option<&'a Shown>,
    ) -> Page<'a> {
        let (sessions, keys, new_key): (&[_], &[_], _) = match shown {
            Some(Shown::Sessions(list)) => (list, &[], None),
            Some(Shown::Keys(list, key)) => (&[], list, key.as_deref()),
            _ => (&[], &[], None),
        };
        Page {
            kind,
            service: &self.0.service,
            mount: &self.0.mount,
            error: None,
            message: None,
            email: &kept.email,
            token: &kept.token,
            next: &kept.next,
            label: &kept.label,
            sessions,
            keys,
            new_key,
            home: &self.0.after_log_in,
            now: context.clock().wall(),
        }
    }
    fn show(&self, context: &Context, action: Action, done: &Done, kept: &Kept) -> Response<Body> {
        let (kind, message) = match done.shown {
            Shown::See(ref place) => return see(place),
            Shown::LogIn(message) => (PageKind::LogIn, Some(message)),
            Shown::Said(message) => (PageKind::Done, Some(message)),
            Shown::Form | Shown::Sessions(_) | Shown::Keys(..) => (action.page(), None),
        };
        let mut page = self.page(context, kind, kept, Some(&done.shown));
        page.message = message;
        html(done.status, self.0.pages.html(&page))
    }
    /// The page again, with what is wrong.
    fn show_problem(
        &self,
        context: &Context,
        action: Action,
        problem: Problem,
        (kept, lists): (&Kept, Option<Shown>),
    ) -> Response<Body> {
        let mount = &self.0.mount;
        if problem.kind() == AUTHENTICATION_REQUIRED {
            let mut back = format!("{mount}{}", action.page().path());
            if SecretId::read(&kept.token).is_some() {
                back = format!("{back}?token={}", kept.token);
            }
            let back: String = form_urlencoded::byte_serialize(back.as_bytes()).collect();
            return see(&format!("{mount}/login?next={back}"));
        }
        let message = words(&problem, action.page());
        let mut page = self.page(context, action.page(), kept, lists.as_ref());
        page.error = Some(&message);
        let answer = problem.respond(context);
        let shown = html(answer.status(), self.0.pages.html(&page));
        let (shown, body) = shown.into_parts();
        let (mut parts, _) = answer.into_parts();
        parts.headers.remove(CONTENT_LENGTH);
        parts.headers.extend(shown.headers);
        Response::from_parts(parts, body)
    }
    /// What a page shows beside its form, also where that went wrong.
    async fn lists(&self, context: &Context, parts: &Parts, action: Action) -> Option<Shown> {
        let session = parts.extensions.get::<Session>()?;
        let ask = Ask::of(context, session);
        let done = match action.page() {
            PageKind::Sessions => self.sessions(&ask).await,
            PageKind::Keys => self.keys(&ask).await,
            _ => return None,
        };
        Some(done.ok()?.shown)
    }
    /// Where a browser goes after it has logged in.
    pub(super) fn place(&self, input: &Input) -> Result<String, Problem> {
        let next = input.optional("next")?.and_then(own_path);
        Ok(next.unwrap_or(&self.0.after_log_in).to_owned())
    }
}

fn answer(status: StatusCode, kind: &'static str, text: String) -> Response<Body> {
    let mut answer = Response::new(Body::from(text));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

fn see(place: &str) -> Response<Body> {
    let mut answer = answer(StatusCode::SEE_OTHER, "text/plain", String::new());
    if let Ok(place) = HeaderValue::try_from(place) {
        answer.headers_mut().insert(LOCATION, place);
    }
    answer
}

/// No script, no frame around it, and no other site learns the address with its token.
fn html(status: StatusCode, text: String) -> Response<Body> {
    let mut answer = answer(status, "text/html; charset=utf-8", text);
    let policy = "default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
    let headers = answer.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("strict-origin"));
    answer
}

/// Nobody keeps an answer.
fn private(mut answer: Response<Body>) -> Response<Body> {
    let headers: &mut HeaderMap = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
