//! How a request ended.

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The whole answer was handed to the server.
    Complete,
    /// The client went away, before the head or in the body.
    Cancelled,
    /// The service returned an error, or the body failed.
    Failed,
    /// The service or the body panicked.
    Panicked,
}

impl Outcome {
    /// The name that stands in logs and metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
            Self::Panicked => "panicked",
        }
    }
}
