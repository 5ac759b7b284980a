//! How many connections there are, in all and of one address.
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portcullis_core::{AddrKey, ClientAddr};

use crate::limits::Limits;
use crate::registry::Registry;
use crate::stats::{Open, Stats};

/// Counts connections over all workers.
pub(crate) struct Caps {
    total: usize,
    per_address: usize,
    open: AtomicUsize,
    addresses: Mutex<HashMap<AddrKey, usize>>,
    /// Where the connections of all workers are.
    registries: Mutex<Vec<Arc<Registry>>>,
    stats: Stats,
}

/// A connection that is counted, until this is dropped.
pub(crate) struct Admitted {
    caps: Arc<Caps>,
    address: Option<AddrKey>,
    _open: Open,
}

/// There are too many connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TooMany {
    InAll,
    OfAddress,
}

impl Caps {
    pub(crate) fn new(total: usize, per_address: usize, stats: Stats) -> Arc<Self> {
        let (open, addresses) = (AtomicUsize::new(0), Mutex::default());
        let registries = Mutex::default();
        Arc::new(Self { total, per_address, open, addresses, registries, stats })
    }
    /// The connections of one more runtime.
    pub(crate) fn registry(&self, limits: &Limits) -> Arc<Registry> {
        let registry = Registry::new(limits);
        self.registries().push(Arc::clone(&registry));
        registry
    }
    fn registries(&self) -> MutexGuard<'_, Vec<Arc<Registry>>> {
        self.registries.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Lets the connection that has been idle for longest go, whichever worker has it, and answers whether there was one.
    pub(crate) fn shed_idle(&self) -> bool {
        let longest = {
            let registries = self.registries();
            let all = registries.iter().filter_map(|registry| registry.longest_idle());
            all.max_by_key(|(idle, _)| *idle)
        };
        let Some((_, vitals)) = longest else { return false };
        vitals.shed();
        true
    }
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
    /// Counts a connection, unless there are too many.
    pub(crate) fn admit(self: &Arc<Self>) -> Result<Admitted, TooMany> {
        if self.open.fetch_add(1, Ordering::Relaxed) >= self.total {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return Err(TooMany::InAll);
        }
        Ok(self.counted())
    }
    /// Counts a connection for which another one makes room, if one does. There are never more of them on their way out than an
    /// eighth of the limit: a client may take its time with that.
    pub(crate) fn admit_in_place(self: &Arc<Self>) -> Option<Admitted> {
        let room = self.total.saturating_add((self.total / 8).max(1));
        if self.open.fetch_add(1, Ordering::Relaxed) >= room || !self.shed_idle() {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(self.counted())
    }
    fn counted(self: &Arc<Self>) -> Admitted {
        Admitted { caps: Arc::clone(self), address: None, _open: self.stats.accept() }
    }
    fn addresses(&self) -> MutexGuard<'_, HashMap<AddrKey, usize>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admitted {
    /// Counts the connection as one of `address`, unless that has too many.
    pub(crate) fn of(&mut self, address: IpAddr) -> Result<(), TooMany> {
        let key = ClientAddr::peer(address).key();
        {
            let mut addresses = self.caps.addresses();
            let count = addresses.entry(key).or_insert(0);
            if *count >= self.caps.per_address {
                return Err(TooMany::OfAddress);
            }
            *count += 1;
        }
        self.address = Some(key);
        Ok(())
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.caps.open.fetch_sub(1, Ordering::Relaxed);
        let Some(key) = self.address else { return };
        if let Entry::Occupied(mut count) = self.caps.addresses().entry(key) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_in_all_and_by_address_and_gives_back() {
        let caps = Caps::new(3, 2, Stats::default());
        let of = |address: &str| {
            let mut admitted = caps.admit()?;
            admitted.of(address.parse().unwrap())?;
            Ok(admitted)
        };
        let first = of("2001:db8::1").ok();
        let second = of("2001:db8::2").ok();
        assert!(first.is_some() && second.is_some());
        // The same /64, so the same address; what was refused is not counted.
        assert_eq!(of("2001:db8::3").err(), Some(TooMany::OfAddress));
        assert_eq!(caps.open(), 2);
        let third = of("192.0.2.1").ok();
        assert_eq!(of("192.0.2.2").err(), Some(TooMany::InAll));
        drop((first, second, third));
        assert_eq!((caps.open(), caps.addresses().len()), (0, 0));
    }

    #[test]
    fn whoever_has_been_idle_for_longest_makes_room_whichever_worker_has_it() {
        use crate::control::Control;
        use crate::front::Shared;
        use crate::vitals::{Orders, Phase};

        let caps = Caps::new(2, 2, Stats::default());
        let shared = Arc::new(Shared {
            limits: Limits::default(),
            control: Arc::new(Control::new()),
            stats: Stats::default(),
        });
        let (one, other) = (caps.registry(&shared.limits), caps.registry(&shared.limits));
        let (busy, idle) = (one.enrol(&shared), other.enrol(&shared));
        assert!(!caps.shed_idle(), "nobody is idle");
        busy.vitals().enter(Phase::Exchange);
        idle.vitals().enter(Phase::Idle);
        assert!(caps.shed_idle());
        assert!(busy.vitals().take_orders().is_none());
        assert!(idle.vitals().take_orders().unwrap().has(Orders::CLOSE_IDLE));
        assert!(!caps.shed_idle(), "nobody is told to go twice, so nobody else comes for it");
    }
}
