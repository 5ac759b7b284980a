//! What a file says, with the environment in it: to compare two of them.
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::reader::Reading;
use crate::source::Source;

/// Keys whose values are files that are read once, with the rest.
const FILES: [&str; 4] = ["ca", "client_cert", "client_key", "jwks_ca"];

/// What a whole file says.
pub(crate) fn of_file(reading: &Reading<'_>, file: &DeTable<'_>) -> Value {
    of_table(reading, file.iter().map(|(key, value)| (key.get_ref().as_ref(), value)))
}

pub(crate) fn of_table<'a, 'b: 'a>(
    reading: &Reading<'_>,
    entries: impl Iterator<Item = (&'a str, &'a Spanned<DeValue<'b>>)>,
) -> Value {
    // What is wrong with a variable is told where its text is read.
    let told = reading.errors.borrow().clone();
    let said = table(reading, entries);
    *reading.errors.borrow_mut() = told;
    said
}

fn table<'a, 'b: 'a>(
    reading: &Reading<'_>,
    entries: impl Iterator<Item = (&'a str, &'a Spanned<DeValue<'b>>)>,
) -> Value {
    let said: Map<_, _> = entries.map(|(key, it)| (key.to_owned(), value(reading, it))).collect();
    Value::Object(said)
}

fn value(reading: &Reading<'_>, from: &Spanned<DeValue<'_>>) -> Value {
    match from.get_ref() {
        DeValue::String(text) => reading.expand(text, &from.span(), "").into(),
        DeValue::Integer(number) => {
            number.as_str().parse::<i64>().map_or_else(|_| number.as_str().into(), Value::from)
        }
        DeValue::Float(number) => {
            number.as_str().parse::<f64>().map_or_else(|_| number.as_str().into(), Value::from)
        }
        DeValue::Boolean(yes) => (*yes).into(),
        DeValue::Datetime(time) => time.to_string().into(),
        DeValue::Array(values) => values.iter().map(|it| value(reading, it)).collect(),
        DeValue::Table(entries) => {
            table(reading, entries.iter().map(|(key, it)| (key.get_ref().as_ref(), it)))
        }
    }
}

/// The same as text, with a mark of what is in the files that it names.
pub(crate) fn with_files(said: &Value, source: &Source) -> String {
    let mut text = said.to_string();
    mark_files(said, source, &mut text);
    text
}

fn mark_files(said: &Value, source: &Source, text: &mut String) {
    for (key, value) in said.as_object().into_iter().flatten() {
        mark_files(value, source, text);
        if let Some(path) = value.as_str().filter(|_| FILES.contains(&key.as_str())) {
            let mut hasher = DefaultHasher::new();
            std::fs::read(source.beside(path)).ok().hash(&mut hasher);
            text.push(' ');
            text.push_str(&hasher.finish().to_string());
        }
    }
}
