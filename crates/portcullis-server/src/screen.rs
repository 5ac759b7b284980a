//! What hyper passes and a server must refuse.
use http::header::{
    ALLOW, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, FORWARDED, PROXY_AUTHORIZATION,
    TRANSFER_ENCODING,
};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};
use portcullis_core::Problem;
use portcullis_core::problem::{ProblemKind, kinds};

use crate::limits::Limits;

/// Why a request is refused before anybody else sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) kind: ProblemKind,
    pub(crate) detail: &'static str,
}

impl Refusal {
    /// The answer; a method that is refused gets those that are not (RFC 9110, section 15.5.6).
    pub(crate) fn problem(self, limits: &Limits) -> Problem {
        let problem = Problem::new(self.kind).detail(self.detail);
        if self.kind != kinds::METHOD_REFUSED {
            return problem;
        }
        let known: Vec<_> = limits.methods.iter().map(Method::as_str).collect();
        let allow = HeaderValue::from_str(&known.join(", "));
        allow.into_iter().fold(problem, |problem, allow| problem.header(ALLOW, allow))
    }
}

const fn refused(kind: ProblemKind, detail: &'static str) -> Refusal {
    Refusal { kind, detail }
}

const fn invalid(detail: &'static str) -> Refusal {
    refused(kinds::REQUEST_INVALID, detail)
}

/// Headers that decide where a message ends, who sent it or what it is for: a name that a server behind us could take for one
/// of them is refused.
const FOLDABLE: [HeaderName; 14] = [
    TRANSFER_ENCODING,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    CONTENT_ENCODING,
    PROXY_AUTHORIZATION,
    FORWARDED,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-prefix"),
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("x-api-key"),
];

/// Looks at the head of a request once.
pub(crate) fn screen<B>(request: &Request<B>, limits: &Limits) -> Result<(), Refusal> {
    let version = request.version();
    method(request.method(), limits)?;
    target(request.method(), request.uri(), version, limits)?;
    let mut seen = Seen::default();
    for (name, value) in request.headers() {
        seen.header(name, value, version, request.headers())?;
    }
    host(request, &seen)
}

fn method(method: &Method, limits: &Limits) -> Result<(), Refusal> {
    if limits.methods.contains(method) {
        return Ok(());
    }
    if method == Method::CONNECT || method == Method::TRACE {
        return Err(refused(kinds::METHOD_REFUSED, "this server does not do CONNECT or TRACE"));
    }
    if method.as_str().len() > Limits::METHOD_BYTES {
        return Err(refused(kinds::METHOD_UNKNOWN, "the method is too long"));
    }
    if limits.also.takes(method) {
        return Ok(());
    }
    Err(refused(kinds::METHOD_UNKNOWN, "the method is not one that this server knows"))
}

fn target(method: &Method, uri: &Uri, version: Version, limits: &Limits) -> Result<(), Refusal> {
    if method == Method::CONNECT {
        return Ok(());
    }
    let Some(target) = uri.path_and_query() else {
        return Err(invalid("the request target is no path"));
    };
    let text = target.as_str();
    if text.len() > limits.target_bytes {
        return Err(refused(kinds::TARGET_TOO_LONG, "the request target is too long"));
    }
    if !text.is_ascii() {
        return Err(invalid("the request target has a character that must be percent-encoded"));
    }
    match text.as_bytes().first() {
        Some(b'/') => {}
        Some(b'*') if text == "*" && method == Method::OPTIONS => {}
        // `http://host` and `http://host?query` have no path of their own.
        None | Some(b'?') if uri.authority().is_some() => {}
        _ => return Err(invalid("the request target is no path")),
    }
    match uri.scheme_str() {
        None | Some("http" | "https") => Ok(()),
        Some(scheme) if version >= Version::HTTP_2 || is_http(scheme) => Ok(()),
        Some(_) => Err(invalid("the request target is neither http nor https")),
    }
}

fn is_http(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
}

/// What was seen while looking through the headers.
#[derive(Default)]
struct Seen<'a> {
    host: Option<&'a HeaderValue>,
    transfer_encoding: bool,
}

impl<'a> Seen<'a> {
    #[inline]
    fn header(
        &mut self,
        name: &HeaderName,
        value: &'a HeaderValue,
        version: Version,
        all: &HeaderMap,
    ) -> Result<(), Refusal> {
        // By their text: comparing names as such costs three times as much, for every header of every request.
        match name.as_str() {
            "host" => self.host(value)?,
            "transfer-encoding" => self.transfer_encoding(value, version)?,
            "expect" => expectation(value)?,
            text if has_folding_byte(text.as_bytes()) => folds(name, all)?,
            _ => {}
        }
        Ok(())
    }
    fn host(&mut self, value: &'a HeaderValue) -> Result<(), Refusal> {
        match self.host.replace(value) {
            None => Ok(()),
            Some(_) => Err(invalid("the request has more than one Host header")),
        }
    }
    /// One line that says `chunked`, in HTTP/1.1: everything else has been read in two ways by somebody (RFC 9112, section
    /// 6.1; RUSTSEC-2026-0034).
    fn transfer_encoding(&mut self, value: &HeaderValue, version: Version) -> Result<(), Refusal> {
        if version != Version::HTTP_11 {
            return Err(invalid("only HTTP/1.1 has a Transfer-Encoding"));
        }
        if std::mem::replace(&mut self.transfer_encoding, true) {
            return Err(invalid("the request has more than one Transfer-Encoding"));
        }
        if !value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") {
            return Err(invalid("the only Transfer-Encoding of a request is chunked"));
        }
        Ok(())
    }
}

fn expectation(value: &HeaderValue) -> Result<(), Refusal> {
    if value.as_bytes().eq_ignore_ascii_case(b"100-continue") {
        return Ok(());
    }
    let detail = "the only expectation that can be met is 100-continue";
    Err(refused(kinds::EXPECTATION_UNKNOWN, detail))
}

/// Refuses a name with `_` or `.` that some server behind us would take for another header, of this request or of those that
/// matter: CGI and its heirs write `-` and `_` alike.
fn folds(name: &HeaderName, all: &HeaderMap) -> Result<(), Refusal> {
    let folded = name.as_str().replace(['_', '.'], "-");
    if all.contains_key(&folded) || FOLDABLE.iter().any(|known| known.as_str() == folded) {
        return Err(invalid("a header name can be taken for that of another header"));
    }
    Ok(())
}

/// Exactly one host, and the same in the target where it stands there too (RFC 9112, section 3.2).
fn host<B>(request: &Request<B>, seen: &Seen<'_>) -> Result<(), Refusal> {
    let in_target = request.uri().authority();
    if in_target.is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(invalid("the host has user information"));
    }
    match (seen.host, in_target) {
        (Some(host), in_target) => {
            if !is_host(host.as_bytes()) {
                return Err(invalid("the Host header is not valid"));
            }
            if in_target.is_some_and(|authority| !is_same(request.uri(), authority, host)) {
                return Err(invalid("the Host header contradicts the request target"));
            }
            Ok(())
        }
        // HTTP/2 has `:authority`; HTTP/1.0 had no hosts yet, and health checks still speak it.
        (None, Some(authority)) if request.version() != Version::HTTP_11 => {
            if is_host(authority.as_str().as_bytes()) {
                return Ok(());
            }
            Err(invalid("the host is not valid"))
        }
        (None, None) if request.version() <= Version::HTTP_10 => Ok(()),
        (None, _) => Err(invalid("the request has no Host header")),
    }
}

/// Whether the bytes may be a host and a port. The edge reads them closely; here it matters that no two servers read them
/// differently: no list, no user information, no path, no space.
fn is_host(host: &[u8]) -> bool {
    // A bit for each ASCII character, since this runs for every request.
    const PLAIN: u128 = {
        let (mut plain, mut byte) = (0, 0_u8);
        while byte < 128 {
            let is_plain = byte.is_ascii_alphanumeric()
                || matches!(byte, b'-' | b'.' | b'_' | b':' | b'[' | b']');
            plain |= (is_plain as u128) << byte;
            byte += 1;
        }
        plain
    };
    !host.is_empty() && host.iter().all(|byte| byte.is_ascii() && PLAIN >> byte & 1 == 1)
}

/// Whether `_` or `.` is among the bytes, eight at a time: it is asked for the name of every header.
#[inline]
fn has_folding_byte(name: &[u8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let has = |word: u64, byte: u8| {
        let zeroed = word ^ (ONES * u64::from(byte));
        zeroed.wrapping_sub(ONES) & !zeroed & HIGHS != 0
    };
    let (words, rest) = name.as_chunks::<8>();
    let in_words = words.iter().any(|word| {
        let word = u64::from_le_bytes(*word);
        has(word, b'_') || has(word, b'.')
    });
    in_words || rest.iter().any(|byte| matches!(byte, b'_' | b'.'))
}

/// Whether the authority of the target and the Host header are the same host and port.
fn is_same(uri: &Uri, authority: &Authority, host: &HeaderValue) -> bool {
    let port = if uri.scheme_str().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")) {
        ":443"
    } else {
        ":80"
    };
    let authority = authority.as_str();
    let authority = authority.strip_suffix(port).unwrap_or(authority).as_bytes();
    let host = host.as_bytes();
    let host = host.strip_suffix(port.as_bytes()).unwrap_or(host);
    authority.eq_ignore_ascii_case(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(request: &Request<()>) -> Result<(), u16> {
        screen(request, &Limits::default()).map_err(|refusal| refusal.kind.status().as_u16())
    }

    fn get(uri: &str, headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    #[test]
    fn hosts() {
        for (uri, hosts, want) in [
            ("/", &["shop.example"][..], Ok(())),
            ("/", &["shop.example:8080"], Ok(())),
            ("/", &["[::1]:8080"], Ok(())),
            ("/", &[], Err(400)),
            ("/", &[""], Err(400)),
            ("/", &["a", "a"], Err(400)),
            ("/", &["a, b"], Err(400)),
            ("/", &["user@a"], Err(400)),
            ("/", &["a/path"], Err(400)),
            ("http://a/", &["a"], Ok(())),
            ("http://a/", &["A:80"], Ok(())),
            ("http://a", &["a"], Ok(())),
            ("https://a:443/", &["a"], Ok(())),
            ("http://a/", &["b"], Err(400)),
            ("http://a:81/", &["a"], Err(400)),
            ("http://user@a/", &["a"], Err(400)),
            ("http://a/", &[], Err(400)),
            ("ftp://a/", &["a"], Err(400)),
        ] {
            let headers: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
            assert_eq!(check(&get(uri, &headers)), want, "{uri} {hosts:?}");
        }
    }

    #[test]
    fn a_host_is_asked_for_from_http_1_1_on() {
        for (version, want) in
            [(Version::HTTP_10, Ok(())), (Version::HTTP_11, Err(400)), (Version::HTTP_2, Err(400))]
        {
            let mut request = get("/", &[]);
            *request.version_mut() = version;
            assert_eq!(check(&request), want, "{version:?}");
        }
        let mut request = get("https://a/", &[]);
        *request.version_mut() = Version::HTTP_2;
        assert_eq!(check(&request), Ok(()), "`:authority` will do");
        *request.uri_mut() = "https://a,b/".parse().unwrap();
        assert_eq!(check(&request), Err(400), "but not for two hosts");
    }

    #[test]
    fn methods_and_targets() {
        let long = format!("/{}", "a".repeat(8 << 10));
        for (method, uri, want) in [
            ("GET", "/", Ok(())),
            ("OPTIONS", "*", Ok(())),
            ("GET", "*", Err(400)),
            ("CONNECT", "a:80", Err(405)),
            ("TRACE", "/", Err(405)),
            ("FOOBAR", "/", Err(501)),
            ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "/", Err(501)),
            ("GET", &long, Err(414)),
            ("GET", "/caf\u{e9}", Err(400)),
        ] {
            let mut request = get("/", &[("host", "a")]);
            *request.method_mut() = method.parse().unwrap();
            *request.uri_mut() = Uri::try_from(uri.as_bytes()).unwrap();
            assert_eq!(check(&request), want, "{method} {uri}");
        }
        let mut request = get("/", &[("host", "a")]);
        *request.method_mut() = "PROPFIND".parse().unwrap();
        let limits = Limits::default().method("PROPFIND".parse().unwrap());
        assert_eq!(screen(&request, &limits), Ok(()));
        let refused = |method: &str, limits: &Limits| {
            let mut request = get("/", &[("host", "a")]);
            *request.method_mut() = method.parse().unwrap();
            screen(&request, limits).map_err(|refusal| refusal.kind.status().as_u16())
        };
        let limits = Limits::default().method_if(|method| method.as_str() == "PROPFIND");
        assert_eq!(refused("PROPFIND", &limits), Ok(()));
        assert_eq!(refused("PROPPATCH", &limits), Err(501));
        // Whoever says yes to everything has not thought of these.
        let limits = Limits::default().method_if(|_| true);
        assert_eq!(refused("PROPPATCH", &limits), Ok(()));
        for (method, status) in [("CONNECT", 405), ("TRACE", 405), (&*"A".repeat(33), 501)] {
            assert_eq!(refused(method, &limits), Err(status), "{method}");
        }
    }

    #[test]
    fn framing_and_folding_names() {
        for (headers, want) in [
            (&[("transfer-encoding", "chunked")][..], Ok(())),
            (&[("transfer-encoding", " Chunked ")], Ok(())),
            (&[("transfer-encoding", "cow, chunked")], Err(400)),
            (&[("transfer-encoding", "chunked, chunked")], Err(400)),
            (&[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], Err(400)),
            (&[("transfer_encoding", "chunked")], Err(400)),
            (&[("content.length", "5")], Err(400)),
            (&[("x-user", "ada"), ("x_user", "root")], Err(400)),
            (&[("x_user", "ada")], Ok(())),
            (&[("expect", "100-continue")], Ok(())),
            (&[("expect", "200-ok")], Err(417)),
        ] {
            let mut all = vec![("host", "a")];
            all.extend(headers);
            assert_eq!(check(&get("/", &all)), want, "{headers:?}");
        }
        let mut old = get("/", &[("host", "a"), ("transfer-encoding", "chunked")]);
        *old.version_mut() = Version::HTTP_10;
        assert_eq!(check(&old), Err(400));
    }
}
