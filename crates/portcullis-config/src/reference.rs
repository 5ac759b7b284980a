//! The file as a page for people.
use std::fmt::Write;

use crate::keys::{FILE, Key, Kind};

/// What the file can say, as a page in Markdown.
pub fn reference() -> String {
    let mut page = include_str!("reference.md").to_owned();
    for key in FILE {
        section(&mut page, key.name, key, 2);
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

/// The table of a key, and those that stand in it.
fn section(page: &mut String, path: &str, key: &Key, depth: usize) {
    let Some((keys, heading)) = inner(key.kind, path) else { return };
    // Writing to a string never fails.
    let _ = write!(
        page,
        "{:#<depth$} `{heading}`\n\n{}\n\n| key | what stands there | what it is |\n|---|---|---|\n",
        "", key.about
    );
    for key in keys {
        let _ = writeln!(page, "| `{}` | {} | {} |", key.name, kind(key.kind), key.about);
    }
    page.push('\n');
    for key in keys {
        section(page, &format!("{path}.{}", key.name), key, 3);
    }
}

fn inner(kind: Kind, path: &str) -> Option<(&'static [Key], String)> {
    match kind {
        Kind::Table(keys) => Some((keys, format!("[{path}]"))),
        Kind::Tables(keys) => Some((keys, format!("[[{path}]]"))),
        Kind::Named(keys) => Some((keys, format!("[{path}.NAME]"))),
        Kind::Either(kinds) => kinds.iter().find_map(|kind| inner(*kind, path)),
        Kind::ByName(kinds) => {
            let path = format!("{path}.NAME");
            kinds.iter().find_map(|kind| inner(*kind, &path))
        }
        _ => None,
    }
}

fn kind(kind: Kind) -> String {
    match kind {
        Kind::Text => "a text".to_owned(),
        Kind::Flag => "`true` or `false`".to_owned(),
        Kind::Whole => "a number".to_owned(),
        Kind::Share => "0 to 1".to_owned(),
        Kind::Duration => "a time".to_owned(),
        Kind::Size => "a size".to_owned(),
        Kind::Rate => "a rate".to_owned(),
        Kind::OneOf(words) => {
            words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
        }
        Kind::Texts => "texts".to_owned(),
        Kind::TextMap => "texts by name".to_owned(),
        Kind::WeightMap => "numbers by name".to_owned(),
        Kind::List(Kind::Rate) => "rates".to_owned(),
        Kind::List(Kind::Whole) => "numbers".to_owned(),
        Kind::List(kind) => format!("a list, each of it {}", self::kind(*kind)),
        Kind::ByName(kinds) => format!("by name, {}", self::kind(Kind::Either(kinds))),
        Kind::Table(_) => "a table".to_owned(),
        Kind::Tables(_) => "tables".to_owned(),
        Kind::Named(_) => "tables by name".to_owned(),
        Kind::Either(kinds) => {
            kinds.iter().map(|one| self::kind(*one)).collect::<Vec<_>>().join(", or ")
        }
    }
}
