//! A gigabyte up and a gigabyte down.
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use super::in_front_of;
use super::peer::{head, number, status};
use crate::failure::{Failure, Result};
use crate::numbers::mebibytes;
use crate::report::Report;
use crate::server::{Launch, Server};

const LENGTH: u64 = 1 << 30;
const PATIENCE: Duration = Duration::from_mins(1);

pub(super) async fn run(gateway: &Path, report: &mut Report) -> Result {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let backend = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    for (what, up) in [("a gigabyte up", true), ("a gigabyte down", false)] {
        let text = in_front_of(&[format!("http://{address}")], "");
        let front = Launch::gateway(gateway, "large", &text)?.start().await?;
        let before = front.memory()?.now;
        let done = timeout(PATIENCE, carry(&front, up)).await;
        let moved = done.map_err(|_| Failure::new("not done in a minute"))??;
        let grown = front.memory()?.peak.saturating_sub(before);
        front.kill().await?;
        report.gate(
            &format!("{what}: bytes that came"),
            mebibytes(moved),
            "1024.0 MiB",
            moved == LENGTH,
        );
        report.gate("memory more at most", mebibytes(grown), "at most 16 MiB", grown <= 16 << 20);
    }
    // A client that reads nothing holds its server back.
    let text = in_front_of(&[format!("http://{address}")], "");
    let front = Launch::gateway(gateway, "large", &text)?.start().await?;
    let before = front.memory()?.now;
    let mut stream = TcpStream::connect(front.address()).await?;
    stream.write_all(b"GET /down HTTP/1.1\r\nhost: a\r\n\r\n").await?;
    sleep(Duration::from_secs(2)).await;
    let grown = front.memory()?.peak.saturating_sub(before);
    front.kill().await?;
    backend.abort();
    report.gate(
        "memory more for a client that does not read",
        mebibytes(grown),
        "at most 16 MiB",
        grown <= 16 << 20,
    );
    Ok(())
}

/// How many bytes came to the other side.
async fn carry(front: &Server, up: bool) -> Result<u64> {
    let mut stream = TcpStream::connect(front.address()).await?;
    let mut buffer = Vec::new();
    if up {
        let head = format!("POST /up HTTP/1.1\r\nhost: a\r\ncontent-length: {LENGTH}\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        send(&mut stream).await?;
    } else {
        stream.write_all(b"GET /down HTTP/1.1\r\nhost: a\r\n\r\n").await?;
    }
    let answer = head(&mut stream, &mut buffer).await?;
    let answer = answer.ok_or_else(|| Failure::new("no answer"))?;
    if status(&answer) != 200 {
        return Err(Failure::new(format!("answered {}", status(&answer))));
    }
    if up {
        return Ok(number(&answer, "x-came").unwrap_or(0));
    }
    let mut came = buffer.len() as u64;
    let mut bytes = vec![0; 256 << 10];
    while came < LENGTH {
        match stream.read(&mut bytes).await? {
            0 => break,
            count => came += count as u64,
        }
    }
    Ok(came)
}

async fn send(stream: &mut TcpStream) -> Result {
    let piece = vec![b'x'; 256 << 10];
    for _ in 0..LENGTH / piece.len() as u64 {
        stream.write_all(&piece).await?;
    }
    Ok(())
}

async fn serve(mut stream: TcpStream) -> Result {
    let mut buffer = Vec::new();
    let mut bytes = vec![0; 256 << 10];
    while let Some(head) = head(&mut stream, &mut buffer).await? {
        if head.starts_with("GET /down ") {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LENGTH}\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
            send(&mut stream).await?;
            continue;
        }
        let mut came = buffer.len() as u64;
        buffer.clear();
        while came < number(&head, "content-length").unwrap_or(0) {
            match stream.read(&mut bytes).await? {
                0 => return Ok(()),
                count => came += count as u64,
            }
        }
        let answer = format!("HTTP/1.1 200 OK\r\nx-came: {came}\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}
