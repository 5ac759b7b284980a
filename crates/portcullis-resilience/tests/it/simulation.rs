//! A thousand lives of a client with everything around it, each from its own seed and the same whenever it is lived again: servers that
//! hang, fail, break and recover, callers that go away, bodies that are left lying.
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use fastrand::Rng;
use http::{Method, Request, Response};
use portcullis_core::{Body, Deadline};
use portcullis_resilience::{
    Breaker, BreakerLayer, BreakerState, Bulkhead, BulkheadLayer, HedgeLayer, RetryBudget,
    RetryLayer, TimeoutLayer,
};
use portcullis_testkit::ReadyGuard;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, sleep, timeout};
use tower::{ServiceBuilder, service_fn};

use crate::support::{call, clock, paused};

const SEEDS: u64 = 1_000;
/// How long things go wrong, and how long they go well after it.
const STORM: Duration = Duration::from_secs(60);
const CALM: Duration = Duration::from_secs(30);
const OPEN: Duration = Duration::from_secs(5);
const TOTAL: Duration = Duration::from_secs(2);

/// How the server is.
#[derive(Clone, Copy, Debug)]
enum Mood {
    Well,
    Slow,
    Hanging,
    Failing,
    Broken,
}

/// What must come out even in the end.
#[derive(Clone, Default)]
struct Account {
    calls: Arc<AtomicUsize>,
    under_way: Arc<AtomicUsize>,
    too_late: Arc<AtomicUsize>,
    overdue: Arc<AtomicUsize>,
    answered: Arc<AtomicUsize>,
}

struct UnderWay(Arc<AtomicUsize>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

/// Millis up to this.
fn some(rng: &mut Rng, most: u64) -> Duration {
    Duration::from_millis(rng.u64(..=most))
}

async fn serve(
    request: Request<Body>,
    mood: Mood,
    mut rng: Rng,
    account: Account,
) -> io::Result<Response<Body>> {
    account.calls.fetch_add(1, SeqCst);
    let deadline = request.extensions().get::<Deadline>().copied().expect("there is one");
    if deadline.is_expired(clock().now()) {
        account.too_late.fetch_add(1, SeqCst);
    }
    account.under_way.fetch_add(1, SeqCst);
    let _under_way = UnderWay(Arc::clone(&account.under_way));
    let status = match mood {
        Mood::Well => {
            sleep(some(&mut rng, 20)).await;
            200
        }
        Mood::Slow => {
            sleep(some(&mut rng, 1_500)).await;
            200
        }
        Mood::Hanging => std::future::pending().await,
        Mood::Failing => {
            sleep(some(&mut rng, 20)).await;
            if rng.bool() { 503 } else { 200 }
        }
        Mood::Broken => return Err(io::Error::other("it broke")),
    };
    let mut response = Response::new(Body::from("an answer"));
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
    Ok(response)
}

/// One caller: it may have less time than it is given, may go away, and may leave the answer lying.
async fn ask<S>(mut service: S, mut rng: Rng, account: Account)
where
    S: tower::Service<Request<Body>, Response = Response<Body>, Error = io::Error>,
{
    let method = if rng.u8(..4) > 0 { Method::GET } else { Method::POST };
    let body = if method == Method::POST { Body::from("something") } else { Body::empty() };
    let mut request = Request::builder().method(method).body(body).unwrap();
    let limit = if rng.bool() { TOTAL } else { some(&mut rng, 2_000) };
    request.extensions_mut().insert(Deadline::starting(clock().now()).at_most(limit));
    let patience = if rng.u8(..5) == 0 { some(&mut rng, 1_000) } else { TOTAL * 10 };
    let began = Instant::now();
    let result = timeout(patience, call(&mut service, request)).await;
    // Each timer of a layer ends up to a millisecond late.
    if began.elapsed() > limit.min(patience) + Duration::from_millis(3) {
        account.overdue.fetch_add(1, SeqCst);
    }
    if let Ok(Ok(response)) = result {
        account.answered.fetch_add(usize::from(response.status() == 200), SeqCst);
        sleep(some(&mut rng, 500)).await;
        drop(response);
    }
}

/// Lives once; says what was wrong with it, or how often the breaker opened and how many calls there were.
async fn live(seed: u64) -> Result<(u64, usize), String> {
    fastrand::seed(seed);
    let mut rng = Rng::with_seed(seed);
    let (account, mood) = (Account::default(), Rc::new(Cell::new(Mood::Well)));
    let (breaker, bulkhead) = (
        Breaker::builder().minimum(5).open(OPEN).clock(clock()).build(),
        Bulkhead::new(rng.usize(5..60)),
    );
    let limit = |time| TimeoutLayer::new(time).clock(clock());
    let budget = || RetryBudget::with_clock(0.2, 2, clock());
    let server = {
        let (account, mood) = (account.clone(), Rc::clone(&mood));
        let rng = Rc::new(RefCell::new(rng.fork()));
        service_fn(move |request| {
            serve(request, mood.get(), rng.borrow_mut().fork(), account.clone())
        })
    };
    let service = ServiceBuilder::new()
        .layer(limit(TOTAL))
        .layer(BulkheadLayer::new(bulkhead.clone()))
        .layer(RetryLayer::new(rng.u32(..4)).budget(budget()).clock(clock()))
        .layer(HedgeLayer::new(some(&mut rng, 300)).budget(budget()))
        .layer(BreakerLayer::new(breaker.clone()))
        .layer(limit(Duration::from_millis(rng.u64(50..1_000))))
        .service(ReadyGuard::new(server));

    let began = Instant::now();
    let mut callers = Vec::new();
    let (mut next_mood, mut before_calm) = (Duration::ZERO, 0);
    while began.elapsed() < STORM + CALM {
        let now = began.elapsed();
        if now >= STORM {
            if before_calm == 0 {
                before_calm = account.answered.load(SeqCst) + 1;
            }
            mood.set(Mood::Well);
        } else if now >= next_mood {
            let moods = [Mood::Well, Mood::Slow, Mood::Hanging, Mood::Failing, Mood::Broken];
            mood.set(moods[rng.usize(..moods.len())]);
            next_mood = now + some(&mut rng, 10_000);
        }
        let (service, account) = (service.clone(), account.clone());
        callers.push(spawn_local(ask(service, rng.fork(), account)));
        let pause = some(&mut rng, 400);
        sleep(pause).await;
    }
    for caller in callers {
        caller.await.map_err(|error| error.to_string())?;
    }
    let check = |holds: bool, what: String| if holds { Ok(()) } else { Err(what) };
    check(
        breaker.state() == BreakerState::Closed,
        format!("the breaker is {:?}", breaker.state()),
    )?;
    check(bulkhead.under_way() == 0, format!("{} permits are lost", bulkhead.under_way()))?;
    let of = |count: &AtomicUsize| count.load(SeqCst);
    check(of(&account.under_way) == 0, format!("{} calls go on", of(&account.under_way)))?;
    check(of(&account.too_late) == 0, format!("{} calls began too late", of(&account.too_late)))?;
    check(of(&account.overdue) == 0, format!("{} answers came too late", of(&account.overdue)))?;
    let since = of(&account.answered) - (before_calm - 1);
    check(since > 50, format!("only {since} answers since all is well"))?;
    Ok((breaker.opened(), of(&account.calls)))
}

#[test]
fn no_seed_loses_a_permit_begins_too_late_or_leaves_the_breaker_open() {
    let (mut opened, mut calls) = (0, 0);
    for seed in 0..SEEDS {
        let lived = paused(LocalSet::new().run_until(live(seed)));
        let (how_often, how_many) = lived.unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
        (opened, calls) = (opened + how_often, calls + how_many);
    }
    // Otherwise nothing has happened that could have gone wrong.
    assert!(opened > SEEDS && calls > 100_000, "{opened} {calls}");
    // The same life again is the same.
    let again = || paused(LocalSet::new().run_until(live(7))).unwrap();
    assert_eq!(again(), again());
}
