//! The file as a JSON Schema, for editors.
use serde_json::{Map, Value, json};

use crate::keys::{FILE, Key, Kind};

/// A JSON Schema (draft 2020-12) of the file.
pub fn schema() -> Value {
    let mut schema = table(FILE);
    say(&mut schema, "$schema", "https://json-schema.org/draft/2020-12/schema");
    say(&mut schema, "title", "portcullis.toml");
    schema
}

fn say(schema: &mut Value, name: &str, text: &str) {
    if let Some(members) = schema.as_object_mut() {
        members.insert(name.to_owned(), json!(text));
    }
}

fn table(keys: &[Key]) -> Value {
    let mut properties = Map::new();
    for key in keys {
        let mut value = of(key.kind);
        say(&mut value, "description", key.about);
        properties.insert(key.name.to_owned(), value);
    }
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

fn of(kind: Kind) -> Value {
    match kind {
        Kind::Text => json!({ "type": "string" }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Whole => json!({ "type": "integer", "minimum": 0 }),
        Kind::Share => json!({ "type": "number", "minimum": 0, "maximum": 1 }),
        Kind::Duration => json!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|min|h)$" }),
        Kind::Size => json!({ "anyOf": [
            { "type": "integer", "minimum": 0 },
            { "type": "string", "pattern": "^[0-9]+(B|KiB|MiB|GiB)?$" },
        ] }),
        Kind::Rate => {
            json!({ "type": "string", "pattern": "^([0-9]+([KMG]iB|B)?/[0-9]*(s|m|min|h|d)|unlimited)$" })
        }
        Kind::OneOf(words) => json!({ "enum": words }),
        Kind::Texts => json!({ "type": "array", "items": { "type": "string" } }),
        Kind::TextMap => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        Kind::WeightMap => {
            json!({ "type": "object", "additionalProperties": { "type": "integer", "minimum": 0 } })
        }
        Kind::List(kind) => json!({ "type": "array", "items": of(*kind) }),
        Kind::ByName(kinds) => {
            json!({ "type": "object", "additionalProperties": of(Kind::Either(kinds)) })
        }
        Kind::Table(keys) => table(keys),
        Kind::Tables(keys) => json!({ "type": "array", "items": table(keys) }),
        Kind::Named(keys) => json!({ "type": "object", "additionalProperties": table(keys) }),
        Kind::Either(kinds) => {
            let kinds: Vec<_> = kinds.iter().map(|kind| of(*kind)).collect();
            json!({ "anyOf": kinds })
        }
    }
}
