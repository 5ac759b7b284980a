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

pub(crate) fn time(micros: i64) -> SystemTime {
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

/// What of a session is bound to a statement, as a database has it.
pub(crate) struct Bound {
    pub(crate) digest: [u8; 32],
    pub(crate) owner: Option<Vec<u8>>,
    pub(crate) identity: Option<String>,
    pub(crate) created: i64,
    pub(crate) used: i64,
    pub(crate) expires: i64,
    pub(crate) version: i64,
}

impl Bound {
    pub(crate) fn of(record: &SessionRecord) -> Self {
        Self {
            digest: *record.digest.as_bytes(),
            owner: record.owner().map(|owner| owner_digest(&owner)),
            identity: record.identity.as_ref().map(|identity| identity.to_json().to_string()),
            created: micros(record.created),
            used: micros(record.used),
            expires: micros(record.expires),
            version: signed(record.version),
        }
    }
}

/// A session, if the row is one. One that cannot be read is none: nobody is let in by it, and as nobody neither.
pub(crate) fn record(row: Row) -> Option<SessionRecord> {
    let (id, identity, created, used, expires, data, version, agent) = row;
    let id = digest(id).ok()?;
    let mut record = SessionRecord::new(id, time(created), time(expires));
    record.used = time(used);
    record.data = data.into();
    record.version = u64::try_from(version).ok()?;
    record.agent = agent.map(Into::into);
    if let Some(text) = identity {
        let value = serde_json::from_str(&text).ok();
        let read = value.as_ref().and_then(Identity::from_json);
        if read.is_none() {
            tracing::warn!("the session {} is none that this program can read", id.name());
        }
        record.identity = Some(read?);
    }
    Some(record)
}
