//! The only way in which a layer makes an error: RFC 9457 problem details.
use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde_json::{Map, Value};

use crate::{Body, BoxError, Context};

pub mod kinds;
mod render;

pub use render::{RenderProblem, Rendered};

/// Where the kinds are described: a problem's `type` is this and the slug of its kind.
pub const REGISTRY: &str = "https://docs.rs/portcullis/latest/portcullis/problems/index.html#";

/// A kind of problem. Ours are listed in `docs/problems.md`; an application may define its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProblemKind {
    slug: &'static str,
    status: StatusCode,
    title: &'static str,
    registry: &'static str,
}

/// Where kinds are described that others know too: the registry of problem types at IANA (RFC 9457, section 4.2).
pub const IANA_REGISTRY: &str = "https://iana.org/assignments/http-problem-types#";

impl ProblemKind {
    /// A kind with a short name (or, for an application's own, the whole URI of its `type`), the status that
    /// it answers with, and a title for people.
    pub const fn new(slug: &'static str, status: StatusCode, title: &'static str) -> Self {
        Self { slug, status, title, registry: REGISTRY }
    }
    /// A kind whose `type` is one that others know too: by its name in the registry of IANA.
    pub const fn registered(slug: &'static str, status: StatusCode, title: &'static str) -> Self {
        Self { slug, status, title, registry: IANA_REGISTRY }
    }
    /// The short name, such as `quota-exceeded`. It also stands in logs and metrics.
    pub const fn slug(&self) -> &'static str {
        self.slug
    }
    /// The status that problems of this kind answer with.
    pub const fn status(&self) -> StatusCode {
        self.status
    }
    /// The title for people, the same for every problem of the kind.
    pub const fn title(&self) -> &'static str {
        self.title
    }
    /// The URI that stands as `type` in the answer.
    pub fn uri(&self) -> Cow<'static, str> {
        if self.slug.contains(':') {
            self.slug.into()
        } else {
            format!("{}{}", self.registry, self.slug).into()
        }
    }
}

/// Where the reason for a [`Problem`] lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// The client sent something that cannot be served. The default.
    #[default]
    Downstream,
    /// A server that we asked failed.
    Upstream,
    /// We failed.
    Internal,
}

/// An error as the client sees it (RFC 9457), with the cause that only we see.
///
/// A layer answers with [`respond`](Self::respond), which takes the request's dialect into account and leaves the
/// problem in the [`Context`] for logs and metrics. The client never sees the cause.
///
/// ```
/// use portcullis_core::{Problem, problem::kinds};
/// let problem = Problem::new(kinds::ROUTE_NOT_FOUND).detail("no book has the id 7");
/// assert_eq!(problem.status(), 404);
/// ```
#[derive(Clone, Debug)]
pub struct Problem(Arc<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    kind: ProblemKind,
    detail: Option<Cow<'static, str>>,
    members: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
    cause: Option<Arc<dyn Error + Send + Sync>>,
    source: Source,
    retry_is_safe: bool,
    log_in: Option<Arc<str>>,
}

impl Problem {
    /// A problem of this kind.
    pub fn new(kind: ProblemKind) -> Self {
        let source =
            if kind.status.is_server_error() { Source::Internal } else { Source::Downstream };
        Self(Arc::new(Inner {
            kind,
            detail: None,
            members: Map::new(),
            headers: Vec::new(),
            cause: None,
            source,
            retry_is_safe: false,
            log_in: None,
        }))
    }
    fn edit(mut self, edit: impl FnOnce(&mut Inner)) -> Self {
        edit(Arc::make_mut(&mut self.0));
        self
    }
    /// What is wrong with this very request, for the client. Default: none.
    #[must_use]
    pub fn detail(self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.edit(|inner| inner.detail = Some(detail.into()))
    }
    /// An extension member of the answer (RFC 9457, section 3.2). The members that the RFC defines stay as they are.
    #[must_use]
    pub fn member(self, name: &str, value: impl Into<Value>) -> Self {
        if matches!(name, "type" | "title" | "status" | "detail" | "instance") {
            return self;
        }
        self.edit(|inner| drop(inner.members.insert(name.to_owned(), value.into())))
    }
    /// A header of the answer, such as `Retry-After`. The same name may be added several times.
    #[must_use]
    pub fn header(self, name: HeaderName, value: HeaderValue) -> Self {
        self.edit(|inner| inner.headers.push((name, value)))
    }
    /// The cause, for the log. The client never sees it.
    #[must_use]
    pub fn cause(self, cause: impl Into<BoxError>) -> Self {
        self.edit(|inner| inner.cause = Some(Arc::from(cause.into())))
    }
    /// Where the reason lies. Default: us for a 5xx kind, the client otherwise.
    #[must_use]
    pub fn source(self, source: Source) -> Self {
        self.edit(|inner| inner.source = source)
    }
    /// Says that nobody has begun to work on the request, so that sending it again is safe. Default: it is not.
    #[must_use]
    pub fn retry_is_safe(self) -> Self {
        self.edit(|inner| inner.retry_is_safe = true)
    }
    /// Sends a browser's page that is answered with this problem to a path of this site, where somebody can log in. Default: it shows the problem.
    #[must_use]
    pub fn log_in(self, path: impl Into<Arc<str>>) -> Self {
        self.edit(|inner| inner.log_in = Some(path.into()))
    }

    /// The kind.
    pub fn kind(&self) -> ProblemKind {
        self.0.kind
    }
    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.0.kind.status
    }
    /// What is wrong with this very request.
    pub fn detail_text(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }
    /// The extension members of the answer.
    pub fn members(&self) -> &Map<String, Value> {
        &self.0.members
    }
    /// The headers that the answer must carry.
    pub fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.0.headers
    }
    /// The cause, for the log.
    pub fn cause_error(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        self.0.cause.as_deref()
    }
    /// Where the reason lies.
    pub fn error_source(&self) -> Source {
        self.0.source
    }
    /// Whether nobody has begun to work on the request.
    pub fn is_safe_to_retry(&self) -> bool {
        self.0.retry_is_safe
    }

    /// The answer, in the dialect of the request and with the application's [`RenderProblem`] hook where there is
    /// one. The problem is left in the context, where logs and metrics find it, and in the response's extensions.
    pub fn respond(self, context: &Context) -> Response<Body> {
        context.set_problem(self.clone());
        let hook = context.renderer().map(|renderer| (renderer, context));
        let to_log_in = render::to_log_in(&self, context);
        let mut response =
            to_log_in.unwrap_or_else(|| render::response(self, context.dialect(), hook));
        // Also for a layer that stands outside the edge.
        context.add_standard_headers(response.headers_mut());
        response
    }
    /// The answer in this dialect, for code that calls others and has no [`Context`]: nothing is left there.
    pub fn respond_in(self, dialect: crate::Dialect) -> Response<Body> {
        render::response(self, dialect, None)
    }
    /// The answer as JSON, for code that has no [`Context`] at hand. A layer further out still renders it in the
    /// right dialect.
    pub fn into_response(self) -> Response<Body> {
        self.respond_in(crate::Dialect::default())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.kind.slug, self.0.kind.title)?;
        self.0.detail.as_ref().map_or(Ok(()), |detail| write!(f, ": {detail}"))
    }
}

impl Error for Problem {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.cause.as_deref().map(|cause| cause as &(dyn Error + 'static))
    }
}

impl From<ProblemKind> for Problem {
    fn from(kind: ProblemKind) -> Self {
        Self::new(kind)
    }
}
