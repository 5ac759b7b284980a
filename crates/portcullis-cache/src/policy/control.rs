//! `Cache-Control` of requests and of responses (RFC 9111, section 5.2).
use http::header::{CACHE_CONTROL, EXPIRES};
use http::{HeaderMap, HeaderName};
use smallvec::SmallVec;

use super::{Rules, targeted};
use crate::Scope;

/// The longest time, in seconds: what is larger counts as this (section 1.2.2).
pub(super) const FOREVER: u32 = 1 << 31;

/// What a response says beyond numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags(pub(crate) u16);

impl Flags {
    pub(crate) const NO_STORE: Self = Self(1);
    /// Without field names.
    pub(crate) const NO_CACHE: Self = Self(1 << 1);
    /// Without field names.
    pub(crate) const PRIVATE: Self = Self(1 << 2);
    pub(crate) const PUBLIC: Self = Self(1 << 3);
    pub(crate) const MUST_REVALIDATE: Self = Self(1 << 4);
    pub(crate) const PROXY_REVALIDATE: Self = Self(1 << 5);
    pub(crate) const MUST_UNDERSTAND: Self = Self(1 << 6);
    pub(crate) const IMMUTABLE: Self = Self(1 << 7);
    /// It has `s-maxage`.
    pub(crate) const SHARED: Self = Self(1 << 8);
    /// The origin says how long it is good.
    pub(crate) const EXPLICIT: Self = Self(1 << 9);

    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
    pub(crate) fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// What a response says of caching.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Directives {
    pub(super) flags: Flags,
    /// In seconds. What cannot be read is 0, as is all that follows here.
    pub(super) max_age: Option<u32>,
    pub(super) s_maxage: Option<u32>,
    pub(super) while_revalidating: Option<u32>,
    pub(super) if_error: Option<u32>,
    /// The fields that `no-cache` and, where others see it, `private` name.
    pub(super) unstored: SmallVec<[(Flags, HeaderName); 2]>,
    /// Whether a targeted field says it: `Expires` has no say then (RFC 9213, section 2.1).
    pub(super) is_targeted: bool,
    /// Whether there is any field that says something.
    pub(super) is_said: bool,
}

impl Directives {
    /// What holds for this cache: the first targeted field that is there, valid and not empty, or `Cache-Control`.
    pub(super) fn of(rules: &Rules, headers: &HeaderMap) -> Self {
        if let Some(found) = rules.targeted.iter().find_map(|name| targeted::read(headers, name)) {
            return Self { is_targeted: true, is_said: true, ..found };
        }
        let mut found = Self::default();
        for value in headers.get_all(CACHE_CONTROL) {
            for member in Members::of(value.as_bytes()) {
                found.add(member);
            }
        }
        if found.s_maxage.is_some() {
            found.flags.add(Flags::SHARED);
        }
        found.is_said = headers.contains_key(CACHE_CONTROL) || headers.contains_key(EXPIRES);
        found
    }
    /// Who shares a response that is for `scope` unless it says more.
    pub(super) fn widen(&self, scope: Scope) -> Scope {
        let is_for_all = self.flags.has(Flags::PUBLIC) || self.flags.has(Flags::SHARED);
        if is_for_all && !self.flags.has(Flags::PRIVATE) { Scope::Public } else { scope }
    }
    fn add(&mut self, member: Member<'_>) {
        let name = member.name.to_ascii_lowercase();
        match name.as_slice() {
            b"max-age" => keep(&mut self.max_age, member),
            b"s-maxage" => keep(&mut self.s_maxage, member),
            b"stale-while-revalidate" => keep(&mut self.while_revalidating, member),
            b"stale-if-error" => keep(&mut self.if_error, member),
            name => self.flag(name, member.argument.as_deref()),
        }
    }
    /// A directive that is no number. `argument` is what stands behind `=`, without quotes.
    pub(super) fn flag(&mut self, name: &[u8], argument: Option<&[u8]>) {
        let flag = match name {
            b"no-store" => Flags::NO_STORE,
            b"no-cache" => Flags::NO_CACHE,
            b"private" => Flags::PRIVATE,
            b"public" => Flags::PUBLIC,
            b"must-revalidate" => Flags::MUST_REVALIDATE,
            b"proxy-revalidate" => Flags::PROXY_REVALIDATE,
            b"must-understand" => Flags::MUST_UNDERSTAND,
            b"immutable" => Flags::IMMUTABLE,
            _ => return,
        };
        let takes_names = flag == Flags::NO_CACHE || flag == Flags::PRIVATE;
        if let Some(names) = argument.filter(|_| takes_names).and_then(names) {
            self.unstored.extend(names.into_iter().map(|name| (flag, name)));
            return;
        }
        self.flags.add(flag);
    }
}

/// The first one counts (section 4.2.1). What is no number makes the response stale.
fn keep(place: &mut Option<u32>, member: Member<'_>) {
    let Member { argument, is_sound, .. } = member;
    let read = || argument.filter(|_| is_sound).and_then(|text| seconds(&text)).unwrap_or(0);
    place.get_or_insert_with(read);
}

/// Field names. `None` if there is none, or one that is none: then the directive is taken as if it had no argument, which forbids more.
fn names(argument: &[u8]) -> Option<SmallVec<[HeaderName; 2]>> {
    let parts = argument
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|part| !part.is_empty());
    let names = parts.map(HeaderName::from_bytes).collect::<Result<SmallVec<[_; 2]>, _>>().ok()?;
    (!names.is_empty()).then_some(names)
}

/// Seconds: digits, and nothing else.
pub(super) fn seconds(text: &[u8]) -> Option<u32> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |sum: u32, digit: &u8| {
        sum.saturating_mul(10).saturating_add(u32::from(digit - b'0')).min(FOREVER)
    };
    Some(text.iter().fold(0, add))
}

/// What a client wishes of a cache. All of it is advice (section 5.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wishes {
    pub(super) no_store: bool,
    pub(super) no_cache: bool,
    pub(super) only_if_cached: bool,
    pub(super) max_age: Option<u32>,
    pub(super) min_fresh: Option<u32>,
    /// `u32::MAX` without an argument.
    pub(super) max_stale: Option<u32>,
    /// RFC 5861, section 4.
    pub(super) if_error: Option<u32>,
}

impl Wishes {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut wishes = Self::default();
        for value in headers.get_all(CACHE_CONTROL) {
            for member in Members::of(value.as_bytes()) {
                wishes.add(&member);
            }
        }
        wishes
    }
    fn add(&mut self, member: &Member<'_>) {
        let is = |name: &str| member.name.eq_ignore_ascii_case(name.as_bytes());
        let number = || member.argument.as_deref().filter(|_| member.is_sound).and_then(seconds);
        if is("no-store") {
            self.no_store = true;
        } else if is("no-cache") {
            self.no_cache = true;
        } else if is("only-if-cached") {
            self.only_if_cached = true;
        } else if is("max-age") {
            self.max_age = self.max_age.or_else(number);
        } else if is("min-fresh") {
            self.min_fresh = self.min_fresh.or_else(number);
        } else if is("max-stale") {
            let any = || member.argument.is_none().then_some(u32::MAX);
            self.max_stale = self.max_stale.or_else(number).or_else(any);
        } else if is("stale-if-error") {
            self.if_error = self.if_error.or_else(number);
        }
    }
}

/// Whether the client wants nothing of it to be stored (section 5.2.1.5).
pub(crate) fn wants_no_store(headers: &HeaderMap) -> bool {
    Wishes::of(headers).no_store
}

/// Whether the client wants to hear it from the origin (`no-cache`, RFC 9111, section 5.2.1.4).
pub(crate) fn is_reload(headers: &HeaderMap) -> bool {
    Wishes::of(headers).no_cache
}

/// Whether a request takes an answer from the cache alone, and otherwise 504 (section 5.2.1.7).
pub fn only_if_cached(headers: &HeaderMap) -> bool {
    Wishes::of(headers).only_if_cached
}

/// A member of the list that the field is.
#[derive(Debug, PartialEq, Eq)]
struct Member<'a> {
    name: &'a [u8],
    /// Without its quotes.
    argument: Option<Argument<'a>>,
    /// Whether it is written as it has to be. What it forbids is forbidden in any case; it allows nothing.
    is_sound: bool,
}

type Argument<'a> = std::borrow::Cow<'a, [u8]>;

/// Goes through the members of a field's line. A comma within quotes parts nothing, unless the quotes are never closed.
struct Members<'a> {
    rest: &'a [u8],
    is_sound: bool,
}

impl<'a> Members<'a> {
    fn of(line: &'a [u8]) -> Self {
        Self { rest: line, is_sound: true }
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = Member<'a>;
    fn next(&mut self) -> Option<Member<'a>> {
        loop {
            if self.rest.is_empty() {
                return None;
            }
            let end = end(self.rest, self.is_sound).unwrap_or_else(|| {
                // From here on nothing is sure.
                self.is_sound = false;
                end(self.rest, false).unwrap_or(self.rest.len())
            });
            let (text, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, &[]));
            self.rest = rest.get(1..).unwrap_or_default();
            let text = text.trim_ascii();
            if !text.is_empty() {
                return Some(member(text, self.is_sound));
            }
        }
    }
}

/// Where a member ends; `None` within quotes that are not closed.
fn end(text: &[u8], minds_quotes: bool) -> Option<usize> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' if minds_quotes => is_quoted = !is_quoted,
            b',' if !is_quoted => return Some(at),
            _ => {}
        }
    }
    (!is_quoted).then_some(text.len())
}

fn member(text: &[u8], is_sound: bool) -> Member<'_> {
    let Some(at) = text.iter().position(|byte| *byte == b'=') else {
        return Member { name: text, argument: None, is_sound };
    };
    let (name, argument) = text.split_at_checked(at).unwrap_or((text, &[]));
    let argument = argument.get(1..).unwrap_or_default();
    let argument = match argument.strip_prefix(b"\"").and_then(|inner| inner.strip_suffix(b"\"")) {
        Some(inner) if inner.contains(&b'\\') => Argument::Owned(unescape(inner)),
        Some(inner) => Argument::Borrowed(inner),
        None => Argument::Borrowed(argument),
    };
    let trimmed = name.trim_ascii();
    Member {
        name: trimmed,
        argument: Some(argument),
        is_sound: is_sound && trimmed.len() == name.len(),
    }
}

fn unescape(text: &[u8]) -> Vec<u8> {
    let mut bytes = text.iter();
    let mut plain = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        plain.push(if *byte == b'\\' { *bytes.next().unwrap_or(byte) } else { *byte });
    }
    plain
}
