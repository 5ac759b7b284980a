//! The definitions of the suite, as they lie in its file.
use std::time::Duration;

use serde_json::{Map, Value};

/// What a test asks for: conformance, a good use of the cache, or just what the cache does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Required,
    Optimal,
    Check,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Required, Self::Optimal, Self::Check];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Optimal => "optimal",
            Self::Check => "check",
        }
    }
}

/// A test: requests for one resource, one after the other.
#[derive(Debug)]
pub(super) struct Test {
    pub(super) id: String,
    pub(super) kind: Kind,
    pub(super) depends_on: Vec<String>,
    pub(super) exchanges: Vec<Exchange>,
}

/// The value of a header.
#[derive(Clone, Debug)]
pub(super) enum Given {
    Text(String),
    /// A date so many seconds from now.
    Seconds(i64),
}

/// A header that the origin sends.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) name: String,
    pub(super) value: Given,
    /// Whether the client must get it like that, if the answer is the origin's.
    pub(super) is_checked: bool,
}

/// What is asked of a header.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    Present(String),
    Is(String, Given),
    /// The same as another header.
    Like(String, String),
    MoreThan(String, i64),
}

/// An answer before the answer.
pub(super) type Interim = (u16, Vec<(String, String)>);

/// Where an answer is to come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Cached,
    NotCached,
    EtagValidated,
    DateValidated,
}

/// What an answer is to be in one respect.
#[derive(Clone, Debug)]
pub(super) enum Expected<T> {
    Any,
    Is(T),
}

/// One request, what the origin does with it, and what is to come of it.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "as many as a definition has")]
pub(super) struct Exchange {
    pub(super) method: String,
    /// Behind the path of the test.
    pub(super) place: String,
    pub(super) headers: Vec<(String, Given)>,
    pub(super) body: Option<String>,
    /// Headers whose dates are written as RFC 850 did.
    pub(super) old_dates: Vec<String>,
    pub(super) dates_from_answer_before: bool,
    pub(super) pause_after: bool,

    pub(super) pause: Option<Duration>,
    pub(super) interim: Vec<Interim>,
    pub(super) disconnect: bool,
    pub(super) status: Option<(u16, String)>,
    pub(super) sent: Vec<Sent>,
    pub(super) sent_body: Option<String>,
    pub(super) locations_are_here: bool,

    pub(super) source: Option<Source>,
    pub(super) expected_status: Option<Expected<u16>>,
    pub(super) expected_headers: Vec<Wanted>,
    pub(super) unexpected_headers: Vec<(String, Option<String>)>,
    pub(super) expected_interim: Option<Vec<Interim>>,
    pub(super) expected_text: Option<Expected<String>>,
    pub(super) ignore_body: bool,
    pub(super) method_at_origin: Option<String>,
    pub(super) headers_at_origin: Vec<(String, Option<String>)>,
    pub(super) headers_not_at_origin: Vec<(String, Option<String>)>,
    setup: bool,
    setup_checks: Vec<String>,
}

impl Exchange {
    /// Whether a test that fails here has not even begun.
    pub(super) fn is_setup(&self, check: &str) -> bool {
        self.setup || self.setup_checks.iter().any(|name| name == check)
    }
    pub(super) fn has_old_dates(&self, name: &str) -> bool {
        self.old_dates.iter().any(|old| old.eq_ignore_ascii_case(name))
    }
}

/// The tests of a file that are for a cache that is shared, not for a browser.
///
/// A member that is not known here fails: what nobody understands must not be passed over.
pub(super) fn read(text: &str) -> Vec<Test> {
    let groups: Vec<Value> = serde_json::from_str(text).unwrap();
    let tests = groups.iter().flat_map(|group| group["tests"].as_array().unwrap());
    tests.filter(|test| test["browser_only"] != true).map(test).collect()
}

fn test(value: &Value) -> Test {
    let id = value["id"].as_str().unwrap().to_owned();
    let kind = match value["kind"].as_str() {
        None | Some("required") => Kind::Required,
        Some("optimal") => Kind::Optimal,
        Some("check") => Kind::Check,
        Some(other) => panic!("{id}: a test of the kind {other}"),
    };
    let exchanges = list(&value["requests"]).iter().map(|value| exchange(&id, value)).collect();
    let depends_on = list(&value["depends_on"]).iter().map(text).collect();
    Test { id, kind, depends_on, exchanges }
}

fn exchange(id: &str, value: &Value) -> Exchange {
    let members = value.as_object().unwrap();
    for name in members.keys() {
        assert!(KNOWN.contains(&name.as_str()), "{id}: {name} is not known here");
    }
    let flag = |name: &str| value[name] == true;
    let optional = |name: &str| value[name].as_str().map(str::to_owned);
    let filename = optional("filename").map_or(String::new(), |name| format!("/{name}"));
    let query = optional("query_arg").map_or(String::new(), |query| format!("?{query}"));
    Exchange {
        method: optional("request_method").unwrap_or_else(|| "GET".to_owned()),
        place: filename + &query,
        headers: list(&value["request_headers"])
            .iter()
            .map(|pair| (text(&pair[0]), given(&pair[1])))
            .collect(),
        body: optional("request_body"),
        old_dates: list(&value["rfc850date"]).iter().map(text).collect(),
        dates_from_answer_before: flag("magic_ims"),
        pause_after: members.contains_key("pause_after"),
        pause: value["response_pause"].as_f64().map(Duration::from_secs_f64),
        interim: interim(&value["interim_responses"]),
        disconnect: flag("disconnect"),
        status: value["response_status"].as_array().map(|pair| (code(&pair[0]), text(&pair[1]))),
        sent: list(&value["response_headers"]).iter().map(sent).collect(),
        sent_body: optional("response_body"),
        locations_are_here: flag("magic_locations"),
        source: value["expected_type"].as_str().map(|name| match name {
            "cached" => Source::Cached,
            "not_cached" => Source::NotCached,
            "etag_validated" => Source::EtagValidated,
            "lm_validated" => Source::DateValidated,
            other => panic!("{id}: an answer that is {other}"),
        }),
        expected_status: members.get("expected_status").map(|status| expected(status, code)),
        expected_headers: list(&value["expected_response_headers"]).iter().map(wanted).collect(),
        unexpected_headers: named(&value["expected_response_headers_missing"]),
        expected_interim: members.get("expected_interim_responses").map(interim),
        expected_text: members.get("expected_response_text").map(|is| expected(is, text)),
        ignore_body: value["check_body"] == false,
        method_at_origin: optional("expected_method"),
        headers_at_origin: named(&value["expected_request_headers"]),
        headers_not_at_origin: named(&value["expected_request_headers_missing"]),
        setup: flag("setup"),
        setup_checks: list(&value["setup_tests"]).iter().map(text).collect(),
    }
}

/// What an exchange may have. How a browser is to fetch (`mode`, `credentials`, `cache`, `redirect`) says nothing to a client that does
/// only what it is told.
const KNOWN: &[&str] = &[
    "request_method",
    "request_headers",
    "request_body",
    "query_arg",
    "filename",
    "mode",
    "credentials",
    "cache",
    "redirect",
    "pause_after",
    "disconnect",
    "magic_locations",
    "magic_ims",
    "rfc850date",
    "response_status",
    "response_headers",
    "response_body",
    "response_pause",
    "interim_responses",
    "check_body",
    "expected_type",
    "expected_status",
    "expected_method",
    "expected_request_headers",
    "expected_request_headers_missing",
    "expected_response_headers",
    "expected_response_headers_missing",
    "expected_interim_responses",
    "expected_response_text",
    "setup",
    "setup_tests",
];

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

fn code(value: &Value) -> u16 {
    u16::try_from(value.as_u64().unwrap()).unwrap()
}

fn expected<T>(value: &Value, read: fn(&Value) -> T) -> Expected<T> {
    if value.is_null() { Expected::Any } else { Expected::Is(read(value)) }
}

fn given(value: &Value) -> Given {
    value.as_i64().map_or_else(|| Given::Text(text(value)), Given::Seconds)
}

fn sent(value: &Value) -> Sent {
    let is_checked = value.get(2).is_none_or(|checked| checked == true);
    Sent { name: text(&value[0]), value: given(&value[1]), is_checked }
}

fn wanted(value: &Value) -> Wanted {
    let Some(parts) = value.as_array() else {
        return Wanted::Present(text(value));
    };
    let name = text(&parts[0]);
    match (parts.len(), parts[1].as_str()) {
        (2, _) => Wanted::Is(name, given(&parts[1])),
        (3, Some("=")) => Wanted::Like(name, text(&parts[2])),
        (3, Some(">")) => Wanted::MoreThan(name, parts[2].as_i64().unwrap()),
        _ => panic!("{value} is not known here"),
    }
}

/// Headers by their names alone, or with their values.
fn named(value: &Value) -> Vec<(String, Option<String>)> {
    let one = |value: &Value| match value.as_array() {
        None => (text(value), None),
        Some(pair) => (text(&pair[0]), Some(text(&pair[1]))),
    };
    list(value).iter().map(one).collect()
}

fn interim(value: &Value) -> Vec<Interim> {
    let pairs = |value: &Value| {
        list(value).iter().map(|pair| (text(&pair[0]), text(&pair[1]))).collect::<Vec<_>>()
    };
    let one = |value: &Value| (code(&value[0]), value.get(1).map(pairs).unwrap_or_default());
    list(value).iter().map(one).collect()
}

#[test]
#[should_panic(expected = "expected_luck is not known here")]
fn what_is_not_known_is_not_passed_over() {
    let mut members = Map::new();
    members.insert("expected_luck".to_owned(), Value::Bool(true));
    exchange("x", &Value::Object(members));
}
