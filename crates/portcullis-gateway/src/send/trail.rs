//! Who was tried for a request, and what came of it.
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use portcullis_core::problem::Source;
use portcullis_core::{Problem, ProblemKind};

use crate::error::kinds;
use crate::server::Server;
use crate::upstream::Inner;

/// Who was tried for a request.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    /// The last of them.
    pub(crate) server: Option<Arc<Server>>,
    pub(crate) tries: u32,
    /// Why those before it gave no answer.
    told: String,
}

impl Trail {
    pub(super) fn begin(&mut self, server: &Arc<Server>) {
        self.server = Some(Arc::clone(server));
        self.tries += 1;
    }
    /// One more that gave no answer.
    pub(super) fn remember(&mut self, problem: &Problem) {
        let gap = if self.told.is_empty() { "" } else { "; " };
        if let Some(cause) = problem.cause_error() {
            // Writing to a string never fails.
            let _ = write!(self.told, "{gap}{cause}");
            let mut next = cause.source();
            while let Some(error) = next {
                let _ = write!(self.told, ": {error}");
                next = error.source();
            }
        }
    }
    /// The problem, with what went wrong before it.
    pub(super) fn whole(&mut self, problem: Problem) -> Problem {
        if self.told.is_empty() {
            return problem;
        }
        self.remember(&problem);
        problem.cause(std::mem::take(&mut self.told))
    }
}

/// Counts what came of a request, also if nobody waits for it.
pub(super) struct Counted<'a> {
    pub(super) upstream: &'a Inner,
    pub(super) done: bool,
}

impl Counted<'_> {
    pub(super) fn answered(&mut self) {
        self.done = true;
        self.upstream.counters.answered.fetch_add(1, Relaxed);
    }
    pub(super) fn problem(&mut self, problem: Problem) -> Problem {
        if problem.error_source() == Source::Downstream {
            // The client's own body; what it gets is no matter of the upstream's.
            self.done = true;
            self.upstream.counters.client.fetch_add(1, Relaxed);
            return problem;
        }
        self.done = true;
        let counters = &self.upstream.counters;
        let is = |kind: ProblemKind| problem.kind() == kind;
        let counter = if is(kinds::UPSTREAM_UNREACHABLE) {
            &counters.unreachable
        } else if is(kinds::UPSTREAM_TIMEOUT) {
            &counters.timed_out
        } else if is(kinds::UPSTREAM_UNAVAILABLE) {
            &counters.unavailable
        } else {
            &counters.failed
        };
        counter.fetch_add(1, Relaxed);
        problem
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.upstream.counters.cancelled.fetch_add(1, Relaxed);
        }
    }
}
