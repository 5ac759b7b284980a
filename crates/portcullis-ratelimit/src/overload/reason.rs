//! Why a request was shed.
use std::fmt;

/// Why a request was shed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Reason {
    /// As many are under way as may be.
    Full,
    /// What is left of the limit is for the more important.
    Priority,
    /// Its tenant has its share, and others need theirs.
    Fairness,
    /// Its address has as many under way as one may.
    Address,
    /// As many wait as may.
    QueueFull,
    /// The queue stood for too long.
    Codel,
    /// It waited for as long as it may, or its time was over.
    Deadline,
}

impl Reason {
    pub(super) const ALL: [Self; 7] = [
        Self::Full,
        Self::Priority,
        Self::Fairness,
        Self::Address,
        Self::QueueFull,
        Self::Codel,
        Self::Deadline,
    ];
    /// As the label of a metric.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Priority => "priority",
            Self::Fairness => "fairness",
            Self::Address => "address",
            Self::QueueFull => "queue_full",
            Self::Codel => "codel",
            Self::Deadline => "deadline",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "shed: as many requests are under way as may be",
            Self::Priority => "shed: what is left is for more important requests",
            Self::Fairness => "shed: the tenant has its share under way, and others need theirs",
            Self::Address => "shed: the address has as many requests under way as one may",
            Self::QueueFull => "shed: the queue is full",
            Self::Codel => "shed: the queue stood for too long",
            Self::Deadline => "shed: the time to wait is over",
        })
    }
}

impl std::error::Error for Reason {}
