//! `No-Vary-Search`: which parts of a query do not matter (draft-ietf-httpbis-no-vary-search).
use std::borrow::Cow;

use http::{HeaderMap, HeaderName};
use sfv::{BareItem, Dictionary, InnerList, ListEntry, Parser};

use super::Stored;

const NO_VARY_SEARCH: HeaderName = HeaderName::from_static("no-vary-search");

/// What a response says of the queries that it also answers.
///
/// Anything malformed or unknown in it means that nothing is said: then only the same query is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoVarySearch {
    /// Whether parameters of other names may change places.
    is_unordered: bool,
    /// The names below, decoded.
    names: Vec<Vec<u8>>,
    /// Whether the parameters of these names are those that matter, or those that do not.
    names_matter: bool,
}

impl NoVarySearch {
    /// Reads the field; `None` where every query is another.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(NO_VARY_SEARCH).iter();
        let first = Cow::Borrowed(values.next()?.as_bytes());
        let text = values
            .fold(first, |text, more| [&text, b", ".as_slice(), more.as_bytes()].concat().into());
        let fields = Parser::new(text.as_ref()).parse::<Dictionary>().ok()?;
        let (mut params, mut except, mut is_unordered) = (None, None, false);
        for (key, value) in &fields {
            match key.as_str() {
                "key-order" => is_unordered = is_true(value)?,
                "params" => params = Some(value),
                "except" => except = Some(value),
                _ => return None,
            }
        }
        let (names, names_matter) = match (params, except) {
            (Some(ListEntry::InnerList(list)), None) => (read(list)?, false),
            (Some(params), None) => (Vec::new(), is_true(params)?),
            (Some(params), Some(ListEntry::InnerList(list))) if is_true(params)? => {
                (read(list)?, true)
            }
            (None, None) => (Vec::new(), false),
            _ => return None,
        };
        let says_something = is_unordered || names_matter || !names.is_empty();
        says_something.then_some(Self { is_unordered, names, names_matter })
    }

    /// A query in the spelling that all have in common which are the same to this response. Two that are not the same never get one spelling.
    pub fn normalise(&self, query: &str) -> String {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        });
        let mut pairs: Vec<_> =
            pairs.filter(|(name, _)| self.names.contains(name) == self.names_matter).collect();
        if self.is_unordered {
            // Stable: the values of one name keep their order.
            pairs.sort_by(|(one, _), (other, _)| one.cmp(other));
        }
        let mut text = String::with_capacity(query.len());
        for (name, value) in pairs {
            if !text.is_empty() {
                text.push('&');
            }
            encode(&name, &mut text);
            text.push('=');
            encode(&value, &mut text);
        }
        text
    }
}

impl Stored {
    /// Which other queries it also answers; `None` where it answers none.
    pub fn no_vary_search(&self) -> Option<&NoVarySearch> {
        self.search.as_deref()
    }
}

fn is_true(entry: &ListEntry) -> Option<bool> {
    match entry {
        ListEntry::Item(item) => item.bare_item.as_boolean(),
        ListEntry::InnerList(_) => None,
    }
}

fn read(list: &InnerList) -> Option<Vec<Vec<u8>>> {
    let name = |item: &sfv::Item| match &item.bare_item {
        BareItem::String(text) => Some(decode(text.as_str())),
        _ => None,
    };
    list.items.iter().map(name).collect()
}

/// As in a form: `+` is a space, and a percent sign that begins no escape is itself.
fn decode(text: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, more)) = rest.split_first() {
        rest = more;
        decoded.push(match (byte, more) {
            (b'+', _) => b' ',
            (b'%', [high, low, behind @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => {
                    rest = behind;
                    high << 4 | low
                }
                _ => b'%',
            },
            (byte, _) => byte,
        });
    }
    decoded
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

fn encode(bytes: &[u8], text: &mut String) {
    let digit = |half: u8| char::from(if half < 10 { b'0' + half } else { b'A' + half - 10 });
    for &byte in bytes {
        match byte {
            b' ' => text.push('+'),
            b'-' | b'.' | b'_' | b'*' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
                text.push(char::from(byte));
            }
            _ => text.extend(['%', digit(byte >> 4), digit(byte & 15)]),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(text: &str) -> Option<NoVarySearch> {
        NoVarySearch::of(&HeaderMap::from_iter([(
            NO_VARY_SEARCH,
            HeaderValue::from_str(text).unwrap(),
        )]))
    }

    #[test]
    fn tells_queries_apart_that_matter() {
        let rows = [
            ("key-order", "a=1&b=2", "b=2&a=1", true),
            ("key-order", "a=1&a=2", "a=2&a=1", false),
            ("key-order", "a=1&b=2", "a=1", false),
            ("key-order, params", "a", "b", true),
            ("params", "a=1&b=2", "", true),
            ("params=(\"a\")", "a=1&b=2", "b=2&a=3", true),
            ("params=(\"a\")", "b=1&c=2", "c=2&b=1", false),
            ("params=(\"a\")", "a=1&b=2", "b=3", false),
            ("params=(\"a b\")", "a+b=1&c", "c=&a%20b=2", true),
            ("params=(\"a+b\")", "a%20b=1", "", true),
            ("params=(\"%c3%a9\")", "%C3%A9=1&x", "x", true),
            ("params, except=(\"a\")", "a=1&b=2", "b=3&a=1&c", true),
            ("params, except=(\"a\")", "a=1", "a=2", false),
            ("params=?0, key-order", "a=1&b=2", "b=2&a=1", true),
            ("key-order", "a=%26b%3D1", "a=&b=1", false),
            ("key-order", "a=%31", "a=1", true),
            ("key-order", "a=%zz", "a=%25zz", true),
            ("key-order", "a=%ff", "a=%ef%bf%bd", false),
            ("key-order", "&&a", "a=", true),
        ];
        for (field, one, other, same) in rows {
            let rules = read(field).unwrap();
            assert_eq!(
                rules.normalise(one) == rules.normalise(other),
                same,
                "{field}: {one} {other}"
            );
        }
    }

    #[test]
    fn says_nothing_where_it_is_not_understood() {
        let rows = [
            "",
            "params=()",
            "params=?0",
            "key-order=?0",
            "key-order=1",
            "params=1",
            "params=(a)",
            "params=\"a\"",
            "params=(\"a\" 1)",
            "except=(\"a\")",
            "params=?0, except=(\"a\")",
            "params=(\"a\"), except=(\"b\")",
            "params, except",
            "params, other",
            "((",
            "params, except=\"a\"",
        ];
        for text in rows {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(NoVarySearch::of(&HeaderMap::new()), None);
    }

    #[test]
    fn what_is_normal_stays_so() {
        let rules = read("key-order, params=(\"z\")").unwrap();
        let once = rules.normalise("b=%2f+%20&z=1&a=%00&b=1");
        assert_eq!(once, "a=%00&b=%2F++&b=1");
        assert_eq!(rules.normalise(&once), once);
    }
}
