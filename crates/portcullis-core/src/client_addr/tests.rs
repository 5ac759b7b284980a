use super::*;

fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

fn client(
    trusted: &[&str],
    peer: &str,
    lines: &[(&'static str, &'static str)],
) -> Result<Option<String>, Ambiguous> {
    let proxies = TrustedProxies::new(trusted.iter().map(|net| net.parse().unwrap()));
    let hop = proxies.resolve(SocketAddr::new(peer.parse().unwrap(), 1), &headers(lines))?;
    Ok(hop.client.map(|ip| ip.to_string()))
}

#[test]
fn the_client_is_the_right_most_address_that_is_not_trusted() {
    let (xff, fwd) = ("x-forwarded-for", "forwarded");
    let trusted = &["10.0.0.0/8"] as &[_];
    for (name, peer, lines, want) in [
        ("nobody is trusted unasked", "127.0.0.1", &[(xff, "1.2.3.4")] as &[_], Ok(None)),
        ("one hop", "10.0.0.1", &[(xff, "1.2.3.4")], Ok(Some("1.2.3.4"))),
        ("spoofed on the left", "10.0.0.1", &[(xff, "6.6.6.6, 1.2.3.4")], Ok(Some("1.2.3.4"))),
        (
            "two trusted hops",
            "10.0.0.1",
            &[(xff, "6.6.6.6, 1.2.3.4, 10.0.0.2")],
            Ok(Some("1.2.3.4")),
        ),
        (
            "two lines are one list",
            "10.0.0.1",
            &[(xff, "1.2.3.4"), (xff, "10.0.0.2")],
            Ok(Some("1.2.3.4")),
        ),
        ("only trusted hops", "10.0.0.1", &[(xff, "10.0.0.3, 10.0.0.2")], Ok(Some("10.0.0.3"))),
        (
            "no address ends the walk",
            "10.0.0.1",
            &[(xff, "1.2.3.4, unknown, 10.0.0.2")],
            Ok(Some("10.0.0.2")),
        ),
        ("no address at all", "10.0.0.1", &[(xff, "unknown")], Ok(None)),
        ("port and mapped", "10.0.0.1", &[(xff, "[::ffff:1.2.3.4]:99")], Ok(Some("1.2.3.4"))),
        (
            "standard header",
            "10.0.0.1",
            &[(fwd, "for=6.6.6.6, for=1.2.3.4;proto=https")],
            Ok(Some("1.2.3.4")),
        ),
        ("hidden", "10.0.0.1", &[(fwd, "for=1.2.3.4, for=_hidden")], Ok(None)),
        (
            "a header that hides the proxy's part",
            "10.0.0.1",
            &[(fwd, "for=\"6.6.6.6, for=1.2.3.4")],
            Err(Ambiguous),
        ),
        ("both agree", "10.0.0.1", &[(fwd, "for=1.2.3.4"), (xff, "1.2.3.4")], Ok(Some("1.2.3.4"))),
        ("not text on the left", "10.0.0.1", &[(xff, "\u{e9}, 1.2.3.4")], Ok(Some("1.2.3.4"))),
        ("one hides, one names", "10.0.0.1", &[(fwd, "for=_h"), (xff, "6.6.6.6")], Err(Ambiguous)),
        (
            "one names, one hides",
            "10.0.0.1",
            &[(fwd, "for=6.6.6.6"), (xff, "unknown")],
            Err(Ambiguous),
        ),
        ("both differ", "10.0.0.1", &[(fwd, "for=6.6.6.6"), (xff, "1.2.3.4")], Err(Ambiguous)),
    ] {
        assert_eq!(client(trusted, peer, lines), want.map(|ip| ip.map(str::to_owned)), "{name}");
    }
    assert_eq!(client(&[], "10.0.0.1", &[(xff, "1.2.3.4")]), Ok(None));
    assert_eq!(
        client(&["::1/128"], "::1", &[(xff, "2001:db8::1")]),
        Ok(Some("2001:db8::1".into()))
    );
}

#[test]
fn scheme_is_believed_of_a_trusted_hop_and_host_only_when_asked_for() {
    let peer = "10.0.0.1:1".parse().unwrap();
    let proxies = TrustedProxies::new(["10.0.0.0/8".parse().unwrap()]);
    for lines in [
        headers(&[("forwarded", "for=1.2.3.4;proto=HTTPS;host=shop.example")]),
        headers(&[
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "shop.example"),
        ]),
    ] {
        let hop = proxies.resolve(peer, &lines).unwrap();
        assert_eq!((hop.scheme, hop.host), (Some(Scheme::Https), None));
        let hop = proxies.clone().with_host().resolve(peer, &lines).unwrap();
        assert_eq!(hop.host.as_deref(), Some("shop.example"));
        assert_eq!(TrustedProxies::none().with_host().resolve(peer, &lines), Ok(Hop::default()));
    }
}

#[test]
fn forwarded_beside_a_lone_scheme_is_no_contradiction() {
    let lines =
        &[("forwarded", "for=1.2.3.4;proto=https"), ("x-forwarded-proto", "https")] as &[_];
    let proxies = TrustedProxies::new(["10.0.0.0/8".parse().unwrap()]);
    let hop = proxies.resolve("10.0.0.1:1".parse().unwrap(), &headers(lines)).unwrap();
    assert_eq!((hop.client, hop.scheme), ("1.2.3.4".parse().ok(), Some(Scheme::Https)));
}

#[test]
fn a_proxy_that_hides_its_client_is_still_believed_about_the_scheme() {
    let proxies = TrustedProxies::new(["10.0.0.0/8".parse().unwrap()]);
    for (line, client, scheme) in [
        ("for=_hidden;proto=https", None, Some(Scheme::Https)),
        ("proto=https", None, Some(Scheme::Https)),
        ("for=6.6.6.6;proto=https, for=1.2.3.4;proto=http", Some("1.2.3.4"), Some(Scheme::Http)),
        ("for=1.2.3.4;proto=https, for=10.0.0.2", Some("1.2.3.4"), Some(Scheme::Https)),
        ("for=6.6.6.6;proto=https, for=1.2.3.4", Some("1.2.3.4"), None),
    ] {
        let hop = proxies
            .resolve("10.0.0.1:1".parse().unwrap(), &headers(&[("forwarded", line)]))
            .unwrap();
        assert_eq!(
            (hop.client, hop.scheme),
            (client.map(|ip| ip.parse().unwrap()), scheme),
            "{line}"
        );
    }
}

#[test]
fn what_a_client_adds_beside_its_proxys_header_is_not_believed() {
    let proxies = TrustedProxies::new(["10.0.0.0/8".parse().unwrap()]).with_host();
    let hop = |lines: &[(&'static str, &'static str)]| {
        proxies.resolve("10.0.0.1:1".parse().unwrap(), &headers(lines)).unwrap()
    };
    // The client knows its own address, so the two headers agree about it.
    let seen = hop(&[
        ("forwarded", "for=1.2.3.4;proto=https;host=evil.example"),
        ("x-forwarded-for", "1.2.3.4"),
        ("x-forwarded-proto", "http"),
    ]);
    assert_eq!((seen.client, seen.scheme, seen.host), ("1.2.3.4".parse().ok(), None, None));
}

#[test]
fn ipv6_clients_count_by_their_64() {
    let key = |ip: &str| ClientAddr::peer(ip.parse().unwrap()).key();
    assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::9"));
    assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
    assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
    assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    assert_eq!(key("192.0.2.1").to_string(), "192.0.2.1");
    assert_eq!(key("2001:db8::7").to_string(), "2001:db8::/64");
}

#[test]
fn forwarded_follows_the_grammar() {
    let read = |text: &str| {
        let forwarded = Forwarded::parse(text).ok()?;
        Some(
            forwarded
                .elements()
                .iter()
                .map(|e| e.for_text().unwrap_or("-").to_owned())
                .collect::<Vec<_>>()
                .join(" "),
        )
    };
    for (text, want) in [
        ("for=\"_gazonk\"", Some("_gazonk")),
        ("For=\"[2001:db8:cafe::17]:4711\"", Some("[2001:db8:cafe::17]:4711")),
        ("for=192.0.2.60;proto=http;by=203.0.113.43", Some("192.0.2.60")),
        ("for=192.0.2.43, for=198.51.100.17", Some("192.0.2.43 198.51.100.17")),
        ("for=[2001:db8::1]:80", Some("[2001:db8::1]:80")),
        ("for=\"a\\\"b\"", Some("a\"b")),
        ("for=\"a,b;c\", for=d", Some("a,b;c d")),
        ("proto=https", Some("-")),
        (" , ,for=a ; ;proto=b , ", Some("a")),
        ("", Some("")),
        ("for=a;for=b", None),
        ("for", None),
        ("for=", None),
        ("for=\"a", None),
        ("for=a for=b", None),
        ("=a", None),
    ] {
        assert_eq!(read(text).as_deref(), want, "{text}");
    }
}

proptest::proptest! {
    #[test]
    fn any_text_gets_an_answer(text in ".*") {
        let _ = Forwarded::parse(&text);
    }
    #[test]
    fn what_a_client_writes_never_moves_the_address_that_the_proxy_saw(spoofed in "[ -~]{0,40}") {
        let proxies = TrustedProxies::new(["10.0.0.0/8".parse().unwrap()]);
        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-for", format!("{spoofed}, 192.0.2.9").parse().unwrap());
        let hop = proxies.resolve("10.0.0.1:1".parse().unwrap(), &headers).unwrap();
        proptest::prop_assert_eq!(hop.client, "192.0.2.9".parse().ok());
    }
}
