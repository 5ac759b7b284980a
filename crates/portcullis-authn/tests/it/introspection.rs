//! Issuers that are asked about their tokens.
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use http::Request;
use portcullis_authn::{AuthenticateLayer, ClaimNames, Introspection, TokenIssuer};
use portcullis_core::{Body, BoxError, EdgeLayer, Routes, Stack, authenticated};
use portcullis_testkit::{Contract, FakeTime, TestClient, get};
use serde_json::{Value, json};
use tower::{Layer, ServiceBuilder, service_fn};

use crate::rotation::{ask_at, whoami};

/// An issuer that answers what it is told to.
#[derive(Clone, Default)]
pub(crate) struct Desk {
    answers: Arc<Mutex<HashMap<String, String>>>,
    asked: Arc<Mutex<Vec<String>>>,
    /// How long an answer takes.
    pub(crate) takes: Duration,
    pub(crate) time: FakeTime,
}

impl Desk {
    pub(crate) fn says(&self, token: &str, answer: &Value) {
        self.answers.lock().unwrap().insert(token.to_owned(), answer.to_string());
    }
    pub(crate) fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
    pub(crate) fn introspection(&self) -> Introspection {
        let this = self.clone();
        let ask = move |token: String| {
            let this = this.clone();
            async move {
                this.asked.lock().unwrap().push(token.clone());
                tokio::time::sleep(this.takes).await;
                let answer = this.answers.lock().unwrap().get(&token).cloned();
                let answer = answer.unwrap_or_else(|| json!({"active": false}).to_string());
                Ok::<_, BoxError>(answer.into_bytes())
            }
        };
        Introspection::with_clock(ask, self.time.clock())
    }
    /// Another one with the same time.
    pub(crate) fn beside(&self) -> Self {
        Self { time: self.time.clone(), ..Self::default() }
    }
    pub(crate) fn issuer(&self, name: &str) -> TokenIssuer {
        issuer(name, self.introspection())
    }
}

fn issuer(name: &str, introspection: Introspection) -> TokenIssuer {
    let claims = ClaimNames::new().roles("/roles");
    let issuer = TokenIssuer::builder(name).audience("shop").claims(claims).role("boss", "admin");
    issuer.introspection(introspection).build().unwrap()
}

pub(crate) const NAME: &str = "https://id.example";

pub(crate) fn seconds(time: &FakeTime) -> u64 {
    time.clock().wall().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

fn with_sub(sub: &str) -> Value {
    json!({"active": true, "aud": "shop", "sub": sub})
}

#[tokio::test(start_paused = true)]
async fn what_an_issuer_says_is_judged_as_what_a_token_says() {
    let desk = Desk::default();
    let time = &desk.time;
    let now = seconds(time);
    let lax = issuer(NAME, desk.introspection().without_audience());
    let services = [desk.issuer(NAME), lax]
        .map(|issuer| AuthenticateLayer::new().bearer(issuer).layer(service_fn(whoami)));
    let with = |name: &str, value: Value| {
        let mut answer = with_sub("ada");
        answer[name] = value;
        answer
    };
    let without = |name: &str| {
        let mut answer = with("client_id", json!("app"));
        answer.as_object_mut().unwrap().remove(name);
        answer
    };
    for (at, (answer, want)) in [
        (with_sub("ada"), [200, 200]),
        (with("iss", json!(NAME)), [200, 200]),
        (with("iss", json!("https://id.example/")), [401, 401]),
        (with("active", json!(false)), [401, 401]),
        // Nobody can say what is meant, so nobody is let in; and it is not the caller's fault.
        (with("active", json!("true")), [503, 503]),
        (with("active", json!(1)), [503, 503]),
        (without("active"), [503, 503]),
        (json!([true]), [503, 503]),
        (with("aud", json!(["blog", "shop"])), [200, 200]),
        (with("aud", json!("blog")), [401, 401]),
        (with("aud", json!(["shop", 7])), [401, 401]),
        (with("aud", json!(null)), [401, 401]),
        (without("aud"), [401, 200]),
        (with("exp", json!(now + 60)), [200, 200]),
        (with("exp", json!(now - 31)), [401, 401]),
        (with("exp", json!("1")), [401, 401]),
        (with("nbf", json!(now + 60)), [401, 401]),
        // An application on its own behalf, of which some issuers say no subject.
        (without("sub"), [200, 200]),
        (with("sub", json!("")), [401, 401]),
        (with("sub", json!(7)), [401, 401]),
        (with("cnf", json!({"x5t#S256": "a".repeat(43)})), [401, 401]),
        (with("cnf", json!({"jkt": "A".repeat(43)})), [401, 401]),
        (with("cnf", json!({})), [401, 401]),
        (with("token_type", json!("DPoP")), [401, 401]),
        (with("token_type", json!("Bearer")), [200, 200]),
        // What logs somebody in, or gets other tokens, opens nothing.
        (with("token_type", json!("refresh_token")), [401, 401]),
        (with("typ", json!("Refresh")), [401, 401]),
        (with("typ", json!("ID")), [401, 401]),
        (with("typ", json!("Bearer")), [200, 200]),
    ]
    .into_iter()
    .enumerate()
    {
        let token = format!("token-{at}");
        desk.says(&token, &answer);
        for (service, want) in services.iter().zip(want) {
            assert_eq!(ask_at(service, &time.clock(), &token).await.0, want, "{answer}");
        }
    }
    // Doubled names are read by nobody.
    let twice = r#"{"active":true,"active":false,"aud":"shop","sub":"ada"}"#;
    desk.answers.lock().unwrap().insert("twice".to_owned(), twice.to_owned());
    assert_eq!(ask_at(&services[0], &time.clock(), "twice").await.0, 503);
}

#[tokio::test(start_paused = true)]
async fn an_answer_counts_for_its_time_and_is_asked_for_once_by_all() {
    let desk = Desk { takes: Duration::from_millis(20), ..Desk::default() };
    let time = &desk.time;
    let until = seconds(time) + 25;
    let service = AuthenticateLayer::new().bearer(desk.issuer(NAME)).layer(service_fn(whoami));
    let mut answer = with_sub("ada");
    answer["exp"] = json!(until - 30);
    desk.says("one", &answer);
    let clock = time.clock();
    let ask = |token: &'static str| ask_at(&service, &clock, token);
    for answer in join_all((0..100).map(|_| ask("one"))).await {
        assert_eq!(answer, (200, "ada".to_owned()));
    }
    assert_eq!(desk.asked(), 1);
    for answer in join_all((0..100).map(|_| ask("none"))).await {
        assert_eq!(answer.0, 401);
    }
    assert_eq!((ask("none").await.0, desk.asked()), (401, 2), "that it is not good, too");
    // Revoked, it is good for 10 s more.
    desk.says("one", &json!({"active": false}));
    time.advance(Duration::from_millis(9_900));
    assert_eq!((ask("one").await.0, desk.asked()), (200, 2));
    time.advance(Duration::from_millis(200));
    assert_eq!((ask("one").await.0, desk.asked()), (401, 3));
    // And never longer than it says itself, with the leeway.
    answer["exp"] = json!(until - 30);
    desk.says("two", &answer);
    assert_eq!(ask("two").await.0, 200);
    time.advance(Duration::from_secs(16));
    assert_eq!(ask("two").await.0, 401);
}

#[tokio::test(start_paused = true)]
async fn it_is_asked_each_time_where_nothing_is_remembered() {
    let desk = Desk::default();
    let time = &desk.time;
    let introspection = desk.introspection().remember(Duration::ZERO);
    let layer = AuthenticateLayer::new().bearer(issuer(NAME, introspection));
    let service = layer.layer(service_fn(whoami));
    desk.says("one", &with_sub("ada"));
    for asked in 1..=3 {
        assert_eq!(ask_at(&service, &time.clock(), "one").await.0, 200);
        assert_eq!(desk.asked(), asked);
    }
    desk.says("one", &json!({"active": false}));
    assert_eq!(ask_at(&service, &time.clock(), "one").await.0, 401);
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_hangs_or_panics_holds_nobody_up_for_long() {
    let (asked, time) = (Arc::new(AtomicUsize::new(0)), FakeTime::new());
    let counted = Arc::clone(&asked);
    let introspection = Introspection::new(move |token: String| {
        counted.fetch_add(1, SeqCst);
        async move {
            match token.as_str() {
                "panic" => panic!("this is what the test is about"),
                "fail" => Err(BoxError::from("it cannot be reached")),
                _ => std::future::pending().await,
            }
        }
    });
    let layer = AuthenticateLayer::new().bearer(issuer(NAME, introspection));
    let service = layer.layer(service_fn(whoami));
    let began = tokio::time::Instant::now();
    for token in ["panic", "fail"] {
        let (status, said) = ask_at(&service, &time.clock(), token).await;
        assert_eq!(status, 503, "{said}");
        assert!(said.contains("authentication-unavailable"), "{said}");
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    // So many that were never good are asked about at once; whoever comes then hears so at once.
    let tokens: Vec<_> = (0..300).map(|number| format!("token-{number}")).collect();
    let clock = time.clock();
    let answers = join_all(tokens.iter().map(|token| ask_at(&service, &clock, token))).await;
    assert!(answers.iter().all(|(status, _)| *status == 503));
    assert_eq!(asked.load(SeqCst), 2 + 96);
    assert_eq!(began.elapsed().as_secs(), 5);
    // They have ended, and there is room again.
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(ask_at(&service, &time.clock(), "fail").await.0, 503);
    assert_eq!(asked.load(SeqCst), 2 + 96 + 1);
}

#[tokio::test(start_paused = true)]
async fn who_goes_away_takes_nothing_from_who_waits() {
    let desk = Desk { takes: Duration::from_secs(1), ..Desk::default() };
    let time = &desk.time;
    let service = AuthenticateLayer::new().bearer(desk.issuer(NAME)).layer(service_fn(whoami));
    desk.says("one", &with_sub("ada"));
    let clock = time.clock();
    let first = tokio::time::timeout(Duration::from_millis(500), ask_at(&service, &clock, "one"));
    let (first, second) = tokio::join!(first, ask_at(&service, &clock, "one"));
    assert!(first.is_err());
    assert_eq!((second, desk.asked()), ((200, "ada".to_owned()), 1));
}

/// Whoever is there before the answer is gets it, and who comes after it.
#[tokio::test(start_paused = true)]
async fn an_answer_counts_also_where_nobody_waits_for_it() {
    let desk = Desk { takes: Duration::from_secs(1), ..Desk::default() };
    let clock = desk.time.clock();
    let service = AuthenticateLayer::new().bearer(desk.issuer(NAME)).layer(service_fn(whoami));
    desk.says("good", &with_sub("ada"));
    for (token, status) in [("good", 200), ("bad", 401)] {
        let asked = desk.asked();
        for _ in 0..3 {
            let time = Duration::from_millis(300);
            assert!(tokio::time::timeout(time, ask_at(&service, &clock, token)).await.is_err());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        for _ in 0..10 {
            assert_eq!(ask_at(&service, &clock, token).await.0, status);
        }
        assert_eq!(desk.asked() - asked, 1, "{token}");
    }
}

/// Who was good not long ago is asked about also while others come with what they have invented.
#[tokio::test(start_paused = true)]
async fn what_somebody_invents_keeps_out_nobody_who_is_known() {
    let desk = Desk::default();
    let clock = desk.time.clock();
    let hangs = desk.clone();
    let introspection = Introspection::with_clock(
        move |token: String| {
            let this = hangs.clone();
            async move {
                this.asked.lock().unwrap().push(token.clone());
                if token.starts_with("invented") {
                    std::future::pending::<()>().await;
                }
                Ok::<_, BoxError>(with_sub(&token).to_string().into_bytes())
            }
        },
        clock.clone(),
    );
    let layer = AuthenticateLayer::new().bearer(issuer(NAME, introspection));
    let service = layer.layer(service_fn(whoami));
    let known: Vec<_> = (0..20).map(|number| format!("known-{number}")).collect();
    for token in &known {
        assert_eq!(ask_at(&service, &clock, token).await.0, 200);
    }
    desk.time.advance(Duration::from_secs(60));
    let invented: Vec<_> = (0..300).map(|number| format!("invented-{number}")).collect();
    let all = join_all(invented.iter().map(|token| ask_at(&service, &clock, token)));
    let good = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(ask_at(&service, &clock, "new").await.0, 503, "there is no room for it");
        for answer in join_all(known.iter().map(|token| ask_at(&service, &clock, token))).await {
            assert_eq!(answer.0, 200);
        }
    };
    let (answers, ()) = tokio::join!(all, good);
    assert!(answers.iter().all(|(status, _)| *status == 503));
}

/// What can only be refused is not asked about.
#[tokio::test(start_paused = true)]
async fn where_tokens_are_bound_nobody_is_asked_about_one_without_a_proof() {
    let desk = Desk::default();
    let issuer = TokenIssuer::builder(NAME).audience("shop").introspection(desk.introspection());
    let layer = AuthenticateLayer::new().bearer(issuer.bound_only().build().unwrap());
    let service = layer.layer(service_fn(whoami));
    desk.says("one", &with_sub("ada"));
    assert_eq!(ask_at(&service, &desk.time.clock(), "one").await.0, 401);
    assert_eq!(desk.asked(), 0);
}

/// Nobody hears of a token that is not theirs.
#[tokio::test(start_paused = true)]
async fn a_token_is_told_to_its_own_issuer_and_to_nobody_else() {
    let one = Desk::default();
    let (two, time) = (one.beside(), &one.time);
    let first = issuer("https://one.example", one.introspection().prefix("one_"));
    let second = issuer("https://two.example", two.introspection().prefix("two_"));
    let service = AuthenticateLayer::new().bearer(first).bearer(second);
    let service = service.layer(service_fn(whoami));
    one.says("one_a", &with_sub("ada"));
    two.says("two_a", &with_sub("bob"));
    let clock = time.clock();
    let ask = |token: &'static str| ask_at(&service, &clock, token);
    assert_eq!(ask("one_a").await, (200, "ada".to_owned()));
    assert_eq!(ask("two_a").await, (200, "bob".to_owned()));
    assert_eq!((one.asked(), two.asked()), (1, 1));
    assert_eq!(ask("three_a").await.0, 401);
    // One that is signed says whose it is: also where its own issuer is not known, and where it says what is not true.
    let signed = |claims: &str| {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.{}", encode(r#"{"alg":"EdDSA"}"#), encode(claims), encode("signature"))
    };
    let stranger = signed(r#"{"iss":"https://three.example","sub":"eve"}"#);
    assert_eq!(ask_at(&service, &time.clock(), &stranger).await.0, 401);
    assert_eq!((one.asked(), two.asked()), (1, 1));
    let named = signed(r#"{"iss":"https://two.example","sub":"eve"}"#);
    assert_eq!(ask_at(&service, &time.clock(), &named).await.0, 401);
    assert_eq!((one.asked(), two.asked()), (1, 2));
    two.says(&named, &with_sub("carol"));
    time.advance(Duration::from_secs(11));
    assert_eq!(ask_at(&service, &time.clock(), &named).await, (200, "carol".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn the_same_letters_are_another_token_on_the_route_of_another_issuer() {
    let one = Desk::default();
    let (two, time) = (one.beside(), &one.time);
    one.says("same", &with_sub("ada"));
    two.says("same", &with_sub("bob"));
    one.says("first", &with_sub("ada"));
    let layer = AuthenticateLayer::new()
        .bearer(one.issuer("https://one.example"))
        .bearer(two.issuer("https://two.example"));
    let routes = Routes::builder()
        .get("/one", ())
        .rule(authenticated().issuer("https://one.example"))
        .get("/two", ())
        .rule(authenticated().issuer("https://two.example"))
        .build()
        .unwrap();
    let builder = ServiceBuilder::new().layer(routes.layer()).layer(layer);
    let client = TestClient::new(builder.service(service_fn(whoami))).clock(time.clock());
    let ask = |path: &'static str, token: &'static str| {
        let request = client.get(path).header("authorization", format!("Bearer {token}"));
        async move { (path, token, request.send().await) }
    };
    let rows = [
        ("/one", "same", Some("ada")),
        ("/two", "same", Some("bob")),
        ("/one", "first", Some("ada")),
        ("/two", "first", None),
    ];
    // One that names an issuer whose callers the route does not take has it asked nothing.
    let claims = URL_SAFE_NO_PAD.encode(r#"{"iss":"https://two.example"}"#);
    let forged = format!("{}.{claims}.AAAA", URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA"}"#));
    let request = client.get("/one").header("authorization", format!("Bearer {forged}"));
    request.send().await.assert_status(401);
    assert_eq!((one.asked(), two.asked()), (0, 0));
    for _ in 0..3 {
        for (path, token, want) in rows {
            let (.., answer) = ask(path, token).await;
            match want {
                Some(who) => assert_eq!(answer.text(), who, "{path} {token}"),
                None => drop(answer.assert_status(401)),
            }
        }
    }
    time.advance(Duration::from_secs(11));
    // All at once: nobody hears what was said of another's.
    let all = (0..10).flat_map(|_| rows).map(|(path, token, _)| ask(path, token));
    for (path, token, answer) in join_all(all).await {
        let want = rows.iter().find(|row| (row.0, row.1) == (path, token)).unwrap().2;
        assert_eq!(answer.status() == 200, want.is_some(), "{path} {token}");
        assert!(want.is_none_or(|want| answer.text() == want), "{path} {token}");
    }
}

#[test]
fn issuers_that_cannot_be_told_apart_are_an_error_at_start() {
    let desk = Desk::default();
    for (prefixes, is_sound) in
        [(["a_", "b_"], true), (["", "b_"], false), (["a_", "a_b"], false), (["", ""], false)]
    {
        let mut layer = AuthenticateLayer::new();
        for (name, prefix) in
            ["https://one.example", "https://two.example"].into_iter().zip(prefixes)
        {
            layer = layer.bearer(issuer(name, desk.introspection().prefix(prefix)));
        }
        let stack = Stack::new().layer(EdgeLayer::default()).layer(layer);
        let told = stack.service(service_fn(whoami)).err().map(|errors| errors.to_string());
        assert_eq!(told.is_none(), is_sound, "{prefixes:?} {told:?}");
        assert!(told.is_none_or(|told| told.contains("give each a `prefix`")));
    }
}

#[tokio::test]
async fn while_it_waits_for_an_answer_it_keeps_the_contract() {
    let desk = Desk::default();
    let time = &desk.time;
    desk.says("one", &with_sub("ada"));
    let clock = time.clock();
    let of = move |token: &str| -> Request<Body> {
        get("/").header("authorization", format!("Bearer {token}")).clock(clock.clone()).build()
    };
    let wrong = of.clone();
    // Nothing is remembered, so that each waits.
    let introspection = desk.introspection().remember(Duration::ZERO);
    Contract::new(AuthenticateLayer::new().bearer(issuer(NAME, introspection)))
        .passes(move || of("one"))
        .refuses(move || wrong("two"))
        .check()
        .await;
}
