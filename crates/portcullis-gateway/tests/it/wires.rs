//! HTTP/1.1 and HTTP/2, in clear and over TLS, by address and by file.
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use portcullis_core::Body;
use portcullis_gateway::{Upstream, UpstreamTls};
use portcullis_server::{ClientCa, Server, Tls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use tower::ServiceExt;

use crate::support::{Folder, front_of, in_front_of, serve, telling};

#[tokio::test]
async fn each_kind_of_server_is_spoken_to_in_its_own_way() {
    let folder = Folder::new("wires");
    let socket = folder.0.join("b.sock");
    let place = format!("unix:{}", socket.display());
    let server = serve(Server::bind("http://127.0.0.1:0").listen(place.as_str()), telling);
    let address = server.places[0].strip_prefix("http://").unwrap();
    for (url, version) in [
        (format!("http://{address}"), "HTTP/1.1"),
        (format!("h2c://{address}"), "HTTP/2.0"),
        (place.clone(), "HTTP/1.1"),
    ] {
        let upstream = Upstream::builder("b").server(&url).build().unwrap();
        let client = in_front_of(&upstream);
        for _ in 0..3 {
            let answer = client.get("http://shop.example/a/b?c").send().await;
            assert_eq!(answer.text(), format!("{version} GET /a/b?c shop.example 0"), "{url}");
        }
        let answer = client.post("http://shop.example/up").body("hello").send().await;
        assert_eq!(answer.text(), format!("{version} POST /up shop.example 5"), "{url}");
        let state = &upstream.servers()[0];
        assert_eq!(
            (state.connections, state.in_flight),
            (1, 0),
            "one connection does for all: {url}"
        );
    }
}

#[tokio::test]
async fn over_http2_clients_that_do_not_read_hold_nobody_else_up() {
    let server = serve(Server::bind("http://127.0.0.1:0"), |request: Request<Body>| async move {
        let size = if request.uri().path() == "/big" { 8 << 20 } else { 2 };
        Ok(Response::new(Body::from(Bytes::from(vec![b'x'; size]))))
    });
    let url = server.places[0].replace("http://", "h2c://");
    let upstream = Upstream::builder("b").server(url).build().unwrap();
    let front = front_of(&upstream);
    let get = |path: &str| {
        let request = Request::builder().uri(path).header("host", "a").body(Body::empty()).unwrap();
        front.clone().oneshot(request)
    };
    let mut unread = Vec::new();
    for _ in 0..20 {
        unread.push(get("/big").await.unwrap());
    }
    for _ in 0..20 {
        let answer = get("/small").await.unwrap();
        let body = portcullis_testkit::collect(answer.into_body());
        let (bytes, _) =
            tokio::time::timeout(Duration::from_secs(10), body).await.unwrap().unwrap();
        assert_eq!(bytes.len(), 2);
    }
    assert_eq!(upstream.servers()[0].connections, 1);
    drop(unread);
}

/// A stream that is reset without a reason looks like one that has ended.
#[tokio::test]
async fn half_an_answer_is_not_a_whole_one() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("h2c://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let mut body = respond.send_response(Response::new(()), false).unwrap();
            let is_whole = request.uri().path() == "/whole";
            body.send_data(Bytes::from("half"), is_whole).unwrap();
            if !is_whole {
                tokio::spawn(async move {
                    // When the half has been sent.
                    body.reserve_capacity(1);
                    drop(std::future::poll_fn(|cx| body.poll_capacity(cx)).await);
                    body.send_reset(h2::Reason::NO_ERROR);
                });
            }
        }
    });
    let front = front_of(&Upstream::builder("b").server(url).build().unwrap());
    for (path, is_whole) in [("/whole", true), ("/half", false)] {
        let request = Request::builder().uri(path).header("host", "a").body(Body::empty()).unwrap();
        let response = front.clone().oneshot(request).await.unwrap();
        let read = portcullis_testkit::collect(response.into_body()).await;
        assert_eq!(read.is_ok(), is_whole, "{path}");
    }
}

struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer }
    }
    /// A certificate for this name, and its key, in PEM.
    fn sign(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

#[tokio::test]
async fn tls_is_verified_both_ways_and_alpn_says_which_http() {
    let folder = Folder::new("tls");
    let ours = Authority::new();
    let ca = folder.file("ca.pem", &ours.issuer.pem());
    let (chain, key) = ours.sign("localhost");
    let tls = Tls::new()
        .certificate(folder.file("b.pem", &chain), folder.file("b.key", &key))
        .client_ca(ClientCa::required(&ca))
        .build()
        .unwrap();
    let server = serve(Server::bind("https://127.0.0.1:0").tls(tls), telling);
    let port = server.places[0].rsplit(':').next().unwrap();
    let url = format!("https://localhost:{port}");
    let (chain, key) = ours.sign("gateway");
    let (chain, key) = (folder.file("g.pem", &chain), folder.file("g.key", &key));
    let known = || UpstreamTls::new().ca(&ca).client_certificate(&chain, &key);
    for (tls, version) in [(known(), "HTTP/2.0"), (known().http1_only(), "HTTP/1.1")] {
        let upstream = Upstream::builder("b").server(&url).tls(tls).build().unwrap();
        let client = in_front_of(&upstream);
        let runtime = tokio::runtime::Handle::current();
        upstream.start(&runtime);
        upstream.ready().await;
        // The certificate's name is the server's own, whatever host the client asked for.
        let host = format!("localhost:{port}");
        let answer = client.get(format!("http://{host}/")).send().await;
        assert_eq!(answer.text(), format!("{version} GET / {host} 0"));
    }
    let stranger = Authority::new();
    let (wrong_chain, wrong_key) = stranger.sign("gateway");
    let (wrong_chain, wrong_key) =
        (folder.file("w.pem", &wrong_chain), folder.file("w.key", &wrong_key));
    for (tls, why) in [
        (UpstreamTls::new(), "the machine does not trust the authority"),
        (
            UpstreamTls::new().ca(folder.file("other.pem", &stranger.issuer.pem())),
            "another authority",
        ),
        (UpstreamTls::new().ca(&ca), "no certificate of our own"),
        (UpstreamTls::new().ca(&ca).client_certificate(wrong_chain, wrong_key), "a stranger's"),
    ] {
        let upstream = Upstream::builder("b").server(&url).tls(tls.http1_only()).build().unwrap();
        upstream.start(&tokio::runtime::Handle::current());
        upstream.ready().await;
        let answer = in_front_of(&upstream).get("/").send().await;
        assert_eq!(answer.status(), 502, "{why}");
    }
}

#[test]
fn everything_that_is_wrong_with_an_upstream_is_told_at_once() {
    let errors = Upstream::builder("b")
        .server("nowhere")
        .server("http://a")
        .server("http://a")
        .weighted_server("http://b", 0, 0)
        .server("https://c")
        .tls(UpstreamTls::new().ca("/no/such/file"))
        .build()
        .unwrap_err()
        .to_string();
    for wanted in [
        "upstream `b`: server `nowhere`: a server is a URL",
        "server `http://a` stands twice",
        "server `http://b`: a weight is 1 or more",
        "`/no/such/file`",
    ] {
        assert!(errors.contains(wanted), "no `{wanted}` in:\n{errors}");
    }
    let errors = Upstream::builder("empty").build().unwrap_err().to_string();
    assert!(errors.contains("it has no server"), "{errors}");
}
