//! Who is at the other end.
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::header::FORWARDED;
use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

use crate::Scheme;

mod forwarded;
#[cfg(test)]
mod tests;

pub use forwarded::{Forwarded, ForwardedElement, ForwardedError};

/// The address of the client: the peer, or what trusted proxies say about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddr {
    ip: IpAddr,
    forwarded: bool,
}

/// The key of a client address in limits and tables: an IPv4 address, or the /64 of an IPv6 address.
///
/// A /64 is what one household or one server gets; counting single IPv6 addresses counts nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AddrKey(u128);

impl ClientAddr {
    /// The address of the other end of the connection.
    pub fn peer(ip: IpAddr) -> Self {
        Self { ip: ip.to_canonical(), forwarded: false }
    }
    /// The address that a trusted hop forwarded for.
    pub fn forwarded(ip: IpAddr) -> Self {
        Self { ip: ip.to_canonical(), forwarded: true }
    }
    /// The address. An IPv4 address in IPv6 clothes has become IPv4.
    pub fn ip(self) -> IpAddr {
        self.ip
    }
    /// Whether a trusted hop said it; otherwise it is the peer.
    pub fn is_forwarded(self) -> bool {
        self.forwarded
    }
    /// The key in limits and tables.
    pub fn key(self) -> AddrKey {
        AddrKey(match self.ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
            IpAddr::V6(ip) => ip.to_bits() & (u128::MAX << 64),
        })
    }
}

impl AddrKey {
    /// The key as a number: the address in IPv6, with the lower half of a true IPv6 address cut off.
    pub fn to_bits(self) -> u128 {
        self.0
    }
}

impl fmt::Display for ClientAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ip.fmt(f)
    }
}

impl fmt::Display for AddrKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ip = Ipv6Addr::from_bits(self.0);
        match ip.to_ipv4_mapped() {
            Some(ip) => ip.fmt(f),
            None => write!(f, "{ip}/64"),
        }
    }
}

/// Which peers may speak for a client. Nobody by default: not loopback, not private networks.
///
/// A trusted proxy must **append** to, or replace, `Forwarded` or `X-Forwarded-For`, and must replace or drop
/// `X-Forwarded-Proto`, `x-request-id`, `traceparent` and `baggage` of clients: they are believed as they come from it. The
/// client is the right-most address that is not itself a trusted proxy. An address that cannot be read ends the search: the
/// client is then the nearest hop that could be read, or the proxy itself. Where both headers are there they must agree: a proxy that writes
/// one and passes the other through would otherwise let the client choose.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    host: bool,
}

/// What trusted proxies say about a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hop {
    /// The address of the client.
    pub client: Option<IpAddr>,
    /// How the client spoke.
    pub scheme: Option<Scheme>,
    /// What host it asked for, where proxies are trusted with it.
    pub host: Option<String>,
}

/// Forwarding headers that came through a trusted proxy and cannot be believed: one cannot be read, or two name
/// different clients. Only the client's own doing leads here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`Forwarded` cannot be read, or `X-Forwarded-For` names another client")]
pub struct Ambiguous;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

impl TrustedProxies {
    /// Trusts nobody.
    pub fn none() -> Self {
        Self::default()
    }
    /// Trusts the peers in these networks.
    pub fn new(networks: impl IntoIterator<Item = IpNet>) -> Self {
        Self { networks: networks.into_iter().collect(), host: false }
    }
    /// Also believes what the proxies say about the host (`host=`, `X-Forwarded-Host`). Default: no, since many
    /// proxies pass what the client sent.
    #[must_use]
    pub fn with_host(self) -> Self {
        Self { host: true, ..self }
    }
    /// Whether `ip` may speak for a client.
    pub fn trusts(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.networks.iter().any(|network| network.contains(&ip))
    }
    /// What the headers of a request from `peer` say, as far as they can be believed.
    pub fn resolve(&self, peer: SocketAddr, headers: &HeaderMap) -> Result<Hop, Ambiguous> {
        if !self.trusts(peer.ip()) {
            return Ok(Hop::default());
        }
        let (standard, legacy) = (self.standard(headers)?, self.legacy(headers));
        match (standard, legacy) {
            (Some(one), Some(other))
                if one.client != other.client && headers.contains_key(X_FORWARDED_FOR) =>
            {
                Err(Ambiguous)
            }
            // A proxy writes one of the two and may pass the other: only what both say is believed.
            (Some(one), Some(other)) => Ok(Hop {
                client: one.client,
                scheme: one.scheme.filter(|scheme| Some(*scheme) == other.scheme),
                host: one.host.filter(|host| Some(host) == other.host.as_ref()),
            }),
            (one, other) => Ok(one.or(other).unwrap_or_default()),
        }
    }

    /// The hop that `Forwarded` (RFC 7239) names.
    fn standard(&self, headers: &HeaderMap) -> Result<Option<Hop>, Ambiguous> {
        if !headers.contains_key(FORWARDED) {
            return Ok(None);
        }
        let forwarded = Forwarded::of(headers).map_err(|_| Ambiguous)?;
        let mut hop = Hop::default();
        for element in forwarded.elements().iter().rev() {
            // Written by a trusted hop, the first of them by the peer, whatever it says about its client.
            hop.scheme = element.proto().and_then(Scheme::from_name).or(hop.scheme);
            hop.host = element.host().filter(|_| self.host).map(str::to_owned).or(hop.host);
            // Behind a hop that hides its client nothing more can be believed.
            let Some(ip) = element.for_address() else { break };
            hop.client = Some(ip);
            if !self.trusts(ip) {
                break;
            }
        }
        Ok(Some(hop))
    }

    /// The hop that the `X-Forwarded-*` headers name.
    fn legacy(&self, headers: &HeaderMap) -> Option<Hop> {
        let names = [X_FORWARDED_FOR, X_FORWARDED_PROTO, X_FORWARDED_HOST];
        if !names.iter().any(|name| headers.contains_key(name)) {
            return None;
        }
        let mut client = None;
        // Nearest hop first. Behind one that is no address nothing more can be believed.
        for member in from_the_right(headers, &X_FORWARDED_FOR) {
            let Some(ip) = member.and_then(forwarded::address) else { break };
            client = Some(ip);
            if !self.trusts(ip) {
                break;
            }
        }
        let last = |name: &HeaderName| from_the_right(headers, name).next()?;
        let scheme = last(&X_FORWARDED_PROTO).and_then(Scheme::from_name);
        let host = last(&X_FORWARDED_HOST).filter(|_| self.host).map(str::to_owned);
        Some(Hop { client, scheme, host })
    }
}

/// The members of a list header that may stand on several lines, the last one first; `None` for one that is no text.
fn from_the_right<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = Option<&'a str>> + use<'a> {
    // Each member is read by itself, so that what a client wrote cannot spoil what its proxy added on the same line.
    let members =
        headers.get_all(name).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let members: Vec<_> =
        members.map(<[u8]>::trim_ascii).filter(|member| !member.is_empty()).collect();
    members.into_iter().rev().map(|member| std::str::from_utf8(member).ok())
}
