//! What is remembered of a request until it is over; dropping it accounts for it.
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Request, Response, StatusCode};
use http_body::Body as HttpBody;
use portcullis_core::{Body, Connection, Context, End, Format, Problem, Watch};

use super::one_line::Chain;
use super::traced::Traced;
use super::{Outcome, access_log};
use crate::metrics::{MethodLabel, Observation, Recorder};

/// The status in logs and metrics of a request whose client went away before there was one.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// One request, from its arrival until it is over.
///
/// Invariant: it is accounted for exactly once, since that happens when it is dropped, whoever holds it then: the
/// response future, or the watcher of the response body.
pub(super) struct Record {
    context: Context,
    recorder: Arc<Recorder>,
    traced: Option<Box<Traced>>,
    method: MethodLabel,
    status: u16,
    outcome: Outcome,
    problem: Option<Problem>,
    /// Whether the answer says that we failed, rather than passing on that somebody else did.
    fault: bool,
    sent: u64,
    /// How many bytes the body has, where that is known beforehand.
    whole: Option<u64>,
}

impl Record {
    pub(super) fn begin<B>(
        context: Context,
        recorder: Arc<Recorder>,
        request: &Request<B>,
    ) -> Self {
        recorder.metrics().request_begins();
        Self {
            context,
            recorder,
            traced: Traced::begin(request),
            method: MethodLabel::of(request.method()),
            status: CLIENT_CLOSED_REQUEST,
            outcome: Outcome::Cancelled,
            problem: None,
            fault: false,
            sent: 0,
            whole: None,
        }
    }

    /// Does `work` inside the span.
    pub(super) fn inside<R>(&self, work: impl FnOnce() -> R) -> R {
        let _entered = self.traced.as_ref().map(|traced| traced.span().enter());
        work()
    }
    /// The inner service was called.
    pub(super) fn called(&self) {
        if let Some(traced) = &self.traced {
            traced.called(&self.context);
        }
    }
    /// The service failed: there is no answer.
    pub(super) fn failed(mut self) {
        self.status = StatusCode::INTERNAL_SERVER_ERROR.as_u16();
        self.outcome = Outcome::Failed;
        self.fault = true;
    }
    /// The service panicked. An answer follows, if somebody waits for it.
    pub(super) fn panicked(&mut self, problem: &Problem) {
        self.status = problem.status().as_u16();
        self.outcome = Outcome::Panicked;
        self.fault = true;
        self.problem = Some(problem.clone());
    }
    /// The head of the answer is known; the request is over when its body is.
    pub(super) fn answered(mut self, response: &mut Response<Body>) {
        // Also one that no layer of ours has seen: a handler may answer with a problem by itself.
        self.problem = response.extensions().get().cloned();
        self.status = self.status_of(response);
        self.fault = self.problem().is_some_and(|problem| problem.status().is_server_error());
        if self.has_no_body(response) {
            return self.end(End::Complete);
        }
        self.whole = response
            .body()
            .size_hint()
            .exact()
            .or_else(|| response.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok());
        let body = std::mem::take(response.body_mut());
        *response.body_mut() = body.watched(self);
    }

    /// The status; for a gRPC answer, which always has 200, the one that the problem stands for.
    fn status_of(&self, response: &Response<Body>) -> u16 {
        let says_so = self.context.dialect().format() == Format::Grpc
            && response.headers().contains_key("grpc-status");
        let problem = self.problem().filter(|_| says_so);
        problem.map_or(response.status(), Problem::status).as_u16()
    }
    /// Whether the server drops the body unread, as it must for these (RFC 9110, section 6.4.1).
    fn has_no_body(&self, response: &Response<Body>) -> bool {
        let status = response.status();
        self.context.dialect().head()
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
            || response.body().is_end_stream()
    }

    pub(super) fn context(&self) -> &Context {
        &self.context
    }
    pub(super) fn status(&self) -> u16 {
        self.status
    }
    pub(super) fn outcome(&self) -> Outcome {
        self.outcome
    }
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }
    /// The problem that was answered, else the one that a layer reported.
    pub(super) fn problem(&self) -> Option<&Problem> {
        self.problem.as_ref().or_else(|| self.context.problem())
    }
    /// Why it came to this, as far as it is known.
    pub(super) fn cause(&self) -> Option<String> {
        let cause = self.problem().and_then(Problem::cause_error);
        let draining = self.context.connection().and_then(Connection::draining);
        match cause {
            Some(error) => Some(Chain(error).to_string()),
            None if self.outcome == Outcome::Cancelled && draining?.is_draining() => {
                Some("the server was draining: its time was over, or the client left".to_owned())
            }
            None => None,
        }
    }
    /// Whether the answer is a 5xx of our own.
    pub(super) fn is_our_failure(&self) -> bool {
        self.fault && self.status >= 500
    }
    fn duration(&self) -> Duration {
        self.context.clock().now().saturating_duration_since(self.context.start())
    }
}

impl Watch for Record {
    fn data(&mut self, data: &Bytes) {
        self.sent = self.sent.saturating_add(data.len() as u64);
    }
    fn end(&mut self, how: End) {
        // A server that knows the length does not ask for the end behind the last byte.
        let all = self.whole.is_some_and(|whole| self.sent >= whole);
        self.outcome = match how {
            _ if self.outcome == Outcome::Panicked => Outcome::Panicked,
            End::Complete => Outcome::Complete,
            End::Failed => Outcome::Failed,
            _ if all => Outcome::Complete,
            _ => Outcome::Cancelled,
        };
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.outcome == Outcome::Cancelled && std::thread::panicking() {
            // Nobody took the request away: what polled it is unwinding.
            self.outcome = Outcome::Panicked;
        }
        let duration = self.duration();
        self.recorder.request_ends(&Observation {
            context: &self.context,
            method: self.method,
            status: self.status,
            outcome: self.outcome,
            problem: self.problem(),
            duration,
        });
        if let Some(traced) = &self.traced {
            traced.over(&self.context, self.status);
            access_log::write(self, traced, duration);
        }
    }
}
