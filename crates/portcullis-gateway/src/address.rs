//! Where a server is, and how it is spoken to.
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use http::HeaderValue;

/// Where a server is: `http://127.0.0.1:9001`, `https://api.example`, `h2c://10.0.0.7:50051` (HTTP/2 in clear) or
/// `unix:/run/api.sock`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    pub(crate) wire: Wire,
    pub(crate) at: At,
    /// What the server is called: the `Host` of requests of our own, and the name in its certificate.
    pub(crate) host: Arc<str>,
}

/// How a server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Wire {
    /// HTTP/1.1 in clear.
    Http1,
    /// HTTP/2 in clear, with prior knowledge.
    H2c,
    /// Over TLS, and what ALPN says.
    Tls,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum At {
    Address(SocketAddr),
    /// A name, which DNS knows the addresses of.
    Name(Arc<str>, u16),
    Unix(Arc<PathBuf>),
}

impl Origin {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            if path.is_empty() {
                return Err("a Unix socket needs a path: `unix:/run/api.sock`".to_owned());
            }
            let at = At::Unix(Arc::new(path.into()));
            return Ok(Self { wire: Wire::Http1, at, host: "localhost".into() });
        }
        let (wire, default_port, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (Wire::Http1, 80, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (Wire::Tls, 443, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("h2c") => (Wire::H2c, 80, rest),
            Some((scheme, _)) => {
                return Err(format!(
                    "`{scheme}` is no scheme: say `http`, `https`, `h2c` or `unix:`"
                ));
            }
            None => return Err(format!("a server is a URL: write `http://{text}`")),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#']) {
            return Err("a server has no path: a route may rewrite the path instead".to_owned());
        }
        if rest.contains('@') {
            return Err("user information has no place in the address of a server".to_owned());
        }
        let authority: http::uri::Authority =
            rest.parse().map_err(|_| format!("`{rest}` is no host and port"))?;
        let port = authority.as_str().strip_prefix(authority.host());
        let port = match port.and_then(|port| port.strip_prefix(':')) {
            None => default_port,
            Some(port) => port
                .parse()
                .ok()
                .filter(|port| *port > 0)
                .ok_or_else(|| format!("`{rest}` has no valid port"))?,
        };
        let host = authority.host().to_ascii_lowercase();
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte);
        if host.is_empty() || !host.bytes().all(is_name) {
            return Err(format!("`{rest}` is no host and port"));
        }
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let at = match bare.parse::<IpAddr>() {
            Ok(ip) => At::Address(SocketAddr::new(ip, port)),
            Err(_) => At::Name(bare.into(), port),
        };
        let host = if port == default_port { host } else { format!("{host}:{port}") };
        Ok(Self { wire, at, host: host.into() })
    }

    /// The same server at one of its addresses.
    pub(crate) fn resolved(&self, ip: IpAddr, port: u16) -> Self {
        Self { at: At::Address(SocketAddr::new(ip, port)), ..self.clone() }
    }
    /// The name without the port.
    pub(crate) fn name(&self) -> &str {
        let host = &*self.host;
        match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        }
        .trim_start_matches('[')
        .trim_end_matches(']')
    }
    pub(crate) fn host_header(&self) -> HeaderValue {
        HeaderValue::try_from(&*self.host).unwrap_or(HeaderValue::from_static("localhost"))
    }
    pub(crate) fn scheme(&self) -> &'static str {
        match self.wire {
            Wire::Http1 => "http",
            Wire::H2c => "h2c",
            Wire::Tls => "https",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            At::Address(address) => write!(f, "{}://{address}", self.scheme()),
            At::Name(name, port) => write!(f, "{}://{name}:{port}", self.scheme()),
            At::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_url_without_a_path() {
        for (text, want) in [
            ("http://127.0.0.1:9001", Ok(("http://127.0.0.1:9001", "127.0.0.1:9001", "127.0.0.1"))),
            ("HTTP://127.0.0.1/", Ok(("http://127.0.0.1:80", "127.0.0.1", "127.0.0.1"))),
            ("https://API.example", Ok(("https://api.example:443", "api.example", "api.example"))),
            ("https://[::1]:8443", Ok(("https://[::1]:8443", "[::1]:8443", "::1"))),
            ("h2c://grpc:50051", Ok(("h2c://grpc:50051", "grpc:50051", "grpc"))),
            ("unix:/run/x.sock", Ok(("unix:/run/x.sock", "localhost", "localhost"))),
            ("127.0.0.1:9001", Err("write `http://127.0.0.1:9001`")),
            ("ftp://a", Err("`ftp` is no scheme")),
            ("http://a/b", Err("no path")),
            ("http://user@a", Err("user information")),
            ("http://", Err("no host and port")),
            ("http://a:99999", Err("no valid port")),
            ("http://a:0", Err("no valid port")),
            ("http://:80", Err("no host and port")),
            ("http://*", Err("no host and port")),
            ("unix:", Err("needs a path")),
        ] {
            match (Origin::parse(text), want) {
                (Ok(origin), Ok((display, host, name))) => {
                    assert_eq!(origin.to_string(), display, "{text}");
                    assert_eq!((&*origin.host, origin.name()), (host, name), "{text}");
                }
                (Err(error), Err(want)) => assert!(error.contains(want), "{text}: {error}"),
                (parsed, _) => panic!("{text}: {parsed:?}"),
            }
        }
    }
}
