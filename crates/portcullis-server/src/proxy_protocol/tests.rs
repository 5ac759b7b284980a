use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

/// `PROXY`, TCP over IPv4.
const TCP4: [u8; 2] = [0x21, 0x11];
const TCP6: [u8; 2] = [0x21, 0x21];
const UNIX: [u8; 2] = [0x21, 0x31];
/// 192.0.2.1:4711 to 198.51.100.2:443.
const ADDRESSES: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 2, 0x12, 0x67, 0x01, 0xbb];

fn line(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.ip(), destination.ip());
    let (port, to_port) = (source.port(), destination.port());
    format!("PROXY {family} {from} {to} {port} {to_port}\r\n").into_bytes()
}

fn binary(command_family: [u8; 2], block: &[u8]) -> Vec<u8> {
    let len = u16::try_from(block.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &command_family[..], &len, block].concat()
}

fn block(source: SocketAddr, destination: SocketAddr, fields: &[u8]) -> Vec<u8> {
    let mut block = Vec::new();
    for ip in [source.ip(), destination.ip()] {
        match ip {
            IpAddr::V4(ip) => block.extend(ip.octets()),
            IpAddr::V6(ip) => block.extend(ip.octets()),
        }
    }
    block.extend(source.port().to_be_bytes());
    block.extend(destination.port().to_be_bytes());
    block.extend(fields);
    block
}

fn field(kind: u8, value: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(value.len()).unwrap().to_be_bytes();
    [&[kind, high, low], value].concat()
}

/// A header of TCP over IPv4 with these fields.
fn with_fields(fields: &[Vec<u8>]) -> Vec<u8> {
    binary(TCP4, &[ADDRESSES, &fields.concat()].concat())
}

fn header(bytes: &[u8]) -> ProxyHeader {
    match parse(bytes) {
        Parsed::Complete { header, len } if len == bytes.len() => header,
        other => panic!("{other:?} of {}", bytes.escape_ascii()),
    }
}

fn refusal(bytes: &[u8]) -> Option<ProxyError> {
    if let Parsed::Invalid(error) = parse(bytes) { Some(error) } else { None }
}

fn text(address: Option<SocketAddr>) -> String {
    address.map(|address| address.to_string()).unwrap_or_default()
}

#[test]
fn a_line_names_both_ends_or_nobody() {
    for (line, source, destination) in [
        ("PROXY TCP4 192.0.2.1 198.51.100.2 4711 443", "192.0.2.1:4711", "198.51.100.2:443"),
        ("PROXY TCP4 0.0.0.0 255.255.255.255 0 65535", "0.0.0.0:0", "255.255.255.255:65535"),
        ("PROXY TCP6 2001:db8::1 ::1 4711 443", "[2001:db8::1]:4711", "[::1]:443"),
        ("PROXY TCP6 2001:DB8::F :: 1 2", "[2001:db8::f]:1", "[::]:2"),
        ("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2", "[::ffff:192.0.2.1]:1", "[::1]:2"),
        ("PROXY UNKNOWN", "", ""),
        ("PROXY UNKNOWN ", "", ""),
        ("PROXY UNKNOWN 192.0.2.1 198.51.100.2 4711 443", "", ""),
        ("PROXY UNKNOWN \u{e9}\0 whatever", "", ""),
    ] {
        let header = header(format!("{line}\r\n").as_bytes());
        assert_eq!(text(header.source), source, "{line}");
        assert_eq!(text(header.destination), destination, "{line}");
        let nothing_else = (header.command, header.authority, header.alpn, header.tls);
        assert_eq!(nothing_else, (Command::Proxied, None, None, false), "{line}");
    }
}

#[test]
fn the_longest_line_of_the_specification_is_read_and_no_longer_one() {
    let ip = [0xffff; 8].map(|group: u16| format!("{group:x}")).join(":");
    let of_tcp6 = format!("PROXY TCP6 {ip} {ip} 65535 65535\r\n");
    assert_eq!((of_tcp6.len(), header(of_tcp6.as_bytes()).tls), (104, false));

    let of_unknown = format!("PROXY UNKNOWN {ip} {ip} 65535 65535\r\n");
    assert_eq!((of_unknown.len(), header(of_unknown.as_bytes()).source), (107, None));
    let longer = of_unknown.replace('\r', "x\r");
    assert_eq!(refusal(longer.as_bytes()), Some(ProxyError::TooLong));
    // Already where the line can no longer end in time.
    assert_eq!(parse(&longer.as_bytes()[..105]), Parsed::Incomplete);
    assert_eq!(refusal(&longer.as_bytes()[..106]), Some(ProxyError::TooLong));
}

#[test]
fn a_line_is_refused_at_the_first_byte_that_shows_it() {
    use ProxyError::{Address, LineEnd, Port, Protocol, Signature};
    // Everything before the last byte may still become a line.
    for (line, want) in [
        (b"G" as &[u8], Signature),
        (b"PRI", Signature),
        (b"\x16", Signature),
        (b"p", Signature),
        (b"PROXY\t", Signature),
        (b"PROXY  ", Protocol),
        (b"PROXY U ", Protocol),
        (b"PROXY TCP ", Protocol),
        (b"PROXY TCP5", Protocol),
        (b"PROXY TCP4\r", Protocol),
        (b"PROXY UNKNOWNS", Protocol),
        (b"PROXY UNKNOWN\n", LineEnd),
        (b"PROXY UNKNOWN x\n", LineEnd),
        (b"PROXY UNKNOWN x\rx", LineEnd),
        (b"PROXY TCP4  ", Address),
        (b"PROXY TCP4 256", Address),
        (b"PROXY TCP4 01", Address),
        (b"PROXY TCP4 1.2.3.4.", Address),
        (b"PROXY TCP4 1.2.3 ", Address),
        (b"PROXY TCP4 1:", Address),
        (b"PROXY TCP4 1.2.3.4\r", Address),
        (b"PROXY TCP4 1.2.3.4  ", Address),
        (b"PROXY TCP4 1.2.3.4 :", Address),
        (b"PROXY TCP4 \xe9", Address),
        (b"PROXY TCP6 1.", Address),
        (b"PROXY TCP6 g", Address),
        (b"PROXY TCP6 12345", Address),
        (b"PROXY TCP6 :1", Address),
        (b"PROXY TCP6 1::2::", Address),
        (b"PROXY TCP6 :::", Address),
        (b"PROXY TCP6 1:2:3:4:5:6:7:8:", Address),
        (b"PROXY TCP6 1:2:3:4:5:6:7 ", Address),
        (b"PROXY TCP6 1:2:3:4:5:6:7:1.", Address),
        (b"PROXY TCP6 ::ffff:1.2.3.256", Address),
        (b"PROXY TCP6 ::1%", Address),
        // With dots it would be longer than eight groups are, and two of them longer than a line.
        (b"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:255.25", Address),
        (b"PROXY TCP6 [", Address),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8  ", Port),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 +", Port),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 -", Port),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 00", Port),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 65536", Port),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 1\r", Port),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 x", Port),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n", Port),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2 ", Port),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 \r", Port),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\r", LineEnd),
    ] {
        assert_eq!(refusal(line), Some(want), "{}", line.escape_ascii());
        let before = &line[..line.len() - 1];
        assert_eq!(parse(before), Parsed::Incomplete, "{}", before.escape_ascii());
    }
}

#[test]
fn a_binary_header_names_both_ends_or_nobody() {
    let inet6 = block("[2001:db8::1]:1".parse().unwrap(), "[::1]:2".parse().unwrap(), &[]);
    // These fields would say more, were they read.
    let fields = [field(0x02, b"shop.example"), field(0x20, &[1, 0, 0, 0, 0])].concat();
    let nobody_but_fields = [&[0; 216][..], &fields].concat();
    for (name, command_family, block, source, destination, reads_fields) in [
        ("TCP over IPv4", TCP4, ADDRESSES, "192.0.2.1:4711", "198.51.100.2:443", false),
        ("TCP over IPv6", TCP6, &inet6, "[2001:db8::1]:1", "[::1]:2", false),
        ("a Unix socket", UNIX, &[0; 216], "", "", false),
        ("a Unix socket with fields", UNIX, &nobody_but_fields, "", "", true),
        ("unspecified", [0x21, 0x00], &[], "", "", false),
        ("what stands behind unspecified is ignored", [0x21, 0x00], &fields, "", "", false),
        ("an unspecified family", [0x21, 0x01], &[1], "", "", false),
        ("an unspecified transport", [0x21, 0x10], ADDRESSES, "", "", false),
    ] {
        let header = header(&binary(command_family, block));
        assert_eq!(header.command, Command::Proxied, "{name}");
        assert_eq!(text(header.source), source, "{name}");
        assert_eq!(text(header.destination), destination, "{name}");
        assert_eq!(header.authority.as_deref(), reads_fields.then_some("shop.example"), "{name}");
        assert_eq!(header.tls, reads_fields, "{name}");
    }
}

#[test]
fn of_a_local_connection_only_the_length_counts() {
    for (name, family, block) in [
        ("empty", 0x00, &[] as &[u8]),
        ("addresses all the same", 0x11, ADDRESSES),
        ("shorter than addresses", 0x21, &[1, 2, 3]),
        ("datagrams", 0x12, ADDRESSES),
        ("an unknown family", 0xff, &[9; 20]),
    ] {
        let header = header(&binary([0x20, family], block));
        assert_eq!(header, ProxyHeader::new(Command::Local), "{name}");
    }
}

#[test]
fn fields_are_read() {
    let tls = |client| field(0x20, &[&[client, 0, 0, 0, 0], &field(0x21, b"TLSv1.3")[..]].concat());
    let name = |name: &str| field(0x02, name.as_bytes());
    let longest = "x".repeat(255);
    for (fields, authority, alpn, is_tls) in [
        (vec![name("shop.example")], Some("shop.example"), None, false),
        (vec![name("b\u{fc}cher.example")], Some("b\u{fc}cher.example"), None, false),
        (vec![name("")], None, None, false),
        (vec![name(&longest)], Some(&*longest), None, false),
        (vec![field(0x01, b"h2")], None, Some("h2"), false),
        (vec![field(0x01, b"")], None, None, false),
        (vec![tls(1)], None, None, true),
        (vec![tls(7)], None, None, true),
        // A certificate without TLS is nothing that we would believe.
        (vec![tls(6)], None, None, false),
        (vec![field(0x20, &[1, 0, 0, 0, 0])], None, None, true),
        (vec![field(0x04, &[0; 40]), field(0x04, &[]), name("a")], Some("a"), None, false),
        // An identifier, a namespace, somebody's own, and a TLS version that is nobody's.
        (
            vec![field(0x05, &[7; 128]), field(0x30, b"blue"), field(0xea, b"x"), field(0x21, b"")],
            None,
            None,
            false,
        ),
        (vec![tls(1), field(0x01, b"h2"), name("a")], Some("a"), Some("h2"), true),
    ] {
        let header = header(&with_fields(&fields));
        assert_eq!(text(header.source), "192.0.2.1:4711", "{fields:?}");
        assert_eq!(header.authority.as_deref(), authority, "{fields:?}");
        assert_eq!(header.alpn.as_deref(), alpn.map(str::as_bytes), "{fields:?}");
        assert_eq!(header.tls, is_tls, "{fields:?}");
    }
}

#[test]
fn malformed_fields_are_refused() {
    use ProxyError::{Authority, Field};
    let name = |name: &[u8]| field(0x02, name);
    for (why, fields, want) in [
        ("one byte", vec![vec![4]], Field),
        ("two bytes", vec![vec![4, 0]], Field),
        ("longer than the header", vec![vec![4, 0, 1]], Field),
        ("much longer", vec![vec![4, 0xff, 0xff, 0]], Field),
        ("cut short behind a good one", vec![field(4, b"x"), vec![4, 0]], Field),
        ("TLS without a verdict", vec![field(0x20, &[1, 0, 0, 0])], Field),
        ("TLS with half a field", vec![field(0x20, &[1, 0, 0, 0, 0, 0x21])], Field),
        ("TLS with a field too long", vec![field(0x20, &[1, 0, 0, 0, 0, 0x21, 0, 1])], Field),
        ("a checksum of three bytes", vec![field(0x03, &[0; 3])], Field),
        ("a checksum of five bytes", vec![field(0x03, &[0; 5])], Field),
        ("two names", vec![name(b"a"), name(b"a")], Field),
        ("two checksums", vec![field(0x03, &[0; 4]), field(0x03, &[0; 4])], Field),
        ("two protocols", vec![field(0x01, b"h2"), field(0x01, b"")], Field),
        ("a protocol too long", vec![field(0x01, &[b'x'; 256])], Field),
        ("TLS and no TLS", vec![field(0x20, &[1, 0, 0, 0, 0]), field(0x20, &[0; 5])], Field),
        ("a name that is no text", vec![name(b"\xff")], Authority),
        ("a name too long", vec![name(&[b'x'; 256])], Authority),
        ("a name of two lines", vec![name(b"a\nb")], Authority),
        ("a name with a space", vec![name(b"a b")], Authority),
        ("a name with a control", vec![name(b"a\x7f")], Authority),
    ] {
        assert_eq!(refusal(&with_fields(&fields)), Some(want), "{why}");
    }
}

#[test]
fn a_checksum_is_verified() {
    // Computed by another implementation.
    let good = [
        with_fields(&[field(0x03, &0x1eaf_4baa_u32.to_be_bytes())]),
        with_fields(&[
            field(0x02, b"shop.example"),
            field(0x03, &0xe45f_6def_u32.to_be_bytes()),
            field(0x04, &[0; 5]),
        ]),
    ];
    for good in good {
        assert_eq!(text(header(&good).source), "192.0.2.1:4711");
        // Whichever byte changes behind the fixed part, nothing of the header is believed, except where it makes another
        // field of the checksum.
        let checksum = good.windows(3).position(|head| head == [0x03, 0x00, 0x04]).unwrap();
        for at in (16..good.len()).filter(|at| *at != checksum) {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            let refusal = refusal(&bad);
            let is_refused = matches!(refusal, Some(ProxyError::Checksum | ProxyError::Field));
            assert!(is_refused, "byte {at}: {refusal:?}");
        }
    }
}

#[test]
fn a_binary_header_is_refused_at_the_first_byte_that_shows_it() {
    use ProxyError::{Command, Datagram, Family, Field, Signature, TooLong, TooShort, Version};
    let fixed = |rest: &[u8]| [b"\r\n\r\n\0\r\nQUIT\n", rest].concat();
    for (bytes, want) in [
        (b"\r\r".to_vec(), Signature),
        (b"\r\n\r\n\0\r\nQUIT\r".to_vec(), Signature),
        (fixed(&[0x11]), Version),
        (fixed(&[0x31]), Version),
        (fixed(&[0x01]), Version),
        (fixed(&[0x22]), Command),
        (fixed(&[0x2f]), Command),
        (fixed(&[0x21, 0x12]), Datagram),
        (fixed(&[0x21, 0x22]), Datagram),
        (fixed(&[0x21, 0x32]), Datagram),
        (fixed(&[0x21, 0x02]), Datagram),
        (fixed(&[0x21, 0x41]), Family),
        (fixed(&[0x21, 0x42]), Family),
        (fixed(&[0x21, 0x13]), Family),
        (fixed(&[0x21, 0x03]), Family),
        (fixed(&[0x21, 0x11, 0x10]), TooLong),
        (fixed(&[0x20, 0x00, 0xff]), TooLong),
        (fixed(&[0x21, 0x11, 0x0f, 0xf1]), TooLong),
        (fixed(&[0x21, 0x11, 0x00, 11]), TooShort),
        (fixed(&[0x21, 0x21, 0x00, 35]), TooShort),
        (fixed(&[0x21, 0x31, 0x00, 215]), TooShort),
        (fixed(&[0x21, 0x11, 0x00, 13]), Field),
        (fixed(&[0x21, 0x31, 0x00, 218]), Field),
    ] {
        assert_eq!(refusal(&bytes), Some(want), "{}", bytes.escape_ascii());
        let before = &bytes[..bytes.len() - 1];
        assert_eq!(parse(before), Parsed::Incomplete, "{}", before.escape_ascii());
    }
}

#[test]
fn the_longest_binary_header_is_a_page() {
    let padding = field(0x04, &vec![0; MAX_LENGTH - 16 - ADDRESSES.len() - 3]);
    let longest = with_fields(&[padding]);
    assert_eq!(longest.len(), MAX_LENGTH);
    assert_eq!(text(header(&longest).source), "192.0.2.1:4711");
}

fn socket() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
    prop_oneof![
        any::<(u32, u32, u16, u16)>().prop_map(|(from, to, port, to_port)| {
            let socket = |ip, port| SocketAddr::new(Ipv4Addr::from_bits(ip).into(), port);
            (socket(from, port), socket(to, to_port))
        }),
        // Masked, so that there are runs of zeros, which are written in short.
        any::<(u128, u128, u128, u16, u16)>().prop_map(|(from, to, mask, port, to_port)| {
            let socket = |ip, port| SocketAddr::new(Ipv6Addr::from_bits(ip & mask).into(), port);
            (socket(from, port), socket(to, to_port))
        }),
    ]
}

/// A header of either version.
fn some_header() -> impl Strategy<Value = Vec<u8>> {
    let fields =
        prop::collection::vec((0x04..=0x06_u8, prop::collection::vec(any::<u8>(), 0..40)), 0..4);
    (socket(), any::<bool>(), fields).prop_map(|((from, to), is_text, fields)| {
        let fields: Vec<u8> = fields.iter().flat_map(|(kind, value)| field(*kind, value)).collect();
        let family = if from.is_ipv4() { TCP4 } else { TCP6 };
        if is_text { line(from, to) } else { binary(family, &block(from, to, &fields)) }
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(
        (from, to) in socket(), name in "[a-z.]{0,40}", alpn in prop::option::of("h[23]"), tls: bool,
    ) {
        let mut want = ProxyHeader::new(Command::Proxied);
        (want.source, want.destination) = (Some(from), Some(to));
        prop_assert_eq!(&header(&line(from, to)), &want);

        want.authority = (!name.is_empty()).then(|| name.as_str().into());
        want.alpn = alpn.clone().map(Bytes::from);
        want.tls = tls;
        let mut fields = field(0x02, name.as_bytes());
        fields.extend(alpn.iter().flat_map(|alpn| field(0x01, alpn.as_bytes())));
        fields.extend(field(0x20, &[tls.into(), 0, 0, 0, 1]));
        let family = if from.is_ipv4() { TCP4 } else { TCP6 };
        prop_assert_eq!(&header(&binary(family, &block(from, to, &fields))), &want);
    }

    #[test]
    fn every_beginning_of_a_header_is_incomplete(whole in some_header()) {
        for len in 0..whole.len() {
            prop_assert_eq!(parse(&whole[..len]), Parsed::Incomplete, "{} bytes", len);
        }
    }

    #[test]
    fn what_follows_a_header_is_left_alone(
        whole in some_header(), more in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        prop_assert_eq!(parse(&[&whole[..], &more].concat()), parse(&whole));
    }

    #[test]
    fn any_bytes_get_an_answer(
        start in prop::sample::select(vec![
            b"" as &[u8], b"PROXY ", b"PROXY TCP4 ", b"PROXY TCP6 ", b"PROXY UNKNOWN",
            b"\r\n\r\n\0\r\nQUIT\n", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00", b"\r\n\r\n\0\r\nQUIT\n\x21\x31\x01",
        ]),
        rest in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let bytes = [start, &rest].concat();
        match parse(&bytes) {
            Parsed::Complete { len, .. } => prop_assert!(len <= bytes.len()),
            Parsed::Incomplete => prop_assert!(bytes.len() < MAX_LENGTH),
            // No byte that follows makes it better.
            Parsed::Invalid(_) => prop_assert!(refusal(&[&bytes[..], b" "].concat()).is_some()),
        }
    }

    #[test]
    fn fields_of_any_bytes_get_an_answer(fields in prop::collection::vec(any::<u8>(), 0..60)) {
        let bytes = with_fields(std::slice::from_ref(&fields));
        let answer = parse(&bytes);
        let is_answer = match answer {
            Parsed::Complete { len, .. } => len == bytes.len(),
            Parsed::Incomplete => false,
            Parsed::Invalid(_) => true,
        };
        prop_assert!(is_answer, "{:?}", answer);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Nobody waits for a line that cannot come: from every incomplete one, a walk over bytes that are not refused, and
    /// that are chosen at random, comes to an end.
    #[test]
    fn an_incomplete_line_can_be_completed(
        start in prop::sample::select(vec!["P", "PROXY TCP4 ", "PROXY TCP6 ", "PROXY TCP6 ::1 "]),
        choices in prop::collection::vec(any::<prop::sample::Index>(), 110),
    ) {
        let mut line = start.as_bytes().to_vec();
        let mut choices = choices.into_iter();
        while parse(&line) == Parsed::Incomplete {
            let next = |byte: &u8| refusal(&[&line[..], &[*byte]].concat()).is_none();
            let possible: Vec<u8> = (0..=255).filter(next).collect();
            prop_assert!(!possible.is_empty(), "{} leads nowhere", line.escape_ascii());
            let choice = choices.next().expect("a line has an end");
            line.push(possible[choice.index(possible.len())]);
        }
        prop_assert!(refusal(&line).is_none() && line.len() <= 107, "{}", line.escape_ascii());
    }
}
