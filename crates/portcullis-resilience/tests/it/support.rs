//! A server on tokio's paused time, and a clock that shows it.
use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use http::{Request, Response};
use portcullis_core::{Body, Clock, Time};
use portcullis_testkit::ReadyGuard;
use tower::util::BoxCloneSyncService;
use tower::{Service, service_fn};

/// Tokio's time, which goes on by itself while nobody works.
#[derive(Debug)]
struct Paused;

impl Time for Paused {
    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }
}

pub(crate) fn clock() -> Clock {
    Clock::new(Paused)
}

/// Runs on time that is paused, and the same each time.
pub(crate) fn paused<F: Future>(work: F) -> F::Output {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap().block_on(work)
}

/// What the server does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Act {
    pub(crate) after: Duration,
    pub(crate) how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Status(u16),
    /// 503, with `Retry-After` in seconds.
    Later(u64),
    Error,
}

pub(crate) fn act(after: u64, how: How) -> Act {
    Act { after: Duration::from_millis(after), how }
}

/// What a server has seen.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    calls: Arc<Mutex<Vec<(Duration, String)>>>,
    under_way: Arc<AtomicUsize>,
}

impl Seen {
    /// When each call came, since the beginning, and what its body was.
    pub(crate) fn calls(&self) -> Vec<(Duration, String)> {
        self.calls.lock().unwrap().clone()
    }
    pub(crate) fn times(&self) -> Vec<u128> {
        self.calls().iter().map(|(at, _)| at.as_millis()).collect()
    }
    /// How many calls are neither answered nor dropped.
    pub(crate) fn under_way(&self) -> usize {
        self.under_way.load(SeqCst)
    }
}

/// Counts down when a call is over, however it ends.
struct UnderWay(Arc<AtomicUsize>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

pub(crate) type Server = ReadyGuard<BoxCloneSyncService<Request<Body>, Response<Body>, io::Error>>;

/// A server that does the first of these with its first call, and so on, and the last of them with all that follow.
pub(crate) fn server(acts: Vec<Act>) -> (Server, Seen) {
    let seen = Seen::default();
    let (record, began) = (seen.clone(), tokio::time::Instant::now());
    let service = service_fn(move |request: Request<Body>| {
        let (acts, record) = (acts.clone(), record.clone());
        async move {
            let now = began.elapsed();
            record.under_way.fetch_add(1, SeqCst);
            let _under_way = UnderWay(Arc::clone(&record.under_way));
            let number = {
                let mut calls = record.calls.lock().unwrap();
                calls.push((now, String::new()));
                calls.len() - 1
            };
            let body = portcullis_testkit::collect(request.into_body()).await;
            let body = body.map_err(io::Error::other)?.0;
            record.calls.lock().unwrap()[number].1 = String::from_utf8_lossy(&body).into_owned();
            let act = acts.get(number).or(acts.last()).copied().unwrap();
            tokio::time::sleep(act.after).await;
            answer(act.how, number)
        }
    });
    (ReadyGuard::new(BoxCloneSyncService::new(service)), seen)
}

fn answer(how: How, number: usize) -> io::Result<Response<Body>> {
    let response = Response::builder().header("x-number", number);
    match how {
        How::Status(status) => Ok(response.status(status).body(Body::empty()).unwrap()),
        How::Later(seconds) => {
            let response = response.status(503).header("retry-after", seconds);
            Ok(response.body(Body::empty()).unwrap())
        }
        How::Error => Err(io::Error::other("it broke")),
    }
}

/// Calls a service once it is ready.
pub(crate) async fn call<S: Service<Request<Body>>>(
    service: &mut S,
    request: Request<Body>,
) -> Result<S::Response, S::Error> {
    std::future::poll_fn(|cx| service.poll_ready(cx)).await?;
    service.call(request).await
}

/// What came of a call: the status, or none for an error.
pub(crate) fn status<E>(result: &Result<Response<Body>, E>) -> Option<u16> {
    result.as_ref().ok().map(|response| response.status().as_u16())
}
