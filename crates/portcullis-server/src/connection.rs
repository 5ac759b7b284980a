//! One connection, from its first byte to its last.
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body as HttpBody;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use portcullis_core::{Body, BoxError, Connection};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use tower_service::Service;

use crate::frames::{FrameMeter, Tick};
use crate::front::{Front, Protocol, Shared};
use crate::scratch;
use crate::stats::Ending;
use crate::streams::Streams;
use crate::tls::Names;
use crate::vitals::{Orders, Phase, Vitals, is_blank};
use crate::wire::Wire;

/// What an HTTP/2 client with prior knowledge, or by ALPN, sends first (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How much may be buffered for one HTTP/1.1 connection, in each direction.
const BUFFER: usize = 64 << 10;
/// How much of an HTTP/2 answer waits for its client's window.
const STREAM_BUFFER: usize = 64 << 10;
/// The largest HTTP/2 frame that clients may send: the smallest that can be announced (RFC 9113, section 6.5.2).
const MAX_FRAME: u32 = 16 << 10;
/// How long, and how much, is read and thrown away behind the last answer, so that a reset does not take that answer from the
/// client (RFC 9112, section 9.6).
pub(crate) const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 << 10;

/// A connection that is ready for HTTP.
pub(crate) struct Serving<S> {
    pub(crate) service: S,
    pub(crate) shared: Arc<Shared>,
    pub(crate) connection: Connection,
    pub(crate) names: Option<Names>,
}

/// A service that connections can be served with.
pub(crate) trait Application<B>:
    Service<
        Request<Body>,
        Response = http::Response<B>,
        Error: Into<BoxError>,
        Future: Send + 'static,
    > + Clone
    + Send
    + 'static
{
}

use http::Request;

impl<S, B> Application<B> for S where
    S: Service<
            Request<Body>,
            Response = http::Response<B>,
            Error: Into<BoxError>,
            Future: Send + 'static,
        > + Clone
        + Send
        + 'static
{
}

/// Serves HTTP on `wire` until either side is done.
pub(crate) async fn serve<S, B>(mut wire: Wire, vitals: Arc<Vitals>, serving: Serving<S>)
where
    S: Application<B>,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let first = match opening(&mut wire, &vitals).await {
        Opening::Bytes(bytes) => bytes,
        Opening::Over => return,
    };
    let is_http2 = first.starts_with(PREFACE);
    wire.unread(first);
    let Serving { service, shared, connection, names } = serving;
    let protocol = if is_http2 {
        Protocol::Http2(Streams::new(&shared.limits, shared.stats.clone()))
    } else {
        Protocol::Http1(Arc::clone(&vitals) as Arc<_>)
    };
    let streams = match &protocol {
        Protocol::Http2(streams) => Some(streams.clone()),
        Protocol::Http1(_) => None,
    };
    let connection = connection.with_draining(vitals.draining().clone());
    let front = Front::new(service, Arc::clone(&vitals), connection, names, protocol);
    match streams {
        Some(streams) => http2(wire, &vitals, front, &shared, streams).await,
        None => http1(wire, &vitals, front, &shared).await,
    }
}

enum Opening {
    /// Enough to tell the protocol.
    Bytes(Bytes),
    Over,
}

/// Waits for as much as shows which HTTP it is.
async fn opening(wire: &mut Wire, vitals: &Vitals) -> Opening {
    let mut read = BytesMut::new();
    loop {
        let Some(bytes) = waiting(wire, vitals).await else { return Opening::Over };
        if read.is_empty() && !PREFACE.starts_with(&bytes) {
            return Opening::Bytes(bytes);
        }
        read.extend_from_slice(&bytes);
        if read.len() >= PREFACE.len() || !PREFACE.starts_with(&read) {
            return Opening::Bytes(read.freeze());
        }
    }
}

/// Waits for bytes, holding no buffer. `None` when the connection is over.
async fn waiting(wire: &mut Wire, vitals: &Vitals) -> Option<Bytes> {
    let read = poll_fn(|cx| {
        vitals.wake_with(cx);
        let deadly = Orders::CLOSE_IDLE | Orders::EXPIRED | Orders::KILL;
        let over = vitals.take_orders().is_some_and(|orders| orders.has(deadly));
        // A request that is there already is served before an idle connection closes.
        match scratch::poll_read(wire, cx) {
            Poll::Pending if over => Poll::Ready(Ok(Bytes::new())),
            polled => polled,
        }
    });
    let bytes = read.await.ok()?;
    if bytes.is_empty() {
        // The other side is told, if it still listens; nobody waits for that.
        let close = wire.shutdown();
        drop(timeout(LINGER, close).await);
        return None;
    }
    Some(bytes)
}

/// How serving HTTP/1.1 came to an end, or to a pause.
enum Pause {
    /// Nothing has happened for a while.
    Idle,
    /// The head of a request did not come in time.
    Expired,
    /// Hyper is done.
    Done(Result<(), hyper::Error>),
    /// At once, and without a word.
    Killed,
}

async fn http1<S, B>(mut wire: Wire, vitals: &Arc<Vitals>, mut front: Front<S>, shared: &Shared)
where
    S: Application<B>,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder
        .max_header_size(shared.limits.header_bytes)
        .max_buf_size(BUFFER.max(shared.limits.header_bytes));
    if shared.limits.header_count != 100 {
        // Its default is 100, and a little faster than what it does when told so.
        builder.max_headers(shared.limits.header_count);
    }
    loop {
        vitals.set_parked(false);
        let mut connection =
            Box::new(builder.serve_connection(TokioIo::new(wire), front).with_upgrades());
        let mut known = false;
        let pause = poll_fn(|cx| {
            // A task has one waker for as long as it lives.
            if !std::mem::replace(&mut known, true) {
                vitals.wake_with(cx);
            }
            let orders = vitals.take_orders();
            if orders.is_some_and(|orders| orders.has(Orders::KILL)) {
                return Poll::Ready(Pause::Killed);
            }
            if let Poll::Ready(done) = Pin::new(&mut *connection).poll(cx) {
                return Poll::Ready(Pause::Done(done));
            }
            // Behind the poll: a request that is there already is served before an idle connection closes.
            orders.and_then(|orders| pause(orders, vitals)).map_or(Poll::Pending, Poll::Ready)
        })
        .await;
        // Gone if it was upgraded: the wire is the application's then.
        let Some(parts) = connection.into_parts() else { return };
        wire = parts.io.into_inner();
        front = parts.service;
        match pause {
            Pause::Killed => return,
            Pause::Idle => {
                vitals.set_parked(true);
                // Line ends between two requests mean nothing; put back they would only wake it again.
                let read = Some(parts.read_buf).filter(|read| !is_blank(read));
                wire.unread(read.unwrap_or_default());
                let Some(bytes) = waiting(&mut wire, vitals).await else { return };
                wire.unread(bytes);
            }
            Pause::Expired => {
                shared.stats.ended(Ending::HeaderTime);
                return close(wire, true, vitals).await;
            }
            Pause::Done(_) if vitals.is_broken() => return wire.reset(),
            Pause::Done(result) => {
                let unread = result.is_err_and(|error| error.is_parse()) || vitals.has_unread();
                if unread {
                    close(wire, false, vitals).await;
                }
                return;
            }
        }
    }
}

/// What an order means to an HTTP/1.1 connection in its present state.
fn pause(orders: Orders, vitals: &Vitals) -> Option<Pause> {
    if orders.has(Orders::EXPIRED) && vitals.is_quiet() && vitals.is_overdue() {
        return Some(Pause::Expired);
    }
    let idle = vitals.phase() == Phase::Idle && vitals.is_quiet();
    if idle && orders.has(Orders::CLOSE_IDLE) {
        return Some(Pause::Killed);
    }
    (idle && orders.has(Orders::PARK)).then_some(Pause::Idle)
}

/// Closes so that the client gets what was written last.
async fn close(mut wire: Wire, expired: bool, vitals: &Vitals) {
    if expired {
        wire.time_out();
    }
    let work = async {
        wire.shutdown().await?;
        let mut thrown_away = 0;
        while thrown_away < LINGER_BYTES {
            let bytes = poll_fn(|cx| scratch::poll_read(&mut wire, cx)).await?;
            if bytes.is_empty() {
                break;
            }
            thrown_away += bytes.len();
        }
        io::Result::Ok(())
    };
    vitals.enter(Phase::Exchange);
    drop(timeout(LINGER, work).await);
}

async fn http2<S, B>(
    mut wire: Wire,
    vitals: &Arc<Vitals>,
    front: Front<S>,
    shared: &Shared,
    streams: Streams,
) where
    S: Application<B>,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    wire.meter(FrameMeter::new(MAX_FRAME, Tick(vitals.now())).behind(PREFACE.len()));
    vitals.enter(Phase::Http2);
    let header_bytes = u32::try_from(shared.limits.header_bytes).unwrap_or(u32::MAX);
    let mut builder = http2::Builder::new(streams);
    builder
        .max_concurrent_streams(shared.limits.streams)
        .max_header_list_size(header_bytes)
        .max_frame_size(MAX_FRAME)
        .max_send_buf_size(STREAM_BUFFER);
    let mut connection = Box::pin(builder.serve_connection(TokioIo::new(wire), front));
    let mut finishing = false;
    poll_fn(|cx| {
        vitals.wake_with(cx);
        if let Some(orders) = vitals.take_orders() {
            if orders.has(Orders::KILL) {
                return Poll::Ready(());
            }
            let idle = vitals.idle_for(vitals.now()).is_some();
            let finish = orders.has(Orders::FINISH) || (orders.has(Orders::CLOSE_IDLE) && idle);
            if finish && !std::mem::replace(&mut finishing, true) {
                connection.as_mut().graceful_shutdown();
            }
        }
        connection.as_mut().poll(cx).map(drop)
    })
    .await;
}
