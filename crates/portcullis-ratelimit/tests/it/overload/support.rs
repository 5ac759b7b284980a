//! What the tests share: a service that answers when it is told, and a simulated server on fake time.
use std::cell::RefCell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use portcullis_core::{Body, Clock, Context};
use portcullis_testkit::{AsUser, FakeTime, get, read};
use tokio::sync::Semaphore;
use tower::{Service, ServiceExt, service_fn, util::BoxCloneSyncService};

pub(crate) type Boxed = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;
pub(crate) type Call = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// Answers when it is told, and keeps account of who was served in which order.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    open: Arc<Semaphore>,
    served: Arc<Mutex<Vec<String>>>,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self { open: Arc::new(Semaphore::new(0)), served: Arc::default() }
    }
    /// Lets one call be answered.
    pub(crate) fn answer_one(&self) {
        self.open.add_permits(1);
    }
    /// Whose calls began, in their order.
    pub(crate) fn served(&self) -> Vec<String> {
        self.served.lock().unwrap().clone()
    }
    pub(crate) fn service(&self) -> Boxed {
        let gate = self.clone();
        BoxCloneSyncService::new(service_fn(move |mut request: Request<Body>| {
            let gate = gate.clone();
            let context = Context::of(&mut request);
            let who = context.identity().map_or("nobody", |identity| identity.subject()).to_owned();
            gate.served.lock().unwrap().push(who);
            async move {
                gate.open.acquire().await.unwrap().forget();
                Ok(Response::new(Body::empty()))
            }
        }))
    }
}

/// A request of somebody, or of nobody.
pub(crate) fn request_of(user: Option<AsUser>, clock: &Clock) -> Request<Body> {
    let request = get("/").clock(clock.clone());
    match user {
        Some(user) => request.as_user(user).build(),
        None => request.build(),
    }
}

/// Begins a call.
pub(crate) async fn call<S>(service: &S, request: Request<Body>) -> Call
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
    S::Future: Send + 'static,
{
    let mut service = service.clone();
    Box::pin(service.ready().await.unwrap().call(request))
}

/// Polls once; `Some` is the status of the answer.
pub(crate) async fn poll_once(call: &mut Call) -> Option<StatusCode> {
    poll_fn(|cx| {
        Poll::Ready(match call.as_mut().poll(cx) {
            Poll::Ready(answer) => Some(answer.unwrap().status()),
            Poll::Pending => None,
        })
    })
    .await
}

/// What became of the requests of one simulated client.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) sent: usize,
    /// Answered with 200 within the time that the client has.
    pub(crate) good: usize,
    pub(crate) shed: usize,
    /// How long the slowest shed answer took, in milliseconds.
    pub(crate) slowest_shed: u128,
}

impl Outcome {
    pub(crate) fn success(&self) -> f64 {
        f64::from(u32::try_from(self.good).unwrap()) / f64::from(u32::try_from(self.sent).unwrap())
    }
}

/// How long clients wait for an answer.
const PATIENCE: Duration = Duration::from_millis(200);

/// A server with so many workers, each of which needs so long for a request; what it has no worker for waits inside.
pub(crate) fn server(workers: usize, takes: Arc<AtomicUsize>) -> Boxed {
    let workers = Arc::new(Semaphore::new(workers));
    BoxCloneSyncService::new(service_fn(move |_: Request<Body>| {
        let (workers, takes) = (Arc::clone(&workers), Arc::clone(&takes));
        async move {
            let _worker = workers.acquire().await.unwrap();
            let takes = takes.load(Ordering::Relaxed).try_into().unwrap();
            tokio::time::sleep(Duration::from_millis(takes)).await;
            Ok(Response::new(Body::empty()))
        }
    }))
}

/// Sends for `millis` milliseconds what `arrivals` says for each of them, by client, and then waits until all is answered.
pub(crate) async fn simulate(
    time: &FakeTime,
    service: &Boxed,
    millis: u64,
    clients: usize,
    mut arrivals: impl FnMut(u64) -> Vec<(usize, Request<Body>)>,
) -> Vec<Outcome> {
    let outcomes = Rc::new(RefCell::new(vec![Outcome::default(); clients]));
    let tasks = tokio::task::LocalSet::new();
    let sending = async {
        let mut under_way = Vec::new();
        for at in 0..millis {
            for (client, request) in arrivals(at) {
                let (mut service, outcomes) = (service.clone(), Rc::clone(&outcomes));
                let time = time.clone();
                outcomes.borrow_mut()[client].sent += 1;
                under_way.push(tokio::task::spawn_local(async move {
                    let began = time.passed();
                    let response = service.ready().await.unwrap().call(request).await.unwrap();
                    let (ok, took) =
                        (response.status() == 200, time.passed().saturating_sub(began));
                    read(response).await;
                    let outcome = &mut outcomes.borrow_mut()[client];
                    outcome.good += usize::from(ok && took <= PATIENCE);
                    outcome.shed += usize::from(!ok);
                    if !ok {
                        outcome.slowest_shed = outcome.slowest_shed.max(took.as_millis());
                    }
                }));
            }
            tokio::task::yield_now().await;
            tick(time).await;
        }
        while under_way.iter().any(|task| !task.is_finished()) {
            tick(time).await;
        }
        for task in under_way {
            task.await.unwrap();
        }
    };
    tasks.run_until(sending).await;
    Rc::try_unwrap(outcomes).unwrap().into_inner()
}

/// Lets a millisecond pass.
async fn tick(time: &FakeTime) {
    time.advance_with_tokio(Duration::from_millis(1)).await;
    // What was woken wakes others: a worker that is free, somebody who waits.
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
}

/// Chance that is the same in each run.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }
    /// How many arrive in a step of which each of ten parts brings one with this chance in a thousand.
    pub(crate) fn arrivals(&mut self, permille: u64) -> usize {
        (0..10).filter(|_| self.roll() % 1_000 < permille).count()
    }
    fn roll(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}
