//! A back end that writes down each request before it answers: what was written down has been seen, however it ends.
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

use crate::failure::{Failure, Result};
use crate::gateway::peer::{body, head, number};
use crate::gateway::stale::Random;

/// What tells this program to be a back end.
pub(crate) const RECORD: &str = "--record";

struct Backend {
    record: File,
    /// Of a hundred.
    failing: u64,
}

/// Serves until it is killed: `--listen http://ADDRESS --record FILE --failing PERCENT`.
pub(crate) async fn run(words: &[String]) -> Result {
    let value = |name: &str| {
        let at = words.iter().position(|word| word == name);
        let value = at.and_then(|at| words.get(at + 1));
        value.ok_or_else(|| Failure::new(format!("`{name}` is missing")))
    };
    let address = value("--listen")?.trim_start_matches("http://").parse::<SocketAddr>();
    let address = address.map_err(|error| Failure::new(format!("`--listen`: {error}")))?;
    let failing = value("--failing")?.parse();
    let failing = failing.map_err(|error| Failure::new(format!("`--failing`: {error}")))?;
    let record = OpenOptions::new().create(true).append(true).open(value(RECORD)?)?;
    let backend = Rc::new(Backend { record, failing });
    let listener = TcpListener::bind(address).await?;
    println!("ready");
    let serving = async {
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::task::spawn_local(serve(stream, Rc::clone(&backend)));
        }
    };
    LocalSet::new().run_until(serving).await
}

async fn serve(mut stream: TcpStream, backend: Rc<Backend>) -> Result {
    stream.set_nodelay(true)?;
    let (mut buffer, mut random) = (Vec::new(), Random::new());
    while let Some(head) = head(&mut stream, &mut buffer).await? {
        let length = number(&head, "content-length").unwrap_or(0);
        let sent = body(&mut stream, &mut buffer, length).await?;
        let line = number(&head, "x-id").map_or("read\n".to_owned(), |id| format!("{id}\n"));
        // A look whether it is well is no request.
        if !head.contains("user-agent: portcullis/") {
            (&backend.record).write_all(line.as_bytes())?;
        }
        let sent = if length == 0 { b"hello\n".to_vec() } else { sent };
        let status = if random.below(100) < backend.failing { "503 No" } else { "200 OK" };
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", sent.len());
        stream.write_all(&[head.as_bytes(), &sent].concat()).await?;
    }
    Ok(())
}
