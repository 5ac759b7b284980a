//! What a stored response answers to a request.
use http::header::{
    ACCEPT_RANGES, AGE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, DATE, ETAG, LAST_MODIFIED, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use smallvec::SmallVec;

use super::conditional::{self, Verdict};
use super::multipart::Multipart;
use super::range::{self, Held, Ranges, Span};
use super::{Answer, Asked, Content, Moment, Stored};

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");
const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// What describes a body and is therefore not in a 304 (RFC 9110, section 15.4.5).
const OF_THE_BODY: [HeaderName; 8] = [
    CONTENT_DIGEST,
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    CONTENT_LENGTH,
    CONTENT_MD5,
    CONTENT_RANGE,
    CONTENT_TYPE,
    REPR_DIGEST,
];
/// What a refusal has in common with the answer it stands for.
const OF_A_REFUSAL: [HeaderName; 4] = [ACCEPT_RANGES, DATE, ETAG, VARY];

/// Which bytes of the representation an answer has.
enum Choice {
    /// All of them.
    Whole,
    /// Some, of those that are stored.
    Spans(SmallVec<[Span; 2]>),
    /// None that there are; the representation has this length.
    Unsatisfiable(u64),
    /// Bytes that are not stored.
    NotHeld,
}

impl Stored {
    /// Answers a request with what is stored: its preconditions (RFC 9110, section 13.2.2), its `Range` (section 14.2), `HEAD`, and `Age`.
    ///
    /// `len` is how many bytes of body are stored. A part can only answer what [`answers_part`](Self::answers_part) admits; to anything else the answer is
    /// the part as it is stored.
    pub fn answer(&self, asked: Asked<'_>, now: Moment, len: u64) -> Answer {
        let mut answer = match conditional::check(self, asked) {
            Verdict::NotModified => self.not_modified(),
            Verdict::Failed => self.refusal(StatusCode::PRECONDITION_FAILED),
            Verdict::Holds => match self.choose(asked, len) {
                Choice::Whole => self.whole(len),
                Choice::Spans(spans) => self.spans(&spans, len),
                Choice::Unsatisfiable(total) => {
                    let mut answer = self.refusal(StatusCode::RANGE_NOT_SATISFIABLE);
                    answer.headers.insert(CONTENT_RANGE, range::unsatisfiable(total));
                    answer
                }
                Choice::NotHeld => self.as_stored(len),
            },
        };
        answer.headers.insert(AGE, HeaderValue::from(self.age(now)));
        if asked.method == Method::HEAD {
            answer.content = Content::Nothing;
        }
        answer
    }

    /// Whether a stored part has all that is asked for: the ranges, or the whole representation if it happens to be all of it. Always, for what is not a part.
    ///
    /// `len` is how many bytes of body are stored.
    pub fn answers_part(&self, asked: Asked<'_>, len: u64) -> bool {
        // Whoever has it already needs no bytes.
        let needs_bytes = || conditional::check(self, asked) == Verdict::Holds;
        !matches!(self.choose(asked, len), Choice::NotHeld) || !needs_bytes()
    }

    /// Which bytes of the representation are stored; `None` where the body is not as long as it says.
    pub(super) fn held(&self, len: u64) -> Option<Held> {
        if self.status != StatusCode::PARTIAL_CONTENT {
            return Some(Held::whole(len));
        }
        range::content_range(&self.headers).filter(|held| held.span.1 - held.span.0 == len)
    }

    fn choose(&self, asked: Asked<'_>, len: u64) -> Choice {
        let Some(held) = self.held(len) else { return Choice::NotHeld };
        let whole = || if held.is_whole() { Choice::Whole } else { Choice::NotHeld };
        // Ranges are those of a 200, and of `GET` only.
        let is_ranged = asked.method == Method::GET
            && matches!(self.status, StatusCode::OK | StatusCode::PARTIAL_CONTENT);
        let specs = if is_ranged { range::asked(asked.headers) } else { None };
        let Some(specs) = specs.filter(|_| conditional::if_range(&self.headers, asked.headers))
        else {
            return whole();
        };
        match range::resolve(&specs, held.total) {
            Ranges::Whole => whole(),
            // What overlaps must not make more of a part than there is.
            Ranges::Spans(spans)
                if spans.iter().all(|&span| held.has(span)) && range::sum(&spans) <= len =>
            {
                Choice::Spans(spans)
            }
            Ranges::Unsatisfiable => held.total.map_or(Choice::NotHeld, Choice::Unsatisfiable),
            Ranges::Spans(_) | Ranges::Unknown => Choice::NotHeld,
        }
    }

    fn whole(&self, len: u64) -> Answer {
        let mut headers = self.headers.clone();
        let mut status = self.status;
        if status == StatusCode::PARTIAL_CONTENT {
            // It is all there is.
            headers.remove(CONTENT_RANGE);
            status = StatusCode::OK;
        }
        say_length(&mut headers, status, len);
        let content = if len == 0 { Content::Nothing } else { Content::Whole };
        Answer { status, headers, content }
    }

    fn as_stored(&self, len: u64) -> Answer {
        let mut headers = self.headers.clone();
        say_length(&mut headers, self.status, len);
        Answer { status: self.status, headers, content: Content::Whole }
    }

    fn spans(&self, spans: &[Span], len: u64) -> Answer {
        let mut headers = self.headers.clone();
        // They are of the bytes that were sent then, not of those that are sent now.
        headers.remove(CONTENT_DIGEST);
        headers.remove(CONTENT_MD5);
        let held = self.held(len).unwrap_or(Held::whole(len));
        let here = |&(first, end): &Span| {
            (first.saturating_sub(held.span.0), end.saturating_sub(held.span.0))
        };
        let (content, length) = match spans {
            &[span] => {
                headers.insert(CONTENT_RANGE, range::say(span, held.total));
                (Content::Part(here(&span).0, here(&span).1), span.1.saturating_sub(span.0))
            }
            spans => {
                let parts = Multipart::new(spans, held.total, headers.get(CONTENT_TYPE));
                headers.remove(CONTENT_RANGE);
                headers.insert(CONTENT_TYPE, parts.content_type);
                let heads = parts.heads.iter().map(|head| head.len() as u64).sum::<u64>();
                let length =
                    heads.saturating_add(range::sum(spans)).saturating_add(parts.end.len() as u64);
                (
                    Content::Parts(
                        parts.heads.into_iter().zip(spans.iter().map(here)).collect(),
                        parts.end,
                    ),
                    length,
                )
            }
        };
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        Answer { status: StatusCode::PARTIAL_CONTENT, headers, content }
    }

    fn not_modified(&self) -> Answer {
        let mut headers = self.headers.clone();
        for name in &OF_THE_BODY {
            headers.remove(name);
        }
        // With an entity tag, it says nothing more.
        if headers.contains_key(ETAG) {
            headers.remove(LAST_MODIFIED);
        }
        Answer { status: StatusCode::NOT_MODIFIED, headers, content: Content::Nothing }
    }

    fn refusal(&self, status: StatusCode) -> Answer {
        let mut headers = HeaderMap::with_capacity(8);
        for name in &OF_A_REFUSAL {
            for value in self.headers.get_all(name) {
                headers.append(name, value.clone());
            }
        }
        headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
        Answer { status, headers, content: Content::Nothing }
    }
}

/// Says how long the body is, where the status has one.
fn say_length(headers: &mut HeaderMap, status: StatusCode, len: u64) {
    if status == StatusCode::NO_CONTENT {
        headers.remove(CONTENT_LENGTH);
    } else {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(len));
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{START, START_DATE, asked, headers, stored};
    use super::*;

    const BODY: &[u8] = b"0123456789";
    const NOW: Moment = Moment((START + 7) * 1000);

    type Fields<'a> = &'a [(&'a str, &'a str)];

    fn get(stored: &Stored, fields: Fields<'_>, len: u64) -> Answer {
        stored.answer(asked(&Method::GET, &headers(fields)), NOW, len)
    }
    fn whole() -> Stored {
        stored(
            200,
            &[
                ("date", START_DATE),
                ("etag", "\"a\""),
                ("content-type", "text/plain"),
                ("x-other", "1"),
                ("content-digest", "sha-256=:YQ==:"),
            ],
        )
    }
    /// The bytes 4 to 8 of ten.
    fn part() -> Stored {
        stored(206, &[("content-range", "bytes 4-8/10"), ("etag", "\"a\"")])
    }
    fn field<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
        answer.headers.get(name).map(|value| value.to_str().unwrap())
    }
    /// As it goes to the client.
    fn body(answer: &Answer, stored: &[u8]) -> Vec<u8> {
        let bytes = |first: u64, end: u64| {
            &stored[usize::try_from(first).unwrap()..usize::try_from(end).unwrap()]
        };
        match &answer.content {
            Content::Nothing => Vec::new(),
            Content::Whole => stored.to_vec(),
            Content::Part(first, end) => bytes(*first, *end).to_vec(),
            Content::Parts(parts, last) => {
                let parts = parts
                    .iter()
                    .flat_map(|(head, (first, end))| [&head[..], bytes(*first, *end)].concat());
                parts.chain(last.iter().copied()).collect()
            }
        }
    }

    #[test]
    fn answers_all_of_it() {
        let answer = get(&whole(), &[], 10);
        assert_eq!((answer.status.as_u16(), &answer.content), (200, &Content::Whole));
        assert_eq!(
            (field(&answer, "age"), field(&answer, "content-length")),
            (Some("7"), Some("10"))
        );
        let head = headers(&[("range", "bytes=0-1")]);
        let answer = whole().answer(asked(&Method::HEAD, &head), NOW, 10);
        assert_eq!((answer.status.as_u16(), &answer.content), (200, &Content::Nothing));
        assert_eq!(field(&answer, "content-length"), Some("10"));
        let answer = get(&stored(204, &[]), &[], 0);
        assert_eq!((field(&answer, "content-length"), &answer.content), (None, &Content::Nothing));
    }

    #[test]
    fn answers_a_range() {
        let rows = [
            ("bytes=0-1", "01", "bytes 0-1/10"),
            ("bytes=-1", "9", "bytes 9-9/10"),
            ("bytes=8-", "89", "bytes 8-9/10"),
            ("bytes=20-, 3-3", "3", "bytes 3-3/10"),
        ];
        for (range, want, says) in rows {
            let answer = get(&whole(), &[("range", range)], 10);
            assert_eq!(answer.status, 206, "{range}");
            assert_eq!(body(&answer, BODY), want.as_bytes(), "{range}");
            assert_eq!(field(&answer, "content-range"), Some(says));
            assert_eq!(field(&answer, "content-length"), Some(want.len().to_string().as_str()));
            assert_eq!(
                (field(&answer, "x-other"), field(&answer, "content-digest")),
                (Some("1"), None)
            );
        }
        let out = get(&whole(), &[("range", "bytes=10-")], 10);
        assert_eq!(
            (out.status.as_u16(), field(&out, "content-range"), &out.content),
            (416, Some("bytes */10"), &Content::Nothing)
        );
        for ignored in [
            &[("range", "lines=0-1")] as Fields<'_>,
            &[("range", "bytes=0-1"), ("if-range", "\"b\"")],
            &[("range", "bytes=0-1"), ("range", "bytes=0-1")],
        ] {
            let answer = get(&whole(), ignored, 10);
            assert_eq!(
                (answer.status.as_u16(), answer.content),
                (200, Content::Whole),
                "{ignored:?}"
            );
        }
        let same = get(&whole(), &[("range", "bytes=0-1"), ("if-range", "\"a\"")], 10);
        assert_eq!(same.status, 206);
        let gone = get(&stored(404, &[]), &[("range", "bytes=0-1")], 10);
        assert_eq!(
            (gone.status.as_u16(), gone.content),
            (404, Content::Whole),
            "only a 200 has ranges"
        );
        let post =
            whole().answer(asked(&Method::POST, &headers(&[("range", "bytes=0-1")])), NOW, 10);
        assert_eq!(post.status, 200);
    }

    #[test]
    fn answers_several_ranges() {
        let answer = get(&whole(), &[("range", "bytes=-1, 0-1")], 10);
        let content_type = field(&answer, "content-type").unwrap();
        let boundary = content_type.strip_prefix("multipart/byteranges; boundary=").unwrap();
        let want = format!(
            "--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes 9-9/10\r\n\r\n9\r\n--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/10\r\n\r\n01\r\n--{boundary}--\r\n"
        );
        assert_eq!(String::from_utf8(body(&answer, BODY)).unwrap(), want);
        assert_eq!(field(&answer, "content-length"), Some(want.len().to_string().as_str()));
        assert_eq!((answer.status.as_u16(), field(&answer, "content-range")), (206, None));
    }

    #[test]
    fn answers_from_a_part_what_lies_in_it() {
        let rows = [
            ("bytes=4-8", Some(("45678", "bytes 4-8/10"))),
            ("bytes=6-8", Some(("678", "bytes 6-8/10"))),
            ("bytes=4-9", None),
            ("bytes=3-8", None),
            ("bytes=6-", None),
            ("bytes=-1", None),
            ("lines=6-8", None),
            ("bytes=4-8,4-8", None),
        ];
        for (range, want) in rows {
            let fields = headers(&[("range", range)]);
            let asked = asked(&Method::GET, &fields);
            assert_eq!(part().answers_part(asked, 5), want.is_some(), "{range}");
            let Some((want, says)) = want else { continue };
            let answer = part().answer(asked, NOW, 5);
            assert_eq!(
                (answer.status.as_u16(), field(&answer, "content-range")),
                (206, Some(says)),
                "{range}"
            );
            assert_eq!(body(&answer, b"45678"), want.as_bytes(), "{range}");
        }
        let with = |fields: Fields<'_>, len| {
            part().answers_part(asked(&Method::GET, &headers(fields)), len)
        };
        assert!(!with(&[], 5), "not all of it");
        assert!(!with(&[("range", "bytes=4-8")], 4), "its body is too short");
        assert!(!with(&[("range", "bytes=4-8"), ("if-range", "\"b\"")], 5));
        assert!(with(&[("if-none-match", "\"a\"")], 5), "304 takes no bytes");
        assert!(with(&[("range", "bytes=10-")], 5), "416 neither");
        assert!(!part().answers_part(asked(&Method::HEAD, &HeaderMap::new()), 5));

        let tail = stored(206, &[("content-range", "bytes 5-9/10")]);
        let answer = get(&tail, &[("range", "bytes=-1")], 5);
        assert_eq!(body(&answer, b"56789"), b"9");
        let several = get(&tail, &[("range", "bytes=5-5,7-7")], 5);
        assert!(
            matches!(&several.content, Content::Parts(parts, _) if parts[0].1 == (0, 1) && parts[1].1 == (2, 3))
        );
        let all = get(&stored(206, &[("content-range", "bytes 0-9/10")]), &[], 10);
        assert_eq!(
            (all.status.as_u16(), field(&all, "content-range"), &all.content),
            (200, None, &Content::Whole)
        );
    }

    #[test]
    fn says_what_the_client_has() {
        let mut stored = whole();
        stored.headers.extend(headers(&[
            ("last-modified", START_DATE),
            ("vary", "accept"),
            ("cache-control", "max-age=3600"),
            ("content-location", "/a"),
            ("expires", "0"),
        ]));
        let answer = get(&stored, &[("if-none-match", "\"a\""), ("range", "bytes=0-1")], 10);
        assert_eq!((answer.status.as_u16(), &answer.content), (304, &Content::Nothing));
        for name in ["etag", "date", "vary", "cache-control", "content-location", "expires", "age"]
        {
            assert!(answer.headers.contains_key(name), "{name}");
        }
        for name in ["content-type", "content-length", "last-modified", "content-digest"] {
            assert!(!answer.headers.contains_key(name), "{name}");
        }
        stored.headers.remove(ETAG);
        let answer = get(&stored, &[("if-modified-since", START_DATE)], 10);
        assert_eq!(
            (answer.status.as_u16(), field(&answer, "last-modified")),
            (304, Some(START_DATE))
        );
        let refused = get(&whole(), &[("if-match", "\"b\"")], 10);
        assert_eq!(
            (refused.status.as_u16(), &refused.content, field(&refused, "content-length")),
            (412, &Content::Nothing, Some("0"))
        );
    }
}
