//! Where a request was passed on to.
use std::sync::Arc;

/// Where a request was passed on to: what the upstream is called, which of its servers it was, and at which try.
///
/// A gateway says so, for logs and for layers in front of it. Clients are not told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    upstream: Arc<str>,
    server: Arc<str>,
    tries: u32,
}

impl Destination {
    /// The server that was asked last, of this upstream, at this try; the first is 1.
    pub fn new(upstream: Arc<str>, server: Arc<str>, tries: u32) -> Self {
        Self { upstream, server, tries }
    }
    /// What the upstream is called.
    pub fn upstream(&self) -> &str {
        &self.upstream
    }
    /// The server that was asked last.
    pub fn server(&self) -> &str {
        &self.server
    }
    /// How many servers, or connections, were tried.
    pub fn tries(&self) -> u32 {
        self.tries
    }
}
