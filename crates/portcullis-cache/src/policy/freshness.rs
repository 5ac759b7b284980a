//! How old a response is, how long it is good, and what may be done with it then (RFC 9111, section 4.2; RFC 5861; RFC 8246).
use std::time::Duration;

use http::header::{AGE, DATE, EXPIRES, LAST_MODIFIED};
use http::{HeaderMap, HeaderName, StatusCode};

use super::control::{Directives, FOREVER, Wishes, seconds};
use super::{Asked, Flags, Judgement, Moment, Preset, Rules, Serve, Stored, Times, date, storable};

/// What follows from the fields of a response, computed once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// When it was made: its `Date`, or when it arrived.
    pub(crate) date: Moment,
    /// How old it was when it arrived, in milliseconds (section 4.2.3).
    pub(crate) age: u64,
    /// How long it is good, in seconds (section 4.2.1).
    pub(crate) lifetime: u32,
    /// How long it may be served stale while it is validated, in seconds (RFC 5861, section 3).
    pub(crate) while_revalidating: u32,
    /// How long it may be served stale when the origin fails, in seconds (RFC 5861, section 4).
    pub(crate) if_error: u32,
    /// What it says beyond numbers.
    pub(crate) flags: Flags,
}

impl Facts {
    /// Whether it must not be served stale, whoever asks (section 4.2.4).
    pub(super) fn forbids_stale(&self, preset: Preset) -> bool {
        let is_said = |flag| self.flags.has(flag);
        if is_said(Flags::NO_CACHE)
            || is_said(Flags::MUST_REVALIDATE)
            || is_said(Flags::PROXY_REVALIDATE)
        {
            return true;
        }
        // `s-maxage` implies `proxy-revalidate` (section 5.2.2.10). Many origins write `s-maxage=10, stale-while-revalidate=60` and mean both: `application` takes them at
        // their word.
        let says_stale = self.while_revalidating > 0 || self.if_error > 0;
        is_said(Flags::SHARED) && !(says_stale && preset == Preset::Application)
    }
}

/// Computes them.
pub(super) fn facts(
    rules: &Rules,
    default_ttl: Option<Duration>,
    (status, headers): (StatusCode, &HeaderMap),
    said: &Directives,
    times: Times,
) -> Facts {
    let received = times.received.0 / 1000;
    let dated = one_date(headers, &DATE, received).unwrap_or(received);
    let mut flags = said.flags;
    let lifetime = match explicit(headers, said, dated, received) {
        Some(lifetime) => {
            flags.add(Flags::EXPLICIT);
            lifetime
        }
        None => assumed(rules, default_ttl, (status, headers), said, (dated, received)),
    };
    Facts {
        date: Moment(dated.saturating_mul(1000)),
        age: age_on_arrival(headers, dated, times),
        lifetime,
        while_revalidating: said.while_revalidating.unwrap_or(0),
        if_error: said.if_error.unwrap_or(0),
        flags,
    }
}

/// Section 4.2.3, in milliseconds. The clock's fraction of a second is not held against the response: its `Date` has none.
fn age_on_arrival(headers: &HeaderMap, dated: u64, times: Times) -> u64 {
    let apparent = (times.received.0 / 1000).saturating_sub(dated).saturating_mul(1000);
    let delay = times.received.0.saturating_sub(times.requested.0);
    let corrected = (u64::from(said_age(headers)) * 1000).saturating_add(delay);
    apparent.max(corrected)
}

/// The first member of `Age`; 0 if it is not a number (section 5.1).
fn said_age(headers: &HeaderMap) -> u32 {
    let line = headers.get(AGE).map(http::HeaderValue::as_bytes).unwrap_or_default();
    line.split(|byte| *byte == b',')
        .next()
        .and_then(|first| seconds(first.trim_ascii()))
        .unwrap_or(0)
}

/// What the origin says (section 4.2.1).
fn explicit(headers: &HeaderMap, said: &Directives, dated: u64, now: u64) -> Option<u32> {
    if let Some(lifetime) = said.s_maxage.or(said.max_age) {
        return Some(lifetime);
    }
    if said.is_targeted || !headers.contains_key(EXPIRES) {
        return None;
    }
    // What is no date is in the past, and so is what is two (section 5.3).
    let until = one_date(headers, &EXPIRES, now).unwrap_or(0);
    Some(
        u32::try_from(until.saturating_sub(dated))
            .map_or(FOREVER, |lifetime| lifetime.min(FOREVER)),
    )
}

/// Where it says nothing (section 4.2.2).
fn assumed(
    rules: &Rules,
    default_ttl: Option<Duration>,
    (status, headers): (StatusCode, &HeaderMap),
    said: &Directives,
    (dated, now): (u64, u64),
) -> u32 {
    let is_default = storable::is_cacheable_by_default(status) || said.flags.has(Flags::PUBLIC);
    if said.flags.has(Flags::NO_CACHE) || !is_default {
        return 0;
    }
    let rule_of_thumb = || {
        let changed =
            one_date(headers, &LAST_MODIFIED, now).filter(|_| rules.preset == Preset::Rfc)?;
        Some((dated.saturating_sub(changed) / 10).min(rules.most_heuristic.as_secs()))
    };
    let lifetime = default_ttl.map(|ttl| ttl.as_secs()).or_else(rule_of_thumb).unwrap_or(0);
    u32::try_from(lifetime).map_or(FOREVER, |lifetime| lifetime.min(FOREVER))
}

/// In seconds since 1970; `None` if there is more than one, and they differ.
fn one_date(headers: &HeaderMap, name: &HeaderName, now: u64) -> Option<u64> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    if values.any(|other| other != first) {
        return None;
    }
    date::parse_near(first.to_str().ok()?.trim_matches([' ', '\t']), now)
}

impl Stored {
    /// How old it is, in whole seconds (section 4.2.3).
    pub fn age(&self, now: Moment) -> u64 {
        self.age_ms(now) / 1000
    }
    /// How many more seconds it is fresh; below zero since when it is stale.
    pub fn ttl(&self, now: Moment) -> i64 {
        let lifetime = i64::from(self.facts.lifetime) * 1000;
        let age = i64::try_from(self.age_ms(now)).unwrap_or(i64::MAX);
        lifetime.saturating_sub(age).div_euclid(1000)
    }
    fn age_ms(&self, now: Moment) -> u64 {
        self.facts.age.saturating_add(now.0.saturating_sub(self.times.received.0))
    }
    /// Whether it is fresh for whoever has no wishes.
    pub(crate) fn is_fresh(&self, now: Moment, is_stale: bool) -> bool {
        !is_stale
            && !self.facts.flags.has(Flags::NO_CACHE)
            && self.age_ms(now) < ms(self.facts.lifetime)
            && !self.is_of_the_future(now)
    }
    /// Whether the clock was far ahead when it was stored: then nobody knows how old it is.
    fn is_of_the_future(&self, now: Moment) -> bool {
        self.times.received.0 > now.0.saturating_add(AHEAD)
    }
    /// What may be done with it for a request that it [fits](Self::matches). `is_stale`: a soft purge has made it stale.
    pub fn judge(&self, rules: &Rules, asked: Asked<'_>, now: Moment, is_stale: bool) -> Judgement {
        let facts = &self.facts;
        let wishes = Wishes::of(asked.headers);
        let age = self.age_ms(now);
        let lifetime = ms(facts.lifetime);
        let is_fresh = self.is_fresh(now, is_stale);
        // What never changes is not too old for a client as long as it is fresh; `no-cache` is a stronger sign (RFC 8246, section 2).
        let is_too_old = wishes.max_age.is_some_and(|most| age > ms(most))
            && !(is_fresh && facts.flags.has(Flags::IMMUTABLE));
        let is_too_short =
            wishes.min_fresh.is_some_and(|least| lifetime.saturating_sub(age) < ms(least));
        if is_fresh && !wishes.no_cache && !is_too_old && !is_too_short {
            return Judgement::Fresh;
        }
        let forbids_stale = facts.forbids_stale(rules.preset);
        let late = age.saturating_sub(lifetime);
        let is_within = |window: u32| late < ms(window);
        // A fresh one that a client does not want is not served stale either: it is validated for it.
        let is_refused = forbids_stale
            || is_fresh
            || wishes.no_cache
            || is_too_old
            || wishes.min_fresh.is_some();
        let serve = if is_refused {
            Serve::No
        } else if is_within(facts.while_revalidating) {
            Serve::WhileRevalidating
        } else if !is_stale
            && wishes.max_stale.is_some_and(|most| most == u32::MAX || late <= ms(most))
        {
            Serve::AsAsked
        } else {
            Serve::No
        };
        let if_error =
            !forbids_stale && is_within(facts.if_error.max(wishes.if_error.unwrap_or(0)));
        Judgement::Stale { serve, if_error }
    }
    /// Whether it may be used stale where the origin cannot be reached, without a word of the origin about it (section 4.2.4). The preset `application` wants to be told so.
    pub(crate) fn stands_in(&self, rules: &Rules, asked: Asked<'_>, is_stale: bool) -> bool {
        rules.preset == Preset::Rfc
            && !self.facts.forbids_stale(rules.preset)
            && !is_stale
            && !Wishes::of(asked.headers).no_cache
    }
}

/// How far the clocks of replicas may be apart, in milliseconds.
const AHEAD: u64 = 60_000;

fn ms(seconds: u32) -> u64 {
    u64::from(seconds) * 1000
}
