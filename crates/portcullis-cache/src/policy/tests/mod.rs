//! The rules of RFC 9111 and its relatives, as tables. Names in them are those of the public suite of HTTP cache tests.
mod control;
mod freshness;
mod identity;
mod invalidate;
mod refresh;
mod storable;
mod vary;

use http::{HeaderMap, Method, Response, response};

use super::date;
use super::sample::{START, headers};
use super::{Asked, Judgement, Moment, NotStored, Preset, Rules, Serve, Stored, Times};
use crate::Scope;

const RFC: Preset = Preset::Rfc;
const APP: Preset = Preset::Application;
type Fields<'a> = &'a [(&'a str, &'a str)];

/// [`START`] and some seconds.
fn at(seconds: i64) -> Moment {
    Moment(START.saturating_add_signed(seconds) * 1000)
}

/// A field's value: `@-10` is the date 10 seconds before [`START`].
fn fields(given: Fields<'_>) -> HeaderMap {
    let values: Vec<_> = given
        .iter()
        .map(|(name, value)| match value.strip_prefix('@') {
            Some(seconds) => (*name, date::format(at(seconds.parse().unwrap()).0 / 1000)),
            None => (*name, (*value).to_owned()),
        })
        .collect();
    headers(&values.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>())
}

fn head(status: u16, given: Fields<'_>) -> response::Parts {
    let mut response = Response::new(());
    *response.status_mut() = status.try_into().unwrap();
    *response.headers_mut() = fields(given);
    response.into_parts().0
}

fn now(seconds: i64) -> Times {
    Times { requested: at(seconds), received: at(seconds) }
}

/// What is stored, for everybody, of a response to `GET`.
fn store(
    preset: Preset,
    asked: Fields<'_>,
    status: u16,
    given: Fields<'_>,
) -> Result<Stored, NotStored> {
    let headers = fields(asked);
    let asked = Asked { method: &Method::GET, headers: &headers, is_authenticated: false };
    Stored::new(&Rules::new(preset), Scope::Public, None, asked, &head(status, given), now(0))
}

fn judge(preset: Preset, stored: &Stored, asked: Fields<'_>, seconds: i64) -> Judgement {
    let headers = fields(asked);
    let asked = Asked { method: &Method::GET, headers: &headers, is_authenticated: false };
    stored.judge(&Rules::new(preset), asked, at(seconds), false)
}

/// Whether a 200 is used as it is after three seconds, as the suite waits.
fn is_reused(given: Fields<'_>) -> bool {
    store(RFC, &[], 200, given).is_ok_and(|stored| judge(RFC, &stored, &[], 3) == Judgement::Fresh)
}

const STALE: Judgement = Judgement::Stale { serve: Serve::No, if_error: false };
