//! Sessions of browsers: their cookies, their times, what ends them, and who may not use them.
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::task::Poll;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body_util::BodyExt;
use portcullis_authn::{
    ApiKey, ApiKeys, AuthenticateLayer, MemorySessions, Session, SessionDigest, SessionError,
    SessionRecord, SessionStore, Sessions, StoreError, Touch,
};
use portcullis_core::{
    Body, Context, EdgeLayer, Identity, Problem, Routes, Stack, optional, public,
};
use portcullis_testkit::{Contract, FakeTime, read, request, session_store_contract};
use tower::{ServiceBuilder, ServiceExt, service_fn};

/// A store whose answers are not at hand, and which can be away.
#[derive(Clone, Debug, Default)]
struct Remote {
    inner: MemorySessions,
    is_away: Arc<AtomicBool>,
    opened: Arc<AtomicUsize>,
}

impl Remote {
    fn away(&self) -> Result<(), StoreError> {
        let away = || StoreError("nobody answers".into());
        (!self.is_away.load(SeqCst)).then_some(()).ok_or_else(away)
    }
}

type Answer<T> = Result<T, StoreError>;

#[async_trait]
impl SessionStore for Remote {
    async fn open(&self, id: &SessionDigest, touch: Touch) -> Answer<Option<SessionRecord>> {
        self.opened.fetch_add(1, SeqCst);
        tokio::task::yield_now().await;
        self.away()?;
        // Whatever comes over a wire has no signal of this process.
        let record = self.inner.open(id, touch).await?;
        // It is on its way.
        tokio::task::yield_now().await;
        Ok(record.map(|mut record| {
            let bare = |it: Identity| it.to_builder().without_revocation().build();
            record.identity = record.identity.map(bare);
            record
        }))
    }
    async fn create(&self, record: SessionRecord) -> Answer<()> {
        self.away()?;
        self.inner.create(record).await
    }
    async fn replace(
        &self,
        id: &SessionDigest,
        record: SessionRecord,
        keeps: bool,
    ) -> Answer<bool> {
        self.away()?;
        self.inner.replace(id, record, keeps).await
    }
    async fn write(&self, id: &SessionDigest, version: u64, data: &str) -> Answer<bool> {
        self.away()?;
        tokio::task::yield_now().await;
        self.inner.write(id, version, data).await
    }
    async fn end(&self, id: &SessionDigest) -> Answer<bool> {
        self.away()?;
        self.inner.end(id).await
    }
    async fn list(&self, owner: &str) -> Answer<Vec<SessionRecord>> {
        self.away()?;
        self.inner.list(owner).await
    }
    async fn end_all(
        &self,
        owner: &str,
        but: Option<&SessionDigest>,
    ) -> Answer<Vec<SessionDigest>> {
        self.away()?;
        self.inner.end_all(owner, but).await
    }
    async fn missing(&self, ids: &[SessionDigest]) -> Answer<Vec<SessionDigest>> {
        self.away()?;
        self.inner.missing(ids).await
    }
    async fn sweep(&self, now: SystemTime, unused_since: SystemTime) -> Answer<u64> {
        self.inner.sweep(now, unused_since).await
    }
}

#[tokio::test]
async fn both_stores_keep_the_contract() {
    session_store_contract(Arc::new(MemorySessions::new())).await;
    session_store_contract(Arc::new(Remote::default())).await;
}

type Front = tower::util::BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// An application: each path does one thing with the session.
async fn application(mut request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let context = Context::of(&mut request);
    let session = request.extensions().get::<Session>().cloned();
    let path = request.uri().path().to_owned();
    let Some(session) = session else { return Ok(Response::new(Body::from("no session"))) };
    let said = act(&path, &session).await;
    Ok(match said {
        Ok(said) => Response::new(Body::from(said)),
        Err(error) => Problem::from(error).respond(&context),
    })
}

async fn act(path: &str, session: &Session) -> Result<String, SessionError> {
    let user = |name: &str| Identity::builder("shop", name).role("reader").build();
    match path.split('/').skip(1).collect::<Vec<_>>().as_slice() {
        ["in", name] => session.log_in(&user(name)).await.map(|()| (*name).to_owned()),
        ["elsewhere", name] => {
            session.log_in_from_elsewhere(&user(name)).await.map(|()| (*name).to_owned())
        }
        ["out"] => session.log_out().await.map(|()| "out".to_owned()),
        ["renew"] => session.renew().await.map(|()| "renewed".to_owned()),
        ["add"] => {
            let added = session.update(|items: &mut Vec<u32>| {
                let next = u32::try_from(items.len()).unwrap();
                items.push(next);
                items.len()
            });
            Ok(added.await?.to_string())
        }
        ["fill", bytes] => {
            let text = "x".repeat(bytes.parse().unwrap());
            session.update(|kept: &mut String| kept.clone_from(&text)).await.map(|()| String::new())
        }
        ["items"] => Ok(session.data::<Vec<u32>>()?.unwrap_or_default().len().to_string()),
        ["list"] => {
            let all = session.list().await?;
            let line = |it: &portcullis_authn::SessionInfo| {
                format!("{}{}", it.name, if it.is_current { "*" } else { "" })
            };
            Ok(all.iter().map(line).collect::<Vec<_>>().join(" "))
        }
        ["end", name] => Ok(session.end_named(name).await?.to_string()),
        ["others"] => Ok(session.end_others().await?.to_string()),
        _ => Ok(session.identity().map_or("nobody".to_owned(), |who| who.subject().to_owned())),
    }
}

fn front(sessions: &Sessions) -> Front {
    let keys = ApiKeys::new().key(ApiKey::new("ci", "k-7f3a9c"));
    let layer = AuthenticateLayer::new().sessions(sessions.clone()).api_keys(keys);
    let layers = ServiceBuilder::new().layer(EdgeLayer::default()).layer(layer);
    Front::new(layers.service(service_fn(application)))
}

/// A browser: it keeps its cookie, and says what browsers say.
#[derive(Clone)]
struct Browser {
    front: Front,
    time: FakeTime,
    cookie: Option<String>,
}

struct Said {
    status: u16,
    text: String,
    headers: HeaderMap,
}

impl Browser {
    fn new(sessions: &Sessions, time: &FakeTime) -> Self {
        Self { front: front(sessions), time: time.clone(), cookie: None }
    }
    async fn ask(&self, method: Method, path: &str, lines: &[(&str, &str)]) -> Said {
        let mut request = request(method, path).host("shop.example").clock(self.time.clock());
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", format!("a=b; __Host-session={cookie}; c=d"));
        }
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        let response = self.front.clone().oneshot(request.build()).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Said { status, text: read(response).await, headers }
    }
    /// Asks, and does what is said of the cookie.
    async fn get(&mut self, path: &str) -> String {
        let said = self.ask(Method::GET, path, &[("sec-fetch-site", "same-origin")]).await;
        assert_eq!(said.status, 200, "{path}: {}", said.text);
        if let Some(cookie) = said.headers.get("set-cookie") {
            let text = cookie.to_str().unwrap();
            let value = text.strip_prefix("__Host-session=").unwrap();
            let (value, rest) = value.split_once(';').unwrap();
            let common = " Path=/; Secure; HttpOnly; SameSite=Lax";
            if value.is_empty() {
                assert_eq!(rest, format!("{common}; Max-Age=0"));
                self.cookie = None;
            } else {
                assert_eq!(rest, common);
                assert_eq!(value.len(), 43, "256 bits");
                self.cookie = Some(value.to_owned());
            }
            let cache = said.headers["cache-control"].to_str().unwrap();
            // And kept by nobody, where it is somebody's.
            assert!(["private", "private, no-store"].contains(&cache), "{cache}");
        }
        said.text
    }
}

#[tokio::test]
async fn who_has_logged_in_is_known_by_a_cookie_that_says_nothing() {
    for store in
        [Arc::new(MemorySessions::new()) as Arc<dyn SessionStore>, Arc::new(Remote::default())]
    {
        let sessions = Sessions::new(Shared(Arc::clone(&store)));
        let time = FakeTime::new();
        let (mut ada, mut bob) = (Browser::new(&sessions, &time), Browser::new(&sessions, &time));
        assert_eq!(ada.get("/").await, "nobody");
        assert_eq!(ada.cookie, None, "who does nothing gets no cookie");
        ada.get("/in/ada").await;
        bob.get("/in/bob").await;
        assert_ne!(ada.cookie, bob.cookie);
        assert_eq!((ada.get("/").await, bob.get("/").await), ("ada".to_owned(), "bob".to_owned()));
        // What the store has opens nothing.
        let kept = store.list("shop||ada").await.unwrap();
        assert_eq!(kept.len(), 1);
        let cookie = ada.cookie.clone().unwrap();
        assert!(!format!("{kept:?}").contains(&cookie));
        for wrong in [kept[0].digest.name(), cookie.replace(&cookie[..1], "-"), "A".repeat(43)] {
            let mut eve = Browser::new(&sessions, &time);
            eve.cookie = Some(wrong);
            assert_eq!(eve.get("/").await, "nobody");
            assert_eq!(eve.cookie, None, "it is taken back");
        }
        ada.get("/out").await;
        assert_eq!(ada.cookie, None);
        let mut again = ada.clone();
        again.cookie = Some(cookie);
        assert_eq!(again.get("/").await, "nobody");
        assert_eq!(bob.get("/").await, "bob");
    }
}

/// A store that is shared by its pointer.
#[derive(Clone, Debug)]
struct Shared(Arc<dyn SessionStore>);

#[async_trait]
impl SessionStore for Shared {
    fn try_open(&self, id: &SessionDigest, touch: Touch) -> Option<Answer<Option<SessionRecord>>> {
        self.0.try_open(id, touch)
    }
    async fn open(&self, id: &SessionDigest, touch: Touch) -> Answer<Option<SessionRecord>> {
        self.0.open(id, touch).await
    }
    async fn create(&self, record: SessionRecord) -> Answer<()> {
        self.0.create(record).await
    }
    async fn replace(
        &self,
        id: &SessionDigest,
        record: SessionRecord,
        keeps: bool,
    ) -> Answer<bool> {
        self.0.replace(id, record, keeps).await
    }
    async fn write(&self, id: &SessionDigest, version: u64, data: &str) -> Answer<bool> {
        self.0.write(id, version, data).await
    }
    async fn end(&self, id: &SessionDigest) -> Answer<bool> {
        self.0.end(id).await
    }
    async fn list(&self, owner: &str) -> Answer<Vec<SessionRecord>> {
        self.0.list(owner).await
    }
    async fn end_all(
        &self,
        owner: &str,
        but: Option<&SessionDigest>,
    ) -> Answer<Vec<SessionDigest>> {
        self.0.end_all(owner, but).await
    }
    async fn missing(&self, ids: &[SessionDigest]) -> Answer<Vec<SessionDigest>> {
        self.0.missing(ids).await
    }
    async fn sweep(&self, now: SystemTime, unused_since: SystemTime) -> Answer<u64> {
        self.0.sweep(now, unused_since).await
    }
}

#[tokio::test]
async fn a_session_ends_when_nobody_uses_it_and_at_its_end() {
    let minutes = |count: u64| Duration::from_secs(60 * count);
    let sessions = Sessions::new(MemorySessions::new()).idle(minutes(30)).absolute(minutes(120));
    let time = FakeTime::new();
    let mut ada = Browser::new(&sessions, &time);
    ada.get("/in/ada").await;
    for _ in 0..4 {
        time.advance(minutes(29));
        assert_eq!(ada.get("/").await, "ada");
    }
    // 116 minutes, and used all the time.
    time.advance(minutes(4));
    assert_eq!(ada.get("/").await, "nobody");
    ada.get("/in/ada").await;
    time.advance(minutes(29));
    assert_eq!(ada.get("/").await, "ada");
    time.advance(minutes(30));
    assert_eq!(ada.get("/").await, "nobody");
    // A new id is no new time.
    ada.get("/in/ada").await;
    for _ in 0..5 {
        time.advance(minutes(20));
        ada.get("/renew").await;
    }
    time.advance(minutes(20));
    assert_eq!(ada.get("/").await, "nobody");
}

/// Whoever has put a cookie into a browser knows nothing after its user has logged in.
#[tokio::test]
async fn each_change_of_who_it_is_comes_with_a_new_id() {
    let (sessions, time) = (Sessions::new(MemorySessions::new()), FakeTime::new());
    let mut ada = Browser::new(&sessions, &time);
    assert_eq!(ada.get("/add").await, "1");
    assert_eq!(ada.get("/add").await, "2");
    let mut before = ada.clone();
    ada.get("/in/ada").await;
    assert_ne!(ada.cookie, before.cookie);
    assert_eq!(before.get("/").await, "nobody");
    assert_eq!(before.cookie, None);
    // What was kept before is kept, and is not somebody else's.
    assert_eq!(ada.get("/items").await, "2");
    let mut old = ada.clone();
    ada.get("/renew").await;
    assert_eq!((ada.get("/items").await.as_str(), ada.get("/").await.as_str()), ("2", "ada"));
    assert_eq!(old.get("/").await, "nobody");
    ada.get("/in/ada").await;
    assert_eq!(ada.get("/items").await, "2");
    ada.get("/in/bob").await;
    assert_eq!((ada.get("/items").await.as_str(), ada.get("/").await.as_str()), ("0", "bob"));
}

#[tokio::test]
async fn a_user_sees_their_sessions_and_ends_them() {
    let (sessions, time) = (Sessions::new(Remote::default()), FakeTime::new());
    let new = || Browser::new(&sessions, &time);
    let (mut one, mut two, mut three, mut other) = (new(), new(), new(), new());
    for browser in [&mut one, &mut two, &mut three] {
        browser.get("/in/ada").await;
        time.advance(Duration::from_secs(90));
        browser.get("/").await;
    }
    other.get("/in/bob").await;
    time.advance(Duration::from_secs(90));
    let list = one.get("/list").await;
    let names: Vec<_> = list.split(' ').collect();
    assert_eq!((names.len(), names.iter().filter(|name| name.ends_with('*')).count()), (3, 1));
    assert!(names[0].ends_with('*'), "the one that was used last is the first: {list}");
    // What is another one's is not theirs.
    let theirs = other.get("/list").await;
    assert_eq!(one.get(&format!("/end/{}", theirs.trim_end_matches('*'))).await, "false");
    assert_eq!(one.get(&format!("/end/{}", names[1])).await, "true");
    assert_eq!(three.get("/").await, "nobody");
    assert_eq!((two.get("/").await.as_str(), other.get("/").await.as_str()), ("ada", "bob"));
    assert_eq!(one.get("/others").await, "1");
    assert_eq!((two.get("/").await.as_str(), one.get("/").await.as_str()), ("nobody", "ada"));
    let refused = new().ask(Method::GET, "/list", &[]).await;
    assert_eq!(refused.status, 401);
}

#[tokio::test]
async fn requests_at_once_lose_nothing_of_what_is_kept() {
    for store in
        [Arc::new(MemorySessions::new()) as Arc<dyn SessionStore>, Arc::new(Remote::default())]
    {
        let (sessions, time) = (Sessions::new(Shared(store)), FakeTime::new());
        let mut ada = Browser::new(&sessions, &time);
        ada.get("/in/ada").await;
        let answers = join_all((0..8).map(|_| {
            let mut ada = ada.clone();
            async move { ada.get("/add").await }
        }));
        let mut seen = answers.await;
        seen.sort();
        assert_eq!(seen, ["1", "2", "3", "4", "5", "6", "7", "8"]);
        assert_eq!(ada.get("/items").await, "8");
        ada.get("/in/bob").await;
        assert_eq!(ada.ask(Method::GET, "/fill/16382", &[]).await.status, 200);
        assert_eq!(ada.ask(Method::GET, "/fill/16383", &[]).await.status, 500);
    }
}

type Lines = Vec<(&'static str, &'static str)>;

#[tokio::test]
async fn what_another_sites_page_sends_changes_nothing() {
    let trusted = HeaderValue::from_static("https://app.example");
    let sessions = Sessions::new(MemorySessions::new()).trusted_origin(trusted);
    let mut ada = Browser::new(&sessions, &FakeTime::new());
    ada.get("/in/ada").await;
    let anonymous = Browser { cookie: None, ..ada.clone() };
    let upgrade = [("connection", "upgrade"), ("upgrade", "websocket")];
    let own = ("origin", "http://shop.example");
    let rows: [(&str, Lines, bool); 18] = [
        ("a browser's own page", vec![("sec-fetch-site", "same-origin"), own], true),
        ("typed by its user", vec![("sec-fetch-site", "none")], true),
        ("a sister of the site", vec![("sec-fetch-site", "same-site")], false),
        ("another site", vec![("sec-fetch-site", "cross-site")], false),
        ("another site that claims to be us", vec![("sec-fetch-site", "cross-site"), own], false),
        ("both", vec![("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")], false),
        ("what nobody knows", vec![("sec-fetch-site", "SAME-ORIGIN")], false),
        (
            "a page that is trusted",
            vec![("sec-fetch-site", "cross-site"), ("origin", "https://app.example")],
            true,
        ),
        ("an older browser's own page", vec![own], true),
        ("an older browser's own page, in capitals", vec![("origin", "HTTP://SHOP.EXAMPLE")], true),
        ("an older browser, another site", vec![("origin", "http://evil.example")], false),
        ("another scheme", vec![("origin", "https://shop.example")], false),
        ("another port", vec![("origin", "http://shop.example:81")], false),
        ("a host that begins alike", vec![("origin", "http://shop.example.evil")], false),
        ("a page without an origin", vec![("origin", "null")], false),
        ("an empty one", vec![("origin", "")], false),
        ("two origins", vec![own, ("origin", "http://evil.example")], false),
        ("no browser", vec![], true),
    ];
    for (what, lines, is_taken) in rows {
        let status = if is_taken { 200 } else { 403 };
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
            let said = ada.ask(method.clone(), "/add", &lines).await;
            assert_eq!(said.status, status, "{what} {method}");
            assert_eq!(said.text.contains("request-cross-site"), !is_taken, "{what}");
        }
        let with_upgrade: Vec<_> = lines.iter().copied().chain(upgrade).collect();
        assert_eq!(ada.ask(Method::GET, "/", &with_upgrade).await.status, status, "{what} upgrade");
        // What only reads is read by its own page alone, by the browser's rules; a link from elsewhere works.
        assert_eq!(ada.ask(Method::GET, "/", &lines).await.status, 200, "{what} GET");
        // Without a cookie nobody's rights are used, but nobody is logged in as somebody else either.
        assert_eq!(anonymous.ask(Method::POST, "/", &lines).await.status, 200, "{what}");
        for path in ["/in/eve", "/add", "/out"] {
            assert_eq!(anonymous.ask(Method::POST, path, &lines).await.status, status, "{what}");
        }
        // The way back from an identity provider leads over another site.
        let back = anonymous.ask(Method::GET, "/elsewhere/eve", &lines).await;
        assert_eq!((back.status, back.text.as_str()), (200, "eve"), "{what}");
        // A key is none that a browser sends by itself.
        let with_key: Vec<_> = lines.iter().copied().chain([("x-api-key", "k-7f3a9c")]).collect();
        let said = ada.ask(Method::POST, "/", &with_key).await;
        assert_eq!(
            (said.status, said.text.as_str()),
            (200, "nobody"),
            "{what}: its cookie is not opened"
        );
        let said = ada.ask(Method::GET, "/add", &with_key).await;
        assert_eq!(
            said.status, 401,
            "{what}: a key that comes with each request begins no session"
        );
        assert_eq!(said.headers.get("set-cookie"), None, "{what}");
    }
}

#[tokio::test]
async fn a_store_that_is_away_is_503_and_lets_nobody_in() {
    let (store, time) = (Remote::default(), FakeTime::new());
    let sessions = Sessions::new(store.clone());
    let mut ada = Browser::new(&sessions, &time);
    ada.get("/in/ada").await;
    store.is_away.store(true, SeqCst);
    for path in ["/", "/in/ada", "/out", "/list"] {
        let said = ada.ask(Method::GET, path, &[]).await;
        assert_eq!(said.status, 503, "{path}");
        assert!(said.text.contains("authentication-unavailable"), "{}", said.text);
        assert_eq!(said.headers.get("set-cookie"), None, "{path}");
    }
    // Who has no cookie needs no store; and nobody can log in.
    let new = Browser::new(&sessions, &time);
    assert_eq!(new.ask(Method::GET, "/", &[]).await.status, 200);
    assert_eq!(new.ask(Method::GET, "/in/ada", &[]).await.status, 503);
    store.is_away.store(false, SeqCst);
    assert_eq!(ada.get("/").await, "ada");
}

#[tokio::test]
async fn what_is_under_way_ends_with_its_session() {
    async fn stream(mut request: Request<Body>) -> Result<Response<Body>, Infallible> {
        if request.uri().path() == "/stream" {
            let forever = futures_util::stream::pending::<Result<Bytes, Infallible>>();
            return Ok(Response::new(Body::new(http_body_util::StreamBody::new(
                futures_util::StreamExt::map(forever, |data| data.map(http_body::Frame::data)),
            ))));
        }
        let _ = Context::of(&mut request);
        application(request).await
    }
    tokio::time::pause();
    for is_other in [false, true] {
        let (store, time) = (Remote::default(), FakeTime::new());
        let sessions = Sessions::new(store.clone());
        sessions.start(&tokio::runtime::Handle::current());
        let layer = AuthenticateLayer::new().sessions(sessions.clone());
        let layers = ServiceBuilder::new().layer(EdgeLayer::default()).layer(layer);
        let front = Front::new(layers.service(service_fn(stream)));
        let mut ada = Browser { front, time, cookie: None };
        ada.get("/in/ada").await;
        let cookie = ada.cookie.clone().unwrap();
        let of = |path: &str| {
            let request = request(Method::GET, path).host("shop.example").clock(ada.time.clock());
            request.header("cookie", format!("__Host-session={cookie}")).build()
        };
        let mut body = ada.front.clone().oneshot(of("/stream")).await.unwrap().into_body();
        let waits = tokio::time::timeout(Duration::from_secs(5), body.frame()).await;
        assert!(waits.is_err(), "it goes on as long as its session does");
        for path in ["/renew", "/in/ada", "/renew"] {
            ada.get(path).await;
        }
        let waits = tokio::time::timeout(Duration::from_secs(5), body.frame()).await;
        assert!(waits.is_err(), "the same one goes on, whatever the session is called");
        if is_other {
            // Another process ends it.
            let ended = store.inner.end_all("shop||ada", None).await.unwrap();
            assert_eq!(ended.len(), 1);
        } else {
            ada.get("/out").await;
        }
        let ended = tokio::time::timeout(Duration::from_secs(1), body.frame()).await;
        let error = ended.expect("within a second").unwrap().unwrap_err();
        assert!(error.to_string().contains("no longer good"), "{error}");
    }
}

#[tokio::test]
async fn on_a_public_route_no_session_is_touched_and_no_cookie_travels_on() {
    let store = Remote::default();
    let (sessions, time) = (Sessions::new(store.clone()), FakeTime::new());
    let mut ada = Browser::new(&sessions, &time);
    ada.get("/in/ada").await;
    let routes = Routes::builder()
        .get("/open", ())
        .rule(public())
        .get("/maybe", ())
        .rule(optional())
        .build()
        .unwrap();
    let layer = AuthenticateLayer::new().sessions(sessions);
    let layers = ServiceBuilder::new().layer(routes.layer()).layer(layer);
    let service = layers.service(service_fn(|mut request: Request<Body>| async move {
        let context = Context::of(&mut request);
        let consumed = context.consumed().unwrap();
        assert_eq!(consumed.cookies().collect::<Vec<_>>(), ["__Host-session"]);
        application(request).await
    }));
    for (path, said, opened) in [("/open", "no session", 0), ("/maybe", "ada", 1)] {
        let before = store.opened.load(SeqCst);
        let cookie = format!("__Host-session={}", ada.cookie.clone().unwrap());
        let request = request(Method::GET, path).header("cookie", cookie).clock(time.clock());
        let response = service.clone().oneshot(request.build()).await.unwrap();
        assert_eq!(read(response).await, said);
        assert_eq!(store.opened.load(SeqCst) - before, opened, "{path}");
    }
}

#[tokio::test]
async fn while_it_waits_for_the_store_it_keeps_the_contract() {
    let store = Remote::default();
    let (sessions, time) = (Sessions::new(store.clone()), FakeTime::new());
    let mut ada = Browser::new(&sessions, &time);
    ada.get("/in/ada").await;
    let cookie = ada.cookie.clone().unwrap();
    let of = move |method: Method| {
        let request = request(method, "/").host("shop.example").clock(time.clock());
        let request = request.header("cookie", format!("__Host-session={cookie}"));
        request.header("sec-fetch-site", "cross-site").build()
    };
    let post = of.clone();
    Contract::new(AuthenticateLayer::new().sessions(sessions))
        .passes(move || of(Method::GET))
        .refuses(move || post(Method::POST))
        .check()
        .await;
}

#[test]
fn what_could_not_work_does_not_start() {
    let memory = || Sessions::new(MemorySessions::new());
    for (sessions, want) in [
        (memory(), None),
        (memory().insecure_plain_http(), None),
        (memory().cookie("session"), Some("does not begin with `__Host-`")),
        (memory().cookie("__Host-a b"), Some("is none")),
        (memory().idle(Duration::from_secs(90_000)), Some("`idle` is longer than `absolute`")),
        (memory().idle(Duration::ZERO), Some("`idle` is longer than `absolute`, or nothing")),
    ] {
        let stack = Stack::new().layer(EdgeLayer::default());
        let stack = stack.layer(AuthenticateLayer::new().sessions(sessions));
        let told = stack.service(service_fn(application)).err().map(|errors| errors.to_string());
        assert_eq!(told.is_some(), want.is_some(), "{told:?}");
        assert!(want.is_none_or(|want| told.as_ref().unwrap().contains(want)), "{told:?}");
    }
}

/// The store has answered, and the answer is on its way, when the session ends.
#[tokio::test]
async fn a_session_that_ends_while_it_is_looked_up_lets_nobody_in() {
    let (sessions, time) = (Sessions::new(Remote::default()), FakeTime::new());
    let mut ada = Browser::new(&sessions, &time);
    ada.get("/in/ada").await;
    let late = ada.clone();
    let mut late = pin!(late.ask(Method::GET, "/", &[]));
    for _ in 0..2 {
        let polled = poll_fn(|context| Poll::Ready(late.as_mut().poll(context))).await;
        assert!(polled.is_pending(), "the store has not answered yet");
    }
    ada.get("/out").await;
    assert_eq!(late.await.text, "nobody");
}

/// What others have put into a browser hides nothing of ours.
#[tokio::test]
async fn cookies_of_others_may_be_anything() {
    let (sessions, time) = (Sessions::new(MemorySessions::new()), FakeTime::new());
    let mut ada = Browser::new(&sessions, &time);
    ada.get("/in/ada").await;
    let own = format!("__Host-session={}", ada.cookie.clone().unwrap());
    for others in [&b"theme=\xff"[..], b"caf\xc3\xa9=1", b"=", b"x", b"a=b=c", b""] {
        let line = [others, b"; ", own.as_bytes(), b" ;", others].concat();
        let request = request(Method::GET, "/").host("shop.example").clock(time.clock());
        let request = request.header("cookie", HeaderValue::from_bytes(&line).unwrap()).build();
        let response = ada.front.clone().oneshot(request).await.unwrap();
        assert_eq!(read(response).await, "ada", "{}", line.escape_ascii());
    }
}

/// Where several cookies have the name, nobody can say which is meant.
#[tokio::test]
async fn two_cookies_of_the_name_are_none() {
    let (sessions, time) = (Sessions::new(MemorySessions::new()), FakeTime::new());
    let mut ada = Browser::new(&sessions, &time);
    ada.get("/in/ada").await;
    let cookie = ada.cookie.take().unwrap();
    let twice = format!("__Host-session={cookie}; __Host-session={cookie}");
    for lines in [
        vec![("cookie", twice.as_str())],
        vec![("cookie", &twice[..58]), ("cookie", "__Host-session=x")],
    ] {
        let said = ada.ask(Method::GET, "/", &lines).await;
        assert_eq!((said.status, said.text.as_str()), (200, "nobody"));
        assert!(said.headers["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    }
    let one = format!("__Host-session={cookie}");
    assert_eq!(ada.ask(Method::GET, "/", &[("cookie", &one)]).await.text, "ada");
}
