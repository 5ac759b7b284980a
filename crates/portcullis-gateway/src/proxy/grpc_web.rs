//! gRPC-Web of browsers, which see no trailers, into gRPC for servers, and back.
//!
//! (The protocol is that of `PROTOCOL-WEB.md` of gRPC: messages pass as they are, what would be trailers becomes the last of them, and
//! `application/grpc-web-text` is all of that in Base64.)
use std::pin::Pin;
use std::task::{Context as Cx, Poll, ready};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, TE, TRAILER};
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use http_body::{Body as HttpBody, Frame};
use portcullis_core::{Body, BodyError, BodyErrorKind, BoxError};

const X_GRPC_WEB: HeaderName = HeaderName::from_static("x-grpc-web");
/// The flag of the message that says what would be trailers.
const TRAILERS: u8 = 0x80;

/// How a client speaks gRPC-Web.
#[derive(Clone, Debug)]
pub(super) struct GrpcWeb {
    /// In Base64.
    is_text: bool,
    /// How messages are written: `+proto`.
    suffix: String,
}

impl GrpcWeb {
    /// How the client of a request with these headers speaks it, if it does.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let kind = headers.get(CONTENT_TYPE)?.to_str().ok()?.to_ascii_lowercase();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        let rest = kind.strip_prefix("application/grpc-web")?;
        let (is_text, rest) = rest.strip_prefix("-text").map_or((false, rest), |rest| (true, rest));
        is_suffix(rest).then(|| Self { is_text, suffix: rest.to_owned() })
    }
    /// Makes the headers of the request those of gRPC.
    pub(super) fn clean(&self, headers: &mut HeaderMap) {
        headers.remove(X_GRPC_WEB);
        if self.is_text {
            headers.remove(CONTENT_LENGTH);
        }
        headers.insert(TE, HeaderValue::from_static("trailers"));
        set_kind(headers, &format!("application/grpc{}", self.suffix));
    }
    /// Makes the body of the request that of gRPC.
    pub(super) fn body(&self, body: Body) -> Body {
        if self.is_text { Body::new(Decoded { body, rest: BytesMut::new() }) } else { body }
    }
    /// Makes an answer in gRPC one of gRPC-Web. One that is something else stays what it is.
    pub(super) fn answer<B>(&self, mut response: Response<B>) -> Response<Body>
    where
        B: HttpBody<Data = Bytes, Error = BoxError> + Send + Unpin + 'static,
    {
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let kind = kind.unwrap_or_default().to_ascii_lowercase();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        let Some(suffix) = kind.strip_prefix("application/grpc").filter(|rest| is_suffix(rest))
        else {
            return response.map(Body::new);
        };
        let text = if self.is_text { "-text" } else { "" };
        let kind = format!("application/grpc-web{text}{suffix}");
        set_kind(response.headers_mut(), &kind);
        response.headers_mut().remove(CONTENT_LENGTH);
        response.headers_mut().remove(TRAILER);
        let is_text = self.is_text;
        response.map(|body| {
            if body.is_end_stream() {
                return Body::empty();
            }
            Body::new(Encoded { body, is_text, is_over: false })
        })
    }
}

/// What says how messages are written: nothing, or `+proto` and the like.
fn is_suffix(text: &str) -> bool {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    text.is_empty()
        || text.strip_prefix('+').is_some_and(|name| !name.is_empty() && name.bytes().all(is_name))
}

fn set_kind(headers: &mut HeaderMap, kind: &str) {
    if let Ok(kind) = HeaderValue::try_from(kind) {
        headers.insert(CONTENT_TYPE, kind);
    }
}

/// The body of an answer, whose trailers come as the last message.
struct Encoded<B> {
    body: B,
    is_text: bool,
    is_over: bool,
}

impl<B: HttpBody<Data = Bytes, Error = BoxError> + Unpin> HttpBody for Encoded<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Cx<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if this.is_over {
            return Poll::Ready(None);
        }
        let frame = match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            end => return Poll::Ready(end),
        };
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => {
                this.is_over = true;
                message(&frame.into_trailers().unwrap_or_default())
            }
        };
        let data = if this.is_text { Bytes::from(STANDARD.encode(data)) } else { data };
        Poll::Ready(Some(Ok(Frame::data(data))))
    }
    fn is_end_stream(&self) -> bool {
        self.is_over
    }
}

/// Trailers as a message: a flag, the length in four bytes, and a line for each.
fn message(trailers: &HeaderMap) -> Bytes {
    let mut lines = BytesMut::new();
    for (name, value) in trailers {
        lines.put_slice(name.as_str().as_bytes());
        lines.put_slice(b": ");
        lines.put_slice(value.as_bytes());
        lines.put_slice(b"\r\n");
    }
    let mut message = BytesMut::with_capacity(5 + lines.len());
    message.put_u8(TRAILERS);
    message.put_u32(u32::try_from(lines.len()).unwrap_or(u32::MAX));
    message.put(lines);
    message.freeze()
}

/// The body of a request that came in Base64.
struct Decoded {
    body: Body,
    /// What is not a whole group of four yet.
    rest: BytesMut,
}

impl HttpBody for Decoded {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Cx<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        loop {
            let frame = match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                None if !this.rest.is_empty() => {
                    this.rest.clear();
                    return Poll::Ready(Some(Err(invalid("it ends in the middle of a group"))));
                }
                end => return Poll::Ready(end),
            };
            let Ok(data) = frame.into_data() else { continue };
            this.rest.extend_from_slice(&data);
            let whole = this.rest.len() / 4 * 4;
            if whole > 0 {
                let groups = this.rest.split_to(whole);
                return Poll::Ready(Some(decode(&groups).map(Frame::data)));
            }
        }
    }
    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }
}

/// Decodes whole groups. Each message may have been encoded by itself, so there may be padding in the middle.
fn decode(groups: &[u8]) -> Result<Bytes, BoxError> {
    let mut decoded = BytesMut::with_capacity(groups.len() / 4 * 3);
    for part in groups.chunk_by(|byte, next| *byte != b'=' || *next == b'=') {
        decoded.put_slice(&STANDARD.decode(part).map_err(invalid)?);
    }
    Ok(decoded.freeze())
}

/// The client's own fault.
fn invalid(cause: impl Into<BoxError>) -> BoxError {
    BodyError::new(BodyErrorKind::Malformed).cause(cause).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(kind: &'static str) -> HeaderMap {
        [(CONTENT_TYPE, HeaderValue::from_static(kind))].into_iter().collect()
    }

    #[test]
    fn who_speaks_it_says_so_in_the_type() {
        for (text, want) in [
            ("application/grpc-web", Some((false, "application/grpc"))),
            ("application/grpc-web+proto", Some((false, "application/grpc+proto"))),
            ("Application/gRPC-Web-Text+Proto", Some((true, "application/grpc+proto"))),
            ("application/grpc-web-text; charset=x", Some((true, "application/grpc"))),
            ("application/grpc", None),
            ("application/grpc-web ;x", Some((false, "application/grpc"))),
            ("application/grpc-web+a b", None),
            ("application/grpc-web+", None),
            ("application/grpc-website", None),
            ("application/json", None),
        ] {
            let mut headers = kind(text);
            let web = GrpcWeb::of(&headers);
            assert_eq!(web.as_ref().map(|web| web.is_text), want.map(|want| want.0), "{text}");
            if let (Some(web), Some((_, want))) = (web, want) {
                web.clean(&mut headers);
                assert_eq!(headers[CONTENT_TYPE], want, "{text}");
                assert_eq!(headers[TE], "trailers", "{text}");
            }
        }
    }

    #[test]
    fn padding_may_stand_in_the_middle() {
        let text = format!("{}{}", STANDARD.encode("a"), STANDARD.encode("bc and more"));
        assert_eq!(decode(text.as_bytes()).unwrap(), "abc and more");
        assert!(decode(b"a===").is_err());
        assert!(decode(b"ab!c").is_err());
    }

    #[test]
    fn trailers_are_a_message_with_a_flag_of_its_own() {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        assert_eq!(message(&trailers), &b"\x80\0\0\0\x10grpc-status: 0\r\n"[..]);
        assert_eq!(message(&HeaderMap::new()), &b"\x80\0\0\0\0"[..]);
    }
}
