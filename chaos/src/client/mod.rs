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
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

/// A client that asks one thing after the other.
pub(crate) trait Client: Send + 'static {
    fn ask(&mut self, ask: &Ask) -> impl Future<Output = Result<(), Fault>> + Send;
}

impl Client for KeepAlive {
    async fn ask(&mut self, ask: &Ask) -> Result<(), Fault> {
        Self::ask(self, ask).await
    }
}

impl Client for Multiplexed {
    async fn ask(&mut self, ask: &Ask) -> Result<(), Fault> {
        Self::ask(self, ask).await
    }
}

/// When a client asks next: what came late is not made up for.
pub(crate) fn paced(every: Duration) -> Interval {
    let mut pace = interval(every);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace
}

/// One request over a connection of its own, which the client wants closed behind it.
pub(crate) async fn ask_once(to: SocketAddr, ask: &Ask) -> Result<(), Fault> {
    let mut connection = Connection::open(to).await?;
    let response = connection.exchange(&ask.http1(to, true)).await?;
    ask.check(response.status, &response.body)
}
