//! What every cache asks: a server in this process that says how long its answers may be kept, and counts how often it was asked.
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::{Failure, Result};

/// Answers with as many bytes as the path says, until the program ends.
pub(super) struct Origin {
    pub(super) address: SocketAddr,
    asked: Arc<AtomicU64>,
}

impl Origin {
    pub(super) fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let asked = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let counter = Arc::clone(&counter);
                // A cache that closes its connection is no failure.
                thread::spawn(move || drop(serve(stream, &counter)));
            }
        });
        Ok(Self { address, asked })
    }
    /// How often it was asked so far.
    pub(super) fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }
}

fn serve(mut stream: TcpStream, asked: &AtomicU64) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    while let Some(head) = head(&mut reader)? {
        asked.fetch_add(1, Ordering::SeqCst);
        let size = size(&head);
        let mut answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: public, max-age=3600\r\nContent-Length: {size}\r\n\r\n"
        )
        .into_bytes();
        answer.resize(answer.len() + size, b'0');
        stream.write_all(&answer)?;
    }
    Ok(())
}

/// The bytes asked for by `GET /1024?n=7 HTTP/1.1`.
fn size(head: &str) -> usize {
    let path = head.split(' ').nth(1).unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default();
    path.trim_start_matches('/').parse().unwrap_or(0)
}

/// The next head, without the empty line behind it; `None` where the other side has closed.
fn head(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut head = String::new();
    loop {
        let before = head.len();
        if reader.read_line(&mut head)? == 0 {
            return Ok(None);
        }
        if head.get(before..).is_some_and(|line| line.trim_end().is_empty()) {
            return Ok(Some(head));
        }
    }
}

/// Asks a cache for these of the objects of 1 KiB, over a few connections at once.
pub(super) fn fetch(port: u16, objects: std::ops::Range<u32>) -> Result {
    const CLIENTS: usize = 8;
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let numbers = objects.clone().skip(client).step_by(CLIENTS);
                scope.spawn(move || one_by_one(port, numbers))
            })
            .collect();
        for client in clients {
            client.join().map_err(|_| Failure::new("a client has panicked"))??;
        }
        Ok(())
    })
}

fn one_by_one(port: u16, numbers: impl Iterator<Item = u32>) -> Result {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut body = Vec::new();
    for number in numbers {
        let request = format!("GET /1024?n={number} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let answer = head(&mut reader)?.unwrap_or_default();
        let Some(length) = length(&answer) else {
            return Err(Failure::new(format!("the cache on port {port} answered: {answer}")));
        };
        body.resize(length, 0);
        reader.read_exact(&mut body)?;
    }
    Ok(())
}

/// The length of the body that follows this head of a success.
fn length(head: &str) -> Option<usize> {
    let lines = head.strip_prefix("HTTP/1.1 200 ")?.lines();
    let mut fields = lines.filter_map(|line| line.split_once(':'));
    let (_, length) = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
    length.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_answers_what_is_asked_for_and_counts() {
        let origin = Origin::start().unwrap();
        fetch(origin.address.port(), 0..20).unwrap();
        assert_eq!(origin.asked(), 20);
    }

    #[test]
    fn heads_are_read() {
        assert_eq!(size("GET /65536?n=7 HTTP/1.1\r\n\r\n"), 65_536);
        let mut two = "a: 1\r\n\r\nb: 2\r\n\r\n".as_bytes();
        assert_eq!(head(&mut two).unwrap().as_deref(), Some("a: 1\r\n\r\n"));
        assert_eq!(head(&mut two).unwrap().as_deref(), Some("b: 2\r\n\r\n"));
        assert_eq!(head(&mut two).unwrap(), None);
        assert_eq!(length("HTTP/1.1 200 OK\r\nContent-length: 3\r\n\r\n"), Some(3));
        assert_eq!(length("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\n"), None);
    }
}
