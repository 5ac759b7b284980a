//! How large a request body may be, and how slow.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

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
}

impl BodyLimit {
    /// The limit of a request whose route says nothing: 2 MiB.
    pub const DEFAULT: u64 = 2 << 20;

    /// A limit of `bytes`.
    pub fn new(bytes: u64) -> Self {
        Self(Arc::new(Rules { bytes: bytes.into(), rate_lifted: AtomicBool::new(false) }))
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
}

impl Default for BodyLimit {
    fn default() -> Self {
        Self::new(Self::DEFAULT)
    }
}
