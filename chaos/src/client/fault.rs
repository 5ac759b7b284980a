//! What a client takes for a failure.
use std::fmt;
use std::io;

/// Why a request got no answer, or not the one it should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nobody accepted the connection.
    Refused,
    /// The connection was reset.
    Reset,
    /// The connection ended before the response did.
    Closed,
    /// There was no response in time.
    Late,
    /// The response is none, or holds something else than it should.
    Garbled(&'static str),
    /// The response has another status than it should.
    Status(u16),
    /// HTTP/2 failed behind the acceptance of the request.
    Http2,
    /// Anything else that the kernel says.
    Io(io::ErrorKind),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::Reset,
            kind => Self::Io(kind),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("connection refused"),
            Self::Reset => f.write_str("connection reset"),
            Self::Closed => f.write_str("connection closed before the response"),
            Self::Late => f.write_str("no response in time"),
            Self::Garbled(what) => f.write_str(what),
            Self::Status(status) => write!(f, "status {status}"),
            Self::Http2 => f.write_str("HTTP/2 failed"),
            Self::Io(kind) => write!(f, "{kind}"),
        }
    }
}
