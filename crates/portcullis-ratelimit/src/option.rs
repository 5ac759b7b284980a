//! The limits that a route names.
use std::fmt;
use std::sync::Arc;

use portcullis_core::{RouteOption, WithOptions};

/// The names of the quotas that a route counts against.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits(Vec<Arc<str>>);

impl Limits {
    /// The names.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(|name| &**name)
    }
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.names().any(|own| own == name)
    }
}

impl fmt::Display for Limits {
    /// The names, with commas between them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

impl RouteOption for Limits {
    const NAME: &'static str = "limit";
    const READ_BY: &'static str = "a `RateLimitLayer`";
    fn names(&self) -> Vec<Arc<str>> {
        self.0.clone()
    }
}

/// Lets a route name its limits.
pub trait LimitExt: WithOptions {
    /// Counts requests to this route against the quota of this name, which some `RateLimitLayer` of the stack defines;
    /// otherwise the stack does not start. May be said several times.
    #[must_use]
    fn limit(self, name: &str) -> Self {
        let mut limits = self.option::<Limits>().cloned().unwrap_or_default();
        limits.0.push(name.into());
        self.with_option(limits)
    }
}

impl<T: WithOptions> LimitExt for T {}
