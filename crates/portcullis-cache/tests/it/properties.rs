//! What holds for every response and every request: the engine against models that are too simple to be wrong.
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, response};
use portcullis_cache::Scope;
use portcullis_cache::policy::{
    Asked, Content, Judgement, Moment, NoVarySearch, Preset, Rules, Stored, Times,
    invalidated_groups, invalidates, only_if_cached,
};
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Wed, 01 Jan 2025 12:00:00 GMT. All dates here are on that day.
const NOON: i64 = 1_735_732_800;

fn date(offset: i64) -> String {
    let second = offset + 43_200;
    assert!((0..86_400).contains(&second), "another day");
    format!("Wed, 01 Jan 2025 {:02}:{:02}:{:02} GMT", second / 3600, second / 60 % 60, second % 60)
}

fn moment(offset_ms: i64) -> Moment {
    Moment(u64::try_from(NOON * 1000 + offset_ms).unwrap())
}

fn headers<'a>(fields: impl IntoIterator<Item = (&'a str, String)>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap());
    }
    headers
}

fn head(status: u16, headers: HeaderMap) -> response::Parts {
    let (mut head, ()) = Response::builder().status(status).body(()).unwrap().into_parts();
    head.headers = headers;
    head
}

fn get(headers: &HeaderMap) -> Asked<'_> {
    Asked { method: &Method::GET, headers, is_authenticated: false }
}

fn rfc() -> Rules {
    Rules::new(Preset::Rfc)
}

/// A 200 that is stored, with these fields.
fn stored(fields: &[(&'static str, &str)]) -> Stored {
    let fields = fields.iter().map(|(name, value)| (*name, (*value).to_owned()));
    let head = head(200, headers(fields.chain([("cache-control", "max-age=3600".to_owned())])));
    let times = Times { requested: moment(0), received: moment(0) };
    Stored::new(&rfc(), Scope::Public, None, get(&HeaderMap::new()), &head, times).unwrap()
}

/// What an origin says, and when.
#[derive(Clone, Debug)]
struct Said {
    max_age: Option<u32>,
    s_maxage: Option<u32>,
    /// In seconds after `date`.
    expires: Option<i64>,
    /// What else is in `Cache-Control`.
    flags: Vec<&'static str>,
    /// `CDN-Cache-Control`, which stands in for all of the above.
    cdn_max_age: Option<u32>,
    /// In seconds after the head arrived.
    date: i64,
    last_modified: Option<i64>,
    age: Option<u32>,
    /// How long the origin took, in milliseconds.
    took: i64,
    /// In milliseconds after noon.
    received: i64,
}

fn said() -> impl Strategy<Value = Said> {
    let seconds = || proptest::option::of(0_u32..120);
    let flags = select(vec![
        "no-store",
        "No-Cache",
        "private",
        "public",
        "must-revalidate",
        "x=\"no-cache\"",
        "immutable",
    ]);
    let flags = prop_oneof![3 => Just(Vec::new()), 2 => proptest::collection::vec(flags, 1..3)];
    let times = (
        -100_i64..100,
        proptest::option::of(-20_000_i64..100),
        proptest::option::of(0_u32..60),
        0_i64..5000,
        0_i64..2000,
    );
    let cdn = prop_oneof![4 => Just(None), 1 => (0_u32..120).prop_map(Some)];
    (seconds(), seconds(), proptest::option::of(-60_i64..120), flags, cdn, times).prop_map(
        |(
            max_age,
            s_maxage,
            expires,
            flags,
            cdn_max_age,
            (date, last_modified, age, took, received),
        )| Said {
            max_age,
            s_maxage,
            expires,
            flags,
            cdn_max_age,
            date,
            last_modified,
            age,
            took,
            received,
        },
    )
}

impl Said {
    fn head(&self) -> response::Parts {
        let number = |name: &str, value: Option<u32>| value.map(|value| format!("{name}={value}"));
        let flags = self.flags.iter().map(|&flag| flag.to_owned());
        let control: Vec<_> = number("MAX-AGE", self.max_age)
            .into_iter()
            .chain(flags)
            .chain(number("s-maxage", self.s_maxage))
            .collect();
        let fields = [
            (!control.is_empty()).then(|| ("cache-control", control.join(", "))),
            number("max-age", self.cdn_max_age).map(|value| ("cdn-cache-control", value)),
            self.expires.map(|after| ("expires", date(self.date + after))),
            self.last_modified.map(|at| ("last-modified", date(at))),
            self.age.map(|age| ("age", age.to_string())),
            Some(("date", date(self.date))),
            Some(("etag", "\"a\"".to_owned())),
        ];
        head(200, headers(fields.into_iter().flatten()))
    }
    fn store(&self) -> Option<Stored> {
        let times =
            Times { requested: moment(self.received - self.took), received: moment(self.received) };
        Stored::new(&rfc(), Scope::Public, None, get(&HeaderMap::new()), &self.head(), times).ok()
    }
    fn has(&self, flag: &str) -> bool {
        self.cdn_max_age.is_none() && self.flags.contains(&flag)
    }
    /// In milliseconds (RFC 9111, section 4.2.1).
    fn lifetime(&self) -> i64 {
        let explicit = self.s_maxage.or(self.max_age).map(i64::from).or(self.expires);
        let explicit = self.cdn_max_age.map(i64::from).or(explicit);
        // The rule of thumb: a tenth of the time since it changed.
        let assumed = || self.last_modified.map_or(0, |at| (self.date - at).max(0) / 10);
        let assumed = || if self.has("No-Cache") { 0 } else { assumed() };
        explicit.unwrap_or_else(assumed).max(0) * 1000
    }
    /// In milliseconds, so many after the head has arrived (section 4.2.3).
    fn age(&self, resident: i64) -> i64 {
        let apparent = (self.received / 1000 - self.date).max(0) * 1000;
        let corrected = i64::from(self.age.unwrap_or(0)) * 1000 + self.took;
        apparent.max(corrected) + resident
    }
}

#[derive(Clone, Copy, Debug)]
enum Wish {
    None,
    NoCache,
    MaxAge(u32),
    MinFresh(u32),
}

fn wish() -> impl Strategy<Value = Wish> {
    prop_oneof![
        2 => Just(Wish::None),
        1 => Just(Wish::NoCache),
        1 => (0_u32..120).prop_map(Wish::MaxAge),
        1 => (0_u32..120).prop_map(Wish::MinFresh),
    ]
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    /// Exactly what the model holds to be fresh is: nothing is fresher than allowed, and nothing goes stale before its time.
    #[test]
    fn is_as_fresh_as_allowed(said in said(), wish in wish(), resident in 0_i64..200_000, is_stale in any::<bool>()) {
        let Some(stored) = said.store() else {
            let is_forbidden = said.has("no-store") || said.has("private");
            prop_assert!(is_forbidden, "it has a validator, and may be stored");
            return Ok(());
        };
        prop_assert!(!said.has("no-store") && !said.has("private"));
        let (age, lifetime) = (said.age(resident), said.lifetime());
        let is_immutable = said.has("immutable");
        let is_fresh = age < lifetime && !is_stale && !said.has("No-Cache");
        let (text, is_wished) = match wish {
            Wish::None => (None, true),
            Wish::NoCache => (Some("no-cache".to_owned()), false),
            // RFC 8246: what never changes is not too old.
            Wish::MaxAge(most) => (Some(format!("max-age={most}")), age <= i64::from(most) * 1000 || is_immutable),
            Wish::MinFresh(least) => (Some(format!("min-fresh={least}")), lifetime - age >= i64::from(least) * 1000),
        };
        let fields = headers(text.map(|text| ("cache-control", text)));
        let verdict = stored.judge(&rfc(), get(&fields), moment(said.received + resident), is_stale);
        prop_assert_eq!(verdict == Judgement::Fresh, is_fresh && is_wished, "{:?} {} {}", verdict, age, lifetime);
        prop_assert_eq!(i64::try_from(stored.age(moment(said.received + resident))).unwrap(), age / 1000);
    }

    #[test]
    fn age_never_shrinks(said in said(), steps in proptest::collection::vec(0_i64..100_000, 1..20)) {
        let Some(stored) = said.store() else { return Ok(()) };
        let (mut now, mut age, mut ttl) = (said.received, 0, i64::MAX);
        for step in steps {
            now += step;
            let none = HeaderMap::new();
            let answer = stored.answer(get(&none), moment(now), 10);
            let says: u64 = answer.headers["age"].to_str().unwrap().parse().unwrap();
            prop_assert_eq!(answer.headers.get_all("age").iter().count(), 1);
            prop_assert!(says >= age, "{} after {}", says, age);
            prop_assert!(says >= u64::from(said.age.unwrap_or(0)), "younger than what it came with");
            prop_assert!(stored.ttl(moment(now)) <= ttl);
            (age, ttl) = (says, stored.ttl(moment(now)));
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written(said in said(), vary in "[a-z]{1,8}", tags in "[ -~]{0,20}", value in proptest::collection::vec(0x80_u8..=0xff, 0..20)) {
        let mut head = said.head();
        head.headers.insert("surrogate-key", tags.parse().unwrap());
        head.headers.insert("vary", vary.parse().unwrap());
        head.headers.append("x-twice", HeaderValue::from_bytes(&value).unwrap());
        head.headers.append("x-twice", HeaderValue::from_static("2"));
        let asked = headers([(vary.as_str(), "1".to_owned())]);
        let times = Times { requested: moment(0), received: moment(said.took) };
        let Ok(stored) = Stored::new(&rfc(), Scope::Tenant, Some(Duration::from_secs(9)), get(&asked), &head, times) else { return Ok(()) };
        let bytes = stored.to_bytes();
        let read = Stored::from_bytes(&bytes).unwrap();
        prop_assert_eq!(format!("{:?}", &read), format!("{:?}", &stored));
        prop_assert_eq!(read.to_bytes(), bytes);
    }

    #[test]
    fn no_bytes_are_too_odd_for_a_record(at in any::<Index>(), with in proptest::collection::vec(any::<u8>(), 0..12), odd in proptest::collection::vec(any::<u8>(), 0..300)) {
        _ = Stored::from_bytes(&odd);
        let mut bytes = stored(&[("etag", "\"a\""), ("vary", "accept"), ("surrogate-key", "a b")]).to_bytes();
        let at = at.index(bytes.len());
        bytes.splice(at..(at + with.len()).min(bytes.len()), with);
        if let Some(read) = Stored::from_bytes(&bytes) {
            let again = Stored::from_bytes(&read.to_bytes()).map(|read| read.to_bytes());
            prop_assert_eq!(again, Some(read.to_bytes()));
        }
    }
}

/// One range, as it is asked for.
#[derive(Clone, Copy, Debug)]
enum Spec {
    Closed(u64, u64),
    Open(u64),
    Suffix(u64),
}

impl Spec {
    fn text(self) -> String {
        match self {
            Self::Closed(first, last) => format!("{first}-{last}"),
            Self::Open(first) => format!("{first}-"),
            Self::Suffix(length) => format!("-{length}"),
        }
    }
    /// Asks each byte whether it is meant.
    fn of(self, body: &[u8]) -> Vec<u8> {
        let len = body.len() as u64;
        let is_meant = |at: u64| match self {
            Self::Closed(first, last) => first <= at && at <= last,
            Self::Open(first) => first <= at,
            Self::Suffix(length) => len - at <= length,
        };
        body.iter().zip(0_u64..).filter(|(_, at)| is_meant(*at)).map(|(byte, _)| *byte).collect()
    }
}

fn spec() -> impl Strategy<Value = Spec> {
    prop_oneof![
        6 => (0_u64..40, 0_u64..40).prop_map(|(one, other)| Spec::Closed(one.min(other), one.max(other))),
        1 => (0_u64..40, 0_u64..40).prop_map(|(one, other)| Spec::Closed(one, other)),
        2 => (0_u64..40).prop_map(Spec::Open),
        2 => (0_u64..40).prop_map(Spec::Suffix),
        1 => Just(Spec::Closed(0, u64::MAX)),
    ]
}

/// What a client gets.
fn body(content: &Content, stored: &[u8]) -> Vec<u8> {
    let bytes = |(first, end): (u64, u64)| {
        &stored[usize::try_from(first).unwrap()..usize::try_from(end).unwrap()]
    };
    match content {
        Content::Whole => stored.to_vec(),
        Content::Part(first, end) => bytes((*first, *end)).to_vec(),
        Content::Parts(parts, end) => {
            let parts = parts.iter().flat_map(|(head, span)| [head, bytes(*span)].concat());
            parts.chain(end.iter().copied()).collect()
        }
        _ => Vec::new(),
    }
}

/// The parts of a `multipart/byteranges`: what each says it is, and its bytes. These have no line breaks.
fn parts(content_type: &str, body: &[u8]) -> Vec<(String, Vec<u8>)> {
    let boundary = content_type.strip_prefix("multipart/byteranges; boundary=").unwrap();
    let text = format!("\r\n{}", std::str::from_utf8(body).unwrap());
    let (text, end) = text.rsplit_once(&format!("\r\n--{boundary}--")).unwrap();
    assert_eq!(end, "\r\n");
    let delimiter = format!("\r\n--{boundary}\r\n");
    let mut parts = text.split(&delimiter);
    assert_eq!(parts.next(), Some(""), "there is something before the first");
    let part = |part: &str| {
        let (head, body) = part.split_once("\r\n\r\n").unwrap();
        let range = head.lines().find_map(|line| line.strip_prefix("Content-Range: ")).unwrap();
        (range.to_owned(), body.as_bytes().to_vec())
    };
    parts.map(part).collect()
}

/// The bytes that a `Content-Range` names.
fn named(range: &str, whole: &[u8]) -> Vec<u8> {
    let (span, total) = range.strip_prefix("bytes ").unwrap().split_once('/').unwrap();
    assert_eq!(total, whole.len().to_string());
    let (first, last) = span.split_once('-').unwrap();
    whole[first.parse().unwrap()..=last.parse().unwrap()].to_vec()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn ranges_are_those_of_a_naive_model(len in 0_usize..36, specs in proptest::collection::vec(spec(), 1..20)) {
        let whole = &b"0123456789abcdefghijklmnopqrstuvwxyz"[..len];
        let text = specs.iter().map(|spec| spec.text()).collect::<Vec<_>>().join(", ");
        let fields = headers([("range", format!("bytes={text}"))]);
        let answer = stored(&[]).answer(get(&fields), moment(0), len as u64);
        let got = body(&answer.content, whole);
        prop_assert_eq!(answer.headers["content-length"].to_str().unwrap(), got.len().to_string());

        let is_wrong = specs.iter().any(|spec| matches!(spec, Spec::Closed(first, last) if first > last));
        let wanted: Vec<_> = specs.iter().map(|spec| spec.of(whole)).filter(|bytes| !bytes.is_empty()).collect();
        let is_end_of_nothing = len == 0 && specs.iter().any(|spec| matches!(spec, Spec::Suffix(1..)));
        let is_too_much = wanted.iter().map(Vec::len).sum::<usize>() > len;
        if is_wrong || specs.len() > 16 || is_too_much || is_end_of_nothing {
            prop_assert_eq!((answer.status.as_u16(), got.as_slice()), (200, whole));
            return Ok(());
        }
        match wanted.as_slice() {
            [] => {
                prop_assert_eq!(answer.status, 416);
                prop_assert_eq!(answer.headers["content-range"].to_str().unwrap(), format!("bytes */{len}"));
            }
            [wanted] => {
                prop_assert_eq!((answer.status.as_u16(), &got), (206, wanted));
                prop_assert_eq!(&named(answer.headers["content-range"].to_str().unwrap(), whole), wanted);
            }
            wanted => {
                prop_assert_eq!(answer.status, 206);
                let parts = parts(answer.headers["content-type"].to_str().unwrap(), &got);
                for (range, bytes) in &parts {
                    prop_assert_eq!(&named(range, whole), bytes);
                }
                let bytes: Vec<_> = parts.into_iter().map(|(_, bytes)| bytes).collect();
                prop_assert_eq!(bytes.as_slice(), wanted);
            }
        }
    }

    /// Of two parts, whatever they are: either nothing, or bytes that say truly where they are from.
    #[test]
    fn parts_join_to_what_they_are_parts_of(one in (0_u64..36, 1_u64..36), other in (0_u64..36, 1_u64..36), is_total_known in any::<bool>()) {
        let whole = b"0123456789abcdefghijklmnopqrstuvwxyz";
        let part = |(first, len): (u64, u64)| {
            let end = (first + len).min(36);
            let total = if is_total_known { "36" } else { "*" };
            let fields = [("content-range", format!("bytes {first}-{}/{total}", end - 1)), ("etag", "\"a\"".to_owned()), ("cache-control", "max-age=9".to_owned())];
            let times = Times { requested: moment(0), received: moment(0) };
            let stored = Stored::new(&rfc(), Scope::Public, None, get(&HeaderMap::new()), &head(206, headers(fields)), times).unwrap();
            (stored, &whole[usize::try_from(first).unwrap()..usize::try_from(end).unwrap()])
        };
        let ((old, old_body), (new, new_body)) = (part(one), part(other));
        let combined = old.combine(old_body.len() as u64, &new, new_body.len() as u64);
        let touches = one.0 <= (other.0 + other.1).min(36) && other.0 <= (one.0 + one.1).min(36);
        prop_assert_eq!(combined.is_some(), touches);
        let Some(combined) = combined else { return Ok(()) };
        let mut bytes = Vec::new();
        for (source, first, end) in combined.pieces {
            let body = if source == portcullis_cache::policy::Source::Old { old_body } else { new_body };
            bytes.extend_from_slice(&body[usize::try_from(first).unwrap()..usize::try_from(end).unwrap()]);
        }
        if let Some(range) = combined.head.headers().get("content-range") {
            let range = range.to_str().unwrap().replace('*', "36");
            prop_assert_eq!(named(&range, whole), bytes);
        } else {
            prop_assert_eq!(bytes.as_slice(), whole);
        }
    }
}

/// Parts of a query, and what they mean.
const WORDS: [(&str, &str); 7] = [
    ("a", "a"),
    ("%61", "a"),
    ("b", "b"),
    ("c+d", "c d"),
    ("c%20d", "c d"),
    ("%26", "&"),
    ("%zz", "%zz"),
];

proptest! {
    #![proptest_config(config())]

    #[test]
    fn queries_are_alike_that_are_in_a_naive_model(
        rules in 0_usize..5,
        one in proptest::collection::vec((0..WORDS.len(), 0..WORDS.len()), 0..4),
        other in proptest::collection::vec((0..WORDS.len(), 0..WORDS.len()), 0..4),
        swap in any::<Option<(Index, Index)>>(),
    ) {
        let (field, is_unordered, matters): (_, _, fn(&str) -> bool) = [
            ("key-order", true, (|_| true) as fn(&str) -> bool),
            ("params=(\"a\")", false, |name| name != "a"),
            ("params, except=(\"a\")", false, |name| name == "a"),
            ("key-order, params=(\"c+d\" \"b\")", true, |name| name != "c d" && name != "b"),
            ("params", false, |_| false),
        ][rules];
        // Two of nothing in common say little: often the other is the one in another order.
        let other = match swap {
            Some((from, to)) if !one.is_empty() => {
                let mut other = one.clone();
                other.swap(from.index(one.len()), to.index(one.len()));
                other
            }
            _ => other,
        };
        let query = |pairs: &[(usize, usize)]| {
            let pairs = pairs.iter().map(|(name, value)| format!("{}={}", WORDS[*name].0, WORDS[*value].0));
            pairs.collect::<Vec<_>>().join("&")
        };
        let meaning = |pairs: &[(usize, usize)]| {
            let pairs = pairs.iter().map(|(name, value)| (WORDS[*name].1, WORDS[*value].1));
            let mut pairs: Vec<_> = pairs.filter(|(name, _)| matters(name)).collect();
            if is_unordered {
                pairs.sort_by_key(|(name, _)| *name);
            }
            pairs
        };
        let rules = NoVarySearch::of(&headers([("no-vary-search", field.to_owned())])).unwrap();
        let (first, second) = (rules.normalise(&query(&one)), rules.normalise(&query(&other)));
        prop_assert_eq!(first == second, meaning(&one) == meaning(&other), "{} {} {}", field, first, second);
        prop_assert_eq!(rules.normalise(&first), first);
    }
}

/// All fields that the engine reads.
const READ: [&str; 24] = [
    "age",
    "authorization",
    "cache-control",
    "cache-group-invalidation",
    "cache-groups",
    "cache-tag",
    "cdn-cache-control",
    "connection",
    "content-location",
    "content-range",
    "date",
    "etag",
    "expires",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "location",
    "no-vary-search",
    "range",
    "surrogate-key",
    "vary",
];
/// What such fields consist of.
const PIECES: [&str; 20] = [
    "max-age",
    "no-cache",
    "=",
    "\"",
    ",",
    ";",
    "\\",
    " ",
    "(",
    ")",
    "bytes",
    "-",
    "/",
    "*",
    "9",
    "99999999999999999999",
    "W/",
    "Wed, 01 Jan 2025 12:00:00 GMT",
    "params",
    "a",
];

fn any_fields() -> impl Strategy<Value = HeaderMap> {
    let odd = proptest::collection::vec(any::<u8>(), 0..12);
    let likely = proptest::collection::vec(select(&PIECES[..]), 0..8)
        .prop_map(|pieces| pieces.concat().into_bytes());
    let field = (select(&READ[..]), prop_oneof![odd, likely]);
    proptest::collection::vec(field, 0..8).prop_map(|fields| {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                headers.append(name, value);
            }
        }
        headers
    })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_field_is_too_odd(said in any_fields(), asked in any_fields(), status in select(vec![200_u16, 206, 404, 304]), query in "\\PC*", len in 0_u64..20, now in any::<u64>(), is_rfc in any::<bool>()) {
        let rules = if is_rfc { rfc() } else { Rules::default() };
        let head = head(status, said);
        let asked = get(&asked);
        _ = (invalidates(asked, "https://a.example/b", &head), invalidated_groups(&head), only_if_cached(asked.headers));
        if let Some(rules) = NoVarySearch::of(&head.headers) {
            let once = rules.normalise(&query);
            prop_assert_eq!(rules.normalise(&once), once);
        }
        for received in [0, 1_735_732_800_000, u64::MAX] {
            let times = Times { requested: Moment(5), received: Moment(received) };
            let Ok(stored) = Stored::new(&rules, Scope::Identity, Some(Duration::MAX), asked, &head, times) else { continue };
            let now = Moment(now);
            _ = (stored.judge(&rules, asked, now, false), stored.matches(asked), stored.age(now), stored.ttl(now));
            let mut outgoing = asked.headers.clone();
            stored.ask_again(&mut outgoing);
            let answer = stored.answer(asked, now, len);
            prop_assert!(!answer.headers.contains_key("connection"));
            if let Content::Part(first, end) = answer.content {
                prop_assert!(first < end && end <= len);
            }
            _ = (stored.answers_part(asked, len), stored.missing(len), stored.if_range());
            _ = (stored.refreshed(&rules, None, asked, &head, times), stored.refreshed_by_head(&rules, None, asked, &head, times));
            _ = stored.combine(len, &stored, len);
            prop_assert_eq!(Stored::from_bytes(&stored.to_bytes()).map(|read| read.to_bytes()), Some(stored.to_bytes()));
        }
    }
}
