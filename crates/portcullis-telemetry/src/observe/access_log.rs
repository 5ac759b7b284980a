//! The access log: one event a request.
use std::time::Duration;

use portcullis_core::problem::Source;
use portcullis_core::{Identity, Problem};
use tracing::Level;

use super::one_line::{Chain, Decided, OneLine, TraceId};
use super::record::Record;
use super::traced::Traced;

/// The target of the events.
const TARGET: &str = "portcullis::access";

/// Whether anybody may want the line of a request that begins now.
pub(super) fn is_wanted() -> bool {
    tracing::enabled!(target: TARGET, Level::ERROR)
}

/// A level is part of what is fixed at compile time. The fields are evaluated only if somebody wants the event.
macro_rules! line {
    ($level:ident, $record:ident, $traced:ident, $duration:ident) => {{
        let context = $record.context();
        tracing::event!(
            target: TARGET,
            // The line says all that the span says; inside it, a reader would see everything twice.
            parent: None,
            Level::$level,
            http.request.method = $traced.method().as_str(),
            url.path = display(OneLine($traced.path(context))),
            http.route = context.route_template().unwrap_or_default(),
            http.response.status_code = $record.status(),
            client.address = context.client().map(display),
            request.id = context.request_id().map(|id| id.as_str()),
            trace.id = context.trace().map(|trace| display(TraceId(*trace))),
            enduser.id = context.identity().map(Identity::key).map(|key| display(OneLine(key))),
            decision = context.decision().map(|decision| display(Decided(decision))),
            problem = $record.problem().map(|problem| problem.kind().slug()),
            cause = $record.problem().and_then(cause).map(|chain| display(OneLine(chain))),
            error.source = $record.problem().map(source),
            outcome = $record.outcome().as_str(),
            duration_ms = $duration.as_secs_f64() * 1e3,
            body.size = $record.sent(),
            "request"
        );
    }};
}

/// Writes the line of a request that is over.
pub(super) fn write(record: &Record, traced: &Traced, duration: Duration) {
    if record.is_our_failure() {
        line!(ERROR, record, traced, duration);
    } else {
        line!(INFO, record, traced, duration);
    }
}

fn cause(problem: &Problem) -> Option<Chain<'_>> {
    problem.cause_error().map(|error| Chain(error))
}

fn source(problem: &Problem) -> &'static str {
    match problem.error_source() {
        Source::Downstream => "downstream",
        Source::Upstream => "upstream",
        Source::Internal => "internal",
        _ => "other",
    }
}
