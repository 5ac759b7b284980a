//! A variant as the scripts know it.
use std::sync::Arc;

use portcullis_cache::Key;
use portcullis_cache::policy::Stored;
use portcullis_cache::store::Mark;
use sha2::{Digest, Sha256};

/// How many bytes the name of a body has.
pub(super) const NAME: usize = 16;
/// When it was stored and until when it is kept: what scripts put before what they are given.
const TIMES: usize = 16;
/// How many digests it can be purged by. More than that are more than the fields of a response have room for.
const MOST_NAMES: usize = 4_096;

/// By what something is purged: of what it names.
pub(super) fn digest(text: &str) -> [u8; 16] {
    let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    digest.first_chunk().copied().unwrap_or_default()
}

/// A field of a record.
pub(super) fn field(head: &Stored) -> Vec<u8> {
    [b"v".as_slice(), &head.variant()].concat()
}

/// A body: its name, and how many bytes and pieces it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Body {
    pub(super) name: [u8; NAME],
    pub(super) len: u64,
    pub(super) pieces: u32,
}

/// What is stored of a variant, but for the times. `None` where it can be purged by so much that nobody could tell.
pub(super) fn pack(key: &Key, head: &Stored, mark: Mark, body: Body) -> Option<Vec<u8>> {
    let names: Vec<[u8; 16]> = head.purged_by(key).map(|text| digest(&text)).collect();
    let count = u16::try_from(names.len()).ok().filter(|_| names.len() <= MOST_NAMES)?;
    let mut packed = Vec::new();
    packed.extend(mark.0.to_le_bytes());
    packed.extend(body.name);
    packed.extend(body.len.to_le_bytes());
    packed.extend(body.pieces.to_le_bytes());
    packed.extend(count.to_le_bytes());
    packed.extend(names.as_flattened());
    packed.extend(head.to_bytes());
    Some(packed)
}

/// What a script has answered: the head and the body.
pub(super) fn unpack(packed: &[u8]) -> Option<(Arc<Stored>, Body)> {
    let mut rest = packed.get(TIMES + 8..)?;
    let body = Body {
        name: take(&mut rest)?,
        len: u64::from_le_bytes(take(&mut rest)?),
        pieces: u32::from_le_bytes(take(&mut rest)?),
    };
    let names = usize::from(u16::from_le_bytes(take(&mut rest)?));
    let head = Stored::from_bytes(rest.get(16 * names..)?)?;
    Some((Arc::new(head), body))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(*taken)
}
