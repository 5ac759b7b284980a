//! Bytes that fuzzers found worth keeping (the corpora of h2o): none makes the server panic or blame itself, and it still
//! serves everybody else.
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use portcullis_core::{Body, MetricSource};
use portcullis_server::Limits;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::h2::{PREFACE, SETTINGS, frame};
use crate::support::{Folder, Raw, find, local, start_with, text, vectors};

/// Takes every failure for its own, and never says what the client said.
async fn counting(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    if let Ok((bytes, _)) = portcullis_testkit::collect(request.into_body()).await {
        return Ok(text(format!("{} bytes", bytes.len())));
    }
    let mut response = text("failed");
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    Ok(response)
}

fn files(folder: &Path) -> Vec<Vec<u8>> {
    let files = std::fs::read_dir(folder).unwrap();
    files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
}

/// Sends the bytes, and looks at what comes back.
async fn send(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut client = Raw::new(TcpStream::connect(address).await.unwrap());
    client.try_send(bytes).await;
    drop(client.stream.shutdown().await);
    client.rest(Duration::from_millis(200)).await.0
}

/// An answer that says the server failed. Methods that it does not know, and versions, are the client's.
fn blames_itself(answer: &[u8]) -> bool {
    let mut rest = answer;
    while let Some(at) = find(rest, b"HTTP/1.1 5") {
        let status = &rest[at + 9..at + 12];
        if status != b"501" && status != b"505" {
            return true;
        }
        rest = &rest[at + 12..];
    }
    // HTTP/2: `:status` 500, which has a number of its own.
    answer
        .windows(10)
        .any(|frame| frame[3] == 1 && frame[4] & 0xfa == 0 && frame[9] == 0x8e && frame[0] == 0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_bytes_make_the_server_fail() {
    let Some(archive) = vectors("fuzz-corpora/h2o-http-corpora.tar.gz") else { return };
    let folder = Folder::new("fuzz-corpora");
    let unpacked = Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(&folder.0).status();
    assert!(unpacked.unwrap().success());

    let panics = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&panics);
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // Tests panic on purpose.
        if !panic.location().is_some_and(|place| place.file().contains("tests/it")) {
            count.fetch_add(1, SeqCst);
        }
        before(panic);
    }));

    let limits = Limits::default().connections_per_address(100_000);
    let server = start_with(local().limits(limits), counting);
    let mut inputs = files(&folder.0.join("fuzz/http1-corpus"));
    for bytes in files(&folder.0.join("fuzz/http2-corpus")) {
        let greeting = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
        inputs.push([&greeting, &bytes[..]].concat());
        inputs.push(bytes);
    }
    for bytes in files(&folder.0.join("fuzz/url-corpus")) {
        inputs.push([b"GET ", &bytes[..], b" HTTP/1.1\r\nhost: a\r\n\r\n"].concat());
    }
    assert!(inputs.len() > 4_500, "{}", inputs.len());
    let lanes = Arc::new(Semaphore::new(64));
    let runs: Vec<_> = inputs
        .into_iter()
        .map(|bytes| {
            let (lanes, address) = (Arc::clone(&lanes), server.address);
            tokio::spawn(async move {
                let _lane = lanes.acquire().await.unwrap();
                let answer = send(address, &bytes).await;
                (bytes, answer)
            })
        })
        .collect();
    for run in runs {
        let (bytes, answer) = run.await.unwrap();
        let (sent, answered) = (String::from_utf8_lossy(&bytes), String::from_utf8_lossy(&answer));
        assert!(!blames_itself(&answer), "{sent:?}: {answered}");
    }
    assert_eq!(panics.load(SeqCst), 0);
    let mut metrics = String::new();
    server.stats.write(&mut metrics);
    assert!(metrics.contains("{reason=\"panic\"} 0\n"), "{metrics}");
    server.assert_well().await;
}
