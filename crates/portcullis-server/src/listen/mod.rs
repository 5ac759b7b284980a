//! Where a server listens.
use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use portcullis_core::ConfigError;

mod inherited;
mod socket;

pub(crate) use inherited::Inherited;
pub(crate) use socket::{Accepting, Address, Listening, Origin, is_socket};

/// Where a server listens: an address, and whether it speaks TLS there.
///
/// It is made from text: `http://127.0.0.1:8080`, `https://0.0.0.0:443`, `unix:/run/shop.sock`; without a scheme it is http.
/// Port 0 is a free port.
///
/// # Deployment
/// A Unix socket gets the permissions that the umask leaves: 0755 as a rule, and then its owner alone can connect. With a umask of
/// 007 its group can too, as a proxy of another user needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    text: String,
}

/// What [`Listen`] means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) at: At,
    pub(crate) tls: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum At {
    Tcp(Vec<SocketAddr>),
    Unix(PathBuf),
}

impl Listen {
    /// `http` at an address.
    pub fn http(address: SocketAddr) -> Self {
        Self { text: format!("http://{address}") }
    }
    /// `https` at an address.
    pub fn https(address: SocketAddr) -> Self {
        Self { text: format!("https://{address}") }
    }
    /// `http` at a Unix socket.
    pub fn unix(path: impl AsRef<Path>) -> Self {
        Self { text: format!("unix:{}", path.as_ref().display()) }
    }

    /// Whether it means a place. Nothing is opened.
    ///
    /// # Errors
    /// What is wrong with it, and how to mend it.
    pub fn check(&self) -> Result<(), String> {
        self.parse().map(drop).map_err(|error| error.message().to_owned())
    }
    pub(crate) fn parse(&self) -> Result<Place, ConfigError> {
        let text = self.text.as_str();
        if let Some(path) = text.strip_prefix("unix:") {
            if path.is_empty() {
                return Err(self.error("a Unix socket needs a path: `unix:/run/shop.sock`"));
            }
            return Ok(Place { at: At::Unix(path.into()), tls: false });
        }
        let (tls, address) = match text.split_once("://") {
            None => (false, text),
            Some((scheme, address)) if scheme.eq_ignore_ascii_case("http") => (false, address),
            Some((scheme, address)) if scheme.eq_ignore_ascii_case("https") => (true, address),
            Some((scheme, _)) => {
                return Err(
                    self.error(&format!("`{scheme}` is no scheme: say `http`, `https` or `unix`"))
                );
            }
        };
        let address = address.strip_suffix('/').unwrap_or(address);
        let wrong = |why: &dyn fmt::Display| {
            self.error(&format!("it must be a host and a port, such as `127.0.0.1:8080`: {why}"))
        };
        if address.contains('/') {
            return Err(wrong(&"a path has no place here"));
        }
        match address.strip_prefix(':') {
            Some(port) if !port.contains(':') => {
                let hint = format!("for every address of the machine say `0.0.0.0:{port}`");
                return Err(wrong(&hint));
            }
            _ => {}
        }
        let addresses: Vec<_> = address.to_socket_addrs().map_err(|error| wrong(&error))?.collect();
        if addresses.is_empty() {
            return Err(wrong(&"the host has no address"));
        }
        Ok(Place { at: At::Tcp(addresses), tls })
    }
    pub(crate) fn error(&self, message: &str) -> ConfigError {
        ConfigError::new(format!("listen `{}`", self.text), message)
    }
}

impl From<&str> for Listen {
    fn from(text: &str) -> Self {
        Self { text: text.to_owned() }
    }
}

impl From<String> for Listen {
    fn from(text: String) -> Self {
        Self { text }
    }
}

impl From<SocketAddr> for Listen {
    fn from(address: SocketAddr) -> Self {
        Self::http(address)
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_scheme_and_an_address() {
        let tcp = |tls, address: &str| Place { at: At::Tcp(vec![address.parse().unwrap()]), tls };
        for (text, want) in [
            ("127.0.0.1:8080", Some(tcp(false, "127.0.0.1:8080"))),
            ("http://127.0.0.1:0", Some(tcp(false, "127.0.0.1:0"))),
            ("https://[::1]:443/", Some(tcp(true, "[::1]:443"))),
            ("unix:/run/x.sock", Some(Place { at: At::Unix("/run/x.sock".into()), tls: false })),
            ("unix:", None),
            ("ftp://127.0.0.1:1", None),
            ("127.0.0.1", None),
            ("127.0.0.1:99999", None),
            ("HTTPS://[::1]:443", Some(tcp(true, "[::1]:443"))),
            ("http://127.0.0.1:80/path", None),
            (":8080", None),
            ("", None),
        ] {
            let place = Listen::from(text).parse();
            if let Err(error) = &place {
                assert!(error.to_string().contains(&format!("listen `{text}`")), "{error}");
            }
            assert_eq!(place.ok(), want, "{text}");
        }
    }
}
