//! The TLS handshakes that are under way, over all workers.
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portcullis_core::AddrKey;

use crate::stats::{Ending, Stats};
use crate::vitals::{Orders, Vitals};

/// Bounds how many handshakes are under way. Nobody waits for a turn: clients that begin one and say no more would hold every turn
/// for as long as they like. Instead one too many takes the place of another.
pub(crate) struct Handshakes {
    limit: usize,
    under_way: Mutex<UnderWay>,
    stats: Stats,
}

#[derive(Default)]
struct UnderWay {
    next: u64,
    /// In the order in which they began.
    all: Vec<Place>,
}

struct Place {
    number: u64,
    /// Without one for a Unix socket: all of those are one client.
    address: Option<AddrKey>,
    vitals: Arc<Vitals>,
}

/// One handshake, until it is dropped.
pub(crate) struct Handshake<'a> {
    all: &'a Handshakes,
    number: u64,
}

impl Handshakes {
    pub(crate) fn new(limit: usize, stats: Stats) -> Arc<Self> {
        Arc::new(Self { limit, under_way: Mutex::default(), stats })
    }
    /// Begins one. Where there are too many, the oldest of the address that has most of them ends.
    pub(crate) fn begin(&self, address: Option<AddrKey>, vitals: &Arc<Vitals>) -> Handshake<'_> {
        let (number, displaced) = {
            let mut under_way = self.lock();
            let number = under_way.next;
            under_way.next += 1;
            under_way.all.push(Place { number, address, vitals: Arc::clone(vitals) });
            let displaced = (under_way.all.len() > self.limit).then(|| under_way.displace());
            (number, displaced.flatten())
        };
        if let Some(displaced) = displaced {
            self.stats.ended(Ending::Handshake);
            displaced.vitals.order(Orders::KILL);
        }
        Handshake { all: self, number }
    }
    fn lock(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnderWay {
    /// Takes the oldest of the address that has most of them out; that of whoever came first, where several have as many.
    fn displace(&mut self) -> Option<Place> {
        let mut counts: HashMap<_, usize> = HashMap::new();
        for place in &self.all {
            *counts.entry(place.address).or_default() += 1;
        }
        let most = counts.values().max().copied();
        let oldest =
            self.all.iter().position(|place| counts.get(&place.address).copied() == most)?;
        Some(self.all.remove(oldest))
    }
}

impl Drop for Handshake<'_> {
    fn drop(&mut self) {
        let mut under_way = self.all.lock();
        if let Ok(at) = under_way.all.binary_search_by_key(&self.number, |place| place.number) {
            under_way.all.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::CoarseClock;
    use crate::control::Control;
    use crate::front::Shared;
    use crate::limits::Limits;
    use portcullis_core::ClientAddr;

    /// Lets these addresses begin one after the other; answers which of them are ended.
    fn displaced(limit: usize, addresses: &[&str]) -> Vec<usize> {
        let shared = Arc::new(Shared {
            limits: Limits::default(),
            control: Arc::new(Control::new()),
            stats: Stats::default(),
        });
        let clock = Arc::new(CoarseClock::new());
        let handshakes = Handshakes::new(limit, Stats::default());
        let clients = addresses.iter().map(|address| {
            let vitals = Arc::new(Vitals::new(Arc::clone(&shared), Arc::clone(&clock)));
            let address = address.parse().ok().map(|address| ClientAddr::peer(address).key());
            (handshakes.begin(address, &vitals), vitals)
        });
        let clients: Vec<_> = clients.collect();
        let killed = clients.iter().enumerate().filter(|(_, (_, vitals))| vitals.is_killed());
        let killed: Vec<_> = killed.map(|(at, _)| at).collect();
        assert_eq!(handshakes.stats.refused(), killed.len() as u64);
        drop(clients);
        assert_eq!(handshakes.lock().all.len(), 0, "all are given back");
        killed
    }

    #[test]
    fn whoever_has_most_under_way_makes_room_with_the_oldest() {
        let (a, b, c) = ("192.0.2.1", "192.0.2.2", "2001:db8::1");
        assert_eq!(displaced(3, &[a, b, a]), [0_usize; 0], "there is room");
        assert_eq!(displaced(3, &[b, a, a, c]), [1]);
        assert_eq!(displaced(3, &[a, a, a, a, a, b]), [0, 1, 2], "and again");
        assert_eq!(displaced(3, &[a, b, c, "192.0.2.3"]), [0], "all alike: the oldest of all");
        assert_eq!(displaced(3, &[a, "2001:db8::2", c, b]), [1], "one /64 is one address");
        assert_eq!(displaced(2, &["unix", a, "unix"]), [0], "so are all without one");
    }
}
