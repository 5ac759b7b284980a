//! Several upstreams behind one route, each with its share.
use std::sync::Arc;

use http::HeaderMap;
use portcullis_core::{Context, Problem};

use super::headers::cookie;
use super::{client_key, identity_key};
use crate::balance::is_cookie_name;
use crate::error::{kinds, unsent};
use crate::server::{fingerprint, mix};
use crate::upstream::Upstream;

/// Several upstreams behind one route, each with its share: a canary, say.
///
/// ```
/// # use portcullis_gateway::{Proxy, Split, Upstream};
/// # let stable = Upstream::builder("stable").server("http://127.0.0.1:9001").build()?;
/// # let canary = Upstream::builder("canary").server("http://127.0.0.1:9002").build()?;
/// let proxy = Proxy::split(Split::new().to(95, &stable).to(5, &canary).sticky_by_identity());
/// # Ok::<(), portcullis_core::ConfigErrors>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Split {
    shares: Vec<(u32, Upstream)>,
    sticky: Sticky,
}

/// The name and the value of a cookie.
pub(super) type Cookie = (Arc<str>, String);

/// How the same client gets the same upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Sticky {
    #[default]
    No,
    Identity,
    Cookie(Arc<str>),
}

impl Split {
    /// Nothing to share.
    pub fn new() -> Self {
        Self::default()
    }
    /// Gives this upstream a share of that weight.
    #[must_use]
    pub fn to(mut self, weight: u32, upstream: &Upstream) -> Self {
        self.shares.push((weight, upstream.clone()));
        self
    }
    /// The same caller gets the same upstream; who says no identity, the same address. Default: chance decides each time.
    #[must_use]
    pub fn sticky_by_identity(self) -> Self {
        Self { sticky: Sticky::Identity, ..self }
    }
    /// The same client gets the same upstream, by a cookie of this name.
    #[must_use]
    pub fn sticky_by_cookie(self, name: impl Into<Arc<str>>) -> Self {
        Self { sticky: Sticky::Cookie(name.into()), ..self }
    }
    /// The upstreams.
    pub fn upstreams(&self) -> impl ExactSizeIterator<Item = &Upstream> {
        self.shares.iter().map(|(_, upstream)| upstream)
    }
    pub(super) fn fault(&self) -> Option<String> {
        let total: u64 = self.shares.iter().map(|(weight, _)| u64::from(*weight)).sum();
        match &self.sticky {
            Sticky::Cookie(name) if !is_cookie_name(name) => {
                Some(format!("`{name}` is no cookie name"))
            }
            _ => (total == 0).then(|| "it leads to no upstream: give one a weight".to_owned()),
        }
    }

    /// The upstream for a request, and a cookie that the client has to be given.
    pub(super) fn choose(
        &self,
        context: &Context,
        headers: &HeaderMap,
    ) -> Result<(&Upstream, Option<Cookie>), Problem> {
        if let [(_, only)] = self.shares.as_slice() {
            return Ok((only, None));
        }
        let chosen = match &self.sticky {
            Sticky::No => self.at(fastrand::u64(..)),
            Sticky::Identity => {
                let key = context.identity().map(identity_key).or_else(|| client_key(context));
                self.at(key.map_or_else(|| fastrand::u64(..), mix))
            }
            Sticky::Cookie(name) => {
                let wanted = cookie(headers, name).and_then(|id| u64::from_str_radix(id, 16).ok());
                let known = self.shares.iter().find(|(weight, upstream)| {
                    *weight > 0 && wanted == Some(fingerprint(upstream.name()))
                });
                if let Some((_, upstream)) = known {
                    return Ok((upstream, None));
                }
                let upstream = self.at(fastrand::u64(..)).ok_or_else(nowhere)?;
                let id = format!("{:016x}", fingerprint(upstream.name()));
                return Ok((upstream, Some((Arc::clone(name), id))));
            }
        };
        chosen.map(|upstream| (upstream, None)).ok_or_else(nowhere)
    }

    /// The upstream whose share holds this point.
    fn at(&self, point: u64) -> Option<&Upstream> {
        let total: u64 = self.shares.iter().map(|(weight, _)| u64::from(*weight)).sum();
        let mut at = point.checked_rem(total)?;
        for (weight, upstream) in &self.shares {
            match at.checked_sub(u64::from(*weight)) {
                Some(rest) => at = rest,
                None => return Some(upstream),
            }
        }
        None
    }
}

fn nowhere() -> Problem {
    unsent(kinds::UPSTREAM_UNAVAILABLE, "the split leads to no upstream")
}
