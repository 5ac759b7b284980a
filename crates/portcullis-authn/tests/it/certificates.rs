//! Callers who are known by the certificate of their connection.
use std::sync::Arc;

use bytes::Bytes;
use portcullis_authn::{ApiKey, ApiKeys, AuthenticateLayer, CertificateHolder, ClientCertificates};
use portcullis_core::{Connection, Tls};
use portcullis_testkit::TestClient;
use rcgen::{CertificateParams, KeyPair, SanType};
use sha2::{Digest, Sha256};
use tower::Layer;

use crate::support::{KEY, WhoAmI, secret};

/// A certificate with these alternative names, in DER. (That it is good the server has found out.)
fn certificate(dns: &[&str], uri: &[&str]) -> Vec<u8> {
    let mut params =
        CertificateParams::new(dns.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
            .unwrap();
    params.subject_alt_names.extend(uri.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())));
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

#[tokio::test]
async fn a_certificate_is_its_holder_and_that_of_nobody_is_anonymous() {
    let pinned = certificate(&[], &["urn:pinned"]);
    let known = ClientCertificates::new()
        .holder(CertificateHolder::new("billing").dns("Billing.internal").dns("b.internal"))
        .holder(CertificateHolder::new("stock").uri("spiffe://shop.example/stock"))
        .holder(CertificateHolder::new("pinned").sha256(Sha256::digest(&pinned).into()));
    let keys = ApiKeys::new().key(ApiKey::new("ci", secret(KEY)));
    let layer = AuthenticateLayer::new().certificates(known).api_keys(keys);
    let client = TestClient::new(layer.layer(WhoAmI::default()));
    let ask = async |der: Option<Vec<u8>>, key: &str| {
        let connection = Connection::new(None);
        let connection = match der {
            Some(der) => {
                connection.with_tls(Arc::new(Tls::new().with_client_certificate(Bytes::from(der))))
            }
            None => connection,
        };
        let request = client.get("/").connection(connection);
        let request = if key.is_empty() { request } else { request.header("x-api-key", key) };
        let answer = request.send().await;
        if answer.status() == 200 { answer.text().to_owned() } else { answer.status().to_string() }
    };
    for (what, der, want) in [
        ("no certificate", None, "anonymous"),
        ("a name", Some(certificate(&["billing.internal"], &[])), "certificate||billing"),
        (
            "one of several names",
            Some(certificate(&["x.y", "b.internal"], &[])),
            "certificate||billing",
        ),
        ("a URI", Some(certificate(&[], &["spiffe://shop.example/stock"])), "certificate||stock"),
        ("this very one", Some(pinned), "certificate||pinned"),
        ("the same names in another one", Some(certificate(&[], &["urn:pinned"])), "anonymous"),
        ("another name", Some(certificate(&["billing.internal.evil"], &[])), "anonymous"),
        ("a wildcard", Some(certificate(&["*.internal"], &[])), "anonymous"),
        (
            "a URI in other letters",
            Some(certificate(&[], &["spiffe://shop.example/Stock"])),
            "anonymous",
        ),
        (
            "names of two holders",
            Some(certificate(&["b.internal"], &["spiffe://shop.example/stock"])),
            "anonymous",
        ),
        ("no certificate at all", Some(b"no DER".to_vec()), "anonymous"),
    ] {
        assert_eq!(ask(der, "").await, want, "{what}");
    }
    // What the request says goes before what the connection has.
    let billing = || Some(certificate(&["billing.internal"], &[]));
    assert_eq!(ask(billing(), KEY).await, "api-key||ci");
    assert_eq!(ask(billing(), "guessed").await, "401 Unauthorized");
}

#[test]
fn a_holder_that_nobody_could_tell_is_a_mistake() {
    use portcullis_core::{EdgeLayer, Stack};
    for (holders, why) in [
        (vec![CertificateHolder::new("a")], "it says no certificate"),
        (
            vec![CertificateHolder::new("a").dns("x"), CertificateHolder::new("b").dns("X")],
            "another holder",
        ),
        (
            vec![CertificateHolder::new("a").uri("u:x"), CertificateHolder::new("b").uri("u:x")],
            "another holder",
        ),
    ] {
        let known = holders.into_iter().fold(ClientCertificates::new(), ClientCertificates::holder);
        let stack = Stack::new()
            .layer(EdgeLayer::new())
            .layer(AuthenticateLayer::new().certificates(known));
        let errors = stack.service(WhoAmI::default()).err().unwrap().to_string();
        assert!(errors.contains(why), "{errors}");
    }
}
