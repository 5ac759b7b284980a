//! What a client may take: bytes, time, connections.
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Method;

/// What one client may take of the server: bytes, time, connections, streams.
///
/// Every limit has a default that suits a service on the open internet. `None` where a limit can be lifted means none.
///
/// ```
/// use std::time::Duration;
/// use portcullis_server::Limits;
/// let limits = Limits::default().idle_time(Duration::from_secs(15)).connections_per_address(100);
/// ```
#[derive(Clone, Debug)]
pub struct Limits {
    pub(crate) header_bytes: usize,
    pub(crate) header_count: usize,
    pub(crate) target_bytes: usize,
    pub(crate) methods: Vec<Method>,
    pub(crate) also: Also,
    pub(crate) header_time: Duration,
    pub(crate) idle_time: Duration,
    pub(crate) body_bytes: u64,
    pub(crate) body_idle: Duration,
    pub(crate) write_idle: Duration,
    pub(crate) byte_rate: u32,
    pub(crate) connections: Option<usize>,
    pub(crate) per_address: usize,
    pub(crate) handshakes: usize,
    pub(crate) streams: u32,
    pub(crate) linger: Duration,
    pub(crate) drain: Duration,
}

/// Says whether a method is let through.
type Takes = dyn Fn(&Method) -> bool + Send + Sync;

/// Whether methods are let through that nobody has named.
#[derive(Clone)]
pub(crate) struct Also(Option<Arc<Takes>>);

impl Also {
    pub(crate) fn takes(&self, method: &Method) -> bool {
        self.0.as_ref().is_some_and(|takes| takes(method))
    }
}

impl fmt::Debug for Also {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "asked" } else { "none" })
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: 16 << 10,
            header_count: 100,
            target_bytes: 8 << 10,
            methods: Self::METHODS.to_vec(),
            also: Also(None),
            header_time: Duration::from_secs(10),
            idle_time: Duration::from_secs(75),
            body_bytes: portcullis_core::BodyLimit::DEFAULT,
            body_idle: Duration::from_secs(30),
            write_idle: Duration::from_secs(30),
            byte_rate: 240,
            connections: None,
            per_address: 1_024,
            handshakes: 512,
            streams: 100,
            linger: Duration::from_secs(3),
            drain: Duration::from_secs(30),
        }
    }
}

impl Limits {
    /// The methods that are let through where nobody says anything.
    pub const METHODS: [Method; 7] = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::PATCH,
        Method::OPTIONS,
    ];
    /// How many bytes a method may have that has not been [named](Self::method). The longest that is registered, `UPDATEREDIRECTREF`, has 17.
    pub const METHOD_BYTES: usize = 32;

    /// How large the head of a request may be, and the trailers of its body: 431 above it. Default: 16 KiB, as in Caddy and
    /// HAProxy. Below 8 KiB it is 8 KiB.
    #[must_use]
    pub fn header_bytes(self, bytes: usize) -> Self {
        Self { header_bytes: bytes.max(8 << 10), ..self }
    }
    /// How many headers a request may have: 431 above it. Default: 100, as in Envoy and Kestrel.
    #[must_use]
    pub fn header_count(self, count: usize) -> Self {
        Self { header_count: count, ..self }
    }
    /// How long the request target may be: 414 above it. Default: 8 KiB (RFC 9112, section 3, asks for 8,000 bytes at
    /// least).
    #[must_use]
    pub fn target_bytes(self, bytes: usize) -> Self {
        Self { target_bytes: bytes, ..self }
    }
    /// Lets requests with this method through, such as `PROPFIND`. Default: [`METHODS`](Self::METHODS);
    /// every other method is answered 501 (RFC 9110, section 9.1). CONNECT and TRACE are refused with 405 unless they are
    /// named here.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        if !self.methods.contains(&method) {
            self.methods.push(method);
        }
        self
    }
    /// Lets requests with a method through of which this says so, in place of what was asked before; it is asked at each request whose method has not been
    /// [named](Self::method), so what it says may change. It is not asked about CONNECT and TRACE, nor about what is longer than [`METHOD_BYTES`](Self::METHOD_BYTES). `|_| true`
    /// lets any method through. Default: none.
    #[must_use]
    pub fn method_if(self, takes: impl Fn(&Method) -> bool + Send + Sync + 'static) -> Self {
        Self { also: Also(Some(Arc::new(takes))), ..self }
    }
    /// How long a client may take until its first request is there, from the first instant of the connection (the PROXY
    /// header and the TLS handshake included), and until every later request is there, from its first byte. Default: 10 s,
    /// below the 30 s of Kestrel and the 60 s of nginx and Caddy, since a client that is there sends its request at once.
    #[must_use]
    pub fn header_time(self, time: Duration) -> Self {
        Self { header_time: time, ..self }
    }
    /// How long a connection may stay open between two requests. Default: 75 s, as in nginx.
    #[must_use]
    pub fn idle_time(self, time: Duration) -> Self {
        Self { idle_time: time, ..self }
    }
    /// How large a request body may be, unless its route says otherwise. Default: 2 MiB.
    #[must_use]
    pub fn body_bytes(self, bytes: u64) -> Self {
        Self { body_bytes: bytes, ..self }
    }
    /// How long the application may wait in vain for the next byte of a request body. Default: 30 s.
    #[must_use]
    pub fn body_idle(self, time: Duration) -> Self {
        Self { body_idle: time, ..self }
    }
    /// How long a client may take none of an answer that is ready for it. Default: 30 s, half of nginx's.
    #[must_use]
    pub fn write_idle(self, time: Duration) -> Self {
        Self { write_idle: time, ..self }
    }
    /// How many bytes a second a body must make on average, in either direction, whenever the server has waited for the client
    /// for as long as the idle time of that direction; then a new average begins. Time in which the application does not read or write does not
    /// count. 0 is none. Default: 240, as in Kestrel.
    #[must_use]
    pub fn byte_rate(self, bytes_a_second: u32) -> Self {
        Self { byte_rate: bytes_a_second, ..self }
    }
    /// How many connections may be open. Above it the connection that has been idle for longest makes room; where none is
    /// idle, the new one is closed. Default: nine tenths of the file descriptors that the process may open, at most 100,000.
    #[must_use]
    pub fn connections(self, count: usize) -> Self {
        Self { connections: Some(count), ..self }
    }
    /// How many connections one address may have open; an IPv6 address counts by its /64. Peers that are trusted to speak the
    /// PROXY protocol are not counted, the clients that they name are. Default: 1,024.
    #[must_use]
    pub fn connections_per_address(self, count: usize) -> Self {
        Self { per_address: count, ..self }
    }
    /// How many TLS handshakes may be under way. One more ends the oldest of the address that has most of them, so that clients
    /// which say nothing do not keep others waiting. Default: 512.
    #[must_use]
    pub fn handshakes(self, count: usize) -> Self {
        Self { handshakes: count.max(1), ..self }
    }
    /// How many requests one HTTP/2 connection may have open. Default: 100, as Envoy advises and HAProxy and Kestrel have.
    #[must_use]
    pub fn streams(self, count: u32) -> Self {
        Self { streams: count, ..self }
    }
    /// How long a draining server goes on accepting, and answers requests on idle connections with `Connection: close`.
    /// After that it closes what is idle. Default: 3 s; measured, no client then loses a request in a restart.
    #[must_use]
    pub fn linger(self, time: Duration) -> Self {
        Self { linger: time, ..self }
    }
    /// How long a drain may take in all; what still runs then is cut off. Default: 30 s, as in Kestrel.
    #[must_use]
    pub fn drain(self, time: Duration) -> Self {
        Self { drain: time, ..self }
    }

    pub(crate) fn total(&self) -> usize {
        let open_files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let room =
            open_files.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX));
        self.connections.unwrap_or_else(|| (room / 10 * 9).clamp(1, 100_000))
    }
}
