//! Fields that are meant for some caches only (RFC 9213), such as `CDN-Cache-Control`.
use http::{HeaderMap, HeaderName};
use sfv::{BareItem, Dictionary, Item, List, ListEntry, Parser};

use super::control::{Directives, FOREVER, Flags};

/// Reads a targeted field. `None` if it is not there, empty, or not a dictionary of which every number is one: then it counts as absent.
pub(super) fn read(headers: &HeaderMap, name: &HeaderName) -> Option<Directives> {
    let dictionary: Dictionary = Parser::new(&line(headers, name)?).parse().ok()?;
    if dictionary.is_empty() {
        return None;
    }
    let mut found = Directives::default();
    for (name, entry) in &dictionary {
        let item = match entry {
            ListEntry::Item(item) => Some(&item.bare_item),
            ListEntry::InnerList(_) => None,
        };
        match name.as_str() {
            "max-age" => found.max_age = Some(seconds(item)?),
            "s-maxage" => found.s_maxage = Some(seconds(item)?),
            "stale-while-revalidate" => found.while_revalidating = Some(seconds(item)?),
            "stale-if-error" => found.if_error = Some(seconds(item)?),
            // `?0` says that it does not hold.
            _ if matches!(item, Some(BareItem::Boolean(false))) => {}
            name => found.flag(
                name.as_bytes(),
                item.and_then(BareItem::as_string).map(|names| names.as_str().as_bytes()),
            ),
        }
    }
    if found.s_maxage.is_some() {
        found.flags.add(Flags::SHARED);
    }
    Some(found)
}

/// What is below zero is over already.
fn seconds(item: Option<&BareItem>) -> Option<u32> {
    let number = i64::from(item?.as_integer()?);
    Some(u32::try_from(number.max(0)).map_or(FOREVER, |number| number.min(FOREVER)))
}

/// The strings of a field that is a list of them (RFC 9651): none if it is malformed, or anything in it is no string.
pub(super) fn strings(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let read = |line: Vec<u8>| Parser::new(&line).parse::<List>().ok();
    let list = line(headers, name).and_then(read).unwrap_or_default();
    list.iter().map(string).collect::<Option<_>>().unwrap_or_default()
}

fn string(entry: &ListEntry) -> Option<String> {
    match entry {
        ListEntry::Item(Item { bare_item: BareItem::String(text), .. }) => {
            Some(text.as_str().to_owned())
        }
        _ => None,
    }
}

/// All lines of a field as one.
fn line(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    let mut values = headers.get_all(name).iter();
    let mut line = values.next()?.as_bytes().to_vec();
    for value in values {
        line.extend_from_slice(b", ");
        line.extend_from_slice(value.as_bytes());
    }
    Some(line)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn check(text: &str) -> Option<Directives> {
        let name = HeaderName::from_static("cdn-cache-control");
        read(&HeaderMap::from_iter([(name.clone(), HeaderValue::from_str(text).unwrap())]), &name)
    }

    #[test]
    fn reads_numbers_and_flags() {
        for (text, want) in [
            ("max-age=3600", 3600),
            ("foo=bar;a, max-age=3600;x=y, no-such", 3600),
            ("max-age=1, max-age=3600", 3600),
            ("max-age=-5", 0),
            ("max-age=999999999999999", FOREVER),
        ] {
            assert_eq!(check(text).unwrap().max_age, Some(want), "{text}");
        }
        for (text, want) in [
            ("no-store", Flags::NO_STORE),
            ("no-cache", Flags::NO_CACHE),
            ("private", Flags::PRIVATE),
            ("private=?1", Flags::PRIVATE),
            ("private=(a b)", Flags::PRIVATE),
            ("no-store=?0, public", Flags::PUBLIC),
            ("s-maxage=1", Flags::SHARED),
            ("private=\"a, b\"", Flags::default()),
        ] {
            assert_eq!(check(text).unwrap().flags, want, "{text}");
        }
        assert_eq!(check("private=\"a, b\"").unwrap().unstored.len(), 2);
    }

    #[test]
    fn ignores_what_is_malformed_or_empty() {
        for text in [
            "",
            " ",
            "MaX-aGe=3600",
            "max-age=\"10000\"",
            "max-age",
            "max-age=1.5",
            "max-age=10000, &",
            "max-age=10000 no-store",
            "max-age=(1)",
        ] {
            assert_eq!(check(text), None, "{text}");
        }
    }
}
