//! The gateway: stale connections, clients that go away, large bodies, back ends that die or hang.
use std::path::Path;

use crate::failure::{Failure, Result};
use crate::report::Report;

mod aborts;
mod down;
mod large;
pub(crate) mod peer;
pub(crate) mod stale;

pub(crate) async fn run(gateway: &Path, server: &Path) -> Result<Report> {
    let mut report = Report::figures();
    let within = |part: &'static str| move |failure| Failure::new(format!("{part}: {failure}"));
    stale::run(gateway, &mut report).await.map_err(within("stale connections"))?;
    aborts::run(gateway, &mut report).await.map_err(within("aborts"))?;
    large::run(gateway, &mut report).await.map_err(within("large bodies"))?;
    down::run(gateway, server, &mut report).await.map_err(within("back ends that fail"))?;
    Ok(report)
}

/// A gateway that passes everything on to these servers.
pub(crate) fn in_front_of(servers: &[String], more: &str) -> String {
    let servers: Vec<_> = servers.iter().map(|server| format!("\"{server}\"")).collect();
    format!(
        "[upstreams.b]\nservers = [{}]\n{more}\n\
         [[routes]]\nmatch = {{ path = \"/{{*rest}}\" }}\naccess = \"public\"\nto = \"b\"\nbody_limit = \"4GiB\"\n",
        servers.join(", ")
    )
}

/// The sum of the values of a metric.
pub(crate) async fn metric(observe: std::net::SocketAddr, name: &str) -> Result<u64> {
    let text = peer::get(observe, "/metrics").await?;
    let values = text.lines().filter(|line| line.starts_with(name) && !line.starts_with('#'));
    let values = values.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    Ok(values.sum())
}
