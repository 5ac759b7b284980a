//! A stored response as bytes, for stores outside this process.
//!
//! Numbers are little-endian; text has its length before it. [`VERSION`] begins it and changes with every change of the form: a record of another version is
//! as good as none.
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use smallvec::SmallVec;

use super::{Facts, Flags, Moment, NoVarySearch, Stored, Times};
use crate::Scope;

const VERSION: u8 = 1;

impl Stored {
    /// All of it, as bytes that [`from_bytes`](Self::from_bytes) reads.
    pub fn to_bytes(&self) -> Vec<u8> {
        let fields: usize =
            self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 9).sum();
        let mut out = Writer(Vec::with_capacity(128 + fields));
        out.0.push(VERSION);
        out.0.extend_from_slice(&self.status.as_u16().to_le_bytes());
        out.long(self.times.requested.0);
        out.long(self.times.received.0);
        out.0.push(match self.scope {
            Scope::Public => 0,
            Scope::Tenant => 1,
            Scope::Identity => 2,
        });
        out.0.push(u8::from(self.is_explicitly_public));
        let Facts { date, age, lifetime, while_revalidating, if_error, flags } = self.facts;
        out.long(date.0);
        out.long(age);
        out.count(lifetime);
        out.count(while_revalidating);
        out.count(if_error);
        out.0.extend_from_slice(&flags.0.to_le_bytes());
        out.len(self.headers.len());
        for (name, value) in &self.headers {
            out.text(name.as_str().as_bytes());
            out.text(value.as_bytes());
            out.0.push(u8::from(value.is_sensitive()));
        }
        out.len(self.vary.len());
        for (name, value) in &self.vary {
            out.text(name.as_str().as_bytes());
            out.0.push(u8::from(value.is_some()));
            if let Some(value) = value {
                out.text(value.as_bytes());
            }
        }
        out.len(self.tags.len());
        for tag in &self.tags {
            out.text(tag.as_bytes());
        }
        out.0
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote. `None` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut input = Reader(bytes);
        if input.byte()? != VERSION {
            return None;
        }
        let status = StatusCode::from_u16(u16::from_le_bytes(input.array()?)).ok()?;
        let times = Times { requested: Moment(input.long()?), received: Moment(input.long()?) };
        let scope = match input.byte()? {
            0 => Scope::Public,
            1 => Scope::Tenant,
            2 => Scope::Identity,
            _ => return None,
        };
        let is_explicitly_public = input.flag()?;
        let facts = Facts {
            date: Moment(input.long()?),
            age: input.long()?,
            lifetime: input.count()?,
            while_revalidating: input.count()?,
            if_error: input.count()?,
            flags: Flags(u16::from_le_bytes(input.array()?)),
        };
        let mut headers = HeaderMap::new();
        for _ in 0..input.count()? {
            let name = input.name()?;
            let mut value = HeaderValue::from_bytes(input.text()?).ok()?;
            value.set_sensitive(input.flag()?);
            headers.try_append(name, value).ok()?;
        }
        let mut vary = SmallVec::new();
        for _ in 0..input.count()? {
            let name = input.name()?;
            let value = if input.flag()? { Some(input.str()?.into()) } else { None };
            vary.push((name, value));
        }
        let mut tags = SmallVec::new();
        for _ in 0..input.count()? {
            tags.push(Arc::from(input.str()?));
        }
        let search = NoVarySearch::of(&headers).map(Box::new);
        input.0.is_empty().then_some(Self {
            status,
            headers,
            times,
            vary,
            tags,
            scope,
            is_explicitly_public,
            facts,
            search,
        })
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn long(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }
    fn count(&mut self, number: u32) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }
    /// Neither are there four thousand million fields, nor is one as long. If there were, it would not be read again.
    fn len(&mut self, len: usize) {
        self.count(u32::try_from(len).unwrap_or(u32::MAX));
    }
    fn text(&mut self, text: &[u8]) {
        self.len(text.len());
        self.0.extend_from_slice(text);
    }
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }
    fn byte(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }
    fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
    fn count(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }
    fn long(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
    fn text(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.count()?).ok()?;
        let (text, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(text)
    }
    fn str(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.text()?).ok()
    }
    /// In lower case, as all names are: a record has one spelling.
    fn name(&mut self) -> Option<HeaderName> {
        HeaderName::from_lowercase(self.text()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::stored;
    use super::*;

    fn full() -> Stored {
        let fields = [
            ("etag", "\"\u{fc}\""),
            ("x-a", "1"),
            ("x-b", ""),
            ("x-a", "2"),
            ("no-vary-search", "key-order"),
        ];
        let mut stored = stored(206, &fields);
        stored.headers.get_mut("etag").unwrap().set_sensitive(true);
        stored.times = Times { requested: Moment(1), received: Moment(u64::MAX) };
        stored.vary.push((HeaderName::from_static("accept"), Some("text/html".into())));
        stored.vary.push((HeaderName::from_static("x-none"), None));
        stored.tags.push("tag".into());
        stored.tags.push("\0group \u{e9}".into());
        stored.scope = Scope::Identity;
        stored.is_explicitly_public = true;
        stored.facts = Facts {
            date: Moment(2),
            age: 3,
            lifetime: 4,
            while_revalidating: 5,
            if_error: 6,
            flags: Flags(0x8001),
        };
        stored
    }

    #[test]
    fn is_read_as_it_was_written() {
        for stored in [stored(200, &[]), full()] {
            let bytes = stored.to_bytes();
            let read = Stored::from_bytes(&bytes).unwrap();
            assert_eq!(format!("{read:?}"), format!("{stored:?}"));
            assert_eq!(read.to_bytes(), bytes);
        }
    }

    #[test]
    fn is_all_or_nothing() {
        let bytes = full().to_bytes();
        for len in 0..bytes.len() {
            assert!(Stored::from_bytes(&bytes[..len]).is_none(), "{len} bytes");
        }
        assert!(Stored::from_bytes(&[&bytes[..], &[0]].concat()).is_none(), "more than there is");
        // Whatever one byte is changed into: no panic, and one spelling.
        for at in 0..bytes.len() {
            for byte in [0, 1, 2, 0x7f, 0xff] {
                let mut changed = bytes.clone();
                changed[at] = byte;
                if let Some(read) = Stored::from_bytes(&changed) {
                    assert_eq!(
                        Stored::from_bytes(&read.to_bytes()).map(|read| read.to_bytes()),
                        Some(read.to_bytes())
                    );
                }
            }
        }
        let mut other = bytes;
        other[0] = VERSION + 1;
        assert!(Stored::from_bytes(&other).is_none(), "another version");
    }
}
