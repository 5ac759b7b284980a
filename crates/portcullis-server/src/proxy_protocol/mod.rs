//! The PROXY protocol, by which a proxy that passes bytes on tells who is at the other end of them.
//!
//! A pure parser of both versions of the header, after Willy Tarreau's "The PROXY protocol, Versions 1 & 2"
//! (`doc/proxy-protocol.txt` of haproxy); sections named here are sections of it. It believes what it reads: whoever calls it has
//! made sure that the connection comes from a proxy that may say who its clients are, and never guesses whether there
//! is a header (section 5).
use std::net::SocketAddr;

use bytes::Bytes;

#[cfg(test)]
mod tests;
mod v1;
mod v2;

/// The longest header that is read, in bytes.
///
/// Version 1 has a bound of its own, 107. Version 2 could announce 65,551; the specification means both to fit into the
/// smallest TCP segment, 536 bytes (section 2), and what proxies add about a client's certificate has not been seen to
/// exceed a few hundred more. A page is beyond all of it, and little to hold for a peer that says nothing else yet.
pub(crate) const MAX_LENGTH: usize = 4_096;

/// What a connection's first bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// A header may begin like this: read more and ask again. Never said of more than [`MAX_LENGTH`] bytes.
    Incomplete,
    /// A header; the connection's own bytes begin `len` bytes on.
    Complete {
        /// What it says.
        header: ProxyHeader,
        /// How long it is.
        len: usize,
    },
    /// No header begins like this, whatever may follow.
    Invalid(ProxyError),
}

/// What a proxy says about a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProxyHeader {
    /// On whose behalf it was made.
    pub(crate) command: Command,
    /// Who is at the other end of the proxy; `None` where the proxy does not say, and then the connection's own
    /// address is meant. As it was sent: an IPv4 address may come mapped into IPv6.
    pub(crate) source: Option<SocketAddr>,
    /// The address that they connected to; there whenever the source is.
    pub(crate) destination: Option<SocketAddr>,
    /// The host name that they asked for, under TLS the one of the SNI extension (section 2.2.2).
    pub(crate) authority: Option<Box<str>>,
    /// The protocol that they agreed on by ALPN, such as `h2` (section 2.2.1).
    pub(crate) alpn: Option<Bytes>,
    /// Whether they speak TLS with the proxy (section 2.2.6). Version 1 cannot say so.
    pub(crate) tls: bool,
}

impl ProxyHeader {
    /// A header that says nothing but this.
    fn new(command: Command) -> Self {
        Self { command, source: None, destination: None, authority: None, alpn: None, tls: false }
    }
}

/// On whose behalf a proxy made a connection (section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// For somebody else, whom the header may name.
    Proxied,
    /// For itself, as when it looks whether we are well. The header names nobody.
    Local,
}

/// Bytes that are no header of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProxyError {
    /// The first bytes are neither `PROXY ` nor the signature of version 2.
    #[error("the connection does not begin with a PROXY protocol header")]
    Signature,
    /// Version 1: something else than `TCP4`, `TCP6` or `UNKNOWN`.
    #[error("the PROXY line names no protocol that there is")]
    Protocol,
    /// Version 1: not an address of the family that the line names, or not one space behind it.
    #[error("an address of the PROXY line is invalid")]
    Address,
    /// Version 1: not a port in decimal digits, or with a leading zero, or not what must stand behind it.
    #[error("a port of the PROXY line is invalid")]
    Port,
    /// Version 1: a carriage return or a line feed without the other.
    #[error("the PROXY line does not end in CRLF")]
    LineEnd,
    /// A line of more than 107 bytes, or a binary header of more than [`MAX_LENGTH`].
    #[error("the PROXY protocol header is too long")]
    TooLong,
    /// A signature of version 2 before another version.
    #[error("the PROXY protocol header is of an unknown version")]
    Version,
    /// Version 2: neither `LOCAL` nor `PROXY`.
    #[error("the PROXY protocol header has an unknown command")]
    Command,
    /// Version 2: a family or a transport that is not in the specification.
    #[error("the PROXY protocol header has an unknown address family or transport")]
    Family,
    /// Version 2: the client speaks a datagram protocol, and we answer on streams only.
    #[error("the PROXY protocol header announces datagrams")]
    Datagram,
    /// Version 2: shorter than the addresses of its family.
    #[error("the PROXY protocol header is shorter than its addresses")]
    TooShort,
    /// Version 2: an additional field that does not end where it should, or stands twice.
    #[error("a field of the PROXY protocol header is malformed")]
    Field,
    /// Version 2: a host name that is not UTF-8, is too long, or has white space or controls.
    #[error("the authority of the PROXY protocol header is no host name")]
    Authority,
    /// Version 2: the checksum is of other bytes.
    #[error("the checksum of the PROXY protocol header is wrong")]
    Checksum,
}

/// Reads the header that `bytes`, all that has been received so far, begin with.
///
/// What cannot become a header is refused at the first byte that shows it, so that nobody waits in vain for the rest.
/// Of version 2 that is true of the fixed part, which states the length of the whole; what follows is looked at when
/// all of it is there, as the specification asks (section 2.2).
pub(crate) fn parse(bytes: &[u8]) -> Parsed {
    let header = match bytes.first() {
        Some(b'\r') => v2::parse(bytes),
        _ => v1::parse(bytes),
    };
    match header {
        Ok((header, len)) => Parsed::Complete { header, len },
        Err(Stop::Incomplete) => Parsed::Incomplete,
        Err(Stop::Invalid(error)) => Parsed::Invalid(error),
    }
}

/// Why there is no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Incomplete,
    Invalid(ProxyError),
}

impl From<ProxyError> for Stop {
    fn from(error: ProxyError) -> Self {
        Self::Invalid(error)
    }
}

/// What is left to read.
struct Cursor<'a> {
    rest: &'a [u8],
}

impl Cursor<'_> {
    fn byte(&mut self) -> Result<u8, Stop> {
        let (byte, rest) = self.rest.split_first().ok_or(Stop::Incomplete)?;
        self.rest = rest;
        Ok(*byte)
    }
    /// Passes over exactly `text`.
    fn literal(&mut self, text: &[u8], otherwise: ProxyError) -> Result<(), Stop> {
        for want in text {
            if self.byte()? != *want {
                return Err(otherwise.into());
            }
        }
        Ok(())
    }
}
