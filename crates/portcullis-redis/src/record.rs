//! A session as the fields of a hash.
use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use portcullis_authn::{SessionDigest, SessionRecord};
use portcullis_core::Identity;

/// Microseconds since 1970.
pub(crate) fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

pub(crate) fn time(micros: u64) -> SystemTime {
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(micros));
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The fields of a session, but for its data and their version.
pub(crate) fn fields(record: &SessionRecord) -> Vec<(&'static str, String)> {
    let mut fields = vec![
        ("created", micros(record.created).to_string()),
        ("used", micros(record.used).to_string()),
        ("expires", micros(record.expires).to_string()),
    ];
    if let (Some(identity), Some(owner)) = (&record.identity, record.owner()) {
        fields.push(("identity", identity.to_json().to_string()));
        fields.push(("owner", owner));
    }
    if let Some(agent) = &record.agent {
        fields.push(("agent", agent.to_string()));
    }
    fields
}

/// What the fields of a hash are; `None` where they are no session. One that cannot be read is none: nobody is let in by it, and as nobody neither.
pub(crate) fn record(
    digest: SessionDigest,
    fields: HashMap<String, String>,
) -> Option<SessionRecord> {
    if fields.is_empty() {
        return None;
    }
    let record = read(digest, fields);
    if record.is_none() {
        tracing::warn!("the session {} is none that this program can read", digest.name());
    }
    record
}

fn read(digest: SessionDigest, mut fields: HashMap<String, String>) -> Option<SessionRecord> {
    let number = |name: &str| fields.get(name)?.parse::<u64>().ok();
    let mut record = SessionRecord::new(digest, time(number("created")?), time(number("expires")?));
    record.used = time(number("used")?);
    record.version = number("version")?;
    if let Some(text) = fields.get("identity") {
        record.identity = Some(Identity::from_json(&serde_json::from_str(text).ok()?)?);
    }
    record.data = fields.remove("data").unwrap_or_default().into();
    record.agent = fields.remove("agent").map(Into::into);
    Some(record)
}
