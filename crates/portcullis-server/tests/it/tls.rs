//! TLS: which certificate, which client, and what changes while the server runs.
use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use portcullis_core::{Body, Connection};
use portcullis_server::{ClientCa, Limits, Server, Tls, TlsBuilder};
use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::h2::H2;
use crate::support::{End, Folder, Raw, Running, get, start_with, text, until};

/// Who vouches for everybody, and a folder for what they sign.
pub(crate) struct Authority {
    folder: Folder,
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, in memory and in files.
pub(crate) struct Signed {
    der: CertificateDer<'static>,
    key: KeyPair,
    chain: PathBuf,
    key_file: PathBuf,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let folder = Folder::new(name);
        folder.file("ca.pem", &certificate.pem());
        Self { folder, certificate, issuer: Issuer::new(params, key) }
    }
    pub(crate) fn certificate(&self, name: &str) -> Signed {
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let chain = self.folder.file(&format!("{name}.pem"), &certificate.pem());
        let key_file = self.folder.file(&format!("{name}.key"), &key.serialize_pem());
        Signed { der: certificate.der().clone(), key, chain, key_file }
    }
    fn file(&self) -> PathBuf {
        self.folder.0.join("ca.pem")
    }
    /// A client that believes this authority, and offers these protocols.
    pub(crate) fn trust(&self, protocols: &[&str]) -> ClientConfig {
        self.trust_with(protocols, rustls::ALL_VERSIONS, None)
    }
    fn trust_with(
        &self,
        protocols: &[&str],
        versions: &[&'static SupportedProtocolVersion],
        own: Option<&Signed>,
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match own {
            None => config.with_no_client_auth(),
            Some(own) => {
                let key = PrivateKeyDer::try_from(own.key.serialize_der()).unwrap();
                config.with_client_auth_cert(vec![own.der.clone()], key).unwrap()
            }
        };
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }
}

impl Signed {
    fn builder(&self) -> TlsBuilder {
        Tls::new().certificate(&self.chain, &self.key_file)
    }
    pub(crate) fn tls(&self) -> Tls {
        self.builder().build().unwrap()
    }
}

/// Shakes hands on `stream`.
pub(crate) async fn client(
    config: &ClientConfig,
    stream: TcpStream,
    name: &str,
) -> io::Result<Raw<TlsStream<TcpStream>>> {
    let connector = TlsConnector::from(Arc::new(config.clone()));
    let name = ServerName::try_from(name.to_owned()).unwrap();
    Ok(Raw::new(connector.connect(name, stream).await?))
}

/// Says what is known of the connection.
async fn facts(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let tls = request.extensions().get().and_then(Connection::tls).unwrap();
    let certificate = tls.client_certificate().map_or(0, <[u8]>::len);
    let alpn = tls.alpn().map_or("none".into(), String::from_utf8_lossy);
    Ok(text(format!("{} {alpn} {certificate}", tls.server_name().unwrap_or("nobody"))))
}

fn serve(tls: &Tls) -> Running {
    serve_with(tls, Limits::default())
}

fn serve_with(tls: &Tls, limits: Limits) -> Running {
    start_with(Server::bind("https://127.0.0.1:0").tls(tls.clone()).limits(limits), facts)
}

async fn connect(
    server: &Running,
    config: &ClientConfig,
    name: &str,
) -> io::Result<Raw<TlsStream<TcpStream>>> {
    client(config, TcpStream::connect(server.address).await.unwrap(), name).await
}

/// The certificate that the server showed.
fn shown(client: &Raw<TlsStream<TcpStream>>) -> CertificateDer<'static> {
    let (_, session) = client.stream.get_ref();
    session.peer_certificates().unwrap()[0].clone().into_owned()
}

fn get_from(host: &str) -> String {
    get("/").replace("host: a", &format!("host: {host}"))
}

#[tokio::test]
async fn the_protocol_is_what_both_know() {
    let authority = Authority::new("tls-alpn");
    let server = serve(&authority.certificate("a.example").tls());
    for (offered, want) in [
        (&[][..], "a.example none 0"),
        (&["http/1.1"], "a.example http/1.1 0"),
        (&["h2", "http/1.1"], "a.example h2 0"),
    ] {
        let client = connect(&server, &authority.trust(offered), "a.example").await.unwrap();
        let body = if want.contains("h2") {
            let mut client = H2::over(client.stream).await;
            let head: [crate::h2::Field<'_>; 4] = [
                (b":method", b"GET"),
                (b":scheme", b"https"),
                (b":path", b"/"),
                (b":authority", b"a.example"),
            ];
            client.ask(1, crate::h2::END_STREAM, &crate::h2::block(&head)).await;
            client.outcome(1).await.body
        } else {
            let mut client = client;
            client.send(get_from("a.example")).await;
            client.answer().await.body
        };
        assert_eq!(String::from_utf8(body).unwrap(), want);
    }
    let strange = connect(&server, &authority.trust(&["spdy/3"]), "a.example").await;
    assert!(strange.is_err(), "nothing in common");
}

#[tokio::test]
async fn the_certificate_is_chosen_by_name_and_the_host_belongs_to_it() {
    let authority = Authority::new("tls-sni");
    let (a, b) = (authority.certificate("a.example"), authority.certificate("b.example"));
    let tls = a.builder().certificate(&b.chain, &b.key_file).build().unwrap();
    let server = serve(&tls);
    for (name, host, status, certificate) in [
        ("a.example", "a.example", 200, &a),
        ("a.example", "A.example:443", 200, &a),
        ("b.example", "b.example", 200, &b),
        ("a.example", "b.example", 421, &a),
        ("b.example", "a.example", 421, &b),
    ] {
        let mut client = connect(&server, &authority.trust(&[]), name).await.unwrap();
        assert_eq!(shown(&client), certificate.der, "{name}");
        client.send(get_from(host)).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, status, "{name} {host}");
        if status == 421 {
            answer.assert_problem(421, "host-misdirected");
            let lifetime = answer.header("strict-transport-security").unwrap();
            assert!(lifetime.starts_with("max-age="), "{lifetime}");
        }
    }
    let stranger = connect(&server, &authority.trust(&[]), "c.example").await;
    assert!(stranger.is_err(), "it is shown the first, which is not what it asked for");
}

#[tokio::test]
async fn files_are_read_again_and_connections_stay() {
    let authority = Authority::new("tls-reload");
    let first = authority.certificate("a.example");
    let tls = first.tls();
    let server = serve(&tls);
    let config = authority.trust(&[]);
    let mut open = connect(&server, &config, "a.example").await.unwrap();
    open.send(get_from("a.example")).await;
    assert_eq!(open.answer().await.status, 200);

    // Broken files change nothing.
    let key = std::fs::read_to_string(&first.key_file).unwrap();
    let stranger = KeyPair::generate().unwrap().serialize_pem();
    for (content, why) in [
        ("", "it must hold a private key in PEM"),
        ("-----BEGIN PRIVATE KEY-----\nbroken", "it must hold a private key in PEM"),
        (&stranger, "it does not belong to"),
    ] {
        std::fs::write(&first.key_file, content).unwrap();
        let error = tls.reload().unwrap_err().to_string();
        assert!(error.contains("a.example.key") && error.contains(why), "{error}");
        let client = connect(&server, &config, "a.example").await.unwrap();
        assert_eq!(shown(&client), first.der, "{why}");
    }
    std::fs::write(&first.key_file, key).unwrap();

    let second = authority.certificate("a.example");
    tls.reload().unwrap();
    let client = connect(&server, &config, "a.example").await.unwrap();
    assert_eq!(shown(&client), second.der);
    open.send(get_from("a.example")).await;
    assert_eq!(open.answer().await.status, 200, "the old connection goes on");
}

#[tokio::test]
async fn a_session_is_resumed_until_the_files_change() {
    let authority = Authority::new("tls-resume");
    let tls = authority.certificate("a.example").tls();
    let server = serve(&tls);
    for version in rustls::ALL_VERSIONS {
        let config = authority.trust_with(&[], &[version], None);
        for (step, want) in [
            ("first", HandshakeKind::Full),
            ("second", HandshakeKind::Resumed),
            ("reloaded", HandshakeKind::Full),
        ] {
            if step == "reloaded" {
                tls.reload().unwrap();
            }
            let mut client = connect(&server, &config, "a.example").await.unwrap();
            client.send(get_from("a.example")).await;
            assert_eq!(client.answer().await.status, 200);
            let kind = client.stream.get_ref().1.handshake_kind();
            assert_eq!(kind, Some(want), "{step} {:?}", version.version);
        }
    }
}

#[tokio::test]
async fn clients_show_who_they_are() {
    let authority = Authority::new("tls-mutual");
    let stranger = Authority::new("tls-mutual-stranger");
    let (own, theirs) = (authority.certificate("client"), stranger.certificate("client"));
    let shop = authority.certificate("a.example");
    for (ca, without) in [
        (ClientCa::required(authority.file()), false),
        (ClientCa::optional(authority.file()), true),
    ] {
        let server = serve(&shop.builder().client_ca(ca).build().unwrap());
        for (certificate, want) in [(Some(&own), true), (None, without), (Some(&theirs), false)] {
            for version in rustls::ALL_VERSIONS {
                let config = authority.trust_with(&[], &[version], certificate);
                let len = certificate.map_or(0, |certificate| certificate.der.len());
                // With TLS 1.3 the client is done before the server has looked.
                let answer = match connect(&server, &config, "a.example").await {
                    Ok(mut client) => {
                        client.try_send(get_from("a.example")).await;
                        client.next().await
                    }
                    Err(_) => None,
                };
                let text = answer.map(|answer| answer.text().to_owned());
                assert_eq!(
                    text,
                    want.then(|| format!("a.example none {len}")),
                    "{:?}",
                    version.version
                );
            }
        }
    }
    let error = shop.builder().client_ca(ClientCa::required(&shop.key_file)).build().unwrap_err();
    assert!(error.to_string().contains("a.example.key"), "{error}");
}

/// The first message of a client that speaks no more than `version`.
fn old_hello(version: [u8; 2]) -> Vec<u8> {
    let mut hello = version.to_vec();
    hello.extend([7; 32]);
    // No session; three suites of TLS 1.0 and one compression, none.
    hello.extend([0, 0, 6, 0xc0, 0x13, 0xc0, 0x14, 0, 0x2f, 1, 0]);
    let len = u8::try_from(hello.len()).unwrap();
    let message = [&[1, 0, 0, len][..], &hello].concat();
    [&[22, 3, 1, 0, len + 4][..], &message].concat()
}

#[tokio::test]
async fn nothing_older_than_tls_1_2_is_spoken() {
    let authority = Authority::new("tls-versions");
    let server = serve(&authority.certificate("a.example").tls());
    for version in rustls::ALL_VERSIONS {
        let config = authority.trust_with(&[], &[version], None);
        let mut client = connect(&server, &config, "a.example").await.unwrap();
        client.send(get_from("a.example")).await;
        assert_eq!(client.answer().await.status, 200, "{:?}", version.version);
    }
    for version in [[3, 2], [3, 1], [3, 0]] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(&old_hello(version)).await.unwrap();
        let mut alert = Vec::new();
        drop(crate::support::within(stream.read_to_end(&mut alert)).await);
        // An alert, fatal.
        assert!(matches!(alert[..], [21, 3, _, 0, 2, 2, _]), "{version:?}: {alert:?}");
    }
    // HTTP in clear.
    let mut plain = server.connect().await;
    plain.send(get("/")).await;
    let (read, _) = plain.rest(Duration::from_secs(5)).await;
    assert!(!read.starts_with(b"HTTP"), "{read:?}");
}

#[tokio::test]
async fn a_handshake_has_the_time_of_a_request() {
    let authority = Authority::new("tls-time");
    let limits = Limits::default().header_time(Duration::from_secs(1)).handshakes(1);
    let server = serve_with(&authority.certificate("a.example").tls(), limits);
    let since = Instant::now();
    let mut slow = server.connect().await;
    slow.send([22, 3, 1]).await;
    let mut silent = server.connect().await;
    let mut queued = server.connect().await;
    queued.send([22, 3, 1]).await;
    for client in [&mut slow, &mut silent, &mut queued] {
        client.assert_closed().await;
    }
    assert!(since.elapsed() < Duration::from_secs(8), "{:?}", since.elapsed());
    let mut client = connect(&server, &authority.trust(&[]), "a.example").await.unwrap();
    client.send(get_from("a.example")).await;
    assert_eq!(client.answer().await.status, 200);
}

/// Connects from `from`, with as small a buffer for what comes as the system has.
async fn connect_from(server: &Running, from: [u8; 4]) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    socket.bind((from, 0).into()).unwrap();
    socket.connect(server.address).await.unwrap()
}

#[tokio::test]
async fn clients_that_are_silent_in_the_handshake_keep_nobody_out() {
    let authority = Authority::new("tls-silent");
    let tls = authority.certificate("a.example").tls();
    let server = serve_with(&tls, Limits::default().handshakes(4));
    let mut silent = Vec::new();
    for count in 1..=4 {
        silent.push(Raw::new(connect_from(&server, [127, 0, 0, 2]).await));
        until(|| server.stats.accepted() == count).await;
    }
    let config = authority.trust(&[]);
    for _ in 0..2 {
        let mut good = connect(&server, &config, "a.example").await.unwrap();
        good.send(get_from("a.example")).await;
        assert_eq!(good.answer().await.status, 200);
    }
    silent.remove(0).assert_closed().await;
    let (_, end) = silent[2].rest(Duration::from_millis(100)).await;
    assert_eq!(end, End::Open, "no more of them than it takes");
}

/// Serves as many bytes as the path says.
fn serve_bytes(tls: &Tls, limits: Limits) -> Running {
    let server = Server::bind("https://127.0.0.1:0").tls(tls.clone()).limits(limits);
    start_with(server, |request: Request<Body>| async move {
        let len = request.uri().path()[1..].parse().unwrap();
        Ok(text("x".repeat(len)))
    })
}

/// Sizes of which some stay in the buffers of TLS while a client does not read: the system takes at least the 256 KiB that
/// may wait in it, and TLS 64 KiB more.
const SIZES: std::ops::RangeInclusive<usize> = 16..=28;

#[tokio::test]
async fn an_answer_that_waits_in_the_buffers_of_tls_comes_whole() {
    let authority = Authority::new("tls-slow");
    let server = serve_bytes(&authority.certificate("a.example").tls(), Limits::default());
    let config = authority.trust(&[]);
    let mut clients = Vec::new();
    for size in SIZES {
        let stream = connect_from(&server, [127, 0, 0, 1]).await;
        let mut client = client(&config, stream, "a.example").await.unwrap();
        let len = size << 14;
        client.send(get_from("a.example").replacen("/ ", &format!("/{len} "), 1)).await;
        clients.push((client, len));
    }
    // Long enough for a connection that takes itself for idle to let go of its buffers.
    tokio::time::sleep(Duration::from_millis(700)).await;
    for (client, len) in &mut clients {
        assert_eq!(client.answer().await.body.len(), *len);
    }
}

#[tokio::test]
async fn a_client_that_leaves_its_answer_in_the_buffers_of_tls_is_cut_off() {
    let authority = Authority::new("tls-deaf");
    let limits = Limits::default().write_idle(Duration::from_secs(1));
    let server = serve_bytes(&authority.certificate("a.example").tls(), limits);
    let config = authority.trust(&[]);
    let mut clients = Vec::new();
    for size in SIZES {
        let stream = connect_from(&server, [127, 0, 0, 1]).await;
        let mut client = client(&config, stream, "a.example").await.unwrap();
        let path = format!("/{} ", (size << 14) + 200_000);
        client.send(get_from("a.example").replacen("/ ", &path, 1)).await;
        clients.push(client);
    }
    until(|| server.stats.connections() == 0).await;
    let cut = server.stats.refused();
    assert_eq!(cut, clients.len() as u64, "for that reason and no other");
}
