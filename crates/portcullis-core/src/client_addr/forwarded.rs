//! The `Forwarded` header (RFC 7239).
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::HeaderMap;
use http::header::FORWARDED;

/// The members of a `Forwarded` header (RFC 7239, section 4), the nearest hop last.
///
/// ```
/// use portcullis_core::Forwarded;
/// let header = Forwarded::parse(r#"for="[2001:db8::7]:4711";proto=https, for=192.0.2.43"#).unwrap();
/// assert_eq!(header.elements()[0].for_address(), "2001:db8::7".parse().ok());
/// assert_eq!(header.elements()[1].for_text(), Some("192.0.2.43"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forwarded(Vec<ForwardedElement>);

/// What one hop wrote. Names of parameters are compared without case; unknown ones are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForwardedElement {
    for_: Option<String>,
    by: Option<String>,
    host: Option<String>,
    proto: Option<String>,
}

/// Text that is no `Forwarded` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a `Forwarded` header: {what} at byte {at}")]
pub struct ForwardedError {
    what: &'static str,
    at: usize,
}

impl Forwarded {
    /// Reads one header value.
    pub fn parse(text: &str) -> Result<Self, ForwardedError> {
        let mut cursor = Cursor { text, at: 0 };
        let mut elements = Vec::new();
        loop {
            cursor.space();
            // Empty members of a list are ignored (RFC 9110, section 5.6.1.2).
            if !matches!(cursor.peek(), None | Some(b',')) {
                elements.push(cursor.element()?);
                cursor.space();
            }
            match cursor.peek() {
                None => return Ok(Self(elements)),
                Some(b',') => cursor.at += 1,
                Some(_) => return Err(cursor.error("expected a comma")),
            }
        }
    }
    /// Reads all the `Forwarded` lines of a request as one list.
    pub fn of(headers: &HeaderMap) -> Result<Self, ForwardedError> {
        let mut all = Self::default();
        for line in headers.get_all(FORWARDED) {
            let text =
                line.to_str().map_err(|_| ForwardedError { what: "expected ASCII", at: 0 })?;
            all.0.extend(Self::parse(text)?.0);
        }
        Ok(all)
    }
    /// The members, the nearest hop last.
    pub fn elements(&self) -> &[ForwardedElement] {
        &self.0
    }
}

impl ForwardedElement {
    /// Who sent the request to this hop: an address, `unknown`, or a hidden name that begins with `_`.
    pub fn for_text(&self) -> Option<&str> {
        self.for_.as_deref()
    }
    /// Who sent the request to this hop, where it is an address.
    pub fn for_address(&self) -> Option<IpAddr> {
        self.for_text().and_then(address)
    }
    /// Where this hop received the request.
    pub fn by(&self) -> Option<&str> {
        self.by.as_deref()
    }
    /// The `Host` that this hop received.
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }
    /// The protocol by which this hop received the request.
    pub fn proto(&self) -> Option<&str> {
        self.proto.as_deref()
    }

    fn set(&mut self, name: &str, value: String) -> bool {
        let slot = match name {
            _ if name.eq_ignore_ascii_case("for") => &mut self.for_,
            _ if name.eq_ignore_ascii_case("by") => &mut self.by,
            _ if name.eq_ignore_ascii_case("host") => &mut self.host,
            _ if name.eq_ignore_ascii_case("proto") => &mut self.proto,
            _ => return true,
        };
        slot.replace(value).is_none()
    }
}

/// The address in `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:80`.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    let bracketed =
        || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    let ip = text
        .parse()
        .ok()
        .or_else(bracketed)
        .or_else(|| text.parse::<SocketAddr>().ok().map(|addr| addr.ip()))?;
    Some(ip.to_canonical())
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn error(&self, what: &'static str) -> ForwardedError {
        ForwardedError { what, at: self.at }
    }
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.at += 1;
        }
    }
    /// `forwarded-element = [ forwarded-pair ] *( ";" [ forwarded-pair ] )`
    fn element(&mut self) -> Result<ForwardedElement, ForwardedError> {
        let mut element = ForwardedElement::default();
        loop {
            self.space();
            if !matches!(self.peek(), None | Some(b',' | b';')) {
                let (name, value) = self.pair()?;
                if !element.set(name, value) {
                    return Err(self.error("a parameter stands twice"));
                }
                self.space();
            }
            if self.peek() != Some(b';') {
                return Ok(element);
            }
            self.at += 1;
        }
    }
    fn pair(&mut self) -> Result<(&'a str, String), ForwardedError> {
        let name = self.token()?;
        if self.peek() != Some(b'=') {
            return Err(self.error("expected `=`"));
        }
        self.at += 1;
        let value =
            if self.peek() == Some(b'"') { self.quoted()? } else { self.value()?.to_owned() };
        Ok((name, value))
    }
    fn take_while(&mut self, allowed: impl Fn(u8) -> bool) -> &'a str {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let taken = rest.bytes().position(|byte| !allowed(byte)).unwrap_or(rest.len());
        self.at += taken;
        rest.get(..taken).unwrap_or_default()
    }
    fn token(&mut self) -> Result<&'a str, ForwardedError> {
        let token =
            self.take_while(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
        if token.is_empty() { Err(self.error("expected a name")) } else { Ok(token) }
    }
    /// A token, and what many proxies write without the quotes that the grammar asks for: colons and brackets.
    fn value(&mut self) -> Result<&'a str, ForwardedError> {
        let value =
            self.take_while(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:[]".contains(&b));
        if value.is_empty() { Err(self.error("expected a value")) } else { Ok(value) }
    }
    fn quoted(&mut self) -> Result<String, ForwardedError> {
        self.at += 1;
        let mut value = String::new();
        loop {
            value.push_str(self.take_while(|b| {
                !matches!(b, b'"' | b'\\') && (b == b'\t' || (b' '..0x7f).contains(&b))
            }));
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(value);
                }
                Some(b'\\') => {
                    self.at += 1;
                    let Some(byte @ b' '..0x7f) = self.peek() else {
                        return Err(self.error("expected a character"));
                    };
                    value.push(byte.into());
                    self.at += 1;
                }
                _ => return Err(self.error("expected a closing quote")),
            }
        }
    }
}
