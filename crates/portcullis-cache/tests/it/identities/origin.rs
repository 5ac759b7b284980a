//! An origin whose every answer says for whom it was made, and what it allowed.
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context as Cx, Poll};

use bytes::Bytes;
use fastrand::Rng;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame};
use portcullis_cache::Scope;
use portcullis_core::{Body, BoxError, Context};
use tokio::task::yield_now;

use super::callers::{Caller, scope_of};

/// How many bytes each answer has, and how many of them each stamp.
pub(crate) const LEN: usize = 80;
pub(crate) const STAMP: usize = 10;

/// For whom something was made, and who else may have it.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a word of the answer")]
pub(crate) struct Made {
    pub(crate) maker: usize,
    pub(crate) scope: Scope,
    pub(crate) is_for_all: bool,
    pub(crate) must_revalidate: bool,
    pub(crate) is_private: bool,
    pub(crate) is_never_stored: bool,
    pub(crate) had_authorization: bool,
}

/// All that was made: the number of an answer is its place.
#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) answers: Vec<Made>,
    /// What a tag was said with.
    pub(crate) tags: HashMap<u32, Vec<Made>>,
    /// The tag that a caller gets at a URL.
    current: HashMap<(usize, String), u32>,
    next_tag: u32,
}

pub(crate) struct Press {
    pub(crate) callers: Vec<Caller>,
    pub(crate) ledger: Mutex<Ledger>,
    rng: Mutex<Rng>,
}

const CONTROL: [&str; 32] = [
    "max-age=5",
    "max-age=20",
    "max-age=60",
    "max-age=60",
    "max-age=300",
    "max-age=300, must-revalidate",
    "max-age=2, stale-while-revalidate=30",
    "max-age=2, stale-while-revalidate=300",
    "max-age=2, stale-if-error=300",
    "public, max-age=20",
    "public, max-age=5",
    "s-maxage=20",
    "max-age=0, s-maxage=5",
    "max-age=9, s-maxage=0",
    "public, max-age=2, stale-while-revalidate=60",
    "public, max-age=2, stale-if-error=60",
    "public",
    "public, no-cache",
    "private",
    "private, max-age=60",
    "private, max-age=60",
    "private, public, max-age=60",
    "private=\"x-secret\", max-age=60",
    "no-cache=\"x-secret\", max-age=60",
    "no-store",
    "no-store, max-age=60",
    "no-cache",
    "max-age=0, must-revalidate",
    "must-revalidate",
    "proxy-revalidate, max-age=20",
    "",
    "",
];
const TARGETED: [&str; 4] = ["max-age=30", "public, max-age=30", "private, max-age=30", "no-store"];
const VARY: [&str; 6] =
    ["accept-language", "cookie", "authorization", "accept-language, cookie", "x-made-up", "*"];

impl Press {
    pub(crate) fn new(callers: Vec<Caller>, seed: u64) -> Self {
        Self { callers, ledger: Mutex::default(), rng: Mutex::new(Rng::with_seed(seed)) }
    }
    /// Who asks, as the origin sees it.
    fn maker(&self, request: &Request<Body>) -> usize {
        let identity = Context::get(request.extensions()).and_then(Context::identity);
        let fits = |caller: &Caller| match (&caller.identity, identity, caller.field) {
            (Some(one), Some(other), _) => {
                one.fingerprint() == other.fingerprint() && is_same(one, other)
            }
            (None, None, Some((name, value))) => {
                request.headers().get(name).is_some_and(|it| it == value)
            }
            _ => false,
        };
        self.callers.iter().position(fits).unwrap_or_else(|| self.nobody())
    }
    /// The caller of whom nothing is known.
    pub(crate) fn nobody(&self) -> usize {
        self.callers.iter().position(Caller::is_nobody).expect("it is among them")
    }
    /// Answers at random.
    pub(crate) async fn answer(self: Arc<Self>, request: Request<Body>) -> Response<Body> {
        let waits = self.rng.lock().unwrap().usize(0..6);
        for _ in 0..waits {
            yield_now().await;
        }
        let maker = self.maker(&request);
        let scope = Context::get(request.extensions()).map_or(Scope::Public, scope_of);
        let mut rng = self.rng.lock().unwrap();
        let mut headers = HeaderMap::new();
        let is_targeted = request.uri().query() == Some("q=1");
        let says_secret = directives(&mut rng, &mut headers, is_targeted);
        let made = made(maker, scope, &headers, request.headers());
        let mut ledger = self.ledger.lock().unwrap();
        let number = ledger.answers.len();
        ledger.answers.push(made);
        decorate(&mut rng, &mut headers, number, says_secret);
        let is_change = !matches!(request.method().as_str(), "GET" | "HEAD" | "QUERY");
        if is_change {
            let location = request.uri().path_and_query().map_or("/", |path| path.as_str());
            if rng.u8(..) < 100 {
                headers.insert("content-location", location.parse().unwrap());
            }
            if rng.u8(..) < 20 {
                headers.insert("cache-group-invalidation", HeaderValue::from_static("\"g\""));
            }
        }
        let tag = ledger.tag(&mut rng, maker, request.uri().to_string(), made);
        let status = if rng.u8(..) < 12 { rng.choice([404, 500, 503]).unwrap() } else { 200 };
        if status != 200 {
            return respond(status, headers, &stamps(number, 0..LEN), &mut rng);
        }
        headers.insert("etag", tag.parse().unwrap());
        let known = request.headers().get_all("if-none-match").iter();
        if known.into_iter().any(|known| known.as_bytes() == tag.as_bytes()) && rng.u8(..) < 220 {
            if !headers.contains_key("cache-control") && !is_targeted {
                // What it said of the stored answer holds for this one as well.
                headers.remove("x-made");
            }
            return respond(304, headers, &Bytes::new(), &mut rng);
        }
        let wanted =
            request.headers().get("range").and_then(|range| asked_range(range.to_str().ok()?));
        let fits = request
            .headers()
            .get("if-range")
            .is_none_or(|known| known.as_bytes() == tag.as_bytes());
        match wanted.filter(|_| !is_change && fits && rng.u8(..) < 200) {
            Some(range) => {
                let says = format!("bytes {}-{}/{LEN}", range.start, range.end - 1);
                headers.insert("content-range", says.parse().unwrap());
                respond(206, headers, &stamps(number, range), &mut rng)
            }
            None => respond(200, headers, &stamps(number, 0..LEN), &mut rng),
        }
    }
}

fn is_same(one: &portcullis_core::Identity, other: &portcullis_core::Identity) -> bool {
    one.is(other)
        && one.session() == other.session()
        && one.roles().eq(other.roles())
        && one.scopes().eq(other.scopes())
        && one.plan() == other.plan()
}

impl Ledger {
    /// An entity tag: half of the URLs have one that is the same for all, as an origin has that counts versions.
    fn tag(&mut self, rng: &mut Rng, maker: usize, url: String, made: Made) -> String {
        if url.contains("/1") {
            return if rng.u8(..) < 250 { "\"v1\"".to_owned() } else { "W/\"v2\"".to_owned() };
        }
        let next = self.next_tag;
        let current = self.current.entry((maker, url)).or_insert(next);
        if *current == next || rng.u8(..) < 25 {
            *current = next;
            self.next_tag += 1;
        }
        let tag = *current;
        self.tags.entry(tag).or_default().push(made);
        format!("\"s{tag}\"")
    }
}

/// What caches are told; whether there is a field that is not for them.
fn directives(rng: &mut Rng, headers: &mut HeaderMap, is_targeted: bool) -> bool {
    let control = rng.choice(CONTROL).unwrap();
    if !control.is_empty() {
        headers.insert("cache-control", HeaderValue::from_static(control));
    }
    if is_targeted {
        headers
            .insert("cdn-cache-control", HeaderValue::from_static(rng.choice(TARGETED).unwrap()));
    }
    control.contains("x-secret") && !is_targeted
}

fn made(maker: usize, scope: Scope, headers: &HeaderMap, asked: &HeaderMap) -> Made {
    // What is said to this cache in particular takes the place of what is said to all.
    let said = headers.get("cdn-cache-control").or_else(|| headers.get("cache-control"));
    let said = said.map_or("", |said| said.to_str().unwrap());
    let has = |name: &str| said.split(", ").any(|one| one == name);
    Made {
        maker,
        scope,
        is_for_all: has("public") || said.contains("s-maxage"),
        must_revalidate: has("must-revalidate"),
        is_private: has("private"),
        is_never_stored: has("no-store"),
        had_authorization: asked.contains_key("authorization"),
    }
}

fn decorate(rng: &mut Rng, headers: &mut HeaderMap, number: usize, says_secret: bool) {
    let stamp: HeaderValue = number.to_string().parse().unwrap();
    headers.insert("x-made", stamp.clone());
    if says_secret {
        headers.insert("x-secret", stamp);
    }
    if rng.u8(..) < 12 {
        headers.insert("set-cookie", format!("sid={number}").parse().unwrap());
    }
    if rng.u8(..) < 40 {
        headers.insert("vary", HeaderValue::from_static(rng.choice(VARY).unwrap()));
    }
    let mut sometimes = |name: &'static str, value: &'static str| {
        if rng.u8(..) < 30 {
            headers.insert(name, HeaderValue::from_static(value));
        }
    };
    sometimes("surrogate-key", "books shop");
    sometimes("cache-groups", "\"g\"");
    sometimes("no-vary-search", "params=(\"u\")");
    sometimes("age", "1");
}

/// The number of an answer, over and over.
fn stamps(number: usize, range: std::ops::Range<usize>) -> Bytes {
    format!("[{number:08}]").repeat(LEN / STAMP).get(range).unwrap().to_owned().into()
}

/// One range of whole stamps.
fn asked_range(text: &str) -> Option<std::ops::Range<usize>> {
    let (from, until) = text.strip_prefix("bytes=")?.split_once('-')?;
    let range = match (from, until) {
        ("", last) => LEN - last.parse::<usize>().ok()?.min(LEN)..LEN,
        (from, "") => from.parse().ok()?..LEN,
        (from, until) => from.parse().ok()?..(until.parse::<usize>().ok()? + 1).min(LEN),
    };
    (range.start < range.end).then_some(range)
}

fn respond(status: u16, headers: HeaderMap, body: &Bytes, rng: &mut Rng) -> Response<Body> {
    let is_broken = rng.u8(..) < 4;
    let says_len = rng.bool();
    let mut response = Response::new(match rng.u8(..) {
        0..128 => Body::from(body.clone()),
        _ => Body::new(Slow { rest: body.clone(), is_due: false, is_broken }),
    });
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    *response.headers_mut() = headers;
    if says_len && status != 304 {
        response.headers_mut().insert("content-length", body.len().into());
    }
    response
}

/// A body that comes in pieces, each of which has to be waited for; a broken one ends early.
struct Slow {
    rest: Bytes,
    is_due: bool,
    is_broken: bool,
}

impl HttpBody for Slow {
    type Data = Bytes;
    type Error = BoxError;
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Cx<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.is_due = !self.is_due;
        if self.is_due {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.is_broken && self.rest.len() < LEN / 2 {
            return Poll::Ready(Some(Err("the origin went away".into())));
        }
        let len = self.rest.len().min(3 * STAMP);
        let piece = self.rest.split_to(len);
        Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece))))
    }
}
