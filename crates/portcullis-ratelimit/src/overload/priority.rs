//! Which requests are shed last.
use std::fmt;
use std::sync::Arc;

use portcullis_core::{Context, RouteOption, WithOptions};

use super::gradient::real;

/// How important a request is when there is not room for all. The lower ones are shed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Priority {
    /// Health checks, and what an operator needs in an emergency: it may use the whole limit, and beyond it a reserve of its own.
    Critical,
    /// May use the whole limit.
    High,
    /// May use 90 % of the limit.
    Normal,
    /// May use 80 % of the limit.
    Low,
}

pub(super) const LEVELS: usize = 4;

impl Priority {
    pub(super) const ALL: [Self; LEVELS] = [Self::Critical, Self::High, Self::Normal, Self::Low];
    /// The place in [`Self::ALL`].
    pub(super) fn rank(self) -> usize {
        self as usize
    }
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How important a route is, whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoutePriority(Priority);

impl RouteOption for RoutePriority {
    const NAME: &'static str = "priority";
    const READ_BY: &'static str = "an `OverloadLayer`";
    fn describe(&self) -> String {
        format!("priority: {}", self.0)
    }
}

/// Lets a route say how important it is.
///
/// ```
/// use portcullis_core::Routes;
/// use portcullis_ratelimit::{Priority, PriorityExt};
/// let routes = Routes::builder().get("/health", "health").public().priority(Priority::Critical).build()?;
/// # Ok::<(), portcullis_core::ConfigErrors>(())
/// ```
pub trait PriorityExt: WithOptions {
    /// How important requests to this route are, whoever asks. An [`OverloadLayer`](crate::OverloadLayer) behind the route layer must be
    /// there to read it; otherwise the stack does not start. Default: as the layer says.
    #[must_use]
    fn priority(self, priority: Priority) -> Self {
        self.with_option(RoutePriority(priority))
    }
}

impl<T: WithOptions> PriorityExt for T {}

/// How a layer finds the priority of a request whose route says nothing.
#[derive(Clone)]
pub(super) enum Classify {
    /// All the same: nothing is known yet.
    Same,
    /// By who asks: a paid plan is high, an identity normal, everybody else low.
    Caller {
        paid: Option<Arc<[Arc<str>]>>,
    },
    By(Arc<dyn Fn(&Context) -> Priority + Send + Sync>),
}

impl Classify {
    pub(super) fn of(&self, context: &Context) -> Priority {
        let option = context.route().and_then(|route| route.options().get::<RoutePriority>());
        if let Some(RoutePriority(priority)) = option {
            return *priority;
        }
        match self {
            Self::Same => Priority::High,
            Self::By(by) => by(context),
            Self::Caller { paid } => {
                let Some(identity) = context.identity() else { return Priority::Low };
                let is_paid = |plan: &str| match paid {
                    Some(paid) => paid.iter().any(|name| **name == *plan),
                    None => true,
                };
                if identity.plan().is_some_and(is_paid) { Priority::High } else { Priority::Normal }
            }
        }
    }
}

impl fmt::Debug for Classify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same => f.write_str("Same"),
            Self::Caller { paid } => f.debug_struct("Caller").field("paid", paid).finish(),
            Self::By(_) => f.write_str("By(..)"),
        }
    }
}

/// How much of the limit each priority may use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shares {
    /// Parts of the limit, by rank, from 0 to 1.
    parts: [f64; LEVELS],
    /// What critical requests may use beyond the limit; by default a tenth of it.
    reserve: Option<usize>,
}

impl Default for Shares {
    fn default() -> Self {
        Self { parts: [1.0, 1.0, 0.9, 0.8], reserve: None }
    }
}

impl Shares {
    pub(super) fn share(&mut self, priority: Priority, percent: u8) {
        if let Some(part) = self.parts.get_mut(priority.rank()) {
            *part = f64::from(percent.clamp(1, 100)) / 100.0;
        }
    }
    pub(super) fn reserve(&mut self, requests: usize) {
        self.reserve = Some(requests);
    }
    /// How many may be under way so that one of each priority fits in. Nobody has less room than somebody less important. While
    /// a probe lowers the limit, so that more than it are under way, what is critical has the `steady` one.
    pub(super) fn rooms(&self, limit: usize, steady: usize) -> [usize; LEVELS] {
        let mut rooms = self.parts.map(|part| floor(real(limit) * part).max(1));
        let mut most = 0;
        for room in rooms.iter_mut().rev() {
            most = most.max(*room);
            *room = most;
        }
        if let Some(critical) = rooms.first_mut() {
            let most = limit.max(steady);
            *critical = most.saturating_add(self.reserve.unwrap_or_else(|| (most / 10).max(1)));
        }
        rooms
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a part of a count is one"
)]
fn floor(part: f64) -> usize {
    // So that 90 % of ten is nine also where it is a hair less.
    (part + 1e-9) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rooms_follow_the_shares() {
        let usual = Shares::default();
        let mut other = usual;
        other.share(Priority::Low, 100);
        other.share(Priority::Normal, 50);
        other.reserve(3);
        for (shares, limit, steady, rooms) in [
            (usual, 100, 100, [110, 100, 90, 80]),
            (usual, 10, 10, [11, 10, 9, 8]),
            (usual, 1, 1, [2, 1, 1, 1]),
            // Normal is not worse off than low.
            (other, 100, 100, [103, 100, 100, 100]),
            // A probe.
            (usual, 10, 50, [55, 10, 9, 8]),
            (other, 10, 50, [53, 10, 10, 10]),
        ] {
            assert_eq!(shares.rooms(limit, steady), rooms, "{limit} {shares:?}");
        }
    }
}
