//! What the endpoints for accounts do to the threads that everybody shares, to memory, and to secrets that time could tell. Run by `cargo xtask bench accounts`; each line is a name and a figure.
#![expect(clippy::print_stdout, reason = "its output is read by the command that runs it")]

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, Request, Response};
use portcullis::authn::{
    Accounts, Attempts, Authenticate, AuthenticateLayer, Email, Mail, Mailer, Passwords, Sessions,
    Users,
};
use portcullis::{Body, BoxError, Clock, Secret};
use portcullis_sqlx::SqliteStores;
use rustix::time::{ClockId, clock_gettime};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use tower::{Layer, ServiceExt};

/// How many log in at once.
const AT_ONCE: usize = 50;
/// How many answers are timed of each kind.
const SAMPLES: usize = 1_000;
const KNOWN: &str = "ada@acme.example";
const PASSWORD: &str = "correct horse battery";

/// Sends nothing.
#[derive(Debug)]
struct Nowhere;

#[async_trait]
impl Mailer for Nowhere {
    async fn send(&self, _: &Mail) -> Result<(), BoxError> {
        Ok(())
    }
}

type Front = Authenticate<Accounts>;

async fn front() -> Result<Front, BoxError> {
    let file = std::env::temp_dir().join("portcullis-bench-accounts.db");
    drop(std::fs::remove_file(&file));
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
    let stores = SqliteStores::from_pool(SqlitePool::connect_with(options).await?);
    stores.migrate().await?;
    let users = stores.users().await?;
    let kept = Passwords::new().hash(Secret::from(PASSWORD)).await?;
    let email = Email::parse(KNOWN).ok_or("an address")?;
    users.add(&email, &kept).await?;
    let many = || Attempts::new().by_account(1_000_000, Duration::from_millis(1));
    let accounts =
        Accounts::builder("https://shop.example", users, stores.tokens().await?, Nowhere);
    let accounts = accounts.attempts(many()).mails(many()).build()?;
    let sessions = Sessions::new(stores.sessions().await?);
    Ok(AuthenticateLayer::new().sessions(sessions).layer(accounts))
}

async fn post(front: &Front, path: &str, email: &str, password: &str) -> Result<u16, BoxError> {
    let body = format!(r#"{{"email":"{email}","password":"{password}"}}"#);
    let request = Request::builder().method(Method::POST).uri(format!("/account/{path}"));
    let request = request.header(CONTENT_TYPE, "application/json").body(Body::from(body))?;
    let answer: Response<Body> = match front.clone().oneshot(request).await {
        Ok(answer) => answer,
        Err(never) => match never {},
    };
    Ok(answer.status().as_u16())
}

/// The processor's time that this thread has had.
fn spent() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// Notes how long each poll takes of the thread, whatever else the machine does meanwhile.
struct Timed<F> {
    work: Pin<Box<F>>,
    longest: Arc<AtomicU64>,
}

impl<F: Future> Future for Timed<F> {
    type Output = F::Output;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let before = spent();
        let polled = self.work.as_mut().poll(cx);
        let took = spent().saturating_sub(before);
        self.longest.fetch_max(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Relaxed);
        polled
    }
}

/// KiB that the process has had in memory at most.
fn most_resident() -> Result<u64, BoxError> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next()).ok_or("no VmHWM")?;
    Ok(number.parse()?)
}

async fn hashing(front: &Front) -> Result<(), BoxError> {
    // Once, so that what is made the first time is there.
    post(front, "login", KNOWN, PASSWORD).await?;
    let (before, longest) = (most_resident()?, Arc::new(AtomicU64::new(0)));
    let begun = Clock::system().now();
    let all = (0..AT_ONCE).map(|_| {
        let (front, longest) = (front.clone(), Arc::clone(&longest));
        let work = async move { post(&front, "login", KNOWN, PASSWORD).await };
        tokio::spawn(Timed { work: Box::pin(work), longest })
    });
    let mut good = 0;
    for task in all.collect::<Vec<_>>() {
        good += usize::from(task.await?? == 200);
    }
    let took = Clock::system().now() - begun;
    #[expect(clippy::cast_precision_loss, reason = "microseconds are few")]
    let longest = longest.load(Relaxed) as f64 / 1e6;
    println!("log-ins at once that were good: {good} of {AT_ONCE}");
    println!("all of them took: {:.0} ms", took.as_secs_f64() * 1e3);
    println!("longest poll on the shared threads (processor's time): {longest:.3} ms");
    println!(
        "memory more than before, at most: {} MiB",
        (most_resident()? - before).div_ceil(1024)
    );
    Ok(())
}

/// How likely two samples of one kind are as far apart as these are (Kolmogorov and Smirnov, in the limit of many).
#[expect(clippy::cast_precision_loss, reason = "there are a thousand")]
fn likely(one: &[f64], other: &[f64]) -> f64 {
    let below =
        |all: &[f64], limit: f64| all.partition_point(|it| *it <= limit) as f64 / all.len() as f64;
    let apart = one.iter().chain(other).map(|it| (below(one, *it) - below(other, *it)).abs());
    let apart = apart.fold(0.0, f64::max);
    let size = (one.len() * other.len()) as f64 / (one.len() + other.len()) as f64;
    let scaled = apart * size.sqrt();
    let terms = (1..100).map(|at| {
        let sign = if at % 2 == 1 { 2.0 } else { -2.0 };
        sign * (-2.0 * f64::from(at * at) * scaled * scaled).exp()
    });
    terms.sum::<f64>().clamp(0.0, 1.0)
}

fn median(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

async fn telling(front: &Front, path: &str) -> Result<(), BoxError> {
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..SAMPLES {
        // In turn, now this one first and now that one, so that a noisy while touches both.
        for at in [round % 2, 1 - round % 2] {
            let unknown = format!("x{round:03}@acme.example");
            let email = if at == 0 { KNOWN } else { &unknown };
            let begun = Clock::system().now();
            post(front, path, email, "not the password").await?;
            let took = Clock::system().now() - begun;
            if let Some(times) = times.get_mut(at) {
                times.push(took.as_secs_f64() * 1e6);
            }
        }
    }
    let [mut known, mut unknown] = times;
    known.sort_by(f64::total_cmp);
    unknown.sort_by(f64::total_cmp);
    let (one, other) = (median(&known), median(&unknown));
    println!("{path}, median with an account: {one:.0} us");
    println!("{path}, median without one: {other:.0} us ({:+.2} %)", (other / one - 1.0) * 100.0);
    println!("{path}, how likely by chance: p = {:.3}", likely(&known, &unknown));
    Ok(())
}

async fn run() -> Result<(), BoxError> {
    let front = front().await?;
    hashing(&front).await?;
    for path in ["login", "register", "reset"] {
        telling(&front, path).await?;
    }
    Ok(())
}

fn main() -> Result<(), BoxError> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(run())
}
