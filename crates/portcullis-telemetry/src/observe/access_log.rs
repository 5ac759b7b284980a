//! The access log: one event a request.
use std::time::Duration;

use portcullis_core::problem::Source;
use portcullis_core::{Destination, Identity, Problem};
use tracing::Level;

use super::one_line::{Decided, TraceId, line};
use super::record::Record;
use super::traced::Traced;

/// The target of the events.
const TARGET: &str = "portcullis::access";

/// Whether anybody may want the line of a request that begins now.
pub(super) fn is_wanted() -> bool {
    tracing::enabled!(target: TARGET, Level::ERROR)
}

/// A level is part of what is fixed at compile time. The fields are evaluated only if somebody wants the event.
macro_rules! event {
    ($level:ident, $record:ident, $traced:ident, $duration:ident) => {{
        let context = $record.context();
        tracing::event!(
            target: TARGET,
            // The line says all that the span says; inside it, a reader would see everything twice.
            parent: None,
            Level::$level,
            http.request.method = $traced.method(),
            url.path = line($traced.path(context)).as_str(),
            http.route = context.route_template().unwrap_or_default(),
            http.response.status_code = $record.status(),
            client.address = context.client().map(|client| client.to_string()).as_deref(),
            request.id = context.request_id().map(|id| id.as_str()),
            trace.id = context.trace().map(|trace| TraceId(*trace).to_string()).as_deref(),
            enduser.id = context.identity().map(Identity::key).map(line).as_deref(),
            decision = context.decision().map(|decision| Decided(decision).to_string()).as_deref(),
            upstream = context.destination().map(Destination::upstream),
            server.address = context.destination().map(Destination::server),
            tries = context.destination().map(Destination::tries).filter(|tries| *tries > 1),
            problem = $record.problem().map(|problem| problem.kind().slug()),
            cause = $record.cause().map(line).as_deref(),
            error.source = $record.problem().map(source),
            outcome = $record.outcome().as_str(),
            duration_ms = milliseconds($duration),
            body.size = $record.sent(),
            "request"
        );
    }};
}

/// Writes the line of a request that is over.
pub(super) fn write(record: &Record, traced: &Traced, duration: Duration) {
    if record.is_our_failure() {
        event!(ERROR, record, traced, duration);
    } else {
        event!(INFO, record, traced, duration);
    }
}

/// To the microsecond, as a number that is written as it is meant.
fn milliseconds(duration: Duration) -> f64 {
    // A request of 2^53 microseconds takes three centuries.
    #[expect(clippy::cast_precision_loss, reason = "see above")]
    let micros = duration.as_micros() as f64;
    micros / 1e3
}

fn source(problem: &Problem) -> &'static str {
    match problem.error_source() {
        Source::Downstream => "downstream",
        Source::Upstream => "upstream",
        Source::Internal => "internal",
        _ => "other",
    }
}
