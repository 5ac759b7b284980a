//! In what shape the client expects an error.
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, Method, Request};

/// In what shape a [`Problem`](crate::Problem) answers this request. Captured before the request moves inward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dialect {
    format: Format,
    head: bool,
}

/// The format of an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// `application/problem+json` (RFC 9457). The default.
    #[default]
    Json,
    /// A small page, for a client that names `text/html` before any JSON in `Accept`: a browser.
    Html,
    /// `grpc-status` and `grpc-message` in a response without a body, for `application/grpc*` requests.
    Grpc,
}

impl Dialect {
    /// Reads the dialect off a request's method, `Content-Type` and `Accept`.
    pub fn of<B>(request: &Request<B>) -> Self {
        Self { format: Format::of(request.headers()), head: request.method() == Method::HEAD }
    }
    /// The format of an error.
    pub fn format(self) -> Format {
        self.format
    }
    /// Whether the request was a HEAD, whose answer has no body.
    pub fn head(self) -> bool {
        self.head
    }
}

impl Format {
    fn of(headers: &HeaderMap) -> Self {
        let grpc = headers
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
        if grpc {
            return Self::Grpc;
        }
        let Some(accept) = headers.get(ACCEPT) else { return Self::Json };
        let kinds =
            accept.as_bytes().split(|byte| matches!(byte, b',' | b';')).map(<[u8]>::trim_ascii);
        let known = |kind: &[u8]| match kind {
            b"text/html" | b"application/xhtml+xml" => Some(Self::Html),
            kind if kind.ends_with(b"json") => Some(Self::Json),
            _ => None,
        };
        kinds.into_iter().find_map(known).unwrap_or(Self::Json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_known_type_of_accept_decides() {
        for (name, value, want) in [
            ("accept", "text/html,application/xhtml+xml,*/*;q=0.8", Format::Html),
            ("accept", "application/json, text/html", Format::Json),
            ("accept", "*/*", Format::Json),
            ("content-type", "application/grpc+proto", Format::Grpc),
            ("content-type", "application/json", Format::Json),
        ] {
            let request = Request::head("/").header(name, value).body(()).unwrap();
            let dialect = Dialect::of(&request);
            assert_eq!((dialect.format(), dialect.head()), (want, true), "{name}: {value}");
        }
    }
}
