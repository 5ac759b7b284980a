//! What must hold for every answer.
use std::error::Error;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::response::Parts;
use http::{HeaderMap, HeaderName, Method, StatusCode};
use portcullis_core::Problem;
use serde_json::{Map, Value};

use super::Rules;

/// Everything that is wrong with an answer.
pub(crate) fn complaints(
    rules: &Rules,
    method: &Method,
    head: &Parts,
    body: &Bytes,
) -> Vec<String> {
    let mut found = Vec::new();
    for name in head.headers.keys().filter(|name| !rules.header_is_allowed(name)) {
        found.push(format!("the header `{name}` is not on the allow list"));
    }
    content(method, head, body, &mut found);
    let problem = head.extensions.get::<Problem>();
    let is_json = is_problem_json(&head.headers);
    let is_error = head.status.is_client_error() || head.status.is_server_error();
    if is_json {
        if !is_error {
            found.push("a problem must have an error status".to_owned());
        }
        if *method != Method::HEAD {
            shape(rules, head, problem, body, &mut found);
        }
    }
    if let Some(problem) = problem {
        leaks(problem, body, is_json, &mut found);
    }
    if is_error && (is_json || problem.is_some()) {
        mandatory_headers(head, &mut found);
    } else if is_error && !rules.foreign_errors() {
        found.push(
            "an error must be a problem (`application/problem+json`, made by `Problem`); for an \
             application's own errors there is `foreign_errors()`"
                .to_owned(),
        );
    }
    found
}

pub(super) fn is_problem_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next());
    kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/problem+json"))
}

/// A body where there may be one, and as long as the answer says.
fn content(method: &Method, head: &Parts, body: &Bytes, found: &mut Vec<String>) {
    let none = matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if (*method == Method::HEAD || none) && !body.is_empty() {
        let what = if none { head.status.as_str() } else { "HEAD" };
        found.push(format!("the answer to {what} must have no body"));
    }
    let Some(length) = head.headers.get(CONTENT_LENGTH) else { return };
    let says: Option<usize> = length.to_str().ok().and_then(|length| length.parse().ok());
    if *method != Method::HEAD && !none && says != Some(body.len()) {
        let actual = body.len();
        found.push(format!("`Content-Length` is {length:?}, but the body has {actual} bytes"));
    }
}

/// The members of a problem (RFC 9457, section 3).
fn shape(
    rules: &Rules,
    head: &Parts,
    problem: Option<&Problem>,
    body: &Bytes,
    found: &mut Vec<String>,
) {
    let Ok(members) = serde_json::from_slice::<Map<String, Value>>(body) else {
        found.push("the body of a problem must be a JSON object".to_owned());
        return;
    };
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    match text("type") {
        None => found.push("the problem has no `type`".to_owned()),
        Some(uri) => {
            if !rules.type_is_allowed(uri) {
                found.push(format!("the problem's `type` is not one of the registry: `{uri}` (an application's own kinds are allowed by `allow_problems`)"));
            }
            if let Some(problem) = problem.filter(|problem| problem.kind().uri() != uri) {
                let slug = problem.kind().slug();
                found.push(format!("the problem's `type` is `{uri}`, but it was made as `{slug}`"));
            }
        }
    }
    if text("title").is_none_or(str::is_empty) {
        found.push("the problem has no `title`".to_owned());
    }
    if members.get("status") != Some(&Value::from(head.status.as_u16())) {
        let says = members.get("status").unwrap_or(&Value::Null);
        found
            .push(format!("the problem's `status` is {says}, but the answer's is {}", head.status));
    }
    for name in members.keys().filter(|name| !rules.member_is_allowed(name)) {
        found.push(format!("the problem's member `{name}` is not on the allow list"));
    }
}

/// Texts shorter than this are met by chance.
const TELLING: usize = 8;

/// The cause of a problem is for the log only.
fn leaks(problem: &Problem, body: &Bytes, is_json: bool, found: &mut Vec<String>) {
    let mut said: Vec<String> = problem.detail_text().map(str::to_owned).into_iter().collect();
    if is_json && let Ok(members) = serde_json::from_slice::<Map<String, Value>>(body) {
        // The title is the kind's own, the same for every cause.
        let ours = |name: &str| matches!(name, "type" | "title" | "status");
        let rest = members.into_iter().filter(|(name, _)| !ours(name));
        said.extend(rest.map(|(_, value)| match value {
            Value::String(text) => text,
            value => value.to_string(),
        }));
    }
    let mut cause = problem.cause_error().map(|cause| cause as &dyn Error);
    while let Some(error) = cause {
        let text = error.to_string();
        if text.len() >= TELLING && said.iter().any(|said| said.contains(&text)) {
            found.push(format!("the problem tells the client its cause: `{text}`"));
        }
        cause = error.source();
    }
}

/// The headers that some statuses must have (RFC 9110, sections 15.5.2 and 15.5.6; RFC 6585, section 4).
fn mandatory_headers(head: &Parts, found: &mut Vec<String>) {
    let mut must_have = |name: HeaderName, display: &str| {
        if !head.headers.contains_key(name) {
            found.push(format!("{} without `{display}`", head.status.as_u16()));
        }
    };
    match head.status {
        StatusCode::UNAUTHORIZED => must_have(WWW_AUTHENTICATE, "WWW-Authenticate"),
        StatusCode::METHOD_NOT_ALLOWED => must_have(ALLOW, "Allow"),
        StatusCode::TOO_MANY_REQUESTS => {
            must_have(RETRY_AFTER, "Retry-After");
            let after = head.headers.get(RETRY_AFTER);
            let seconds = after.and_then(|after| after.to_str().ok()?.parse::<u64>().ok());
            if let Some(after) = after.filter(|_| seconds.is_none_or(|seconds| seconds == 0)) {
                found.push(format!("`Retry-After` must be whole seconds, at least 1: {after:?}"));
            }
        }
        _ => {}
    }
}
