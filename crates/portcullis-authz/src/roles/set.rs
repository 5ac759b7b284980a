//! A set of roles, as small as it can be.

/// A set of roles by their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RoleSet {
    /// In order.
    Few(Box<[u32]>),
    /// One bit each.
    Many(Box<[u64]>),
}

impl Default for RoleSet {
    fn default() -> Self {
        Self::Few(Box::default())
    }
}

impl RoleSet {
    /// Of `count` roles these.
    pub(crate) fn new(count: usize, mut members: Vec<u32>) -> Self {
        // Up to eight are found about as fast as a bit is.
        let is_small = |members: usize| members <= 8 || members * 32 < count;
        if !is_small(members.len()) {
            let mut words = vec![0_u64; count.div_ceil(64)];
            for member in &members {
                if let Some(word) = words.get_mut(*member as usize / 64) {
                    *word |= 1 << (member % 64);
                }
            }
            // Some may have stood there twice.
            if !is_small(words.iter().map(|word| word.count_ones() as usize).sum()) {
                return Self::Many(words.into());
            }
        }
        members.sort_unstable();
        members.dedup();
        Self::Few(members.into())
    }
    pub(crate) fn has(&self, member: u32) -> bool {
        match self {
            Self::Few(members) if members.len() <= 8 => members.contains(&member),
            Self::Few(members) => members.binary_search(&member).is_ok(),
            Self::Many(words) => {
                words.get(member as usize / 64).is_some_and(|word| word & (1 << (member % 64)) != 0)
            }
        }
    }
    /// In order.
    pub(crate) fn members(&self) -> Vec<u32> {
        match self {
            Self::Few(members) => members.to_vec(),
            Self::Many(words) => {
                (0_u32..).take(words.len() * 64).filter(|member| self.has(*member)).collect()
            }
        }
    }
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Few(members) if members.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_large_sets_say_the_same() {
        for count in [1_u32, 64, 65, 300, 10_000] {
            for step in [1, 3, 64, 999] {
                let members: Vec<u32> = (0..count).step_by(step).collect();
                let set = RoleSet::new(count as usize, members.iter().rev().copied().collect());
                for at in 0..count + 70 {
                    assert_eq!(set.has(at), members.contains(&at), "{at} of {count} by {step}");
                }
            }
        }
        assert_eq!(RoleSet::new(70, (0..70).collect()).members().len(), 70);
        assert!(RoleSet::new(5, Vec::new()).is_empty());
    }
}
