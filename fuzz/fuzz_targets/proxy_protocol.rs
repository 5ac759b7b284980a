//! Every input has one answer, which more bytes do not change, and what a header of the PROXY protocol says survives being
//! written again.
//!
//! The module is private to its crate, and pure: it is compiled into this target, which then needs no server.
#![no_main]
use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/portcullis-server/src/proxy_protocol/mod.rs"]
mod proxy_protocol;

use proxy_protocol::{Command, MAX_LENGTH, Parsed, ProxyHeader, parse};

fuzz_target!(|input: &[u8]| {
    let answer = parse(input);
    match &answer {
        Parsed::Complete { header, len } => {
            assert!(*len <= input.len() && *len <= MAX_LENGTH);
            let header_only = input.get(..*len).expect("a header is no longer than the input");
            assert_eq!(parse(header_only), answer, "what follows was looked at");
            for shorter in 0..*len {
                assert_eq!(parse(&input[..shorter]), Parsed::Incomplete, "{shorter} bytes do");
            }
            check_header(header);
        }
        Parsed::Incomplete => {
            assert!(input.len() < MAX_LENGTH, "waits for more than is read");
            let goes_on = |byte| !matches!(parse(&[input, &[byte]].concat()), Parsed::Invalid(_));
            // What a binary header says behind its fixed part is looked at when all of it is there.
            let may_end = input.starts_with(b"\r\n") && input.len() > 16;
            assert!(may_end || (0..=255).any(goes_on), "waits in vain");
        }
        Parsed::Invalid(error) => {
            assert!(!error.to_string().is_empty());
            for byte in [b' ', b'0', b'\r', b'\n', 0] {
                let more = parse(&[input, &[byte]].concat());
                assert!(matches!(more, Parsed::Invalid(_)), "{byte} made it {more:?}");
            }
        }
    }
});

fn check_header(header: &ProxyHeader) {
    assert_eq!(header.source.is_some(), header.destination.is_some(), "one end only");
    let alike =
        header.source.map(|end| end.is_ipv4()) == header.destination.map(|end| end.is_ipv4());
    assert!(alike, "the ends are of two families");
    if let Some(name) = &header.authority {
        let is_sound = |c: char| !c.is_control() && !c.is_whitespace();
        assert!(!name.is_empty() && name.chars().all(is_sound), "{name:?} is no name");
    }
    if header.command == Command::Local {
        assert_eq!(header.source, None, "a local connection has no other end");
    }
    let written = write(header);
    let want = Parsed::Complete { header: header.clone(), len: written.len() };
    assert_eq!(parse(&written), want, "was written as {}", written.escape_ascii());
}

/// Version 2 can say all that version 1 says.
fn write(header: &ProxyHeader) -> Vec<u8> {
    let mut block = Vec::new();
    let family = match (header.source, header.destination) {
        (Some(source), Some(destination)) => {
            for end in [source, destination] {
                match end.ip() {
                    IpAddr::V4(ip) => block.extend(ip.octets()),
                    IpAddr::V6(ip) => block.extend(ip.octets()),
                }
            }
            block.extend(source.port().to_be_bytes());
            block.extend(destination.port().to_be_bytes());
            if source.is_ipv4() { 0x11 } else { 0x21 }
        }
        // Fields without addresses stand behind those of a Unix socket.
        _ => {
            block.extend([0; 216]);
            0x31
        }
    };
    if let Some(name) = &header.authority {
        block.extend(field(0x02, name.as_bytes()));
    }
    if let Some(alpn) = &header.alpn {
        block.extend(field(0x01, alpn));
    }
    if header.tls {
        block.extend(field(0x20, &[1, 0, 0, 0, 0]));
    }
    let command = if header.command == Command::Local { 0x20 } else { 0x21 };
    let len = u16::try_from(block.len()).expect("addresses and two names are short").to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &len, &block].concat()
}

fn field(kind: u8, value: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(value.len()).expect("names are short").to_be_bytes();
    [&[kind, high, low], value].concat()
}
