//! A server without free descriptors waits at rest, and goes on when it has some again.
use std::path::Path;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::client::{Ask, ask_once};
use crate::failure::{Failure, Result};
use crate::numbers::{count, seconds};
use crate::report::Report;
use crate::server::Launch;

const LIMIT: u32 = 64;
const CONNECTIONS: u64 = 200;
/// How long the processor time is watched, and how much of it may go.
const WATCHED: Duration = Duration::from_secs(3);
const BUSY: u128 = 50;
/// How soon it must serve again.
const AGAIN: Duration = Duration::from_secs(2);
/// What is asked behind the first new request.
const MORE: u64 = 20;

pub(super) async fn run(program: &Path, report: &mut Report) -> Result {
    let mut server = Launch::new(program)?.descriptors(LIMIT).start().await?;
    let mut streams = Vec::new();
    for _ in 0..CONNECTIONS {
        // Those that the server cannot accept wait in the queue of the kernel.
        streams.push(TcpStream::connect(server.address()).await?);
    }
    sleep(Duration::from_millis(500)).await;
    let before = server.processor_time()?;
    sleep(WATCHED).await;
    let busy = percent(server.processor_time()?.saturating_sub(before));
    let open = server.descriptors()?;
    drop(streams);

    let began = Instant::now();
    let first = ask_once(server.address(), &Ask::hello()).await;
    let again = began.elapsed();
    let mut answered = 0;
    for _ in 0..MORE {
        answered += u64::from(ask_once(server.address(), &Ask::hello()).await.is_ok());
    }
    if !server.is_running()? {
        return Err(Failure::new("the process has ended"));
    }
    server.kill().await?;

    report.figure("descriptors open, of 64, with 200 clients", count(open));
    let must = format!("under {BUSY} % of a core");
    report.gate("busy without free descriptors", format!("{busy} %"), &must, busy < BUSY);
    let shown = match first {
        Ok(()) => seconds(again),
        Err(fault) => fault.to_string(),
    };
    let met = first.is_ok() && again <= AGAIN;
    report.gate("first answer when there are some again", shown, "within 2 s", met);
    report.gate("answers behind it", count(answered), &count(MORE), answered == MORE);
    Ok(())
}

/// How much of one core it is.
fn percent(time: Duration) -> u128 {
    time.as_millis() * 100 / WATCHED.as_millis()
}
