//! What stores in other crates have to know of what they keep.
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::policy::{Moment, Stored};
use crate::{Key, Purge};

/// How long a response is kept that is of no use by itself any longer, but may be validated.
const REST: Duration = Duration::from_secs(86_400);
/// How long it is kept at most.
const LONGEST: Duration = Duration::from_secs(30 * 86_400);

impl Stored {
    /// Which of the variants under its key it is, by its `Vary` values: a store keeps one of each.
    pub fn variant(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        for (name, value) in &self.vary {
            let value = value.as_deref();
            digest.update(name.as_str());
            digest.update([0, u8::from(value.is_some())]);
            digest.update(value.unwrap_or_default());
            digest.update([0]);
        }
        digest.finalize().into()
    }
    /// How long a store that forgets by time keeps it: as long as it is good, or may be used while it is not, and a day for its validation; 30 days at most.
    pub fn kept_for(&self, now: Moment) -> Duration {
        let ttl = u64::try_from(self.ttl(now)).unwrap_or_default();
        let stale = u64::from(self.facts.while_revalidating.max(self.facts.if_error));
        let useful = Duration::from_secs(ttl.saturating_add(stale));
        useful.saturating_add(REST).min(LONGEST)
    }
    /// By what it can be purged, but for prefixes and all at once: the [texts](Purge::to_text) of the purges.
    pub fn purged_by(&self, key: &Key) -> impl Iterator<Item = String> {
        let tags = self.tags().iter().map(|tag| match tag.strip_prefix('\0') {
            Some(group) => Purge::group(key.origin(), group).to_text(),
            None => Purge::tag(&**tag).to_text(),
        });
        [Purge::url(key.url_text()).to_text()].into_iter().chain(tags)
    }
}
