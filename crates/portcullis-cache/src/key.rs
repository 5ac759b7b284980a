//! What a response is kept under.
use std::fmt;
use std::io::Write as _;

use http::uri::PathAndQuery;
use http::{HeaderMap, Uri, header};
use portcullis_core::{Context, Identity};
use smallvec::SmallVec;

/// Who shares what is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Scope {
    /// One caller. The default of a route that is not public.
    Identity,
    /// The callers of one tenant that have the same roles, scopes and plan.
    Tenant,
    /// Everybody. The default of a route that is public.
    #[default]
    Public,
}

impl Scope {
    /// Its name, as a file says it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Tenant => "tenant",
            Self::Public => "public",
        }
    }
}

/// What a response is kept under: scope, scheme, host, port, path and query, and what a `QUERY` asked.
///
/// It is text, compared as a whole, so that two requests that differ never share an entry. Building one for a look-up takes no allocation where it has
/// up to 128 bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// The scope, the URL, and the digest of the body for a `QUERY`.
    text: SmallVec<[u8; 128]>,
    /// Where the URL begins, and where it ends.
    url: (u32, u32),
    scope: Scope,
}

/// Where a request goes, as its target says; of one without a target, what its URI and its `Host` say.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    scheme: &'a str,
    authority: &'a str,
    path: &'a PathAndQuery,
    /// Where the layer stands: of a request whose target nobody has read, the path may be only the rest of one.
    stand: Option<u64>,
}

impl<'a> Place<'a> {
    /// `None` where the request names no host, or asks for no path.
    pub(crate) fn of(
        context: &'a Context,
        uri: &'a Uri,
        headers: &'a HeaderMap,
        stand: u64,
    ) -> Option<Self> {
        if let Some(target) = context.target() {
            let (scheme, authority) = (target.scheme().as_str(), target.authority());
            let path = target.path_and_query();
            return Some(Self { scheme, authority, path, stand: None });
        }
        let scheme = context.scheme().as_str();
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = hosts.next().map(http::HeaderValue::to_str);
        let authority = match (uri.authority(), host, hosts.next()) {
            (Some(authority), None, _) => authority.as_str(),
            (Some(authority), Some(Ok(host)), None) if authority.as_str() == host => host,
            (None, Some(Ok(host)), None) => host,
            _ => return None,
        };
        Some(Self { scheme, authority, path: uri.path_and_query()?, stand: Some(stand) })
    }
    pub(crate) fn query(&self) -> Option<&'a str> {
        self.path.query()
    }
    /// The URL without its query.
    pub(crate) fn path_text(&self) -> String {
        [self.scheme, "://", self.authority, self.path.path()].concat()
    }
}

impl Key {
    /// The key of what everybody shares here.
    pub(crate) fn public(place: Place<'_>, query: Option<&str>) -> Self {
        let mut key = Self::begin(Scope::Public, b'p');
        key.url(place, query);
        key
    }
    /// The key of what everybody shares at a URL, in the spelling of [`url_text`](Self::url_text): for those who write stores, and their tests.
    pub fn for_url(url: &str) -> Self {
        let mut key = Self::begin(Scope::Public, b'p');
        key.text.push(0);
        key.url.0 = key.end();
        key.text.extend_from_slice(url.as_bytes());
        key.url.1 = key.end();
        key
    }
    /// The key of what `identity` shares here within `scope`; `None` where it has no tenant to share with.
    pub(crate) fn of(
        scope: Scope,
        identity: &Identity,
        place: Place<'_>,
        query: Option<&str>,
    ) -> Option<Self> {
        let who = identity.key();
        let mut key = match scope {
            Scope::Public => return Some(Self::public(place, query)),
            Scope::Tenant => {
                let mut key = Self::begin(scope, b't');
                key.part(who.issuer);
                key.part(who.tenant?);
                key
            }
            Scope::Identity => return Some(Self::own(identity, place, query)),
        };
        key.rights(identity);
        key.url(place, query);
        Some(key)
    }
    /// The key of what `identity` shares with nobody.
    pub(crate) fn own(identity: &Identity, place: Place<'_>, query: Option<&str>) -> Self {
        let who = identity.key();
        let mut key = Self::begin(Scope::Identity, b'i');
        key.part(who.issuer);
        key.part(who.tenant.unwrap_or_default());
        key.text.push(u8::from(who.tenant.is_some()));
        key.part(who.subject);
        key.part(identity.session().unwrap_or_default());
        // What a token says may be what an answer says.
        let claims = identity.claims();
        if !claims.is_empty() {
            // Writing to memory never fails.
            _ = serde_json::to_writer(&mut key.text, claims);
        }
        key.rights(identity);
        key.url(place, query);
        key
    }
    /// Whoever has other rights gets other answers.
    fn rights(&mut self, identity: &Identity) {
        self.list(identity.roles_in_use());
        self.list(identity.scopes());
        self.list(identity.methods());
        self.part(identity.plan().unwrap_or_default());
        _ = write!(self.text, "{:?}{:?}", identity.kind(), identity.assurance());
    }
    fn list<'a>(&mut self, parts: impl Iterator<Item = &'a str>) {
        parts.for_each(|part| self.part(part));
        self.text.push(0);
    }
    /// A text, and before it how long it is, so that no two lists of texts look alike.
    fn part(&mut self, text: &str) {
        _ = write!(self.text, "{}:{text}", text.len());
    }
    /// Application data: not reachable by any URL.
    pub(crate) fn value(name: &str) -> Self {
        let mut key = Self::begin(Scope::Public, b'v');
        key.text.extend_from_slice(name.as_bytes());
        key.url.1 = key.end();
        key
    }
    fn begin(scope: Scope, kind: u8) -> Self {
        let mut key = Self { text: SmallVec::new(), url: (0, 0), scope };
        key.text.push(kind);
        key.url = (key.end(), key.end());
        key
    }
    fn url(&mut self, place: Place<'_>, query: Option<&str>) {
        if let Some(stand) = place.stand {
            self.text.extend_from_slice(&stand.to_be_bytes());
        }
        self.text.push(0);
        self.url.0 = self.end();
        let query = query.map(|query| ["?", query]).unwrap_or_default();
        for part in [place.scheme, "://", place.authority, place.path.path(), query[0], query[1]] {
            self.text.extend_from_slice(part.as_bytes());
        }
        self.url.1 = self.end();
    }
    /// The same for a request whose body is what it asks.
    pub(crate) fn asking(mut self, digest: &[u8; 32]) -> Self {
        self.text.push(0);
        self.text.extend_from_slice(digest);
        self
    }
    fn end(&self) -> u32 {
        u32::try_from(self.text.len()).unwrap_or(u32::MAX)
    }
    /// Who shares it.
    pub fn scope(&self) -> Scope {
        self.scope
    }
    /// All of it: what stores look up.
    pub fn as_bytes(&self) -> &[u8] {
        &self.text
    }
    /// The URL: `scheme://host[:port]/path[?query]`, the default port left out. Of application data, its name.
    pub fn url_text(&self) -> &str {
        let text = self.text.get(self.url.0 as usize..self.url.1 as usize).unwrap_or_default();
        std::str::from_utf8(text).unwrap_or_default()
    }
    /// The URL without its query.
    pub(crate) fn path_text(&self) -> &str {
        let url = self.url_text();
        url.split_once('?').map_or(url, |(path, _)| path)
    }
    pub(crate) fn query(&self) -> Option<&str> {
        self.url_text().split_once('?').map(|(_, query)| query)
    }
    /// The same with another query.
    pub(crate) fn with_query(&self, query: Option<&str>) -> Self {
        let mut key = self.clone();
        let rest: SmallVec<[u8; 32]> =
            self.text.get(self.url.1 as usize..).unwrap_or_default().into();
        key.text.truncate(self.url.0 as usize + self.path_text().len());
        for part in query.map(|query| ["?", query]).unwrap_or_default() {
            key.text.extend_from_slice(part.as_bytes());
        }
        key.url.1 = key.end();
        key.text.extend_from_slice(&rest);
        key
    }
    /// The origin: `scheme://host[:port]`.
    pub fn origin(&self) -> &str {
        let url = self.url_text();
        let host = url.find("://").map_or(0, |at| at + 3);
        let end = url.get(host..).and_then(|rest| rest.find('/')).map_or(url.len(), |at| host + at);
        url.get(..end).unwrap_or_default()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("scope", &self.scope)
            .field("url", &self.url_text())
            .finish_non_exhaustive()
    }
}
