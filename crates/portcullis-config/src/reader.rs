//! Reads tables, and remembers everything that is wrong on the way.
use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use portcullis_gateway::Upstream;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::Gateway;
use crate::document;
use crate::keys::{Key, Kind};
use crate::source::{FileError, FileErrors, Source};

pub(crate) type Span = Range<usize>;

/// What is shared while a file is read.
pub(crate) struct Reading<'a> {
    pub(crate) source: &'a Source,
    pub(crate) errors: RefCell<FileErrors>,
    /// The environment.
    pub(crate) variable: &'a dyn Fn(&str) -> Option<String>,
    /// The gateway that this one takes the place of.
    pub(crate) before: Option<&'a Gateway>,
}

/// An upstream, and what the file said of it.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) said: String,
    pub(crate) upstream: Upstream,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
    pub(crate) place: String,
}

impl<T> At<T> {
    fn map<U>(self, value: impl FnOnce(T) -> U) -> At<U> {
        At { value: value(self.value), span: self.span, place: self.place }
    }
}

/// A key and its value.
type Entry<'a> = (&'a Spanned<Cow<'a, str>>, &'a Spanned<DeValue<'a>>);

/// One table of the file.
pub(crate) struct Table<'a> {
    reading: &'a Reading<'a>,
    keys: &'static [Key],
    pub(crate) place: String,
    pub(crate) span: Span,
    entries: Vec<Entry<'a>>,
}

/// What stands at a name.
pub(crate) enum Given<'a> {
    /// One text, or several.
    Texts(Vec<At<String>>),
    Table(Table<'a>),
}

impl<'a> Reading<'a> {
    pub(crate) fn error(&self, error: FileError) {
        self.errors.borrow_mut().push(error);
    }
    pub(crate) fn table(
        &'a self,
        place: &str,
        span: Span,
        table: &'a DeTable<'a>,
        keys: &'static [Key],
    ) -> Table<'a> {
        let entries = table.iter().collect();
        let read = Table { reading: self, keys, place: place.to_owned(), span, entries };
        read.check_keys();
        read
    }

    /// Puts the environment in the place of `${NAME}`; `$${` is `${`.
    pub(crate) fn expand(&self, text: &str, span: &Span, place: &str) -> String {
        if !text.contains("${") {
            return text.to_owned();
        }
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            if let Some(before) = before.strip_suffix('$') {
                out.push_str(before);
                out.push_str("${");
                rest = after;
                continue;
            }
            out.push_str(before);
            let Some((name, tail)) = after.split_once('}') else {
                let error = self.source.error(Some(span), place, "`${` has no `}`");
                self.error(error.hint("write `${NAME}` for a variable of the environment, or `$${` for the two characters"));
                return out;
            };
            if name.is_empty() {
                let error = self.source.error(Some(span), place, "`${}` names no variable");
                self.error(error.hint("write `${NAME}` for a variable of the environment, or `$${` for the two characters"));
            } else if let Some(value) = (self.variable)(name) {
                out.push_str(&value);
            } else {
                let message = format!("the environment has no variable `{name}`");
                let error = self.source.error(Some(span), place, message);
                self.error(error.hint(format!("set {name}, or write the value here")));
            }
            rest = tail;
        }
        out.push_str(rest);
        out
    }
}

impl<'a> Table<'a> {
    fn at(&self, key: &str) -> String {
        // For each value of the file, so without the machinery of `format!`.
        if self.place.is_empty() {
            key.to_owned()
        } else {
            [self.place.as_str(), ".", key].concat()
        }
    }
    pub(crate) fn error_at(&self, span: &Span, key: &str, message: impl Into<String>) -> FileError {
        self.reading.source.error(Some(span), &self.at(key), message)
    }
    /// Where a key stands; the table where it does not.
    pub(crate) fn span_of(&self, key: &str) -> Span {
        self.get(key).map_or_else(|| self.span.clone(), Spanned::span)
    }
    /// Something is wrong with this value.
    pub(crate) fn error_as<T>(&self, at: &At<T>, message: impl Into<String>) -> FileError {
        self.reading.source.error(Some(&at.span), &at.place, message)
    }
    /// What the table says, to compare it.
    pub(crate) fn said(&self) -> String {
        let entries = self.entries.iter().map(|(key, value)| (key.get_ref().as_ref(), *value));
        let said = document::of_table(self.reading, entries);
        document::with_files(&said, self.reading.source)
    }
    pub(crate) fn push(&self, error: FileError) {
        self.reading.error(error);
    }
    /// Something is wrong with the table as a whole.
    pub(crate) fn error(&self, message: impl Into<String>) -> FileError {
        self.reading.source.error(Some(&self.span), &self.place, message)
    }

    fn check_keys(&self) {
        for (key, _) in &self.entries {
            let name = key.get_ref().as_ref();
            if self.keys.iter().any(|known| known.name == name) {
                continue;
            }
            let span = key.span();
            let inside = self.keys.iter().find(|known| {
                matches!(known.kind, Kind::Table(keys) if keys.iter().any(|key| key.name == name))
            });
            if let Some(inside) = inside {
                let error = self.error_at(&span, name, format!("there is no key `{name}` here"));
                let inside = inside.name;
                self.push(
                    error.hint(format!(
                        "it belongs into `{inside}`: `{inside} = {{ {name} = .. }}`"
                    )),
                );
                continue;
            }
            let near = nearest(name, self.keys.iter().map(|known| known.name));
            let known: Vec<_> = self.keys.iter().map(|known| known.name).collect();
            let hint = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", known.join(", ")),
            };
            self.push(self.error_at(&span, name, format!("there is no key `{name}`")).hint(hint));
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        debug_assert!(self.keys.iter().any(|known| known.name == key), "`{key}` is not described");
        let (_, value) = self.entries.iter().find(|(name, _)| name.get_ref() == key)?;
        Some(value)
    }
    fn wrong(&self, key: &str, value: &Spanned<DeValue<'_>>, wanted: &str) {
        let found = value.get_ref().type_str();
        let error = self.error_at(
            &value.span(),
            key,
            format!("it must be {wanted}, and is {article} {found}", article = article(found)),
        );
        let key = self.keys.iter().find(|known| known.name == key);
        self.push(match key.map(|key| (key.kind, key.about)) {
            Some((Kind::Duration, _)) => error.hint("write `500ms`, `30s`, `2m` or `1h`"),
            Some((Kind::Table(keys), about)) => {
                let names: Vec<_> = keys.iter().map(|key| key.name).collect();
                error.hint(format!("{about} A table has {{ {} }}", names.join(", ")))
            }
            Some((_, about)) => error.hint(about),
            None => error,
        });
    }

    pub(crate) fn text(&self, key: &str) -> Option<At<String>> {
        let value = self.get(key)?;
        self.text_of(key, value)
    }
    fn text_of(&self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<At<String>> {
        let Some(text) = value.get_ref().as_str() else {
            self.wrong(key, value, "a text in quotes");
            return None;
        };
        let (span, place) = (value.span(), self.at(key));
        let value = self.reading.expand(text, &span, &place);
        Some(At { value, span, place })
    }
    /// A path, which is relative to where the configuration is.
    pub(crate) fn file(&self, key: &str) -> Option<At<PathBuf>> {
        let text = self.text(key)?;
        let path = self.reading.source.beside(&text.value);
        Some(text.map(|_| path))
    }
    /// A path as it is meant by the file.
    pub(crate) fn beside(&self, path: &str) -> PathBuf {
        self.reading.source.beside(path)
    }
    /// A text that must be there.
    pub(crate) fn needed(&self, key: &str, example: &str) -> Option<At<String>> {
        if self.get(key).is_none() {
            self.missing(key, example);
        }
        self.text(key)
    }
    /// A path that must be there.
    pub(crate) fn needed_file(&self, key: &str, example: &str) -> Option<At<PathBuf>> {
        if self.get(key).is_none() {
            self.missing(key, example);
        }
        self.file(key)
    }
    /// How much has been found to be wrong so far.
    pub(crate) fn told(&self) -> usize {
        self.reading.errors.borrow().iter().len()
    }
    pub(crate) fn missing(&self, key: &str, example: &str) {
        self.push(self.error(format!("`{key}` is missing")).hint(format!("add `{example}`")));
    }
    /// A text that `read` makes something of.
    pub(crate) fn parsed<T>(
        &self,
        key: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<At<T>> {
        let text = self.text(key)?;
        match read(&text.value) {
            Ok(value) => Some(text.map(|_| value)),
            Err(message) => {
                self.push(self.error_at(&text.span, key, message));
                None
            }
        }
    }
    /// One of these words.
    pub(crate) fn word(&self, key: &str, words: &'static [&'static str]) -> Option<&'static str> {
        let text = self.text(key)?;
        let found = words.iter().find(|word| **word == text.value);
        if found.is_none() {
            let error = self.error_at(
                &text.span,
                key,
                format!("`{}` is not one of {}", text.value, words.join(", ")),
            );
            let near = nearest(&text.value, words.iter().copied());
            self.push(match near {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error,
            });
        }
        found.copied()
    }
    pub(crate) fn flag(&self, key: &str) -> Option<bool> {
        let value = self.get(key)?;
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            self.wrong(key, value, "`true` or `false`");
        }
        flag
    }
    pub(crate) fn whole(&self, key: &str, range: std::ops::RangeInclusive<u64>) -> Option<At<u64>> {
        self.whole_of(key, self.get(key)?, range)
    }
    /// A list of whole numbers; alone, one of them.
    pub(crate) fn wholes(&self, key: &str, range: std::ops::RangeInclusive<u64>) -> Vec<At<u64>> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let Some(array) = value.get_ref().as_array() else {
            return self.whole_of(key, value, range).into_iter().collect();
        };
        let numbers = array.iter().enumerate();
        let numbers =
            numbers.map(|(at, it)| self.whole_of(&format!("{key}[{at}]"), it, range.clone()));
        numbers.flatten().collect()
    }
    fn whole_of(
        &self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        range: std::ops::RangeInclusive<u64>,
    ) -> Option<At<u64>> {
        let number = value.get_ref().as_integer();
        let parsed = number.and_then(|number| {
            let digits = number.as_str().replace('_', "");
            u64::from_str_radix(&digits, number.radix()).ok()
        });
        match (number, parsed) {
            (_, Some(number)) if range.contains(&number) => {
                Some(At { value: number, span: value.span(), place: self.at(key) })
            }
            (Some(number), _) => {
                let (least, most) = (range.start(), range.end());
                let message = if *most == u64::MAX {
                    format!("{} is less than {least}", number.as_str())
                } else {
                    format!("{} is not between {least} and {most}", number.as_str())
                };
                self.push(self.error_at(&value.span(), key, message));
                None
            }
            (None, _) => {
                self.wrong(key, value, "a whole number");
                None
            }
        }
    }
    pub(crate) fn share(&self, key: &str) -> Option<f64> {
        let value = self.get(key)?;
        let number = match value.get_ref() {
            DeValue::Float(number) => number.as_str().parse().ok(),
            DeValue::Integer(number) => number.as_str().parse().ok(),
            _ => None,
        };
        let share = number.filter(|share: &f64| (0.0..=1.0).contains(share));
        if share.is_none() {
            self.push(
                self.error_at(&value.span(), key, "it must be a share between 0 and 1")
                    .hint("a third is 0.33"),
            );
        }
        share
    }
    pub(crate) fn duration(&self, key: &str) -> Option<Duration> {
        Some(self.parsed(key, duration)?.value)
    }
    pub(crate) fn size(&self, key: &str) -> Option<u64> {
        let value = self.get(key)?;
        if value.get_ref().is_integer() {
            return Some(self.whole(key, 0..=u64::MAX)?.value);
        }
        Some(self.parsed(key, size)?.value)
    }
    /// A list of texts; alone, one of them.
    pub(crate) fn texts(&self, key: &str) -> Vec<At<String>> {
        let Some(value) = self.get(key) else { return Vec::new() };
        self.texts_of(key, value)
    }
    fn texts_of(&self, key: &str, value: &Spanned<DeValue<'_>>) -> Vec<At<String>> {
        if value.get_ref().is_str() {
            return self.text_of(key, value).into_iter().collect();
        }
        let Some(array) = value.get_ref().as_array() else {
            self.wrong(key, value, "a list of texts");
            return Vec::new();
        };
        let texts = array.iter().enumerate();
        texts.filter_map(|(at, text)| self.text_of(&format!("{key}[{at}]"), text)).collect()
    }
    pub(crate) fn parsed_all<T>(
        &self,
        key: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let texts = self.texts(key).into_iter();
        texts
            .filter_map(|text| match read(&text.value) {
                Ok(value) => Some(value),
                Err(message) => {
                    self.push(self.reading.source.error(Some(&text.span), &text.place, message));
                    None
                }
            })
            .collect()
    }
    /// A list that would mean the opposite of what it says if it were empty.
    pub(crate) fn some<T>(&self, key: &str, read: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
        let Some(value) = self.get(key) else { return Vec::new() };
        if value.get_ref().as_array().is_some_and(|all| all.iter().next().is_none()) {
            let error = self.error_at(&value.span(), key, "an empty list would hold for everybody");
            self.push(error.hint("name somebody, or leave the key out"));
        }
        self.parsed_all(key, read)
    }
    /// A time that is not nothing.
    pub(crate) fn time(&self, key: &str) -> Option<Duration> {
        let time = self.parsed(key, duration)?;
        if time.value.is_zero() {
            self.push(
                self.error_at(&time.span, key, "no time at all lets nothing happen")
                    .hint("leave the key out for the default"),
            );
        }
        Some(time.value)
    }
    /// Texts by name.
    pub(crate) fn text_map(&self, key: &str) -> Vec<(At<String>, At<String>)> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let Some(table) = value.get_ref().as_table() else {
            self.wrong(key, value, "a table of texts, as in `{ name = \"value\" }`");
            return Vec::new();
        };
        let entries = table.iter();
        entries
            .filter_map(|(name, value)| {
                let place = format!("{key}.{}", name.get_ref());
                let text = self.text_of(&place, value)?;
                let name = At {
                    value: name.get_ref().to_string(),
                    span: name.span(),
                    place: self.at(&place),
                };
                Some((name, text))
            })
            .collect()
    }
    /// Texts, or tables, by name.
    pub(crate) fn by_name(&self, key: &str, keys: &'static [Key]) -> Vec<(At<String>, Given<'a>)> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let Some(table) = value.get_ref().as_table() else {
            self.wrong(key, value, "a table, as in `{ name = \"value\" }`");
            return Vec::new();
        };
        let entries = table.iter();
        entries
            .map(|(name, value)| {
                let inner = format!("{key}.{}", name.get_ref());
                let (span, place) = (name.span(), self.at(&inner));
                let given = match value.get_ref().as_table() {
                    Some(table) => {
                        Given::Table(self.reading.table(&place, span.clone(), table, keys))
                    }
                    None => Given::Texts(self.texts_of(&inner, value)),
                };
                (At { value: name.get_ref().to_string(), span, place }, given)
            })
            .collect()
    }
    /// Weights by name.
    pub(crate) fn weights(&self, key: &str, table: &DeTable<'_>) -> Vec<(At<String>, u32)> {
        let mut weights = Vec::new();
        for (name, value) in table {
            let weight =
                value.get_ref().as_integer().and_then(|weight| weight.as_str().parse().ok());
            let place = format!("{key}.{}", name.get_ref());
            match weight {
                Some(weight) => {
                    let at = At {
                        value: name.get_ref().to_string(),
                        span: name.span(),
                        place: self.at(&place),
                    };
                    weights.push((at, weight));
                }
                None if value.get_ref().is_integer() => {
                    let error = self.error_at(
                        &value.span(),
                        &place,
                        "a weight is a whole number from 0 on",
                    );
                    self.push(error);
                }
                None => self.wrong(&place, value, "a weight: a whole number"),
            }
        }
        weights
    }
    pub(crate) fn table(&self, key: &str, keys: &'static [Key]) -> Option<Table<'a>> {
        let value = self.get(key)?;
        let Some(table) = value.get_ref().as_table() else {
            self.wrong(key, value, "a table");
            return None;
        };
        Some(self.reading.table(&self.at(key), value.span(), table, keys))
    }
    /// A list of tables.
    pub(crate) fn tables(&self, key: &str, keys: &'static [Key]) -> Vec<Table<'a>> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let Some(array) = value.get_ref().as_array() else {
            self.wrong(key, value, &format!("a list of tables, as in `[[{key}]]`"));
            return Vec::new();
        };
        let mut tables = Vec::new();
        for (at, value) in array.iter().enumerate() {
            let place = format!("{key}[{at}]");
            match value.get_ref().as_table() {
                Some(table) => {
                    tables.push(self.reading.table(&self.at(&place), value.span(), table, keys));
                }
                None => self.wrong(&place, value, "a table"),
            }
        }
        tables
    }
    /// Tables by name.
    pub(crate) fn named(&self, key: &str, keys: &'static [Key]) -> Vec<(String, Table<'a>)> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let Some(all) = value.get_ref().as_table() else {
            self.wrong(key, value, &format!("a table of tables, as in `[{key}.NAME]`"));
            return Vec::new();
        };
        let mut tables = Vec::new();
        for (name, value) in all {
            let place = format!("{key}.{}", name.get_ref());
            match value.get_ref().as_table() {
                Some(table) => {
                    let span = name.span();
                    let table = self.reading.table(&self.at(&place), span, table, keys);
                    tables.push((name.get_ref().to_string(), table));
                }
                None => self.wrong(&place, value, "a table"),
            }
        }
        tables
    }
}

fn article(word: &str) -> &'static str {
    if word.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

/// The known word that differs least, if it differs little.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let all: Vec<_> = known.into_iter().collect();
    let near = all.iter().map(|known| (distance(word, known), *known)).min()?;
    if near.0 <= 1 + word.len() / 4 {
        return Some(near.1);
    }
    // `healthcheck` for `health`.
    all.into_iter().find(|known| known.len() >= 4 && word.starts_with(known))
}

/// How many characters differ (Levenshtein 1966).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, character) in one.chars().enumerate() {
        let mut before = at;
        let mut left = at + 1;
        let next = row.iter().skip(1).zip(&other).map(|(above, wanted)| {
            let cost = (before + usize::from(character != *wanted)).min(above + 1).min(left + 1);
            (before, left) = (*above, cost);
            cost
        });
        row = std::iter::once(at + 1).chain(next.collect::<Vec<_>>()).collect();
    }
    row.last().copied().unwrap_or_default()
}

/// `30s`, `500ms`, `2m`, `1h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no time: write `500ms`, `30s`, `2m` or `1h`");
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let millis = match unit.trim() {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(millis).map(Duration::from_millis).ok_or_else(wrong)
}

/// `64KiB`, `2MiB`, `1GiB`.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let wrong =
        || format!("`{text}` is no size: write `64KiB`, `2MiB`, `1GiB`, or bytes as a number");
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let unit: u64 = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    number.checked_mul(unit).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_have_units() {
        for (text, want) in [
            ("500ms", Some(500)),
            ("30s", Some(30_000)),
            ("2m", Some(120_000)),
            ("1h", Some(3_600_000)),
            ("30", None),
            ("s", None),
            ("-1s", None),
            ("1d", None),
            ("99999999999999999999s", None),
        ] {
            assert_eq!(duration(text).ok(), want.map(Duration::from_millis), "{text}");
        }
        for (text, want) in [
            ("64KiB", Some(65_536)),
            ("2MiB", Some(2 << 20)),
            ("10", Some(10)),
            ("2MB", None),
            ("", None),
        ] {
            assert_eq!(size(text).ok(), want, "{text}");
        }
    }

    #[test]
    fn a_slip_of_the_pen_is_recognised() {
        let known = ["listen", "observe", "admin", "workers"];
        for (word, want) in [
            ("lisen", Some("listen")),
            ("listne", Some("listen")),
            ("worker", Some("workers")),
            ("workers_per_core", Some("workers")),
            ("port", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, known), want, "{word}");
        }
    }
}
