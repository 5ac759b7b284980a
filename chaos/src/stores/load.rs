//! Clients that have sessions, have none, have had one, or begin and end them all the time.
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::app::KEY;
use super::ask::{Client, Reply};
use crate::client::paced;
use crate::failure::{Failure, Result};

const KEPT: usize = 10;
const CHANGING: usize = 3;
/// Cookies that open nothing: of sessions that there have never been, and one that can be none.
const BAD: [&str; 3] = [
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "Q2hhb3NDaGFvc0NoYW9zQ2hhb3NDaGFvc0NoYW9zQ2g",
    "none",
];
/// How often a client asks.
const PACE: Duration = Duration::from_millis(20);

/// What an answer is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Right,
    /// 503: the store cannot say.
    Unavailable,
    Wrong,
}

/// An answer to one request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) began: Instant,
    pub(super) took: Duration,
    /// One question is asked of the store for it, where a change asks several.
    pub(super) is_check: bool,
    pub(super) verdict: Verdict,
}

impl Answer {
    pub(super) fn came(&self) -> Instant {
        self.began + self.took
    }
}

/// Clients at work until they are stopped.
pub(super) struct Load {
    stopped: Arc<AtomicBool>,
    clients: JoinSet<Vec<Answer>>,
}

impl Load {
    /// Logs in whoever needs it, while the store answers, and lets the clients ask.
    pub(super) async fn start(to: SocketAddr) -> Result<Self> {
        let mut load = Self { stopped: Arc::default(), clients: JoinSet::new() };
        for _ in 0..KEPT {
            let mut client = Client::new(to);
            let cookie = begun(&mut client).await?;
            load.check(client, cookie, 200);
        }
        for cookie in BAD {
            load.check(Client::new(to), cookie.to_owned(), 401);
        }
        let mut client = Client::new(to);
        let cookie = begun(&mut client).await?;
        let reply = client.log_out(&cookie).await?;
        if reply.status != 200 {
            return Err(Failure::new(format!("logging out is answered {}", reply.status)));
        }
        load.check(client, cookie, 401);
        for _ in 0..CHANGING {
            let log = Log::new(Client::new(to), &load.stopped);
            load.clients.spawn(log.change());
        }
        Ok(load)
    }
    fn check(&mut self, client: Client, cookie: String, right: u16) {
        self.clients.spawn(Log::new(client, &self.stopped).check_always(cookie, right));
    }
    /// Lets every client get its last answer. Those of one client stand together.
    pub(super) async fn stop(self) -> Vec<Vec<Answer>> {
        self.stopped.store(true, Relaxed);
        self.clients.join_all().await
    }
}

async fn begun(client: &mut Client) -> Result<String> {
    let reply = client.log_in(KEY).await?;
    let none = || Failure::new(format!("logging in is answered {}", reply.status));
    reply.cookie.filter(|_| reply.status == 200).ok_or_else(none)
}

/// A client and its answers.
struct Log {
    client: Client,
    stopped: Arc<AtomicBool>,
    answers: Vec<Answer>,
}

impl Log {
    fn new(client: Client, stopped: &Arc<AtomicBool>) -> Self {
        Self { client, stopped: Arc::clone(stopped), answers: Vec::new() }
    }
    fn is_stopped(&self) -> bool {
        self.stopped.load(Relaxed)
    }
    async fn check_always(mut self, cookie: String, right: u16) -> Vec<Answer> {
        let mut pace = paced(PACE);
        while !self.is_stopped() {
            pace.tick().await;
            self.check(&cookie, right).await;
        }
        self.answers
    }
    async fn check(&mut self, cookie: &str, right: u16) {
        let began = Instant::now();
        let reply = self.client.check(cookie).await;
        self.note(began, true, reply, &[right]);
    }
    /// Begins a session, uses it and ends it, over and over. What has ended stays so, also after a crash.
    async fn change(mut self) -> Vec<Answer> {
        let (mut pace, mut over) = (paced(PACE), Vec::<String>::new());
        while !self.is_stopped() {
            pace.tick().await;
            let began = Instant::now();
            let reply = self.client.log_in(KEY).await;
            let Some(cookie) = self.note(began, false, reply, &[200]) else { continue };
            self.check(&cookie, 200).await;
            if !self.end(&cookie).await {
                break;
            }
            self.check(&cookie, 401).await;
            over.push(cookie);
            let before = over.get(over.len() / 2).cloned().unwrap_or_default();
            self.check(&before, 401).await;
        }
        self.answers
    }
    /// Whether the session has ended, and the client knows that.
    async fn end(&mut self, cookie: &str) -> bool {
        let (mut pace, mut right) = (paced(PACE), &[200][..]);
        while !self.is_stopped() {
            pace.tick().await;
            let began = Instant::now();
            let reply = self.client.log_out(cookie).await;
            let status = reply.as_ref().map_or(0, |reply| reply.status);
            self.note(began, false, reply, right);
            if right.contains(&status) {
                return true;
            }
            // It may have ended, although nobody could say so: then there is none to end.
            right = &[200, 401];
        }
        false
    }
    fn note(
        &mut self,
        began: Instant,
        is_check: bool,
        reply: Result<Reply>,
        right: &[u16],
    ) -> Option<String> {
        let (status, cookie) = match reply {
            Ok(reply) => (reply.status, reply.cookie),
            Err(failure) => {
                eprintln!("a client: {failure}");
                (0, None)
            }
        };
        let verdict = verdict(status, right);
        let is_wrong = |answer: &Answer| answer.verdict == Verdict::Wrong;
        // One of each client is enough to see what it is.
        if verdict == Verdict::Wrong && !self.answers.iter().any(is_wrong) {
            eprintln!("a client: {status} in the place of {right:?}");
        }
        self.answers.push(Answer { began, took: began.elapsed(), is_check, verdict });
        cookie
    }
}

fn verdict(status: u16, right: &[u16]) -> Verdict {
    match status {
        status if right.contains(&status) => Verdict::Right,
        503 => Verdict::Unavailable,
        _ => Verdict::Wrong,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_cannot_say_is_not_wrong() {
        for (status, right, want) in [
            (200, &[200][..], Verdict::Right),
            (401, &[401], Verdict::Right),
            (401, &[200, 401], Verdict::Right),
            (503, &[200], Verdict::Unavailable),
            (503, &[401], Verdict::Unavailable),
            (401, &[200], Verdict::Wrong),
            (200, &[401], Verdict::Wrong),
            (500, &[200], Verdict::Wrong),
            (0, &[401], Verdict::Wrong),
        ] {
            assert_eq!(verdict(status, right), want, "{status} {right:?}");
        }
    }
}
