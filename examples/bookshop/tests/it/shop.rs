//! The shop in process, browsers that visit it, and the mails that it sends.
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use axum::body::Body;
use bookshop::{Front, Store, app, replicas};
use portcullis::authz::{Matrix, StoredRoles};
use portcullis::telemetry::Metrics;
use portcullis_sqlx::ManagedUsers;
use portcullis_testkit::{FakeTime, KeptMails, TestClient, TestResponse};
use serde_json::{Value, json};
use tower::ServiceExt;

/// A password that is taken.
pub(crate) const PASSWORD: &str = "correct horse battery";

/// A shop, or one of several on one database.
pub(crate) struct Shop {
    pub(crate) client: TestClient<axum::Router>,
    pub(crate) router: axum::Router,
    pub(crate) matrix: Matrix,
    pub(crate) roles: StoredRoles,
    pub(crate) store: Store,
    pub(crate) mails: KeptMails,
    pub(crate) time: FakeTime,
}

/// A database in a file, gone with the test.
pub(crate) struct File(pub(crate) PathBuf);

impl File {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("bookshop-{}-{}.db", std::process::id(), NUMBER.fetch_add(1, Relaxed));
        Self(std::env::temp_dir().join(name))
    }
    pub(crate) fn url(&self) -> String {
        format!("sqlite://{}?mode=rwc", self.0.display())
    }
}

impl Drop for File {
    fn drop(&mut self) {
        for end in ["", "-wal", "-shm", "-journal"] {
            drop(std::fs::remove_file(format!("{}{end}", self.0.display())));
        }
    }
}

impl Shop {
    pub(crate) async fn new() -> Self {
        Self::on("sqlite::memory:").await
    }
    pub(crate) async fn on(database: &str) -> Self {
        let store = Store::open(database).await.unwrap();
        let (mails, time) = (KeptMails::new(), FakeTime::new());
        let front = Front::new(&store, "https://shop.example", mails.clone(), time.clock());
        let front = front.await.unwrap();
        let roles = front.roles().clone();
        let catalogue = replicas(&store).unwrap();
        let shop = app(store.clone(), Metrics::default(), &catalogue, front).unwrap();
        let bookshop::Shop { router, matrix, .. } = shop;
        let client = TestClient::new(router.clone());
        let client = client.allow_problems("https://bookshop.example/problems/");
        Self { client, router, matrix, roles, store, mails, time }
    }
    /// A browser that has not been here, with an address of its own.
    pub(crate) fn browser(&self) -> Browser {
        static NUMBER: AtomicU32 = AtomicU32::new(0x0a00_0001);
        let address = Ipv4Addr::from_bits(NUMBER.fetch_add(1, Relaxed));
        let peer = SocketAddr::new(IpAddr::V4(address), 40_000);
        Browser { client: self.client.clone(), cookie: None, peer, set: None }
    }
    /// The token of the last mail to an address, once there are so many to it.
    pub(crate) async fn token(&self, to: &str, count: usize) -> String {
        let mail = self.mails.last(to, count).await;
        let link = mail.link.expect("a link").expose().clone();
        assert!(link.starts_with("https://shop.example/account/"), "{link}");
        link.split_once("?token=").expect("a token").1.to_owned()
    }
    /// Somebody with an account, who has logged in.
    pub(crate) async fn customer(&self, email: &str) -> Browser {
        let mut browser = self.browser();
        let own = json!({ "email": email, "password": PASSWORD });
        browser.post("/account/register", own).await.assert_status(202);
        let token = self.token(email, 1).await;
        let verify = json!({ "token": token, "password": PASSWORD });
        browser.post("/account/verify", verify).await.assert_status(201);
        browser
    }
    /// The id of a user.
    pub(crate) async fn id_of(&self, email: &str) -> String {
        let users = self.store.stores().users().await.unwrap();
        let all = users.all().await.unwrap();
        all.iter().find(|user| user.email.spelled() == email).unwrap().id().to_owned()
    }
}

/// A browser with its cookie.
#[derive(Clone)]
pub(crate) struct Browser {
    pub(crate) client: TestClient<axum::Router>,
    pub(crate) cookie: Option<String>,
    pub(crate) peer: SocketAddr,
    /// The whole of the last `Set-Cookie`.
    pub(crate) set: Option<String>,
}

impl Browser {
    /// Whatever is asked, from a page of the shop unless told.
    pub(crate) async fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<(&str, String)>,
    ) -> TestResponse {
        let mut request = self.client.request(method.parse().unwrap(), path).peer(self.peer);
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie.as_str());
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some((kind, body)) = body {
            request = request.header("content-type", kind).body(body);
        }
        let answer = request.send().await;
        if let Some(cookie) = answer.header("set-cookie") {
            self.set = Some(cookie.to_owned());
            let pair = cookie.split(';').next().unwrap();
            self.cookie = (!pair.ends_with('=')).then(|| pair.to_owned());
        }
        answer
    }
    pub(crate) async fn get(&mut self, path: &str) -> TestResponse {
        self.ask("GET", path, &[], None).await
    }
    pub(crate) async fn post(&mut self, path: &str, json: Value) -> TestResponse {
        self.ask("POST", path, &[], Some(("application/json", json.to_string()))).await
    }
    /// As the form of a page sends it.
    pub(crate) async fn submit(&mut self, path: &str, fields: &[(&str, &str)]) -> TestResponse {
        let encode = |text: &str| {
            let bytes = text.bytes().map(|byte| format!("%{byte:02X}"));
            bytes.collect::<String>()
        };
        let pairs = fields.iter().map(|(name, value)| format!("{name}={}", encode(value)));
        let body = pairs.collect::<Vec<_>>().join("&");
        let headers = [("accept", "text/html"), ("sec-fetch-site", "same-origin")];
        self.ask("POST", path, &headers, Some(("application/x-www-form-urlencoded", body))).await
    }
    pub(crate) async fn log_in(&mut self, email: &str, password: &str) -> TestResponse {
        self.post("/account/login", json!({ "email": email, "password": password })).await
    }
    /// Whether the shop knows who this is.
    pub(crate) async fn is_known(&mut self) -> bool {
        let answer = self.get("/me").await;
        assert!([200, 401].contains(&answer.status().as_u16()), "{}", answer.status());
        answer.status() == 200
    }
}

/// The body of an answer that goes on.
pub(crate) async fn stream(shop: &Shop, browser: &Browser, path: &str) -> Body {
    let mut request = http::Request::builder().uri(path).header("host", "shop.example");
    request = request.header("cookie", browser.cookie.as_deref().unwrap());
    let answer = shop.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.into_body()
}

/// Whether a body ends within a second.
pub(crate) async fn ends(mut body: Body) -> bool {
    use http_body_util::BodyExt;
    let end = async {
        loop {
            match body.frame().await {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(1), end).await.is_ok()
}
