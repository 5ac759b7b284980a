//! The body of a command.
use std::future::poll_fn;
use std::pin::Pin;

use bytes::{Buf, Bytes};
use http_body::Body as _;
use portcullis_core::problem::kinds;
use portcullis_core::{Body, Problem};

/// How large it may be, in bytes.
const LARGEST: usize = 64 << 10;

/// Reads it to its end.
pub(super) async fn read(mut body: Body) -> Result<Bytes, Problem> {
    let mut read = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|error| malformed(error.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        if data.remaining() > LARGEST - read.len() {
            let detail = format!("a command has at most {LARGEST} bytes");
            return Err(Problem::new(kinds::BODY_TOO_LARGE).detail(detail));
        }
        read.extend_from_slice(data.chunk());
    }
    Ok(read.into())
}

/// What is wrong with it.
pub(super) fn malformed(detail: String) -> Problem {
    Problem::new(kinds::BODY_MALFORMED).detail(detail)
}
