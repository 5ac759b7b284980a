//! How the server answers by itself: a problem in the client's dialect, the standard headers, a line in the log.
use std::net::SocketAddr;
use std::sync::Arc;

use http::header::CONNECTION;
use http::{HeaderValue, Request, Response};
use portcullis_core::{Body, Connection, Context, Problem, RequestId, Scheme, SecurityHeaders};

/// Answers `request` with a problem, and writes a line to the access log, since no layer sees the request.
pub(crate) fn refuse<B>(
    request: &mut Request<B>,
    problem: Problem,
    connection: &Connection,
) -> Response<Body> {
    let context = Context::of(request);
    let scheme = if connection.tls().is_some() { Scheme::Https } else { Scheme::Http };
    context.set_scheme(scheme);
    context.set_request_id(RequestId::random());
    context.set_security_headers(Arc::new(SecurityHeaders::default()));
    log(&problem, &context, connection.peer());
    let mut response = problem.respond(&context);
    if request.version() <= http::Version::HTTP_11 {
        // What was refused may have been meant to end elsewhere than where we think it ends.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn log(problem: &Problem, context: &Context, peer: Option<SocketAddr>) {
    let request_id = context.request_id().map(RequestId::as_str);
    tracing::info!(
        target: "portcullis::access",
        request_id,
        peer = peer.map(tracing::field::display),
        status = problem.status().as_u16(),
        problem = problem.kind().slug(),
        detail = problem.detail_text(),
        "refused by the server"
    );
}
