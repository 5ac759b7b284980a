//! What an answer says of caching: for handlers.
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderName, HeaderValue};

const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");

/// The `Cache-Control` of a response (RFC 9111, section 5.2.2): who may keep it, and for how long.
///
/// ```
/// use std::time::Duration;
/// use portcullis_cache::CacheControl;
///
/// // Everybody may have it for a minute, and for an hour more where the application does not answer.
/// let books = CacheControl::public().max_age(Duration::from_secs(60)).stale_if_error(Duration::from_secs(3_600));
/// assert_eq!(books.to_string(), "public, max-age=60, stale-if-error=3600");
///
/// let mut headers = http::HeaderMap::new();
/// books.apply(&mut headers);
/// assert_eq!(headers["cache-control"], "public, max-age=60, stale-if-error=3600");
/// ```
///
/// Times are said in whole seconds, and what is less than one is left off: never longer than was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheControl {
    who: Who,
    max_age: Option<Duration>,
    s_maxage: Option<Duration>,
    stale_while_revalidate: Option<Duration>,
    stale_if_error: Option<Duration>,
    must_revalidate: bool,
    immutable: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Everybody,
    Caller,
    Validated,
    Nobody,
}

impl CacheControl {
    /// `public`: everybody may have it, also where the request was somebody's. Say nothing like it of what is made for the caller.
    pub const fn public() -> Self {
        Self::of(Who::Everybody)
    }
    /// `private`: only whoever asked may have it. Caches that are shared do not keep it, but for a route whose scope is
    /// [`Identity`](crate::Scope::Identity).
    pub const fn private() -> Self {
        Self::of(Who::Caller)
    }
    /// `no-cache`: it may be kept, and is asked about before each use. It wants an `ETag` or `Last-Modified`.
    pub const fn no_cache() -> Self {
        Self::of(Who::Validated)
    }
    /// `no-store`: nobody keeps it. Whatever else is said of it is left out.
    pub const fn no_store() -> Self {
        Self::of(Who::Nobody)
    }
    const fn of(who: Who) -> Self {
        Self {
            who,
            max_age: None,
            s_maxage: None,
            stale_while_revalidate: None,
            stale_if_error: None,
            must_revalidate: false,
            immutable: false,
        }
    }
    /// `max-age`: how long it is good, for browsers and caches alike. Default: nothing is said.
    ///
    /// What a browser keeps, no [`Purge`](crate::Purge) reaches: say zero here and more with [`s_maxage`](Self::s_maxage) for what is purged.
    #[must_use]
    pub const fn max_age(self, time: Duration) -> Self {
        Self { max_age: Some(time), ..self }
    }
    /// `s-maxage`: how long it is good in shared caches, such as this one, in place of `max-age`; it allows what `public` allows. Default: nothing is said. Left out of what is `private`.
    #[must_use]
    pub const fn s_maxage(self, time: Duration) -> Self {
        Self { s_maxage: Some(time), ..self }
    }
    /// `stale-while-revalidate` (RFC 5861): for how long after that it may still be served, while it is asked about behind the client's back. Default: not at all.
    #[must_use]
    pub const fn stale_while_revalidate(self, time: Duration) -> Self {
        Self { stale_while_revalidate: Some(time), ..self }
    }
    /// `stale-if-error` (RFC 5861): for how long after that it may be served where the application fails. Default: not at all.
    #[must_use]
    pub const fn stale_if_error(self, time: Duration) -> Self {
        Self { stale_if_error: Some(time), ..self }
    }
    /// `must-revalidate`: once it is no longer good, nobody serves it without asking, whatever else is said or asked for. Default: not said.
    #[must_use]
    pub const fn must_revalidate(self) -> Self {
        Self { must_revalidate: true, ..self }
    }
    /// `immutable` (RFC 8246): it never changes while it is good, so browsers do not ask when somebody reloads the page. For URLs that name a version. Default: not said.
    #[must_use]
    pub const fn immutable(self) -> Self {
        Self { immutable: true, ..self }
    }
    /// The value of the field.
    pub fn header_value(&self) -> HeaderValue {
        // It is ASCII. Were it not, nobody would keep the answer.
        HeaderValue::try_from(self.to_string())
            .unwrap_or_else(|_| HeaderValue::from_static("no-store"))
    }
    /// Writes the field, in place of one that is there.
    pub fn apply(&self, headers: &mut HeaderMap) {
        headers.insert(CACHE_CONTROL, self.header_value());
    }
}

/// As the field says it.
impl fmt::Display for CacheControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.who {
            Who::Everybody => "public",
            Who::Caller => "private",
            Who::Validated => "no-cache",
            Who::Nobody => return f.write_str("no-store"),
        })?;
        let times = [
            ("max-age", self.max_age),
            ("s-maxage", self.s_maxage.filter(|_| self.who != Who::Caller)),
            ("stale-while-revalidate", self.stale_while_revalidate),
            ("stale-if-error", self.stale_if_error),
        ];
        for (name, time) in times {
            if let Some(time) = time {
                write!(f, ", {name}={}", time.as_secs())?;
            }
        }
        let words = [("must-revalidate", self.must_revalidate), ("immutable", self.immutable)];
        words
            .into_iter()
            .filter(|(_, is_said)| *is_said)
            .try_for_each(|(word, _)| write!(f, ", {word}"))
    }
}

/// The tags of a response: what it was made of, so that a [`Purge::tag`](crate::Purge::tag) takes it out when that changes.
///
/// ```
/// use portcullis_cache::CacheTags;
///
/// let mut headers = http::HeaderMap::new();
/// CacheTags::new(["books", "book-7"])?.apply(&mut headers);
/// assert_eq!(headers["surrogate-key"], "books book-7");
/// # Ok::<(), portcullis_cache::CacheTagError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheTags(Vec<Arc<str>>);

impl CacheTags {
    /// These tags.
    ///
    /// # Errors
    /// One of them is no token (RFC 9110, section 5.6.2): letters, digits and ``!#$%&'*+-.^_`|~``, at least one.
    pub fn new<T: AsRef<str>>(tags: impl IntoIterator<Item = T>) -> Result<Self, CacheTagError> {
        let check = |tag: T| {
            let tag = tag.as_ref();
            let is_token = !tag.is_empty() && tag.bytes().all(is_token_byte);
            if is_token { Ok(Arc::from(tag)) } else { Err(CacheTagError(tag.to_owned())) }
        };
        tags.into_iter().map(check).collect::<Result<_, _>>().map(Self)
    }
    /// Each of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(|tag| &**tag)
    }
    /// Adds them to the `Surrogate-Key` of a response.
    pub fn apply(&self, headers: &mut HeaderMap) {
        let mut value = Vec::new();
        let so_far = headers.get_all(SURROGATE_KEY).iter().map(HeaderValue::as_bytes);
        for tag in so_far.chain(self.iter().map(str::as_bytes)).filter(|tag| !tag.is_empty()) {
            if !value.is_empty() {
                value.push(b' ');
            }
            value.extend_from_slice(tag);
        }
        // Tags are tokens, and the rest was a value before.
        if let Ok(value) = HeaderValue::try_from(value)
            && !value.is_empty()
        {
            headers.insert(SURROGATE_KEY, value);
        }
    }
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// A tag that cannot be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{}\" cannot be a tag: it has to be of letters, digits and !#$%&'*+-.^_`|~, without spaces", .0.escape_debug())]
pub struct CacheTagError(String);

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn what_it_says() {
        for (control, want) in [
            (CacheControl::public(), "public"),
            (CacheControl::public().max_age(seconds(60)), "public, max-age=60"),
            // Never longer than was asked for.
            (CacheControl::public().max_age(Duration::from_millis(1_999)), "public, max-age=1"),
            (
                CacheControl::public().max_age(seconds(0)).s_maxage(seconds(300)).must_revalidate(),
                "public, max-age=0, s-maxage=300, must-revalidate",
            ),
            (
                CacheControl::public()
                    .stale_if_error(seconds(9))
                    .stale_while_revalidate(seconds(5))
                    .max_age(seconds(1)),
                "public, max-age=1, stale-while-revalidate=5, stale-if-error=9",
            ),
            (
                CacheControl::public().max_age(seconds(31_536_000)).immutable(),
                "public, max-age=31536000, immutable",
            ),
            // `s-maxage` would let others have it.
            (
                CacheControl::private().max_age(seconds(9)).s_maxage(seconds(9)),
                "private, max-age=9",
            ),
            (CacheControl::no_cache(), "no-cache"),
            (CacheControl::no_store().max_age(seconds(60)).immutable(), "no-store"),
        ] {
            assert_eq!(control.to_string(), want);
            assert_eq!(control.header_value(), want);
        }
    }

    #[test]
    fn it_takes_the_place_of_what_was_there() {
        let mut headers = HeaderMap::new();
        headers.append(CACHE_CONTROL, HeaderValue::from_static("public"));
        headers.append(CACHE_CONTROL, HeaderValue::from_static("max-age=9"));
        CacheControl::no_store().apply(&mut headers);
        assert_eq!(headers.get_all(CACHE_CONTROL).iter().collect::<Vec<_>>(), ["no-store"]);
    }

    #[test]
    fn tags_are_tokens() {
        for tag in ["", "a b", "a,b", "a\"", "a\n", "bücher", "a/b", "a:b", "\0"] {
            let error = CacheTags::new(["books", tag]).unwrap_err();
            let text = error.to_string();
            assert!(text.starts_with(&format!("\"{}\"", tag.escape_debug())), "{text}");
        }
        let all = "azAZ09!#$%&'*+-.^_`|~";
        assert_eq!(CacheTags::new([all]).unwrap().iter().collect::<Vec<_>>(), [all]);
    }

    #[test]
    fn tags_are_added_to_those_that_are_there() {
        let mut headers = HeaderMap::new();
        CacheTags::default().apply(&mut headers);
        assert!(headers.is_empty());
        headers.append(SURROGATE_KEY, HeaderValue::from_static("shop"));
        headers.append(SURROGATE_KEY, HeaderValue::from_static("uk gb"));
        CacheTags::new(["books".to_owned(), format!("book-{}", 7)]).unwrap().apply(&mut headers);
        let values = headers.get_all(SURROGATE_KEY).iter().collect::<Vec<_>>();
        assert_eq!(values, ["shop uk gb books book-7"]);
        CacheTags::default().apply(&mut headers);
        assert_eq!(headers[SURROGATE_KEY], "shop uk gb books book-7");
    }
}
