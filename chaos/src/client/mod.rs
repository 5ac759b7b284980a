//! Clients that never retry: whatever goes wrong behind the first byte of a request is a fault, and is counted.
mod ask;
mod fault;
mod http1;
mod keep_alive;
mod multiplexed;
mod response;

pub(crate) use ask::Ask;
pub(crate) use fault::Fault;
pub(crate) use keep_alive::KeepAlive;
pub(crate) use multiplexed::Multiplexed;

use http1::Connection;
use std::net::SocketAddr;

/// One request over a connection of its own, which the client wants closed behind it.
pub(crate) async fn ask_once(to: SocketAddr, ask: &Ask) -> Result<(), Fault> {
    let mut connection = Connection::open(to).await?;
    let response = connection.exchange(&ask.http1(to, true)).await?;
    ask.check(response.status, &response.body)
}
