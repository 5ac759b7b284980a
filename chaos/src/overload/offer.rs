//! An offer that does not wait for answers: so many requests a second, whatever becomes of them.
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::asked::Asker;

/// What is asked, and how often.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    pub(super) to: SocketAddr,
    pub(super) path: &'static str,
    /// Lines in the head besides.
    pub(super) more: String,
    /// How many requests a second.
    pub(super) rate: u32,
    /// How many connections there are at most: what comes while all are busy is not asked, and counted.
    pub(super) connections: usize,
}

/// An answer, or none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) began: Instant,
    pub(super) took: Duration,
    /// 0 where there was none.
    pub(super) status: u16,
    pub(super) retry_after: bool,
}

/// What became of an offer.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// In the order of their ends.
    pub(super) answers: Vec<Answer>,
    /// How many were not asked, since all connections were busy.
    pub(super) unasked: u64,
}

impl Outcome {
    pub(super) fn of(&self, status: u16) -> impl Iterator<Item = &Answer> {
        self.answers.iter().filter(move |answer| answer.status == status)
    }
    pub(super) fn count(&self, status: u16) -> u64 {
        self.of(status).count() as u64
    }
    /// How long those with this status took, the shortest first.
    pub(super) fn times(&self, status: u16) -> Vec<Duration> {
        let mut times: Vec<_> = self.of(status).map(|answer| answer.took).collect();
        times.sort_unstable();
        times
    }
    /// The same from this time on, and what was asked before it left out.
    pub(super) fn since(&self, from: Instant) -> Self {
        let answers = self.answers.iter().filter(|answer| answer.began >= from);
        Self { answers: answers.copied().collect(), unasked: 0 }
    }
}

/// What the requests under way share.
struct Pool {
    idle: Vec<Asker>,
    opened: usize,
    outcome: Outcome,
}

impl Offer {
    /// Asks for so long, and waits for the last answers.
    pub(super) async fn run(&self, time: Duration) -> Outcome {
        let pool = Pool { idle: Vec::new(), opened: 0, outcome: Outcome::default() };
        let pool = Arc::new(Mutex::new(pool));
        let (begin, mut count, mut requests) = (Instant::now(), 0, JoinSet::new());
        let mut tick = interval(Duration::from_millis(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while begin.elapsed() < time {
            tick.tick().await;
            let due = begin.elapsed().as_micros() * u128::from(self.rate) / 1_000_000;
            while count < due {
                count += 1;
                let Some(asker) = self.take(&pool) else { continue };
                requests.spawn(self.clone().ask(asker, Arc::clone(&pool)));
            }
            while requests.try_join_next().is_some() {}
        }
        requests.join_all().await;
        std::mem::take(&mut lock(&pool).outcome)
    }
    fn take(&self, pool: &Mutex<Pool>) -> Option<Asker> {
        let mut pool = lock(pool);
        if let Some(asker) = pool.idle.pop() {
            return Some(asker);
        }
        if pool.opened < self.connections {
            pool.opened += 1;
            return Some(Asker::new(self.to));
        }
        pool.outcome.unasked += 1;
        None
    }
    async fn ask(self, mut asker: Asker, pool: Arc<Mutex<Pool>>) {
        let began = Instant::now();
        let reply = asker.get(self.path, &self.more).await;
        let took = began.elapsed();
        let (status, retry_after) = match &reply {
            Ok(reply) => (reply.status, reply.head.contains("\r\nretry-after: ")),
            Err(_) => (0, false),
        };
        let mut pool = lock(&pool);
        pool.idle.push(asker);
        pool.outcome.answers.push(Answer { began, took, status, retry_after });
    }
    /// Clients that wait for each answer before they ask again, so many: how many were answered in a second.
    pub(super) async fn saturate(&self, clients: usize, time: Duration) -> f64 {
        let until = Instant::now() + time;
        let mut all = JoinSet::new();
        for _ in 0..clients {
            let offer = self.clone();
            all.spawn(async move {
                let (mut asker, mut answered) = (Asker::new(offer.to), 0_u32);
                while Instant::now() < until {
                    let reply = asker.get(offer.path, &offer.more).await;
                    let in_time = Instant::now() <= until;
                    answered += u32::from(in_time && reply.is_ok_and(|reply| reply.status == 200));
                }
                answered
            });
        }
        sleep_until(until).await;
        let answered: u32 = all.join_all().await.into_iter().sum();
        f64::from(answered) / time.as_secs_f64()
    }
}

fn lock(pool: &Mutex<Pool>) -> MutexGuard<'_, Pool> {
    pool.lock().unwrap_or_else(PoisonError::into_inner)
}
