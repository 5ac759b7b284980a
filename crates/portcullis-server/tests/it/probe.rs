//! Requests that go wrong in every way a request can (the cases of `Http11Probe`, as data): each is answered as it should be, or
//! as hyper itself answers it and as `docs/http11probe.md` says.
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use portcullis_core::Body;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Answer, End, Raw, local, ordinary, start, vectors};

/// How long an answer may keep us waiting. Cases that are meant to time out take as long.
const QUIET: Duration = Duration::from_millis(700);
const DOC: &str = include_str!("../../../../docs/http11probe.md");

/// What came back for one case.
#[derive(Debug)]
struct Outcome {
    answers: Vec<Answer>,
    end: End,
}

impl Outcome {
    fn status(&self) -> Option<u16> {
        self.answers.first().map(|answer| answer.status)
    }
    /// In the words of the data: a status, and how the connection stands.
    fn words(&self) -> [String; 2] {
        let status = self.status().map_or("none".to_owned(), |status| status.to_string());
        match (self.end, self.status()) {
            (End::Closed, _) => [format!("{status}/ClosedByServer"), String::new()],
            (End::Open, Some(_)) => [format!("{status}/Open"), String::new()],
            (End::Open, None) => ["none/Open".to_owned(), "none/TimedOut".to_owned()],
        }
    }
}

async fn send(address: SocketAddr, steps: &[Vec<u8>]) -> Outcome {
    let mut client = Raw::new(TcpStream::connect(address).await.unwrap());
    let (mut read, mut end) = (Vec::new(), End::Open);
    for step in steps {
        client.try_send(step).await;
        let (fresh, now) = client.rest(QUIET).await;
        read.extend(fresh);
        end = now;
        if end == End::Closed {
            break;
        }
    }
    let (mut answers, mut rest) = (Vec::new(), &read[..]);
    while let Some((answer, len)) = Answer::parse(rest, "GET", true) {
        rest = &rest[len..];
        // `100 Continue` is no answer.
        if answer.status >= 200 || answer.status == 101 {
            answers.push(answer);
        }
    }
    Outcome { answers, end }
}

/// The same service, behind hyper and nothing else.
async fn bare_hyper() -> SocketAddr {
    async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        ordinary(request.map(Body::new)).await
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = hyper::service::service_fn(answer);
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

struct Case {
    id: String,
    expected: String,
    scored: bool,
    verdicts: Value,
    steps: Vec<Vec<u8>>,
}

fn cases(address: SocketAddr) -> Option<Vec<Case>> {
    let file = vectors("http11probe/http11probe.json")?;
    let all: Vec<Value> = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let text = |case: &Value, key: &str| case[key].as_str().unwrap_or_default().to_owned();
    // Conditional requests are made of the entity tag of an earlier answer: the application's business, not a server's.
    let made_up = |case: &&Value| !case.to_string().contains("\"dynamic\":true");
    let cases = all.iter().filter(made_up).map(|case| {
        let payloads: Vec<&Value> = match case["steps"].as_array() {
            Some(steps) => steps.iter().map(|step| &step["parts"]).collect(),
            None => vec![case],
        };
        Case {
            id: text(case, "id"),
            expected: text(case, "expected"),
            scored: case["scored"] == true,
            verdicts: case["verdicts"].clone(),
            steps: payloads.iter().map(|payload| payload_of(payload, address)).collect(),
        }
    });
    Some(cases.collect())
}

/// The bytes of a case, or of all parts of a step.
fn payload_of(value: &Value, address: SocketAddr) -> Vec<u8> {
    let part = |part: &Value| decode(part["payload_b64"].as_str().unwrap());
    let bytes = match value.as_array() {
        Some(parts) => parts.iter().flat_map(part).collect(),
        None => part(value),
    };
    let bytes = replaced(&bytes, b"@@HOST@@", address.to_string().as_bytes());
    replaced(&bytes, b"@@HOSTNAME@@", address.ip().to_string().as_bytes())
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let Some(at) = crate::support::find(bytes, from) else { return bytes.to_vec() };
    let rest = replaced(&bytes[at + from.len()..], from, to);
    [&bytes[..at], to, &rest].concat()
}

fn decode(base64: &str) -> Vec<u8> {
    let digits = base64.bytes().filter_map(|digit| {
        Some(match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        })
    });
    let digits: Vec<_> = digits.collect();
    let quartets = digits.chunks(4).flat_map(|digits| {
        let number = digits.iter().fold(0u32, |sum, digit| sum << 6 | u32::from(*digit));
        let number = number << (6 * (4 - digits.len()));
        number.to_be_bytes()[1..digits.len()].to_vec()
    });
    quartets.collect()
}

/// Whether the case is answered as it should be.
fn passes(case: &Case, outcome: &Outcome) -> bool {
    let listed = |list: &str| {
        let list = case.verdicts[list].as_array().unwrap();
        outcome.words().iter().any(|word| list.iter().any(|listed| listed == word))
    };
    if listed("pass") {
        return true;
    }
    if !listed("needs_body_or_headers") {
        return false;
    }
    // The data cannot say it by status alone.
    let Some(answer) = outcome.answers.first() else { return false };
    let sent = Bytes::from(case.steps[0].clone());
    match case.expected.as_str() {
        "2xx + echo" | "2xx preferred; 400 warns" => {
            let want: &[u8] = if crate::support::find(&sent, b" world").is_some() {
                b"hello world"
            } else {
                b"hello"
            };
            answer.body == want
        }
        "204 without CL" => answer.status == 204 && answer.header("content-length").is_none(),
        // Only headers that were dropped would be right, and none is.
        _ => false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_wrong_are_answered_as_they_should_be() {
    let server = start(local());
    let hyper = bare_hyper().await;
    let Some(cases) = cases(server.address) else { return };
    let single: Vec<_> =
        cases.into_iter().filter(|case| case.scored && case.verdicts.is_object()).collect();
    let runs: Vec<_> = single
        .into_iter()
        .map(|case| {
            let address = server.address;
            tokio::spawn(async move {
                let ours = send(address, &case.steps).await;
                let theirs = send(hyper, &case.steps).await;
                (case, ours, theirs)
            })
        })
        .collect();
    let (mut all, mut passed, mut theirs_passed) = (0, 0, 0);
    let mut wrong = Vec::new();
    for run in runs {
        let (case, ours, theirs) = run.await.unwrap();
        all += 1;
        theirs_passed += usize::from(passes(&case, &theirs));
        assert!(ours.answers.len() <= 1, "{}: one request, {:?}", case.id, ours.answers);
        assert!(ours.status().is_none_or(|status| status < 500 || status == 501), "{}", case.id);
        if passes(&case, &ours) {
            passed += 1;
            continue;
        }
        let (own, bare) = (ours.status(), theirs.status());
        let is_documented = DOC.contains(&format!("| {} | ", case.id));
        // Hyper waits for a body that we say at once is too large.
        let is_better = own == Some(413) && bare.is_none();
        if is_better && is_documented {
            continue;
        }
        if own != bare || !is_documented {
            wrong.push(format!("{} ({}): ours {own:?}, hyper's {bare:?}", case.id, case.expected));
        }
    }
    assert!(wrong.is_empty(), "{passed}/{all}, hyper {theirs_passed}: {wrong:#?}");
    let stated = format!(
        "{passed} of {all} scored requests are answered as expected; bare hyper answers {theirs_passed}"
    );
    assert!(DOC.contains(&stated), "docs/http11probe.md must say: {stated}");
    assert!(passed >= 83, "{passed} of {all}");
    server.assert_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_sequence_smuggles_a_request() {
    let server = start(local());
    let Some(cases) = cases(server.address) else { return };
    let runs = cases.into_iter().filter(|case| !case.verdicts.is_object()).map(|case| {
        let address = server.address;
        tokio::spawn(async move {
            let outcome = send(address, &case.steps).await;
            (case, outcome)
        })
    });
    let mut seen = 0;
    for run in runs.collect::<Vec<_>>() {
        let (case, outcome) = run.await.unwrap();
        seen += 1;
        let statuses: Vec<_> = outcome.answers.iter().map(|answer| answer.status).collect();
        assert!(statuses.len() <= case.steps.len(), "{}: {statuses:?}", case.id);
        // A follow-up that was poisoned is not what it was: another method, or no request at all.
        let follow_up_is_well = statuses.iter().skip(1).all(|status| *status == 200);
        assert!(follow_up_is_well, "{}: {statuses:?}", case.id);
        if case.scored {
            // Whatever was answered, nothing that follows is read as a request.
            assert!(statuses.len() <= 1, "{}: {statuses:?}", case.id);
            assert_eq!(outcome.end, End::Closed, "{}: {outcome:?}", case.id);
        }
    }
    assert_eq!(seen, 21);
    server.assert_well().await;
}
