//! What an idle connection costs the server.
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::crowd::rest_after;
use crate::client::Ask;
use crate::failure::{Failure, Result};
use crate::numbers::{count, kilobytes};
use crate::report::Report;
use crate::server::{Launch, Server};

const CONNECTIONS: u64 = 10_000;
/// How long connections that have asked once rest before they are measured.
const IDLE: Duration = Duration::from_secs(5);
/// How long the server may take to accept all.
const ACCEPTED: Duration = Duration::from_secs(5);

pub(super) async fn measure(program: &Path, report: &mut Report) -> Result {
    for (name, asks) in [
        ("resident for each connection that sent nothing", false),
        ("resident for each connection that asked once", true),
    ] {
        let each = each(program, asks).await?;
        let shown = format!("{}, with {}", kilobytes(each.bytes), count(each.connections));
        eprintln!("{name}: {shown}");
        report.figure(name, shown);
    }
    Ok(())
}

struct Each {
    bytes: u64,
    connections: u64,
}

/// How much a fresh server grows for each connection that it holds.
async fn each(program: &Path, asks: bool) -> Result<Each> {
    let server = Launch::new(program)?.start().await?;
    let (resident, descriptors) = (server.memory()?.now, server.descriptors()?);
    let mut streams = Vec::new();
    for at in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(server.address()).await?;
        if asks {
            ask(&mut stream, &server).await?;
        }
        streams.push(stream);
        rest_after(at).await;
    }
    let until = Instant::now() + if asks { IDLE } else { ACCEPTED };
    let held = || Ok::<_, Failure>(server.descriptors()?.saturating_sub(descriptors));
    while Instant::now() < until && (asks || held()? < CONNECTIONS) {
        sleep(Duration::from_millis(20)).await;
    }
    let connections = held()?;
    let grown = server.memory()?.now.saturating_sub(resident);
    // First the server, so that the ports of the clients are free again at once.
    server.kill().await?;
    if connections == 0 {
        return Err(Failure::new("the server held none of the idle connections"));
    }
    Ok(Each { bytes: grown / connections, connections })
}

/// The answer is small: it comes at once.
async fn ask(stream: &mut TcpStream, server: &Server) -> Result {
    stream.write_all(&Ask::hello().http1(server.address(), false)).await?;
    let mut answer = [0; 4096];
    let length = stream.read(&mut answer).await?;
    if answer.get(..length).is_some_and(|answer| answer.starts_with(b"HTTP/1.1 200")) {
        return Ok(());
    }
    Err(Failure::new("an idle connection got no answer before it was idle"))
}
