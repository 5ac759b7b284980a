//! Connections that go on in another protocol, such as WebSocket.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use portcullis_core::Context;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::time::timeout;

/// How much is carried at a time.
const PIECE: usize = 16 << 10;

/// Carries bytes both ways until both sides are done. Once one of them is, the other has `idle` for each further piece. Revocation and
/// the end of a drain close the client's side, and with that the server's. `held` is held meanwhile.
pub(super) fn carry(
    client: OnUpgrade,
    server: OnUpgrade,
    context: &Context,
    idle: Duration,
    held: impl Send + 'static,
) {
    let id = context.request_id().map(|id| id.as_str().to_owned());
    tokio::spawn(async move {
        let (client, server) = match tokio::try_join!(client, server) {
            Ok(both) => both,
            Err(error) => {
                return tracing::debug!(request = id, %error, "the protocol was not changed");
            }
        };
        let (from_client, to_client) = split(TokioIo::new(client));
        let (from_server, to_server) = split(TokioIo::new(server));
        let moved = Arc::new(AtomicU64::new(0));
        let mut up = std::pin::pin!(one_way(from_client, to_server, &moved));
        let mut down = std::pin::pin!(one_way(from_server, to_client, &moved));
        tokio::select! {
            () = &mut up => rest(down, &moved, idle).await,
            () = &mut down => rest(up, &moved, idle).await,
        }
        tracing::debug!(request = id, bytes = moved.load(Relaxed), "a tunnel has ended");
        drop(held);
    });
}

/// Goes on with the other direction as long as something moves.
async fn rest(mut other: impl Future<Output = ()> + Unpin, moved: &AtomicU64, idle: Duration) {
    loop {
        let before = moved.load(Relaxed);
        if timeout(idle, &mut other).await.is_ok() || moved.load(Relaxed) == before {
            return;
        }
    }
}

/// Carries bytes until the end, and passes that on.
async fn one_way(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    moved: &AtomicU64,
) {
    let mut piece = vec![0; PIECE];
    loop {
        let count = match from.read(&mut piece).await {
            Ok(count) if count > 0 => count,
            _ => break,
        };
        if to.write_all(piece.get(..count).unwrap_or_default()).await.is_err() {
            return;
        }
        moved.fetch_add(count as u64, Relaxed);
    }
    drop(to.shutdown().await);
}
