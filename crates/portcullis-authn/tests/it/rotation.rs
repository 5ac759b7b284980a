//! An issuer that changes its keys, cannot be reached, or is asked for keys that nobody has.
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Request, Response};
use portcullis_authn::{AuthenticateLayer, RemoteKeys, TokenIssuer};
use portcullis_core::{AuthState, Body, BoxError, Clock, Context};
use portcullis_testkit::{Contract, FakeTime, ReadyGuard, get, read};
use serde_json::json;
use tower::{Layer, Service, ServiceExt, service_fn};

/// Key pairs by name.
type Pairs = Vec<(String, Arc<Ed25519KeyPair>)>;

/// An issuer, and what it is up to.
#[derive(Clone)]
pub(crate) struct Provider {
    /// Its keys by name; none while it cannot be reached.
    published: Arc<Mutex<Option<Vec<String>>>>,
    keys: Arc<Mutex<Pairs>>,
    fetches: Arc<AtomicUsize>,
    pub(crate) time: FakeTime,
}

impl Provider {
    pub(crate) fn new() -> Self {
        let provider = Self {
            published: Arc::new(Mutex::new(Some(Vec::new()))),
            keys: Arc::default(),
            fetches: Arc::default(),
            time: FakeTime::new(),
        };
        provider.publish(&["one"]);
        provider
    }
    pub(crate) fn publish(&self, kids: &[&str]) {
        let mut keys = self.keys.lock().unwrap();
        for kid in kids {
            if keys.iter().all(|(known, _)| known != kid) {
                keys.push(((*kid).to_owned(), Arc::new(Ed25519KeyPair::generate().unwrap())));
            }
        }
        *self.published.lock().unwrap() = Some(kids.iter().map(|kid| (*kid).to_owned()).collect());
    }
    fn vanish(&self) {
        *self.published.lock().unwrap() = None;
    }
    pub(crate) fn remote(&self) -> RemoteKeys {
        let this = self.clone();
        let fetch = move || {
            let this = this.clone();
            async move {
                this.fetches.fetch_add(1, SeqCst);
                // Others come while it is on its way.
                tokio::time::sleep(Duration::from_millis(20)).await;
                this.jwks().ok_or_else(|| BoxError::from("it cannot be reached"))
            }
        };
        RemoteKeys::with_clock(fetch, self.time.clock())
    }
    fn jwks(&self) -> Option<Vec<u8>> {
        let kids = self.published.lock().unwrap().clone()?;
        let keys = self.keys.lock().unwrap();
        let jwk = |kid: &String| {
            let (_, pair) = keys.iter().find(|(own, _)| own == kid).unwrap();
            let x = URL_SAFE_NO_PAD.encode(pair.public_key());
            json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x})
        };
        let keys: Vec<_> = kids.iter().map(jwk).collect();
        Some(json!({ "keys": keys }).to_string().into_bytes())
    }
    /// A token of this key's, for this subject.
    fn token(&self, kid: &str, subject: &str) -> String {
        let day = Duration::from_secs(86_400);
        self.token_of("https://id.example", kid, subject, day)
    }
    /// The same, of this issuer's and good for this long.
    pub(crate) fn token_of(&self, iss: &str, kid: &str, sub: &str, good_for: Duration) -> String {
        let now = self.time.clock().wall().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let header = json!({"alg": "EdDSA", "kid": kid}).to_string();
        let claims =
            json!({"iss": iss, "aud": "shop", "sub": sub, "exp": (now + good_for).as_secs()});
        let base64 = |text: String| URL_SAFE_NO_PAD.encode(text);
        let signed = format!("{}.{}", base64(header), base64(claims.to_string()));
        let keys = self.keys.lock().unwrap();
        let pair = keys.iter().find(|(own, _)| own == kid).map(|(_, pair)| Arc::clone(pair));
        // One that nobody publishes is as good as any.
        let pair = pair.unwrap_or_else(|| Arc::new(Ed25519KeyPair::generate().unwrap()));
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(pair.sign(signed.as_bytes())))
    }
}

fn layer(keys: &RemoteKeys) -> AuthenticateLayer {
    let issuer = TokenIssuer::builder("https://id.example").audience("shop");
    AuthenticateLayer::new().bearer(issuer.remote_keys(keys.clone()).build().unwrap())
}

pub(crate) async fn whoami(
    mut request: Request<Body>,
) -> Result<Response<Body>, std::convert::Infallible> {
    let context = Context::of(&mut request);
    Ok(Response::new(Body::from(match context.auth() {
        Some(AuthState::Authenticated(identity)) => identity.subject().to_owned(),
        _ => "nobody".to_owned(),
    })))
}

/// What a request with this token gets.
pub(crate) async fn ask<S>(service: &S, provider: &Provider, token: &str) -> (u16, String)
where
    S: Service<Request<Body>, Response = Response<Body>, Error = std::convert::Infallible> + Clone,
{
    ask_at(service, &provider.time.clock(), token).await
}

/// The same by this clock.
pub(crate) async fn ask_at<S>(service: &S, clock: &Clock, token: &str) -> (u16, String)
where
    S: Service<Request<Body>, Response = Response<Body>, Error = std::convert::Infallible> + Clone,
{
    let request = get("/").header("authorization", format!("Bearer {token}"));
    let request = request.clock(clock.clone()).build();
    let response = service.clone().oneshot(request).await.unwrap();
    (response.status().as_u16(), read(response).await)
}

#[tokio::test(start_paused = true)]
async fn keys_are_fetched_when_they_are_needed_and_once_for_all_who_wait() {
    let provider = Provider::new();
    let layer = layer(&provider.remote());
    let service = layer.layer(ReadyGuard::new(service_fn(whoami)));
    let token = provider.token("one", "ada");
    let asks: Vec<_> = (0..50).map(|_| ask(&service, &provider, &token)).collect();
    for ask in futures_util::future::join_all(asks).await {
        assert_eq!(ask, (200, "ada".to_owned()));
    }
    assert_eq!(provider.fetches.load(SeqCst), 1);
    // Who brings no token waits for nobody.
    let open = service.clone().oneshot(get("/").build()).await.unwrap();
    assert_eq!(read(open).await, "nobody");
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_known_to_the_first_who_brings_it_and_an_old_one_to_nobody() {
    let provider = Provider::new();
    let service = layer(&provider.remote()).layer(service_fn(whoami));
    let old = provider.token("one", "ada");
    assert_eq!(ask(&service, &provider, &old).await.0, 200);
    provider.time.advance(Duration::from_secs(60));
    provider.publish(&["one", "two"]);
    for kid in ["two", "one", "two"] {
        assert_eq!(
            ask(&service, &provider, &provider.token(kid, "bob")).await,
            (200, "bob".to_owned())
        );
    }
    assert_eq!(provider.fetches.load(SeqCst), 2);
    provider.time.advance(Duration::from_secs(60));
    // The old one is taken back, and a token that was remembered goes with it.
    provider.publish(&["two", "three"]);
    assert_eq!(ask(&service, &provider, &provider.token("three", "eve")).await.0, 200);
    assert_eq!(ask(&service, &provider, &old).await.0, 401);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_unknown_keys_are_two_fetches() {
    let provider = Provider::new();
    let service = layer(&provider.remote()).layer(service_fn(whoami));
    let good = provider.token("one", "ada");
    assert_eq!(ask(&service, &provider, &good).await.0, 200);
    provider.time.advance(Duration::from_secs(30));
    for number in 0..10_000 {
        let token = provider.token(&format!("unknown-{number}"), "eve");
        assert_eq!(ask(&service, &provider, &token).await.0, 401);
    }
    assert_eq!(provider.fetches.load(SeqCst), 2);
    // A token that is not good anyhow has nobody asked.
    provider.time.advance(Duration::from_secs(60));
    let elsewhere = TokenIssuer::builder("https://id.example").audience("blog");
    let elsewhere = elsewhere.remote_keys(provider.remote()).build().unwrap();
    let elsewhere = AuthenticateLayer::new().bearer(elsewhere).layer(service_fn(whoami));
    assert_eq!(ask(&elsewhere, &provider, &provider.token("x", "eve")).await.0, 401);
    assert_eq!(provider.fetches.load(SeqCst), 2);
    assert_eq!(ask(&service, &provider, &good).await.0, 200);
}

/// R13: known keys to the stated bound, then nobody; back without a restart.
#[tokio::test(start_paused = true)]
async fn an_issuer_that_is_gone_is_believed_for_a_while() {
    let provider = Provider::new();
    let keys = provider.remote().keep(Duration::from_secs(600));
    let service = layer(&keys).layer(service_fn(whoami));
    let known = provider.token("one", "ada");
    assert_eq!(ask(&service, &provider, &known).await.0, 200);
    provider.vanish();
    for _ in 0..10 {
        provider.time.advance(Duration::from_secs(60));
        assert_eq!(ask(&service, &provider, &known).await.0, 200, "remembered");
        assert_eq!(
            ask(&service, &provider, &provider.token("one", "bob")).await.0,
            200,
            "not remembered"
        );
        assert_eq!(ask(&service, &provider, &provider.token("two", "eve")).await.0, 401);
    }
    provider.time.advance(Duration::from_secs(1));
    for token in [&known, &provider.token("one", "bob")] {
        let (status, said) = ask(&service, &provider, token).await;
        assert_eq!(status, 503);
        assert!(said.contains("authentication-unavailable"), "{said}");
    }
    provider.publish(&["one"]);
    // Nobody asks more often than every 30 s.
    assert_eq!(ask(&service, &provider, &known).await.0, 503);
    provider.time.advance(Duration::from_secs(30));
    assert_eq!(ask(&service, &provider, &known).await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn in_the_background_they_stay_fresh() {
    let provider = Provider::new();
    let keys = provider.remote().every(Duration::from_secs(60));
    keys.start(&tokio::runtime::Handle::current());
    keys.start(&tokio::runtime::Handle::current());
    keys.ready().await;
    assert_eq!(provider.fetches.load(SeqCst), 1);
    tokio::time::sleep(Duration::from_secs(200)).await;
    assert_eq!(provider.fetches.load(SeqCst), 4);
    provider.vanish();
    tokio::time::sleep(Duration::from_secs(130)).await;
    provider.publish(&["two"]);
    let fetched = provider.fetches.load(SeqCst);
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert!(provider.fetches.load(SeqCst) > fetched);
    let service = layer(&keys).layer(service_fn(whoami));
    assert_eq!(ask(&service, &provider, &provider.token("two", "ada")).await.0, 200);
    // It ends with the last who has them.
    drop((service, keys));
    let fetched = provider.fetches.load(SeqCst);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(provider.fetches.load(SeqCst), fetched);
}

#[tokio::test]
async fn while_it_waits_for_keys_it_keeps_the_contract_too() {
    let provider = Provider::new();
    let token = provider.token("one", "ada");
    let clock = provider.time.clock();
    let of = move |token: String| {
        get("/").header("authorization", format!("Bearer {token}")).clock(clock.clone()).build()
    };
    let wrong = of.clone();
    Contract::new(layer(&provider.remote()))
        .passes(move || of(token.clone()))
        .refuses(move || wrong("x.y.z".to_owned()))
        .check()
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_hangs_or_panics_holds_nobody_up_for_long() {
    let provider = Provider::new();
    let (this, tries) = (provider.clone(), Arc::new(AtomicUsize::new(0)));
    let fetch = move || {
        let (this, number) = (this.clone(), tries.fetch_add(1, SeqCst));
        async move {
            match number {
                0 => std::future::pending().await,
                1 => panic!("this is what the test is about"),
                _ => Ok::<_, BoxError>(this.jwks().unwrap()),
            }
        }
    };
    let service = layer(&RemoteKeys::with_clock(fetch, provider.time.clock()));
    let service = service.layer(service_fn(whoami));
    let token = provider.token("one", "ada");
    let began = tokio::time::Instant::now();
    assert_eq!(ask(&service, &provider, &token).await.0, 503);
    assert_eq!(began.elapsed().as_secs(), 5);
    // Whoever comes later waits for the end of the same look.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(ask(&service, &provider, &token).await.0, 503);
    assert_eq!(began.elapsed().as_secs(), 10);
    provider.time.advance(Duration::from_secs(31));
    assert_eq!(ask(&service, &provider, &token).await.0, 503);
    provider.time.advance(Duration::from_secs(31));
    assert_eq!(ask(&service, &provider, &token).await, (200, "ada".to_owned()));
    assert_eq!(began.elapsed().as_secs(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_refused_while_the_keys_that_they_need_arrive() {
    let provider = Provider::new();
    let this = provider.clone();
    let fetch = move || {
        let this = this.clone();
        async move { Ok::<_, BoxError>(this.jwks().unwrap()) }
    };
    let keys = RemoteKeys::with_clock(fetch, provider.time.clock());
    let service = layer(&keys).layer(service_fn(whoami));
    for round in 0..2_000 {
        let kid = format!("key-{round}");
        provider.publish(&[&kid]);
        provider.time.advance(Duration::from_secs(31));
        let all = (0..16).map(|number| {
            let (service, provider) = (service.clone(), provider.clone());
            let token = provider.token(&kid, &format!("user-{number}"));
            tokio::spawn(async move { ask(&service, &provider, &token).await.0 })
        });
        for answer in all.collect::<Vec<_>>() {
            assert_eq!(answer.await.unwrap(), 200, "round {round}");
        }
    }
}
