//! The origin: answers as the definitions say, byte for byte, and remembers what it was asked.
use std::collections::HashMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use portcullis_core::Clock;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use super::date::date;
use super::definition::{Exchange, Given, Source, Test};
use super::message::{Fields, Reader, bytes};

/// A request that came.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Which of the test's requests it says it is, from 1.
    pub(super) number: usize,
    pub(super) method: String,
    pub(super) fields: Fields,
    /// What the client must get as it was sent.
    pub(super) sent: Vec<(String, String)>,
}

/// A test that is under way.
struct Running {
    test: Arc<Test>,
    seen: Vec<Seen>,
    /// What was sent last in answer to each request.
    answers: HashMap<usize, Fields>,
}

/// The origin of all tests.
#[derive(Clone)]
pub(super) struct Origin {
    pub(super) address: SocketAddr,
    running: Arc<Mutex<HashMap<String, Running>>>,
}

impl Origin {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let origin = Self { address, running: Arc::default() };
        let serving = origin.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let origin = serving.clone();
                tokio::spawn(async move { origin.serve(stream).await });
            }
        });
        origin
    }
    /// Answers `/test/ID` as this test says from now on.
    pub(super) fn begin(&self, id: &str, test: &Arc<Test>) {
        let running = Running { test: Arc::clone(test), seen: Vec::new(), answers: HashMap::new() };
        self.running.lock().unwrap().insert(id.to_owned(), running);
    }
    /// What came for a test.
    pub(super) fn seen(&self, id: &str) -> Vec<Seen> {
        self.running.lock().unwrap()[id].seen.clone()
    }

    async fn serve(&self, stream: TcpStream) {
        let (reading, mut writing) = stream.into_split();
        let mut reader = Reader::new(reading);
        while let Some((line, fields)) = reader.head().await {
            if reader.body(&fields, false).await.is_none() {
                return;
            }
            let reply = self.reply(&line, fields).await;
            if writing.write_all(&reply.bytes).await.is_err() || reply.is_last {
                return;
            }
        }
    }

    async fn reply(&self, line: &str, fields: Fields) -> Reply {
        let mut words = line.split(' ');
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
        let id = target.split(['/', '?']).nth(2).unwrap_or_default();
        let number: Option<usize> = fields.get("req-num").and_then(|number| number.parse().ok());
        let test = self.running.lock().unwrap().get(id).map(|running| Arc::clone(&running.test));
        let (Some(test), Some(number)) = (test, number) else {
            return Reply::plain("404 Not Found");
        };
        let Some(exchange) = test.exchanges.get(number - 1) else {
            return Reply::plain("409 Conflict");
        };
        if let Some(pause) = exchange.pause {
            tokio::time::sleep(pause).await;
        }
        let mut running = self.running.lock().unwrap();
        let running = running.get_mut(id).unwrap();
        let before = number.checked_sub(2).and_then(|at| test.exchanges.get(at));
        let before = before.map(|before| (before, running.answers.get(&(number - 1))));
        let (status, reason) = status(exchange, before, &fields);
        let now = Clock::system().wall();
        let mut answer = head(exchange, target, now);
        let count = running.seen.len() + 1;
        answer.0.push(("Server-Request-Count".to_owned(), count.to_string()));
        answer.0.push(("Client-Request-Count".to_owned(), number.to_string()));
        let checked =
            |name: &&str| exchange.sent.iter().any(|sent| sent.is_checked && sent.name == **name);
        let names = exchange.sent.iter().map(|sent| sent.name.as_str()).filter(checked);
        let sent = names.map(|name| (name.to_owned(), answer.get(name).unwrap())).collect();
        running.seen.push(Seen { number, method: method.to_owned(), fields, sent });
        let numbers: Vec<_> = running.seen.iter().map(|seen| seen.number.to_string()).collect();
        answer.0.push(("Request-Numbers".to_owned(), numbers.join(" ")));
        running.answers.insert(number, answer.clone());

        let has_body = status != 204 && status != 304;
        let body = exchange.sent_body.as_deref().filter(|body| !body.is_empty()).unwrap_or(id);
        let is_framed = answer.has("content-length") || answer.has("transfer-encoding");
        if has_body && method != "HEAD" && !is_framed {
            answer.0.push(("Content-Length".to_owned(), body.len().to_string()));
        }
        let mut reply = String::new();
        for (status, fields) in &exchange.interim {
            write!(reply, "HTTP/1.1 {status} Interim\r\n").unwrap();
            lines(&mut reply, fields);
        }
        if !exchange.disconnect {
            write!(reply, "HTTP/1.1 {status} {reason}\r\n").unwrap();
            lines(&mut reply, &answer.0);
            if has_body && method != "HEAD" {
                reply.push_str(body);
            }
        }
        // A coding that nobody knows says nothing of the length, so the body goes to the end.
        let is_last = exchange.disconnect || answer.has("transfer-encoding");
        Reply { bytes: bytes(&reply), is_last }
    }
}

struct Reply {
    bytes: Vec<u8>,
    is_last: bool,
}

impl Reply {
    fn plain(status: &str) -> Self {
        let text = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        Self { bytes: text.into_bytes(), is_last: false }
    }
}

fn lines(text: &mut String, fields: &[(String, String)]) {
    for (name, value) in fields {
        write!(text, "{name}: {value}\r\n").unwrap();
    }
    text.push_str("\r\n");
}

/// The exchange before this one, and what was sent in it: nothing where the cache answered.
type Before<'a> = Option<(&'a Exchange, Option<&'a Fields>)>;

/// 304 to who asks whether the answer before is still good, where that is what the test is about; 999 to who should have asked.
fn status(exchange: &Exchange, before: Before<'_>, asked: &Fields) -> (u16, String) {
    if matches!(exchange.source, Some(Source::EtagValidated | Source::DateValidated)) {
        let same = |validator: &str, condition: &str| {
            let ours = before.and_then(|(before, answer)| {
                let mut all = before.sent.iter().rev();
                let sent = all.find(|sent| sent.name.eq_ignore_ascii_case(validator))?;
                match &sent.value {
                    Given::Text(text) => Some(text.clone()),
                    Given::Seconds(_) => answer?.get(validator),
                }
            });
            ours.is_some() && ours == asked.get(condition)
        };
        if same("last-modified", "if-modified-since") || same("etag", "if-none-match") {
            return (304, "Not Modified".to_owned());
        }
        return (999, "304 Not Generated".to_owned());
    }
    exchange.status.clone().unwrap_or_else(|| (200, "OK".to_owned()))
}

fn head(exchange: &Exchange, target: &str, now: SystemTime) -> Fields {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let mut fields = vec![
        ("Server-Base-Url".to_owned(), target.to_owned()),
        ("Server-Now".to_owned(), since.as_millis().to_string()),
    ];
    for sent in &exchange.sent {
        let name = sent.name.to_ascii_lowercase();
        let is_date = ["date", "expires", "last-modified"].contains(&name.as_str());
        let is_place = ["location", "content-location"].contains(&name.as_str());
        let value = match &sent.value {
            Given::Seconds(seconds) if is_date => {
                date(now, *seconds, exchange.has_old_dates(&name))
            }
            Given::Seconds(number) => number.to_string(),
            Given::Text(text) if is_place && exchange.locations_are_here => {
                let slash = if text.is_empty() { "" } else { "/" };
                format!("{target}{slash}{text}")
            }
            Given::Text(text) => text.clone(),
        };
        fields.push((sent.name.clone(), value));
    }
    let mut fields = Fields(fields);
    for (name, value) in [("Content-Type", "text/plain".to_owned()), ("Date", date(now, 0, false))]
    {
        if !fields.has(name) {
            fields.0.push((name.to_owned(), value));
        }
    }
    fields
}
