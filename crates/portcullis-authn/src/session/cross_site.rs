//! Requests that a page of somebody else has a browser send, with the browser's cookie (CSRF).
use http::header::{CONNECTION, ORIGIN, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use portcullis_core::Target;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether a request is one that changes something, or opens a connection of another protocol.
pub(super) fn needs_a_look(method: &Method, headers: &HeaderMap) -> bool {
    let is_safe = [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE].contains(method);
    !is_safe || (headers.contains_key(UPGRADE) && headers.contains_key(CONNECTION))
}

/// Whether another site's page has sent it, by what its browser says of itself: Fetch Metadata, and `Origin` where there is none. A request that says
/// neither is one of no browser that is younger than 2023, and so of no page.
pub(super) fn is_cross_site(
    headers: &HeaderMap,
    target: Option<&Target>,
    trusted: &[HeaderValue],
) -> bool {
    let mut origins = headers.get_all(ORIGIN).iter();
    let (origin, several) = (origins.next(), origins.next().is_some());
    if several {
        return true;
    }
    let is_trusted = origin.is_some_and(|origin| trusted.contains(origin));
    let mut sites = headers.get_all(&SEC_FETCH_SITE).iter().peekable();
    if sites.peek().is_some() {
        let is_own = |site: &HeaderValue| matches!(site.as_bytes(), b"same-origin" | b"none");
        return !sites.all(is_own) && !is_trusted;
    }
    let Some(origin) = origin else { return false };
    let is_own = target.is_some_and(|target| {
        let own = format!("{}://{}", target.scheme().as_str(), target.authority());
        origin.as_bytes().eq_ignore_ascii_case(own.as_bytes())
    });
    !is_own && !is_trusted
}
