//! A strict parser of lists of structured fields (RFC 9651), as far as the fields of limits need it, held against the vectors of the HTTP working group.
//! They lie in the folder that `PORTCULLIS_VECTORS` names, or beside the project in `shared/vectors`.
use std::path::PathBuf;

use serde_json::Value;

/// A bare item; of the kinds that do not stand in these fields only that they are well formed is known.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Bare {
    Integer(i64),
    String(String),
    Token(String),
    Boolean(bool),
    Other,
}

/// An item with its parameters, of which the last of a name counts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Item {
    pub(crate) value: Bare,
    pub(crate) parameters: Vec<(String, Bare)>,
}

impl Item {
    pub(crate) fn name(&self) -> &str {
        let Bare::String(name) = &self.value else { panic!("{:?} is no string", self.value) };
        name
    }
    pub(crate) fn parameter(&self, key: &str) -> Option<&Bare> {
        self.parameters.iter().find(|(known, _)| known == key).map(|(_, value)| value)
    }
    pub(crate) fn number(&self, key: &str) -> Option<u64> {
        match self.parameter(key)? {
            Bare::Integer(number) => Some(u64::try_from(*number).unwrap()),
            other => panic!("{key}: {other:?}"),
        }
    }
}

/// The items of a list without inner lists; `None` where it is not well formed.
pub(crate) fn list(text: &str) -> Option<Vec<Item>> {
    let mut rest = Rest(text.as_bytes());
    let mut items = Vec::new();
    rest.skip(b" ");
    if rest.0.is_empty() {
        return Some(items);
    }
    loop {
        items.push(rest.item()?);
        rest.skip(b" \t");
        if rest.0.is_empty() {
            return Some(items);
        }
        rest.eat(b',')?;
        rest.skip(b" \t");
        if rest.0.is_empty() {
            return None;
        }
    }
}

/// The only item of a field; `None` where it is not well formed.
fn item(text: &str) -> Option<Item> {
    let mut rest = Rest(text.as_bytes());
    rest.skip(b" ");
    let item = rest.item()?;
    rest.skip(b" ");
    rest.0.is_empty().then_some(item)
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }
    fn eat(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }
    fn skip(&mut self, bytes: &[u8]) {
        while self.peek().is_some_and(|byte| bytes.contains(&byte)) {
            self.next();
        }
    }
    fn take_while(&mut self, is: impl Fn(u8) -> bool) -> &'a str {
        let end = self.0.iter().position(|byte| !is(*byte)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(end);
        self.0 = rest;
        std::str::from_utf8(taken).unwrap()
    }

    fn item(&mut self) -> Option<Item> {
        let value = self.bare()?;
        let mut parameters = Vec::<(String, Bare)>::new();
        while self.peek() == Some(b';') {
            self.next();
            self.skip(b" ");
            let key = self.key()?;
            let value = if self.peek() == Some(b'=') {
                self.next();
                self.bare()?
            } else {
                Bare::Boolean(true)
            };
            match parameters.iter_mut().find(|(known, _)| *known == key) {
                Some(known) => known.1 = value,
                None => parameters.push((key, value)),
            }
        }
        Some(Item { value, parameters })
    }
    fn key(&mut self) -> Option<String> {
        self.peek().filter(|byte| byte.is_ascii_lowercase() || *byte == b'*')?;
        let is = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.*".contains(&byte)
        };
        Some(self.take_while(is).to_owned())
    }
    fn bare(&mut self) -> Option<Bare> {
        match self.peek()? {
            b'-' | b'0'..=b'9' => self.number(),
            b'"' => self.string(),
            b'?' => {
                self.next();
                match self.next()? {
                    b'0' => Some(Bare::Boolean(false)),
                    b'1' => Some(Bare::Boolean(true)),
                    _ => None,
                }
            }
            b'*' | b'A'..=b'Z' | b'a'..=b'z' => {
                let is =
                    |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte);
                Some(Bare::Token(self.take_while(is).to_owned()))
            }
            _ => None,
        }
    }
    fn number(&mut self) -> Option<Bare> {
        let is_negative = self.peek() == Some(b'-');
        if is_negative {
            self.next();
        }
        let whole = self.take_while(|byte| byte.is_ascii_digit());
        if self.peek() == Some(b'.') {
            self.next();
            let part = self.take_while(|byte| byte.is_ascii_digit());
            let is_good = (1..=12).contains(&whole.len()) && (1..=3).contains(&part.len());
            return is_good.then_some(Bare::Other);
        }
        let number: i64 = whole.parse().ok().filter(|_| whole.len() <= 15)?;
        Some(Bare::Integer(if is_negative { -number } else { number }))
    }
    fn string(&mut self) -> Option<Bare> {
        self.eat(b'"')?;
        let mut text = String::new();
        loop {
            match self.next()? {
                b'"' => return Some(Bare::String(text)),
                b'\\' => match self.next()? {
                    byte @ (b'"' | b'\\') => text.push(char::from(byte)),
                    _ => return None,
                },
                byte @ 0x20..0x7f => text.push(char::from(byte)),
                _ => return None,
            }
        }
    }
}

fn vectors() -> Option<PathBuf> {
    let default = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors");
    let folder = std::env::var_os("PORTCULLIS_VECTORS").map_or(default, PathBuf::from);
    if !folder.is_dir() {
        assert!(std::env::var_os("CI").is_none(), "there are no vectors in {}", folder.display());
        eprintln!("skipped: there are no vectors in {}", folder.display());
        return None;
    }
    Some(folder.join("structured-fields"))
}

/// Whether a bare item is what a vector says.
fn is_bare(own: &Bare, want: &Value) -> bool {
    match own {
        Bare::Integer(number) => want.as_i64() == Some(*number),
        Bare::String(text) => want.as_str() == Some(text),
        Bare::Boolean(is) => want.as_bool() == Some(*is),
        Bare::Token(text) => want["__type"] == "token" && want["value"] == **text,
        Bare::Other => want.is_f64(),
    }
}

fn is_item(own: &Item, want: &Value) -> bool {
    let parameters = want[1].as_array().unwrap();
    is_bare(&own.value, &want[0])
        && own.parameters.len() == parameters.len()
        && own
            .parameters
            .iter()
            .zip(parameters)
            .all(|((key, value), want)| want[0].as_str() == Some(key) && is_bare(value, &want[1]))
}

/// Whether it is of a kind that these fields never have: a binary, a date, a display string, or an inner list.
fn is_beyond(raw: &str) -> bool {
    ["(", ":", "@", "%\""].iter().any(|start| raw.contains(start))
}

#[test]
fn the_parser_of_these_tests_keeps_to_the_vectors() {
    let Some(folder) = vectors() else { return };
    let mut count = 0;
    for file in [
        "boolean",
        "examples",
        "item",
        "key-generated",
        "large-generated",
        "list",
        "number-generated",
        "number",
        "param-list",
        "string-generated",
        "string",
        "token-generated",
        "token",
    ] {
        let path = folder.join(file).with_extension("json");
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let records: Vec<Value> = serde_json::from_str(&text).unwrap();
        for record in records {
            let raw: Vec<&str> =
                record["raw"].as_array().unwrap().iter().map(|raw| raw.as_str().unwrap()).collect();
            let raw = raw.join(", ");
            let name = &record["name"];
            let is_list = record["header_type"] == "list";
            if record["header_type"] == "dictionary" || is_beyond(&raw) && !raw.contains('"') {
                continue;
            }
            let own = if is_list { list(&raw) } else { item(&raw).map(|item| vec![item]) };
            match (&own, record["must_fail"] == true) {
                (None, true) => {}
                (None, false) if record["can_fail"] == true || is_beyond(&raw) => continue,
                (Some(items), false) => {
                    let want = &record["expected"];
                    let want =
                        if is_list { want.as_array().unwrap().clone() } else { vec![want.clone()] };
                    let same = items.len() == want.len();
                    assert!(
                        same && items.iter().zip(&want).all(|(own, want)| is_item(own, want)),
                        "{file}: {name}: {items:?}"
                    );
                }
                _ => panic!("{file}: {name}: {raw:?} is {own:?}"),
            }
            count += 1;
        }
    }
    assert!(count > 700, "{count}");
}
