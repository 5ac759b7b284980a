//! What is right and wrong of what came.
use std::collections::BTreeSet;

use super::client::Received;
use super::date::date;
use super::definition::{Exchange, Expected, Given, Source, Test, Wanted};
use super::origin::Seen;

/// Why a test has not passed by itself.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// It has not come to what it is about.
    Setup(String),
    /// The origin saw one request twice.
    Retry,
    Failed(String),
}

pub(super) type Verdict = Result<(), Fault>;

/// What holds, or a fault.
fn holds(is_setup: bool, holds: bool, else_say: impl FnOnce() -> String) -> Verdict {
    match (holds, is_setup) {
        (true, _) => Ok(()),
        (false, true) => Err(Fault::Setup(else_say())),
        (false, false) => Err(Fault::Failed(else_say())),
    }
}

/// Looks at the answer to a request of a test, whose path ends with `id`.
pub(super) fn answer(id: &str, number: usize, exchange: &Exchange, got: &Received) -> Verdict {
    if let Some(numbers) = got.fields.get("request-numbers") {
        let numbers: Vec<_> = numbers.split(' ').collect();
        if numbers.iter().collect::<BTreeSet<_>>().len() < numbers.len() {
            return Err(Fault::Retry);
        }
    }
    source(number, exchange, got)?;
    status(number, exchange, got)?;
    for wanted in &exchange.expected_headers {
        header(number, exchange, got, wanted)?;
    }
    for (name, value) in &exchange.unexpected_headers {
        let there = got.fields.get(name);
        let is_there = match (&there, value) {
            (Some(there), Some(value)) => there.contains(value.as_str()),
            (there, _) => there.is_some(),
        };
        let is_setup = exchange.is_setup("expected_response_headers_missing");
        holds(is_setup, !is_there, || format!("answer {number} has {name}: {there:?}"))?;
    }
    interim(number, exchange, got)?;
    body(id, number, exchange, got)
}

fn source(number: usize, exchange: &Exchange, got: &Received) -> Verdict {
    let is_setup = exchange.is_setup("expected_type");
    let count = got.fields.get("server-request-count");
    let count: Option<usize> = count.and_then(|count| count.parse().ok());
    match exchange.source {
        // A 304 may leave out everything that the client knows.
        Some(Source::Cached) if got.status == 304 && count.is_none() => Ok(()),
        Some(Source::Cached) => holds(is_setup, count.is_some_and(|count| count < number), || {
            format!("answer {number} is not from the cache ({}, {count:?})", got.status)
        }),
        Some(Source::NotCached) => holds(is_setup, count == Some(number), || {
            format!("answer {number} is from the cache ({}, {count:?})", got.status)
        }),
        Some(Source::EtagValidated | Source::DateValidated) | None => Ok(()),
    }
}

fn status(number: usize, exchange: &Exchange, got: &Received) -> Verdict {
    let (expected, is_setup) = match (&exchange.expected_status, &exchange.status) {
        (Some(Expected::Any), _) => return Ok(()),
        (Some(Expected::Is(status)), _) => (*status, exchange.is_setup("expected_status")),
        (None, Some((status, _))) => (*status, true),
        (None, None) if got.status == 999 => {
            let is_setup = exchange.is_setup("expected_type");
            return holds(is_setup, false, || format!("request {number} was not conditional"));
        }
        (None, None) => (200, true),
    };
    holds(is_setup, got.status == expected, || {
        format!("answer {number} has the status {}, not {expected}", got.status)
    })
}

fn header(number: usize, exchange: &Exchange, got: &Received, wanted: &Wanted) -> Verdict {
    let is_setup = exchange.is_setup("expected_response_headers");
    let (name, is_right) = match wanted {
        Wanted::Present(name) => (name, got.fields.has(name)),
        Wanted::Is(name, value) => {
            let is_place = ["location", "content-location"].contains(&name.to_lowercase().as_str());
            let base = got.fields.get("server-base-url").unwrap_or_default();
            let value = match value {
                Given::Text(text) if is_place && exchange.locations_are_here => {
                    Some(format!("{base}/{text}"))
                }
                Given::Text(text) => Some(text.clone()),
                Given::Seconds(seconds) => {
                    let is_old = exchange.has_old_dates(name);
                    got.origin_time().map(|time| date(time, *seconds, is_old))
                }
            };
            (name, value.is_some() && got.fields.get(name) == value)
        }
        Wanted::Like(name, other) => {
            (name, got.fields.has(name) && got.fields.get(name) == got.fields.get(other))
        }
        Wanted::MoreThan(name, least) => {
            let value = got.fields.get(name).and_then(|value| value.parse::<i64>().ok());
            (name, value.is_some_and(|value| value > *least))
        }
    };
    holds(is_setup, is_right, || {
        format!("answer {number} has {name}: {:?}; {wanted:?}", got.fields.get(name))
    })
}

fn interim(number: usize, exchange: &Exchange, got: &Received) -> Verdict {
    let Some(expected) = &exchange.expected_interim else {
        return Ok(());
    };
    let is_right = expected.len() == got.interim.len()
        && expected.iter().zip(&got.interim).all(|(expected, got)| {
            let has = |(name, value): &(String, String)| {
                got.1.iter().any(|(key, is)| key.eq_ignore_ascii_case(name) && is == value)
            };
            expected.0 == got.0 && expected.1.iter().all(has)
        });
    let is_setup = exchange.is_setup("expected_interim_responses");
    holds(is_setup, is_right, || format!("before answer {number} came {:?}", got.interim))
}

fn body(id: &str, number: usize, exchange: &Exchange, got: &Received) -> Verdict {
    let (expected, is_setup) = match (&exchange.expected_text, &exchange.sent_body) {
        _ if exchange.ignore_body => return Ok(()),
        (Some(Expected::Any), _) => return Ok(()),
        (Some(Expected::Is(text)), _) => {
            (text.as_str(), exchange.is_setup("expected_response_text"))
        }
        (None, Some(body)) => (body.as_str(), true),
        (None, None) if got.status == 204 || got.status == 304 => return Ok(()),
        (None, None) if exchange.method == "HEAD" => return Ok(()),
        (None, None) => (id, true),
    };
    holds(is_setup, got.text() == expected, || {
        format!("answer {number} has the body {:?}, not {expected:?}", got.text())
    })
}

/// Looks at what reached the origin.
pub(super) fn origin(test: &Test, answers: &[Received], seen: &[Seen]) -> Verdict {
    let mut seen = seen.iter();
    for (at, (exchange, got)) in test.exchanges.iter().zip(answers).enumerate() {
        let number = at + 1;
        if exchange.source == Some(Source::Cached) {
            // The origin has not seen this one.
            continue;
        }
        let request = seen.next();
        let is_setup = exchange.is_setup("expected_type");
        let condition = match exchange.source {
            Some(Source::NotCached) => {
                let is_this = request.is_some_and(|request| request.number == number);
                holds(is_setup, is_this, || format!("request {number} did not reach the origin"))?;
                None
            }
            Some(Source::EtagValidated) => Some("if-none-match"),
            Some(Source::DateValidated) => Some("if-modified-since"),
            Some(Source::Cached) | None => None,
        };
        if let Some(name) = condition {
            let has = request.is_some_and(|request| request.fields.has(name));
            holds(is_setup, has, || format!("request {number} has no {name} at the origin"))?;
        }
        let Some(request) = request else {
            let asks = exchange.method_at_origin.is_some()
                || !exchange.headers_at_origin.is_empty()
                || !exchange.headers_not_at_origin.is_empty();
            holds(false, !asks, || format!("request {number} did not reach the origin"))?;
            continue;
        };
        at_origin(number, exchange, got, request)?;
    }
    Ok(())
}

fn at_origin(number: usize, exchange: &Exchange, got: &Received, request: &Seen) -> Verdict {
    let has = |name: &str, value: &Option<String>| match value {
        None => request.fields.has(name),
        Some(_) => request.fields.get(name) == *value,
    };
    for (name, value) in &exchange.headers_at_origin {
        let is_setup = exchange.is_setup("expected_request_headers");
        let there = || request.fields.get(name);
        holds(is_setup, has(name, value), || {
            format!("request {number} has {name}: {:?}", there())
        })?;
    }
    for (name, value) in &exchange.headers_not_at_origin {
        let is_setup = exchange.is_setup("expected_request_headers_missing");
        holds(is_setup, !has(name, value), || format!("request {number} has {name}"))?;
    }
    for (name, value) in &request.sent {
        // It may be the gateway's.
        if name.eq_ignore_ascii_case("date") {
            continue;
        }
        let there = got.fields.get(name);
        holds(true, there.as_ref() == Some(value), || {
            format!("answer {number} has {name}: {there:?}, not {value:?}")
        })?;
    }
    if let Some(method) = &exchange.method_at_origin {
        let is_setup = exchange.is_setup("expected_method");
        holds(is_setup, request.method == *method, || {
            format!("request {number} came as {}", request.method)
        })?;
    }
    Ok(())
}
