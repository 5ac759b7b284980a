//! What the endpoints for accounts must do over any stores, and a check that they do.
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, COOKIE, SET_COOKIE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use portcullis_authn::{
    Accounts, Attempts, Authenticate, AuthenticateLayer, KeyStore, Mail, MailKind, Mailer,
    OneTimeTokens, SessionStore, Sessions, Users,
};
use portcullis_core::{Body, BoxError};
use serde_json::{Value, json};
use tower_layer::Layer;
use tower_service::Service;

use crate::fail::{done, fail, same};

/// How many ask at once.
const MANY: usize = 50;

/// Keeps mails in place of sending them. Cheap to clone; clones share them.
#[derive(Clone, Debug, Default)]
pub struct KeptMails(Arc<Mutex<Vec<Mail>>>);

impl KeptMails {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }
    /// All that were sent, the first one first.
    pub fn all(&self) -> Vec<Mail> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    /// The last mail to an address of which this is the one spelling, once there are this many of them.
    ///
    /// # Panics
    /// None comes within ten seconds.
    pub async fn last(&self, to: &str, count: usize) -> Mail {
        self.find(to, count, |_| true).await
    }
    /// The same for mails of a kind.
    ///
    /// # Panics
    /// None comes within ten seconds.
    pub async fn last_of(&self, kind: MailKind, to: &str, count: usize) -> Mail {
        self.find(to, count, |mail| mail.kind == kind).await
    }
    async fn find(&self, to: &str, count: usize, fits: impl Fn(&Mail) -> bool) -> Mail {
        for _ in 0..1_000 {
            let all = self.all().into_iter();
            let own: Vec<_> = all.filter(|mail| mail.to.spelled() == to && fits(mail)).collect();
            if own.len() >= count
                && let Some(last) = own.last()
            {
                return last.clone();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let all = self.all();
        let kinds: Vec<_> = all.iter().map(|mail| (mail.to.as_str(), mail.kind)).collect();
        fail(format!("there are not {count} mails to {to}, but {kinds:?}"))
    }
}

#[async_trait]
impl Mailer for KeptMails {
    async fn send(&self, mail: &Mail) -> Result<(), BoxError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(mail.clone());
        Ok(())
    }
}

/// The token in the link of a mail.
fn token(mail: &Mail) -> String {
    let link = mail.link.as_ref().map(|link| link.expose().clone()).unwrap_or_default();
    link.split_once("?token=").map(|(_, token)| token.to_owned()).unwrap_or_default()
}

/// A browser with the cookie it was given.
#[derive(Clone)]
struct Browser {
    service: Authenticate<Accounts>,
    cookie: Option<String>,
}

impl Browser {
    async fn send(&mut self, method: Method, path: &str, json: &Value) -> (StatusCode, Value) {
        let mut request = Request::builder().method(method).uri(format!("/account/{path}"));
        request = request.header(CONTENT_TYPE, "application/json");
        if let Some(cookie) = &self.cookie {
            request = request.header(COOKIE, cookie);
        }
        let request = done("a request", request.body(Full::new(Bytes::from(json.to_string()))));
        let answer: Response<Body> = done("an answer", self.service.call(request).await);
        if let Some(cookie) = answer.headers().get(SET_COOKIE) {
            let cookie = done("a cookie", cookie.to_str());
            let pair = cookie.split(';').next().unwrap_or_default();
            self.cookie = (!pair.ends_with('=')).then(|| pair.to_owned());
        }
        let status = answer.status();
        let body = done("a body", answer.into_body().collect().await).to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }
    async fn post(&mut self, path: &str, json: Value) -> StatusCode {
        self.send(Method::POST, path, &json).await.0
    }
    /// The statuses that many get who ask at once.
    async fn at_once(&self, path: &'static str, json: &Value) -> Vec<u16> {
        let ask = |_| {
            let (mut own, json) = (self.clone(), json.clone());
            tokio::spawn(async move { own.post(path, json).await.as_u16() })
        };
        let mut statuses = Vec::new();
        for task in (0..MANY).map(ask).collect::<Vec<_>>() {
            statuses.push(done("a task", task.await));
        }
        statuses.sort_unstable();
        statuses
    }
}

/// One of all, and the others refused with this.
#[track_caller]
fn one_of_all(what: &str, statuses: &[u16], good: u16, refused: &[u16]) {
    same(what, statuses.iter().filter(|status| **status == good).count(), 1);
    let others = statuses.iter().filter(|status| **status != good);
    for other in others {
        if !refused.contains(other) {
            fail(format!("{what}: one of {MANY} hears {other}"));
        }
    }
}

/// Checks that [`Accounts`] over these stores do what they say, and that what may be done once is done once, though 50 do it at the same time: a link that registers, one that resets, a
/// key that is changed. The stores have nothing of `ada@endpoints.example`, and have a user of this address afterwards.
///
/// # Panics
/// Where they do something else.
pub async fn account_endpoints_contract(
    users: impl Users,
    tokens: impl OneTimeTokens,
    keys: impl KeyStore,
    sessions: impl SessionStore,
) {
    let mails = KeptMails::new();
    let many = || Attempts::new().by_account(1_000, Duration::from_secs(1));
    let accounts = Accounts::builder("https://shop.example", users, tokens, mails.clone());
    let accounts = accounts.keys(keys, "shop").attempts(many()).mails(many()).build();
    let accounts = accounts.unwrap_or_else(|errors| fail(errors));
    let layer = AuthenticateLayer::new().sessions(Sessions::new(sessions));
    let mut ada = Browser { service: layer.layer(accounts), cookie: None };
    let (address, first, second) = ("ada@endpoints.example", "a first password", "a second one!");

    // Two register with the address; each has a link, and only one of them is hers.
    let eve = json!({ "email": address, "password": "what eve has chosen" });
    same("register", ada.post("register", eve).await, StatusCode::ACCEPTED);
    let eves = token(&mails.last(address, 1).await);
    let own = json!({ "email": "ADA@endpoints.example", "password": first });
    same("register", ada.post("register", own.clone()).await, StatusCode::ACCEPTED);
    let link = token(&mails.last(address, 2).await);
    let log_in = json!({ "email": address, "password": first });
    same("no account yet", ada.post("login", log_in.clone()).await, StatusCode::UNAUTHORIZED);
    let of_eve = json!({ "token": eves, "password": first });
    same("a password of another link", ada.post("verify", of_eve).await, StatusCode::UNAUTHORIZED);
    let verify = json!({ "token": link, "password": first });
    let statuses = ada.at_once("verify", &verify).await;
    one_of_all("verify", &statuses, 201, &[400]);
    let of_eve = json!({ "token": eves, "password": "what eve has chosen" });
    same("a link beside it", ada.post("verify", of_eve).await, StatusCode::BAD_REQUEST);
    // It is no link that resets.
    let reset = json!({ "token": link, "password": second });
    same("another purpose", ada.post("reset/confirm", reset).await, StatusCode::BAD_REQUEST);
    same("register", ada.post("register", own).await, StatusCode::ACCEPTED);
    same("a mail to who is there", mails.last(address, 3).await.kind, MailKind::RegisteredAlready);

    same("log in", ada.post("login", log_in.clone()).await, StatusCode::OK);
    let mut elsewhere = Browser { cookie: None, ..ada.clone() };
    same("log in", elsewhere.post("login", log_in.clone()).await, StatusCode::OK);
    keys_are_changed_once(&mut ada, first).await;

    same("reset", ada.post("reset", json!({ "email": address })).await, StatusCode::ACCEPTED);
    let link = token(&mails.last_of(MailKind::Reset, address, 1).await);
    let reset = json!({ "token": link, "password": second });
    let statuses = ada.at_once("reset/confirm", &reset).await;
    one_of_all("reset", &statuses, 200, &[400]);
    for browser in [&mut ada, &mut elsewhere] {
        let (status, _) = browser.send(Method::GET, "sessions", &json!({})).await;
        same("no session outlives it", status, StatusCode::UNAUTHORIZED);
    }
    same("the old one", ada.post("login", log_in).await, StatusCode::UNAUTHORIZED);
    let log_in = json!({ "email": address, "password": second });
    same("the new one", ada.post("login", log_in).await, StatusCode::OK);

    // Of many who change it in one session, one does.
    let change = json!({ "current": second, "password": first });
    let statuses = ada.at_once("password", &change).await;
    one_of_all("change", &statuses, 200, &[401, 409]);
}

async fn keys_are_changed_once(ada: &mut Browser, password: &str) {
    let key = json!({ "label": "till", "days": 30, "current": password });
    let (status, made) = ada.send(Method::POST, "keys", &key).await;
    same("make a key", status, StatusCode::CREATED);
    let id = made.get("id").and_then(Value::as_str).unwrap_or_default();
    let rotate = json!({ "id": id, "current": password });
    let statuses = ada.at_once("keys/rotate", &rotate).await;
    one_of_all("rotate", &statuses, 200, &[409]);
    let (status, list) = ada.send(Method::GET, "keys", &json!({})).await;
    same("list keys", status, StatusCode::OK);
    let labels = list.as_array().into_iter().flatten().map(|key| key.get("label"));
    same("one key", labels.collect::<Vec<_>>(), vec![Some(&Value::from("till"))]);
    let end = json!({ "id": id });
    for count in [1, 0] {
        let ended = ada.send(Method::POST, "keys/end", &end).await;
        same("end a key", ended, (StatusCode::OK, json!({ "ended": count })));
    }
}
