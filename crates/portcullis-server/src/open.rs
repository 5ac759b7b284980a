//! A server whose sockets are open, and how it is served.
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use portcullis_core::{Body, BoxError, ConfigErrors, Readiness};
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower_service::Service;

use crate::accept::{Door, accept};
use crate::caps::Caps;
use crate::connection::Application;
use crate::control::{Control, Sockets, State};
use crate::drain::{Conductor, Triggers};
use crate::front::Shared;
use crate::handover::{Predecessor, offer};
use crate::listen::{Address, Listening};
use crate::server::addresses;
use crate::side::SideService;

/// A server whose sockets are open: connections queue, and are served from [`serve`](Self::serve) or [`run`](Self::run) on.
#[must_use = "a server does nothing until it is served"]
pub struct OpenServer {
    pub(crate) main: Arc<MainPart>,
    pub(crate) sides: Vec<(Opened, SideService)>,
    pub(crate) side_caps: Arc<Caps>,
    pub(crate) predecessor: Option<Predecessor>,
    pub(crate) handover: Option<PathBuf>,
    pub(crate) readiness: Option<Readiness>,
    pub(crate) workers: Option<NonZeroUsize>,
    pub(crate) signals: bool,
    pub(crate) drain_on: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

/// What every worker has.
pub(crate) struct MainPart {
    /// Until every worker has its own handles: a socket that nobody accepts on must not stay open.
    pub(crate) listeners: RwLock<Vec<Opened>>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) caps: Arc<Caps>,
}

/// One listener.
pub(crate) struct Opened {
    pub(crate) listening: Listening,
    pub(crate) door: Arc<Door>,
}

/// Why a server could not be served.
#[derive(Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Something is wrong with how it is configured.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The machine did not give what is needed.
    #[error("the server cannot run: {0}")]
    Io(#[from] io::Error),
    /// A worker's service could not be made.
    #[error("the service of worker {worker} cannot be made: {error}")]
    Make {
        /// Which worker.
        worker: usize,
        /// Why.
        error: BoxError,
    },
}

/// The same text as [`Display`](fmt::Display): a `main` that returns this error prints it so.
impl fmt::Debug for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One of the workers of [`Server::run`](crate::Server::run).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Worker {
    /// Which one, from 0.
    pub index: usize,
    /// How many there are.
    pub count: usize,
    /// The runtime that all workers share and that ends last: for pools, health checks and whatever else outlives them.
    pub shared: tokio::runtime::Handle,
}

impl OpenServer {
    /// The addresses, in the order in which they were named; those of side listeners come last. Unix sockets have none.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let main = self.main.listeners();
        addresses(main.iter().chain(self.sides.iter().map(|(opened, _)| opened)))
    }

    /// The places as URLs, such as `http://127.0.0.1:8080`, in the order in which they were named.
    pub fn places(&self) -> Vec<String> {
        let place = |opened: &Opened| match (opened.listening.address(), &opened.door.tls) {
            (Address::Tcp(address), Some(_)) => format!("https://{address}"),
            (Address::Tcp(address), None) => format!("http://{address}"),
            (address @ Address::Unix(_), _) => address.to_string(),
        };
        self.main.listeners().iter().map(place).collect()
    }

    /// As [`Server::serve`](crate::Server::serve).
    pub async fn serve<S, B>(mut self, service: S) -> Result<(), ServeError>
    where
        S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let shared = self.shared_part();
        let _tasks = self.main.accept_all(&service, &tokio::runtime::Handle::current())?;
        // Each accept loop has its own.
        drop(service);
        self.main.let_go();
        shared.serve(std::future::ready(())).await?;
        Ok(())
    }

    /// As [`Server::run`](crate::Server::run).
    pub fn run<S, B, E>(
        mut self,
        make: impl Fn(Worker) -> Result<S, E> + Send + Sync,
    ) -> Result<(), ServeError>
    where
        S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
        E: Into<BoxError>,
    {
        let shared = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("portcullis-shared")
            .enable_all()
            .build()?;
        let count = self.workers.map_or_else(std::thread::available_parallelism, Ok)?.get();
        let part = self.shared_part();
        let started = watch::Sender::new(0);
        let failure = Mutex::new(None);
        let lock = || failure.lock().unwrap_or_else(PoisonError::into_inner);
        let served = std::thread::scope(|threads| {
            for index in 0..count {
                let worker = Worker { index, count, shared: shared.handle().clone() };
                let (server, make, started, lock) = (&self.main, &make, &started, &lock);
                let work = move || {
                    if let Err(error) = server.work(worker, make, started) {
                        lock().get_or_insert(error);
                        server.shared.control.advance(State::Killing);
                    }
                };
                let thread = std::thread::Builder::new().name(format!("portcullis-{index}"));
                if let Err(error) = thread.spawn_scoped(threads, work) {
                    lock().get_or_insert(error.into());
                    self.main.shared.control.advance(State::Killing);
                }
            }
            let mut all = started.subscribe();
            let main = Arc::clone(&self.main);
            shared.block_on(part.serve(async move {
                // The sender lives until the workers are done.
                drop(all.wait_for(|started| *started == count).await);
                main.let_go();
            }))
        });
        let failure = lock().take();
        failure.map_or(Ok(()), Err)?;
        Ok(served?)
    }

    /// What there is once, however many workers there are.
    fn shared_part(&mut self) -> SharedPart {
        SharedPart {
            shared: Arc::clone(&self.main.shared),
            caps: Arc::clone(&self.main.caps),
            side_caps: Arc::clone(&self.side_caps),
            main: self.main.listeners().iter().map(|opened| opened.listening.share()).collect(),
            sides: std::mem::take(&mut self.sides),
            predecessor: self.predecessor.take(),
            handover: self.handover.take(),
            readiness: self.readiness.clone(),
            triggers: Triggers { signals: self.signals, other: self.drain_on.take() },
        }
    }
}

impl MainPart {
    fn listeners(&self) -> RwLockReadGuard<'_, Vec<Opened>> {
        self.listeners.read().unwrap_or_else(PoisonError::into_inner)
    }
    /// The workers have what they need.
    fn let_go(&self) {
        self.listeners.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// What one worker does, from its service to the end of the server.
    fn work<S, B, E>(
        &self,
        worker: Worker,
        make: &(impl Fn(Worker) -> Result<S, E> + Sync),
        started: &watch::Sender<usize>,
    ) -> Result<(), ServeError>
    where
        S: Application<B>,
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
        E: Into<BoxError>,
    {
        let (index, sweeper) = (worker.index, worker.shared.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let failed = |error| ServeError::Make { worker: index, error };
            let service = catch_unwind(AssertUnwindSafe(|| make(worker)))
                .map_err(|_| failed("it panicked".into()))?
                .map_err(|error| failed(error.into()))?;
            let _tasks = self.accept_all(&service, &sweeper)?;
            drop(service);
            started.send_modify(|started| *started += 1);
            self.shared.control.reached(State::Done).await;
            Ok(())
        })
    }

    /// Accepts on every listener of the application, on the runtime that this is called on.
    fn accept_all<S, B>(
        &self,
        service: &S,
        sweeper: &tokio::runtime::Handle,
    ) -> io::Result<JoinSet<()>>
    where
        S: Application<B>,
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let registry = self.caps.registry(&self.shared.limits);
        let control = &self.shared.control;
        let mut tasks = JoinSet::new();
        // A timer costs each turn of its runtime two looks at the clock, so the workers have none.
        tasks.spawn_on(Arc::clone(&registry).sweep(Arc::clone(control)), sweeper);
        for opened in &*self.listeners() {
            let accepting = opened.listening.accepting()?;
            let (door, registry) = (Arc::clone(&opened.door), Arc::clone(&registry));
            let (service, control) = (service.clone(), Arc::clone(control));
            let counted = control.accepts();
            tasks.spawn(async move {
                tokio::select! {
                    () = control.begins() => {}
                    () = control.reached(State::Closing) => {}
                }
                accept(accepting, door, registry, service).await;
                drop(counted);
            });
        }
        Ok(tasks)
    }
}

impl fmt::Debug for OpenServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenServer").field("addresses", &self.addresses()).finish_non_exhaustive()
    }
}

/// Side listeners, hand-over, and the drain from its beginning to its end.
struct SharedPart {
    shared: Arc<Shared>,
    caps: Arc<Caps>,
    side_caps: Arc<Caps>,
    main: io::Result<Vec<Listening>>,
    sides: Vec<(Opened, SideService)>,
    predecessor: Option<Predecessor>,
    handover: Option<PathBuf>,
    readiness: Option<Readiness>,
    triggers: Triggers,
}

impl SharedPart {
    /// Runs until the server has drained. `started` completes when there is a service to call.
    async fn serve(mut self, started: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        let control = Arc::clone(&self.shared.control);
        let mut sockets = self.main?;
        let registry = self.side_caps.registry(&self.shared.limits);
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&registry).sweep(Arc::clone(&control)));
        for (opened, service) in self.sides.drain(..) {
            sockets.push(opened.listening.share()?);
            let accepting = opened.listening.accepting()?;
            let (registry, control) = (Arc::clone(&registry), Arc::clone(&control));
            tasks.spawn(async move {
                if opened.listening.origin.is_shared() {
                    // The process before this one answers there: that this one is not ready is no news of theirs.
                    tokio::select! {
                        () = control.begins() => {}
                        () = control.reached(opened.door.until) => {}
                    }
                }
                accept(accepting, opened.door, registry, service).await;
            });
        }
        let files: Vec<_> = sockets.iter().filter_map(Listening::file).collect();
        let beginning = Beginning {
            control: Arc::clone(&control),
            readiness: self.readiness.clone(),
            predecessor: self.predecessor,
            handover: self.handover,
            sockets,
        };
        tasks.spawn(async move {
            started.await;
            beginning.begin().await;
        });
        let conductor = Conductor {
            control: Arc::clone(&control),
            caps: self.caps,
            sides: self.side_caps,
            limits: self.shared.limits.clone(),
            readiness: self.readiness,
            stats: self.shared.stats.clone(),
        };
        conductor.conduct(self.triggers).await;
        // Until they have let go of what is theirs.
        tasks.shutdown().await;
        let sockets = control.sockets();
        for (file, is_shared) in files {
            let is_ours = match sockets {
                Sockets::Ours => true,
                Sockets::Borrowed => !is_shared,
                Sockets::Promised | Sockets::HandedOver => false,
            };
            if is_ours {
                drop(std::fs::remove_file(file));
            }
        }
        Ok(())
    }
}

/// The first steps, once there is a service.
struct Beginning {
    control: Arc<Control>,
    readiness: Option<Readiness>,
    predecessor: Option<Predecessor>,
    handover: Option<PathBuf>,
    sockets: Vec<Listening>,
}

impl Beginning {
    async fn begin(self) {
        if let (Some(_), Some(readiness)) = (&self.predecessor, &self.readiness) {
            // As long as the process before this one answers, nobody is served by one that cannot yet.
            while !readiness.is_ready() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        self.control.begin();
        if let Some(predecessor) = self.predecessor {
            match tokio::task::spawn_blocking(|| predecessor.release()).await {
                Ok(Ok(())) => self.control.set_sockets(Sockets::Ours),
                Ok(Err(error)) => {
                    tracing::warn!(error = %error, "the process before this one may still accept connections");
                }
                Err(_) => {}
            }
        }
        if let Some(path) = self.handover {
            offer(path, self.sockets, self.control).await;
        }
    }
}
