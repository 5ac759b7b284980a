//! What a `Forwarded` header says survives being written again, and nobody chooses an address to the left of an
//! untrusted one.
//!
//! The input is text: one header a line, the first byte of a line says which.
#![no_main]
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::header::FORWARDED;
use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use libfuzzer_sys::fuzz_target;
use portcullis_core::{Forwarded, ForwardedElement, TrustedProxies};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const TRUSTED: [&str; 3] = ["10.0.0.0/8", "2001:db8::/32", "127.0.0.1/32"];

fuzz_target!(|input: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in input.split(|&byte| byte == b'\n') {
        let Some((&which, value)) = line.split_first() else { continue };
        if let Ok(text) = std::str::from_utf8(value) {
            check_round_trip(text);
        }
        let name = match which {
            b'x' => X_FORWARDED_FOR,
            b'p' => HeaderName::from_static("x-forwarded-proto"),
            b'h' => HeaderName::from_static("x-forwarded-host"),
            _ => FORWARDED,
        };
        let Ok(value) = HeaderValue::from_bytes(value) else { continue };
        headers.append(name, value);
    }
    check_resolve(&headers);
});

/// What was parsed, written in the strictest form, is parsed the same again.
fn check_round_trip(text: &str) {
    let Ok(read) = Forwarded::parse(text) else { return };
    let written: Vec<String> = read.elements().iter().map(write).collect();
    let written = written.join(", ");
    assert_eq!(Forwarded::parse(&written).as_ref(), Ok(&read), "was written as {written:?}");
}

fn write(element: &ForwardedElement) -> String {
    let known = [
        ("for", element.for_text()),
        ("by", element.by()),
        ("host", element.host()),
        ("proto", element.proto()),
    ];
    let pairs: Vec<String> = known
        .iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", quote((*value)?))))
        .collect();
    // An element that had only parameters unknown to us still counts as a hop.
    if pairs.is_empty() { "_=_".to_owned() } else { pairs.join(";") }
}

fn quote(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

fn check_resolve(headers: &HeaderMap) {
    let networks = TRUSTED.map(|network| network.parse::<IpNet>().expect("a network"));
    let trusts = |ip: &IpAddr| networks.iter().any(|network| network.contains(ip));
    let proxies = TrustedProxies::new(networks);
    let stranger: SocketAddr = "192.0.2.1:1".parse().expect("an address");
    let proxy: SocketAddr = "10.0.0.1:1".parse().expect("an address");

    let hop = proxies.resolve(stranger, headers).expect("a stranger is not even listened to");
    assert_eq!((hop.client, hop.scheme, hop.host), (None, None, None), "a stranger was believed");

    if let Ok(hop) = proxies.resolve(proxy, headers) {
        let standard = Forwarded::of(headers).expect("what cannot be read is ambiguous");
        let standard: Vec<_> =
            standard.elements().iter().map(ForwardedElement::for_address).collect();
        let legacy = x_forwarded_for(headers);
        let clients = (believable(&standard, trusts), believable(&legacy, trusts));
        assert_eq!(hop.client, clients.0.or(clients.1), "{standard:?}, {legacy:?}");
        let agree = standard.is_empty() || legacy.is_empty() || clients.0 == clients.1;
        assert!(agree, "two headers, two clients: {standard:?}, {legacy:?}");
        assert_eq!(hop.host, None, "proxies are not trusted with the host unless asked");
    }
    check_append(&proxies, proxy, headers);
}

/// The left-most address behind which, to the right, stands none that is untrusted or unreadable.
fn believable(chain: &[Option<IpAddr>], trusts: impl Fn(&IpAddr) -> bool + Copy) -> Option<IpAddr> {
    let right_is_trusted =
        |at: &usize| chain.iter().skip(at + 1).all(|ip| ip.as_ref().is_some_and(trusts));
    let first = (0..chain.len()).find(|at| right_is_trusted(at) && chain[*at].is_some())?;
    chain[first]
}

fn x_forwarded_for(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let lines = headers.get_all(X_FORWARDED_FOR).iter().map(HeaderValue::as_bytes);
    let members = lines.flat_map(|line| line.split(|&byte| byte == b','));
    members.map(<[u8]>::trim_ascii).filter(|member| !member.is_empty()).map(address).collect()
}

fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let brackets = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let ip = match brackets {
        Some(inside) => IpAddr::V6(inside.parse::<Ipv6Addr>().ok()?),
        None => match text.parse::<SocketAddr>() {
            Ok(socket) => socket.ip(),
            Err(_) => text.parse().ok()?,
        },
    };
    Some(ip.to_canonical())
}

/// Whatever a client wrote: the address that a trusted proxy appends is the client, or the request is refused. Where the
/// proxy hides its client, nobody is.
fn check_append(proxies: &TrustedProxies, proxy: SocketAddr, headers: &HeaderMap) {
    let seen: Option<IpAddr> = "2001:db9::7".parse().ok();
    for (name, appended, want) in [
        (FORWARDED, "for=\"[2001:db9::7]:4711\";proto=https", seen),
        (FORWARDED, "for=_hidden", None),
        (X_FORWARDED_FOR, "2001:db9::7", seen),
        (X_FORWARDED_FOR, "unknown", None),
    ] {
        // A proxy that writes one of the headers drops the other, or passes it through.
        let mut passed_through = headers.clone();
        append(&mut passed_through, &name, appended);
        let mut dropped = passed_through.clone();
        dropped.remove(if name == FORWARDED { X_FORWARDED_FOR } else { FORWARDED });
        for headers in [passed_through, dropped] {
            if let Ok(hop) = proxies.resolve(proxy, &headers) {
                assert_eq!(hop.client, want, "the client chose its address: {headers:?}");
            }
        }
    }
}

/// Appends to the last line of that name, as proxies do.
fn append(headers: &mut HeaderMap, name: &HeaderName, member: &str) {
    let mut lines: Vec<HeaderValue> = headers.get_all(name).iter().cloned().collect();
    let before = lines.pop().map_or_else(Vec::new, |last| [last.as_bytes(), b", "].concat());
    let line = HeaderValue::from_bytes(&[&before, member.as_bytes()].concat());
    lines.push(line.expect("two values and a comma are a value"));
    headers.remove(name);
    for line in lines {
        headers.append(name, line);
    }
}
