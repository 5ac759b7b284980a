//! More than a back end can do, for a minute; and one tenant that wants more than its share (R7).
use std::path::Path;
use std::time::Duration;

use crate::failure::{Failure, Result};
use crate::report::Report;
use crate::server::{Launch, Server};

pub(crate) mod backend;
mod flood;
mod offer;
mod tenants;

use offer::Offer;

/// What the back end does at once, and how long each takes: 500 a second, a little less with the precision of its timers.
const AT_ONCE: u32 = 10;
const MILLIS: u32 = 20;
/// How many connections an offer has at most.
const CONNECTIONS: usize = 1_000;

pub(crate) async fn run(gateway: &Path) -> Result<Report> {
    let mut report = Report::figures();
    let within = |part: &'static str| move |failure| Failure::new(format!("{part}: {failure}"));
    flood::run(gateway, &mut report).await.map_err(within("ten times as much"))?;
    tenants::run(gateway, &mut report).await.map_err(within("tenants"))?;
    Ok(report)
}

/// A back end, and a gateway in front of it.
struct Stage {
    backend: Server,
    front: Server,
}

impl Stage {
    /// `overload` is how the gateway sheds, and `more` what else its file says. The routes are `/`, and `/health` where `has_health`.
    async fn open(gateway: &Path, name: &str, overload: &str, access: &str) -> Result<Self> {
        let backend = Launch::limited(AT_ONCE, MILLIS)?.start().await?;
        let critical = if overload.is_empty() { "" } else { "priority = \"critical\"\n" };
        let text = format!(
            "{overload}[upstreams.b]\nservers = [\"http://{}\"]\nretries = 0\n\
             [[routes]]\nmatch = {{ path = \"/\" }}\n{access}to = \"b\"\n\
             [[routes]]\nmatch = {{ path = \"/health\" }}\naccess = \"public\"\n{critical}to = \"b\"\n",
            backend.address()
        );
        let front = Launch::gateway(gateway, name, &text)?.start().await?;
        Ok(Self { backend, front })
    }
    /// So many requests a second to the route that sheds, or to another.
    fn offer(&self, path: &'static str, rate: u32) -> Offer {
        let (to, more) = (self.front.address(), String::new());
        Offer { to, path, more, rate, connections: CONNECTIONS }
    }
    async fn close(self) -> Result {
        self.front.kill().await?;
        self.backend.kill().await
    }
}

/// How many requests a second the back end answers behind a gateway that sheds nothing, when it always has something to do and nobody waits for long.
async fn capacity(gateway: &Path) -> Result<f64> {
    let stage = Stage::open(gateway, "capacity", "", "access = \"public\"\n").await?;
    let offer = stage.offer("/", 0);
    let clients = AT_ONCE as usize + 6;
    offer.saturate(clients, Duration::from_secs(1)).await;
    let capacity = offer.saturate(clients, Duration::from_secs(4)).await;
    stage.close().await?;
    if capacity < 100.0 {
        return Err(Failure::new(format!("the back end answers {capacity:.0} requests a second")));
    }
    Ok(capacity)
}

/// A part of the capacity, as a rate.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "some thousands a second"
)]
fn part(capacity: f64, times: f64) -> u32 {
    (capacity * times).round() as u32
}
