//! What became of the requests.
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use crate::client::Fault;

/// How many failures are told in words.
const EXAMPLES: usize = 10;

/// Counts the requests of all clients.
#[derive(Debug, Default)]
pub(super) struct Tally {
    requests: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
    reset: AtomicU64,
    in_flight: AtomicU64,
    opened: AtomicU64,
    closed_idle: AtomicU64,
    unsent: AtomicU64,
    examples: Mutex<Vec<String>>,
}

impl Tally {
    /// Counts one request and what comes of it. `client` says whose it is.
    pub(super) async fn count(&self, client: &str, ask: impl Future<Output = Result<(), Fault>>) {
        self.in_flight.fetch_add(1, Relaxed);
        let answer = ask.await;
        self.in_flight.fetch_sub(1, Relaxed);
        self.requests.fetch_add(1, Relaxed);
        if let Err(fault) = answer {
            self.fail(client, fault);
        }
    }
    fn fail(&self, client: &str, fault: Fault) {
        self.failed.fetch_add(1, Relaxed);
        match fault {
            Fault::Refused => self.refused.fetch_add(1, Relaxed),
            Fault::Reset => self.reset.fetch_add(1, Relaxed),
            _ => 0,
        };
        let mut examples = self.examples.lock().unwrap_or_else(PoisonError::into_inner);
        if examples.len() < EXAMPLES {
            examples.push(format!("{client}: {fault}"));
        }
    }
    /// Adds what a client knows of its connections when it ends.
    pub(super) fn add_connections(&self, opened: u64, closed_idle: u64, unsent: u64) {
        self.opened.fetch_add(opened, Relaxed);
        self.closed_idle.fetch_add(closed_idle, Relaxed);
        self.unsent.fetch_add(unsent, Relaxed);
    }
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }
    pub(super) fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }
    pub(super) fn reset(&self) -> u64 {
        self.reset.load(Relaxed)
    }
    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight.load(Relaxed)
    }
    pub(super) fn opened(&self) -> u64 {
        self.opened.load(Relaxed)
    }
    pub(super) fn closed_idle(&self) -> u64 {
        self.closed_idle.load(Relaxed)
    }
    pub(super) fn unsent(&self) -> u64 {
        self.unsent.load(Relaxed)
    }
    pub(super) fn examples(&self) -> Vec<String> {
        self.examples.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_fault_is_a_failure_and_some_are_counted_apart() {
        let tally = Tally::default();
        for answer in [Ok(()), Err(Fault::Refused), Err(Fault::Reset), Err(Fault::Closed)] {
            let in_flight = async {
                assert_eq!(tally.in_flight(), 1);
                answer
            };
            tally.count("a", in_flight).await;
        }
        let counted = [tally.requests(), tally.failed(), tally.refused(), tally.reset()];
        assert_eq!(counted, [4, 3, 1, 1]);
        assert_eq!(tally.in_flight(), 0);
        assert_eq!(tally.examples().len(), 3);
    }
}
