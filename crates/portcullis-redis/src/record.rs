//! A session as the fields of a hash.
use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use portcullis_authn::{SessionDigest, SessionRecord, StoreError};
use portcullis_core::Identity;

/// Microseconds since 1970.
pub(crate) fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

fn time(micros: u64) -> SystemTime {
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

/// What the fields of a hash are; `None` where there are none.
pub(crate) fn record(
    digest: SessionDigest,
    mut fields: HashMap<String, String>,
) -> Result<Option<SessionRecord>, StoreError> {
    if fields.is_empty() {
        return Ok(None);
    }
    let wrong =
        |name: &str| StoreError(format!("a session has a field `{name}` that is none").into());
    let number = |name: &str| {
        let number = fields.get(name).and_then(|text| text.parse::<u64>().ok());
        number.ok_or_else(|| wrong(name))
    };
    let mut record = SessionRecord::new(digest, time(number("created")?), time(number("expires")?));
    record.used = time(number("used")?);
    record.version = number("version")?;
    if let Some(text) = fields.get("identity") {
        let value = serde_json::from_str(text).ok();
        let read = value.as_ref().and_then(Identity::from_json);
        // Nobody is let in as nobody, where it was somebody.
        record.identity = Some(read.ok_or_else(|| wrong("identity"))?);
    }
    record.data = fields.remove("data").unwrap_or_default().into();
    record.agent = fields.remove("agent").map(Into::into);
    Ok(Some(record))
}
