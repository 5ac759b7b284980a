//! The short way: a plain `GET` of something public that is stored and good.
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    AGE, AUTHORIZATION, CACHE_CONTROL, COOKIE, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    IF_UNMODIFIED_SINCE, PRAGMA, RANGE, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as HttpBody;
use portcullis_core::{Body, Context};

use crate::content;
use crate::key::{Key, Place};
use crate::option::Cached;
use crate::policy::{Asked, Content};
use crate::shared::{Shared, hide};
use crate::stats::Event;
use crate::status::{CACHE_STATUS, Handled};
use crate::store::StoredBody;

/// Fields that make a request one that has to be looked at.
const SPECIAL: [HeaderName; 10] = [
    AUTHORIZATION,
    CACHE_CONTROL,
    COOKIE,
    IF_MATCH,
    IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
    IF_UNMODIFIED_SINCE,
    PRAGMA,
    RANGE,
    UPGRADE,
];

/// The answer, where nothing about the request or about what is stored needs a decision: what [`Exchange`](crate::exchange::Exchange) would answer too.
pub(crate) fn answer<B: HttpBody>(
    shared: &Arc<Shared>,
    context: &Context,
    request: &Request<B>,
) -> Option<Response<Body>> {
    let (method, headers) = (request.method(), request.headers());
    let is_plain = *method == Method::GET
        && context.identity().is_none()
        && !shared.searches.is_any()
        && request.body().is_end_stream()
        && !headers.keys().any(|name| SPECIAL.contains(name));
    let is_cached = context.route().is_none_or(|route| {
        route.access().is_public() && route.options().get::<Cached>().is_some()
    });
    if !is_plain || !is_cached {
        return None;
    }
    let place = Place::of(context, request.uri(), headers, shared.stand)?;
    let key = Key::public(place, place.query());
    let found = shared.store.find_now(&key)?;
    let [entry] = &*found.entries else { return None };
    let StoredBody::Here(pieces) = &entry.body else { return None };
    let now = context.clock().wall().into();
    let asked = Asked { method, headers, is_authenticated: false };
    let head = &entry.head;
    let is_good = head.status() != StatusCode::PARTIAL_CONTENT
        && head.is_fresh(now, entry.is_stale)
        && head.matches(asked);
    if !is_good {
        return None;
    }
    let (mut fields, ttl) = (head.headers().clone(), head.ttl(now));
    fields.insert(AGE, HeaderValue::from(head.age(now)));
    if shared.hides_tags && !head.tags().is_empty() {
        hide(&mut fields);
    }
    say(shared, &mut fields, ttl);
    shared.stats.count(Event::Hit);
    context.note("cache", || Handled::hit(ttl).to_string());
    let mut response = Response::new(content::at_hand(&Content::Whole, pieces));
    *response.status_mut() = head.status();
    *response.headers_mut() = fields;
    Some(response)
}

/// The same as [`Handled::say`], without the machinery that writes any kind of text.
fn say(shared: &Shared, headers: &mut HeaderMap, ttl: i64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut left = ttl.unsigned_abs();
    for digit in digits.iter_mut().rev() {
        // A remainder of ten is one digit.
        *digit = b'0' + u8::try_from(left % 10).unwrap_or(0);
        left /= 10;
        at -= 1;
        if left == 0 {
            break;
        }
    }
    let digits = digits.get(at..).unwrap_or_default();
    let parts = [shared.name.as_bytes(), b"; hit; ttl=", digits];
    if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(parts.concat())) {
        headers.append(CACHE_STATUS, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CacheLayer;

    #[test]
    fn says_what_is_said_the_long_way() {
        let shared = CacheLayer::in_memory(1 << 20).name("shop").shared();
        for ttl in [0, 7, 10, 59, 3_600, i64::MAX] {
            let (mut quick, mut long) = (HeaderMap::new(), HeaderMap::new());
            say(&shared, &mut quick, ttl);
            Handled::hit(ttl).say(&shared.name, &mut long);
            assert_eq!(quick, long);
        }
    }
}
