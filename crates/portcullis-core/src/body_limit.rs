//! How large a request body may be.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many bytes a request body may have: 2 MiB, until the route says otherwise.
///
/// A handle: the route stage may change the limit before the first read, and whoever reads the body looks then.
#[derive(Clone, Debug)]
pub struct BodyLimit(Arc<AtomicU64>);

impl BodyLimit {
    /// The limit of a request whose route says nothing: 2 MiB.
    pub const DEFAULT: u64 = 2 << 20;

    /// A limit of `bytes`.
    pub fn new(bytes: u64) -> Self {
        Self(Arc::new(AtomicU64::new(bytes)))
    }
    /// The limit now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
    /// Changes the limit. It has no effect on a body that is being read already.
    pub fn set(&self, bytes: u64) {
        self.0.store(bytes, Ordering::Relaxed);
    }
}

impl Default for BodyLimit {
    fn default() -> Self {
        Self::new(Self::DEFAULT)
    }
}
