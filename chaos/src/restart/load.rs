//! Steady load from three kinds of clients.
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::task::JoinSet;

use super::tally::Tally;
use crate::client::{Ask, KeepAlive, Multiplexed, ask_once, paced};

/// How many clients of each kind, and how often each of them asks. About 2,000 requests a second in all.
const KEEP_ALIVE: (u64, Duration) = (16, Duration::from_millis(16));
const ONCE: (u64, Duration) = (16, Duration::from_millis(40));
const MULTIPLEXED: (u64, Duration) = (8, Duration::from_millis(14));

/// Clients at work until they are stopped.
#[derive(Debug)]
pub(super) struct Load {
    shared: Shared,
    clients: JoinSet<()>,
}

#[derive(Clone, Debug)]
struct Shared {
    to: SocketAddr,
    stopped: Arc<AtomicBool>,
    tally: Arc<Tally>,
}

impl Shared {
    fn is_stopped(&self) -> bool {
        self.stopped.load(Relaxed)
    }
}

impl Load {
    pub(super) fn start(to: SocketAddr) -> Self {
        let shared = Shared { to, stopped: Arc::default(), tally: Arc::default() };
        let mut clients = JoinSet::new();
        for id in 0..KEEP_ALIVE.0 {
            clients.spawn(keep_alive(shared.clone(), id));
        }
        for id in 0..ONCE.0 {
            clients.spawn(once(shared.clone(), id));
        }
        for id in 0..MULTIPLEXED.0 {
            clients.spawn(multiplexed(shared.clone(), id));
        }
        Self { shared, clients }
    }
    pub(super) fn tally(&self) -> &Tally {
        &self.shared.tally
    }
    /// Lets every client get its last answer.
    pub(super) async fn stop(self) -> Arc<Tally> {
        self.shared.stopped.store(true, Relaxed);
        self.clients.join_all().await;
        self.shared.tally
    }
}

async fn keep_alive(shared: Shared, id: u64) {
    let (mut client, mut pace) = (KeepAlive::new(shared.to), paced(KEEP_ALIVE.1));
    for at in id.. {
        pace.tick().await;
        if shared.is_stopped() {
            break;
        }
        shared.tally.count("HTTP/1.1, keep-alive", client.ask(&mix(at))).await;
    }
    shared.tally.add_connections(client.opened(), client.closed_idle(), 0);
}

async fn once(shared: Shared, id: u64) {
    let (mut opened, mut pace) = (0, paced(ONCE.1));
    for at in id.. {
        pace.tick().await;
        if shared.is_stopped() {
            break;
        }
        opened += 1;
        shared.tally.count("HTTP/1.1, one request", ask_once(shared.to, &mix(at))).await;
    }
    shared.tally.add_connections(opened, 0, 0);
}

async fn multiplexed(shared: Shared, id: u64) {
    let (mut client, mut pace) = (Multiplexed::new(shared.to), paced(MULTIPLEXED.1));
    for at in id.. {
        pace.tick().await;
        if shared.is_stopped() {
            break;
        }
        shared.tally.count("HTTP/2", client.ask(&mix(at))).await;
    }
    shared.tally.add_connections(client.opened(), 0, client.unsent());
}

/// Of twenty requests eighteen are quick, one is slow, and one has a body.
fn mix(at: u64) -> Ask {
    match at % 20 {
        3 => Ask::slow(50 + at * 37 % 151),
        13 => Ask::echo(),
        _ => Ask::hello(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nine_tenths_are_quick_and_no_request_is_slower_than_said() {
        let asks: Vec<String> = (0..20_000).map(|at| format!("{:?}", mix(at))).collect();
        let slow = asks.iter().filter(|ask| ask.contains("/slow"));
        let millis: Vec<u64> = slow
            .map(|ask| ask.split_once("ms=").unwrap().1.split('"').next().unwrap().parse().unwrap())
            .collect();
        assert_eq!(millis.len(), 1000);
        assert_eq!((millis.iter().min(), millis.iter().max()), (Some(&50), Some(&200)));
        assert_eq!(asks.iter().filter(|ask| ask.contains("/echo")).count(), 1000);
    }
}
