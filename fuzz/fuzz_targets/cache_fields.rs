//! The cache takes every field from an origin and from a client: none makes it panic, nothing is answered that is not stored, what
//! is stored survives being written, and nothing gets younger.
//!
//! The input is read twice: as a record of a stored response, and as text. Of the text, the first byte chooses the rules and the
//! status; then each line is a field, of the response if its first byte is a small letter and of the request if it is a capital.
#![no_main]
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use libfuzzer_sys::fuzz_target;
use portcullis_cache::Scope;
use portcullis_cache::policy::{
    Answer, Asked, Content, Judgement, Moment, NoVarySearch, Preset, Rules, Stored, Times,
    invalidated_groups, invalidates, only_if_cached,
};

/// By the letters of the alphabet.
const FIELDS: [&str; 26] = [
    "age",
    "authorization",
    "cache-control",
    "date",
    "etag",
    "cdn-cache-control",
    "cache-groups",
    "cache-group-invalidation",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "last-modified",
    "if-unmodified-since",
    "no-vary-search",
    "content-length",
    "content-range",
    "accept-encoding",
    "range",
    "surrogate-key",
    "content-type",
    "if-range",
    "vary",
    "set-cookie",
    "expires",
    "connection",
    "content-location",
];
/// Wed, 01 Jan 2025 12:00:00 GMT, in milliseconds.
const NOON: u64 = 1_735_732_800_000;
/// How long the stored body is.
const LEN: u64 = 10;

fuzz_target!(|input: &[u8]| {
    if let Some(stored) = Stored::from_bytes(input) {
        check_record(&stored);
        check_stored(&stored, &Rules::default(), &HeaderMap::new());
    }
    let Some((&choices, text)) = input.split_first() else { return };
    let (mut said, mut asked) = (HeaderMap::new(), HeaderMap::new());
    for line in text.split(|&byte| byte == b'\n') {
        let Some((&which, value)) = line.split_first() else { continue };
        let letter = which.to_ascii_lowercase().wrapping_sub(b'a');
        let Some(&name) = FIELDS.get(usize::from(letter)) else { continue };
        let Ok(value) = HeaderValue::from_bytes(value) else { continue };
        let headers = if which.is_ascii_lowercase() { &mut said } else { &mut asked };
        headers.append(HeaderName::from_static(name), value);
    }
    if let Some(rules) = NoVarySearch::of(&said) {
        check_query(&rules, &String::from_utf8_lossy(text));
    }
    check(choices, said, &asked);
});

fn check(choices: u8, said: HeaderMap, asked: &HeaderMap) {
    let chosen = |bit: u8| choices & (1 << bit) != 0;
    let rules = Rules::new(if chosen(0) { Preset::Rfc } else { Preset::Application });
    let scope = if chosen(1) { Scope::Public } else { Scope::Identity };
    let status = if chosen(2) { 206 } else { 200 };
    let default_ttl = chosen(3).then_some(Duration::from_secs(60));
    let response = Response::builder().status(status).body(()).expect("nothing can be wrong");
    let (mut head, ()) = response.into_parts();
    head.headers = said;
    let request = Asked { method: &Method::GET, headers: asked, is_authenticated: chosen(4) };
    for url in invalidates(request, "https://shop.example/books?a=1", &head) {
        assert!(url.starts_with("https://shop.example/"), "{url} is of another origin");
    }
    _ = (invalidated_groups(&head), only_if_cached(asked));
    let times = Times { requested: Moment(NOON - 500), received: Moment(NOON) };
    let Ok(stored) = Stored::new(&rules, scope, default_ttl, request, &head, times) else { return };
    if !chosen(0) {
        assert!(!stored.headers().contains_key("set-cookie"), "a cookie is shared");
    }
    assert!(stored.matches(request), "it does not fit its own request");
    check_record(&stored);
    check_stored(&stored, &rules, asked);
    _ = stored.refreshed(&rules, default_ttl, request, &head, times);
    _ = stored.refreshed_by_head(&rules, default_ttl, request, &head, times);
    _ = (stored.missing(LEN), stored.if_range(), stored.combine(LEN, &stored, LEN));
}

fn check_stored(stored: &Stored, rules: &Rules, asked: &HeaderMap) {
    for method in [Method::GET, Method::HEAD] {
        let asked = Asked { method: &method, headers: asked, is_authenticated: false };
        let (mut age, mut ttl) = (0, i64::MAX);
        for now in [0, NOON, NOON + 1, NOON + 60_000, u64::MAX].map(Moment) {
            assert!(stored.age(now) >= age && stored.ttl(now) <= ttl, "it gets younger");
            (age, ttl) = (stored.age(now), stored.ttl(now));
            if stored.judge(rules, asked, now, false) == Judgement::Fresh {
                assert!(ttl >= 0, "it was fresh until {ttl} s ago");
            }
            assert_ne!(stored.judge(rules, asked, now, true), Judgement::Fresh, "it was purged");
            check_answer(&stored.answer(asked, now, LEN));
        }
        _ = stored.answers_part(asked, LEN);
        let mut outgoing = asked.headers.clone();
        stored.ask_again(&mut outgoing);
        assert!(!outgoing.contains_key("range"), "the whole is asked for");
    }
}

fn check_answer(answer: &Answer) {
    let is_within = |(first, end): (u64, u64)| first < end && end <= LEN;
    match &answer.content {
        Content::Part(first, end) => assert!(is_within((*first, *end)), "{first} to {end}"),
        Content::Parts(parts, _) => {
            assert!((2..=16).contains(&parts.len()), "{} parts", parts.len());
            let sum: u64 = parts.iter().map(|(_, (first, end))| end - first).sum();
            assert!(sum <= LEN, "{sum} bytes of {LEN}");
            assert!(parts.iter().all(|(_, span)| is_within(*span)));
        }
        _ => {}
    }
    assert_eq!(answer.headers.get_all("age").iter().count(), 1);
}

fn check_record(stored: &Stored) {
    let bytes = stored.to_bytes();
    let read = Stored::from_bytes(&bytes).expect("what was written is read");
    assert_eq!(read.to_bytes(), bytes);
    assert_eq!(format!("{read:?}"), format!("{stored:?}"));
}

fn check_query(rules: &NoVarySearch, query: &str) {
    let once = rules.normalise(query);
    assert_eq!(rules.normalise(&once), once, "not normal after all");
}
