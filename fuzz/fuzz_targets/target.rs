//! A path has one spelling, and a request has one target.
//!
//! The first byte chooses the rules, the scheme and the method. The rest is text: the request target, then on further
//! lines up to two `Host` headers, and what a trusted proxy says about the host.
#![no_main]
use http::header::HOST;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Uri};
use libfuzzer_sys::fuzz_target;
use portcullis_core::{Scheme, Target, TargetRules, canonical_path};

fuzz_target!(|input: &[u8]| {
    let Some((&choices, text)) = input.split_first() else { return };
    let rules = rules(choices);
    let mut lines = text.split(|&byte| byte == b'\n');
    let target = lines.next().unwrap_or_default();
    if let Ok(target) = std::str::from_utf8(target) {
        check_path(target, &rules);
    }
    check_request(choices, target, lines, &rules);
});

fn rules(choices: u8) -> TargetRules {
    let chosen = |bit: u8| choices & (1 << bit) != 0;
    let mut rules = TargetRules::strict();
    if chosen(0) {
        rules = rules.allow_encoded_slash();
    }
    if chosen(1) {
        rules = rules.merge_slashes();
    }
    if chosen(2) {
        rules = rules.keep_empty_segments();
    }
    if chosen(3) {
        rules = rules.allow_parameters();
    }
    rules
}

fn check_path(path: &str, rules: &TargetRules) {
    let Ok(once) = canonical_path(path, rules) else { return };
    check_canonical(&once);
    assert_eq!(canonical_path(&once, rules).as_ref(), Ok(&once), "not canonical after all");
}

/// What everybody behind the edge relies on.
fn check_canonical(path: &str) {
    assert!(path.starts_with('/'), "{path:?} is not absolute");
    assert!(
        path.is_ascii() && !path.contains(['\\', '?', '#', ' ']),
        "{path:?} has a raw character"
    );
    for segment in path.split('/').flat_map(|segment| segment.split("%2F")) {
        assert!(!matches!(segment, "." | ".."), "{path:?} has dot segments");
    }
    let parsed = PathAndQuery::try_from(path);
    assert_eq!(parsed.as_ref().map(PathAndQuery::path).ok(), Some(path), "is read otherwise");
}

fn check_request<'a>(
    choices: u8,
    target: &[u8],
    mut lines: impl Iterator<Item = &'a [u8]>,
    rules: &TargetRules,
) {
    let scheme = if choices & 0x10 == 0 { Scheme::Http } else { Scheme::Https };
    let method = if choices & 0x20 == 0 { Method::GET } else { Method::OPTIONS };
    let Ok(uri) = Uri::try_from(target) else { return };
    let mut request = Request::new(());
    *request.uri_mut() = uri;
    *request.method_mut() = method;
    for host in lines.by_ref().take(2).filter(|line| !line.is_empty()) {
        let Ok(host) = HeaderValue::from_bytes(host) else { return };
        request.headers_mut().append(HOST, host);
    }
    let forwarded = lines.next().and_then(|line| std::str::from_utf8(line).ok());

    let Ok(target) = Target::of(&request, scheme, forwarded, rules) else { return };
    if target.path() == "*" {
        assert_eq!(request.method(), Method::OPTIONS, "only `OPTIONS *` has no path");
    } else {
        check_canonical(target.path());
    }
    let text = target.path_and_query().as_str();
    assert!(text.starts_with(target.path()), "{text:?} is not what was checked: {target:?}");
    assert_eq!(target.query(), request.uri().query(), "the query changed");
    assert!(target.original().is_none_or(|original| original == request.uri()));

    target.apply_to(request.uri_mut());
    assert!(target.matches(request.uri()), "{target:?} was not applied: {}", request.uri());
    let again = Target::of(&request, scheme, forwarded, rules).expect("what is canonical is valid");
    assert_same(&again, &target);
    check_authority(&target, scheme, rules);
}

/// The authority is canonical too: as a `Host` header it is read as what it is.
fn check_authority(target: &Target, scheme: Scheme, rules: &TargetRules) {
    assert!(target.authority().starts_with(target.host()));
    if target.authority().is_empty() {
        return;
    }
    let request = Request::builder().uri(target.path_and_query().as_str());
    let request = request.method(Method::OPTIONS).header(HOST, target.authority()).body(());
    let request = request.expect("a canonical target is a valid request");
    let again = Target::of(&request, scheme, None, rules).expect("what is canonical is valid");
    assert_same(&again, target);
}

fn assert_same(one: &Target, other: &Target) {
    assert_eq!(one.path_and_query().as_str(), other.path_and_query().as_str());
    assert_eq!(one.authority(), other.authority());
    assert_eq!(
        (one.scheme(), one.host(), one.port()),
        (other.scheme(), other.host(), other.port())
    );
}
