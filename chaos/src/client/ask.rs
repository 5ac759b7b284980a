//! What the clients ask for, and what they must get.
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;

use super::Fault;

const ECHOED: &str = "what goes in must come out\n";

/// A request, and the answer to it.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    method: &'static str,
    path: String,
    body: &'static str,
    status: u16,
    /// Names the request in a header.
    id: Option<u64>,
    /// Without it any body will do.
    answer: Option<&'static str>,
}

impl Ask {
    fn get(path: impl Into<String>) -> Self {
        Self { method: "GET", path: path.into(), body: "", status: 200, id: None, answer: None }
    }
    /// What is answered at once.
    pub(crate) fn hello() -> Self {
        Self { answer: Some("hello\n"), ..Self::get("/") }
    }
    /// What is answered after a time.
    pub(crate) fn slow(millis: u64) -> Self {
        Self { answer: Some("slow\n"), ..Self::get(format!("/slow?ms={millis}")) }
    }
    /// What comes back as it was sent.
    pub(crate) fn echo() -> Self {
        Self { method: "POST", body: ECHOED, answer: Some(ECHOED), ..Self::get("/echo") }
    }
    /// Named by a header `x-id`.
    pub(crate) fn with_id(self, id: u64) -> Self {
        Self { id: Some(id), ..self }
    }
    /// What makes the handler panic.
    pub(crate) fn panic() -> Self {
        Self { status: 500, ..Self::get("/panic") }
    }
    /// Whether the server would take connections.
    pub(crate) fn readiness() -> Self {
        Self::get("/readyz")
    }

    /// The bytes of the request.
    pub(crate) fn http1(&self, host: SocketAddr, close: bool) -> Vec<u8> {
        let Self { method, path, body, .. } = self;
        let close = if close { "Connection: close\r\n" } else { "" };
        let length = if body.is_empty() {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", body.len())
        };
        let id = self.id.map_or_else(String::new, |id| format!("X-Id: {id}\r\n"));
        format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{close}{id}{length}\r\n{body}").into()
    }
    pub(crate) fn http2(&self, authority: SocketAddr) -> Result<Request<Full<Bytes>>, Fault> {
        let body = Full::new(Bytes::from_static(self.body.as_bytes()));
        let mut request = Request::builder().method(self.method);
        if let Some(id) = self.id {
            request = request.header("x-id", id);
        }
        let request = request.uri(format!("http://{authority}{}", self.path)).body(body);
        request.map_err(|_| Fault::Garbled("the request cannot be made"))
    }
    pub(crate) fn check(&self, status: u16, body: &[u8]) -> Result<(), Fault> {
        if status != self.status {
            return Err(Fault::Status(status));
        }
        match self.answer {
            Some(answer) if answer.as_bytes() != body => {
                Err(Fault::Garbled("the response has another body"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_written_as_it_stands_in_the_standard() {
        let host = "127.0.0.1:8080".parse().unwrap();
        assert_eq!(
            Ask::hello().http1(host, true),
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nConnection: close\r\n\r\n"
        );
        let echo = "POST /echo HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nContent-Length: 27\r\n\r\n";
        assert_eq!(Ask::echo().http1(host, false), [echo, ECHOED].concat().into_bytes());
    }

    #[test]
    fn another_answer_is_a_fault() {
        assert_eq!(Ask::hello().check(200, b"hello\n"), Ok(()));
        assert_eq!(Ask::hello().check(503, b"hello\n"), Err(Fault::Status(503)));
        assert!(matches!(Ask::hello().check(200, b"hell"), Err(Fault::Garbled(_))));
        assert_eq!(Ask::panic().check(500, b"anything"), Ok(()));
        assert_eq!(Ask::panic().check(200, b""), Err(Fault::Status(200)));
    }
}
