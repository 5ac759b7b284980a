//! One of three back ends is killed, another hangs.
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::peer::get;
use super::{in_front_of, metric};
use crate::failure::{Failure, Result};
use crate::numbers::{count, millis};
use crate::report::Report;
use crate::server::Launch;

const CLIENTS: usize = 8;
/// How soon a back end that failed gets nothing more.
const OFF: Duration = Duration::from_secs(1);
const HEALTH: &str = "health = { path = \"/\", interval = \"200ms\", timeout = \"200ms\", fall = 2, rise = 1 }\ntimeout = \"2s\"";

pub(super) async fn run(gateway: &Path, server: &Path, report: &mut Report) -> Result {
    let launches = [Launch::new(server)?, Launch::new(server)?, Launch::new(server)?];
    let mut backends = Vec::new();
    for launch in &launches {
        backends.push(launch.start().await?);
    }
    let servers: Vec<_> =
        backends.iter().map(|backend| format!("http://{}", backend.address())).collect();
    let front = Launch::gateway(gateway, "down", &in_front_of(&servers, HEALTH))?.start().await?;
    let (to, observe) = (front.address(), front.observed_at()?);
    all_well(observe, 3).await?;

    let killed = backends.pop().ok_or_else(|| Failure::new("no back end"))?;
    let asking = ask(to);
    sleep(Duration::from_millis(300)).await;
    killed.kill().await?;
    let since = Instant::now();
    all_well(observe, 2).await?;
    let off = since.elapsed();
    report.gate("a killed back end is off after", millis(off), "at most 1 s", off <= OFF);
    sleep(Duration::from_secs(1)).await;
    let (asked, failed) = ended(asking).await;
    report.figure("GETs meanwhile", count(asked));
    report.figure("of them failed", count(failed));

    let hung = backends.pop().ok_or_else(|| Failure::new("no back end"))?;
    let asking = ask(to);
    sleep(Duration::from_millis(300)).await;
    hung.stop()?;
    let since = Instant::now();
    all_well(observe, 1).await?;
    let off = since.elapsed();
    report.gate("a back end that hangs is off after", millis(off), "at most 1 s", off <= OFF);
    sleep(Duration::from_millis(100)).await;
    let before = metric(observe, &in_flight(&hung.address())).await?;
    sleep(Duration::from_secs(1)).await;
    let after = metric(observe, &in_flight(&hung.address())).await?;
    report.gate(
        "new requests to it from then on",
        count(after.saturating_sub(before)),
        "0",
        after <= before,
    );
    hung.go_on()?;
    let since = Instant::now();
    all_well(observe, 2).await?;
    report.figure("it is back, once it goes on, after", millis(since.elapsed()));
    let (asked, failed) = ended(asking).await;
    report.figure("GETs meanwhile", count(asked));
    report.figure("of them failed: those that it had when it hung", count(failed));
    front.kill().await?;
    Ok(())
}

fn in_flight(server: &SocketAddr) -> String {
    format!("portcullis_upstream_in_flight{{upstream=\"b\",server=\"http://{server}\"}}")
}

async fn all_well(observe: SocketAddr, wanted: u64) -> Result {
    let well = async {
        while metric(observe, "portcullis_upstream_available").await? != wanted {
            sleep(Duration::from_millis(10)).await;
        }
        Result::Ok(())
    };
    let late = |_| Failure::new(format!("there are not {wanted} back ends after 10 s"));
    timeout(Duration::from_secs(10), well).await.map_err(late)?
}

/// Clients that ask one request after the other, each on a connection of its own.
fn ask(to: SocketAddr) -> JoinSet<(u64, u64)> {
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(async move {
            let (mut asked, mut failed) = (0, 0);
            let until = Instant::now() + Duration::from_secs(3);
            while Instant::now() < until {
                asked += 1;
                let answer = get(to, "/").await;
                failed += u64::from(answer.ok().as_deref() != Some("hello\n"));
            }
            (asked, failed)
        });
    }
    clients
}

async fn ended(clients: JoinSet<(u64, u64)>) -> (u64, u64) {
    let all = clients.join_all().await;
    (all.iter().map(|(asked, _)| asked).sum(), all.iter().map(|(_, failed)| failed).sum())
}
