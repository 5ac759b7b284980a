//! Stored responses and requests for the tests of this module.
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use smallvec::SmallVec;

use super::{Asked, Facts, Flags, Moment, NoVarySearch, Stored, Times};
use crate::Scope;

/// Wed, 01 Jan 2025 00:00:00 GMT, in seconds.
pub(super) const START: u64 = 1_735_689_600;
pub(super) const START_DATE: &str = "Wed, 01 Jan 2025 00:00:00 GMT";

pub(super) fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    let field = |(name, value): &(&str, &str)| {
        (HeaderName::try_from(*name).unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
    };
    let mut headers = HeaderMap::new();
    for (name, value) in fields.iter().map(field) {
        headers.append(name, value);
    }
    headers
}

/// What has arrived at [`START`], good for an hour.
pub(super) fn stored(status: u16, fields: &[(&str, &str)]) -> Stored {
    let headers = headers(fields);
    let start = Moment(START * 1000);
    Stored {
        status: StatusCode::from_u16(status).unwrap(),
        times: Times { requested: start, received: start },
        vary: SmallVec::new(),
        tags: SmallVec::new(),
        scope: Scope::Public,
        is_explicitly_public: false,
        facts: Facts {
            date: start,
            age: 0,
            lifetime: 3600,
            while_revalidating: 0,
            if_error: 0,
            flags: Flags::default(),
        },
        search: NoVarySearch::of(&headers).map(Box::new),
        headers,
    }
}

pub(super) fn asked<'a>(method: &'a Method, headers: &'a HeaderMap) -> Asked<'a> {
    Asked { method, headers, is_authenticated: false }
}
