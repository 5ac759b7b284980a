//! What a 304, or the answer to a `HEAD`, changes in a stored response (RFC 9111, sections 3.2, 4.3.4 and 4.3.5).
use std::time::Duration;

use http::header::{
    AGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, EXPIRES,
    LAST_MODIFIED, SET_COOKIE,
};
use http::{HeaderMap, HeaderName, HeaderValue, response};

use super::control::Directives;
use super::{Asked, Preset, Rules, Stored, Times, storable};
use crate::Scope;

impl Stored {
    /// What is stored after a 304 to a request that [asked again](Self::ask_again). `None` where the 304 is about another response, or what it says forbids
    /// storing: then the origin has to be asked without conditions.
    #[must_use]
    pub fn refreshed(
        &self,
        rules: &Rules,
        default_ttl: Option<Duration>,
        asked: Asked<'_>,
        head: &response::Parts,
        times: Times,
    ) -> Option<Self> {
        is_about(&self.headers, &head.headers)
            .then(|| self.updated(rules, default_ttl, asked, head, times))?
    }
    /// What is stored after a 200 to a `HEAD`. `None` where it shows that the response has changed: then what is stored is stale.
    #[must_use]
    pub fn refreshed_by_head(
        &self,
        rules: &Rules,
        default_ttl: Option<Duration>,
        asked: Asked<'_>,
        head: &response::Parts,
        times: Times,
    ) -> Option<Self> {
        let (ours, theirs) = (&self.headers, &head.headers);
        let is_same =
            |name: &HeaderName| theirs.get(name).is_none_or(|value| ours.get(name) == Some(value));
        // A body that came in pieces had no length beforehand.
        let has_same_length = !ours.contains_key(CONTENT_LENGTH) || is_same(&CONTENT_LENGTH);
        if head.status != self.status
            || !is_same(&ETAG)
            || !is_same(&LAST_MODIFIED)
            || !has_same_length
        {
            return None;
        }
        self.updated(rules, default_ttl, asked, head, times)
    }
    /// Takes over the new fields. What tells how the stored body is to be read stays: the new response did not bring another.
    fn updated(
        &self,
        rules: &Rules,
        default_ttl: Option<Duration>,
        asked: Asked<'_>,
        head: &response::Parts,
        times: Times,
    ) -> Option<Self> {
        let mut new = storable::end_to_end(&head.headers);
        let says_for_all =
            || storable::is_for_all(rules, Directives::of(rules, &head.headers).flags);
        if self.scope == Scope::Public && asked.is_authenticated && !says_for_all() {
            // What it says to somebody is not for everybody: only how long what is stored is good is.
            let of_all = [AGE, CACHE_CONTROL, DATE, ETAG, EXPIRES, LAST_MODIFIED];
            let personal: Vec<_> =
                new.keys().filter(|name| !of_all.contains(name)).cloned().collect();
            for name in personal {
                new.remove(name);
            }
        }
        for name in [CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_RANGE] {
            new.remove(name);
        }
        if rules.preset == Preset::Application {
            // It is for the client that asked; that it is there does not make what is stored personal.
            new.remove(SET_COOKIE);
        }
        let mut headers = self.headers.clone();
        // They told of the old response.
        headers.remove(AGE);
        headers.remove(DATE);
        for name in new.keys() {
            headers.remove(name);
        }
        for (name, value) in &new {
            headers.append(name, value.clone());
        }
        let said = Directives::of(rules, &headers);
        storable::read(rules, self.scope, default_ttl, asked, (self.status, &headers), &said, times)
            .ok()
    }
}

/// Whether a 304 is about a stored response (section 4.3.4). One without validators is, as only this one was asked about.
fn is_about(stored: &HeaderMap, new: &HeaderMap) -> bool {
    if let Some(tag) = new.get(ETAG) {
        let Some(ours) = stored.get(ETAG) else { return false };
        return tag == ours
            || weak(tag).is_some_and(|tag| tag == weak(ours).unwrap_or(ours.as_bytes()));
    }
    match (new.get(LAST_MODIFIED), stored.get(LAST_MODIFIED)) {
        (Some(new), Some(stored)) => new == stored,
        _ => true,
    }
}

/// What a weak tag says.
fn weak(tag: &HeaderValue) -> Option<&[u8]> {
    tag.as_bytes().strip_prefix(b"W/")
}
