//! No byte that was made for one caller reaches another who may not have it, whatever they ask and whatever the origin says.
//!
//! 50,000 requests by default. A million, in less than a minute:
//!
//! ```text
//! PORTCULLIS_CACHE_REQUESTS=1000000 cargo nextest run --release -p portcullis-cache identities
//! ```
//!
//! `PORTCULLIS_CACHE_SEED` chooses other ones; a failure says which it had.
mod callers;
mod origin;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use fastrand::Rng;
use http::{Request, Response};
use http_body_util::BodyExt;
use portcullis_cache::{CacheLayer, Preset, Purge, Scope};
use portcullis_core::{Body, Context, Route};
use tokio::task::{JoinSet, yield_now};
use tower::ServiceExt;

use self::callers::{Caller, PATHS, scope_of};
use self::origin::{Made, Press, STAMP};
use crate::support::{Origin, Site, asking};

/// How many clients ask at once.
const CLIENTS: u64 = 24;

/// What happened, and how often.
#[derive(Default)]
struct Counts(Mutex<BTreeMap<&'static str, u64>>);

impl Counts {
    fn add(&self, what: &'static str) {
        *self.0.lock().unwrap().entry(what).or_default() += 1;
    }
}

/// What the clients have in common.
struct World {
    preset: Preset,
    site: Site,
    press: Arc<Press>,
    routes: Vec<Route>,
    counts: Counts,
    /// What has arrived that must not be stored, and where it stood.
    once: Mutex<HashSet<(&'static str, usize)>>,
    /// Tags that somebody has seen, for those who guess.
    tags: Mutex<Vec<String>>,
}

/// One request.
struct Ask {
    caller: usize,
    scope: Scope,
    request: Request<Body>,
}

const CONTROL: [&str; 8] = [
    "no-cache",
    "max-age=0",
    "no-store",
    "only-if-cached",
    "max-stale=100",
    "max-stale",
    "min-fresh=5",
    "max-age=10, stale-if-error=100",
];
const RANGES: [&str; 6] =
    ["bytes=0-9", "bytes=0-39", "bytes=40-79", "bytes=-20", "bytes=20-", "bytes=0-9,30-49"];

impl World {
    fn ask(&self, rng: &mut Rng) -> Ask {
        let caller = rng.usize(..self.press.callers.len());
        let who = self.caller(caller);
        let path = rng.usize(..PATHS.len());
        let route = self.routes.get(path);
        let query = rng.choice(["", "", "?q=1", "?u=1", "?u=2"]).unwrap();
        let url = format!("{}/{}{query}", PATHS.get(path).unwrap(), rng.u8(1..=2));
        let method = match rng.u8(..) {
            0..8 => "POST",
            8..11 => "PUT",
            11..13 => "DELETE",
            13..15 => "PURGE",
            15..35 => "HEAD",
            35..65 => "QUERY",
            _ => "GET",
        };
        let mut request = asking(method, &url, &[]);
        if method == "QUERY" {
            *request.body_mut() = Body::from(rng.choice(["one", "two"]).unwrap());
        }
        let is_public = route.is_some_and(|route| route.access().is_public());
        let is_optional = PATHS.get(path).is_some_and(|path| path.starts_with("/optional"));
        // Authorization lets nobody in of whom it does not know who they are, but where everybody may come in.
        let is_let_in = is_public || is_optional || who.identity.is_some();
        let is_decided = is_let_in && rng.u8(..) < 240;
        callers::introduce(who, route, is_decided, &mut request, &self.site.time.clock());
        let headers = request.headers_mut();
        if let Some((name, value)) = who.field {
            headers.insert(name, value.parse().unwrap());
        } else if who.identity.is_some() && rng.bool() {
            headers.insert("authorization", format!("Bearer {caller}").parse().unwrap());
        }
        let mut sometimes = |name: &'static str, values: &[&str], often: u8| {
            if rng.u8(..) < often {
                headers.insert(name, rng.choice(values).unwrap().parse().unwrap());
            }
        };
        sometimes("cache-control", &CONTROL, 25);
        sometimes("range", &RANGES, 25);
        sometimes("accept-language", &["de", "fr"], 60);
        sometimes("if-range", &["\"v1\""], 10);
        sometimes("x-made-up", &["a", "b"], 60);
        if rng.u8(..) < 25 {
            let tags = self.tags.lock().unwrap();
            let seen = rng.choice(tags.iter()).map_or("\"v1\"", String::as_str);
            headers.insert("if-none-match", seen.parse().unwrap());
        }
        let scope = Context::get(request.extensions()).map_or(Scope::Public, scope_of);
        // One nobody is as good as another.
        let caller = if who.is_nobody() { self.press.nobody() } else { caller };
        Ask { caller, scope, request }
    }

    /// One client: it asks, and looks at what it gets.
    async fn client(self: Arc<Self>, mut rng: Rng, requests: u64) -> Result<(), String> {
        for _ in 0..requests {
            self.meddle(&mut rng).await;
            let Ask { caller, scope, request } = self.ask(&mut rng);
            let asked =
                (request.method().clone(), request.uri().clone(), request.headers().clone());
            let answering = self.site.service.clone().oneshot(request);
            let patience = if rng.u8(..) < 6 { rng.u32(1..9) } else { u32::MAX };
            let Some(response) = patient(answering, patience).await else { continue };
            let Ok(response) = response;
            let got = (response.status(), response.headers().clone());
            if rng.bool() {
                yield_now().await;
            }
            let looked = self.look(caller, scope, response, &mut rng).await;
            looked.map_err(|why| {
                format!("{why}\nto caller {caller} in scope {scope:?} who asked {asked:?}\nand got {got:?}")
            })?;
        }
        Ok(())
    }

    /// Time passes, and things are purged.
    async fn meddle(&self, rng: &mut Rng) {
        if rng.u8(..) < 12 {
            self.site.time.advance(Duration::from_millis(rng.u64(1..3000)));
        }
        if rng.u16(..) > 150 {
            return;
        }
        self.counts.add("purge");
        let path = rng.choice(PATHS).unwrap();
        let purge = match rng.u8(0..16) {
            0 => Purge::everything(),
            1..3 => Purge::tag("books"),
            3..6 => Purge::prefix(format!("http://shop.example{path}/")),
            _ => Purge::url(format!("http://shop.example{path}/1")),
        };
        let purge = if rng.bool() { purge.soft() } else { purge };
        self.site.layer.handle().purge(purge).await.expect("memory always answers");
    }

    /// Looks at all of an answer that says for whom it was made.
    async fn look(
        &self,
        caller: usize,
        scope: Scope,
        response: Response<Body>,
        rng: &mut Rng,
    ) -> Result<(), String> {
        let (head, mut body) = response.into_parts();
        let text = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap());
        let number = |text: &str| text.parse::<usize>().expect("it is a number");
        let status = text("cache-status").unwrap_or_default();
        let is_shared = status.contains("; hit") || status.contains("; collapsed");
        let mut makers = Vec::new();
        if let Some(made) = text("x-made").map(number) {
            makers.push(self.judge(caller, scope, made, "the field x-made")?);
            self.only_once("x-made", made)?;
        }
        if let Some(tag) = text("etag") {
            self.see(caller, scope, tag)?;
        }
        for (name, value) in [("set-cookie", text("set-cookie")), ("x-secret", text("x-secret"))] {
            let Some(value) = value else { continue };
            let made = number(value.trim_start_matches("sid="));
            // What `rfc` stores, cookies included, everybody gets.
            if name == "set-cookie" && self.preset == Preset::Rfc {
                self.judge(caller, scope, made, name)?;
                continue;
            }
            let maker = self.made(made).maker;
            if maker != caller {
                return Err(format!("{name} of caller {maker} (answer {made})"));
            }
            if name == "set-cookie" || self.caller(maker).is_nobody() {
                self.once(name, made)?;
            }
        }
        let mut all = Vec::new();
        let leaves = rng.u8(..) < 6;
        while let Some(frame) = body.frame().await {
            // Broken bodies are the origin's doing.
            let Ok(frame) = frame else { break };
            all.extend_from_slice(&frame.into_data().unwrap_or_default());
            if leaves {
                break;
            }
        }
        for made in stamps(&all) {
            makers.push(self.judge(caller, scope, made, "the body")?);
        }
        self.count(caller, scope, status, is_shared, makers.first());
        match head.status.as_u16() {
            206 if status.contains("; hit") => self.counts.add("hit: 206"),
            304 if status.contains("; hit") => self.counts.add("hit: 304"),
            _ => {}
        }
        Ok(())
    }

    fn count(
        &self,
        caller: usize,
        scope: Scope,
        status: &str,
        is_shared: bool,
        made: Option<&Made>,
    ) {
        let kinds = [
            ("; collapsed", "collapsed"),
            ("stale-while-revalidate", "hit: stale while revalidating"),
            ("stale-if-error", "hit: stale because of an error"),
            ("fwd-status=304", "validated"),
            ("fwd=partial", "completed"),
        ];
        for (_, kind) in kinds.into_iter().filter(|(sign, _)| status.contains(sign)) {
            self.counts.add(kind);
        }
        let Some(made) = made.filter(|_| is_shared) else { return };
        let is_nobodys = self.caller(made.maker).is_nobody();
        self.counts.add(match (made.maker == caller, scope) {
            (_, _) if is_nobodys && !made.is_for_all => "shared: nobody's",
            (false, Scope::Tenant) if !made.is_for_all => "shared: by a tenant",
            (false, _) if made.is_for_all => "shared: said to be for all",
            (false, _) => "shared: otherwise",
            (true, Scope::Identity) if !made.is_for_all => "own: by scope identity",
            (true, _) => "own: otherwise",
        });
    }

    fn made(&self, number: usize) -> Made {
        *self.press.ledger.lock().unwrap().answers.get(number).expect("the origin has made it")
    }

    fn caller(&self, number: usize) -> &Caller {
        self.press.callers.get(number).expect("there is such a caller")
    }

    /// What must not be stored arrives once.
    fn only_once(&self, name: &'static str, number: usize) -> Result<(), String> {
        let made = self.made(number);
        let maker = self.caller(made.maker);
        // Nobody in particular has no cache of their own, and whose an unread credential is, nobody knows.
        let is_unknown =
            maker.field.is_some() && !made.is_for_all && self.preset == Preset::Application;
        if made.is_never_stored || maker.identity.is_none() && made.is_private || is_unknown {
            self.once(name, number)?;
        }
        Ok(())
    }

    fn once(&self, name: &'static str, number: usize) -> Result<(), String> {
        if self.once.lock().unwrap().insert((name, number)) {
            return Ok(());
        }
        Err(format!("{name} of answer {number}, {:?}, came a second time", self.made(number)))
    }

    fn judge(
        &self,
        caller: usize,
        scope: Scope,
        number: usize,
        what: &str,
    ) -> Result<Made, String> {
        let made = self.made(number);
        if self.may_have(caller, scope, &made) {
            return Ok(made);
        }
        Err(format!("{what} is of answer {number}, {made:?}, and came"))
    }

    fn see(&self, caller: usize, scope: Scope, tag: &str) -> Result<(), String> {
        {
            let mut tags = self.tags.lock().unwrap();
            let len = tags.len();
            match tags.get_mut(len.wrapping_sub(64)..).and_then(|last| last.first_mut()) {
                Some(_) if len >= 64 => tags.rotate_left(1),
                _ => tags.push(String::new()),
            }
            tags.last_mut().into_iter().for_each(|last| tag.clone_into(last));
        }
        let number =
            tag.strip_prefix("\"s").and_then(|tag| tag.strip_suffix('"')?.parse::<u32>().ok());
        let ledger = self.press.ledger.lock().unwrap();
        let said = number.and_then(|number| ledger.tags.get(&number));
        match said {
            Some(said) if !said.iter().any(|made| self.may_have(caller, scope, made)) => {
                Err(format!("the tag {tag} is of {said:?}, and came"))
            }
            _ => Ok(()),
        }
    }

    /// Whether a caller who asks in a scope may have what was made.
    fn may_have(&self, caller: usize, scope: Scope, made: &Made) -> bool {
        if made.maker == caller {
            return true;
        }
        if made.is_private || made.is_never_stored {
            return false;
        }
        let (maker, to) = (self.caller(made.maker), self.caller(caller));
        let is_tenants = made.scope == Scope::Tenant
            && scope == Scope::Tenant
            && maker.group.is_some()
            && maker.group == to.group;
        // RFC 9111 knows of no other sign that a request is somebody's than `Authorization`; what the route says of who shares it holds nevertheless.
        let is_by_rfc = self.preset == Preset::Rfc
            && (made.must_revalidate || made.scope == Scope::Public && !made.had_authorization);
        made.is_for_all || maker.is_nobody() || is_tenants || is_by_rfc
    }
}

/// The numbers of the answers that bytes are of.
fn stamps(bytes: &[u8]) -> Vec<usize> {
    let mut numbers = Vec::new();
    for window in
        bytes.windows(STAMP).filter(|window| window.starts_with(b"[") && window.ends_with(b"]"))
    {
        let text = std::str::from_utf8(window).unwrap().trim_matches(['[', ']']);
        let number = text.parse().expect("a stamp has a number");
        if numbers.last() != Some(&number) {
            numbers.push(number);
        }
    }
    numbers
}

/// A future of which nothing comes when it takes more than so many turns.
async fn patient<F: Future>(future: F, mut turns: u32) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if turns == 0 => Poll::Ready(None),
        Poll::Pending => {
            turns -= 1;
            Poll::Pending
        }
    })
    .await
}

fn number_of(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .map_or(default, |text| text.replace('_', "").parse().expect("it is a number"))
}

async fn run(preset: Preset, requests: u64) -> BTreeMap<&'static str, u64> {
    let seed = number_of("PORTCULLIS_CACHE_SEED", 10);
    let press = Arc::new(Press::new(callers::all(), seed));
    let printing = Arc::clone(&press);
    let origin = Origin::new(move |request| Arc::clone(&printing).answer(request));
    let site = Site::with(CacheLayer::in_memory(64 << 20).preset(preset), origin);
    let routes = callers::table().routes().collect();
    let (counts, once, tags) = (Counts::default(), Mutex::default(), Mutex::default());
    let world = Arc::new(World { preset, site, press, routes, counts, once, tags });
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let rng = Rng::with_seed(seed.wrapping_mul(1000).wrapping_add(client));
        clients.spawn(Arc::clone(&world).client(rng, requests / CLIENTS + 1));
    }
    while let Some(done) = clients.join_next().await {
        match done.map_err(|error| error.to_string()) {
            Ok(Ok(())) => {}
            Ok(Err(why)) | Err(why) => panic!("PORTCULLIS_CACHE_SEED={seed}, {preset:?}: {why}"),
        }
    }
    std::mem::take(&mut *world.counts.0.lock().unwrap())
}

/// That each happened to at least so many of a hundred thousand requests.
fn happened(counts: &BTreeMap<&str, u64>, requests: u64, wanted: &[(&str, u64)]) {
    for (what, least) in wanted {
        let count = counts.get(what).copied().unwrap_or_default();
        assert!(
            count * 100_000 >= least * requests,
            "{what}: {count} of {requests} requests, of {counts:?}"
        );
    }
}

#[tokio::test]
async fn what_is_made_for_one_reaches_nobody_else() {
    let requests = number_of("PORTCULLIS_CACHE_REQUESTS", 50_000);
    let counts = run(Preset::Application, requests).await;
    happened(
        &counts,
        requests,
        &[
            ("own: by scope identity", 20),
            ("shared: by a tenant", 20),
            ("shared: said to be for all", 20),
            ("shared: nobody's", 20),
            ("collapsed", 2),
            ("hit: stale while revalidating", 20),
            ("hit: stale because of an error", 20),
            ("hit: 206", 20),
            ("hit: 304", 20),
            ("validated", 20),
            ("completed", 20),
            ("purge", 20),
        ],
    );
    assert_eq!(counts.get("shared: otherwise"), None, "{counts:?}");
}

#[tokio::test]
async fn by_the_standard_what_is_private_reaches_nobody_else() {
    let requests = number_of("PORTCULLIS_CACHE_REQUESTS", 50_000) / 5;
    let counts = run(Preset::Rfc, requests).await;
    happened(
        &counts,
        requests,
        &[
            ("own: by scope identity", 20),
            ("shared: by a tenant", 20),
            ("shared: said to be for all", 20),
            ("shared: nobody's", 20),
            ("shared: otherwise", 20),
            ("collapsed", 2),
            ("hit: 206", 20),
            ("validated", 20),
        ],
    );
}
