//! Active health: servers are asked whether they are well.
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HOST, TE, USER_AGENT};
use http::{HeaderValue, Method, Request, Version};
use http_body::Body as HttpBody;
use portcullis_core::{Body, BoxError};
use tokio::time::{sleep, timeout};

use crate::connect::{Connector, Sender};
use crate::server::Server;
use crate::upstream::Inner;

/// How much of an answer to a check is read.
const MAX_ANSWER: usize = 64 << 10;

/// How servers are asked whether they are well. Each is asked once, however many routes lead to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    pub(crate) kind: Kind,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) fall: u32,
    pub(crate) rise: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Http { path: Arc<str>, host: Option<HeaderValue> },
    Tcp,
    Grpc { service: Arc<str> },
}

impl HealthCheck {
    fn new(kind: Kind) -> Self {
        let second = Duration::from_secs(1);
        Self { kind, interval: 2 * second, timeout: second, fall: 3, rise: 2 }
    }
    /// By `GET` of this path; every 2xx is well.
    pub fn http(path: impl Into<Arc<str>>) -> Self {
        Self::new(Kind::Http { path: path.into(), host: None })
    }
    /// By opening a connection, with TLS where the server speaks it.
    pub fn tcp() -> Self {
        Self::new(Kind::Tcp)
    }
    /// By `grpc.health.v1.Health/Check` of this service; the empty name is the server as a whole.
    pub fn grpc(service: impl Into<Arc<str>>) -> Self {
        Self::new(Kind::Grpc { service: service.into() })
    }
    /// The `Host` that a check by HTTP names. Default: the server's own.
    #[must_use]
    pub fn host(mut self, name: HeaderValue) -> Self {
        if let Kind::Http { host, .. } = &mut self.kind {
            *host = Some(name);
        }
        self
    }
    /// How often. Default: 2 s.
    #[must_use]
    pub fn interval(self, interval: Duration) -> Self {
        Self { interval, ..self }
    }
    /// How long an answer may take. Default: 1 s.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }
    /// After how many failures in a row a server is not well. Default: 3. The very first check decides by itself.
    #[must_use]
    pub fn fall(self, fall: u32) -> Self {
        Self { fall: fall.max(1), ..self }
    }
    /// After how many successes in a row it is well again. Default: 2.
    #[must_use]
    pub fn rise(self, rise: u32) -> Self {
        Self { rise: rise.max(1), ..self }
    }
}

/// What the checks of one server have shown.
#[derive(Debug)]
pub(crate) struct Probed {
    well: AtomicBool,
    asked: AtomicBool,
    /// How often in a row the checks have said otherwise.
    contrary: AtomicU32,
}

impl Default for Probed {
    fn default() -> Self {
        Self {
            well: AtomicBool::new(true),
            asked: AtomicBool::new(false),
            contrary: AtomicU32::new(0),
        }
    }
}

impl Probed {
    /// Whether it is well. Before the first check it is believed to be.
    pub(crate) fn is_well(&self) -> bool {
        self.well.load(Relaxed)
    }
    /// Whether it has been asked at least once.
    pub(crate) fn is_known(&self) -> bool {
        self.asked.load(Relaxed)
    }
    /// A check has shown that. Answers what it is from now on, if that has changed.
    pub(crate) fn shown(&self, well: bool, check: &HealthCheck) -> Option<bool> {
        let first = !self.asked.swap(true, Relaxed);
        if well == self.is_well() {
            self.contrary.store(0, Relaxed);
            return None;
        }
        let enough = if first {
            1
        } else if well {
            check.rise
        } else {
            check.fall
        };
        if self.contrary.fetch_add(1, Relaxed) + 1 < enough {
            return None;
        }
        self.contrary.store(0, Relaxed);
        self.well.store(well, Relaxed);
        Some(well)
    }
}

/// Asks a server again and again, until it is on the list no more.
pub(crate) async fn watch(
    upstream: Weak<Inner>,
    server: Arc<Server>,
    check: HealthCheck,
    connector: Connector,
) {
    loop {
        let outcome = match timeout(check.timeout, ask(&server, &check, &connector)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!("no answer within {:?}", check.timeout).into()),
        };
        let Some(upstream) = upstream.upgrade().filter(|_| !server.is_gone()) else { return };
        let changed = server.probed.shown(outcome.is_ok(), &check);
        let is_reached = outcome.is_ok() && server.probed.is_well() && server.ejection.reached();
        match (changed.or(is_reached.then_some(true)), outcome) {
            (Some(true), _) => {
                server.load.begins(upstream.now());
                tracing::info!(upstream = %upstream.name, server = %server.origin, "the server is well");
            }
            (Some(false), Err(error)) => {
                server.pool.close_idle();
                tracing::warn!(upstream = %upstream.name, server = %server.origin, %error, "the server is not well");
            }
            _ => {}
        }
        drop(upstream);
        // Not all at the same moment.
        sleep(check.interval.mul_f64(0.9 + 0.2 * fastrand::f64())).await;
    }
}

async fn ask(server: &Server, check: &HealthCheck, connector: &Connector) -> Result<(), BoxError> {
    let sender = connector.open(&server.origin, ()).await?;
    let (method, path, body) = match &check.kind {
        Kind::Tcp => return Ok(()),
        Kind::Http { path, .. } => (Method::GET, &**path, Body::empty()),
        Kind::Grpc { service } => {
            (Method::POST, "/grpc.health.v1.Health/Check", Body::from(check_request(service)))
        }
    };
    let own = server.origin.host_header();
    let host = match &check.kind {
        Kind::Http { host: Some(host), .. } => host.clone(),
        _ => own,
    };
    let mut request = Request::new(body);
    *request.method_mut() = method;
    let headers = request.headers_mut();
    headers.insert(
        USER_AGENT,
        HeaderValue::from_static(concat!("portcullis/", env!("CARGO_PKG_VERSION"))),
    );
    if let Kind::Grpc { .. } = check.kind {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    let response = match sender {
        Sender::Http1(mut sender) => {
            *request.uri_mut() = path.parse()?;
            request.headers_mut().insert(HOST, host);
            sender.send_request(request).await?
        }
        Sender::Http2(mut sender) => {
            *request.uri_mut() = format!("http://{}{path}", host.to_str()?).parse()?;
            *request.version_mut() = Version::HTTP_2;
            sender.send_request(request).await?
        }
    };
    if !response.status().is_success() {
        return Err(format!("it answered {}", response.status()).into());
    }
    let Kind::Grpc { .. } = check.kind else { return Ok(()) };
    let status = |headers: &http::HeaderMap| headers.get("grpc-status").cloned();
    let in_head = status(response.headers());
    let (bytes, trailers) = read(response.into_body()).await?;
    let status = in_head.or_else(|| trailers.as_ref().and_then(status));
    match status {
        Some(status) if status != "0" => {
            Err(format!("it answered with grpc-status {status:?}").into())
        }
        _ if is_serving(&bytes) => Ok(()),
        _ => Err("it is not serving".into()),
    }
}

async fn read(
    mut body: hyper::body::Incoming,
) -> Result<(Bytes, Option<http::HeaderMap>), BoxError> {
    let (mut bytes, mut trailers) = (BytesMut::new(), None);
    while let Some(frame) =
        std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await
    {
        match frame?.into_data() {
            Ok(data) if bytes.len() + data.len() <= MAX_ANSWER => bytes.extend_from_slice(&data),
            Ok(_) => return Err("its answer is too large".into()),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Ok((bytes.freeze(), trailers))
}

/// `HealthCheckRequest { string service = 1; }`, as one message of gRPC.
fn check_request(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(0x0a);
        let mut len = service.len();
        while len >= 0x80 {
            message.put_u8(u8::try_from(len & 0x7f).unwrap_or_default() | 0x80);
            len >>= 7;
        }
        message.put_u8(u8::try_from(len).unwrap_or_default());
        message.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::with_capacity(message.len() + 5);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(&message);
    framed.freeze()
}

/// `HealthCheckResponse { ServingStatus status = 1; }` with `SERVING = 1`.
fn is_serving(bytes: &[u8]) -> bool {
    bytes.get(5..) == Some(&[0x08, 0x01])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_several_checks_to_change_an_opinion_but_one_to_have_the_first() {
        let check = HealthCheck::tcp().fall(3).rise(2);
        for (shown, want) in [
            (&[true, false, false][..], true),
            (&[true, false, false, true, false, false], true),
            (&[true, false, false, false], false),
            (&[false], false),
            (&[false, true], false),
            (&[false, true, false, true], false),
            (&[false, true, true], true),
        ] {
            let probed = Probed::default();
            assert!(!probed.is_known() && probed.is_well());
            for well in shown {
                probed.shown(*well, &check);
            }
            assert!(probed.is_known());
            assert_eq!(probed.is_well(), want, "{shown:?}");
        }
    }

    #[test]
    fn the_messages_of_grpc_health_are_as_they_should_be() {
        assert_eq!(check_request("").as_ref(), [0, 0, 0, 0, 0]);
        assert_eq!(check_request("ab").as_ref(), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert!(is_serving(&[0, 0, 0, 0, 2, 8, 1]));
        for not in [&[][..], &[0, 0, 0, 0, 0], &[0, 0, 0, 0, 2, 8, 2]] {
            assert!(!is_serving(not));
        }
    }
}
