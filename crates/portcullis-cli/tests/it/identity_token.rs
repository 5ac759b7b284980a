//! A gateway that tells its servers by tokens who is calling, and one of these servers: another gateway, that believes nothing else.
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::reload::Gateway;
use crate::support::{ADMIN_HASH, Backend, Serving, TempFile, USER_HASH, header};

fn pem(algorithm: &'static rcgen::SignatureAlgorithm) -> TempFile {
    let pair = rcgen::KeyPair::generate_for(algorithm).unwrap();
    TempFile::new("signing.pem", &pair.serialize_pem())
}

/// The gateway in front, behind its head.
fn outer(inner: &str, keys: &[&TempFile]) -> String {
    let keys: Vec<_> = keys.iter().map(|key| key.0.display().to_string()).collect();
    format!(
        r#"
[auth.api_key]
keys = [
  {{ id = "uma", hash = "{USER_HASH}", roles = ["clerk"], scopes = ["orders"], tenant = "acme" }},
  {{ id = "ada", hash = "{ADMIN_HASH}" }},
]
[identity_token]
issuer = "https://gateway.example"
keys = {keys:?}
[roles.clerk]
permissions = ["orders:write"]
[upstreams.inner]
servers = ["http://{inner}"]
identity = {{ token = "orders" }}
[[routes]]
match = {{ path = "/.well-known/jwks.json" }}
access = "public"
jwks = true
[[routes]]
match = {{ path = "/{{*rest}}" }}
access = "optional"
to = "inner"
"#
    )
}

/// The server: it knows the other by its address alone.
fn inner(jwks: &str, backend: &Backend) -> String {
    format!(
        r#"
[server]
listen = ["http://127.0.0.1:0"]
[telemetry]
access_log = "off"
[auth.jwt.gateway]
issuer = "https://gateway.example"
audience = ["orders"]
jwks = "http://{jwks}/.well-known/jwks.json"
refresh = "1s"
claims = {{ roles = "/roles", tenant = "/tenant" }}
roles = {{ "*" = "*" }}
[roles.clerk]
permissions = ["orders:write"]
[upstreams.b]
servers = ["http://{}"]
identity = {{ subject = "x-user", tenant = "x-tenant" }}
[[routes]]
match = {{ path = "/orders" }}
access = {{ permission = "orders:write", scopes = ["orders"] }}
to = "b"
[[routes]]
match = {{ path = "/{{*rest}}" }}
access = "optional"
to = "b"
"#,
        backend.address
    )
}

#[tokio::test]
async fn a_server_behind_the_gateway_knows_the_caller_by_the_gateways_token() {
    let backend = Backend::hello().await;
    let (one, two) = (pem(&rcgen::PKCS_ECDSA_P256_SHA256), pem(&rcgen::PKCS_ED25519));
    // Each needs to know where the other is; a gateway without its servers is up all the same.
    let front = Gateway::start(&outer("127.0.0.1:1", &[&one])).await;
    let behind = Serving::start(&inner(&front.serving.address.to_string(), &backend)).await;
    let behind_at = behind.address.to_string();
    front.write(&outer(&behind_at, &[&one]));
    assert_eq!(front.command("reload").await.0, 200);
    let ask = async |path: &str, more: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nx-user: root\r\n{more}\r\n");
        front.serving.ask(request).await.status
    };
    let (uma, ada) = ("x-api-key: user-key\r\n", "x-api-key: admin-key\r\n");
    assert_eq!(ask("/orders", uma).await, 200);
    let seen = backend.seen().pop().unwrap();
    assert_eq!((header(&seen, "x-user"), header(&seen, "x-tenant")), (Some("uma"), Some("acme")));
    assert_eq!((header(&seen, "authorization"), header(&seen, "x-api-key")), (None, None));
    assert_eq!(ask("/orders", ada).await, 403, "it has no role there either");
    assert_eq!(ask("/orders", "").await, 401);
    // What the client sends in the place of the token goes nowhere, with a key and without.
    for forged in ["authorization: Bearer forged\r\n", "authorization: Basic Zm9v\r\n"] {
        assert_eq!(ask("/", &format!("{uma}{forged}")).await, 200);
        let seen = backend.seen().pop().unwrap();
        assert_eq!(header(&seen, "x-user"), Some("uma"));
        assert_eq!(ask("/", forged).await, 200);
        let seen = backend.seen().pop().unwrap();
        assert_eq!((header(&seen, "x-user"), header(&seen, "authorization")), (None, None));
    }
    // Keys change without anybody noticing.
    for keys in [&[&one, &two][..], &[&two, &one], &[&two]] {
        front.write(&outer(&behind_at, keys));
        let (status, said) = front.command("reload").await;
        assert_eq!((status, said.contains("identity_token.keys")), (200, true), "{said}");
        // As long as the server keeps the keys that it has.
        let until = tokio::time::Instant::now() + Duration::from_millis(2_500);
        while tokio::time::Instant::now() < until {
            assert_eq!(ask("/orders", uma).await, 200, "{} keys", keys.len());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    let published =
        front.serving.ask("GET /.well-known/jwks.json HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let published: Value = serde_json::from_str(&published.text()).unwrap();
    let keys = published["keys"].as_array().unwrap();
    assert_eq!((keys.len(), &keys[0]["alg"]), (1, &Value::from("EdDSA")));
    assert_eq!(URL_SAFE_NO_PAD.decode(keys[0]["x"].as_str().unwrap()).unwrap().len(), 32);
    assert!(keys[0].get("d").is_none());
}
