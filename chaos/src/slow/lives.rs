//! How long the server bore each connection.
use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use super::crowd::{Kind, Member};

/// The connections of a crowd, open and closed.
#[derive(Debug)]
pub(super) struct Lives {
    open: HashMap<u16, Member>,
    closed: Vec<(Kind, Duration)>,
}

/// The lives of one kind.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) open: u64,
    pub(super) closed: u64,
    /// How long the first that was closed had lived, and the last.
    pub(super) first: Duration,
    pub(super) last: Duration,
}

impl Lives {
    pub(super) fn new(members: &[Member]) -> Self {
        let open = members.iter().map(|member| (member.port, *member)).collect();
        Self { open, closed: Vec::new() }
    }
    /// Takes note of those that the server holds no longer, and says how many they are.
    pub(super) fn look(&mut self, held: &HashSet<u16>, now: Instant) -> usize {
        let gone: Vec<Member> =
            self.open.values().filter(|member| !held.contains(&member.port)).copied().collect();
        for member in &gone {
            self.open.remove(&member.port);
            self.closed.push((member.kind, now.duration_since(member.opened)));
        }
        gone.len()
    }
    pub(super) fn left(&self) -> u64 {
        self.open.len() as u64
    }
    pub(super) fn are_over(&self) -> bool {
        self.open.is_empty()
    }
    pub(super) fn of(&self, kind: Kind) -> Life {
        let open = self.open.values().filter(|member| member.kind == kind).count() as u64;
        let lives = || self.closed.iter().filter(|(of, _)| *of == kind).map(|(_, life)| *life);
        let (first, last) = (lives().min().unwrap_or_default(), lives().max().unwrap_or_default());
        Life { open, closed: lives().count() as u64, first, last }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_ends_when_the_server_holds_the_connection_no_longer() {
        let opened = Instant::now();
        let member = |kind, port| Member { kind, port, opened };
        let members = [member(Kind::Idle, 1), member(Kind::Idle, 2), member(Kind::SlowBody, 3)];
        let mut lives = Lives::new(&members);
        let at = |seconds| opened + Duration::from_secs(seconds);
        assert_eq!(lives.look(&HashSet::from([1, 2, 3]), at(1)), 0);
        assert_eq!(lives.look(&HashSet::from([2, 3]), at(2)), 1);
        assert_eq!(lives.look(&HashSet::from([3]), at(4)), 1);
        let [first, last] = [2, 4].map(Duration::from_secs);
        assert_eq!(lives.of(Kind::Idle), Life { open: 0, closed: 2, first, last });
        assert_eq!(lives.of(Kind::SlowBody), Life { open: 1, ..Life::default() });
        assert!(!lives.are_over());
    }
}
