//! How many requests are under way, for each key.
use std::fmt;
use std::sync::Arc;

use crate::under_way::UnderWay;

/// How many requests are under way, for each key: as many keys as there are requests.
#[derive(Clone, Default)]
pub(crate) struct AtOnce(Arc<UnderWay>);

/// One request under way. Dropping it ends that.
pub(crate) struct Permit {
    all: AtOnce,
    who: u64,
}

impl AtOnce {
    /// One more of so many at most, and how many more may follow.
    pub(crate) fn enter(&self, who: u64, most: u32) -> Option<(Permit, u32)> {
        let count = self.0.add(who.into(), usize::try_from(most).unwrap_or(usize::MAX))?;
        let left = most.saturating_sub(u32::try_from(count).unwrap_or(u32::MAX));
        Some((Permit { all: self.clone(), who }, left))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.all.0.remove(self.who.into());
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}
