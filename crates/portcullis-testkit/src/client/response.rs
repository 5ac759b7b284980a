//! An answer that has been read and checked.
use std::fmt;

use bytes::Bytes;
use http::response::Parts;
use http::{Extensions, HeaderMap, StatusCode};
use portcullis_core::Problem;
use portcullis_core::problem::{IANA_REGISTRY, REGISTRY};
use serde_json::Value;

use super::Asked;
use super::check::is_problem_json;
use crate::fail::fail;

/// An answer that has been read to its end and checked.
#[derive(Clone, Debug)]
pub struct TestResponse {
    asked: Asked,
    head: Parts,
    body: Bytes,
    trailers: Option<HeaderMap>,
    problem: Option<String>,
}

impl TestResponse {
    pub(super) fn new(asked: Asked, head: Parts, body: Bytes, trailers: Option<HeaderMap>) -> Self {
        let problem = slug(&head, &body);
        Self { asked, head, body, trailers, problem }
    }
    /// The status.
    pub fn status(&self) -> StatusCode {
        self.head.status
    }
    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }
    /// The first value of a header; `None` where it is missing or not text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name)?.to_str().ok()
    }
    /// The extensions.
    pub fn extensions(&self) -> &Extensions {
        &self.head.extensions
    }
    /// The trailers, where the body had any.
    pub fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_ref()
    }
    /// The body.
    pub fn bytes(&self) -> &Bytes {
        &self.body
    }
    /// The body as text.
    ///
    /// # Panics
    /// When it is not UTF-8.
    #[track_caller]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body)
            .unwrap_or_else(|error| fail(format!("{self}: the body is not text: {error}")))
    }
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    #[track_caller]
    pub fn json_value(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| fail(format!("{self}: the body is not JSON: {error}")))
    }
    /// The slug of the problem that was answered, in any dialect; the whole `type` where it is not of our registry.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Asserts the status.
    ///
    /// # Panics
    /// When it is another.
    #[track_caller]
    pub fn assert_status(&self, status: u16) -> &Self {
        if self.status() != status {
            fail(format!("{self}: expected the status {status}; the body:\n{}", self.shown_body()));
        }
        self
    }
    /// Asserts that the answer is the problem of this slug.
    ///
    /// # Panics
    /// When it is another, or none.
    #[track_caller]
    pub fn assert_problem(&self, slug: &str) -> &Self {
        if self.problem() != Some(slug) {
            fail(format!(
                "{self}: expected the problem `{slug}`; the body:\n{}",
                self.shown_body()
            ));
        }
        self
    }

    fn shown_body(&self) -> String {
        String::from_utf8_lossy(&self.body).chars().take(2000).collect()
    }
}

/// The request and the status: how messages begin.
impl fmt::Display for TestResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} was answered {}", self.asked, self.status())?;
        self.problem().map_or(Ok(()), |slug| write!(f, " `{slug}`"))
    }
}

/// The slug of the problem in an answer. The body tells what the client got; HTML and HEAD do not show it.
fn slug(head: &Parts, body: &Bytes) -> Option<String> {
    let json = Some(body).filter(|_| is_problem_json(&head.headers));
    let json = json.and_then(|body| serde_json::from_slice::<Value>(body).ok());
    if let Some(uri) = json.as_ref().and_then(|json| json.get("type")?.as_str()) {
        let slug = [REGISTRY, IANA_REGISTRY].iter().find_map(|registry| uri.strip_prefix(registry));
        return Some(slug.unwrap_or(uri).to_owned());
    }
    head.extensions.get::<Problem>().map(|problem| problem.kind().slug().to_owned())
}
