//! What RFC 9111 and its relatives say: whether a response may be stored, for whom, how long it is good, and what a stored one answers.
//!
//! No I/O, and all time is passed in.
mod answer;
mod ask;
mod combine;
mod conditional;
mod control;
mod date;
mod freshness;
mod invalidate;
mod multipart;
mod range;
mod record;
mod refresh;
#[cfg(test)]
mod sample;
mod search;
mod storable;
mod targeted;
#[cfg(test)]
mod tests;
mod value;
mod vary;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, Method, StatusCode};
use smallvec::SmallVec;

use crate::Scope;

pub use combine::{Combined, Source};
pub use control::only_if_cached;
pub(crate) use control::{Flags, is_reload, wants_no_store};
pub(crate) use freshness::Facts;
pub use invalidate::{invalidated_groups, invalidates, is_safe};
pub use search::NoVarySearch;
pub use vary::select;

/// Which rules hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Preset {
    /// Safe for applications: nothing that may be personal is shared unless the origin says so. The default.
    #[default]
    Application,
    /// Every clause of RFC 9111, and no more.
    Rfc,
}

/// How a cache decides.
#[derive(Clone, Debug)]
pub struct Rules {
    pub(crate) preset: Preset,
    /// Fields that are meant for this cache, the first that is there and valid wins (RFC 9213, section 2.2). Default: `CDN-Cache-Control`.
    pub(crate) targeted: Vec<HeaderName>,
    /// How long a response is good at most by the rule of thumb (section 4.2.2). Default: a day.
    pub(crate) most_heuristic: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            preset: Preset::default(),
            targeted: vec![HeaderName::from_static("cdn-cache-control")],
            most_heuristic: Duration::from_secs(86_400),
        }
    }
}

impl Rules {
    /// The rules of a preset.
    pub fn new(preset: Preset) -> Self {
        Self::default().with_preset(preset)
    }
    /// Which preset holds.
    pub fn preset(&self) -> Preset {
        self.preset
    }
    /// Which preset holds. Default: `application`.
    #[must_use]
    pub fn with_preset(self, preset: Preset) -> Self {
        Self { preset, ..self }
    }
    /// The fields that are meant for this cache, the first that is there and valid wins (RFC 9213, section 2.2). Default: `CDN-Cache-Control`.
    #[must_use]
    pub fn with_targeted(self, fields: impl IntoIterator<Item = HeaderName>) -> Self {
        Self { targeted: fields.into_iter().collect(), ..self }
    }
    /// How long a response is good at most by the rule of thumb (RFC 9111, section 4.2.2). Default: a day.
    #[must_use]
    pub fn with_most_heuristic(self, most: Duration) -> Self {
        Self { most_heuristic: most, ..self }
    }
}

/// A point in time: milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

impl From<SystemTime> for Moment {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

/// A request, as far as caching looks at it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its header fields.
    pub headers: &'a HeaderMap,
    /// Whether it may be somebody's: see the preset `application`.
    pub is_authenticated: bool,
}

/// When a response was asked for, and when its head had arrived.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// When the request was sent.
    pub requested: Moment,
    /// When the head of the response arrived.
    pub received: Moment,
}

/// Why a response is not stored. Names as in the `detail` of `Cache-Status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotStored {
    /// Its method is none that is cached.
    Method,
    /// Its status is none that is understood, or final.
    Status,
    /// `no-store`, of the request or of the response.
    NoStore,
    /// `private`.
    Private,
    /// The request is somebody's, and nothing says that others may see the answer.
    Authenticated,
    /// It sets a cookie.
    SetCookie,
    /// Neither is it said how long it is good, nor could it be validated.
    Unknown,
    /// It is stale already, and cannot be validated.
    Stale,
    /// `Vary: *`.
    VaryStar,
    /// It is a part that does not say of what.
    Part,
    /// Its fields are so malformed that nothing can be said.
    Malformed,
    /// The request has a field that clients do not usually send, and that is no part of the key: what it did to the response would reach others.
    Unkeyed,
}

/// A stored response without its body: what the origin said, and what follows from it.
#[derive(Clone, Debug)]
pub struct Stored {
    pub(crate) status: StatusCode,
    /// Without hop-by-hop fields, and whatever must not be stored.
    pub(crate) headers: HeaderMap,
    pub(crate) times: Times,
    /// The request's values of the fields that `Vary` names, normalised.
    pub(crate) vary: SmallVec<[(HeaderName, Option<Box<str>>); 2]>,
    pub(crate) tags: SmallVec<[Arc<str>; 2]>,
    /// Who shares it.
    pub(crate) scope: Scope,
    /// Whether the origin says that it is for everybody, also where the request was somebody's.
    pub(crate) is_explicitly_public: bool,
    /// What follows from its fields and the rules.
    pub(crate) facts: Facts,
    /// Which queries it also answers: [`NoVarySearch::of`] its fields.
    pub(crate) search: Option<Box<NoVarySearch>>,
}

/// What may be done with a stored response that fits a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Judgement {
    /// It may be used as it is.
    Fresh,
    /// It is stale, or has to be validated.
    Stale {
        /// It may be used now: because the client takes stale ones, or while it is validated in the background.
        serve: Serve,
        /// It may be used if the origin fails.
        if_error: bool,
    },
}

/// Whether a stale response may be used at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Serve {
    /// No: it has to be validated first.
    No,
    /// Yes, and it is validated in the background.
    WhileRevalidating,
    /// Yes: the client takes stale ones (`max-stale`).
    AsAsked,
}

/// What the body of an answer is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Content {
    /// None: 304, 412, 416, or `HEAD`.
    Nothing,
    /// All that is stored.
    Whole,
    /// Bytes of what is stored: from the first up to, but without, the last.
    Part(u64, u64),
    /// Several parts, each behind its head (`multipart/byteranges`); the last piece is the end.
    Parts(Vec<(bytes::Bytes, (u64, u64))>, bytes::Bytes),
}

/// What a stored response answers: the head, and which bytes go with it.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The fields, `Age` included.
    pub headers: HeaderMap,
    /// The body.
    pub content: Content,
}

impl Stored {
    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.status
    }
    /// Its fields as they are stored: without those of the connection.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }
    /// What it can be purged by: `Surrogate-Key`, `Cache-Tag`, and the groups of RFC 9875, which begin with a NUL.
    pub fn tags(&self) -> &[Arc<str>] {
        &self.tags
    }
    /// Who shares it.
    pub fn scope(&self) -> Scope {
        self.scope
    }
    /// Whether the origin says that it is for everybody, also where the request was somebody's.
    pub fn is_explicitly_public(&self) -> bool {
        self.is_explicitly_public
    }
    /// Whether it says what it could be validated by.
    pub(crate) fn has_validator(&self) -> bool {
        storable::has_validator(&self.headers)
    }
}
