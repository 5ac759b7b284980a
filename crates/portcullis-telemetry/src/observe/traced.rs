//! What only a subscriber wants to know about a request.
use http::uri::PathAndQuery;
use http::{Method, Request};
use portcullis_core::{Context, Target};
use tracing::Span;
use tracing::field::Empty;

use super::access_log;
use super::one_line::{TraceId, line};

/// The span of a request, and what its line in the access log needs besides the context.
pub(super) struct Traced {
    span: Span,
    method: Method,
    /// As it came: for a request that was refused before its target was known.
    path: Option<PathAndQuery>,
}

impl Traced {
    /// Opens the span. There is nothing, and nothing is allocated, where no subscriber is interested.
    pub(super) fn begin<B>(request: &Request<B>) -> Option<Box<Self>> {
        let span = tracing::info_span!(
            target: "portcullis",
            "request",
            http.request.method = name(request.method()),
            url.path = Empty,
            request.id = Empty,
            trace.id = Empty,
            http.route = Empty,
            http.response.status_code = Empty,
        );
        if span.is_disabled() && !access_log::is_wanted() {
            return None;
        }
        let (method, path) = (request.method().clone(), request.uri().path_and_query().cloned());
        Some(Box::new(Self { span, method, path }))
    }
    /// Tells the span what the layers further in found out when they were called.
    pub(super) fn called(&self, context: &Context) {
        if self.span.is_disabled() {
            return;
        }
        self.span.record("url.path", line(self.path(context)).as_str());
        if let Some(id) = context.request_id() {
            self.span.record("request.id", id.as_str());
        }
        if let Some(trace) = context.trace() {
            self.span.record("trace.id", TraceId(*trace).to_string().as_str());
        }
    }
    /// Tells the span how it went.
    pub(super) fn over(&self, context: &Context, status: u16) {
        if !self.span.is_disabled() {
            self.span.record("http.route", context.route_template().unwrap_or_default());
            self.span.record("http.response.status_code", status);
        }
    }
    pub(super) fn span(&self) -> &Span {
        &self.span
    }
    pub(super) fn method(&self) -> &str {
        name(&self.method)
    }
    /// The canonical path, or the one that came where none is known. Never the query.
    pub(super) fn path<'a>(&'a self, context: &'a Context) -> &'a str {
        let given = || self.path.as_ref().map_or("", PathAndQuery::path);
        context.target().map_or_else(given, Target::path)
    }
}

/// The name of a method, cut where it is longer than any that is registered: a client may send one of any length.
fn name(method: &Method) -> &str {
    // A method is ASCII.
    method.as_str().get(..32).unwrap_or(method.as_str())
}
