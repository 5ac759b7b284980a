//! Header blocks: literals, and references to what is in the table (RFC 7541).

/// The index of the entry that was stored last, behind those of the standard.
pub(crate) const NEWEST: u32 = 62;

/// A header that goes into no table.
pub(crate) fn literal(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.push(0x00);
    string(name, out);
    string(value, out);
}

/// A header that goes into the dynamic table, as [`NEWEST`].
pub(crate) fn stored(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.push(0x40);
    string(name, out);
    string(value, out);
}

/// A header that is in a table.
pub(crate) fn indexed(index: u32, out: &mut Vec<u8>) {
    integer(0x80, 7, index, out);
}

/// The headers of a request that has no others.
pub(crate) fn request(method: &str, path: &str, authority: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in
        [(":method", method), (":scheme", "http"), (":path", path), (":authority", authority)]
    {
        literal(name.as_bytes(), value.as_bytes(), &mut out);
    }
    out
}

/// Without Huffman's code.
fn string(text: &[u8], out: &mut Vec<u8>) {
    integer(0x00, 7, u32::try_from(text.len()).unwrap_or(u32::MAX), out);
    out.extend_from_slice(text);
}

/// A number that begins in the lower `bits` of a byte whose upper ones are those of `first`.
fn integer(first: u8, bits: u32, value: u32, out: &mut Vec<u8>) {
    let most = (1_u32 << bits) - 1;
    if value < most {
        out.push(first | low_byte(value));
        return;
    }
    out.push(first | low_byte(most));
    let mut rest = value - most;
    while rest >= 0x80 {
        out.push(0x80 | low_byte(rest & 0x7f));
        rest >>= 7;
    }
    out.push(low_byte(rest));
}

fn low_byte(value: u32) -> u8 {
    value.to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(write: impl FnOnce(&mut Vec<u8>), want: &[u8]) {
        let mut out = Vec::new();
        write(&mut out);
        assert_eq!(out, want);
    }

    #[test]
    fn numbers_are_those_of_the_standard() {
        // RFC 7541, appendix C.1.
        check(|out| integer(0, 5, 10, out), &[0x0a]);
        check(|out| integer(0, 5, 1337, out), &[0x1f, 0x9a, 0x0a]);
        check(|out| integer(0, 8, 42, out), &[0x2a]);
        check(|out| integer(0xe0, 5, 31, out), &[0xff, 0x00]);
    }

    #[test]
    fn headers_are_those_of_the_standard() {
        // RFC 7541, appendices C.2.1 and C.2.4.
        let custom = b"\x40\x0acustom-key\x0dcustom-header";
        check(|out| stored(b"custom-key", b"custom-header", out), custom);
        check(|out| indexed(2, out), &[0x82]);
        check(|out| indexed(NEWEST, out), &[0xbe]);
        check(|out| literal(b"a", b"", out), b"\x00\x01a\x00");
        let long = [b"\x00\x01a\x7f\xa1\x1e".as_slice(), &[b'x'; 4000]].concat();
        check(|out| literal(b"a", &[b'x'; 4000], out), &long);
    }

    #[test]
    fn a_request_has_its_four_headers() {
        let want = b"\x00\x07:method\x03GET\x00\x07:scheme\x04http\x00\x05:path\x01/\x00\x0a:authority\x01a";
        assert_eq!(request("GET", "/", "a"), want);
    }
}
