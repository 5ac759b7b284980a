//! In what shape the client expects an error.
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request};

/// In what shape a [`Problem`](crate::Problem) answers this request. Captured before the request moves inward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dialect {
    format: Format,
    head: bool,
    grpc: GrpcWire,
}

/// How gRPC is carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum GrpcWire {
    #[default]
    Native,
    Web,
    WebText,
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
    /// `grpc-status` and `grpc-message` in a response without a body, for requests in `application/grpc` and
    /// `application/grpc-web`.
    Grpc,
}

impl Dialect {
    /// Reads the dialect off a request's method, `Content-Type` and `Accept`.
    pub fn of<B>(request: &Request<B>) -> Self {
        let headers = request.headers();
        let grpc = headers.get(CONTENT_TYPE).and_then(|kind| GrpcWire::of(kind.as_bytes()));
        let format = if grpc.is_some() { Format::Grpc } else { Format::of(headers) };
        let head = request.method() == Method::HEAD;
        Self { format, head, grpc: grpc.unwrap_or_default() }
    }
    /// The format of an error.
    pub fn format(self) -> Format {
        self.format
    }
    pub(crate) fn grpc(self) -> GrpcWire {
        self.grpc
    }
    /// Whether the request was a HEAD, whose answer has no body.
    pub fn head(self) -> bool {
        self.head
    }
}

impl Format {
    fn of(headers: &HeaderMap) -> Self {
        let Some(accept) = headers.get(ACCEPT) else { return Self::Json };
        let kinds =
            accept.as_bytes().split(|byte| matches!(byte, b',' | b';')).map(<[u8]>::trim_ascii);
        let known = |kind: &[u8]| {
            let ends = |end: &[u8]| kind.len().checked_sub(end.len()).and_then(|at| kind.get(at..));
            let is_json = ends(b"json").is_some_and(|end| end.eq_ignore_ascii_case(b"json"));
            let is_html = kind.eq_ignore_ascii_case(b"text/html");
            is_json.then_some(Self::Json).or(is_html.then_some(Self::Html))
        };
        kinds.into_iter().find_map(known).unwrap_or(Self::Json)
    }
}

impl GrpcWire {
    /// `application/grpc`, `application/grpc-web` and `application/grpc-web-text`, alone or with a suffix (`+proto`) or parameters.
    fn of(kind: &[u8]) -> Option<Self> {
        const GRPC: &[u8] = b"application/grpc";
        let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        let (start, rest) = kind.split_at_checked(GRPC.len())?;
        if !start.eq_ignore_ascii_case(GRPC) {
            return None;
        }
        let (wire, rest) = match (rest.strip_prefix(b"-web-text"), rest.strip_prefix(b"-web")) {
            (Some(rest), _) => (Self::WebText, rest),
            (None, Some(rest)) => (Self::Web, rest),
            (None, None) => (Self::Native, rest),
        };
        matches!(rest, [] | [b'+', ..]).then_some(wire)
    }
    /// The media type of an answer.
    pub(crate) fn media_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Native => "application/grpc",
            Self::Web => "application/grpc-web",
            Self::WebText => "application/grpc-web-text",
        })
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
            ("accept", "Text/HTML", Format::Html),
            ("content-type", "Application/gRPC", Format::Grpc),
            ("content-type", "application/grpc-web+proto", Format::Grpc),
            ("content-type", "application/grpc-web-text", Format::Grpc),
            ("content-type", "application/grpc ; charset=x", Format::Grpc),
            ("content-type", "application/grpc-web-texts", Format::Json),
            ("content-type", "application/grpcfoo", Format::Json),
            ("content-type", "application/json", Format::Json),
        ] {
            let request = Request::head("/").header(name, value).body(()).unwrap();
            let dialect = Dialect::of(&request);
            assert_eq!((dialect.format(), dialect.head()), (want, true), "{name}: {value}");
        }
    }
}
