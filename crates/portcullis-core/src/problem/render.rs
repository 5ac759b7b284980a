//! A problem as bytes, in the dialect of the request.
use std::fmt::Write;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};

use super::Problem;
use crate::{Body, Context, Dialect, Format};

/// Lets an application put its own body around a problem: its envelope, its language, its page.
///
/// The status and the headers that the problem must carry stay as they are. A gRPC answer has no body and is
/// never rendered. The hook is asked for every other one: `context.dialect()` says what the client expects. A detail is
/// text, which a page must escape; the slug of an application's own kind is its whole URI.
///
/// ```
/// use portcullis_core::{Context, EdgeLayer, Format, Problem, problem::Rendered};
/// use http::HeaderValue;
///
/// let edge = EdgeLayer::new().render_problems(|problem: &Problem, context: &Context| {
///     let page = context.dialect().format() == Format::Html;
///     page.then(|| Rendered::new(HeaderValue::from_static("text/html"), format!("<h1>{}</h1>", problem.kind().title())))
/// });
/// ```
pub trait RenderProblem: Send + Sync {
    /// The body to answer with; `None` keeps ours.
    fn render(&self, problem: &Problem, context: &Context) -> Option<Rendered>;
}

impl<F> RenderProblem for F
where
    F: Fn(&Problem, &Context) -> Option<Rendered> + Send + Sync,
{
    fn render(&self, problem: &Problem, context: &Context) -> Option<Rendered> {
        self(problem, context)
    }
}

/// A rendered problem.
#[derive(Clone, Debug)]
pub struct Rendered {
    content_type: HeaderValue,
    body: Bytes,
}

impl Rendered {
    /// A body and its media type.
    pub fn new(content_type: HeaderValue, body: impl Into<Bytes>) -> Self {
        Self { content_type, body: body.into() }
    }
}

/// The way to the log-in for a browser's page, with the page that it is to come back to.
pub(super) fn to_log_in(problem: &Problem, context: &Context) -> Option<Response<Body>> {
    let (path, dialect) = (problem.0.log_in.as_deref()?, context.dialect());
    if dialect.format() != Format::Html {
        return None;
    }
    if context.target().is_some_and(|target| target.path() == path) {
        // Where somebody logs in asks for nobody: otherwise this would go on for ever.
        return None;
    }
    let mut place = path.to_owned();
    if let Some(target) = context.target().filter(|_| context.only_reads()) {
        place.push_str("?next=");
        for byte in target.path_and_query().as_str().bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
                place.push(byte.into());
            } else {
                // Writing to a text cannot fail.
                _ = write!(place, "%{byte:02X}");
            }
        }
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    response.headers_mut().insert(LOCATION, HeaderValue::try_from(place).ok()?);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Some(response)
}

pub(super) fn response(
    problem: Problem,
    dialect: Dialect,
    hook: Option<(&dyn RenderProblem, &Context)>,
) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    for (name, value) in problem.headers() {
        headers.append(name, value.clone());
    }
    // Several of our statuses may be stored by a cache unless the answer says no (RFC 9111, section 4.2.2).
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if dialect.format() == Format::Grpc {
        headers.insert(CONTENT_TYPE, dialect.grpc().media_type());
        grpc(&problem, headers);
    } else {
        let rendered =
            hook.and_then(|(hook, context)| hook.render(&problem, context)).unwrap_or_else(|| {
                if dialect.format() == Format::Html { html(&problem) } else { json(&problem) }
            });
        headers.insert(CONTENT_TYPE, rendered.content_type);
        if dialect.head() {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(rendered.body.len()));
        } else {
            *response.body_mut() = rendered.body.into();
        }
        *response.status_mut() = problem.status();
    }
    response.extensions_mut().insert(problem);
    response
}

/// The members that RFC 9457 defines, in its order, then the problem's own.
#[derive(Serialize)]
struct Members<'a> {
    r#type: &'a str,
    title: &'a str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(flatten)]
    own: &'a Map<String, Value>,
}

fn json(problem: &Problem) -> Rendered {
    let kind = problem.kind();
    let members = Members {
        r#type: &kind.uri(),
        title: kind.title(),
        status: kind.status().as_u16(),
        detail: problem.detail_text(),
        own: problem.members(),
    };
    // Texts, a number and JSON values always have a JSON form.
    let mut text = serde_json::to_string(&members).unwrap_or_default();
    text.push('\n');
    Rendered::new(HeaderValue::from_static("application/problem+json"), text)
}

fn html(problem: &Problem) -> Rendered {
    let (status, title) = (problem.status().as_u16(), Escaped(problem.kind().title()));
    let detail = problem.detail_text().map(Escaped);
    let detail = detail.map_or_else(String::new, |detail| format!("<p>{detail}</p>"));
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{status} {title}</title>\
         <h1>{title}</h1>{detail}<p><small>{status} {}</small></p></html>\n",
        Escaped(problem.kind().slug()),
    );
    Rendered::new(HeaderValue::from_static("text/html; charset=utf-8"), page)
}

struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '&' => f.write_str("&amp;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            c => f.write_char(c),
        })
    }
}

/// A response without a body that carries the status in its headers ("Trailers-Only" of the gRPC protocol).
fn grpc(problem: &Problem, headers: &mut HeaderMap) {
    headers.insert(
        HeaderName::from_static("grpc-status"),
        HeaderValue::from(grpc_code(problem.status())),
    );
    let text = problem.detail_text().unwrap_or(problem.kind().title());
    // The protocol percent-encodes what is not printable ASCII, and the percent sign.
    let mut message = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => message.push(byte.into()),
            // Writing to a string cannot fail.
            _ => _ = write!(message, "%{byte:02X}"),
        }
    }
    if let Ok(message) = HeaderValue::try_from(message) {
        headers.insert(HeaderName::from_static("grpc-message"), message);
    }
}

/// The gRPC status code that says what this HTTP status says.
fn grpc_code(status: StatusCode) -> u16 {
    match status.as_u16() {
        401 => 16,
        403 => 7,
        404 | 405 | 501 => 12,
        408 | 504 => 4,
        409 => 10,
        412 => 9,
        413 | 429 | 431 => 8,
        499 => 1,
        502 | 503 => 14,
        400..=499 => 3,
        _ => 13,
    }
}
