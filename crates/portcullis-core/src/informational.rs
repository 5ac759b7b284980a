//! A way to send an informational response.
use std::fmt;
use std::sync::Arc;

use http::Response;

/// Lets whoever serves a request send informational responses (1xx) ahead of the answer.
///
/// The server puts it into the context where the protocol allows it.
#[derive(Clone)]
pub struct Informational(Arc<dyn Fn(Response<()>) + Send + Sync>);

impl Informational {
    /// Sends through `send`, which may drop what it cannot send.
    pub fn new(send: impl Fn(Response<()>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(send))
    }
    /// Sends a response whose status is 100 to 199 and not 101; anything else is ignored.
    pub fn send(&self, response: Response<()>) {
        if response.status().is_informational() && response.status() != 101 {
            (self.0)(response);
        }
    }
}

impl fmt::Debug for Informational {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Informational")
    }
}
