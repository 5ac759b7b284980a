//! The program itself: what it prints, what it answers, how it closes.
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};

use bookshop::{TRIES, Try};

/// A shop that runs; it is closed when the test is over.
struct Shop {
    process: Child,
    address: String,
    metrics: String,
    lines: BufReader<ChildStdout>,
}

impl Drop for Shop {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bookshop"));
    command.env("BOOKSHOP_ADDR", "127.0.0.1:0").env("BOOKSHOP_METRICS_ADDR", "127.0.0.1:0");
    command.env("BOOKSHOP_TLS_ADDR", "127.0.0.1:0");
    command.env("BOOKSHOP_CERTIFICATE", concat!(env!("CARGO_TARGET_TMPDIR"), "/certificate"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn open() -> Shop {
    let mut process = command().spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap());
    let mut first = String::new();
    lines.read_line(&mut first).unwrap();
    let addresses: Vec<_> = first.split("http://").skip(1).map(address).collect();
    let [address, metrics] = &addresses[..] else { panic!("no addresses in {first:?}") };
    Shop { address: address.clone(), metrics: metrics.clone(), process, lines }
}

fn address(text: &str) -> String {
    text.chars().take_while(|c| c.is_ascii_digit() || matches!(c, '.' | ':')).collect()
}

/// The whole answer to a request, as bytes on the wire have it.
fn ask(address: &str, method: &str, path: &str, headers: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn send(shop: &Shop, tried: &Try) -> String {
    let mut headers = tried.api_key().map_or(String::new(), |key| format!("x-api-key: {key}\r\n"));
    if tried.json.is_some() {
        headers.push_str("content-type: application/json\r\n");
    }
    let json = tried.json.unwrap_or_default();
    let mut answer = String::new();
    for _ in 0..tried.times {
        answer = ask(&shop.address, tried.method, tried.path, &headers, json);
    }
    answer
}

#[test]
fn every_line_that_it_prints_gives_what_it_says() {
    let mut shop = open();
    for tried in &TRIES {
        let answer = send(&shop, tried);
        let status = format!("HTTP/1.1 {} ", tried.status);
        assert!(answer.starts_with(&status), "{}: {answer}", tried.shows);
        if let Some(problem) = tried.problem {
            assert!(answer.contains("application/problem+json"), "{}: {answer}", tried.shows);
            assert!(answer.contains(&format!("{problem}\"")), "{}: {answer}", tried.shows);
        }
    }
    let metrics = ask(&shop.metrics, "GET", "/metrics", "", "");
    assert!(
        metrics.contains(
            "portcullis_problems_total{http_route=\"/orders\",problem=\"quota-exceeded\"} "
        ),
        "{metrics}"
    );

    // What it prints is made of the same list.
    let mut printed = String::new();
    let last = TRIES[TRIES.len() - 1].curl(&format!("http://{}", shop.address));
    while !printed.contains(&last) {
        assert!(shop.lines.read_line(&mut printed).unwrap() > 0, "{printed}");
    }
    for tried in &TRIES {
        assert!(printed.contains(&tried.curl(&format!("http://{}", shop.address))), "{printed}");
    }
}

#[test]
fn the_readme_has_the_same_lines() {
    let page = include_str!("../../README.md");
    for tried in &TRIES {
        let problem = tried.problem.map_or(String::new(), |problem| format!(" {problem}"));
        let lines = format!(
            "# {} -> {}{problem}\n{}\n",
            tried.shows,
            tried.status,
            tried.curl("http://127.0.0.1:3000")
        );
        assert!(page.contains(&lines), "the README lacks:\n{lines}");
    }
}

#[test]
fn ctrl_c_closes_it_with_success() {
    let mut shop = open();
    assert!(ask(&shop.address, "GET", "/books/1", "", "").starts_with("HTTP/1.1 200 "));
    let interrupted =
        Command::new("kill").args(["-INT", &shop.process.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    assert!(shop.process.wait().unwrap().success());
    TcpStream::connect(&shop.address).unwrap_err();
}

#[test]
fn a_client_that_never_finishes_does_not_keep_it_open() {
    let mut shop = open();
    let mut slow = TcpStream::connect(&shop.address).unwrap();
    slow.write_all(b"GET /books HTTP/1.1\r\nHost: ").unwrap();
    // It has seen the bytes once it has answered somebody who came later.
    assert!(ask(&shop.address, "GET", "/books/1", "", "").starts_with("HTTP/1.1 200 "));
    let process = shop.process.id().to_string();
    for signal in ["-TERM", "-INT"] {
        // The second one does not wait for what still runs.
        assert!(Command::new("kill").args([signal, &process]).status().unwrap().success());
        while signal == "-TERM" && TcpStream::connect(&shop.address).is_ok() {}
    }
    assert!(shop.process.wait().unwrap().success());
}

#[test]
fn clients_that_go_away_cost_nothing() {
    let shop = open();
    for _ in 0..200 {
        let mut stream = TcpStream::connect(&shop.address).unwrap();
        write!(stream, "GET /books/7 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        // Closed at once, with the answer unread.
        drop(stream);
    }
    let enough = |answer: &String| !answer.starts_with("HTTP/1.1 429 ");
    let answer =
        std::iter::repeat_with(|| ask(&shop.address, "GET", "/books/7", "", "")).find(enough);
    assert!(answer.unwrap().starts_with("HTTP/1.1 200 "));
}

#[test]
fn what_it_cannot_open_it_names_with_the_way_out() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let _held = std::net::TcpListener::bind(&taken);
    for (variable, value, wanted) in [
        ("BOOKSHOP_ADDR", "nowhere", "listen `nowhere`: it must be a host and a port"),
        ("BOOKSHOP_ADDR", "127.0.0.1:0x", "set BOOKSHOP_ADDR, "),
        ("BOOKSHOP_DB", "sqlite:///nowhere/at/all.db", "BOOKSHOP_DB=sqlite:///nowhere/at/all.db: "),
    ] {
        let output = command().env(variable, value).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(wanted), "{variable}={value}: {said}");
    }
}
