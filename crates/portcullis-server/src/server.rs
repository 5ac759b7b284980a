//! The server as it is configured.
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, RwLock};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use ipnet::IpNet;
use portcullis_core::{Body, BoxError, ConfigError, ConfigErrors, Readiness, TrustedProxies};
use tower_service::Service;

use crate::accept::{AddressRules, Door};
use crate::admin::Admin;
use crate::caps::Caps;
use crate::control::{Control, Sockets, State};
use crate::front::Shared;
use crate::handover::{self, MAX_SOCKETS, Predecessor};
use crate::handshakes::Handshakes;
use crate::limits::Limits;
use crate::listen::{Address, At, Inherited, Listen, Listening, is_socket};
use crate::open::{MainPart, OpenServer, Opened};
use crate::side::SideService;
use crate::stats::Stats;
use crate::tls::Tls;
use crate::{ServeError, Worker};

/// An HTTP server: HTTP/1.1 and HTTP/2 on the same port, with limits on everything that a client can do.
///
/// ```no_run
/// # use portcullis_core::{Body, Problem};
/// # async fn f<S>(app: S) -> Result<(), portcullis_server::ServeError>
/// # where S: tower_service::Service<http::Request<Body>, Response = http::Response<Body>, Error = std::convert::Infallible, Future: Send>
/// #     + Clone + Send + Sync + 'static {
/// use portcullis_server::Server;
/// Server::bind("127.0.0.1:8080").drain_on_signals().serve(app).await
/// # }
/// ```
#[must_use = "a server does nothing until it is served"]
pub struct Server {
    listens: Vec<Listen>,
    sides: Vec<Side>,
    pub(crate) limits: Limits,
    tls: Option<Tls>,
    proxies: TrustedProxies,
    rules: AddressRules,
    handover: Option<PathBuf>,
    readiness: Option<Readiness>,
    workers: Option<NonZeroUsize>,
    stats: Stats,
    control: Arc<Control>,
    signals: bool,
    drain_on: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Server {
    /// A server that listens here; [`listen`](Self::listen) adds more places. Whether the text means a place shows when the
    /// server is opened.
    pub fn bind(listen: impl Into<Listen>) -> Self {
        Self {
            listens: vec![listen.into()],
            sides: Vec::new(),
            limits: Limits::default(),
            tls: None,
            proxies: TrustedProxies::default(),
            rules: AddressRules::default(),
            handover: None,
            readiness: None,
            workers: None,
            stats: Stats::default(),
            control: Arc::new(Control::new()),
            signals: false,
            drain_on: None,
        }
    }
    /// Listens here too.
    pub fn listen(mut self, listen: impl Into<Listen>) -> Self {
        self.listens.push(listen.into());
        self
    }
    /// What clients may take. Default: [`Limits::default`].
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }
    /// TLS of the places that begin with `https`. Default: none, and such a place is an error.
    pub fn tls(self, tls: Tls) -> Self {
        Self { tls: Some(tls), ..self }
    }
    /// Connections from these peers must begin with a PROXY header (version 1 or 2), and have the addresses in it. Default:
    /// nobody's do, and a PROXY header is an invalid request.
    pub fn proxy_protocol(self, peers: TrustedProxies) -> Self {
        Self { proxies: peers, ..self }
    }
    /// Lets only these networks connect. Default: everybody.
    pub fn allow(mut self, networks: impl IntoIterator<Item = IpNet>) -> Self {
        self.rules.allow.extend(networks);
        self
    }
    /// Does not let these networks connect, whatever is allowed. Default: nobody is shut out.
    pub fn deny(mut self, networks: impl IntoIterator<Item = IpNet>) -> Self {
        self.rules.deny.extend(networks);
        self
    }
    /// Serves `service` at a place of its own, for operators: health, metrics, administration. Its connections
    /// are not counted among the others, and it answers until the server is gone, so that a drain can be watched. Default: none.
    pub fn side<S, B>(mut self, listen: impl Into<Listen>, service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        self.sides.push(Side {
            listen: listen.into(),
            service: SideService::new(service),
            admin: None,
        });
        self
    }
    /// Serves [`Admin`] at a place of its own: a Unix socket that its owner alone may connect to, or an address, where it needs a
    /// token and a host. Default: none.
    pub fn admin(mut self, listen: impl Into<Listen>, admin: Admin) -> Self {
        let service = SideService::new(admin.clone());
        self.sides.push(Side { listen: listen.into(), service, admin: Some(admin) });
        self
    }
    /// Takes the listening sockets over from a process that offers them at this Unix socket, and offers them there to the next
    /// one. Default: sockets are opened anew.
    ///
    /// # Deployment
    /// The file belongs to the user of the process. Start the next process while this one runs: this one drains by itself as
    /// soon as the next one is ready. Until then the next one answers nowhere that this one does, its listeners for operators
    /// included, and changes nothing if it fails.
    pub fn handover(self, path: impl Into<PathBuf>) -> Self {
        Self { handover: Some(path.into()), ..self }
    }
    /// Turned off when the server drains, unless another process goes on in its place; and a process that takes sockets over waits
    /// for it before it accepts. Default: none.
    pub fn readiness(self, readiness: Readiness) -> Self {
        Self { readiness: Some(readiness), ..self }
    }
    /// How many workers [`run`](Self::run) has. Default: one for each processor.
    pub fn workers(self, workers: NonZeroUsize) -> Self {
        Self { workers: Some(workers), ..self }
    }
    /// Drains on SIGTERM, and on SIGINT without lingering; closes at once on a second signal. Default: signals do what they did.
    pub fn drain_on_signals(self) -> Self {
        Self { signals: true, ..self }
    }
    /// Drains when `signal` completes. Default: only when a [`Handle`] says so.
    pub fn drain_on(self, signal: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { drain_on: Some(Box::pin(signal)), ..self }
    }
    /// What the server counts.
    pub fn stats(&self) -> Stats {
        self.stats.clone()
    }
    /// A way to end the server from elsewhere.
    pub fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.control))
    }

    /// Opens the listening sockets, so that their addresses are known before anything is served.
    ///
    /// # Errors
    /// Everything that is wrong, at once: places that are none, places that cannot be opened, `https` without TLS.
    pub fn open(mut self) -> Result<OpenServer, ConfigErrors> {
        let mut errors = ConfigErrors::default();
        let mut inherited = Inherited::from_service_manager();
        let predecessor = self.take_over(&mut inherited, &mut errors);
        let caps = Caps::new(self.limits.total(), self.limits.per_address, self.stats.clone());
        // Who has a look at a full server must not be shut out by it.
        let side_caps = Caps::new(SIDE_CONNECTIONS, SIDE_CONNECTIONS, self.stats.clone());
        let shared = Arc::new(Shared {
            limits: self.limits.clone(),
            control: Arc::clone(&self.control),
            stats: self.stats.clone(),
        });
        let mut opening = Opening { inherited, opened: Vec::new() };
        let handshakes = Handshakes::new(self.limits.handshakes, self.stats.clone());
        let mut main = Vec::new();
        for listen in &self.listens {
            let opened = opening.open(listen, self.tls.as_ref(), false);
            let Some((listening, tls)) = errors.keep(opened) else { continue };
            let door = Door {
                shared: Arc::clone(&shared),
                local: listening.tcp_address(),
                tls,
                proxies: self.proxies.clone(),
                rules: self.rules.clone(),
                caps: Arc::clone(&caps),
                handshakes: Arc::clone(&handshakes),
                until: State::Closing,
            };
            main.push(Opened { listening, door: Arc::new(door) });
        }
        let mut sides = Vec::new();
        for side in self.sides.drain(..) {
            let opened = opening.open(&side.listen, None, side.admin.is_some());
            let Some((listening, _)) = errors.keep(opened) else { continue };
            if let Some(admin) = &side.admin {
                let faults = admin.faults(listening.tcp_address().is_some());
                errors.extend(faults.map(|fault| side.listen.error(&fault)));
            }
            let door = Door {
                shared: Arc::clone(&shared),
                local: listening.tcp_address(),
                tls: None,
                proxies: TrustedProxies::default(),
                rules: AddressRules::default(),
                caps: Arc::clone(&side_caps),
                handshakes: Arc::clone(&handshakes),
                until: State::Killing,
            };
            sides.push((Opened { listening, door: Arc::new(door) }, side.service));
        }
        if main.len() + sides.len() > MAX_SOCKETS {
            errors.push(ConfigError::new(
                "server",
                format!("it has more than {MAX_SOCKETS} listeners"),
            ));
        }
        errors.or(())?;
        for address in opening.inherited.left() {
            tracing::warn!(%address, "no listener asks for a socket that was passed on: it closes");
        }
        if predecessor.is_some() {
            self.control.set_sockets(Sockets::Borrowed);
        }
        let listeners = RwLock::new(main);
        Ok(OpenServer {
            main: Arc::new(MainPart { listeners, shared, caps }),
            sides,
            side_caps,
            predecessor,
            handover: self.handover,
            readiness: self.readiness,
            workers: self.workers,
            signals: self.signals,
            drain_on: self.drain_on,
        })
    }

    fn take_over(
        &self,
        inherited: &mut Inherited,
        errors: &mut ConfigErrors,
    ) -> Option<Predecessor> {
        let path = self.handover.as_ref()?;
        handover::take(path, inherited).unwrap_or_else(|error| {
            let message = format!("the sockets cannot be taken over: {error}");
            errors.push(ConfigError::new(format!("handover `{}`", path.display()), message));
            None
        })
    }

    /// Serves `service` on the runtime that this is called on, until the server has drained.
    ///
    /// # Errors
    /// As [`open`](Self::open), and where the runtime cannot take the sockets.
    ///
    /// # Cancellation
    /// Dropping the future stops accepting; connections that are open are served until they end by themselves.
    pub async fn serve<S, B>(self, service: S) -> Result<(), ServeError>
    where
        S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        self.open()?.serve(service).await
    }

    /// Serves on one single-threaded runtime for each processor, with a service of its own from `make` for each of them, until
    /// the server has drained. Blocks the thread; not to be called on a runtime. What `make` makes is one worker's: whatever
    /// all of them must share, as a quota in memory, is made before and cloned.
    ///
    /// # Errors
    /// As [`open`](Self::open); the first error of `make`, which ends the server.
    pub fn run<S, B, E>(
        self,
        make: impl Fn(Worker) -> Result<S, E> + Send + Sync,
    ) -> Result<(), ServeError>
    where
        S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
        E: Into<BoxError>,
    {
        self.open()?.run(make)
    }
}

/// Opens one listener after the other.
struct Opening {
    inherited: Inherited,
    /// What has been opened already.
    opened: Vec<Address>,
}

impl Opening {
    fn open(
        &mut self,
        listen: &Listen,
        tls: Option<&Tls>,
        private: bool,
    ) -> Result<(Listening, Option<Tls>), ConfigError> {
        let place = listen.parse()?;
        let tls = match (place.tls, tls) {
            (false, _) => None,
            (true, Some(tls)) => Some(tls.clone()),
            (true, None) => {
                return Err(listen.error(
                    "https needs a certificate: give the server `.tls(..)`, or say `http`",
                ));
            }
        };
        let listening = Listening::open(&place.at, &mut self.inherited, private)
            .map_err(|error| listen.error(&self.explain(&place.at, &error)))?;
        self.opened.push(listening.address().clone());
        Ok((listening, tls))
    }

    fn explain(&self, at: &At, error: &io::Error) -> String {
        let has_ours = self.opened.iter().any(|opened| match (opened, at) {
            (Address::Tcp(address), At::Tcp(wanted)) => wanted.contains(address),
            (Address::Unix(path), At::Unix(wanted)) => path == wanted,
            _ => false,
        });
        let hint = match (error.kind(), at) {
            (io::ErrorKind::AddrInUse, _) if has_ours => "another listener of this server is there",
            (io::ErrorKind::AddrInUse, At::Unix(path)) if !is_socket(path) => {
                "there is a file that is no socket"
            }
            (io::ErrorKind::AddrInUse, _) => "another program listens there",
            (io::ErrorKind::AddrNotAvailable, _) => "this machine does not have that address",
            (io::ErrorKind::NotFound, At::Unix(_)) => "its folder does not exist",
            (io::ErrorKind::PermissionDenied, At::Unix(_)) => {
                "this user may not create a file there"
            }
            (io::ErrorKind::PermissionDenied, At::Tcp(_)) => "ports below 1024 need privileges",
            _ => return format!("cannot listen: {error}"),
        };
        format!("cannot listen: {hint} ({error})")
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("listens", &self.listens)
            .field("limits", &self.limits)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

/// How many connections the listeners for operators may have.
const SIDE_CONNECTIONS: usize = 256;

/// A listener beside the application's.
struct Side {
    listen: Listen,
    service: SideService,
    /// The service, where it is one that needs a guard: its Unix socket is then its owner's alone.
    admin: Option<Admin>,
}

/// Ends a server from elsewhere. Cheap to clone.
#[derive(Clone)]
pub struct Handle(Arc<Control>);

impl Handle {
    /// Drains: answers say goodbye, what runs may finish.
    pub fn drain(&self) {
        self.0.advance(State::Lingering);
    }
    /// Closes everything at once.
    pub fn close(&self) {
        self.0.advance(State::Killing);
    }
    pub(crate) fn state_name(&self) -> &'static str {
        self.0.state().name()
    }
    /// Whether the server drains, or is gone.
    pub fn is_draining(&self) -> bool {
        self.0.is_leaving()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handle").field(&self.0.state()).finish()
    }
}

/// The addresses that a server listens on, in the order in which they were named; those of its side listeners come last.
/// Unix sockets have none.
pub(crate) fn addresses<'a>(all: impl Iterator<Item = &'a Opened>) -> Vec<SocketAddr> {
    all.filter_map(|opened| opened.listening.tcp_address()).collect()
}
