//! A session as a row.
use std::time::{Duration, SystemTime};

use portcullis_authn::{SessionDigest, SessionRecord, StoreError};
use portcullis_core::Identity;
use sha2::{Digest, Sha256};

/// The columns of a session: digest, identity, created, used, expires, data, version, agent.
pub(crate) type Row = (Vec<u8>, Option<String>, i64, i64, i64, String, i64, Option<String>);

/// Microseconds since 1970.
pub(crate) fn micros(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

fn time(micros: i64) -> SystemTime {
    let since = Duration::from_micros(u64::try_from(micros).unwrap_or_default());
    SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// What an owner is known by: no collation makes two owners of one digest.
pub(crate) fn owner_digest(owner: &str) -> Vec<u8> {
    Sha256::digest(owner.as_bytes()).to_vec()
}

pub(crate) fn failed(error: sqlx::Error) -> StoreError {
    StoreError(error.into())
}

/// A version as a database has it.
pub(crate) fn signed(version: u64) -> i64 {
    i64::try_from(version).unwrap_or(i64::MAX)
}

pub(crate) fn digest(bytes: Vec<u8>) -> Result<SessionDigest, StoreError> {
    let bytes = <[u8; 32]>::try_from(bytes);
    let wrong = |_| StoreError("a row of portcullis_sessions has a digest that is none".into());
    bytes.map(SessionDigest::from_bytes).map_err(wrong)
}

pub(crate) fn record(row: Row) -> Result<SessionRecord, StoreError> {
    let (id, identity, created, used, expires, data, version, agent) = row;
    let mut record = SessionRecord::new(digest(id)?, time(created), time(expires));
    record.used = time(used);
    record.data = data.into();
    record.version = u64::try_from(version).unwrap_or_default();
    record.agent = agent.map(Into::into);
    if let Some(text) = identity {
        let value = serde_json::from_str(&text).ok();
        let read = value.as_ref().and_then(Identity::from_json);
        let wrong =
            || StoreError("a row of portcullis_sessions has an identity that is none".into());
        // Nobody is let in as nobody, where it was somebody.
        record.identity = Some(read.ok_or_else(wrong)?);
    }
    Ok(record)
}
