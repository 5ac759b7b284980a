//! Good clients, on a thread of their own so that the others do not hold them up here.
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

use crate::client::{Ask, KeepAlive};
use crate::failure::{Failure, Result};

/// 200 requests a second in all.
const CLIENTS: u64 = 4;
const PACE: Duration = Duration::from_millis(20);
/// A request that was not sent so long after its time waited for the one before it.
const LATE: Duration = Duration::from_millis(5);

/// How many failures of each client are told in words.
const TOLD: u64 = 3;

/// Good clients at work until they are stopped.
#[derive(Debug)]
pub(super) struct Good {
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Answers>>>,
}

/// How long the answers took, sorted, and how many requests failed.
#[derive(Debug, Default)]
pub(super) struct Answers {
    pub(super) times: Vec<Duration>,
    pub(super) failed: u64,
}

impl Good {
    pub(super) fn start(to: SocketAddr) -> Result<Self> {
        let stopped = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&stopped);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("good clients".to_owned());
        let thread = thread.spawn(move || runtime.block_on(all(to, until)))?;
        Ok(Self { stopped, thread: Some(thread) })
    }
    /// Waits for the last answers.
    pub(super) async fn stop(mut self) -> Result<Answers> {
        self.stopped.store(true, Relaxed);
        let ended = || Failure::new("the good clients ended early");
        let thread = self.thread.take().ok_or_else(ended)?;
        let joined = tokio::task::spawn_blocking(|| thread.join()).await;
        joined.ok().and_then(std::result::Result::ok).ok_or_else(ended)?
    }
}

impl Drop for Good {
    fn drop(&mut self) {
        self.stopped.store(true, Relaxed);
    }
}

async fn all(to: SocketAddr, stopped: Arc<AtomicBool>) -> Result<Answers> {
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(one(to, Arc::clone(&stopped)));
    }
    let mut all = Answers::default();
    while let Some(answers) = clients.join_next().await {
        let answers = answers.map_err(|error| Failure::new(error.to_string()))?;
        all.times.extend(answers.times);
        all.failed += answers.failed;
    }
    all.times.sort_unstable();
    Ok(all)
}

async fn one(to: SocketAddr, stopped: Arc<AtomicBool>) -> Answers {
    let (mut client, mut answers) = (KeepAlive::new(to), Answers::default());
    // Ticks that were missed come at once: one slow answer makes all late that should have been asked for meanwhile.
    let mut pace = interval(PACE);
    while !stopped.load(Relaxed) {
        let due = pace.tick().await;
        let sent = Instant::now();
        let since = if sent - due > LATE { due } else { sent };
        match client.ask(&Ask::hello()).await {
            Ok(()) => answers.times.push(since.elapsed()),
            Err(fault) => {
                if answers.failed < TOLD {
                    eprintln!("a good client: {fault}");
                }
                answers.failed += 1;
            }
        }
    }
    answers
}
