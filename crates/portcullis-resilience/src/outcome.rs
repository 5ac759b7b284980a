//! What came of a call.
use http::{HeaderMap, Request, Response, StatusCode};
use portcullis_core::problem::Source;
use portcullis_core::{Body, Problem};

use crate::kinds;

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It was answered, be the answer yes or no.
    Answered,
    /// It failed, and somebody may have begun to work on it.
    Failed,
    /// It failed, and surely nobody has seen it.
    Unsent,
    /// The caller waited for it no longer, which says nothing about who was asked.
    GivenUp,
}

/// Says what came of a call. [`HttpOutcomes`] is the default; an application that knows its servers better has its own.
///
/// ```
/// use http::{Request, Response};
/// use portcullis_core::Body;
/// use portcullis_resilience::{HttpOutcomes, Outcome, Outcomes, RetryLayer};
///
/// /// These servers do a thing once, however often they are asked, where the request has a key for it.
/// #[derive(Clone)]
/// struct Payments;
///
/// impl<E> Outcomes<E> for Payments {
///     fn may_repeat(&self, request: &Request<Body>) -> bool {
///         request.method().is_idempotent() || request.headers().contains_key("idempotency-key")
///     }
/// }
/// let retries = RetryLayer::new(2).outcomes(Payments);
/// ```
pub trait Outcomes<E>: Clone {
    /// What an answer says. Default: 502, 503 and 504 are failures, and so is `grpc-status: 14` in place of an answer; where one of our
    /// own layers refused, nobody has seen the request.
    fn of_response<B>(&self, response: &Response<B>) -> Outcome {
        let problem = response.extensions().get::<Problem>();
        match problem {
            Some(problem)
                if problem.kind() == kinds::UPSTREAM_TIMEOUT
                    && problem.error_source() == Source::Downstream =>
            {
                Outcome::GivenUp
            }
            Some(problem) if problem.is_safe_to_retry() => Outcome::Unsent,
            Some(problem) if is_failure(problem.status()) => Outcome::Failed,
            _ if is_failure(response.status()) || is_unavailable(response.headers()) => {
                Outcome::Failed
            }
            _ => Outcome::Answered,
        }
    }
    /// What an error says. Default: somebody may have seen the request.
    fn of_error(&self, _error: &E) -> Outcome {
        Outcome::Failed
    }
    /// Whether a request that somebody may have seen can be sent again. Default: its method is idempotent (RFC 9110, section 9.2.2).
    fn may_repeat(&self, request: &Request<Body>) -> bool {
        request.method().is_idempotent()
    }
}

/// What HTTP says: the defaults of [`Outcomes`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpOutcomes;

impl<E> Outcomes<E> for HttpOutcomes {}

/// Whether a server says with this status that it, or somebody behind it, cannot answer now.
pub fn is_failure(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
    )
}

/// Whether the answer is gRPC's `UNAVAILABLE`, and nothing came before it.
fn is_unavailable(headers: &HeaderMap) -> bool {
    headers.get("grpc-status").is_some_and(|status| status == "14")
}

pub(crate) fn of_result<E, B>(
    outcomes: &impl Outcomes<E>,
    result: &Result<Response<B>, E>,
) -> Outcome {
    match result {
        Ok(response) => outcomes.of_response(response),
        Err(error) => outcomes.of_error(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_core::Dialect;

    #[test]
    fn an_answer_says_what_came_of_a_call() {
        let status = |status: u16| Response::builder().status(status).body(Body::empty()).unwrap();
        let grpc = |code: &str| {
            Response::builder().header("grpc-status", code).body(Body::empty()).unwrap()
        };
        let request =
            Request::post("/").header("content-type", "application/grpc").body(()).unwrap();
        let timeout = || Problem::new(kinds::UPSTREAM_TIMEOUT);
        for (response, want) in [
            (status(200), Outcome::Answered),
            (status(404), Outcome::Answered),
            (status(500), Outcome::Answered),
            (status(502), Outcome::Failed),
            (status(503), Outcome::Failed),
            (status(504), Outcome::Failed),
            (grpc("0"), Outcome::Answered),
            (grpc("13"), Outcome::Answered),
            (grpc("14"), Outcome::Failed),
            (timeout().into_response(), Outcome::Failed),
            (timeout().respond_in(Dialect::of(&request)), Outcome::Failed),
            (timeout().source(Source::Downstream).into_response(), Outcome::GivenUp),
            (timeout().retry_is_safe().into_response(), Outcome::Unsent),
        ] {
            let outcome = Outcomes::<()>::of_response(&HttpOutcomes, &response);
            assert_eq!(outcome, want, "{response:?}");
        }
    }
}
