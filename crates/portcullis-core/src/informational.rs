//! A way to send an informational response.
use std::fmt;
use std::sync::Arc;

use http::Response;

/// Lets whoever serves a request send informational responses (1xx) ahead of the answer.
///
/// The server leaves it in the [`Connection`](crate::Connection) where the protocol allows it. Making one for each
/// request allocates nothing: all requests of a connection share a sink, and each has its number.
///
/// ```
/// # fn hint(context: &portcullis_core::Context) {
/// if let Some(informational) = context.informational() {
///     let mut hints = http::Response::new(());
///     *hints.status_mut() = http::StatusCode::EARLY_HINTS;
///     hints.headers_mut().insert("link", http::HeaderValue::from_static("</style.css>; rel=preload"));
///     informational.send(hints);
/// }
/// # }
/// ```
#[derive(Clone)]
pub struct Informational {
    sink: Arc<dyn SendInformational>,
    exchange: u64,
}

/// Where the informational responses of a connection go.
pub trait SendInformational: Send + Sync {
    /// Sends `response` ahead of the answer to the request of this number, or drops it where it cannot be sent: because the
    /// answer has begun, or the client is gone. It does not wait.
    fn send(&self, exchange: u64, response: Response<()>);
}

impl Informational {
    /// Sends through `sink`, for the request that this number names there.
    pub fn new(sink: Arc<dyn SendInformational>, exchange: u64) -> Self {
        Self { sink, exchange }
    }
    /// Sends through `send`, whatever the request. For tests, and servers that have nothing to share.
    pub fn from_fn(send: impl Fn(Response<()>) + Send + Sync + 'static) -> Self {
        struct Plain<F>(F);
        impl<F: Fn(Response<()>) + Send + Sync> SendInformational for Plain<F> {
            fn send(&self, _exchange: u64, response: Response<()>) {
                self.0(response);
            }
        }
        Self::new(Arc::new(Plain(send)), 0)
    }
    /// Sends a response whose status is 100 to 199 and not 101; anything else is ignored.
    pub fn send(&self, response: Response<()>) {
        if response.status().is_informational() && response.status() != 101 {
            self.sink.send(self.exchange, response);
        }
    }
}

impl fmt::Debug for Informational {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Informational").field("exchange", &self.exchange).finish_non_exhaustive()
    }
}
