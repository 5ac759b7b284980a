//! What a response makes invalid, and what it can be purged by (RFC 9111, section 4.4; RFC 9875).
use std::borrow::Cow;
use std::sync::Arc;

use http::header::{CONTENT_LOCATION, LOCATION};
use http::{HeaderMap, HeaderName, Method, response};
use portcullis_core::{Scheme, TargetRules, canonical_path};
use smallvec::SmallVec;

use super::{Asked, targeted};

/// Whether a method is known to change nothing: all others make stored responses invalid.
pub fn is_safe(method: &Method) -> bool {
    matches!(
        method.as_str(),
        "GET" | "HEAD" | "OPTIONS" | "TRACE" | "QUERY" | "PROPFIND" | "REPORT" | "SEARCH"
    )
}

/// The URLs of which nothing stored is good any longer after this response: those of the request, of `Location` and of `Content-Location`, if they have the same
/// origin. None after a method that is [safe](is_safe), or an error.
///
/// `url` is absolute, spelled as in [`Key::url_text`](crate::Key::url_text).
pub fn invalidates(asked: Asked<'_>, url: &str, head: &response::Parts) -> SmallVec<[String; 2]> {
    let mut urls = SmallVec::new();
    if is_safe(asked.method) || !(head.status.is_success() || head.status.is_redirection()) {
        return urls;
    }
    urls.push(url.to_owned());
    for name in [LOCATION, CONTENT_LOCATION] {
        if let Some(found) =
            located(url, &head.headers, &name).filter(|found| !urls.contains(found))
        {
            urls.push(found);
        }
    }
    urls
}

/// The groups of the origin that a response makes invalid (RFC 9875, section 3). It has a say only after a method that is not [safe](is_safe).
pub fn invalidated_groups(head: &response::Parts) -> Vec<String> {
    targeted::strings(&head.headers, &HeaderName::from_static("cache-group-invalidation"))
}

/// How a group of RFC 9875 stands among the tags of a response. No tag can look like it.
pub(crate) fn group_tag(group: &str) -> String {
    format!("\0{group}")
}

/// `Surrogate-Key` (parted by blanks), `Cache-Tag` (parted by commas) and `Cache-Groups`, each once.
pub(super) fn tags(headers: &HeaderMap) -> SmallVec<[Arc<str>; 2]> {
    let mut tags = SmallVec::<[Arc<str>; 2]>::new();
    for (name, between) in [("surrogate-key", b' '), ("cache-tag", b',')] {
        for line in headers.get_all(name) {
            let parts = line
                .as_bytes()
                .split(|byte| *byte == between || *byte == b'\t')
                .map(<[u8]>::trim_ascii);
            tags.extend(
                parts
                    .filter(|tag| !tag.is_empty())
                    .map(|tag| Arc::from(String::from_utf8_lossy(tag))),
            );
        }
    }
    let groups = targeted::strings(headers, &HeaderName::from_static("cache-groups"));
    tags.extend(groups.iter().map(|group| Arc::from(group_tag(group))));
    tags.sort_unstable();
    tags.dedup();
    tags
}

/// Where a response says that it is from, if that has the origin of `url`.
pub(super) fn content_location(url: &str, headers: &HeaderMap) -> Option<String> {
    located(url, headers, &CONTENT_LOCATION)
}

/// The URL that a field names, absolute and in its one spelling, if it has the origin of `base`.
fn located(base: &str, headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let reference = headers.get(name)?.to_str().ok()?.trim_matches([' ', '\t']);
    let reference = reference.split('#').next().unwrap_or_default();
    let (origin, base_path) = split(base)?;
    let scheme = origin.split(':').next().unwrap_or_default();
    let rest = match reference.split_once(':') {
        Some((named, rest)) if is_scheme(named) => {
            if !named.eq_ignore_ascii_case(scheme) {
                return None;
            }
            // `http:path` is obsolete, and nothing is sure about it.
            rest.starts_with("//").then_some(rest)?
        }
        _ => reference,
    };
    let rest = match rest.strip_prefix("//") {
        None => rest,
        Some(rest) => {
            let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
            if !is_same_authority(scheme, origin, authority) {
                return None;
            }
            // An absolute URL does not go on from where we are.
            return Some(format!(
                "{origin}{}",
                spell(&if path.starts_with('/') { path.into() } else { format!("/{path}") })
            ));
        }
    };
    let target = match rest.as_bytes().first() {
        None => return Some(base.to_owned()),
        Some(b'/') => rest.to_owned(),
        Some(b'?') => format!("{base_path}{rest}"),
        Some(_) => format!("{}{rest}", base_path.get(..=base_path.rfind('/')?)?),
    };
    Some(format!("{origin}{}", spell(&target)))
}

/// The origin and the path of an absolute URL.
fn split(url: &str) -> Option<(&str, &str)> {
    let host = url.find("://")? + 3;
    let path = host + url.get(host..)?.find('/')?;
    let (origin, rest) = url.split_at_checked(path)?;
    Some((origin, rest.split('?').next().unwrap_or_default()))
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

/// Hosts are compared in any case, and without the port that the scheme has.
fn is_same_authority(scheme: &str, origin: &str, authority: &str) -> bool {
    let ours = origin.split_once("://").map(|(_, authority)| authority).unwrap_or_default();
    let port = Scheme::from_name(scheme).map(|scheme| format!(":{}", scheme.default_port()));
    let plain = |text: &'_ str| {
        let text = port.as_deref().and_then(|port| text.strip_suffix(port)).unwrap_or(text);
        text.strip_suffix(':').unwrap_or(text).to_ascii_lowercase()
    };
    plain(ours) == plain(authority)
}

/// Path and query, the path in its one spelling.
fn spell(target: &str) -> String {
    let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
    let rules = TargetRules::default();
    let path = canonical_path(path, &rules).unwrap_or(Cow::Borrowed(path));
    format!("{path}{query}")
}
