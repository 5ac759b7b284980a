//! How soon a new process is ready.
use std::path::Path;
use std::time::Duration;

use tokio::time::sleep;

use crate::client::{Ask, ask_once};
use crate::failure::{Failure, Result};
use crate::numbers::{count, seconds};
use crate::report::Report;
use crate::server::{Launch, Server};

const STARTS: u64 = 5;
const READY: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn run(program: &Path, report: &mut Report) -> Result {
    let mut longest = Duration::ZERO;
    for _ in 0..STARTS {
        let server = Launch::new(program)?.observed()?.start().await?;
        longest = longest.max(ready_after(&server).await?);
        server.kill().await?;
    }
    let name = format!("until `/readyz` is 200, the longest of {}", count(STARTS));
    report.gate(&name, seconds(longest), "at most 1 s", longest <= READY);
    Ok(())
}

/// The age of the process when it first calls itself ready.
async fn ready_after(server: &Server) -> Result<Duration> {
    while server.age() < PATIENCE {
        if ask_once(server.observed_at()?, &Ask::readiness()).await.is_ok() {
            return Ok(server.age());
        }
        sleep(Duration::from_millis(5)).await;
    }
    Err(Failure::new("`/readyz` is not 200 after 10 seconds"))
}
