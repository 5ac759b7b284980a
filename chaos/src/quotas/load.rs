//! Clients of two gateways, which ask for twice as much as each limit lets through.
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::RULES;
use crate::asked::Asker;
use crate::client::paced;

/// How many clients ask each gateway for each limit, and how often each: 100 times a second together.
const CLIENTS: usize = 4;
const PACE: Duration = Duration::from_millis(40);

/// An answer to one request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    /// Which gateway, and which of the rules.
    pub(super) gateway: usize,
    pub(super) rule: usize,
    pub(super) began: Instant,
    pub(super) took: Duration,
    /// 0 where there was none.
    pub(super) status: u16,
    /// It was decided about without the store.
    pub(super) degraded: bool,
}

impl Answer {
    pub(super) fn came(&self) -> Instant {
        self.began + self.took
    }
    pub(super) fn is_within(&self, from: Instant, to: Instant) -> bool {
        self.began >= from && self.came() <= to
    }
}

/// Clients at work until they are stopped.
pub(super) struct Load {
    stopped: Arc<AtomicBool>,
    clients: JoinSet<Vec<Answer>>,
}

impl Load {
    pub(super) fn start(gateways: &[SocketAddr]) -> Self {
        let mut load = Self { stopped: Arc::default(), clients: JoinSet::new() };
        for (gateway, to) in gateways.iter().enumerate() {
            for (rule, of) in RULES.iter().enumerate() {
                for _ in 0..CLIENTS {
                    let path = format!("/{}", of.name());
                    let stopped = Arc::clone(&load.stopped);
                    let answers = keep_asking(Asker::new(*to), path, (gateway, rule), stopped);
                    load.clients.spawn(answers);
                }
            }
        }
        load
    }
    /// Lets every client get its last answer.
    pub(super) async fn stop(self) -> Vec<Answer> {
        self.stopped.store(true, Relaxed);
        self.clients.join_all().await.into_iter().flatten().collect()
    }
}

async fn keep_asking(
    mut asker: Asker,
    path: String,
    (gateway, rule): (usize, usize),
    stopped: Arc<AtomicBool>,
) -> Vec<Answer> {
    let (mut pace, mut answers) = (paced(PACE), Vec::new());
    while !stopped.load(Relaxed) {
        pace.tick().await;
        let began = Instant::now();
        let reply = asker.get(&path, "").await;
        let took = began.elapsed();
        let (status, degraded) = match &reply {
            Ok(reply) => (reply.status, is_degraded(&reply.head)),
            Err(_) => (0, false),
        };
        answers.push(Answer { gateway, rule, began, took, status, degraded });
    }
    answers
}

fn is_degraded(head: &str) -> bool {
    let mut lines = head.lines().filter_map(|line| line.strip_prefix("ratelimit:"));
    lines.any(|line| line.contains(";degraded"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_degraded_says_so() {
        for (line, want) in [
            ("ratelimit: \"open\";r=9;t=1;degraded", true),
            ("ratelimit: \"open\";r=9;t=1", false),
            ("x-other: \"open\";degraded", false),
        ] {
            assert_eq!(is_degraded(&format!("http/1.1 200 ok\r\n{line}\r\n\r\n")), want, "{line}");
        }
    }
}
