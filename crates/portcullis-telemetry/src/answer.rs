//! What operators are answered.
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use portcullis_core::problem::kinds::METHOD_NOT_ALLOWED;
use portcullis_core::{Body, Context, Problem};

/// Words for people.
pub(crate) const PLAIN: &str = "text/plain; charset=utf-8";

/// A text of this media type; for HEAD only its length.
pub(crate) fn text(
    status: StatusCode,
    kind: &'static str,
    text: String,
    method: &Method,
) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if method != Method::HEAD {
        *response.body_mut() = text.into();
    }
    unsniffed(response)
}

/// A problem, in the dialect of the request.
pub(crate) fn problem<B>(problem: Problem, request: &mut Request<B>) -> Response<Body> {
    unsniffed(problem.respond(&Context::of(request)))
}

/// The problem with a method other than GET and HEAD.
pub(crate) fn method_not_allowed<B>(request: &Request<B>) -> Option<Problem> {
    let allowed = matches!(*request.method(), Method::GET | Method::HEAD);
    let allow =
        || Problem::new(METHOD_NOT_ALLOWED).header(ALLOW, HeaderValue::from_static("GET, HEAD"));
    (!allowed).then(allow)
}

fn unsniffed(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
