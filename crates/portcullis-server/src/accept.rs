//! The accept loop of one listener on one runtime.
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body as HttpBody;
use ipnet::IpNet;
use portcullis_core::{BoxError, Connection, TrustedProxies};

use crate::caps::{Admitted, Caps, TooMany};
use crate::connection::{Application, Serving, serve};
use crate::control::State;
use crate::front::Shared;
use crate::greeting::{Greeted, GreetingError, connection, handshake, proxy_header};
use crate::handshakes::Handshakes;
use crate::listen::Accepting;
use crate::redress::Redress;
use crate::registry::{Enrolled, Registry};
use crate::rewind::Rewind;
use crate::stats::Ending;
use crate::stream::{Socket, Stream};
use crate::tls::Tls;
use crate::vitals::{Orders, Vitals};
use crate::wire::Wire;

/// How a listener treats connections. Shared by all workers.
pub(crate) struct Door {
    pub(crate) shared: Arc<Shared>,
    pub(crate) local: Option<SocketAddr>,
    pub(crate) tls: Option<Tls>,
    /// Who must begin with a PROXY header.
    pub(crate) proxies: TrustedProxies,
    pub(crate) rules: AddressRules,
    pub(crate) caps: Arc<Caps>,
    pub(crate) handshakes: Arc<Handshakes>,
    /// When it stops accepting.
    pub(crate) until: State,
}

/// Which addresses may connect.
#[derive(Clone, Debug, Default)]
pub(crate) struct AddressRules {
    pub(crate) allow: Vec<IpNet>,
    pub(crate) deny: Vec<IpNet>,
}

impl AddressRules {
    fn lets_in(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let listed = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&address));
        !listed(&self.deny) && (self.allow.is_empty() || listed(&self.allow))
    }
}

/// The shortest and the longest pause after accepting failed.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Accepts connections and serves them, until the server takes no more.
pub(crate) async fn accept<S, B>(
    accepting: Accepting,
    door: Arc<Door>,
    registry: Arc<Registry>,
    service: S,
) where
    S: Application<B>,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let control = Arc::clone(&door.shared.control);
    let mut stop = pin!(control.stops_accepting(door.until));
    let mut pause = PAUSES.0;
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = accepting.accept() => accepted,
        };
        match accepted {
            Ok((socket, peer)) => {
                pause = PAUSES.0;
                welcome(socket, peer, &door, &registry, &service);
            }
            // The client went away while it waited.
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                // Out of file descriptors or memory: trying again at once would only burn the processor.
                door.shared.stats.ended(Ending::AcceptFailed);
                tracing::error!(error = %error, "cannot accept connections; trying again in {pause:?}");
                door.caps.shed_idle();
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSES.1);
            }
        }
    }
    if control.has_handed_over() {
        // What is in the queue belongs to the other process.
        return;
    }
    // Closing the socket would reset what is still in its queue.
    while let Ok(socket) = accepting.queued() {
        let peer = socket.peer();
        welcome(socket, peer, &door, &registry, &service);
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Gives a new connection its task, if there is room.
fn welcome<S, B>(
    socket: Socket,
    peer: Option<SocketAddr>,
    door: &Arc<Door>,
    registry: &Arc<Registry>,
    service: &S,
) where
    S: Application<B>,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let mut admitted = match door.caps.admit() {
        Ok(admitted) => admitted,
        Err(_) => match door.caps.admit_in_place() {
            Some(admitted) => admitted,
            None => return door.shared.stats.ended(Ending::TooMany),
        },
    };
    let through_proxy = peer.is_some_and(|peer| door.proxies.trusts(peer.ip()));
    if !through_proxy && !door.admits(peer, &mut admitted) {
        return;
    }
    let enrolled = registry.enrol(&door.shared);
    let newcomer = Newcomer { socket, peer, through_proxy, admitted, enrolled };
    drop(tokio::spawn(newcomer.serve(Arc::clone(door), service.clone())));
}

impl Door {
    /// Whether this client may connect, by its address and by how many connections it has.
    fn admits(&self, client: Option<SocketAddr>, admitted: &mut Admitted) -> bool {
        let Some(client) = client else { return true };
        let ending = if !self.rules.lets_in(client.ip()) {
            Ending::AddressRefused
        } else if admitted.of(client.ip()) == Err(TooMany::OfAddress) {
            Ending::TooManyOfAddress
        } else {
            return true;
        };
        self.shared.stats.ended(ending);
        tracing::debug!(peer = %client, ?ending, "refused a connection");
        false
    }
}

/// A connection that has just been accepted.
struct Newcomer {
    socket: Socket,
    peer: Option<SocketAddr>,
    through_proxy: bool,
    admitted: Admitted,
    enrolled: Enrolled,
}

impl Newcomer {
    async fn serve<S, B>(self, door: Arc<Door>, service: S)
    where
        S: Application<B>,
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let Self { socket, peer, through_proxy, mut admitted, enrolled } = self;
        let vitals = Arc::clone(enrolled.vitals());
        let greeted = if through_proxy || door.tls.is_some() {
            // A box for what not every connection needs: every task is as large as its largest state.
            let greeting =
                Box::pin(greet(socket, peer, through_proxy, &door, &mut admitted, &vitals));
            match unless_over(&vitals, greeting).await {
                Some(Ok(Some(greeted))) => greeted,
                Some(Ok(None)) | None => return,
                Some(Err(error)) => return door.failed(peer, &error),
            }
        } else {
            (plain(socket, connection(peer, door.local)), Bytes::new())
        };
        let (Greeted { stream, connection, names }, unread) = greeted;
        let redress = Redress::new(connection.clone(), door.shared.stats.clone());
        let mut wire = Wire::new(stream, enrolled, admitted, redress);
        wire.unread(unread);
        let serving = Serving { service, shared: Arc::clone(&door.shared), connection, names };
        serve(wire, vitals, serving).await;
    }
}

fn plain(socket: Socket, connection: Connection) -> Greeted {
    Greeted { stream: Stream::Clear(socket), connection, names: None }
}

/// Reads the PROXY header and shakes hands, where that is asked for. `None` when the client may not connect.
async fn greet(
    socket: Socket,
    peer: Option<SocketAddr>,
    through_proxy: bool,
    door: &Door,
    admitted: &mut Admitted,
    vitals: &Arc<Vitals>,
) -> Result<Option<(Greeted, Bytes)>, GreetingError> {
    let mut socket = Rewind::new(socket);
    let (mut client, mut local) = (peer, door.local);
    if through_proxy {
        let header = proxy_header(&mut socket).await?;
        // A proxy that speaks for itself, as for its health checks, is the client.
        client = header.source.or(peer);
        local = header.destination.or(local);
        let counted = header.source.is_none() || door.admits(header.source, admitted);
        if !counted {
            return Ok(None);
        }
    }
    let connection = connection(client, local);
    if let Some(tls) = &door.tls {
        let greeted = handshake(socket, tls, connection, &door.handshakes, vitals).await?;
        return Ok(Some((greeted, Bytes::new())));
    }
    let (socket, unread) = socket.into_parts();
    Ok(Some((plain(socket, connection), unread)))
}

impl Door {
    fn failed(&self, peer: Option<SocketAddr>, error: &GreetingError) {
        if let Some(ending) = error.ending() {
            self.shared.stats.ended(ending);
        }
        let peer = peer.map(tracing::field::display);
        tracing::debug!(peer, error = %error, "a connection ended before its first request");
    }
}

/// `work`, unless the connection is told to end before.
async fn unless_over<F: Future + Unpin>(vitals: &Vitals, mut work: F) -> Option<F::Output> {
    poll_fn(|cx| {
        vitals.wake_with(cx);
        let orders = vitals.take_orders();
        let told = |order| orders.is_some_and(|orders| orders.has(order));
        if told(Orders::EXPIRED) {
            vitals.shared().stats.ended(Ending::HeaderTime);
        }
        if told(Orders::CLOSE_IDLE | Orders::EXPIRED | Orders::KILL) {
            return Poll::Ready(None);
        }
        std::pin::Pin::new(&mut work).poll(cx).map(Some)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deny_wins_and_an_allow_list_shuts_everybody_else_out() {
        let rules = AddressRules {
            allow: vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()],
            deny: vec!["10.9.0.0/16".parse().unwrap()],
        };
        for (address, want) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("10.9.2.3", false),
            ("127.0.0.1", false),
            ("::1", true),
        ] {
            assert_eq!(rules.lets_in(address.parse().unwrap()), want, "{address}");
        }
        assert!(AddressRules::default().lets_in("192.0.2.1".parse().unwrap()));
    }
}
