//! What a route says of caching.
use std::time::Duration;

use portcullis_core::{RouteOption, WithOptions};

use crate::Scope;

/// That the answers of a route are cached, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cached {
    pub(crate) scope: Option<Scope>,
    pub(crate) default_ttl: Option<Duration>,
    pub(crate) purges: bool,
}

impl Cached {
    /// As the answers say.
    pub fn new() -> Self {
        Self::default()
    }
    /// Who shares an answer of which nothing says that everybody may. Default: everybody where the route is public, otherwise the caller alone.
    #[must_use]
    pub fn scope(self, scope: Scope) -> Self {
        Self { scope: Some(scope), ..self }
    }
    /// How long an answer is good that says nothing about it: no `Cache-Control`, no `Expires`. Default: it is not stored, or by the rule of thumb of RFC 9111, section 4.2.2, in the preset `rfc`.
    #[must_use]
    pub fn default_ttl(self, ttl: Duration) -> Self {
        Self { default_ttl: Some(ttl), ..self }
    }
    /// Whoever the route lets through may `PURGE` its URLs. The route must not be public. Default: nobody may.
    #[must_use]
    pub fn purges(self) -> Self {
        Self { purges: true, ..self }
    }
    /// Who shares an answer, where the route says it.
    pub fn shared_by(&self) -> Option<Scope> {
        self.scope
    }
    /// How long an answer is good that says nothing about it.
    pub fn ttl(&self) -> Option<Duration> {
        self.default_ttl
    }
    /// Whether whoever the route lets through may `PURGE` its URLs.
    pub fn lets_purge(&self) -> bool {
        self.purges
    }
}

impl RouteOption for Cached {
    const NAME: &'static str = "cache";
    const READ_BY: &'static str = "a `CacheLayer`";
    fn describe(&self) -> String {
        let scope = self.scope.map(|scope| match scope {
            Scope::Public => "public".to_owned(),
            Scope::Tenant => "tenant".to_owned(),
            Scope::Identity => "identity".to_owned(),
        });
        let ttl = self.default_ttl.map(|ttl| format!("{ttl:?}"));
        let purges = self.purges.then(|| "purges".to_owned());
        let words: Vec<_> = [scope, ttl, purges].into_iter().flatten().collect();
        if words.is_empty() {
            Self::NAME.to_owned()
        } else {
            format!("{}: {}", Self::NAME, words.join(" "))
        }
    }
}

/// Lets a route say that its answers are cached.
pub trait CacheExt: WithOptions {
    /// Caches what may be.
    #[must_use]
    fn cached(self) -> Self {
        self.cached_as(Cached::new())
    }
    /// Caches what may be, in this way.
    #[must_use]
    fn cached_as(self, cached: Cached) -> Self {
        self.with_option(cached)
    }
}

impl<T: WithOptions> CacheExt for T {}
