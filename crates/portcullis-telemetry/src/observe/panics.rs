//! A panic becomes a problem.
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use http::Response;
use portcullis_core::problem::kinds;
use portcullis_core::{Body, Context, Problem};

/// Does `work`; a panic in it is a problem with the message as its cause.
///
/// What panicked is not used again by the request: its future is dropped, and a service is the business of whoever
/// wrote it, as it is under a server that catches panics per task.
#[inline]
pub(super) fn catch<R>(work: impl FnOnce() -> R) -> Result<R, Problem> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| {
        Problem::new(kinds::INTERNAL_ERROR).cause(format!("panicked: {}", message(&*payload)))
    })
}

fn message(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("with a value that is no text")
}

/// The answer to a request that panicked. The layers further in, which would name the request, no longer see it.
pub(super) fn answer(problem: Problem, context: &Context) -> Response<Body> {
    // The panic may have come from the application's own rendering, which would do it again.
    catch(|| problem.clone().respond(context)).unwrap_or_else(|_| {
        let mut answer = problem.into_response();
        context.add_standard_headers(answer.headers_mut());
        answer
    })
}
