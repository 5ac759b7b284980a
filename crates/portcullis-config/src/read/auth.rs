//! `[auth]`: who somebody is.
use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use portcullis_authn::{ApiKey, ApiKeys, CertificateHolder, ClientCertificates, StoredKeys};
use portcullis_core::Revocation;

use super::header_name;
use super::routes::IssuerNames;
use crate::keys;
use crate::reader::{Span, Table};
use crate::stores::Later;

pub(super) fn keys(
    auth: Option<&Table<'_>>,
    (stores, names): (&[Later], &[String]),
    places: &mut HashMap<String, Span>,
) -> ApiKeys {
    let mut all = ApiKeys::new();
    let Some(table) = auth.and_then(|auth| auth.table("api_key", keys::API_KEY)) else {
        return all;
    };
    if let Some(header) = table.parsed("header", header_name) {
        all = all.header(header.value);
    }
    if table.flag("basic") == Some(true) {
        all = all.basic();
    }
    if let Some(store) = super::stores::named(&table, stores, names) {
        if store.store().has_tables() {
            all = all.stored(StoredKeys::new(store.clone()).users(store));
        } else {
            let error = table.error("Redis keeps no keys");
            table.push(error.hint("name a store with `sql`"));
        }
    }
    for key in table.tables("keys", keys::ONE_API_KEY) {
        let id = key.needed("id", "id = \"ci\"");
        if key.get("hash").is_none() {
            let error = key.error("`hash` is missing");
            key.push(error.hint(
                "add what `portcullis key` prints beside a new key; of one that you have, what `printf %s KEY | sha256sum` says",
            ));
        }
        let hash = key.parsed("hash", digest);
        let roles = key.texts("roles");
        let (scopes, tenant) = (key.texts("scopes"), key.text("tenant"));
        let plan = key.text("plan");
        let expires = key.parsed("expires", time);
        let (Some(id), Some(hash)) = (id, hash) else { continue };
        places.insert(format!("API key `{}`", id.value), key.span.clone());
        // So that taking a key out of the file ends what is under way for it.
        let mut one = ApiKey::from_sha256(id.value, hash.value).revocation(Revocation::new());
        one = roles.into_iter().fold(one, |one, role| one.role(role.value));
        one = scopes.into_iter().fold(one, |one, scope| one.scope(scope.value));
        one = expires.into_iter().fold(one, |one, time| one.expires(time.value));
        one = tenant.into_iter().fold(one, |one, tenant| one.tenant(tenant.value));
        one = plan.into_iter().fold(one, |one, plan| one.plan(plan.value));
        all = all.key(one);
    }
    all
}

/// Who says who callers are, by the names of the file; nobody where nobody does.
pub(super) fn names(auth: Option<&Table<'_>>, tokens: &[(String, Table<'_>)]) -> IssuerNames {
    let schemes =
        [("api_key", ApiKeys::ISSUER), ("certificates", ClientCertificates::ISSUER)].into_iter();
    let schemes = schemes.filter(|(key, _)| auth.is_some_and(|auth| auth.get(key).is_some()));
    let mut names: IssuerNames =
        schemes.map(|(key, issuer)| (key.to_owned(), issuer.to_owned())).collect();
    for (name, table) in tokens {
        let issuer = table.text("issuer").map_or_else(String::new, |text| text.value);
        if names.insert(name.clone(), issuer).is_some() {
            let error = table.error(format!("another one is called `{name}`, and routes name it"));
            table.push(error.hint("call it something else"));
        }
    }
    names
}

/// Those who are known by their certificate; `None` where nobody is.
pub(super) fn certificates(
    auth: Option<&Table<'_>>,
    asked_for: bool,
    places: &mut HashMap<String, Span>,
) -> Option<ClientCertificates> {
    let tables = auth?.tables("certificates", keys::CERTIFICATE);
    let mut all = ClientCertificates::new();
    for table in &tables {
        if !asked_for {
            let error = table.error("nobody is asked for a certificate");
            table.push(error.hint("add `client_ca = \"clients.pem\"` to `[server]`"));
        }
        let Some(id) = table.needed("id", "id = \"billing\"") else { continue };
        places.insert(format!("certificate of `{}`", id.value), table.span.clone());
        let mut one = CertificateHolder::new(id.value);
        one = table.texts("dns").into_iter().fold(one, |one, name| one.dns(name.value));
        one = table.texts("uri").into_iter().fold(one, |one, name| one.uri(name.value));
        one = table
            .parsed("sha256", digest)
            .into_iter()
            .fold(one, |one, hash| one.sha256(hash.value));
        one = table.texts("roles").into_iter().fold(one, |one, role| one.role(role.value));
        one = table.text("tenant").into_iter().fold(one, |one, tenant| one.tenant(tenant.value));
        all = all.holder(one);
    }
    (!tables.is_empty()).then_some(all)
}

/// A moment, in UTC (RFC 3339).
fn time(text: &str) -> Result<SystemTime, String> {
    let wrong = || format!("`{text}` is no moment: write `2027-01-31T00:00:00Z`");
    let moment: toml::value::Datetime = text.parse().map_err(|_| wrong())?;
    let (Some(date), Some(time), Some(toml::value::Offset::Z)) =
        (moment.date, moment.time, moment.offset)
    else {
        return Err(wrong());
    };
    let days = days_since_1970(date.year.into(), date.month.into(), date.day.into());
    let (hours, minutes) = (u64::from(time.hour), u64::from(time.minute));
    let seconds = hours * 3_600 + minutes * 60 + u64::from(time.second.unwrap_or(0));
    let seconds = days.ok_or_else(wrong)? * 86_400 + seconds;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).ok_or_else(wrong)
}

/// In the calendar that everybody uses.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    // From March on, so that the day that is now there and now not is the last.
    let (year, month) =
        if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let leaps = year / 4 - year / 100 + year / 400;
    let days = year * 365 + leaps + (month * 153 + 2) / 5 + day - 1;
    days.checked_sub(719_468)
}

fn digest(text: &str) -> Result<[u8; 32], String> {
    let wrong =
        || "a digest is 64 hexadecimal digits: `printf %s KEY | sha256sum` prints it".to_owned();
    let mut digest = [0; 32];
    let pairs: Vec<_> = text.as_bytes().chunks(2).collect();
    if pairs.len() != digest.len() {
        return Err(wrong());
    }
    for (byte, pair) in digest.iter_mut().zip(pairs) {
        let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
        *byte = Some(pair)
            .filter(|pair| pair.len() == 2 && pair.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|pair| u8::from_str_radix(pair, 16).ok())
            .ok_or_else(wrong)?;
    }
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_read_as_it_is_meant() {
        for (text, want) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T12:34:56Z", Some(951_827_696)),
            ("2027-01-31T00:00:00Z", Some(1_801_353_600)),
            ("2100-03-01T00:00:00Z", Some(4_107_542_400)),
            ("1969-12-31T23:59:59Z", None),
            ("2027-01-31T00:00:00+01:00", None),
            ("2027-01-31", None),
            ("2027-02-30T00:00:00Z", None),
            ("tomorrow", None),
        ] {
            let read = time(text)
                .ok()
                .map(|time| time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs());
            assert_eq!(read, want, "{text}");
        }
    }
}
