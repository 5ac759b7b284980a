//! Version 1, a line of text (section 2.1).
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Command, Cursor, ProxyError, ProxyHeader, Stop};

/// The longest line, with its CRLF.
const MAX_LINE: usize = 107;

/// The most that can stand between `UNKNOWN` and the end of the line.
const MAX_IGNORED: usize = MAX_LINE - "PROXY UNKNOWN\r\n".len();

/// The longest field: eight groups of four digits. Neither an IPv4 address nor a port is longer.
///
/// Invariant: no field longer than this is read, so that a line with addresses is never longer than [`MAX_LINE`].
const MAX_FIELD: usize = 39;

/// How a field that is cut short may go on: it is the beginning of a valid one if and only if the shortest way to go on
/// from where it stopped, which is one of these, makes it valid.
const ENDINGS: [&str; 10] = ["", "0", ":", "::", ".0", "0.0", ".0.0", "0.0.0", ".0.0.0", "0.0.0.0"];

pub(super) fn parse(bytes: &[u8]) -> Result<(ProxyHeader, usize), Stop> {
    let mut line = Cursor { rest: bytes };
    line.literal(b"PROXY ", ProxyError::Signature)?;
    let mut header = ProxyHeader::new(Command::Proxied);
    match line.byte()? {
        b'T' => {
            line.literal(b"CP", ProxyError::Protocol)?;
            let family = line.byte()?;
            let address = match family {
                b'4' => ipv4,
                b'6' => ipv6,
                _ => return Err(ProxyError::Protocol.into()),
            };
            line.literal(b" ", ProxyError::Protocol)?;
            let source = line.field(b' ', address, ProxyError::Address)?;
            let destination = line.field(b' ', address, ProxyError::Address)?;
            let source_port = line.field(b' ', port, ProxyError::Port)?;
            let destination_port = line.field(b'\r', port, ProxyError::Port)?;
            line.literal(b"\n", ProxyError::LineEnd)?;
            header.source = Some(SocketAddr::new(source, source_port));
            header.destination = Some(SocketAddr::new(destination, destination_port));
        }
        b'U' => {
            line.literal(b"NKNOWN", ProxyError::Protocol)?;
            line.pass_rest()?;
        }
        _ => return Err(ProxyError::Protocol.into()),
    }
    Ok((header, bytes.len() - line.rest.len()))
}

fn ipv4(text: &str) -> Option<IpAddr> {
    text.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
}

/// The specification has hexadecimal groups only, but the usual functions of C write a mapped address with dots, and so
/// proxies send it.
fn ipv6(text: &str) -> Option<IpAddr> {
    text.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
}

/// Rust would also read `+80` and `080`.
fn port(text: &str) -> Option<u16> {
    let is_canonical = text == "0" || text.starts_with(|first: char| matches!(first, '1'..='9'));
    if is_canonical { text.parse().ok() } else { None }
}

impl Cursor<'_> {
    /// Reads a field and passes over the byte behind it.
    fn field<T>(
        &mut self,
        end: u8,
        read: fn(&str) -> Option<T>,
        otherwise: ProxyError,
    ) -> Result<T, Stop> {
        let len = self.rest.iter().take(MAX_FIELD + 1).position(|byte| *byte == end);
        let Some((field, rest)) = len.and_then(|len| self.rest.split_at_checked(len)) else {
            let may_go_on = can_become(self.rest, read);
            return Err(if may_go_on { Stop::Incomplete } else { otherwise.into() });
        };
        self.rest = rest;
        self.literal(&[end], otherwise)?;
        let value = std::str::from_utf8(field).ok().and_then(read);
        Ok(value.ok_or(otherwise)?)
    }
    /// Passes over what stands behind `UNKNOWN`. It says nothing, so whatever stands there is ignored, but the line must
    /// end as lines do.
    fn pass_rest(&mut self) -> Result<(), Stop> {
        let len = self.rest.iter().take(MAX_IGNORED + 1).take_while(|byte| !b"\r\n".contains(byte));
        let Some((ignored, end)) = self.rest.split_at_checked(len.count()) else {
            return Err(Stop::Incomplete);
        };
        if ignored.len() > MAX_IGNORED {
            return Err(ProxyError::TooLong.into());
        }
        if !matches!(ignored.first(), None | Some(b' ')) {
            return Err(ProxyError::Protocol.into());
        }
        self.rest = end;
        self.literal(b"\r\n", ProxyError::LineEnd)
    }
}

/// Whether something can follow `cut` that makes a valid field of it.
fn can_become<T>(cut: &[u8], read: fn(&str) -> Option<T>) -> bool {
    let mut buffer = [0; MAX_FIELD];
    ENDINGS.iter().any(|ending| {
        let len = cut.len() + ending.len();
        let Some(whole) = buffer.get_mut(..len) else { return false };
        let (before, behind) = whole.split_at_mut(cut.len());
        before.copy_from_slice(cut);
        behind.copy_from_slice(ending.as_bytes());
        std::str::from_utf8(whole).ok().and_then(read).is_some()
    })
}
