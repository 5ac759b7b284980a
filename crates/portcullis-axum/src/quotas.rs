//! Extractors for what requests use.
use axum::extract::FromRequestParts;
use http::request::Parts;
use portcullis_core::{Context, QuotaUse};

use crate::{Problem, RequestContext};

/// What the caller has left of the quotas that count this request, outermost first: for a page that shows it. Of at most three quotas.
///
/// It rejects nothing: where no limit counts the request it is empty. What an extractor takes after this one is in it too.
///
/// ```
/// use portcullis_axum::Quotas;
///
/// async fn account(quotas: Quotas) -> String {
///     match quotas.find("api") {
///         Some(quota) => format!("{} of {} requests left", quota.remaining, quota.limit),
///         None => "as many requests as you like".to_owned(),
///     }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Quotas(Option<Context>);

impl Quotas {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = QuotaUse> {
        self.0.iter().flat_map(Context::quotas)
    }
    /// The one of this name: of a quota with several bounds the one of which the least is left, whose name has its number behind (`api.2`).
    pub fn find(&self, name: &str) -> Option<QuotaUse> {
        let is_bound =
            |rest: &str| rest.strip_prefix('.').is_some_and(|nth| nth.parse::<u8>().is_ok());
        let is_it = |own: &str| {
            own.strip_prefix(name).is_some_and(|rest| rest.is_empty() || is_bound(rest))
        };
        self.iter().find(|quota| is_it(&quota.name))
    }
    /// The one of which the least is left, in proportion.
    pub fn tightest(&self) -> Option<QuotaUse> {
        let more = |one: &QuotaUse, other: &QuotaUse| {
            let of = |quota: &QuotaUse, other: &QuotaUse| {
                u128::from(quota.remaining) * u128::from(other.limit)
            };
            of(one, other).cmp(&of(other, one))
        };
        self.iter().min_by(more)
    }
}

impl<S: Sync> FromRequestParts<S> for Quotas {
    type Rejection = std::convert::Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(Context::get(&parts.extensions).cloned()))
    }
}

/// Says what the request has cost, where only its handler knows: tokens of a language model, rows of a report. A quota that is `settled` counts it when the body of the
/// answer is over, so a stream may keep this and go on saying.
///
/// Rejects with 500 when none of our layers has seen the request.
///
/// ```
/// use portcullis_axum::Spend;
///
/// async fn report(spend: Spend) -> String {
///     let rows = ["a", "b", "c"];
///     spend.units(rows.len() as u64);
///     rows.join("\n")
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Spend(Context);

impl Spend {
    /// Adds so many units.
    pub fn units(&self, units: u64) {
        self.0.spend(units);
    }
    /// How many it has been so far; `None` where nothing was said.
    pub fn total(&self) -> Option<u64> {
        self.0.spent()
    }
}

impl<S: Sync> FromRequestParts<S> for Spend {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        RequestContext::from_request_parts(parts, state)
            .await
            .map(|RequestContext(context)| Self(context))
    }
}
