//! Whether a response may be stored, and what of it (RFC 9111, section 3).
use std::time::Duration;

use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_TYPE, DATE, ETAG, LAST_MODIFIED, SET_COOKIE, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use http::header::{HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderName, Method, StatusCode, response};

use super::control::{Directives, Wishes};
use super::{
    Asked, Facts, Flags, NoVarySearch, NotStored, Preset, Rules, Stored, Times, date, freshness,
    invalidate, range, vary,
};
use crate::Scope;

impl Stored {
    /// Reads a response to `asked`, which is a `GET` or a `QUERY`: what is stored of it, or why it is not.
    ///
    /// `scope` is who shares it where it does not say that everybody may; with `public` or `s-maxage` it is [`Scope::Public`]. `default_ttl` is how long it is good
    /// where it says nothing about it.
    ///
    /// # Errors
    /// Why it is not stored.
    pub fn new(
        rules: &Rules,
        scope: Scope,
        default_ttl: Option<Duration>,
        asked: Asked<'_>,
        head: &response::Parts,
        times: Times,
    ) -> Result<Self, NotStored> {
        if !matches!(asked.method.as_str(), "GET" | "QUERY") {
            return Err(NotStored::Method);
        }
        let said = Directives::of(rules, &head.headers);
        read(
            rules,
            said.widen(scope),
            default_ttl,
            asked,
            (head.status, &head.headers),
            &said,
            times,
        )
    }
    /// Reads a response to a `POST` to `url` that a later `GET` is answered with: it says how long it is good, and by `Content-Location` that it is what is at
    /// that URL (RFC 9110, section 9.3.3).
    ///
    /// # Errors
    /// Why it is not stored.
    pub fn of_post(
        rules: &Rules,
        scope: Scope,
        asked: Asked<'_>,
        url: &str,
        head: &response::Parts,
        times: Times,
    ) -> Result<Self, NotStored> {
        let is_itself = invalidate::content_location(url, &head.headers)
            .is_some_and(|location| location == url);
        // 201 tells of what was made, and a part or an error is no state of the resource.
        if asked.method != Method::POST || head.status != StatusCode::OK || !is_itself {
            return Err(NotStored::Method);
        }
        let said = Directives::of(rules, &head.headers);
        let scope = said.widen(scope);
        let stored = read(rules, scope, None, asked, (head.status, &head.headers), &said, times)?;
        if stored.facts.flags.has(Flags::EXPLICIT) { Ok(stored) } else { Err(NotStored::Unknown) }
    }
}

/// Reads what could be stored, whatever the method was.
pub(super) fn read(
    rules: &Rules,
    scope: Scope,
    default_ttl: Option<Duration>,
    asked: Asked<'_>,
    (status, headers): (StatusCode, &HeaderMap),
    said: &Directives,
    times: Times,
) -> Result<Stored, NotStored> {
    may_be_kept(rules, scope, asked, (status, headers), said)?;
    let mut kept = end_to_end(headers);
    for (why, name) in &said.unstored {
        if *why == Flags::NO_CACHE || scope != Scope::Identity {
            kept.remove(name);
        }
    }
    // A cookie that one gets must not reach another. It is refused rather than taken out: the page beside it is likely to be about whoever gets it.
    if rules.preset == Preset::Application && kept.contains_key(SET_COOKIE) {
        return Err(NotStored::SetCookie);
    }
    let vary = vary::capture(headers, asked.headers)?;
    let facts = freshness::facts(rules, default_ttl, (status, headers), said, times);
    is_of_use(rules, scope, status, &kept, said, (facts, default_ttl))?;
    if !kept.contains_key(DATE) {
        // RFC 9110, section 6.6.1.
        let value = HeaderValue::try_from(date::format(times.received.0 / 1000));
        kept.extend(value.ok().map(|value| (DATE, value)));
    }
    let tags = invalidate::tags(headers);
    let search = NoVarySearch::of(&kept).map(Box::new);
    let is_explicitly_public = is_for_all(rules, said.flags);
    Ok(Stored {
        status,
        headers: kept,
        times,
        vary,
        tags,
        scope,
        is_explicitly_public,
        facts,
        search,
    })
}

/// What forbids storing.
fn may_be_kept(
    rules: &Rules,
    scope: Scope,
    asked: Asked<'_>,
    (status, headers): (StatusCode, &HeaderMap),
    said: &Directives,
) -> Result<(), NotStored> {
    let must_understand = said.flags.has(Flags::MUST_UNDERSTAND);
    if !is_of_its_own(status) || must_understand && status.canonical_reason().is_none() {
        return Err(NotStored::Status);
    }
    // A cache that understands the status does not mind `no-store` beside `must-understand` (section 5.2.2.3).
    if Wishes::of(asked.headers).no_store || said.flags.has(Flags::NO_STORE) && !must_understand {
        return Err(NotStored::NoStore);
    }
    if said.flags.has(Flags::PRIVATE) && scope != Scope::Identity {
        return Err(NotStored::Private);
    }
    let has_authorization = asked.headers.contains_key(AUTHORIZATION);
    let is_somebodys = match rules.preset {
        Preset::Application => asked.is_authenticated || has_authorization,
        Preset::Rfc => has_authorization,
    };
    if is_somebodys && scope == Scope::Public && !is_for_all(rules, said.flags) {
        return Err(NotStored::Authenticated);
    }
    if status == StatusCode::PARTIAL_CONTENT && !is_one_part(headers) {
        return Err(NotStored::Part);
    }
    Ok(())
}

/// Whether it could ever be used: it is known how long it is good, or it can be validated.
fn is_of_use(
    rules: &Rules,
    scope: Scope,
    status: StatusCode,
    kept: &HeaderMap,
    said: &Directives,
    (facts, default_ttl): (Facts, Option<Duration>),
) -> Result<(), NotStored> {
    let is_explicit = facts.flags.has(Flags::EXPLICIT);
    let has_validator = has_validator(kept);
    let is_default = is_cacheable_by_default(status) || said.flags.has(Flags::PUBLIC);
    let has_default = default_ttl.is_some() && is_default && !said.flags.has(Flags::NO_CACHE);
    if !is_explicit && !has_default {
        // Nobody said how long it is good.
        let says_enough = rules.preset == Preset::Rfc || said.is_said;
        if scope != Scope::Public || !is_default || !has_validator || !says_enough {
            return Err(NotStored::Unknown);
        }
    }
    let is_ever_fresh = facts.lifetime > 0
        && !facts.flags.has(Flags::NO_CACHE)
        // Under `rfc` clients may take it with `max-stale`.
        && (rules.preset == Preset::Rfc || facts.age < u64::from(facts.lifetime) * 1000);
    let is_good_when_stale = facts.while_revalidating > 0 || facts.if_error > 0;
    let is_usable_stale = is_good_when_stale && !facts.forbids_stale(rules.preset);
    if is_ever_fresh || has_validator || is_usable_stale { Ok(()) } else { Err(NotStored::Stale) }
}

/// Whether others may get what an authenticated request got (section 3.5).
pub(super) fn is_for_all(rules: &Rules, flags: Flags) -> bool {
    let by_rfc = rules.preset == Preset::Rfc && flags.has(Flags::MUST_REVALIDATE);
    by_rfc || flags.has(Flags::PUBLIC) || flags.has(Flags::SHARED)
}

/// Whether a response with this status is final, and one that a later request without the same conditions or ranges could get. 428, 429, 431 and 511 are
/// never stored (RFC 6585).
fn is_of_its_own(status: StatusCode) -> bool {
    !status.is_informational()
        && !matches!(status.as_u16(), 304 | 412 | 416 | 417 | 428 | 429 | 431 | 511)
}

/// Whether the status alone lets a response be stored (RFC 9110, section 15.1).
pub(super) fn is_cacheable_by_default(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

fn is_one_part(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let is_several = content_type
        .get(..20)
        .is_some_and(|text| text.eq_ignore_ascii_case(b"multipart/byteranges"));
    !is_several && range::content_range(headers).is_some()
}

/// Whether a response says what it can be validated by.
pub(super) fn has_validator(headers: &HeaderMap) -> bool {
    headers.contains_key(ETAG) || headers.contains_key(LAST_MODIFIED)
}

/// The value in memory of its own: as it came, it may keep the whole buffer alive that it was read into.
fn own(value: &HeaderValue) -> HeaderValue {
    HeaderValue::from_bytes(value.as_bytes()).map_or_else(
        |_| value.clone(),
        |mut own| {
            own.set_sensitive(value.is_sensitive());
            own
        },
    )
}

/// Without the fields of the connection, and of a proxy (section 3.1; RFC 9110, section 7.6.1).
pub(super) fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let mut kept: HeaderMap = headers.iter().map(|(name, value)| (name, own(value))).fold(
        HeaderMap::with_capacity(headers.len()),
        |mut kept, (name, value)| {
            kept.append(name, value);
            kept
        },
    );
    for line in headers.get_all(CONNECTION) {
        let names = line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        for name in names.filter_map(|name| HeaderName::from_bytes(name).ok()) {
            kept.remove(name);
        }
    }
    for name in
        [CONNECTION, TE, TRANSFER_ENCODING, UPGRADE, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION]
    {
        kept.remove(name);
    }
    for name in ["keep-alive", "proxy-connection", "proxy-authentication-info"] {
        kept.remove(name);
    }
    kept
}
