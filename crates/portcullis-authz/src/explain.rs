//! Why was it answered so: a header for those who may know.
use std::fmt::Write;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Cx, Poll, ready};

use http::header::CACHE_CONTROL;
use http::{HeaderName, HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use portcullis_core::stack::{Plan, Staged};
use portcullis_core::{Context, Note, stage};
use tower_layer::Layer;
use tower_service::Service;

use crate::live::LiveRoles;
use crate::roles::Granted;

/// What a caller asks with, and is answered in.
const HEADER: HeaderName = HeaderName::from_static("portcullis-explain");
/// How long the answer may be, in bytes.
const LONGEST: usize = 4_096;
/// How much of what one layer says is told, in characters, so that it leaves room for the others.
const LONGEST_NOTE: usize = 500;

/// Applies [`ExplainService`]: tells callers who may know it what each layer decided about their request, why, and how long that took.
///
/// Whoever sends `Portcullis-Explain: ?1` and has the permission gets a header of the same name back: a list of structured fields (RFC 9651), with one member for each layer
/// in the order in which they decided: `authorize;say="allow: permission books:read: permission-granted";us=3`; `us` are the microseconds since the member before.
/// Nobody else learns anything, and for a request without that header nothing is done. An answer with an explanation is kept by no cache (`no-store`).
///
/// It stands before the route is matched. The header goes to nobody further in.
#[derive(Clone, Debug)]
pub struct ExplainLayer {
    settings: Arc<Settings>,
}

#[derive(Debug)]
struct Settings {
    roles: LiveRoles,
    permission: Arc<str>,
}

impl ExplainLayer {
    /// For callers whose roles grant `permission`.
    pub fn new(roles: impl Into<LiveRoles>, permission: impl Into<Arc<str>>) -> Self {
        let settings = Settings { roles: roles.into(), permission: permission.into() };
        Self { settings: Arc::new(settings) }
    }
}

impl<S> Layer<S> for ExplainLayer {
    type Service = ExplainService<S>;
    fn layer(&self, inner: S) -> Self::Service {
        ExplainService { inner, settings: Arc::clone(&self.settings) }
    }
}

impl Staged for ExplainLayer {
    type Stage = stage::Shed;
    type Needs = ();
    type Provides = ();
    fn check(&self, plan: &mut Plan) {
        let Settings { roles, permission } = &*self.settings;
        // What a store permits is known later.
        if !roles.is_stale() && !roles.current().is_granted(permission, false) {
            let message = format!(
                "no role grants the permission `{permission}`, so nobody gets an explanation: add it to a role, or correct the name"
            );
            plan.errors([portcullis_core::ConfigError::new("ExplainLayer", message)]);
        }
    }
}

/// Tells callers who may know it what each layer decided about their request.
#[derive(Clone, Debug)]
pub struct ExplainService<S> {
    inner: S,
    settings: Arc<Settings>,
}

pin_project! {
    /// The response future of [`ExplainService`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct ExplainFuture<F> {
        #[pin]
        call: F,
        asked: Option<(Context, Arc<Settings>)>,
    }
}

impl<S, ReqBody, B> Service<Request<ReqBody>> for ExplainService<S>
where
    S: Service<Request<ReqBody>, Response = Response<B>>,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = ExplainFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }
    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        // `?0` is a way to say no.
        let is_asked = request.headers_mut().remove(HEADER).is_some_and(|said| said == "?1");
        let asked = is_asked.then(|| {
            let context = Context::of(&mut request);
            context.start_explaining();
            (context, Arc::clone(&self.settings))
        });
        ExplainFuture { call: self.inner.call(request), asked }
    }
}

impl<F, B, E> Future for ExplainFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = F::Output;
    fn poll(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<F::Output> {
        let this = self.project();
        let mut response = ready!(this.call.poll(cx))?;
        if let Some((context, settings)) = this.asked.take() {
            // An upstream does not tell who may know what we decided.
            response.headers_mut().remove(HEADER);
            if settings.may_know(&context)
                && let Some(value) = explanation(&context)
            {
                response.headers_mut().insert(HEADER, value);
                // What is told to one is kept for nobody.
                let no_store = HeaderValue::from_static("no-store");
                response.headers_mut().insert(CACHE_CONTROL, no_store);
            }
        }
        Poll::Ready(Ok(response))
    }
}

impl Settings {
    fn may_know(&self, context: &Context) -> bool {
        let granted = context.identity().is_some_and(|identity| {
            let granted = self.roles.with(|roles| roles.granted(identity, &self.permission));
            matches!(granted, Granted::By(_))
        });
        granted && !self.roles.is_stale()
    }
}

/// What was noted, as a list of structured fields.
fn explanation(context: &Context) -> Option<HeaderValue> {
    let mut text = String::new();
    let mut before = std::time::Duration::ZERO;
    for Note { stage, text: say, after, .. } in context.explain()?.notes() {
        let mut member = if text.is_empty() { String::new() } else { ", ".to_owned() };
        let micros = after.saturating_sub(before).as_micros();
        // Writing to a string never fails.
        _ = write!(member, "{stage};say=\"{}\";us={micros}", quotable(&say));
        if text.len() + member.len() > LONGEST {
            break;
        }
        text.push_str(&member);
        before = after;
    }
    // A list without members is not sent (RFC 9651, section 3.1).
    if text.is_empty() { None } else { HeaderValue::try_from(text).ok() }
}

/// As what a string of a structured field may hold (RFC 9651, section 3.3.3).
fn quotable(text: &str) -> String {
    text.chars().take(LONGEST_NOTE).fold(String::with_capacity(text.len()), |mut all, c| {
        match c {
            '"' | '\\' => all.extend(['\\', c]),
            ' '..='~' => all.push(c),
            _ => all.push('?'),
        }
        all
    })
}
