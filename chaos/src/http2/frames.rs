//! Frames (RFC 9113, section 4.1), written and read.

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0x0;
pub(crate) const HEADERS: u8 = 0x1;
pub(crate) const PRIORITY: u8 = 0x2;
pub(crate) const RST_STREAM: u8 = 0x3;
pub(crate) const SETTINGS: u8 = 0x4;
pub(crate) const PING: u8 = 0x6;
pub(crate) const GOAWAY: u8 = 0x7;
pub(crate) const WINDOW_UPDATE: u8 = 0x8;
pub(crate) const CONTINUATION: u8 = 0x9;

pub(crate) const NO_FLAGS: u8 = 0x0;
pub(crate) const END_STREAM: u8 = 0x1;
pub(crate) const END_HEADERS: u8 = 0x4;

/// The setting of how much a stream may send before it is allowed more.
pub(crate) const INITIAL_WINDOW_SIZE: u16 = 0x4;
/// The most that a window holds.
pub(crate) const LARGEST_WINDOW: u32 = (1 << 31) - 1;

const HEAD: usize = 9;

/// Appends a frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    out.extend_from_slice(&length[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// Appends SETTINGS.
pub(crate) fn settings(settings: &[(u16, u32)], out: &mut Vec<u8>) {
    let payload: Vec<u8> = settings
        .iter()
        .flat_map(|(name, value)| name.to_be_bytes().into_iter().chain(value.to_be_bytes()))
        .collect();
    frame(SETTINGS, NO_FLAGS, 0, &payload, out);
}

/// Appends a `WINDOW_UPDATE`.
pub(crate) fn window_update(stream: u32, by: u32, out: &mut Vec<u8>) {
    frame(WINDOW_UPDATE, NO_FLAGS, stream, &by.to_be_bytes(), out);
}

/// A frame that came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The error code of a GOAWAY.
    pub(crate) fn goaway(&self) -> Option<u32> {
        let code = self.payload.get(4..8).filter(|_| self.kind == GOAWAY)?;
        Some(u32::from_be_bytes(code.try_into().ok()?))
    }
}

/// Takes the first frame out of what has been read, if all of it is there.
pub(crate) fn take_frame(read: &mut Vec<u8>) -> Option<Frame> {
    let &[a, b, c, kind] = read.first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).ok()?;
    let payload = read.get(HEAD..HEAD + length)?.to_vec();
    read.drain(..HEAD + length);
    Some(Frame { kind, payload })
}

/// The name of an error code (RFC 9113, section 7).
pub(crate) fn error_name(code: u32) -> &'static str {
    const NAMES: [&str; 14] = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    ];
    usize::try_from(code).ok().and_then(|code| NAMES.get(code)).copied().unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_written_as_it_is_read() {
        let mut bytes = Vec::new();
        frame(PING, NO_FLAGS, 0, &[7; 8], &mut bytes);
        assert_eq!(bytes, [0, 0, 8, 6, 0, 0, 0, 0, 0, 7, 7, 7, 7, 7, 7, 7, 7]);
        window_update(3, 1, &mut bytes);
        for end in 0..17 {
            assert_eq!(take_frame(&mut bytes[..end].to_vec()), None, "up to {end}");
        }
        assert_eq!(take_frame(&mut bytes), Some(Frame { kind: PING, payload: vec![7; 8] }));
        let update = Frame { kind: WINDOW_UPDATE, payload: vec![0, 0, 0, 1] };
        assert_eq!(take_frame(&mut bytes), Some(update));
        assert_eq!(take_frame(&mut bytes), None);
    }

    #[test]
    fn settings_are_pairs() {
        let mut bytes = Vec::new();
        settings(&[(INITIAL_WINDOW_SIZE, 258)], &mut bytes);
        assert_eq!(bytes, [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 1, 2]);
    }

    #[test]
    fn a_goaway_says_why() {
        let mut bytes = Vec::new();
        frame(GOAWAY, NO_FLAGS, 0, &[0, 0, 0, 1, 0, 0, 0, 11, b'x'], &mut bytes);
        let code = take_frame(&mut bytes).unwrap().goaway().unwrap();
        assert_eq!(error_name(code), "ENHANCE_YOUR_CALM");
        assert_eq!(error_name(99), "unknown");
        assert_eq!(Frame { kind: PING, payload: vec![0; 8] }.goaway(), None);
    }
}
