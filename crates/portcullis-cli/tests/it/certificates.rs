//! Callers who are known by the certificate that they show.
use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::support::{Backend, Serving, TempFile, header, within};

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }
    /// A certificate with this name, and its key.
    fn sign(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.0).unwrap(), key)
    }
}

/// The status of a GET by somebody with this certificate; none where the handshake fails.
async fn ask(
    to: SocketAddr,
    server: &Authority,
    own: Option<&(rcgen::Certificate, KeyPair)>,
) -> Option<u16> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(server.0.der().to_vec())).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots);
    let config = match own {
        None => config.with_no_client_auth(),
        Some((chain, key)) => {
            let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
            config.with_client_auth_cert(vec![chain.der().clone()], key).unwrap()
        }
    };
    let stream = tokio::net::TcpStream::connect(to).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
    let ask = "GET /mine HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(ask.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    // The server may close without a word about it.
    drop(within(stream.read_to_end(&mut answer)).await);
    String::from_utf8_lossy(&answer).get(9..12)?.parse().ok()
}

#[tokio::test]
async fn a_certificate_says_who_calls() {
    let (ours, theirs, strangers) = (Authority::new(), Authority::new(), Authority::new());
    let (chain, key) = ours.sign("localhost");
    let chain = TempFile::new("server.pem", &chain.pem());
    let key = TempFile::new("server.key", &key.serialize_pem());
    let ca = TempFile::new("clients.pem", &theirs.0.pem());
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let backend = Backend::hello().await;
    let _front = Serving::start(&format!(
        r#"
[server]
listen = ["http://127.0.0.1:0", "https://{free}"]
certs = [{{ cert = "{}", key = "{}" }}]
client_ca = "{}"
[telemetry]
access_log = "off"
[[auth.certificates]]
id = "billing"
dns = ["billing.internal"]
roles = ["clerk"]
[roles.clerk]
permissions = ["orders:read"]
[upstreams.b]
servers = ["http://{}"]
identity = {{ subject = "x-user" }}
[[routes]]
match = {{ path = "/mine" }}
access = {{ permission = "orders:read" }}
to = "b"
"#,
        chain.0.display(),
        key.0.display(),
        ca.0.display(),
        backend.address
    ))
    .await;
    assert_eq!(ask(free, &ours, Some(&theirs.sign("billing.internal"))).await, Some(200));
    assert_eq!(header(&backend.seen()[0], "x-user"), Some("billing"));
    // Good, and of nobody who is known.
    assert!(matches!(
        ask(free, &ours, Some(&theirs.sign("stock.internal"))).await,
        Some(401 | 403)
    ));
    // Of the right name, by nobody who may say so; and none at all.
    assert_eq!(ask(free, &ours, Some(&strangers.sign("billing.internal"))).await, None);
    assert_eq!(ask(free, &ours, None).await, None);
    assert!(backend.seen().is_empty());
}
