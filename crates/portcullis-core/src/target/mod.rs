//! What is asked for, parsed and normalised once.
use http::header::HOST;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderValue, Method, Request, Uri, Version};

mod authority;
mod path;
#[cfg(test)]
mod tests;

pub use path::canonical_path;
pub(crate) use path::other_spelling;

/// What is asked for: scheme, authority, path and query, parsed and normalised **once**.
///
/// The one target drives routing, authorization, limits, cache key, metrics and forwarding, so no two parts can see
/// different paths. The edge rewrites the request's URI to it; the leaf refuses a URI that differs.
///
/// Refused by default: an encoded slash, a backslash in any spelling, control characters, `..` above the root, bad
/// escapes, text that is not UTF-8, empty segments, parameters (`;`), a missing, doubled or malformed host, and an absolute form that
/// contradicts the `Host` header. The query passes byte for byte.
#[derive(Clone, Debug)]
pub struct Target {
    scheme: Scheme,
    authority: AuthorityText,
    host_len: usize,
    port: Option<u16>,
    path_and_query: PathAndQuery,
    /// The URI as it came, where that is not what it says now.
    original: Option<Box<Uri>>,
}

/// `http` or `https`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scheme {
    /// In clear. The default.
    #[default]
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// The scheme's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
    /// The port that need not be said.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
    /// The scheme with this name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Http, Self::Https]
            .into_iter()
            .find(|scheme| name.eq_ignore_ascii_case(scheme.as_str()))
    }
}

/// Text that usually is shared with the request, and copied only where it had to be normalised.
#[derive(Clone, Debug)]
enum AuthorityText {
    Header(HeaderValue),
    Uri(Authority),
    Own(Box<str>),
}

impl AuthorityText {
    fn as_str(&self) -> &str {
        match self {
            // Only a value that was checked to be ASCII gets here.
            Self::Header(value) => value.to_str().unwrap_or_default(),
            Self::Uri(authority) => authority.as_str(),
            Self::Own(text) => text,
        }
    }
}

/// What is done with something in a path that could be read in two ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slash {
    Refused,
    Merged,
    Kept,
}

/// How a listener reads targets. The default refuses whatever could be read in two ways.
#[derive(Clone, Debug)]
pub struct TargetRules {
    encoded_slash: Slash,
    empty_segments: Slash,
    parameters: bool,
}

impl Default for TargetRules {
    fn default() -> Self {
        Self { encoded_slash: Slash::Refused, empty_segments: Slash::Refused, parameters: false }
    }
}

impl TargetRules {
    /// Refuses whatever could be read in two ways.
    pub fn strict() -> Self {
        Self::default()
    }
    /// Lets `%2F` stand for a slash inside a segment. Default: refused.
    #[must_use]
    pub fn allow_encoded_slash(self) -> Self {
        Self { encoded_slash: Slash::Kept, ..self }
    }
    /// Reads several slashes in a row as one. Default: refused.
    #[must_use]
    pub fn merge_slashes(self) -> Self {
        Self { empty_segments: Slash::Merged, ..self }
    }
    /// Keeps empty segments as they are. Default: refused.
    #[must_use]
    pub fn keep_empty_segments(self) -> Self {
        Self { empty_segments: Slash::Kept, ..self }
    }
    /// Lets `;` stand in a path. Default: refused, since some servers cut the path there.
    #[must_use]
    pub fn allow_parameters(self) -> Self {
        Self { parameters: true, ..self }
    }
}

/// Why a target was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// The path does not begin with a slash.
    #[error("the request target has no absolute path")]
    NotAbsolute,
    /// `%2F`.
    #[error("the path has an encoded slash (%2F)")]
    EncodedSlash,
    /// `\` or `%5C`.
    #[error("the path has a backslash")]
    Backslash,
    /// `;` or `%3B`.
    #[error("the path has a parameter (;)")]
    Parameter,
    /// A control character, a line or paragraph separator, in any spelling.
    #[error("the path has a control character")]
    Control,
    /// A character that must be percent-encoded.
    #[error("the path has a character that must be percent-encoded")]
    NotAllowed,
    /// `%` without two hexadecimal digits.
    #[error("the path has a bad escape: `%` needs two hexadecimal digits")]
    BadEscape,
    /// The decoded path is not UTF-8.
    #[error("the path is not UTF-8 once decoded")]
    NotText,
    /// `..` where there is nothing left to leave.
    #[error("the path climbs above the root")]
    AboveRoot,
    /// `//`.
    #[error("the path has an empty segment (//)")]
    EmptySegment,
    /// A segment that turns into `.` or `..` for a reader who splits it further.
    #[error("the path has hidden dot segments")]
    HiddenDots,
    /// The query has a control character.
    #[error("the query has a control character")]
    BadQuery,
    /// An absolute form that is neither `http` nor `https`.
    #[error("the request target is neither http nor https")]
    BadScheme,
    /// No `Host`, and no authority in the target.
    #[error("the request has no Host header")]
    NoHost,
    /// Several `Host` headers.
    #[error("the request has more than one Host header")]
    TwoHosts,
    /// A host that is no name and no address, or a bad port.
    #[error("the host is not valid")]
    BadHost,
    /// The absolute form of the target and the `Host` header differ.
    #[error("the Host header contradicts the request target")]
    HostMismatch,
}

impl Target {
    /// Reads the target of `request`, which came by `scheme`. `host` is what a trusted proxy says the client asked
    /// for; it stands in for the `Host` header.
    pub fn of<B>(
        request: &Request<B>,
        scheme: Scheme,
        host: Option<&str>,
        rules: &TargetRules,
    ) -> Result<Self, TargetError> {
        let uri = request.uri();
        let (authority, host_len, port) = Self::authority_of(request, scheme, host)?;
        if uri.scheme_str().is_some_and(|scheme| Scheme::from_name(scheme).is_none()) {
            return Err(TargetError::BadScheme);
        }
        let path_and_query = match uri.path_and_query() {
            // `OPTIONS *` is about the server as a whole, and the one target that has no path.
            Some(given) if given.as_str() == "*" && request.method() == Method::OPTIONS => {
                given.clone()
            }
            Some(given) => canonical_path_and_query(given, rules)?,
            None => return Err(TargetError::NotAbsolute),
        };
        let same =
            uri.path_and_query().is_some_and(|given| given.as_str() == path_and_query.as_str());
        let original = (!same).then(|| Box::new(uri.clone()));
        Ok(Self { scheme, authority, host_len, port, path_and_query, original })
    }

    fn authority_of<B>(
        request: &Request<B>,
        scheme: Scheme,
        forwarded: Option<&str>,
    ) -> Result<(AuthorityText, usize, Option<u16>), TargetError> {
        let mut hosts = request.headers().get_all(HOST).iter();
        let (host, second) = (hosts.next(), hosts.next());
        if second.is_some() {
            return Err(TargetError::TwoHosts);
        }
        let header = host
            .map(|value| {
                let text =
                    std::str::from_utf8(value.as_bytes()).map_err(|_| TargetError::BadHost)?;
                authority::check(text, scheme).map(|checked| (value, checked))
            })
            .transpose()?;
        let in_uri = request.uri().authority();
        if let (Some(in_uri), Some((_, header))) = (in_uri, &header)
            && authority::check(in_uri.as_str(), scheme)?.text != header.text
        {
            return Err(TargetError::HostMismatch);
        }
        let own = |checked: authority::Checked<'_>| {
            (AuthorityText::Own(checked.text.into()), checked.host_len, checked.port)
        };
        if let Some(forwarded) = forwarded {
            return authority::check(forwarded, scheme).map(own);
        }
        match (in_uri, header) {
            (_, Some((value, checked)))
                if checked.text.len() == value.len() && checked.is_as_given() =>
            {
                Ok((AuthorityText::Header(value.clone()), checked.host_len, checked.port))
            }
            (_, Some((_, checked))) => Ok(own(checked)),
            (Some(in_uri), None) => {
                let checked = authority::check(in_uri.as_str(), scheme)?;
                if checked.is_as_given() {
                    Ok((AuthorityText::Uri(in_uri.clone()), checked.host_len, checked.port))
                } else {
                    Ok(own(checked))
                }
            }
            // HTTP/1.0 had no hosts yet, and health checks still speak it.
            (None, None) if request.version() <= Version::HTTP_10 => {
                Ok((AuthorityText::Own("".into()), 0, None))
            }
            (None, None) => Err(TargetError::NoHost),
        }
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }
    /// Host, and the port unless it is the scheme's default; in lower case.
    pub fn authority(&self) -> &str {
        self.authority.as_str()
    }
    /// The authority as the value of a header. It costs no copy where the `Host` header was that already.
    pub fn authority_value(&self) -> Option<HeaderValue> {
        match &self.authority {
            AuthorityText::Header(value) => Some(value.clone()),
            AuthorityText::Uri(authority) => HeaderValue::try_from(authority.as_str()).ok(),
            AuthorityText::Own(text) => HeaderValue::try_from(&**text).ok(),
        }
    }
    /// The host alone, in lower case, without a dot at the end; an IPv6 address stands in brackets.
    pub fn host(&self) -> &str {
        self.authority().get(..self.host_len).unwrap_or_default()
    }
    /// The port, unless it is the scheme's default.
    pub fn port(&self) -> Option<u16> {
        self.port
    }
    /// The canonical path. It begins with `/`; only `OPTIONS *` has `*`.
    pub fn path(&self) -> &str {
        self.path_and_query.path()
    }
    /// The query, byte for byte as it came.
    pub fn query(&self) -> Option<&str> {
        self.path_and_query.query()
    }
    /// Path and query.
    pub fn path_and_query(&self) -> &PathAndQuery {
        &self.path_and_query
    }
    /// The URI as it came, where its path was spelled differently: for the log, never for a decision.
    pub fn original(&self) -> Option<&Uri> {
        self.original.as_deref()
    }
    /// Whether `uri` asks for this target's path and query.
    pub fn matches(&self, uri: &Uri) -> bool {
        uri.path_and_query().is_some_and(|given| given.as_str() == self.path_and_query.as_str())
    }
    /// Rewrites `uri` to this target, keeping its form; does nothing when it says the same already.
    pub fn apply_to(&self, uri: &mut Uri) {
        if self.matches(uri) {
            return;
        }
        let mut parts = std::mem::take(uri).into_parts();
        parts.path_and_query = Some(self.path_and_query.clone());
        // The parts were a URI before, and the new path is absolute.
        *uri = Uri::from_parts(parts).unwrap_or_else(|_| Uri::from(self.path_and_query.clone()));
    }
}

fn canonical_path_and_query(
    given: &PathAndQuery,
    rules: &TargetRules,
) -> Result<PathAndQuery, TargetError> {
    if given.query().is_some_and(|query| query.bytes().any(|b| b.is_ascii_control())) {
        return Err(TargetError::BadQuery);
    }
    match canonical_path(given.path(), rules)? {
        // `http://host?query` has a path of one slash that does not stand there.
        std::borrow::Cow::Borrowed(_) if given.as_str().starts_with('/') => Ok(given.clone()),
        path => {
            let text =
                given.query().map_or_else(|| path.to_string(), |query| format!("{path}?{query}"));
            PathAndQuery::try_from(text).map_err(|_| TargetError::NotAllowed)
        }
    }
}
