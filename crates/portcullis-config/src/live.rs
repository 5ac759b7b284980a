//! A gateway that changes with its file while it runs.
use std::collections::HashSet;
use std::convert::Infallible;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context as Cx, Poll};
use std::time::Duration;

use http::{Method, Request, Response};
use portcullis_core::{Body, ConfigErrors, MetricSource, Route};
use portcullis_gateway::{Upstream, UpstreamStats};
use portcullis_server::{Server, Tls};
use tower_service::Service;

use crate::Gateway;
use crate::diff::{Changes, diff, fixed};
use crate::methods::TakenMethods;
use crate::purge;
use crate::source::FileErrors;

/// How long new upstreams may take until they are known.
const PATIENCE: Duration = Duration::from_secs(5);

/// A gateway that changes with its file while it runs.
///
/// A [reload](Self::reload) reads the file again and builds everything anew, and then every [`Root`] goes over to it between two
/// requests: each request is routed, authorized and forwarded by one and the same file. What has not changed goes on: upstreams with their
/// connections, breakers and health, the counts of limits, metrics, and whatever is under way. Where anything is wrong nothing changes.
///
/// What is under way for an API key ends when the file no longer has the key, or gives it other rights.
pub struct Live<S> {
    build: fn(&Gateway) -> Result<S, FileErrors>,
    current: Arc<Current>,
    roots: Mutex<Vec<Weak<Mutex<S>>>>,
    one_at_a_time: tokio::sync::Mutex<()>,
    worker: OnceLock<Sender<Work>>,
    tls: OnceLock<Tls>,
}

/// What a thread of its own does: files to read and thousands of routes to build are no work for a runtime's threads, and what one
/// thread takes and gives back leaves no holes in the memory of others.
type Work = Box<dyn FnOnce() + Send>;

/// What runs, and how it came to that.
struct Current {
    /// Apart, for they are asked about by requests that nobody has looked at yet.
    methods: Mutex<Arc<TakenMethods>>,
    gateway: Mutex<Arc<Gateway>>,
    applied: AtomicU64,
    refused: AtomicU64,
    last_was_refused: AtomicBool,
}

/// Whether a reload may widen access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Widening {
    /// Only if the file says so (`widened_access` of `[server]`).
    Refuse,
    /// It is known and wanted.
    Acknowledged,
}

/// Why a reload changed nothing.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReloadError {
    /// What is wrong with the file, or cannot change while it runs.
    File(FileErrors),
    /// What somebody could do that they could not do before.
    Widens(Vec<String>),
    /// A new upstream has no server that is known.
    NotReady(String),
    /// What is wrong with the certificates.
    Certificates(ConfigErrors),
    /// It was stopped half-way.
    Stopped,
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(errors) => errors.fmt(f),
            Self::Widens(widened) => {
                writeln!(f, "it widens access:")?;
                for line in widened {
                    writeln!(f, "    {line}")?;
                }
                f.write_str("    hint: if that is wanted, `POST /reload-and-widen` at `admin`, or `widened_access = \"allow\"` in `[server]`")
            }
            Self::NotReady(name) => {
                write!(f, "upstream `{name}`: no server of it was known within {PATIENCE:?}")
            }
            Self::Certificates(errors) => errors.fmt(f),
            Self::Stopped => f.write_str("it was stopped half-way"),
        }
    }
}

impl std::error::Error for ReloadError {}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whatever panicked under it left something whole: a stack, a list, a pointer.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Current {
    fn gateway(&self) -> Arc<Gateway> {
        Arc::clone(&lock(&self.gateway))
    }
}

impl MetricSource for Current {
    fn write(&self, out: &mut String) {
        use fmt::Write;
        let gateway = self.gateway();
        UpstreamStats::new(gateway.upstreams().cloned()).write(out);
        gateway.shadow().into_iter().for_each(|shadow| shadow.write(out));
        gateway.limit_layers().stats().into_iter().for_each(|stats| stats.write(out));
        gateway.overload_layers().stats().into_iter().for_each(|stats| stats.write(out));
        gateway.cache().into_iter().for_each(|cache| cache.write(out));
        let (applied, refused) = (self.applied.load(Relaxed), self.refused.load(Relaxed));
        let well = u8::from(!self.last_was_refused.load(Relaxed));
        // Writing to a string never fails.
        _ = write!(
            out,
            "# HELP portcullis_config_reloads_total How often the file was read again, by what came of it.\n\
             # TYPE portcullis_config_reloads_total counter\n\
             portcullis_config_reloads_total{{outcome=\"applied\"}} {applied}\n\
             portcullis_config_reloads_total{{outcome=\"refused\"}} {refused}\n\
             # HELP portcullis_config_last_reload_successful Whether what runs is what the file last said.\n\
             # TYPE portcullis_config_last_reload_successful gauge\n\
             portcullis_config_last_reload_successful {well}\n"
        );
    }
}

impl<S: Send + 'static> Live<S> {
    pub(crate) fn new(gateway: Gateway, build: fn(&Gateway) -> Result<S, FileErrors>) -> Self {
        let current = Current {
            methods: Mutex::new(Arc::clone(gateway.methods())),
            gateway: Mutex::new(Arc::new(gateway)),
            applied: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            last_was_refused: AtomicBool::new(false),
        };
        Self {
            build,
            current: Arc::new(current),
            roots: Mutex::default(),
            one_at_a_time: tokio::sync::Mutex::default(),
            worker: OnceLock::new(),
            tls: OnceLock::new(),
        }
    }
    /// The gateway as it is now.
    pub fn gateway(&self) -> Arc<Gateway> {
        self.current.gateway()
    }
    /// A service of one worker's own, which goes over to a new gateway when there is one.
    ///
    /// # Errors
    /// As [`Gateway::service`].
    pub fn service(&self) -> Result<Root<S>, FileErrors> {
        let mut roots = lock(&self.roots);
        let root = Arc::new(Mutex::new((self.build)(&self.gateway())?));
        roots.retain(|root| root.strong_count() > 0);
        roots.push(Arc::downgrade(&root));
        Ok(Root(root))
    }
    /// The server that the file describes, with `POST /reload`, `POST /reload-and-widen` and `POST /purge` at its `admin`. Nothing is opened.
    ///
    /// # Errors
    /// As [`Gateway::server`].
    pub fn server(self: &Arc<Self>) -> Result<Server, ConfigErrors> {
        let by_command = |widening| {
            let live = Arc::downgrade(self);
            move || {
                let live = live.clone();
                async move {
                    let live = live.upgrade().ok_or(ReloadError::Stopped)?;
                    Ok(live.reload(widening).await?.to_string())
                }
            }
        };
        let live = Arc::downgrade(self);
        let purges = move |body: bytes::Bytes| {
            let purge = purge::read(&body)?;
            let live = live.clone();
            Ok(async move {
                let live = live.upgrade().ok_or(ReloadError::Stopped)?;
                if live.gateway().purge(purge).await? {
                    return Ok("purged\n".to_owned());
                }
                Err("nothing is cached: no route says `cache`".into())
            })
        };
        let current = Arc::clone(&self.current);
        let takes = move |method: &Method| lock(&current.methods).contains(method);
        let current = Arc::clone(&self.current);
        let stats = move |out: &mut String| current.write(out);
        let (server, tls) = self.gateway().server_with(stats, takes, |admin| {
            admin
                .command("reload", by_command(Widening::Refuse))
                .command("reload-and-widen", by_command(Widening::Acknowledged))
                .command_with_body("purge", purges)
        })?;
        if let Some(tls) = tls {
            drop(self.tls.set(tls));
        }
        Ok(server)
    }

    /// Reads the file again, and goes over to what it says. Certificates are read again too. Call it on the runtime that
    /// [`Gateway::start`] was given, where new upstreams begin.
    ///
    /// # Errors
    /// Why nothing has changed. The log says it too.
    ///
    /// # Cancellation
    /// It goes on to its end.
    pub async fn reload(self: &Arc<Self>, widening: Widening) -> Result<Changes, ReloadError> {
        let live = Arc::clone(self);
        // As a task of its own: one that nobody waits for any longer must not go on beside the next.
        let reloading = tokio::spawn(async move { live.reload_to_the_end(widening).await });
        reloading.await.map_err(|_| ReloadError::Stopped)?
    }

    async fn reload_to_the_end(
        self: &Arc<Self>,
        widening: Widening,
    ) -> Result<Changes, ReloadError> {
        let _one = self.one_at_a_time.lock().await;
        let outcome = self.try_reload(widening).await;
        self.current.last_was_refused.store(outcome.is_err(), Relaxed);
        match &outcome {
            Ok(changes) => {
                self.current.applied.fetch_add(1, Relaxed);
                tracing::info!(changes = changes.len(), "the file was read again and applies");
            }
            Err(error) => {
                self.current.refused.fetch_add(1, Relaxed);
                tracing::error!("the file was read again and changes nothing: {error}");
            }
        }
        outcome
    }

    async fn try_reload(self: &Arc<Self>, widening: Widening) -> Result<Changes, ReloadError> {
        let before = self.gateway();
        let known = Arc::clone(&before);
        let read = self.aside(move || {
            let after = Gateway::read_after(known.source().path(), Some(&known))?;
            fixed(&known, &after)?;
            let changes = diff(&known, &after);
            Ok((after, changes))
        });
        let (after, changes) = read.await?.map_err(ReloadError::File)?;
        let may_widen = widening == Widening::Acknowledged || after.settings().may_widen;
        if !may_widen && !changes.widened().is_empty() {
            return Err(ReloadError::Widens(changes.widened().to_vec()));
        }
        let runtime = tokio::runtime::Handle::current();
        let mut until = std::pin::pin!(tokio::time::sleep(PATIENCE));
        for upstream in after.upstreams() {
            upstream.start(&runtime);
        }
        after.start_issuers(&runtime);
        after.start_roles(&runtime);
        after.cache().into_iter().for_each(|cache| cache.start(&runtime));
        for upstream in after.upstreams().filter(|upstream| !before.has(upstream)) {
            tokio::select! {
                () = upstream.ready() => {}
                () = until.as_mut() => {
                    return Err(ReloadError::NotReady(upstream.name().to_owned()));
                }
            }
        }
        let live = Arc::clone(self);
        let known = Arc::clone(&before);
        self.aside(move || live.apply(&known, after)).await??;
        // Large, and nobody waits for its end.
        drop(self.aside(move || drop(before)));
        Ok(changes)
    }

    /// Has the thread of its own do something. Dropping the future does not stop that.
    fn aside<T, W>(&self, work: W) -> impl Future<Output = Result<T, ReloadError>> + use<S, T, W>
    where
        T: Send + 'static,
        W: FnOnce() -> T + Send + 'static,
    {
        let (done, told) = tokio::sync::oneshot::channel();
        let worker = self.worker.get_or_init(|| {
            let (sender, work) = std::sync::mpsc::channel::<Work>();
            let thread = std::thread::Builder::new().name("reload".to_owned());
            // Where there is no thread, nobody hears of the work, which is told as being stopped.
            drop(thread.spawn(move || {
                for work in work {
                    // A panic ends this work, and not the next.
                    drop(catch_unwind(AssertUnwindSafe(work)));
                }
            }));
            sender
        });
        drop(worker.send(Box::new(move || drop(done.send(work())))));
        async { told.await.map_err(|_| ReloadError::Stopped) }
    }

    /// From here on nothing can be wrong but what is told before anything changes.
    fn apply(&self, before: &Gateway, after: Gateway) -> Result<(), ReloadError> {
        let mut roots = lock(&self.roots);
        roots.retain(|root| root.strong_count() > 0);
        let built: Result<Vec<_>, _> = roots.iter().map(|_| (self.build)(&after)).collect();
        let built = built.map_err(ReloadError::File)?;
        if let Some(tls) = self.tls.get() {
            tls.reload().map_err(ReloadError::Certificates)?;
        }
        let after = Arc::new(after);
        let roots = roots.iter().filter_map(Weak::upgrade);
        let gone: Vec<_> =
            roots.zip(built).map(|(root, new)| std::mem::replace(&mut *lock(&root), new)).collect();
        let mut methods = lock(&self.current.methods);
        *methods = Arc::new(after.methods().continuing(&methods));
        drop(methods);
        *lock(&self.current.gateway) = Arc::clone(&after);
        // Large, and out of everybody's way.
        drop(gone);
        before.keys().revoke_missing(after.keys());
        let routes: Vec<_> = after.table().routes().collect();
        let kept: HashSet<_> = routes.iter().map(Route::template).collect();
        after.metrics().retain(|template| kept.contains(template));
        Ok(())
    }
}

impl Gateway {
    fn has(&self, upstream: &Upstream) -> bool {
        self.upstreams().any(|known| known.is(upstream))
    }
}

impl<S> fmt::Debug for Live<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = self.current.gateway();
        f.debug_struct("Live").field("path", &source.source().path()).finish_non_exhaustive()
    }
}

/// The outermost service of a gateway that can change. Clones change together; give each worker its own
/// ([`Live::service`]), since a request holds it while it is begun.
#[derive(Debug)]
pub struct Root<S>(Arc<Mutex<S>>);

impl<S> Clone for Root<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S> Service<Request<Body>> for Root<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), Infallible>> {
        lock(&self.0).poll_ready(cx)
    }
    fn call(&mut self, request: Request<Body>) -> S::Future {
        lock(&self.0).call(request)
    }
}
