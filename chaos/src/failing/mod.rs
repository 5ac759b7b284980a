//! Back ends that die, hang, fail now and then, or are all gone, behind a gateway whose clients never retry (R3, R4, R5).
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::failure::{Failure, Result};
use crate::gateway::{in_front_of, metric};
use crate::numbers::{count, millis};
use crate::report::Report;
use crate::server::{Launch, Server};

pub(crate) mod backend;
mod load;

use load::{Load, Tally};

const HEALTH: &str =
    "health = { path = \"/\", interval = \"200ms\", timeout = \"200ms\", fall = 2, rise = 1 }\n";
const SECOND: Duration = Duration::from_secs(1);
/// How long the head of an answer may take in one try, where a back end hangs.
const TRY: Duration = Duration::from_millis(300);

pub(crate) async fn run(gateway: &Path) -> Result<Report> {
    let mut report = Report::figures();
    killed(gateway, &mut report).await?;
    hung(gateway, &mut report).await?;
    failing(gateway, &mut report).await?;
    gone(gateway, &mut report).await?;
    Ok(report)
}

/// Three back ends, and a gateway in front of them.
struct Stage {
    launches: Vec<Launch>,
    backends: Vec<Option<Server>>,
    records: Vec<PathBuf>,
    front: Server,
}

impl Stage {
    /// `failing` is how many requests of a hundred the first back end answers with 503.
    async fn open(gateway: &Path, name: &str, more: &str, failing: u32) -> Result<Self> {
        let (mut launches, mut backends, mut records) = (Vec::new(), Vec::new(), Vec::new());
        for at in 0..3 {
            let record = format!("portcullis-chaos-{}-{name}-{at}", std::process::id());
            let record = std::env::temp_dir().join(record);
            let launch = Launch::backend(&record, if at == 0 { failing } else { 0 })?;
            backends.push(Some(launch.start().await?));
            launches.push(launch);
            records.push(record);
        }
        let servers =
            backends.iter().flatten().map(|backend| format!("http://{}", backend.address()));
        let servers: Vec<_> = servers.collect();
        let text = in_front_of(&servers, more);
        let front = Launch::gateway(gateway, name, &text)?.start().await?;
        let stage = Self { launches, backends, records, front };
        stage.available(3).await?;
        Ok(stage)
    }
    /// Waits until so many back ends are asked.
    async fn available(&self, wanted: u64) -> Result<Duration> {
        let (observe, since) = (self.front.observed_at()?, Instant::now());
        let well = async {
            while metric(observe, "portcullis_upstream_available").await? != wanted {
                sleep(Duration::from_millis(5)).await;
            }
            Result::Ok(since.elapsed())
        };
        let late = |_| Failure::new(format!("there are not {wanted} back ends after 10 s"));
        timeout(10 * SECOND, well).await.map_err(late)?
    }
    fn take(&mut self, at: usize) -> Result<Server> {
        let backend = self.backends.get_mut(at).and_then(Option::take);
        backend.ok_or_else(|| Failure::new("the back end is gone already"))
    }
    async fn metric(&self, name: &str) -> Result<u64> {
        metric(self.front.observed_at()?, name).await
    }
    /// Ends everything. Answers how many requests the back ends have seen, and how many writes more than once.
    async fn close(self) -> Result<(u64, u64)> {
        self.front.kill().await?;
        for backend in self.backends.into_iter().flatten() {
            backend.kill().await?;
        }
        let (mut requests, mut writes) = (0, HashMap::<u64, u64>::new());
        for record in &self.records {
            for line in std::fs::read_to_string(record).unwrap_or_default().lines() {
                requests += 1;
                if let Ok(id) = line.parse() {
                    *writes.entry(id).or_default() += 1;
                }
            }
            drop(std::fs::remove_file(record));
        }
        Ok((requests, writes.values().filter(|count| **count > 1).count() as u64))
    }
}

fn reads_must_not_fail(report: &mut Report, tally: &Tally) {
    report.figure("GETs", count(tally.reads()));
    report.gate("of them failed", count(tally.failed_reads()), "0", tally.failed_reads() == 0);
}

fn writes_once(report: &mut Report, twice: u64) {
    report.gate("POSTs seen twice by back ends", count(twice), "0", twice == 0);
}

async fn killed(gateway: &Path, report: &mut Report) -> Result {
    let mut stage = Stage::open(gateway, "killed", HEALTH, 0).await?;
    let load = Load::start(stage.front.address());
    sleep(2 * SECOND).await;
    let under_way = stage.metric("portcullis_upstream_in_flight").await?;
    let before = load.failed_writes();
    stage.take(1)?.kill().await?;
    let off = stage.available(2).await?;
    sleep(2 * SECOND).await;
    let launch = stage.launches.get(1).cloned().ok_or_else(|| Failure::new("no back end"))?;
    let again = launch.start().await?;
    let back = stage.available(3).await?;
    if let Some(place) = stage.backends.get_mut(1) {
        *place = Some(again);
    }
    sleep(2 * SECOND).await;
    let retried = stage.metric("portcullis_upstream_retries_total").await?;
    let tally = load.stop().await;
    let (_, twice) = stage.close().await?;
    report.figure("one of three is killed: nobody is sent to it after", millis(off));
    reads_must_not_fail(report, &tally);
    report.figure("POSTs", count(tally.writes()));
    report.figure("of them failed", count(tally.failed_writes() - before));
    report.figure("requests under way shortly before", count(under_way));
    writes_once(report, twice);
    report.figure("sent again", count(retried));
    let soon = back <= Duration::from_millis(400);
    report.gate(
        "it is back, once it listens, after",
        millis(back),
        "about one look (200 ms)",
        soon,
    );
    Ok(())
}

async fn hung(gateway: &Path, report: &mut Report) -> Result {
    let more = format!("{HEALTH}try_timeout = \"{}ms\"\n", TRY.as_millis());
    let stage = Stage::open(gateway, "hung", &more, 0).await?;
    let load = Load::start(stage.front.address());
    sleep(2 * SECOND).await;
    let hung = stage.backends.get(1).and_then(Option::as_ref);
    let hung = hung.ok_or_else(|| Failure::new("no back end"))?;
    hung.stop()?;
    let off = stage.available(2).await?;
    sleep(2 * SECOND).await;
    hung.go_on()?;
    stage.available(3).await?;
    sleep(SECOND).await;
    let tally = load.stop().await;
    let (_, twice) = stage.close().await?;
    report.figure("one of three hangs: nobody is sent to it after", millis(off));
    reads_must_not_fail(report, &tally);
    let p99 = tally.read_quantile(0.99);
    let most = TRY + Duration::from_millis(50);
    report.gate("p99 of GETs", millis(p99), &format!("at most {}", millis(most)), p99 <= most);
    report.figure("the longest GET", millis(tally.read_quantile(1.0)));
    report.figure("POSTs", count(tally.writes()));
    report.figure("of them failed, since they may have been done", count(tally.failed_writes()));
    writes_once(report, twice);
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "some ten thousand requests")]
async fn failing(gateway: &Path, report: &mut Report) -> Result {
    let stage = Stage::open(gateway, "failing", "outliers = { failures = 0 }\n", 20).await?;
    let load = Load::start(stage.front.address());
    sleep(5 * SECOND).await;
    let tally = load.stop().await;
    let retried = stage.metric("portcullis_upstream_retries_total").await?;
    let (seen, twice) = stage.close().await?;
    let asked = tally.reads() + tally.writes();
    let reads = 100.0 * tally.failed_reads() as f64 / tally.reads() as f64;
    let load = seen as f64 / asked as f64;
    report.figure("one of three answers a fifth with 503: requests", count(asked));
    report.gate("GETs that see it", format!("{reads:.2} %"), "at most 1 %", reads <= 1.0);
    report.figure(
        "POSTs that see it, of all",
        format!("{} of {}", tally.failed_writes(), tally.writes()),
    );
    report.figure("sent again", count(retried));
    report.gate("load of the back ends", format!("{load:.3} x"), "at most 1.2 x", load <= 1.2);
    writes_once(report, twice);
    Ok(())
}

async fn gone(gateway: &Path, report: &mut Report) -> Result {
    let more = "breaker = { min = 20, open = \"10s\" }\nconnect_timeout = \"500ms\"\n";
    let mut stage = Stage::open(gateway, "gone", more, 0).await?;
    let load = Load::start(stage.front.address());
    sleep(SECOND).await;
    for at in 0..3 {
        stage.take(at)?.kill().await?;
    }
    sleep(SECOND).await;
    load.forget();
    sleep(2 * SECOND).await;
    let tally = load.stop().await;
    stage.close().await?;
    let asked = tally.reads() + tally.writes();
    let failed = tally.failed_reads() + tally.failed_writes();
    report.figure("all three are gone: requests from one second later on", count(asked));
    report.gate(
        "answered 503",
        count(tally.unavailable()),
        "all",
        tally.unavailable() == asked && failed == asked,
    );
    let p99 = tally.read_quantile(0.99);
    let soon = Duration::from_millis(10);
    report.gate("p99 of the answers", millis(p99), "below 10 ms", p99 < soon);
    Ok(())
}
