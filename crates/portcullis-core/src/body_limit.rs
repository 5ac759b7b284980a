//! How large a request body may be, and how slow; and whether it failed.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use http::StatusCode;

use crate::{BodyError, BodyErrorKind, Problem};

/// How many bytes a request body may have: 2 MiB, until the route says otherwise. Also whether it may come as slowly as it
/// likes.
///
/// A handle: the route stage may change the limit before the first read, and whoever reads the body looks then. The server
/// that reads it leaves the handle in the request's extensions, where the outermost of our layers finds it.
#[derive(Clone, Debug)]
pub struct BodyLimit(Arc<Rules>);

#[derive(Debug)]
struct Rules {
    bytes: AtomicU64,
    rate_lifted: AtomicBool,
    /// 1 + the place among [`BodyErrorKind::ALL`].
    failure: AtomicU8,
}

impl BodyLimit {
    /// The limit of a request whose route says nothing: 2 MiB.
    pub const DEFAULT: u64 = 2 << 20;

    /// A limit of `bytes`.
    pub fn new(bytes: u64) -> Self {
        let (rate_lifted, failure) = (AtomicBool::new(false), AtomicU8::new(0));
        Self(Arc::new(Rules { bytes: bytes.into(), rate_lifted, failure }))
    }
    /// The limit now.
    pub fn get(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }
    /// Changes the limit. It has no effect on a body that is being read already.
    pub fn set(&self, bytes: u64) {
        self.0.bytes.store(bytes, Ordering::Relaxed);
    }
    /// Lets the body come as slowly as it likes: neither a pause nor a low rate ends it. Whoever reads the body looks each
    /// time it waits.
    pub fn lift_rate(&self) {
        self.0.rate_lifted.store(true, Ordering::Relaxed);
    }
    /// Whether the body may come as slowly as it likes. Default: it may not.
    pub fn is_rate_lifted(&self) -> bool {
        self.0.rate_lifted.load(Ordering::Relaxed)
    }
    /// Whoever reads the body says that it has failed.
    pub fn failed(&self, kind: BodyErrorKind) {
        let at = BodyErrorKind::ALL.iter().position(|known| *known == kind);
        let code = at.and_then(|at| u8::try_from(at + 1).ok()).unwrap_or(0);
        self.0.failure.store(code, Ordering::Relaxed);
    }
    /// What was wrong with the body, as far as it was read.
    pub fn failure(&self) -> Option<BodyErrorKind> {
        let code = usize::from(self.0.failure.load(Ordering::Relaxed));
        BodyErrorKind::ALL.get(code.checked_sub(1)?).copied()
    }
    /// What to answer in place of an answer with this status, where the body failed and the status only says that something
    /// did: a 5xx, since the client's bytes are not the server's fault, or 400, with which many extractors answer whatever goes
    /// wrong. Any other status is somebody's decision.
    pub fn correction(&self, status: StatusCode) -> Option<Problem> {
        if !status.is_server_error() && status != StatusCode::BAD_REQUEST {
            return None;
        }
        let problem = BodyError::new(self.failure()?).problem();
        (problem.status() != status).then_some(problem)
    }
}

impl Default for BodyLimit {
    fn default() -> Self {
        Self::new(Self::DEFAULT)
    }
}
