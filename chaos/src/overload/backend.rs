//! A back end that does so many requests at once, and lets the others wait without a bound, as a naive server does.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::failure::{Failure, Result};
use crate::gateway::peer::{body, head, number};

/// What tells this program to be a back end.
pub(crate) const AT_ONCE: &str = "--at-once";
/// How long a request takes.
pub(crate) const MILLIS: &str = "--millis";

/// Serves until it is killed: `--listen http://ADDRESS --at-once COUNT --millis TIME`.
pub(crate) async fn run(words: &[String]) -> Result {
    let value = |name: &str| {
        let at = words.iter().position(|word| word == name);
        let value = at.and_then(|at| words.get(at + 1));
        value.ok_or_else(|| Failure::new(format!("`{name}` is missing")))
    };
    let wrong = |name: &'static str| move |error| Failure::new(format!("`{name}`: {error}"));
    let address = value("--listen")?.trim_start_matches("http://").parse::<SocketAddr>();
    let address = address.map_err(|error| Failure::new(format!("`--listen`: {error}")))?;
    let at_once = value(AT_ONCE)?.parse().map_err(wrong(AT_ONCE))?;
    let millis = value(MILLIS)?.parse().map_err(wrong(MILLIS))?;
    let (room, time) = (Arc::new(Semaphore::new(at_once)), Duration::from_millis(millis));
    let listener = TcpListener::bind(address).await?;
    println!("ready");
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(serve(stream, Arc::clone(&room), time));
    }
}

async fn serve(mut stream: TcpStream, room: Arc<Semaphore>, time: Duration) -> Result {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    while let Some(head) = head(&mut stream, &mut buffer).await? {
        body(&mut stream, &mut buffer, number(&head, "content-length").unwrap_or(0)).await?;
        let permit = room.acquire().await;
        sleep(time).await;
        drop(permit);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhello\n").await?;
    }
    Ok(())
}
