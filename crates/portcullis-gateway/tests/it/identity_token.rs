//! Tokens that tell servers who is calling, verified by somebody else's library.
use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use portcullis_core::{AuthState, Body, Challenges, Context, EdgeLayer, Identity, IdentityKind};
use portcullis_gateway::{
    IdentityFact, IdentityTokens, Proxy, SigningKey, SigningKeyError, Upstream,
};
use portcullis_server::Server;
use portcullis_testkit::{FakeTime, get, read};
use serde_json::{Value, json};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::{Running, serve};

fn pem(algorithm: &'static rcgen::SignatureAlgorithm) -> String {
    rcgen::KeyPair::generate_for(algorithm).unwrap().serialize_pem()
}

fn key(algorithm: &'static rcgen::SignatureAlgorithm) -> SigningKey {
    SigningKey::from_pem(pem(algorithm).as_bytes()).unwrap()
}

fn tokens() -> IdentityTokens {
    IdentityTokens::new("https://gateway.example", key(&rcgen::PKCS_ECDSA_P256_SHA256))
}

/// What the keys that are published say of a token; nothing where it is not good.
async fn verified(tokens: &IdentityTokens, token: &str, audience: &str) -> Option<Value> {
    let response = tokens.jwks().oneshot(get("/").build()).await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/jwk-set+json");
    let keys: JwkSet = serde_json::from_str(&read(response).await).unwrap();
    let header = decode_header(token).unwrap();
    let jwk = keys.find(&header.kid.unwrap())?;
    let mut validation = Validation::new(header.alg);
    validation.set_audience(&[audience]);
    validation.set_issuer(&["https://gateway.example"]);
    // By a clock of the test's own.
    validation.validate_exp = false;
    Some(decode::<Value>(token, &DecodingKey::from_jwk(jwk).unwrap(), &validation).ok()?.claims)
}

/// A server that keeps the headers of the last request.
struct Heard {
    last: Arc<Mutex<HeaderMap>>,
    upstream: Upstream,
    _running: Running,
}

impl Heard {
    fn open() -> Self {
        let last: Arc<Mutex<HeaderMap>> = Arc::default();
        let record = Arc::clone(&last);
        let running = serve(Server::bind("127.0.0.1:0"), move |request: Request<Body>| {
            *record.lock().unwrap() = request.headers().clone();
            async { Ok::<_, Infallible>(Response::new(Body::empty())) }
        });
        let upstream = Upstream::builder("orders").server(running.places[0].clone());
        Self { last, upstream: upstream.build().unwrap(), _running: running }
    }
    /// What the server hears of this caller.
    async fn ask(&self, proxy: &Proxy, who: Option<&Identity>, time: &FakeTime) -> HeaderMap {
        let request = get("/").host("shop.example").header("authorization", "Bearer forged");
        let request = request.header("authorization", "Basic Zm9yZ2Vk");
        let mut request = request.header("x_who", "forged").clock(time.clock()).build();
        let context = Context::of(&mut request);
        context.set_auth(match who {
            Some(identity) => AuthState::Authenticated(identity.clone()),
            None => AuthState::Anonymous(Challenges::default()),
        });
        let proxy = proxy.clone();
        let leaf = service_fn(move |request: Request<Body>| proxy.clone().call(request));
        let response = EdgeLayer::default().layer(leaf).oneshot(request).await.unwrap();
        let status = response.status();
        assert_eq!(status, 200, "{}", read(response).await);
        self.last.lock().unwrap().clone()
    }
}

fn token_in(headers: &HeaderMap, name: &str) -> Option<String> {
    assert!(headers.get_all(name).iter().count() <= 1, "{headers:?}");
    let value = headers.get(name)?.to_str().unwrap();
    Some(value.strip_prefix("Bearer ").unwrap_or(value).to_owned())
}

fn seconds(time: &FakeTime) -> u64 {
    time.clock().wall().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

#[tokio::test]
async fn a_server_hears_who_calls_from_a_token_that_it_can_verify() {
    let (heard, time) = (Heard::open(), FakeTime::new());
    let ada = Identity::builder("https://id.example", "ada")
        .tenant("acme")
        .roles(["clerk", "buyer"])
        .scopes(["orders", "books"])
        .method("jwt")
        .session("s-1")
        .authenticated_at(SystemTime::UNIX_EPOCH + Duration::from_secs(7))
        .claims(json!({"email": "ada@acme.example"}).as_object().unwrap().clone())
        .build();
    for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ED25519] {
        let tokens = IdentityTokens::new("https://gateway.example", key(algorithm));
        let proxy = Proxy::to(&heard.upstream).identity_token(&tokens, "orders");
        let headers = heard.ask(&proxy, Some(&ada), &time).await;
        let token = token_in(&headers, "authorization").unwrap();
        assert!(headers["authorization"].to_str().unwrap().starts_with("Bearer ey"));
        let now = seconds(&time);
        let want = json!({
            "iss": "https://gateway.example", "aud": "orders", "sub": "ada", "iat": now, "exp": now + 60,
            "sub_id": {"format": "iss_sub", "iss": "https://id.example", "sub": "ada"},
            "tenant": "acme", "roles": ["clerk", "buyer"], "scope": "orders books", "amr": ["jwt"],
            "sid": "s-1", "auth_time": 7,
        });
        assert_eq!(verified(&tokens, &token, "orders").await, Some(want));
        assert_eq!(verified(&tokens, &token, "books").await, None);
        let others = IdentityTokens::new("https://gateway.example", key(algorithm));
        assert_eq!(verified(&others, &token, "orders").await, None);
        // Not beyond the caller's own token, and an application is its own client.
        let soon = json!({"exp": now + 7}).as_object().unwrap().clone();
        let app = Identity::builder("https://id.example", "app").kind(IdentityKind::Service);
        let app = app.claims(soon).build();
        let token = token_in(&heard.ask(&proxy, Some(&app), &time).await, "authorization").unwrap();
        let claims = verified(&tokens, &token, "orders").await.unwrap();
        assert_eq!((&claims["exp"], &claims["client_id"]), (&json!(now + 7), &json!("app")));
        // Of whom nothing more is known, nothing more is said; and of nobody nothing.
        let bob = Identity::builder("api-key", "bob").kind(IdentityKind::Key).build();
        let token = token_in(&heard.ask(&proxy, Some(&bob), &time).await, "authorization").unwrap();
        let claims = verified(&tokens, &token, "orders").await.unwrap();
        let names: HashSet<_> = claims.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, ["iss", "aud", "sub", "iat", "exp", "sub_id"].into());
        assert_eq!(heard.ask(&proxy, None, &time).await.get("authorization"), None);
    }
}

#[tokio::test]
async fn in_another_header_it_leaves_the_others_alone() {
    let (heard, time, tokens) = (Heard::open(), FakeTime::new(), tokens());
    let name = HeaderName::from_static("x-who");
    let proxy = Proxy::to(&heard.upstream).identity_token_in(name, &tokens, "orders");
    let ada = Identity::builder("id", "ada").build();
    let headers = heard.ask(&proxy, Some(&ada), &time).await;
    let token = token_in(&headers, "x-who").unwrap();
    assert_eq!(verified(&tokens, &token, "orders").await.unwrap()["sub"], "ada");
    assert_eq!(headers.get_all("authorization").iter().count(), 2, "none of ours");
    assert_eq!(headers.get("x_who"), None);
    let headers = heard.ask(&proxy, None, &time).await;
    assert_eq!((headers.get("x-who"), headers.get("x_who")), (None, None));
}

/// P3: what was signed for one is never sent for another, also for the same caller with other rights.
#[tokio::test]
async fn a_token_is_used_for_half_its_life_and_for_its_own_caller_alone() {
    let (heard, time) = (Heard::open(), FakeTime::new());
    let tokens = tokens().lifetime(Duration::from_secs(40));
    let proxy = Proxy::to(&heard.upstream).identity_token(&tokens, "orders");
    let other = Proxy::to(&heard.upstream).identity_token(&tokens, "books");
    let ada = Identity::builder("id", "ada");
    let callers = [
        ada.clone().scopes(["all"]).build(),
        ada.clone().scopes(["read"]).build(),
        ada.clone().role("boss").build(),
        ada.clone().tenant("acme").build(),
        Identity::builder("other", "ada").build(),
        Identity::builder("id", "bob").build(),
    ];
    let mut numbers = 7_usize;
    let mut seen = HashSet::new();
    for _ in 0..400 {
        numbers = numbers.wrapping_mul(25_214_903_917).wrapping_add(11);
        let caller = &callers[(numbers >> 20) % callers.len()];
        let (proxy, audience) =
            if (numbers >> 30).is_multiple_of(2) { (&proxy, "orders") } else { (&other, "books") };
        let token =
            token_in(&heard.ask(proxy, Some(caller), &time).await, "authorization").unwrap();
        let claims = verified(&tokens, &token, audience).await.unwrap();
        let of = |name: &str| claims[name].as_str().map(str::to_owned);
        assert_eq!(of("sub").as_deref(), Some(caller.subject()));
        assert_eq!(claims["sub_id"]["iss"], caller.issuer());
        assert_eq!(of("tenant").as_deref(), caller.tenant());
        let scopes: Vec<_> = caller.scopes().collect();
        assert_eq!(of("scope").unwrap_or_default(), scopes.join(" "));
        assert_eq!(claims["roles"].as_array().is_some(), caller.roles().len() > 0);
        let left = claims["exp"].as_u64().unwrap() - seconds(&time);
        assert!((20..=40).contains(&left), "{left}");
        seen.insert(token);
        time.advance(Duration::from_millis(500));
    }
    // The one of an identity that comes again and again is signed once in 20 s.
    let (begun, bob) = (seen.len(), &callers[5]);
    for _ in 0..40 {
        let headers = heard.ask(&proxy, Some(bob), &time).await;
        seen.insert(token_in(&headers, "authorization").unwrap());
        time.advance(Duration::from_millis(500));
    }
    assert!(seen.len() - begun <= 2, "{}", seen.len() - begun);
}

#[tokio::test]
async fn keys_change_while_their_tokens_are_good() {
    let (heard, time) = (Heard::open(), FakeTime::new());
    let (old, new) = (key(&rcgen::PKCS_ECDSA_P256_SHA256), key(&rcgen::PKCS_ED25519));
    let named = |key: &SigningKey| IdentityTokens::new("https://gateway.example", key.clone());
    let ada = Identity::builder("id", "ada").build();
    let token_of = async |tokens: &IdentityTokens| {
        let proxy = Proxy::to(&heard.upstream).identity_token(tokens, "orders");
        token_in(&heard.ask(&proxy, Some(&ada), &time).await, "authorization").unwrap()
    };
    let (before, after) = (named(&old).also(new.clone()), named(&new).also(old));
    let (one, two) = (token_of(&before).await, token_of(&after).await);
    for tokens in [&before, &after] {
        assert!(verified(tokens, &one, "orders").await.is_some());
        assert!(verified(tokens, &two, "orders").await.is_some());
    }
    assert_eq!(before.kids().into_iter().rev().collect::<Vec<_>>(), after.kids());
    assert_eq!(verified(&named(&new), &one, "orders").await, None);
}

/// Whoever has a token for the servers could call them as the caller.
#[tokio::test]
async fn a_shadow_hears_who_calls_only_where_it_is_told_to() {
    let (heard, shadow, time) = (Heard::open(), Heard::open(), FakeTime::new());
    let tokens = tokens();
    let name = HeaderName::from_static("x-user");
    let proxy = Proxy::to(&heard.upstream)
        .identity_token(&tokens, "orders")
        .identity_header(name, IdentityFact::Subject)
        .mirror(&shadow.upstream, 1.0);
    let ada = Identity::builder("id", "ada").build();
    for (proxy, is_told) in [(proxy.clone(), false), (proxy.mirror_identity(), true)] {
        shadow.last.lock().unwrap().clear();
        let headers = heard.ask(&proxy, Some(&ada), &time).await;
        assert!(headers.contains_key("authorization") && headers["x-user"] == "ada");
        let copy = async {
            while shadow.last.lock().unwrap().is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), copy).await.unwrap();
        let copied = shadow.last.lock().unwrap().clone();
        for name in ["authorization", "x-user"] {
            assert_eq!(copied.get(name), headers.get(name).filter(|_| is_told), "{name}");
        }
    }
}

#[test]
fn what_cannot_work_is_told() {
    for text in ["", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let error = SigningKey::from_pem(text.as_bytes()).unwrap_err();
        assert!(matches!(error, SigningKeyError::NoPem), "{text}: {error}");
    }
    let broken = pem(&rcgen::PKCS_ECDSA_P256_SHA256).replacen("MIG", "MIH", 1);
    let broken = SigningKey::from_pem(broken.as_bytes());
    let other = SigningKey::from_pem(pem(&rcgen::PKCS_ECDSA_P384_SHA384).as_bytes());
    for error in [broken.unwrap_err(), other.unwrap_err()] {
        assert!(error.to_string().contains("neither one of P-256 nor of Ed25519"), "{error}");
    }
    let upstream = Upstream::builder("a").server("http://127.0.0.1:1").build().unwrap();
    let faults = |tokens: IdentityTokens, audience: &str, edit: fn(Proxy) -> Proxy| {
        edit(Proxy::to(&upstream).identity_token(&tokens, audience)).faults("/")
    };
    let same: fn(Proxy) -> Proxy = |proxy| proxy;
    assert_eq!(faults(tokens(), "a", same), Vec::<String>::new());
    for (tokens, audience, edit, want) in [
        (tokens(), "", same, "is for nobody"),
        {
            let twice = key(&rcgen::PKCS_ED25519);
            let twice = IdentityTokens::new("https://a.example", twice.clone()).also(twice);
            (twice, "a", same, "is there twice")
        },
        (tokens().lifetime(Duration::from_secs(9)), "a", same, "10 s to 1 h"),
        (tokens().lifetime(Duration::from_secs(3_601)), "a", same, "10 s to 1 h"),
        (IdentityTokens::new("", key(&rcgen::PKCS_ED25519)), "a", same, "has no name"),
        (
            tokens(),
            "a",
            |proxy| {
                let value = HeaderValue::from_static("Basic x");
                proxy.set_request_header(http::header::AUTHORIZATION, value)
            },
            "is said twice",
        ),
        (
            tokens(),
            "a",
            |proxy| proxy.identity_header(http::header::AUTHORIZATION, IdentityFact::Subject),
            "is said twice",
        ),
    ] {
        let told = faults(tokens, audience, edit).join("; ");
        assert!(told.contains(want), "{want}: {told}");
    }
    for name in ["cookie", "via", "x-forwarded-for", "x-request-id", "content-type", "traceparent"]
    {
        let name = HeaderName::from_static(name);
        let proxy = Proxy::to(&upstream).identity_token_in(name, &tokens(), "a");
        assert!(proxy.faults("/").join("; ").contains("says something else"));
    }
    let debug = format!("{:?}", tokens());
    assert!(!debug.contains("BEGIN") && debug.contains("gateway.example"), "{debug}");
}
