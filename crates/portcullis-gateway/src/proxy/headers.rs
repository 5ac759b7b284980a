//! Headers on their way through: what stays here, what is made anew, and what passes.
use std::fmt::Write;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use http::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, EXPECT, HOST,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, SET_COOKIE, TE, TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::{HeaderMap, HeaderName, HeaderValue, Version};
use portcullis_core::problem::kinds::REQUEST_INVALID;
use portcullis_core::{Context, Format, GrpcTimeout, Identity, Problem, Scheme, Target};

use super::{Forwarding, Host, Proxy};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
pub(super) const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(super) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// How we call ourselves in `Via` (RFC 9110, section 7.6.3).
const VIA_11: HeaderValue = HeaderValue::from_static("1.1 portcullis");
const VIA_20: HeaderValue = HeaderValue::from_static("2.0 portcullis");
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");

/// How much is left of the time that a client of gRPC gives, which is that of the whole call: the time of a route is only that up to the head of
/// its answer. `None` where it gives none that can be read, or several.
pub(super) fn wish(headers: &HeaderMap, context: &Context, now: Instant) -> Option<Duration> {
    let is_grpc = context.dialect().format() == Format::Grpc;
    let lines = if is_grpc { headers.get_all(GrpcTimeout::HEADER).iter().count() } else { 0 };
    let wish = GrpcTimeout::read(headers).filter(|_| lines == 1)?;
    Some(wish.0.saturating_sub(now.saturating_duration_since(context.start())))
}

/// Tells a server how much of it is left, and nothing that cannot be read.
pub(super) fn say_wish(headers: &mut HeaderMap, context: &Context, wish: Option<Duration>) {
    match wish {
        Some(wish) => GrpcTimeout(wish).write(headers),
        None if context.dialect().format() == Format::Grpc => {
            headers.remove(GrpcTimeout::HEADER);
        }
        None => {}
    }
}

/// What belongs to one connection (RFC 9110, section 7.6.1).
fn is_hop_by_hop(name: &HeaderName) -> bool {
    [
        CONNECTION,
        KEEP_ALIVE,
        PROXY_CONNECTION,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRANSFER_ENCODING,
        UPGRADE,
        HTTP2_SETTINGS,
    ]
    .contains(name)
}

/// What a client may not take away by naming it in `Connection`: without it the message would be another one.
fn is_essential(name: &HeaderName) -> bool {
    [HOST, CONTENT_LENGTH, CONTENT_TYPE, CONTENT_ENCODING, COOKIE, http::header::AUTHORIZATION]
        .contains(name)
}

/// What a trailer may not say, since it would have to be known before the body (RFC 9110, section 6.5.1).
fn is_no_trailer(name: &HeaderName) -> bool {
    use http::header::{
        AUTHORIZATION, CACHE_CONTROL, CONTENT_RANGE, MAX_FORWARDS, RANGE, SET_COOKIE, TRAILER,
    };
    is_hop_by_hop(name)
        || is_essential(name)
        || [
            TRAILER,
            EXPECT,
            AUTHORIZATION,
            SET_COOKIE,
            RANGE,
            CONTENT_RANGE,
            CACHE_CONTROL,
            MAX_FORWARDS,
        ]
        .contains(name)
}

/// Why a header cannot be set or removed from outside, where it cannot.
pub(super) fn unsettable(name: &HeaderName) -> Option<String> {
    if *name == HOST {
        return Some("`host` is said by the upstream's own setting for it".to_owned());
    }
    let framing =
        is_hop_by_hop(name) || [CONTENT_LENGTH, EXPECT, http::header::TRAILER].contains(name);
    framing.then(|| {
        format!(
            "`{name}` says how a message is framed or goes on: nobody but the gateway says that"
        )
    })
}

/// Why a header cannot say who is calling, where it cannot: it says something else.
pub(super) fn no_identity(name: &HeaderName) -> Option<String> {
    let says_else = is_a_claim(name.as_str())
        || name.as_str().starts_with("x-portcullis-")
        || name.as_str().starts_with("content-")
        || name.as_str().starts_with("accept")
        || [X_REQUEST_ID, TRACEPARENT, VIA, COOKIE, SET_COOKIE, GrpcTimeout::HEADER].contains(name);
    says_else
        .then(|| format!("`{name}` says something else: who is calling needs a header of its own"))
}

/// Whether an answer says in one way where it ends. Several lengths that are the same become one.
pub(super) fn check_framing(headers: &mut HeaderMap, version: Version) -> Result<(), &'static str> {
    if version < Version::HTTP_2 {
        let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
        match (codings.next(), codings.next()) {
            (None, _) => {}
            (Some(one), None) if one.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") => {}
            // Nobody asked for a coding: one that there is not says nothing about the body, which ends with the connection (RFC 9112, section 6.3).
            (Some(one), None)
                if is_no_coding(one.as_bytes().trim_ascii())
                    && !headers.contains_key(CONTENT_LENGTH) =>
            {
                headers.remove(TRANSFER_ENCODING);
            }
            _ => return Err("its transfer coding is not `chunked`"),
        }
    }
    one_length(headers)
}

/// Whether it is a name, and of no transfer coding that is registered (RFC 9112, section 7.2).
fn is_no_coding(name: &[u8]) -> bool {
    let known: [&[u8]; 7] =
        [b"chunked", b"compress", b"deflate", b"gzip", b"identity", b"x-compress", b"x-gzip"];
    !name.is_empty()
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
        && !known.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Makes one length of several that are the same.
fn one_length(headers: &mut HeaderMap) -> Result<(), &'static str> {
    let mut length: Option<&[u8]> = None;
    let mut count = 0;
    for line in headers.get_all(CONTENT_LENGTH) {
        for part in line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            let is_number = (1..=19).contains(&part.len()) && part.iter().all(u8::is_ascii_digit);
            if !is_number || length.is_some_and(|length| length != part) {
                return Err("the length is no number, or several");
            }
            length = Some(part);
            count += 1;
        }
    }
    if count > 1
        && let Some(one) = length.and_then(|length| HeaderValue::from_bytes(length).ok())
    {
        headers.insert(CONTENT_LENGTH, one);
    }
    Ok(())
}

/// Names by which a request would say of itself where it comes from, or that it is another one. Servers believe them of a proxy.
fn is_a_claim(name: &str) -> bool {
    name.starts_with("x-forwarded-")
        || name.starts_with("x-original-")
        || name.starts_with("x-rewrite-")
        || name.starts_with("x-client-")
        || name.starts_with("ssl-client-")
        || matches!(
            name,
            "forwarded"
                | "x-forwarded"
                | "x-real-ip"
                | "x-cluster-client-ip"
                | "x-originating-ip"
                | "x-remote-ip"
                | "x-remote-addr"
                | "x-azure-clientip"
                | "client-ip"
                | "true-client-ip"
                | "cf-connecting-ip"
                | "fastly-client-ip"
                | "proxy-client-ip"
                | "wl-proxy-client-ip"
                | "client-cert"
                | "client-cert-chain"
                | "x-scheme"
                | "x-url-scheme"
                | "x-ssl"
                | "front-end-https"
                | "x-host"
                | "x-http-host-override"
                | "x-method-override"
                | "x-http-method"
                | "x-http-method-override"
                // A variable of CGI would be made of it that sets the proxy of the server itself.
                | "proxy"
        )
}

/// A name as servers read it that take `_` and `.` for `-`.
pub(super) fn fold(name: &str) -> String {
    name.chars()
        .map(|c| if matches!(c, '_' | '.' | ' ') { '-' } else { c.to_ascii_lowercase() })
        .collect()
}

impl Proxy {
    /// Makes the client's headers those of the request to a server. What `upgrade` names stays.
    pub(super) fn clean(
        &self,
        headers: &mut HeaderMap,
        context: &Context,
        upgrade: Option<&HeaderValue>,
    ) -> Result<(), Problem> {
        let trailers = wants_trailers(headers);
        let mut dropped: Vec<HeaderName> = listed(headers);
        for name in headers.keys() {
            if self.is_dropped(name) {
                dropped.push(name.clone());
            }
        }
        if let Some(consumed) = context.consumed() {
            dropped.extend_from_slice(consumed.headers());
            for cookie in consumed.cookies() {
                drop_cookie(headers, cookie);
            }
        }
        for name in dropped {
            headers.remove(name);
        }
        // Over HTTP/2 the first line counts, whatever the others say.
        one_length(headers).map_err(|cause| Problem::new(REQUEST_INVALID).cause(cause))?;
        if trailers {
            headers.insert(TE, TRAILERS);
        }
        if let Some(protocol) = upgrade {
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(UPGRADE, protocol.clone());
        }
        Ok(())
    }

    /// Takes from the client's trailers what its headers may not say either, and what no trailer may.
    pub(super) fn sift(&self, trailers: &mut HeaderMap, context: &Context) {
        let consumed = context.consumed();
        let is_consumed =
            |name: &HeaderName| consumed.is_some_and(|consumed| consumed.headers().contains(name));
        let dropped: Vec<_> = trailers
            .keys()
            .filter(|name| is_no_trailer(name) || is_consumed(name) || self.is_dropped(name))
            .cloned()
            .collect();
        for name in dropped {
            trailers.remove(name);
        }
    }

    fn is_dropped(&self, name: &HeaderName) -> bool {
        let text = name.as_str();
        if text.bytes().any(|byte| matches!(byte, b'_' | b'.')) {
            let folded = fold(text);
            return is_a_claim(&folded) || self.0.written.contains(folded.as_str());
        }
        is_hop_by_hop(name) || *name == EXPECT || is_a_claim(text) || self.0.written.contains(text)
    }

    /// Adds what we say of the request ourselves.
    pub(super) fn introduce(&self, headers: &mut HeaderMap, context: &Context, version: Version) {
        // What is added here, and the host: it grows once at most.
        headers.reserve(8);
        let via = if version == Version::HTTP_2 { VIA_20 } else { VIA_11 };
        headers.append(VIA, via);
        if let Some(id) = context.request_id() {
            headers.insert(X_REQUEST_ID, id.header_value());
        }
        if let Some(trace) = context.trace() {
            headers.insert(TRACEPARENT, trace.header_value());
        }
        self.forward(headers, context);
        let identity = context.identity();
        for (name, fact) in &self.0.identity {
            // A value that no header can hold is left out: the name was dropped before.
            let value = identity.and_then(|identity| fact.of(identity));
            if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
                headers.insert(name.clone(), value);
            }
        }
        if let (Some(token), Some(identity)) = (&self.0.identity_token, identity)
            && let Some(value) = token.value(identity, context.clock().wall())
        {
            headers.insert(token.header().clone(), value);
        }
        for (name, value) in &self.0.request_headers {
            match value {
                Some(value) => drop(headers.insert(name.clone(), value.clone())),
                None => drop(headers.remove(name)),
            }
        }
    }

    /// The `Host` of the request; `None` is the server's own.
    pub(super) fn host_header(&self, context: &Context) -> Option<HeaderValue> {
        match (&self.0.host, context.target()) {
            (Host::Set(host), _) => Some(host.clone()),
            (Host::Keep, Some(target)) if !target.authority().is_empty() => {
                target.authority_value()
            }
            _ => None,
        }
    }

    fn forward(&self, headers: &mut HeaderMap, context: &Context) {
        let peer = context.connection().and_then(portcullis_core::Connection::peer);
        let client = context.client().map(portcullis_core::ClientAddr::ip);
        let hop = peer.map(|peer| peer.ip().to_canonical()).filter(|peer| Some(*peer) != client);
        let target = context.target().filter(|target| !target.authority().is_empty());
        if matches!(self.0.forwarding, Forwarding::XForwarded | Forwarding::Both) {
            if let Some(chain) = chain(client, hop) {
                headers.insert(X_FORWARDED_FOR, chain);
            }
            headers.insert(
                X_FORWARDED_PROTO,
                match context.scheme() {
                    Scheme::Https => HeaderValue::from_static("https"),
                    _ => HeaderValue::from_static("http"),
                },
            );
            if let Some(host) = target.and_then(Target::authority_value) {
                headers.insert(X_FORWARDED_HOST, host);
            }
        }
        if matches!(self.0.forwarding, Forwarding::Forwarded | Forwarding::Both) {
            let node = |ip: IpAddr| match ip {
                IpAddr::V4(ip) => ip.to_string(),
                IpAddr::V6(ip) => format!("\"[{ip}]\""),
            };
            let client = client.map_or("unknown".to_owned(), node);
            let mut element = format!("for={client};proto={}", context.scheme().as_str());
            if let Some(target) = target {
                _ = write!(element, ";host=\"{}\"", target.authority());
            }
            if let Some(hop) = hop {
                _ = write!(element, ", for={}", node(hop));
            }
            if let Ok(element) = HeaderValue::try_from(element) {
                headers.insert(FORWARDED, element);
            }
        }
    }

    /// Takes from the trailers of an answer what its headers do not say either, and what no trailer may.
    pub(crate) fn sift_answer(&self, trailers: &mut HeaderMap) {
        let written =
            |name: &HeaderName| self.0.response_headers.iter().any(|(own, _)| own == name);
        let dropped: Vec<_> =
            trailers.keys().filter(|name| is_no_trailer(name) || written(name)).cloned().collect();
        for name in dropped {
            trailers.remove(name);
        }
    }

    /// Makes a server's headers those of our answer.
    pub(super) fn clean_answer(&self, headers: &mut HeaderMap, version: Version) {
        let mut dropped = listed(headers);
        dropped.extend(headers.keys().filter(|name| is_hop_by_hop(name)).cloned());
        for name in dropped {
            headers.remove(name);
        }
        headers.append(VIA, if version == Version::HTTP_2 { VIA_20 } else { VIA_11 });
        for (name, value) in &self.0.response_headers {
            match value {
                Some(value) => drop(headers.insert(name.clone(), value.clone())),
                None => drop(headers.remove(name)),
            }
        }
    }
}

/// Something about the caller that a server is told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdentityFact {
    /// Who they are.
    Subject,
    /// Their roles, separated by commas.
    Roles,
    /// Their tenant.
    Tenant,
}

impl IdentityFact {
    fn of(&self, identity: &Identity) -> Option<String> {
        match self {
            Self::Subject => Some(identity.subject().to_owned()),
            Self::Roles => {
                let roles: Vec<_> = identity.roles_in_use().collect();
                Some(roles.join(","))
            }
            Self::Tenant => identity.tenant().map(ToOwned::to_owned),
        }
    }
}

/// The client, and the proxy that it came through, for `X-Forwarded-For`.
fn chain(client: Option<IpAddr>, hop: Option<IpAddr>) -> Option<HeaderValue> {
    match (client, hop) {
        (Some(IpAddr::V4(ip)), None) => {
            // By hand, since it is asked for by nearly every request.
            let mut text = [0; 15];
            let mut len = 0;
            let mut put = |byte| {
                if let Some(place) = text.get_mut(len) {
                    *place = byte;
                    len += 1;
                }
            };
            for (at, octet) in ip.octets().into_iter().enumerate() {
                if at > 0 {
                    put(b'.');
                }
                let digits = [octet / 100, octet / 10 % 10, octet % 10];
                let zeros = digits.iter().take(2).take_while(|digit| **digit == 0).count();
                digits.into_iter().skip(zeros).for_each(|digit| put(b'0' + digit));
            }
            HeaderValue::from_bytes(text.get(..len)?).ok()
        }
        (Some(ip), None) | (None, Some(ip)) => HeaderValue::try_from(ip.to_string()).ok(),
        (Some(client), Some(hop)) => HeaderValue::try_from(format!("{client}, {hop}")).ok(),
        (None, None) => None,
    }
}

/// The names that `Connection` lists, as far as they may be taken away.
fn listed(headers: &HeaderMap) -> Vec<HeaderName> {
    let mut names = Vec::new();
    for value in headers.get_all(CONNECTION) {
        for name in value.as_bytes().split(|byte| *byte == b',') {
            let name = name.trim_ascii();
            if name.eq_ignore_ascii_case(b"close") || name.eq_ignore_ascii_case(b"keep-alive") {
                continue;
            }
            if let Ok(name) = HeaderName::from_bytes(name)
                && !is_essential(&name)
            {
                names.push(name);
            }
        }
    }
    names
}

/// Whether the client takes trailers, which gRPC needs to hear.
fn wants_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(TE).iter().any(|value| {
        let parts = value.as_bytes().split(|byte| *byte == b',');
        parts.map(<[u8]>::trim_ascii).any(|part| part.eq_ignore_ascii_case(b"trailers"))
    })
}

/// The protocol that the client wants to change to, where it says so properly (RFC 9110, section 7.8). HTTP/2 by upgrade is none.
pub(super) fn wanted_upgrade(headers: &HeaderMap, version: Version) -> Option<HeaderValue> {
    if version != Version::HTTP_11 {
        return None;
    }
    let protocol = headers.get(UPGRADE)?;
    let listed = headers.get_all(CONNECTION).iter().any(|value| {
        let parts = value.as_bytes().split(|byte| *byte == b',');
        parts.map(<[u8]>::trim_ascii).any(|part| part.eq_ignore_ascii_case(b"upgrade"))
    });
    let is_h2c = protocol
        .as_bytes()
        .split(|byte| *byte == b',')
        .any(|part| part.trim_ascii().eq_ignore_ascii_case(b"h2c"));
    (listed && !is_h2c).then(|| protocol.clone())
}

/// The value of a cookie.
pub(super) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs =
        lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// Takes one cookie out of the header, and leaves the others.
fn drop_cookie(headers: &mut HeaderMap, name: &str) {
    if cookie(headers, name).is_none() {
        return;
    }
    let mut lines = Vec::new();
    for line in headers.get_all(COOKIE) {
        let Ok(text) = line.to_str() else {
            lines.push(line.clone());
            continue;
        };
        let kept: Vec<_> = text
            .split(';')
            .map(str::trim)
            .filter(|pair| pair.split('=').next().map(str::trim) != Some(name))
            .collect();
        lines.extend(HeaderValue::try_from(kept.join("; ")).ok().filter(|_| !kept.is_empty()));
    }
    headers.remove(COOKIE);
    for line in lines {
        headers.append(COOKIE, line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn only_what_is_not_essential_can_be_taken_away() {
        let headers = map(&[
            ("connection", "close, X-Mine, Host, authorization"),
            ("connection", "keep-alive,content-length , x-yours"),
        ]);
        assert_eq!(listed(&headers), ["x-mine", "x-yours"]);
    }

    #[test]
    fn addresses_are_written_as_they_are_read() {
        for text in [
            "0.0.0.0",
            "10.0.0.7",
            "192.168.100.200",
            "255.255.255.255",
            "1.20.3.99",
            "2001:db8::1",
        ] {
            let ip = text.parse().unwrap();
            assert_eq!(chain(Some(ip), None).unwrap(), text);
            assert_eq!(
                chain(Some(ip), Some(IpAddr::from([10, 0, 0, 1]))).unwrap(),
                format!("{text}, 10.0.0.1")
            );
        }
    }

    #[test]
    fn one_cookie_goes_and_the_others_stay() {
        for (line, want) in [
            ("a=1; sid=2; b=3", Some("a=1; b=3")),
            ("sid=2", None),
            ("xsid=2; sid2=3", Some("xsid=2; sid2=3")),
            ("sid=2;sid=3;c=4", Some("c=4")),
        ] {
            let mut headers = map(&[("cookie", line)]);
            drop_cookie(&mut headers, "sid");
            let left = headers.get(COOKIE).map(|value| value.to_str().unwrap());
            assert_eq!(left, want, "{line}");
        }
    }

    #[test]
    fn an_upgrade_is_said_twice_and_is_not_http2() {
        for (lines, version, want) in [
            (&[("connection", "Upgrade"), ("upgrade", "websocket")][..], Version::HTTP_11, true),
            (
                &[("connection", "keep-alive, upgrade"), ("upgrade", "websocket")],
                Version::HTTP_11,
                true,
            ),
            (&[("upgrade", "websocket")], Version::HTTP_11, false),
            (&[("connection", "upgrade")], Version::HTTP_11, false),
            (&[("connection", "upgrade"), ("upgrade", "h2c")], Version::HTTP_11, false),
            (&[("connection", "upgrade"), ("upgrade", "websocket")], Version::HTTP_10, false),
        ] {
            assert_eq!(
                wanted_upgrade(&map(lines), version).is_some(),
                want,
                "{lines:?} {version:?}"
            );
        }
    }
}
