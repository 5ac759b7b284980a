//! Connections that go on in another protocol, such as WebSocket.
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use portcullis_core::Context;
use tokio::io::copy_bidirectional;

/// Carries bytes both ways until one side is done. Revocation and the end of a drain close the client's side, and with that
/// the server's.
pub(super) fn carry(client: OnUpgrade, server: OnUpgrade, context: &Context) {
    let id = context.request_id().map(|id| id.as_str().to_owned());
    tokio::spawn(async move {
        let (client, server) = match tokio::try_join!(client, server) {
            Ok(both) => both,
            Err(error) => {
                return tracing::debug!(request = id, %error, "the protocol was not changed");
            }
        };
        let (mut client, mut server) = (TokioIo::new(client), TokioIo::new(server));
        match copy_bidirectional(&mut client, &mut server).await {
            Ok((up, down)) => tracing::debug!(request = id, up, down, "a tunnel has ended"),
            Err(error) => tracing::debug!(request = id, %error, "a tunnel broke"),
        }
    });
}
