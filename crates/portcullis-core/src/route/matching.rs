//! What a request must have beside its path and method, for a route to be its own.
use std::fmt;

use http::{HeaderMap, HeaderName, Method};
use ipnet::IpNet;

use crate::{ClientAddr, Target};

/// What a request must have beside its path and method, for a route to be its own. The default asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteMatch {
    pub(super) hosts: Vec<HostPattern>,
    pub(super) conditions: Vec<Condition>,
}

impl RouteMatch {
    /// Asks for this host, without a port: `shop.example`, or `*.shop.example` for all names below it. Said several times, one of
    /// them must be it.
    ///
    /// # Errors
    /// What is wrong with the pattern.
    pub fn host(mut self, pattern: &str) -> Result<Self, String> {
        self.hosts.push(HostPattern::parse(pattern)?);
        Ok(self)
    }
    /// Asks for a header, with this value in one of its lines where there is one.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: Option<&str>) -> Self {
        self.conditions.push(Condition::Header { name, value: value.map(Into::into) });
        self
    }
    /// Asks for a parameter of the query, with this value where there is one. Both are compared once they are decoded.
    #[must_use]
    pub fn query(mut self, name: &str, value: Option<&str>) -> Self {
        self.conditions.push(Condition::Query { name: name.into(), value: value.map(Into::into) });
        self
    }
    /// Asks for a client in one of these networks. Who has no address is in none.
    #[must_use]
    pub fn client_in(mut self, networks: impl IntoIterator<Item = IpNet>) -> Self {
        self.conditions.push(Condition::Client(networks.into_iter().collect()));
        self
    }
    /// The hosts, as they were said.
    pub fn hosts(&self) -> impl ExactSizeIterator<Item = String> {
        self.hosts.iter().map(ToString::to_string)
    }
    /// The other conditions, in words.
    pub fn conditions(&self) -> impl ExactSizeIterator<Item = String> {
        self.conditions.iter().map(ToString::to_string)
    }
}

impl fmt::Display for RouteMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<_> = self.hosts().collect();
        let mut all: Vec<_> = (!hosts.is_empty()).then(|| hosts.join("|")).into_iter().collect();
        all.extend(self.conditions());
        f.write_str(&all.join(", "))
    }
}

/// A host, or all below one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum HostPattern {
    Exact(Box<str>),
    /// Everything that ends with a dot and this.
    Below(Box<str>),
}

impl HostPattern {
    fn parse(pattern: &str) -> Result<Self, String> {
        let (below, name) = match pattern.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, pattern),
        };
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        let is_address =
            address.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
        let is_name = !name.is_empty()
            && name.split('.').all(|label| !label.is_empty())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        if !(is_name || (is_address && !below)) {
            return Err(format!(
                "`{pattern}` is no host: write `shop.example` or `*.shop.example`, without a port, and names in other alphabets in their `xn--` form"
            ));
        }
        Ok(if below { Self::Below(name.into()) } else { Self::Exact(name.into()) })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Below(name) => write!(f, "*.{name}"),
        }
    }
}

/// Something that a request must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Header { name: HeaderName, value: Option<Box<str>> },
    Query { name: Box<str>, value: Option<Box<str>> },
    Client(Box<[IpNet]>),
}

impl Condition {
    fn holds(&self, asked: &Asked<'_>) -> bool {
        match self {
            Self::Header { name, value: None } => asked.headers.contains_key(name),
            Self::Header { name, value: Some(wanted) } => asked
                .headers
                .get_all(name)
                .iter()
                .any(|value| value.as_bytes() == wanted.as_bytes()),
            Self::Query { name, value } => {
                asked.target.and_then(Target::query).is_some_and(|query| {
                    query.split('&').any(|pair| {
                        let (key, given) = pair.split_once('=').unwrap_or((pair, ""));
                        decodes_to(key, name)
                            && value.as_ref().is_none_or(|wanted| decodes_to(given, wanted))
                    })
                })
            }
            Self::Client(networks) => asked.client.is_some_and(|client| {
                networks.iter().any(|network| network.contains(&client.ip()))
            }),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header { name, value: None } => write!(f, "header {name}"),
            Self::Header { name, value: Some(value) } => write!(f, "header {name}={value}"),
            Self::Query { name, value: None } => write!(f, "query {name}"),
            Self::Query { name, value: Some(value) } => write!(f, "query {name}={value}"),
            Self::Client(networks) => {
                let networks: Vec<_> = networks.iter().map(ToString::to_string).collect();
                write!(f, "client in {}", networks.join("|"))
            }
        }
    }
}

/// Whether `given` is `wanted` once its escapes are decoded.
fn decodes_to(given: &str, wanted: &str) -> bool {
    let mut bytes = given.bytes();
    let mut wanted = wanted.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => {
                let mut digit = || bytes.next().and_then(|digit| char::from(digit).to_digit(16));
                let (Some(high), Some(low)) = (digit(), digit()) else { return false };
                u8::try_from(high << 4 | low).unwrap_or_default()
            }
            b'+' => b' ',
            byte => byte,
        };
        if wanted.next() != Some(byte) {
            return false;
        }
    }
    wanted.next().is_none()
}

/// What a request says of itself to a table.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a Method,
    pub(crate) path: &'a str,
    pub(crate) target: Option<&'a Target>,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) client: Option<ClientAddr>,
}

impl Asked<'_> {
    pub(super) fn host(&self) -> &str {
        self.target.map_or("", Target::host)
    }
    pub(super) fn meets(&self, conditions: &[Condition]) -> bool {
        conditions.iter().all(|condition| condition.holds(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_all_below_one() {
        for (pattern, want) in [
            ("Shop.Example", Some("shop.example")),
            ("shop.example.", Some("shop.example")),
            ("*.shop.example", Some("*.shop.example")),
            ("xn--bcher-kva.example", Some("xn--bcher-kva.example")),
            ("127.0.0.1", Some("127.0.0.1")),
            ("[::1]", Some("[::1]")),
            ("*", None),
            ("*.", None),
            ("", None),
            ("a..b", None),
            ("shop.example:80", None),
            ("sh*p.example", None),
            ("bücher.example", None),
            ("*.[::1]", None),
            ("http://shop.example", None),
        ] {
            let parsed = HostPattern::parse(pattern);
            assert_eq!(parsed.ok().map(|host| host.to_string()).as_deref(), want, "{pattern}");
        }
    }

    #[test]
    fn queries_are_compared_once_decoded() {
        for (given, wanted, want) in [
            ("v2", "v2", true),
            ("%76%32", "v2", true),
            ("a+b", "a b", true),
            ("a%2Bb", "a+b", true),
            ("v", "v2", false),
            ("v22", "v2", false),
            ("%7", "v", false),
            ("%zz", "v", false),
            ("", "", true),
        ] {
            assert_eq!(decodes_to(given, wanted), want, "{given} {wanted}");
        }
    }
}
