//! What an operator says is to be taken out of the cache.
use http::Request;
use portcullis_cache::Purge;
use portcullis_core::{Scheme, Target, TargetRules};
use serde_json::{Map, Value};

/// What can be said, one of them at a time.
const KINDS: [&str; 5] = ["url", "prefix", "tag", "group", "everything"];

/// Reads `{"url": ".."}`, `{"prefix": ".."}`, `{"tag": ".."}`, `{"group": {"origin": "..", "name": ".."}}` or `{"everything": true}`, any
/// of them with `"soft": true`.
pub(crate) fn read(body: &[u8]) -> Result<Purge, String> {
    let said: Value = serde_json::from_slice(body).map_err(|error| {
        format!("it is no JSON: {error}; send {{\"tag\": \"..\"}}, or one of {}", KINDS.join(", "))
    })?;
    let Value::Object(said) = said else {
        return Err("it must be an object, such as {\"tag\": \"books\"}".to_owned());
    };
    if let Some(key) = said.keys().find(|key| !KINDS.contains(&key.as_str()) && *key != "soft") {
        return Err(format!("there is no `{key}`: say one of {}, and `soft`", KINDS.join(", ")));
    }
    let mut kinds = KINDS.iter().filter_map(|kind| Some((*kind, said.get(*kind)?)));
    let purge = match (kinds.next(), kinds.next()) {
        (Some((kind, value)), None) => purge(kind, value)?,
        _ => return Err(format!("it must say one of {}", KINDS.join(", "))),
    };
    Ok(if flag(&said, "soft")? { purge.soft() } else { purge })
}

fn purge(kind: &str, value: &Value) -> Result<Purge, String> {
    let text = || match value.as_str() {
        Some(text) if !text.is_empty() => Ok(text),
        _ => Err(format!("`{kind}` must be a text")),
    };
    Ok(match kind {
        "url" => Purge::url(canonical(text()?)?),
        "prefix" => Purge::prefix(canonical(text()?)?),
        "tag" => Purge::tag(text()?),
        "group" => {
            let part = |name: &str| value.get(name).and_then(Value::as_str);
            let (Some(origin), Some(name), Some(2)) =
                (part("origin"), part("name"), value.as_object().map(Map::len))
            else {
                return Err(
                    "`group` must be {\"origin\": \"https://shop.example\", \"name\": \"..\"}"
                        .to_owned(),
                );
            };
            let url = canonical(origin)?;
            let is_bare = url.matches('/').count() == 3 && url.ends_with('/');
            let origin = url.strip_suffix('/').filter(|_| is_bare);
            Purge::group(
                origin.ok_or_else(|| {
                    format!("`{url}` has a path: an origin is `https://shop.example`")
                })?,
                name,
            )
        }
        _ if value == &Value::Bool(true) => Purge::everything(),
        _ => return Err("`everything` must be true".to_owned()),
    })
}

fn flag(said: &Map<String, Value>, key: &str) -> Result<bool, String> {
    match said.get(key) {
        None => Ok(false),
        Some(Value::Bool(yes)) => Ok(*yes),
        Some(_) => Err(format!("`{key}` must be true or false")),
    }
}

/// A URL in the spelling that requests have once they are read.
fn canonical(text: &str) -> Result<String, String> {
    let wrong = || format!("`{text}` is no whole URL: write `https://shop.example/books/1`");
    let mut request = Request::new(());
    *request.uri_mut() = text.parse().map_err(|_| wrong())?;
    let scheme = request.uri().scheme_str().and_then(Scheme::from_name).ok_or_else(wrong)?;
    let target = Target::of(&request, scheme, None, &TargetRules::default())
        .map_err(|error| format!("`{text}`: {error}"))?;
    Ok(format!("{}://{}{}", scheme.as_str(), target.authority(), target.path_and_query()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_taken_out_and_what_is_wrong_is_told() {
        let url = "https://shop.example/books/1?page=2";
        for (body, want) in [
            (r#"{"url": "https://shop.example/books/1?page=2"}"#, Ok(Purge::url(url))),
            (r#"{"url": "HTTPS://Shop.Example:443/a/../books/1?page=2"}"#, Ok(Purge::url(url))),
            (r#"{"url": "http://shop.example:8080"}"#, Ok(Purge::url("http://shop.example:8080/"))),
            (
                r#"{"prefix": "https://SHOP.example/b"}"#,
                Ok(Purge::prefix("https://shop.example/b")),
            ),
            (r#"{"tag": "books", "soft": true}"#, Ok(Purge::tag("books").soft())),
            (r#"{"tag": "books", "soft": false}"#, Ok(Purge::tag("books"))),
            (
                r#"{"group": {"origin": "https://shop.example", "name": "a"}}"#,
                Ok(Purge::group("https://shop.example", "a")),
            ),
            (r#"{"everything": true}"#, Ok(Purge::everything())),
            ("", Err("it is no JSON")),
            ("[]", Err("it must be an object")),
            ("{}", Err("it must say one of url, prefix, tag, group, everything")),
            (r#"{"tag": "a", "url": "https://a/"}"#, Err("it must say one of")),
            (r#"{"tga": "a"}"#, Err("there is no `tga`")),
            (r#"{"tag": ""}"#, Err("`tag` must be a text")),
            (r#"{"tag": "a", "soft": 1}"#, Err("`soft` must be true or false")),
            (r#"{"url": "/books"}"#, Err("`/books` is no whole URL")),
            (r#"{"url": "ftp://a/b"}"#, Err("is no whole URL")),
            (r#"{"url": "https://a/%2F"}"#, Err("encoded slash")),
            (r#"{"group": {"origin": "https://a/b", "name": "a"}}"#, Err("has a path")),
            (r#"{"group": {"origin": "https://a"}}"#, Err("`group` must be")),
            (r#"{"everything": false}"#, Err("`everything` must be true")),
        ] {
            match (read(body.as_bytes()), want) {
                (Ok(read), Ok(want)) => assert_eq!(read, want, "{body}"),
                (Err(told), Err(part)) => assert!(told.contains(part), "{body}: {told}"),
                (read, want) => panic!("{body}: {read:?}, and not {want:?}"),
            }
        }
    }
}
