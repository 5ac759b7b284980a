//! The client: sends what a definition says, and sees every answer with all its lines.
use std::fmt::Write;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::date::date;
use super::definition::{Exchange, Given, Interim};
use super::message::{Fields, Reader, bytes, latin1};

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// What has come.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) interim: Vec<Interim>,
    pub(super) status: u16,
    pub(super) fields: Fields,
    pub(super) body: Vec<u8>,
}

impl Received {
    /// The origin's time when it answered.
    pub(super) fn origin_time(&self) -> Option<SystemTime> {
        let time = self.fields.get("server-now")?.parse().ok()?;
        Some(SystemTime::UNIX_EPOCH + Duration::from_millis(time))
    }
}

/// What every request has that does not say something else. The two that follow are what HTTP must pass over.
const USUAL: [(&str, &str); 6] = [
    ("accept", "*/*"),
    ("accept-language", "*"),
    ("accept-encoding", "gzip, deflate"),
    ("user-agent", "cache-suite"),
    ("pragma", "foo"),
    ("cache-control", "nothing-to-see-here"),
];

/// Asks for a resource of a test on a connection of its own.
pub(super) async fn ask(
    to: SocketAddr,
    path: &str,
    number: usize,
    exchange: &Exchange,
    before: Option<&Received>,
) -> Option<Received> {
    let mut head = format!("{} {path}{} HTTP/1.1\r\n", exchange.method, exchange.place);
    write!(head, "host: suite.example\r\nreq-num: {number}\r\n").unwrap();
    for (name, value) in request_fields(exchange, before) {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    let body = exchange.body.as_deref().unwrap_or_default();
    if !body.is_empty() {
        write!(head, "content-length: {}\r\n", body.len()).unwrap();
    }
    write!(head, "\r\n{body}").unwrap();
    let is_head = exchange.method == "HEAD";
    timeout(PATIENCE, exchanged(to, &bytes(&head), is_head)).await.ok()?
}

fn request_fields(exchange: &Exchange, before: Option<&Received>) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for (name, value) in &exchange.headers {
        let value = match value {
            Given::Text(text) => text.clone(),
            Given::Seconds(seconds) => {
                assert!(exchange.dates_from_answer_before, "{name} is a date from no time");
                let time = before.and_then(Received::origin_time).unwrap();
                date(time, *seconds, exchange.has_old_dates(name))
            }
        };
        fields.push((name.clone(), value));
    }
    for (name, usual) in USUAL {
        let joins = ["pragma", "cache-control"].contains(&name);
        match fields.iter_mut().find(|(key, _)| key.eq_ignore_ascii_case(name)) {
            Some((_, value)) if joins => *value = format!("{usual}, {value}"),
            Some(_) => {}
            None => fields.push((name.to_owned(), usual.to_owned())),
        }
    }
    fields
}

async fn exchanged(to: SocketAddr, request: &[u8], is_head: bool) -> Option<Received> {
    let (reading, mut writing) = TcpStream::connect(to).await.ok()?.into_split();
    writing.write_all(request).await.ok()?;
    let mut reader = Reader::new(reading);
    let mut interim = Vec::new();
    loop {
        let (line, fields) = reader.head().await?;
        let status: u16 = line.get(9..12)?.parse().ok()?;
        if status < 200 {
            interim.push((status, fields.0));
            continue;
        }
        let has_body = !is_head && status != 204 && status != 304;
        let body = if has_body { reader.body(&fields, true).await? } else { Vec::new() };
        return Some(Received { interim, status, fields, body });
    }
}

impl Received {
    pub(super) fn text(&self) -> String {
        latin1(&self.body)
    }
}
