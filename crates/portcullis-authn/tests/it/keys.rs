//! Which keys are valid, and whom they stand for.
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue};
use portcullis_authn::{ApiKey, ApiKeys, AuthenticateLayer};
use portcullis_core::IdentityKind;
use portcullis_testkit::{FakeTime, TestClient, get};
use sha2::{Digest, Sha256};
use tower::Layer;

use crate::support::{KEY, WhoAmI, context_after, keys, layer, secret};

/// The same key in UTF-8, as `ApiKey::new` takes it, and in Latin-1.
const ACCENTED: &str = "clé-de-la-boutique";
const LATIN: &[u8] = b"cl\xe9-de-la-boutique";

/// What it shows, the lines of the header, and who that is or what is answered.
type Row<'a> = (&'a str, &'a [&'a [u8]], Result<&'a str, &'a str>);

#[tokio::test]
async fn a_known_key_is_its_owner_and_any_other_is_401() {
    let long = "x".repeat(64 * 1024);
    let known = keys()
        .key(ApiKey::new("accented", secret(ACCENTED)))
        .key(ApiKey::new("long", secret(&*long)));
    let inner = WhoAmI::default();
    let client = TestClient::new(AuthenticateLayer::new().api_keys(known).layer(inner.clone()));
    let upper = KEY.to_uppercase();
    let rows: [Row<'_>; 16] = [
        ("a known key", &[KEY.as_bytes()], Ok("api-key||ci")),
        ("no key", &[], Ok("anonymous")),
        ("a key of letters beyond ASCII", &[ACCENTED.as_bytes()], Ok("api-key||accented")),
        ("a very long key", &[long.as_bytes()], Ok("api-key||long")),
        ("an unknown key", &[b"k-guessed"], Err("credentials-invalid")),
        ("an empty key", &[b""], Err("credentials-invalid")),
        ("the beginning of a key", &[b"k-7f3a9c"], Err("credentials-invalid")),
        ("a key and more", &[b"k-7f3a9c-of-the-build!"], Err("credentials-invalid")),
        ("a key in other letters", &[upper.as_bytes()], Err("credentials-invalid")),
        ("a key in another encoding", &[LATIN], Err("credentials-invalid")),
        ("bytes that are no text", &[b"\x80\xff\xfe"], Err("credentials-invalid")),
        ("a very long unknown key", &[&long.as_bytes()[1..]], Err("credentials-invalid")),
        ("a known key and an unknown one", &[KEY.as_bytes(), b"x"], Err("credentials-invalid")),
        ("an unknown key and a known one", &[b"x", KEY.as_bytes()], Err("credentials-invalid")),
        ("a known key twice", &[KEY.as_bytes(), KEY.as_bytes()], Err("credentials-invalid")),
        ("two keys on one line", &[b"k-7f3a9c-of-the-build, x"], Err("credentials-invalid")),
    ];
    let mut let_through = 0;
    for (what, sent, want) in rows {
        let request = client.get("/").header("accept", "*/*");
        let request = sent.iter().fold(request, |request, key| {
            request.header("x-api-key", HeaderValue::from_bytes(key).unwrap())
        });
        let answer = request.send().await;
        match want {
            Ok(who) => assert_eq!((answer.status().as_u16(), answer.text()), (200, who), "{what}"),
            Err(slug) => {
                assert_eq!(
                    (answer.status().as_u16(), answer.problem()),
                    (401, Some(slug)),
                    "{what}"
                );
                let challenge = Some("ApiKey header=\"x-api-key\"");
                assert_eq!(answer.header("www-authenticate"), challenge, "{what}");
            }
        }
        let_through += usize::from(want.is_ok());
        assert_eq!(inner.calls(), let_through, "{what}: what is refused does not reach the inside");
    }
}

#[tokio::test]
async fn a_missing_key_is_anonymous_with_the_challenge() {
    let context = context_after(layer().layer(WhoAmI::default()), get("/")).await;
    let problem = context.auth().unwrap().challenge().unwrap();
    assert_eq!(problem.status(), 401);
    let challenge = HeaderValue::from_static("ApiKey header=\"x-api-key\"");
    assert_eq!(problem.headers(), [(HeaderName::from_static("www-authenticate"), challenge)]);

    // Without a scheme there is no way to say who one is, and so nothing to ask for.
    let context = context_after(AuthenticateLayer::new().layer(WhoAmI::default()), get("/")).await;
    assert!(context.auth().unwrap().challenge().is_none());
    assert_eq!(context.consumed().unwrap().headers().len(), 0);
}

#[tokio::test]
async fn a_key_says_what_its_owner_is() {
    let key = ApiKey::new("ci", secret(KEY)).role("reader").role("clerk");
    let known = ApiKeys::new().key(key.tenant("acme").plan("pro"));
    let service = AuthenticateLayer::new().api_keys(known).layer(WhoAmI::default());
    let context = context_after(service, get("/").header("x-api-key", KEY)).await;
    let who = context.identity().unwrap();
    assert_eq!(who.key().to_string(), "api-key|acme|ci");
    assert_eq!(who.kind(), IdentityKind::Key);
    assert_eq!(who.roles().collect::<Vec<_>>(), ["reader", "clerk"]);
    assert_eq!((who.tenant(), who.plan()), (Some("acme"), Some("pro")));
    assert_eq!(who.methods().collect::<Vec<_>>(), ["api-key"]);
    assert_eq!((who.assurance(), who.session()), (None, None), "a key proves nothing more");
}

#[tokio::test]
async fn a_key_of_which_only_the_digest_is_known() {
    let digest = Sha256::digest(KEY).into();
    let known = ApiKeys::new().key(ApiKey::from_sha256("ci", digest));
    let client = TestClient::new(AuthenticateLayer::new().api_keys(known).layer(WhoAmI::default()));
    let answer = client.get("/").header("x-api-key", KEY).send().await;
    assert_eq!(answer.text(), "api-key||ci");
    // The digest is no key, neither printed nor as it is.
    let hex = format!("{:x}", Sha256::digest(KEY));
    client.get("/").header("x-api-key", hex).send().await.assert_status(401);
    let visible =
        ApiKeys::new().key(ApiKey::from_sha256("ci", *b"a digest of visible characters!!"));
    let layer = AuthenticateLayer::new().api_keys(visible);
    let client = TestClient::new(layer.layer(WhoAmI::default()));
    let request = client.get("/").header("x-api-key", "a digest of visible characters!!");
    request.send().await.assert_status(401);
}

#[tokio::test]
async fn digests_that_begin_alike_are_told_apart() {
    let right: [u8; 32] = Sha256::digest(KEY).into();
    let near = |at: usize| {
        let mut digest = right;
        digest[at] ^= 1;
        ApiKey::from_sha256(format!("near-{at}"), digest)
    };
    let alike = ApiKeys::new().key(near(31)).key(near(16)).key(near(8)).key(near(0));
    let right = ApiKey::from_sha256("right", right);
    for (known, want) in [
        (alike.clone(), 401),
        (alike.clone().key(right.clone()), 200),
        (ApiKeys::new().key(right).key(near(31)).key(near(8)), 200),
    ] {
        let layer = AuthenticateLayer::new().api_keys(known);
        let client = TestClient::new(layer.layer(WhoAmI::default()));
        let answer = client.get("/").header("x-api-key", KEY).send().await;
        answer.assert_status(want);
        assert!(want == 401 || answer.text() == "api-key||right", "{}", answer.text());
    }
}

#[tokio::test]
async fn an_empty_key_opens_nothing() {
    let known = ApiKeys::new().key(ApiKey::new("ci", secret("")));
    let client = TestClient::new(AuthenticateLayer::new().api_keys(known).layer(WhoAmI::default()));
    client.get("/").header("x-api-key", "").send().await.assert_status(401);
}

#[tokio::test]
async fn keys_in_a_header_of_their_own() {
    let known = keys().header(HeaderName::from_static("x-shop-key"));
    let service = AuthenticateLayer::new().api_keys(known).layer(WhoAmI::default());
    let client = TestClient::new(service.clone());
    let answer = client.get("/").header("X-Shop-Key", KEY).send().await;
    assert_eq!(answer.text(), "api-key||ci");
    // The usual header is now no business of ours.
    let answer = client.get("/").header("x-api-key", "k-guessed").send().await;
    assert_eq!(answer.text(), "anonymous");
    let answer = client.get("/").header("x-shop-key", "k-guessed").send().await;
    assert_eq!(answer.header("www-authenticate"), Some("ApiKey header=\"x-shop-key\""));
    let context = context_after(service, get("/")).await;
    assert_eq!(context.consumed().unwrap().headers(), ["x-shop-key"]);
}

#[tokio::test]
async fn a_key_is_over_in_its_time_and_says_when_it_was_used() {
    let time = FakeTime::new();
    let now = time.clock().wall();
    let minute = Duration::from_secs(60);
    // A new one beside an old one that is good for a while.
    let known = ApiKeys::new()
        .key(ApiKey::new("ci", secret("old")).expires(now + minute).scope("books:read"))
        .key(ApiKey::new("ci", secret("new")));
    assert_eq!(known.last_used("ci"), None);
    let service = AuthenticateLayer::new().api_keys(known.clone()).layer(WhoAmI::default());
    let client = TestClient::new(service);
    let ask = async |key: &str| {
        let request = client.get("/").header("x-api-key", key).clock(time.clock());
        request.send().await.status().as_u16()
    };
    assert_eq!((ask("old").await, ask("new").await), (200, 200));
    assert_eq!((known.last_used("ci"), known.last_used("cd")), (Some(now), None));
    time.advance(Duration::from_secs(59));
    assert_eq!(ask("old").await, 200);
    time.advance(Duration::from_secs(1));
    assert_eq!((ask("old").await, ask("new").await), (401, 200));
    assert_eq!(known.last_used("ci"), Some(now + minute));
}

/// RFC 7617, for machines that can send nothing else.
#[tokio::test]
async fn a_name_and_a_key_are_as_good_where_they_are_offered() {
    let known =
        || ApiKeys::new().key(ApiKey::new("ci", secret(KEY))).key(ApiKey::new("cd", secret("k:2")));
    let offered = AuthenticateLayer::new().api_keys(known().basic()).layer(WhoAmI::default());
    let offered = TestClient::new(offered);
    let ask = async |sent: &[(&str, String)]| {
        let request = sent
            .iter()
            .fold(offered.get("/"), |request, (name, value)| request.header(*name, value.as_str()));
        let answer = request.send().await;
        (answer.status().as_u16(), answer.text().to_owned())
    };
    let basic = |text: &str| format!("bAsIc {}", STANDARD.encode(text));
    let name = "authorization";
    assert_eq!(ask(&[(name, basic(&format!("ci:{KEY}")))]).await, (200, "api-key||ci".to_owned()));
    // Of several colons the first parts them.
    assert_eq!(ask(&[(name, basic("cd:k:2"))]).await.0, 200);
    for wrong in [
        vec![(name, basic(&format!("cd:{KEY}")))],
        vec![(name, basic(&format!(":{KEY}")))],
        vec![(name, basic("ci:"))],
        vec![(name, basic("ci"))],
        vec![(name, basic("ci:guessed"))],
        vec![(name, "Basic ***".to_owned())],
        vec![(name, "Basic ".to_owned())],
        vec![(name, basic(&format!("ci:{KEY}"))), (name, basic(&format!("ci:{KEY}")))],
        vec![(name, basic(&format!("ci:{KEY}"))), ("x-api-key", KEY.to_owned())],
    ] {
        assert_eq!(ask(&wrong).await.0, 401, "{wrong:?}");
    }
    // Another scheme is none of ours, and this one is not where it is not offered.
    assert_eq!(ask(&[(name, "Digest x".to_owned())]).await.1, "anonymous");
    let plain = AuthenticateLayer::new().api_keys(known()).layer(WhoAmI::default());
    let answer = TestClient::new(plain).get("/").header(name, basic("ci:guessed")).send().await;
    assert_eq!(answer.text(), "anonymous");
}
