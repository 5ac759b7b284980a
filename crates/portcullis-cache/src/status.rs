//! What the cache says of itself in answers: `Cache-Status` (RFC 9211).
use std::fmt::{self, Write};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::policy::NotStored;

pub(crate) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// How a request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handled {
    /// From what is stored; for how many seconds more it is good.
    Hit { ttl: i64, detail: Option<&'static str> },
    /// By the origin.
    Forwarded {
        why: Forward,
        status: Option<StatusCode>,
        /// Whether the answer is stored, or why not.
        stored: Option<Result<(), NotStored>>,
        /// Somebody else had asked.
        collapsed: bool,
    },
}

/// Why the origin was asked: the values of `fwd`, RFC 9211, section 2.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forward {
    Bypass,
    Method,
    UriMiss,
    VaryMiss,
    Request,
    Stale,
    Partial,
}

impl Forward {
    pub(crate) const ALL: [Self; 7] = [
        Self::Bypass,
        Self::Method,
        Self::UriMiss,
        Self::VaryMiss,
        Self::Request,
        Self::Stale,
        Self::Partial,
    ];
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Partial => "partial",
        }
    }
}

impl Handled {
    pub(crate) fn hit(ttl: i64) -> Self {
        Self::Hit { ttl, detail: None }
    }
    pub(crate) fn forwarded(why: Forward) -> Self {
        Self::Forwarded { why, status: None, stored: None, collapsed: false }
    }
    /// Adds what this cache says to what those before it have said.
    pub(crate) fn say(self, name: &str, headers: &mut HeaderMap) {
        let mut text = String::with_capacity(name.len() + 48);
        // Writing to a string never fails.
        _ = write!(text, "{name}; {self}");
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.append(CACHE_STATUS, value);
        }
    }
}

impl fmt::Display for Handled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hit { ttl, detail } => {
                write!(f, "hit; ttl={ttl}")?;
                detail.map_or(Ok(()), |detail| write!(f, "; detail={detail}"))
            }
            Self::Forwarded { why, status, stored, collapsed } => {
                write!(f, "fwd={}", why.as_str())?;
                if let Some(status) = status {
                    write!(f, "; fwd-status={}", status.as_u16())?;
                }
                if *collapsed {
                    f.write_str("; collapsed")?;
                }
                match stored {
                    Some(Ok(())) => f.write_str("; stored"),
                    Some(Err(why)) => write!(f, "; detail={}", why.as_str()),
                    None => Ok(()),
                }
            }
        }
    }
}

impl NotStored {
    /// Its name, as the `detail` of `Cache-Status`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Status => "status",
            Self::NoStore => "no-store",
            Self::Private => "private",
            Self::Authenticated => "authenticated",
            Self::SetCookie => "set-cookie",
            Self::Unknown => "no-freshness",
            Self::Stale => "stale",
            Self::VaryStar => "vary-star",
            Self::Part => "part",
            Self::Malformed => "malformed",
            Self::Unkeyed => "unkeyed",
        }
    }
}
