//! Tokens by people who mean no good. Each is signed as well as it can be; what is wrong with it stands in its row.
use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, Request};
use portcullis_core::{Context, Identity};
use serde_json::{Value, json};

use super::*;
use crate::bearer::{Bearer, Carried, Verdict};
use crate::jose::{Algorithm, Keys};
use crate::proof::Asked;

const NOW: u64 = 1_800_000_000;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
}

fn base64(text: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// An issuer's key pair.
struct Signer(Ed25519KeyPair);

impl Signer {
    fn new() -> Self {
        Self(Ed25519KeyPair::generate().unwrap())
    }
    fn jwk(&self, kid: &str) -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "use": "sig", "x": base64(self.0.public_key())})
    }
    /// Signs texts as they stand there.
    fn sign(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", base64(header), base64(claims));
        format!("{signed}.{}", base64(self.0.sign(signed.as_bytes())))
    }
    fn good(&self) -> String {
        self.sign(HEADER, &claims().to_string())
    }
}

const HEADER: &str = r#"{"alg":"EdDSA","kid":"one","typ":"at+jwt"}"#;

fn claims() -> Value {
    json!({
        "iss": "https://id.example", "aud": "shop", "sub": "ada", "exp": NOW + 600, "iat": NOW,
        "roles": ["shop-clerk", "admin"], "org": "acme", "scope": "books:read books:write",
    })
}

/// The same with this claim in place of what it was; null takes it out.
fn with(name: &str, value: &Value) -> String {
    let mut claims = claims();
    claims[name] = value.clone();
    if value.is_null() {
        claims.as_object_mut().unwrap().remove(name);
    }
    claims.to_string()
}

fn issuer(keys: &[Value]) -> TokenIssuer {
    let keys = Keys::from_jwks(json!({ "keys": keys }).to_string().as_bytes()).unwrap();
    TokenIssuer::builder("https://id.example")
        .audience("shop")
        .keys(keys)
        .claims(ClaimNames::new().roles("/roles").tenant("/org"))
        .role("shop-clerk", "clerk")
        .build()
        .unwrap()
}

fn ask(bearer: &Bearer, token: &str) -> Result<Option<Identity>, String> {
    let mut headers = HeaderMap::new();
    headers.insert("authorization", HeaderValue::try_from(format!("Bearer {token}")).unwrap());
    verdict(bearer, &headers, now())
}

fn verdict(
    bearer: &Bearer,
    headers: &HeaderMap,
    now: SystemTime,
) -> Result<Option<Identity>, String> {
    let mut request = Request::new(());
    *request.headers_mut() = headers.clone();
    let context = Context::of(&mut request);
    let (method, uri) = (request.method(), request.uri());
    let token = Carried::by(request.headers());
    let asked = Asked { context: &context, headers: request.headers(), method, uri, token };
    match bearer.identify(asked, now, None) {
        Verdict::Nobody => Ok(None),
        Verdict::Known(identity) => Ok(Some(identity)),
        Verdict::Invalid(invalid, _) | Verdict::BadProof(invalid) => Err(invalid.0.into_owned()),
        Verdict::Look(_) => Err("look".to_owned()),
        Verdict::Unavailable => Err("unavailable".to_owned()),
    }
}

fn refused(bearer: &Bearer, token: &str, why: &str) {
    match ask(bearer, token) {
        Ok(found) => panic!("{why}: it is {found:?}"),
        Err(said) => assert!(said.contains(why), "{why}: it said {said}"),
    }
}

#[test]
fn a_good_token_says_who_its_subject_is_and_only_what_is_mapped_is_a_role() {
    let signer = Signer::new();
    let bearer = Bearer::new().with(issuer(&[signer.jwk("one")]));
    for _ in 0..2 {
        let identity = ask(&bearer, &signer.good()).unwrap().unwrap();
        assert_eq!((identity.issuer(), identity.subject()), ("https://id.example", "ada"));
        assert_eq!(identity.roles().collect::<Vec<_>>(), ["clerk"]);
        assert_eq!(identity.scopes().collect::<Vec<_>>(), ["books:read", "books:write"]);
        assert_eq!((identity.tenant(), identity.plan()), (Some("acme"), None));
        assert_eq!(identity.claim("roles").unwrap()[1], "admin");
    }
}

#[test]
fn headers_that_want_something_else_are_refused() {
    let signer = Signer::new();
    let bearer = Bearer::new().with(issuer(&[signer.jwk("one")]));
    let public = signer.jwk("one")["x"].clone();
    for (header, why) in [
        (r#"{"alg":"none","kid":"one"}"#.to_owned(), "unknown algorithm"),
        (r#"{"alg":"None","kid":"one"}"#.to_owned(), "unknown algorithm"),
        (r#"{"alg":"nONE","kid":"one"}"#.to_owned(), "unknown algorithm"),
        (r#"{"alg":"","kid":"one"}"#.to_owned(), "unknown algorithm"),
        (r#"{"alg":["EdDSA"],"kid":"one"}"#.to_owned(), "`alg` is no text"),
        (r#"{"alg":1,"kid":"one"}"#.to_owned(), "`alg` is no text"),
        (r#"{"kid":"one"}"#.to_owned(), "`alg` is missing"),
        (r#"{"alg":"eddsa","kid":"one"}"#.to_owned(), "unknown algorithm"),
        (r#"{"alg":"RS256","kid":"one"}"#.to_owned(), "not that of its key"),
        (r#"{"alg":"ES256","kid":"one"}"#.to_owned(), "not that of its key"),
        (r#"{"alg":"HS256","kid":"one"}"#.to_owned(), "not one that is allowed"),
        (r#"{"alg":"EdDSA","kid":"two"}"#.to_owned(), "no known key"),
        (r#"{"alg":"EdDSA","kid":"../../dev/null"}"#.to_owned(), "no known key"),
        (r#"{"alg":"EdDSA","kid":"' or 1=1"}"#.to_owned(), "no known key"),
        (r#"{"alg":"EdDSA","kid":"one\u0000"}"#.to_owned(), "no known key"),
        (r#"{"alg":"EdDSA","kid":1}"#.to_owned(), "`kid` is no text"),
        (r#"{"alg":"EdDSA","kid":"one","crit":["exp"]}"#.to_owned(), "what is not done here"),
        (r#"{"alg":"EdDSA","kid":"one","crit":[]}"#.to_owned(), "what is not done here"),
        (r#"{"alg":"EdDSA","kid":"one","crit":"b64"}"#.to_owned(), "what is not done here"),
        (r#"{"alg":"EdDSA","kid":"one","b64":false}"#.to_owned(), "what is not done here"),
        (r#"{"alg":"EdDSA","kid":"one","zip":"DEF"}"#.to_owned(), "what is not done here"),
        (r#"{"alg":"EdDSA","kid":"one","cty":"JWT"}"#.to_owned(), "a token within a token"),
        (r#"{"alg":"EdDSA","kid":"one","typ":"logout+jwt"}"#.to_owned(), "its type is another"),
        (
            r#"{"alg":"EdDSA","kid":"one","typ":"application/dpop+jwt"}"#.to_owned(),
            "its type is another",
        ),
        (r#"{"alg":"EdDSA","kid":"one","typ":null}"#.to_owned(), "`typ` is no text"),
        (r#"{"alg":"EdDSA","alg":"EdDSA","kid":"one"}"#.to_owned(), "no JSON object"),
        (r#"["alg","EdDSA"]"#.to_owned(), "no JSON object"),
        (String::new(), "no JSON object"),
        (
            format!(
                "{{\"alg\":\"EdDSA\",\"kid\":\"one\",\"x\":{}1{}}}",
                "[".repeat(1_000),
                "]".repeat(1_000)
            ),
            "no JSON object",
        ),
    ] {
        refused(&bearer, &signer.sign(&header, &claims().to_string()), why);
    }
    // Keys that it brings along are not looked at.
    let other = Signer::new();
    let jwk = other.jwk("one");
    for extra in [
        json!({"jwk": jwk}),
        json!({"jku": "http://127.0.0.1:1/"}),
        json!({"x5u": "http://127.0.0.1:1/"}),
        json!({"x5c": ["MIIB"]}),
    ] {
        let mut header = json!({"alg": "EdDSA", "kid": "one"});
        header.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        refused(
            &bearer,
            &other.sign(&header.to_string(), &claims().to_string()),
            "the signature does not fit",
        );
        assert!(ask(&bearer, &signer.sign(&header.to_string(), &claims().to_string())).is_ok());
    }
    // A public key is no shared secret.
    let header = r#"{"alg":"HS256","kid":"one"}"#;
    let text = format!("{}.{}", base64(header), base64(claims().to_string()));
    let secret = hmac::Key::new(hmac::HMAC_SHA256, public.as_str().unwrap().as_bytes());
    let token = format!("{text}.{}", base64(hmac::sign(&secret, text.as_bytes())));
    refused(&bearer, &token, "not one that is allowed");
    // Both names of the same algorithm, and a type as a whole media type.
    for header in [
        r#"{"alg":"Ed25519","kid":"one","typ":"JWT"}"#,
        r#"{"alg":"EdDSA","typ":"application/at+jwt"}"#,
    ] {
        assert!(ask(&bearer, &signer.sign(header, &claims().to_string())).is_ok(), "{header}");
    }
}

#[test]
fn claims_that_are_not_as_they_must_be_are_refused() {
    let signer = Signer::new();
    let bearer = Bearer::new().with(issuer(&[signer.jwk("one")]));
    let leeway = 30;
    for (name, value, why) in [
        ("iss", json!("https://id.example/"), "`iss` is nobody"),
        ("iss", json!("https://ID.example"), "`iss` is nobody"),
        ("iss", json!(["https://id.example"]), "`iss` is nobody"),
        ("iss", json!(null), "`iss` is nobody"),
        ("aud", json!(null), "`aud` is missing"),
        ("aud", json!(""), "`aud` is somebody else"),
        ("aud", json!("sho"), "`aud` is somebody else"),
        ("aud", json!("shops"), "`aud` is somebody else"),
        ("aud", json!([]), "`aud` is somebody else"),
        ("aud", json!(["blog"]), "`aud` is somebody else"),
        ("aud", json!(["shop", 1]), "`aud` is somebody else"),
        ("aud", json!({"shop": true}), "`aud` is somebody else"),
        ("sub", json!(null), "`sub` is missing"),
        ("sub", json!(""), "`sub` is missing"),
        ("sub", json!(7), "`sub` is missing"),
        ("exp", json!(null), "`exp` is missing"),
        ("exp", json!("1"), "`exp` is no whole number"),
        ("exp", json!("99999999999"), "`exp` is no whole number"),
        ("exp", json!(-1), "`exp` is no whole number"),
        ("exp", json!(1.5), "`exp` is no whole number"),
        ("exp", json!(u64::MAX), "`exp` is "),
        ("exp", json!(NOW - leeway), "`exp` is over"),
        ("exp", json!(0), "`exp` is over"),
        ("nbf", json!("99999999999"), "`nbf` is no whole number"),
        ("nbf", json!(NOW + leeway + 1), "`nbf` is in the future"),
        ("iat", json!(NOW + leeway + 1), "`iat` is in the future"),
        ("iat", json!(-5), "`iat` is no whole number"),
    ] {
        refused(&bearer, &signer.sign(HEADER, &with(name, &value)), why);
    }
    for (name, value) in [
        ("aud", json!(["blog", "shop"])),
        ("exp", json!(NOW - leeway + 1)),
        ("exp", json!(NOW)),
        ("nbf", json!(NOW + leeway)),
        ("iat", json!(null)),
        ("roles", json!("shop-clerk other")),
    ] {
        let asked = ask(&bearer, &signer.sign(HEADER, &with(name, &value)));
        assert!(asked.is_ok(), "{name} {value} {asked:?}");
    }
    for claims in ["{", "[]", "", "\"ada\"", r#"{"exp":1e400}"#] {
        refused(&bearer, &signer.sign(HEADER, claims), "the claims are no JSON object");
    }
    let doubled = claims().to_string().replacen('{', "{\"sub\":\"eve\",", 1);
    refused(&bearer, &signer.sign(HEADER, &doubled), "have a name twice");
}

#[test]
fn a_token_has_one_spelling() {
    let signer = Signer::new();
    let bearer = Bearer::new().with(issuer(&[signer.jwk("one")]));
    let good = signer.good();
    let parts: Vec<_> = good.split('.').collect();
    let [header, payload, signature] = parts.as_slice() else { panic!() };
    for (token, why) in [
        (format!("{header}.{payload}"), "not three parts"),
        (format!("{header}.{payload}."), "the signature does not fit"),
        (format!("{good}."), "not three parts"),
        (format!("{good}.x"), "not three parts"),
        (format!("{header}=.{payload}.{signature}"), "no Base64"),
        (format!("{header}.{payload}.{signature}=="), "no Base64"),
        (format!("{header}.{payload}.{signature}+"), "no Base64"),
        (format!("{header} .{payload}.{signature}"), "letters"),
        (format!("{header}.{payload}\t.{signature}"), "letters"),
        (format!("{payload}.{header}.{signature}"), ""),
        (format!("{{\"payload\":\"{payload}\",\"signatures\":[]}}"), "letters"),
        ("x".repeat(8 << 10 | 1), "too long"),
        (String::new(), "no token"),
        (format!("{header}.{payload}.{signature}, Bearer {good}"), "letters"),
    ] {
        refused(&bearer, &token, why);
    }
    // What is remembered of a good one is not what a changed one is judged by.
    assert!(ask(&bearer, &good).is_ok());
    for at in 0..good.len() {
        let mut changed = good.clone();
        let other = if good.as_bytes()[at] == b'A' { "B" } else { "A" };
        changed.replace_range(at..=at, other);
        assert!(ask(&bearer, &changed).is_err(), "{at}");
    }
}

#[test]
fn several_headers_are_refused_and_other_schemes_are_not_ours() {
    let signer = Signer::new();
    let bearer = Bearer::new().with(issuer(&[signer.jwk("one")]));
    let good = HeaderValue::try_from(format!("bEaReR   {}", signer.good())).unwrap();
    let mut headers = HeaderMap::new();
    assert!(verdict(&bearer, &headers, now()).unwrap().is_none());
    headers.insert("authorization", HeaderValue::from_static("Basic YTpi"));
    assert!(verdict(&bearer, &headers, now()).unwrap().is_none());
    headers.insert("authorization", good.clone());
    assert!(verdict(&bearer, &headers, now()).unwrap().is_some());
    headers.append("authorization", good);
    assert!(verdict(&bearer, &headers, now()).is_err());
}

/// What is ours does not travel on, wherever it stands; and nothing but the first thing in a header by itself is taken for a token.
#[test]
fn what_is_ours_is_told_wherever_it_stands() {
    for (lines, is_ours, token) in [
        (&["Basic YTpi"][..], false, None),
        (&["BearerX y"], false, None),
        (&["Bearer x"], true, Some("x")),
        (&[" dPoP   x "], true, Some("x")),
        (&["Bearer"], true, Some("")),
        (&["Bearer\tx"], true, Some("")),
        (&["Bearer x, Basic YTpi"], true, Some("x, Basic YTpi")),
        (&["Basic YTpi, Bearer x"], true, Some("")),
        (&["Basic YTpi", "Bearer x"], true, None),
        (&["Bearer x", "Basic YTpi"], true, None),
        (&["Basic YTpi", "Negotiate x", "dpop x"], true, None),
        (&["Basic YTpi", "Negotiate x"], false, None),
    ] {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("authorization", HeaderValue::from_static(line));
        }
        let carried = Carried::by(&headers);
        assert_eq!(carried.is_ours(), is_ours, "{lines:?}");
        let found = if let Carried::One(_, token) = carried { Some(token) } else { None };
        assert_eq!(found, token.map(str::as_bytes), "{lines:?}");
    }
}

/// A token is judged by the issuer that it names, whoever else is known.
#[test]
fn an_issuer_speaks_for_itself_alone() {
    let (ours, theirs) = (Signer::new(), Signer::new());
    let keys = Keys::from_jwks(json!({"keys": [theirs.jwk("one")]}).to_string().as_bytes());
    let other = TokenIssuer::builder("https://other.example").audience("shop").keys(keys.unwrap());
    let bearer = Bearer::new().with(issuer(&[ours.jwk("one")])).with(other.build().unwrap());
    refused(&bearer, &theirs.good(), "the signature does not fit");
    let theirs = theirs.sign(HEADER, &with("iss", &json!("https://other.example")));
    let identity = ask(&bearer, &theirs).unwrap().unwrap();
    assert_eq!((identity.issuer(), identity.roles().len()), ("https://other.example", 0));
    assert!(bearer.errors().is_empty());
    let twice = bearer.with(issuer(&[ours.jwk("one")]));
    assert_eq!(twice.errors().len(), 1);
}

/// What was remembered is good as long as the token is, and only in the layer that has verified it.
#[test]
fn a_remembered_token_is_over_with_its_time_and_unknown_elsewhere() {
    let signer = Signer::new();
    let bearer = Bearer::new().with(issuer(&[signer.jwk("one")]));
    let mut headers = HeaderMap::new();
    let token = HeaderValue::try_from(format!("Bearer {}", signer.good())).unwrap();
    headers.insert("authorization", token);
    let at = |seconds| verdict(&bearer, &headers, now() + Duration::from_secs(seconds));
    assert!(at(0).is_ok() && at(629).is_ok());
    assert!(at(630).is_err() && at(631).is_err());
    // Other keys, another verdict.
    let other = Bearer::new().with(issuer(&[Signer::new().jwk("one")]));
    assert!(verdict(&other, &headers, now()).is_err());
}

#[test]
fn no_more_are_remembered_than_there_is_room_for() {
    let remembered = Remembered::new(32);
    let identity = Identity::builder("i", "s").build();
    let tokens: Vec<_> = (0..1_000).map(|at| Fingerprint::of(at.to_string().as_bytes())).collect();
    for token in &tokens {
        remembered.remember(*token, identity.clone(), now() + Duration::from_secs(60), now());
        assert!(remembered.get(*token, now()).is_some());
    }
    let kept = tokens.iter().filter(|token| remembered.get(**token, now()).is_some()).count();
    assert!(kept <= 32, "{kept}");
}

#[test]
fn an_issuer_that_could_not_work_is_not_made() {
    let keys = || Keys::from_jwks(Signer::new().jwk("one").to_string().as_bytes()).unwrap();
    let sound = || TokenIssuer::builder("https://id.example").audience("shop").keys(keys());
    assert!(sound().build().is_ok());
    for (builder, why) in [
        (TokenIssuer::builder("").audience("shop").keys(keys()), "it has no name"),
        (TokenIssuer::builder("i").keys(keys()), "it has no audience"),
        (TokenIssuer::builder("i").audience("").keys(keys()), "it has no audience"),
        (TokenIssuer::builder("i").audience("shop"), "it has no key"),
        (sound().algorithms([Algorithm::Rs256]), "none of its keys"),
        (sound().algorithms([]), "no algorithm is allowed"),
        (sound().leeway(Duration::from_secs(301)), "5 minutes"),
        (sound().claims(ClaimNames::new().roles("roles")), "`roles` is no JSON pointer"),
        (TokenIssuer::builder("api-key").audience("shop").keys(keys()), "a scheme of our own"),
    ] {
        let errors = builder.build().unwrap_err().to_string();
        assert!(errors.contains(why), "{why}: {errors}");
    }
}

#[test]
fn where_a_type_is_demanded_a_token_has_to_say_it() {
    let signer = Signer::new();
    let keys = Keys::from_jwks(signer.jwk("one").to_string().as_bytes()).unwrap();
    let strict = TokenIssuer::builder("https://id.example").audience("shop").keys(keys);
    let bearer = Bearer::new().with(strict.types(["AT+JWT"]).build().unwrap());
    assert!(ask(&bearer, &signer.good()).is_ok());
    for header in [r#"{"alg":"EdDSA","kid":"one"}"#, r#"{"alg":"EdDSA","kid":"one","typ":"JWT"}"#] {
        refused(&bearer, &signer.sign(header, &claims().to_string()), "its type is another");
    }
}
