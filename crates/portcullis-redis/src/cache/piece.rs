//! A piece of a body as it is kept: a byte that says how, and the piece, as it is or compressed.
use std::io::{Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use portcullis_core::BoxError;

/// How many bytes a piece has, but the last.
pub(super) const PIECE: usize = 256 * 1024;
/// What is smaller is not worth it.
const SMALLEST: usize = 1_024;
/// How it is kept.
const PLAIN: u8 = 0;
const DEFLATED: u8 = 1;

/// Whether bodies with these fields get smaller: text that nobody has encoded yet.
pub(super) fn is_text(fields: &HeaderMap) -> bool {
    let kind = fields.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let ends = ["json", "xml", "javascript", "ecmascript", "yaml", "graphql", "x-ndjson"];
    !fields.contains_key(CONTENT_ENCODING)
        && (kind.starts_with("text/") || ends.iter().any(|end| kind.ends_with(end)))
}

/// As it is.
pub(super) fn plain(data: &[u8]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(1 + data.len());
    packed.push(PLAIN);
    packed.extend_from_slice(data);
    packed
}

/// Compressed, where that makes it a tenth smaller. It takes some milliseconds.
pub(super) fn deflated(data: &[u8]) -> Vec<u8> {
    if data.len() <= SMALLEST {
        return plain(data);
    }
    let mut encoder = DeflateEncoder::new(vec![DEFLATED], Compression::fast());
    match encoder.write_all(data).and_then(|()| encoder.finish()) {
        Ok(packed) if packed.len() <= data.len() / 10 * 9 => packed,
        _ => plain(data),
    }
}

/// The piece, which has so many bytes.
pub(super) fn open(packed: Vec<u8>, len: usize) -> Result<Bytes, BoxError> {
    let data = match packed.split_first() {
        Some((&PLAIN, _)) => Bytes::from(packed).slice(1..),
        Some((&DEFLATED, deflated)) => {
            let mut data = Vec::with_capacity(len);
            // One byte more than there may be: so that it is seen.
            DeflateDecoder::new(deflated).take(len as u64 + 1).read_to_end(&mut data)?;
            Bytes::from(data)
        }
        _ => return Err("a piece of a body is kept in an unknown way".into()),
    };
    if data.len() == len { Ok(data) } else { Err("a piece of a body has another length".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_opened() {
        let text = "Der Worte sind genug gewechselt. ".repeat(1_000);
        let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(5_000).collect();
        for (data, is_smaller) in
            [(text.as_bytes(), true), (&noise, false), (b"few", false), (&[], false)]
        {
            let packed = deflated(data);
            assert_eq!(packed.len() < data.len(), is_smaller);
            for packed in [packed, plain(data)] {
                assert_eq!(open(packed.clone(), data.len()).unwrap(), data);
                open(packed, data.len() + 1).unwrap_err();
            }
        }
        // Neither cut off, nor longer than it says.
        let packed = deflated(text.as_bytes());
        open(packed[..packed.len() / 2].to_vec(), text.len()).unwrap_err();
        open(packed, text.len() - 1).unwrap_err();
        open(Vec::new(), 0).unwrap_err();
        open(vec![7, 7], 1).unwrap_err();
    }

    #[test]
    fn text_is_what_nobody_has_encoded() {
        for (kind, encoding, is) in [
            ("text/html; charset=utf-8", None, true),
            ("application/problem+json", None, true),
            ("Application/JSON", None, true),
            ("image/svg+xml", None, true),
            ("image/png", None, false),
            ("text/css", Some("br"), false),
            ("", None, false),
        ] {
            let mut fields = HeaderMap::new();
            fields.insert(CONTENT_TYPE, kind.parse().unwrap());
            fields.extend(encoding.map(|encoding| (CONTENT_ENCODING, encoding.parse().unwrap())));
            assert_eq!(is_text(&fields), is, "{kind}");
        }
    }
}
