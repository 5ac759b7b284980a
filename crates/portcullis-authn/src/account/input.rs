//! What is sent to the endpoints: forms of browsers, and JSON.
use std::fmt;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use http_body::Body as HttpBody;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use portcullis_core::problem::kinds::{BODY_TOO_LARGE, MEDIA_TYPE_UNSUPPORTED, REQUEST_INVALID};
use portcullis_core::{BoxError, Problem, Secret};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::page::PageKind;
use crate::kinds::CREDENTIALS_INVALID;

/// How much may be sent.
const LARGEST: usize = 16 << 10;

/// The fields of a form or an object. What is secret of them is forgotten with it.
#[derive(Debug)]
pub(super) struct Input {
    fields: Vec<(String, Secret<String>)>,
}

/// How something is sent, by its `Content-Type`: what a form can send that is not ours is none of both (CSRF by `text/plain`).
pub(super) fn is_form(headers: &HeaderMap) -> Option<bool> {
    let mut kinds = headers.get_all(CONTENT_TYPE).iter();
    let (Some(kind), None) = (kinds.next(), kinds.next()) else { return None };
    let kind = kind.to_str().ok()?;
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Some(true);
    }
    kind.eq_ignore_ascii_case("application/json").then_some(false)
}

/// The members of an object, also those that are there twice.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        from.deserialize_map(Object)
    }
}

impl Input {
    /// Reads what was sent.
    ///
    /// # Errors
    /// It is neither a form nor JSON, or too large, or breaks off.
    pub(super) async fn read<B>(headers: &HeaderMap, body: B) -> Result<Self, Problem>
    where
        B: HttpBody<Data = Bytes> + Send,
        B::Error: Into<BoxError>,
    {
        if !headers.contains_key(CONTENT_TYPE) && body.is_end_stream() {
            // Nothing was sent, and nothing need be.
            return Ok(Self { fields: Vec::new() });
        }
        let is_form = is_form(headers).ok_or_else(|| {
            Problem::new(MEDIA_TYPE_UNSUPPORTED)
                .detail("send `application/json` or `application/x-www-form-urlencoded`")
        })?;
        let read = Limited::new(body, LARGEST).collect().await;
        let body = read.map_err(|error| {
            if error.is::<LengthLimitError>() {
                return Problem::new(BODY_TOO_LARGE).detail("16 KiB at most");
            }
            Problem::new(REQUEST_INVALID).cause(error)
        })?;
        let body = body.to_bytes();
        let fields = if is_form {
            let pairs = form_urlencoded::parse(&body);
            pairs.map(|(name, value)| (name.into_owned(), value.into_owned().into())).collect()
        } else {
            let wrong = |detail: &'static str| Problem::new(REQUEST_INVALID).detail(detail);
            let Members(object) = serde_json::from_slice(&body).map_err(|error| {
                let (line, column) = (error.line(), error.column());
                let detail = format!("it is no JSON object, at line {line}, column {column}");
                Problem::new(REQUEST_INVALID).detail(detail).cause(error)
            })?;
            let text = |(name, value)| match value {
                Value::String(text) => Ok((name, text.into())),
                Value::Number(number) => Ok((name, number.to_string().into())),
                _ => Err(wrong("a member is no text and no number")),
            };
            object.into_iter().map(text).collect::<Result<_, _>>()?
        };
        Ok(Self { fields })
    }
    #[cfg(test)]
    pub(super) fn of(fields: &[(&str, &str)]) -> Self {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).into()));
        Self { fields: fields.collect() }
    }
    /// A field, which may be missing or empty, and stands there once.
    pub(super) fn optional(&self, name: &str) -> Result<Option<&str>, Problem> {
        let mut found = self.fields.iter().filter(|(own, _)| own == name);
        let (first, second) = (found.next(), found.next());
        if second.is_some() {
            return Err(Problem::new(REQUEST_INVALID).detail(format!("`{name}` is there twice")));
        }
        Ok(first.map(|(_, value)| value.expose().as_str()).filter(|text| !text.is_empty()))
    }
    /// A field that must be there.
    pub(super) fn required(&self, name: &str) -> Result<&str, Problem> {
        let missing = || Problem::new(REQUEST_INVALID).detail(format!("`{name}` is missing"));
        self.optional(name)?.ok_or_else(missing)
    }
    pub(super) fn secret(&self, name: &str) -> Result<Secret<String>, Problem> {
        self.required(name).map(Secret::from)
    }
}

/// What is wrong is said in the page of the form.
pub(super) fn words(problem: &Problem, page: PageKind) -> String {
    if problem.kind() == CREDENTIALS_INVALID {
        let log_in = page == PageKind::LogIn;
        let what = if log_in { "The address or the password" } else { "The password" };
        return format!("{what} is not right");
    }
    match (problem.detail_text(), problem.status()) {
        (Some(detail), status) if status != StatusCode::INTERNAL_SERVER_ERROR => {
            format!("{}: {detail}", problem.kind().title())
        }
        _ => problem.kind().title().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(kind: &str, body: &str) -> Result<Vec<(String, String)>, StatusCode> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, kind.parse().unwrap());
        let body = http_body_util::Full::new(Bytes::from(body.to_owned()));
        let read = Input::read(&headers, body).await;
        let fields = read.map_err(|problem| problem.status())?.fields;
        Ok(fields.into_iter().map(|(name, value)| (name, value.expose().clone())).collect())
    }

    #[tokio::test]
    async fn a_form_and_json_say_the_same() {
        let want = vec![("email".to_owned(), "a@b.c".to_owned()), ("n".into(), "1 2".into())];
        let form = read("Application/X-WWW-Form-Urlencoded; charset=utf-8", "email=a%40b.c&n=1+2");
        assert_eq!(form.await.unwrap(), want);
        let json = read("application/json", r#"{"email":"a@b.c","n":"1 2"}"#);
        assert_eq!(json.await.unwrap(), want);
        for (kind, body, status) in [
            ("text/plain", r#"{"email":"a@b.c"}"#, 415),
            ("multipart/form-data; boundary=a", "", 415),
            ("application/json", "[1]", 400),
            ("application/json", "{", 400),
            ("application/json", r#"{"a":{}}"#, 400),
            ("application/json", &format!("{{\"a\":\"{}\"}}", "a".repeat(LARGEST)), 413),
        ] {
            assert_eq!(read(kind, body).await.unwrap_err(), status, "{kind} {body}");
        }
    }

    #[test]
    fn a_field_is_there_once() {
        let input = Input::of(&[("a", "1"), ("b", ""), ("c", "1"), ("c", "2")]);
        assert_eq!(input.required("a").unwrap(), "1");
        assert_eq!(input.optional("b").unwrap(), None);
        for name in ["b", "c", "d"] {
            assert_eq!(input.required(name).unwrap_err().status(), 400, "{name}");
        }
    }
}
