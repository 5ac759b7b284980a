//! The API, with an issuer of the test's own.
#![cfg(test)]

use std::time::SystemTime;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis::authn::RemoteKeys;
use portcullis::{BoxError, Clock};
use portcullis_testkit::TestClient;
use serde_json::{Value, json};

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token of this key's with these claims besides those that every one has.
fn token(pair: &Ed25519KeyPair, more: &Value) -> String {
    let now = Clock::system().wall().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let mut claims =
        json!({"iss": "https://id.example", "aud": "notes", "sub": "ada", "exp": now + 60});
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let text = format!("{}.{}", base64(r#"{"alg":"EdDSA"}"#), base64(claims.to_string()));
    format!("{text}.{}", base64(pair.sign(text.as_bytes())))
}

#[tokio::test]
async fn a_token_opens_what_its_roles_permit() {
    let pair = Ed25519KeyPair::generate().unwrap();
    let jwks = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": base64(pair.public_key())}]});
    let keys = RemoteKeys::new(move || {
        let jwks = jwks.to_string().into_bytes();
        async move { Ok::<_, BoxError>(jwks) }
    });
    let issuer = resource_server::issuer("https://id.example", "notes", keys).unwrap();
    let client = TestClient::new(resource_server::app(issuer).unwrap());
    let writer = json!({"roles": ["notes-writer"], "org": "acme", "name": "Ada L."});
    for (method, claims, status, said) in [
        ("GET", None, 401, "authentication-required"),
        ("GET", Some(json!({"aud": "blog"})), 401, "credentials-invalid"),
        ("GET", Some(json!({"roles": ["writer"]})), 403, "permission-denied"),
        ("GET", Some(writer.clone()), 200, "acme"),
        ("POST", Some(writer), 200, "Ada L."),
        ("POST", Some(json!({"roles": ["notes-writer"]})), 200, "ada"),
        ("POST", Some(json!({"roles": ["notes-writer"], "name": 7})), 403, "claims-insufficient"),
    ] {
        let request = if method == "GET" { client.get("/notes") } else { client.post("/notes") };
        let request = match &claims {
            Some(claims) => {
                request.header("authorization", format!("Bearer {}", token(&pair, claims)))
            }
            None => request,
        };
        let answer = request.send().await;
        assert_eq!(answer.status().as_u16(), status, "{method} {claims:?} {}", answer.text());
        assert!(answer.text().contains(said), "{method} {claims:?} {}", answer.text());
    }
}
