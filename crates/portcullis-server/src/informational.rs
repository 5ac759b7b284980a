//! Informational responses (1xx) to HTTP/1.1 clients.
use http::{HeaderMap, Response};
use portcullis_core::SendInformational;

use crate::vitals::Vitals;

impl SendInformational for Vitals {
    fn send(&self, exchange: u64, response: Response<()>) {
        let (head, ()) = response.into_parts();
        let mut bytes = format!("HTTP/1.1 {}\r\n", head.status).into_bytes();
        write_headers(&mut bytes, &head.headers);
        self.inform(exchange, &bytes);
    }
}

/// Header names and values have no line breaks by their types, so nothing can be smuggled into the stream.
pub(crate) fn write_headers(bytes: &mut Vec<u8>, headers: &HeaderMap) {
    for (name, value) in headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            bytes.extend_from_slice(part);
        }
    }
    bytes.extend_from_slice(b"\r\n");
}
