//! The options that the route layer itself reads.
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::{RouteOption, RouteOptions, WithOptions};
use crate::problem::kinds::ADDRESS_NOT_ALLOWED;
use crate::{ClientAddr, Context, Problem};

const READ_BY: &str = "the route layer of the table";

/// How large the body of a request to the route may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxBody(u64);

impl MaxBody {
    /// The limit, in bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl RouteOption for MaxBody {
    const NAME: &'static str = "body limit";
    const READ_BY: &'static str = READ_BY;
    fn describe(&self) -> String {
        format!("body limit: {} B", self.0)
    }
}

/// That requests to the route may take as long as they like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streaming;

impl RouteOption for Streaming {
    const NAME: &'static str = "streaming";
    const READ_BY: &'static str = READ_BY;
}

/// How long a request to the route may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeLimit(Duration);

impl TimeLimit {
    /// The limit.
    pub fn duration(self) -> Duration {
        self.0
    }
}

impl RouteOption for TimeLimit {
    const NAME: &'static str = "time limit";
    const READ_BY: &'static str = READ_BY;
    fn describe(&self) -> String {
        format!("time limit: {:?}", self.0)
    }
}

/// The networks that the route is open to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnlyFrom(Arc<[IpNet]>);

impl OnlyFrom {
    /// The networks.
    pub fn networks(&self) -> &[IpNet] {
        &self.0
    }
    /// Whether a client at this address may call the route.
    pub fn includes(&self, client: ClientAddr) -> bool {
        self.0.iter().any(|network| network.contains(&client.ip()))
    }
}

impl RouteOption for OnlyFrom {
    const NAME: &'static str = "only from";
    const READ_BY: &'static str = READ_BY;
    fn describe(&self) -> String {
        let networks: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        format!("only from: {}", networks.join(" "))
    }
}

/// Lets a route say what the route layer sees to before anybody further in.
///
/// ```
/// use portcullis_core::{RouteExt, Routes};
/// let routes = Routes::builder()
///     .post("/films", "films").require("films:write").body_limit(4 << 30)
///     .get("/events", "events").authenticated().streaming()
///     .get("/admin", "admin").require("admin").only_from(["10.0.0.0/8".parse()?])
///     .build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait RouteExt: WithOptions {
    /// How large the body of a request may be, more or less than the server's own limit for routes that say nothing.
    ///
    /// Whoever reads the body holds it to the limit: `portcullis-server`, and with `portcullis-axum` axum's extractors. A
    /// server that knows nothing of [`BodyLimit`](crate::BodyLimit) does not.
    #[must_use]
    fn body_limit(self, bytes: u64) -> Self {
        self.with_option(MaxBody(bytes))
    }
    /// Requests may take as long as they like: their body may pause, and come slowly. For uploads over slow lines, and for
    /// streams in both directions. Default: the server ends a body that does.
    #[must_use]
    fn streaming(self) -> Self {
        self.with_option(Streaming)
    }
    /// How long a request may take, from its beginning to the head of its answer. It becomes the request's
    /// [`Deadline`](crate::Deadline), which whoever waits for something else spends: the gateway, for one. Default: no limit of the
    /// route's own.
    #[must_use]
    fn time_limit(self, time: Duration) -> Self {
        self.with_option(TimeLimit(time))
    }
    /// Opens the route only to clients in these networks; everybody else, and whoever's address is not known, gets 403
    /// `address-not-allowed` before anybody asks who they are. Default: everybody. Said again, the last word holds.
    ///
    /// # Deployment
    /// The address is the client's as the edge found it out. Behind a proxy that is not named in
    /// [`EdgeLayer::trusted_proxies`](crate::EdgeLayer::trusted_proxies) every client has the proxy's own address, which
    /// therefore does not belong into the list.
    #[must_use]
    fn only_from(self, networks: impl IntoIterator<Item = IpNet>) -> Self {
        self.with_option(OnlyFrom(networks.into_iter().collect()))
    }
}

impl<T: WithOptions> RouteExt for T {}

/// Sees to what the options of a route that was matched ask for.
pub(super) fn apply(options: &RouteOptions, context: &Context) -> Result<(), Problem> {
    if options.is_empty() {
        return Ok(());
    }
    if let Some(only) = options.get::<OnlyFrom>() {
        let client = context.client();
        if !client.is_some_and(|client| only.includes(client)) {
            let client =
                client.map_or("an unknown address".to_owned(), |client| client.to_string());
            let cause = format!("{client} is not in {:?}", only.networks());
            return Err(Problem::new(ADDRESS_NOT_ALLOWED).cause(cause));
        }
    }
    if let Some(limit) = options.get::<MaxBody>() {
        context.body_limit().set(limit.bytes());
    }
    if let Some(limit) = options.get::<TimeLimit>() {
        context.limit_time(limit.duration());
    }
    if options.get::<Streaming>().is_some() {
        context.body_limit().lift_rate();
    }
    Ok(())
}
