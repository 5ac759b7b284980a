//! Version 2, which is binary (section 2.2).
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

use super::{Command, Cursor, MAX_LENGTH, ProxyError, ProxyHeader, Stop};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// The part that every header has: signature, version and command, family and transport, length of the rest.
const FIXED: usize = 16;

/// The longest name in the SNI extension, and that of a host in DNS; ALPN counts the bytes of a protocol's name in one
/// byte (RFC 7301, section 3.1).
const MAX_NAME: usize = 255;

const ALPN: u8 = 0x01;
const AUTHORITY: u8 = 0x02;
const CRC32C: u8 = 0x03;
const SSL: u8 = 0x20;

/// The bit of an SSL field that says that the client speaks TLS.
const CLIENT_SSL: u8 = 0x01;

pub(super) fn parse(bytes: &[u8]) -> Result<(ProxyHeader, usize), Stop> {
    let mut fixed = Cursor { rest: bytes };
    fixed.literal(&SIGNATURE, ProxyError::Signature)?;
    let command = match fixed.byte()? {
        0x20 => Command::Local,
        0x21 => Command::Proxied,
        0x22..=0x2f => return Err(ProxyError::Command.into()),
        _ => return Err(ProxyError::Version.into()),
    };
    let family = Family::of(command, fixed.byte()?)?;
    let high = fixed.byte()?;
    if FIXED + usize::from(u16::from_be_bytes([high, 0])) > MAX_LENGTH {
        return Err(ProxyError::TooLong.into());
    }
    let len = FIXED + usize::from(u16::from_be_bytes([high, fixed.byte()?]));
    family.check_length(len)?;
    let mut header = ProxyHeader::new(command);
    let whole = bytes.get(..len).ok_or(Stop::Incomplete)?;
    let block = whole.get(FIXED..).unwrap_or_default();
    match family {
        Family::Unread => {}
        Family::Inet => read_fields(addresses::<4>(block, &mut header)?, whole, &mut header)?,
        Family::Inet6 => read_fields(addresses::<16>(block, &mut header)?, whole, &mut header)?,
        Family::Unix => {
            let fields = block.get(Family::Unix.addresses()..).ok_or(ProxyError::TooShort)?;
            read_fields(fields, whole, &mut header)?;
        }
    }
    Ok((header, len))
}

/// How the block behind the fixed part is laid out.
#[derive(Clone, Copy)]
enum Family {
    /// Nobody is named, or in a form that has no length that we know, so that the fields behind it cannot be found.
    Unread,
    Inet,
    Inet6,
    /// Paths in somebody else's file system: they are of no use here, but fields may follow.
    Unix,
}

impl Family {
    fn of(command: Command, byte: u8) -> Result<Self, ProxyError> {
        // Of a local connection the family is ignored, and the block discarded.
        if command == Command::Local {
            return Ok(Self::Unread);
        }
        let (family, transport) = (byte >> 4, byte & 0x0f);
        match (family, transport) {
            (0..=3, 2) => Err(ProxyError::Datagram),
            (0, 0 | 1) | (1..=3, 0) => Ok(Self::Unread),
            (1, 1) => Ok(Self::Inet),
            (2, 1) => Ok(Self::Inet6),
            (3, 1) => Ok(Self::Unix),
            _ => Err(ProxyError::Family),
        }
    }
    /// The length of both addresses and both ports.
    fn addresses(self) -> usize {
        match self {
            Self::Unread => 0,
            Self::Inet => 2 * 4 + 2 * 2,
            Self::Inet6 => 2 * 16 + 2 * 2,
            Self::Unix => 2 * 108,
        }
    }
    /// Whether a header of this length, the fixed part included, can be a valid one.
    fn check_length(self, len: usize) -> Result<(), ProxyError> {
        if len > MAX_LENGTH {
            return Err(ProxyError::TooLong);
        }
        let fields = len.checked_sub(FIXED + self.addresses()).ok_or(ProxyError::TooShort)?;
        match self {
            // A field is at least its type and its length.
            Self::Inet | Self::Inet6 | Self::Unix if matches!(fields, 1 | 2) => {
                Err(ProxyError::Field)
            }
            _ => Ok(()),
        }
    }
}

/// Reads two addresses of `N` bytes, then two ports, and gives what follows.
fn addresses<'a, const N: usize>(
    block: &'a [u8],
    header: &mut ProxyHeader,
) -> Result<&'a [u8], ProxyError>
where
    IpAddr: From<[u8; N]>,
{
    let read = || {
        let (source, rest) = block.split_first_chunk::<N>()?;
        let (destination, rest) = rest.split_first_chunk::<N>()?;
        let (source_port, rest) = rest.split_first_chunk::<2>()?;
        let (destination_port, rest) = rest.split_first_chunk::<2>()?;
        let socket = |ip: &[u8; N], port: &[u8; 2]| {
            SocketAddr::new(IpAddr::from(*ip), u16::from_be_bytes(*port))
        };
        Some((socket(source, source_port), socket(destination, destination_port), rest))
    };
    let (source, destination, fields) = read().ok_or(ProxyError::TooShort)?;
    header.source = Some(source);
    header.destination = Some(destination);
    Ok(fields)
}

/// An additional field, of which the specification says TLV: type, length, value.
#[derive(Clone, Copy)]
struct Field<'a> {
    kind: u8,
    value: &'a [u8],
    /// What follows it.
    rest: &'a [u8],
}

impl<'a> Field<'a> {
    fn first_of(bytes: &'a [u8]) -> Result<Self, ProxyError> {
        let (&[kind, high, low], rest) = bytes.split_first_chunk().ok_or(ProxyError::Field)?;
        let len = usize::from(u16::from_be_bytes([high, low]));
        let (value, rest) = rest.split_at_checked(len).ok_or(ProxyError::Field)?;
        Ok(Self { kind, value, rest })
    }
}

/// Fields one behind the other.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, ProxyError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = Field::first_of(self.0);
        // Nothing can be found behind one that is malformed.
        self.0 = field.map_or(&[], |field| field.rest);
        Some(field)
    }
}

/// Reads what the fields say. Those that we do not know are passed over, and so is padding, `PP2_TYPE_NOOP` (section
/// 2.2.4). Those that we read may stand once: which of two is meant, somebody else might see otherwise.
fn read_fields(fields: &[u8], whole: &[u8], header: &mut ProxyHeader) -> Result<(), ProxyError> {
    let (mut alpn, mut authority, mut checksum, mut ssl) = (None, None, None, None);
    for field in Fields(fields) {
        let field = field?;
        let slot = match field.kind {
            ALPN => &mut alpn,
            AUTHORITY => &mut authority,
            CRC32C => &mut checksum,
            SSL => &mut ssl,
            _ => continue,
        };
        if slot.replace(field).is_some() {
            return Err(ProxyError::Field);
        }
    }
    if let Some(checksum) = checksum {
        verify(whole, checksum)?;
    }
    if let Some(alpn) = alpn {
        header.alpn = read_alpn(alpn.value)?;
    }
    if let Some(authority) = authority {
        header.authority = read_authority(authority.value)?;
    }
    if let Some(ssl) = ssl {
        header.tls = read_ssl(ssl.value)?;
    }
    Ok(())
}

/// An empty name is none: some proxies send the field whether or not the client asked for a protocol.
fn read_alpn(name: &[u8]) -> Result<Option<Bytes>, ProxyError> {
    if name.len() > MAX_NAME {
        return Err(ProxyError::Field);
    }
    Ok((!name.is_empty()).then(|| Bytes::copy_from_slice(name)))
}

/// The name ends up in logs and in comparisons, so there is nothing in it that no host name has.
fn read_authority(name: &[u8]) -> Result<Option<Box<str>>, ProxyError> {
    let name = std::str::from_utf8(name).map_err(|_| ProxyError::Authority)?;
    let is_strange = |c: char| c.is_whitespace() || c.is_control();
    if name.len() > MAX_NAME || name.contains(is_strange) {
        return Err(ProxyError::Authority);
    }
    Ok((!name.is_empty()).then(|| name.into()))
}

/// Whether the client speaks TLS. The field holds a byte of flags, four bytes about the client's certificate, and fields
/// of its own (section 2.2.6), which only have to be whole.
fn read_ssl(value: &[u8]) -> Result<bool, ProxyError> {
    let (&[client, _, _, _, _], fields) = value.split_first_chunk().ok_or(ProxyError::Field)?;
    for field in Fields(fields) {
        field?;
    }
    Ok(client & CLIENT_SSL != 0)
}

/// Compares the checksum that is stated somewhere in the `whole` header with that of the header, which is computed as if
/// zeros stood in its place (section 2.2.3).
fn verify(whole: &[u8], Field { value, rest, .. }: Field<'_>) -> Result<(), ProxyError> {
    let stated: [u8; 4] = value.try_into().map_err(|_| ProxyError::Field)?;
    let before = whole.len().checked_sub(stated.len() + rest.len());
    let before = before.and_then(|len| whole.get(..len)).ok_or(ProxyError::Field)?;
    let zeroed = before.iter().chain(&[0; 4]).chain(rest);
    if crc32c(zeroed) == u32::from_be_bytes(stated) { Ok(()) } else { Err(ProxyError::Checksum) }
}

/// CRC-32C (RFC 3720, section 12.1), bit by bit: a header comes once in a connection, and few have a checksum.
fn crc32c<'a>(bytes: impl IntoIterator<Item = &'a u8>) -> u32 {
    /// The polynomial of Castagnoli, the lowest bit first.
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    !bytes.into_iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (POLYNOMIAL * (crc & 1)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_of_the_standard() {
        // RFC 3720, appendix B.4; the last is the check value of catalogues of checksums.
        let ascending: Vec<u8> = (0..32).collect();
        for (bytes, want) in [
            (&[0_u8; 32] as &[u8], 0x8a91_36aa),
            (&[0xff; 32], 0x62a8_ab43),
            (&ascending, 0x46dd_794e),
            (b"123456789", 0xe306_9283),
        ] {
            assert_eq!(crc32c(bytes), want, "{bytes:?}");
        }
    }
}
