//! Proxies that pass bytes on tell who is at the other end, if they are trusted to.
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use http::{Request, Response};
use portcullis_core::{Body, Connection, MetricSource, TrustedProxies};
use portcullis_server::{Limits, Server};

use crate::support::{Answer, Running, get, local, start_with, text};
use crate::tls::{Authority, client};

/// Says who the client is and whom it wanted.
async fn whoami(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let connection = request.extensions().get::<Connection>().unwrap();
    let address =
        |address: Option<SocketAddr>| address.map_or("nobody".to_owned(), |it| it.to_string());
    Ok(text(format!("{} {}", address(connection.peer()), address(connection.local()))))
}

fn behind_a_proxy(server: Server) -> Running {
    let everybody_here = TrustedProxies::new(["127.0.0.0/8".parse().unwrap()]);
    start_with(server.proxy_protocol(everybody_here), whoami)
}

/// A header of version 2: `command` 1 names ends, 0 does not.
fn binary(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    bytes.extend([0x20 | command, family]);
    bytes.extend(u16::try_from(addresses.len()).unwrap().to_be_bytes());
    bytes.extend(addresses);
    bytes
}

const LINE: &str = "PROXY TCP4 192.0.2.1 203.0.113.9 56324 443\r\n";

async fn in_pieces(server: &Running, pieces: &[&[u8]]) -> Option<Answer> {
    let mut client = server.connect().await;
    for piece in pieces {
        client.try_send(piece).await;
        if pieces.len() > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    client.next().await
}

#[tokio::test]
async fn a_trusted_peer_names_both_ends() {
    let server = behind_a_proxy(local());
    let here = server.address;
    let v4 = [&[192, 0, 2, 1, 203, 0, 113, 9][..], &56_324u16.to_be_bytes(), &443u16.to_be_bytes()]
        .concat();
    let mut v6 = vec![0; 36];
    (v6[0], v6[1], v6[15], v6[31]) = (0x20, 0x01, 1, 1);
    v6[32..].copy_from_slice(&[0, 80, 1, 187]);
    let ends = "192.0.2.1:56324 203.0.113.9:443";
    for (header, want, what) in [
        (LINE.as_bytes().to_vec(), ends, "a line"),
        (binary(1, 0x11, &v4), ends, "a binary header"),
        (binary(1, 0x21, &v6), "[2001::1]:80 [::1]:443", "one of IPv6"),
    ] {
        let request = [&header[..], get("/").as_bytes()].concat();
        assert_eq!(in_pieces(&server, &[&request]).await.unwrap().text(), want, "{what}");
        // However it is split, and whatever comes in one piece with the request.
        let pieces: Vec<_> = request.chunks(7).collect();
        assert_eq!(in_pieces(&server, &pieces).await.unwrap().text(), want, "{what}");
    }
    // A proxy that speaks for itself is the client.
    for header in [binary(0, 0, &[]), b"PROXY UNKNOWN\r\n".to_vec()] {
        let answer = in_pieces(&server, &[&header, get("/").as_bytes()]).await.unwrap();
        let (peer, local) = answer.text().split_once(' ').unwrap();
        assert!(peer.starts_with("127.0.0.1:"), "{peer}");
        assert_eq!(local, here.to_string());
    }
}

#[tokio::test]
async fn whoever_is_not_trusted_names_nobody() {
    let server = start_with(local(), whoami);
    let request = format!("{LINE}{}", get("/"));
    in_pieces(&server, &[request.as_bytes()]).await.unwrap().assert_problem(400, "request-invalid");
    // One that looks like nothing that HTTP knows.
    let request = [binary(0, 0, &[]), get("/").into()].concat();
    assert!(in_pieces(&server, &[&request]).await.is_none_or(|answer| answer.status == 400));
}

#[tokio::test]
async fn a_trusted_peer_that_says_nothing_is_closed() {
    let limits = Limits::default().header_time(Duration::from_secs(1));
    let server = behind_a_proxy(local().limits(limits));
    let long = format!("PROXY TCP4 {}", "1".repeat(200));
    for (bytes, what) in [
        (get("/").into_bytes(), "a request"),
        (b"PROXY TCP4 192.0.2.1 203.0.113.9 56324\r\n".to_vec(), "a line without its end"),
        (long.into_bytes(), "a line without end"),
        (b"PROXY ".to_vec(), "the beginning of a line"),
        (Vec::new(), "nothing"),
    ] {
        assert!(in_pieces(&server, &[&bytes]).await.is_none(), "{what}");
    }
    let mut metrics = String::new();
    server.stats.write(&mut metrics);
    assert!(metrics.contains("{reason=\"proxy_header\"} 3\n"), "{metrics}");
    assert!(metrics.contains("{reason=\"header_time\"} 2\n"), "{metrics}");
}

#[tokio::test]
async fn the_clients_of_a_proxy_are_counted_and_not_the_proxy() {
    let limits = Limits::default().connections_per_address(1);
    let server = behind_a_proxy(local().limits(limits));
    let mut clients = Vec::new();
    for (address, want) in [("192.0.2.1", true), ("192.0.2.2", true), ("192.0.2.1", false)] {
        let mut client = server.connect().await;
        client.send(format!("PROXY TCP4 {address} 203.0.113.9 1 2\r\n{}", get("/"))).await;
        assert_eq!(client.next().await.is_some(), want, "{address}");
        clients.push(client);
    }
}

#[tokio::test]
async fn tls_stands_behind_the_header() {
    let authority = Authority::new("proxy-tls");
    let tls = authority.certificate("a.example").tls();
    let server = behind_a_proxy(Server::bind("https://127.0.0.1:0").tls(tls));
    let mut raw = server.connect().await;
    raw.send(LINE).await;
    let mut stream = client(&authority.trust(&[]), raw.stream, "a.example").await.unwrap();
    stream.send(get("/").replace("host: a", "host: a.example")).await;
    assert_eq!(stream.answer().await.text(), "192.0.2.1:56324 203.0.113.9:443");
}
