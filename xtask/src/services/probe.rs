//! Asks a server, in its own protocol, whether it lets tests in.
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// What a server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It lets us in.
    Ready,
    /// It, or something else at its port, does not.
    Refuses(String),
    /// Nothing listens, or it is not up yet.
    Nothing,
}

const PATIENCE: Duration = Duration::from_secs(2);
/// No answer to these questions is longer.
const LONGEST: usize = 64 * 1024;

/// Connects and asks. An answer that breaks off is none: a server may still be starting.
pub(super) fn ask(addr: SocketAddr, probe: fn(&mut TcpStream) -> io::Result<Answer>) -> Answer {
    let connect = || {
        let stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok::<_, io::Error>(stream)
    };
    let Ok(mut stream) = connect() else { return Answer::Nothing };
    match probe(&mut stream) {
        Ok(answer) => answer,
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Answer::Refuses(error.to_string())
        }
        Err(_) => Answer::Nothing,
    }
}

/// PING, as Redis reads it in clear.
pub(super) fn redis(stream: &mut (impl Read + Write)) -> io::Result<Answer> {
    stream.write_all(b"PING\r\n")?;
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        if line.len() > LONGEST {
            return Err(not_understood());
        }
        line.extend(bytes::<1>(stream)?);
    }
    let line = text(&line);
    match line.split_whitespace().next() {
        Some("+PONG") => Ok(Answer::Ready),
        Some("-LOADING") => Ok(Answer::Nothing),
        _ => Ok(Answer::Refuses(line)),
    }
}

/// A start-up message of protocol 3.0, up to the first `ReadyForQuery`.
pub(super) fn postgresql(stream: &mut (impl Read + Write)) -> io::Result<Answer> {
    let parameters = b"user\0postgres\0database\0postgres\0\0";
    let length = u32::try_from(parameters.len() + 8).map_err(|_| not_understood())?;
    stream.write_all(&[&length.to_be_bytes(), &[0, 3, 0, 0], &parameters[..]].concat())?;
    loop {
        let [kind] = bytes::<1>(stream)?;
        let length = u32::from_be_bytes(bytes::<4>(stream)?);
        let body = body(stream, usize::try_from(length).unwrap_or(LONGEST).saturating_sub(4))?;
        match (kind, &body[..]) {
            // Without this message the server writes a complaint to its log.
            (b'Z', _) => return stream.write_all(b"X\0\0\0\x04").map(|()| Answer::Ready),
            (b'R', [0, 0, 0, 0]) | (b'S' | b'K' | b'N', _) => {}
            (b'R', _) => return Ok(Answer::Refuses("it asks for a password".to_owned())),
            // Class 57: the server is starting or stopping.
            (b'E', fields) if text(fields).contains("C57P03") => return Ok(Answer::Nothing),
            (b'E', fields) => return Ok(Answer::Refuses(text(fields))),
            _ => return Err(not_understood()),
        }
    }
}

/// The handshake of the `MySQL` protocol, version 10, as root without a password.
pub(super) fn mariadb(stream: &mut (impl Read + Write)) -> io::Result<Answer> {
    let (_, greeting) = packet(stream)?;
    match greeting.first() {
        Some(10) => {}
        Some(0xff) => return Ok(Answer::Refuses(text(&greeting))),
        _ => return Err(not_understood()),
    }
    // Protocol 4.1, secure connection, named authentication plugin.
    let capabilities: u32 = 0x0200 | 0x8000 | 0x0008_0000;
    let (largest, utf8) = (0x0100_0000_u32, 33);
    let mut login = [capabilities.to_le_bytes(), largest.to_le_bytes()].concat();
    login.push(utf8);
    login.extend([0; 23]);
    login.extend(b"root\0\0mysql_native_password\0");
    write_packet(stream, 1, &login)?;
    let (mut number, mut answer) = packet(stream)?;
    if answer.first() == Some(&0xfe) {
        // It asks again, in the way of another plugin. Without a password the answer is empty in all of them.
        write_packet(stream, number.wrapping_add(1), &[])?;
        (number, answer) = packet(stream)?;
    }
    match answer.first() {
        Some(0) if number > 0 => {
            // COM_QUIT.
            write_packet(stream, 0, &[1])?;
            Ok(Answer::Ready)
        }
        Some(0xff) => Ok(Answer::Refuses(text(&answer))),
        _ => Err(not_understood()),
    }
}

/// A packet of the `MySQL` protocol: its number and its body.
fn packet(stream: &mut impl Read) -> io::Result<(u8, Vec<u8>)> {
    let [low, middle, high, number] = bytes::<4>(stream)?;
    let length = u32::from_le_bytes([low, middle, high, 0]);
    Ok((number, body(stream, usize::try_from(length).unwrap_or(usize::MAX))?))
}

fn write_packet(stream: &mut impl Write, number: u8, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len()).map_err(|_| not_understood())?;
    let [low, middle, high, _] = length.to_le_bytes();
    stream.write_all(&[&[low, middle, high, number], body].concat())
}

fn bytes<const N: usize>(stream: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).map(|()| bytes)
}

fn body(stream: &mut impl Read, length: usize) -> io::Result<Vec<u8>> {
    if length > LONGEST {
        return Err(not_understood());
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).map(|()| body)
}

fn not_understood() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it speaks another protocol")
}

/// What can be read of a message.
fn text(message: &[u8]) -> String {
    let printable =
        message.iter().map(|&byte| if byte.is_ascii_graphic() { byte.into() } else { ' ' });
    printable.collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that says its part whatever it hears.
    struct Script {
        says: io::Cursor<Vec<u8>>,
        heard: Vec<u8>,
    }

    impl Script {
        fn new(says: &[&[u8]]) -> Self {
            Self { says: io::Cursor::new(says.concat()), heard: Vec::new() }
        }
    }

    impl Read for Script {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.says.read(into)
        }
    }

    impl Write for Script {
        fn write(&mut self, from: &[u8]) -> io::Result<usize> {
            self.heard.write(from)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What the probe makes of it; `None` for an error.
    fn asked(
        probe: fn(&mut Script) -> io::Result<Answer>,
        says: &[&[u8]],
    ) -> (Option<Answer>, Vec<u8>) {
        let mut script = Script::new(says);
        (probe(&mut script).ok(), script.heard)
    }

    fn refuses(why: &str) -> Answer {
        Answer::Refuses(why.to_owned())
    }

    #[test]
    fn redis_answers_a_ping() {
        for (says, want) in [
            (&b"+PONG\r\n"[..], Some(Answer::Ready)),
            (
                b"-NOAUTH Authentication required.\r\n",
                Some(refuses("-NOAUTH Authentication required.")),
            ),
            (b"-LOADING Redis is loading\r\n", Some(Answer::Nothing)),
            (b"+PO", None),
        ] {
            assert_eq!(asked(redis, &[says]).0, want);
        }
    }

    #[test]
    fn postgresql_lets_in_whom_it_trusts() {
        let trusts: &[u8] = b"R\0\0\0\x08\0\0\0\0";
        let (answer, heard) = asked(postgresql, &[trusts, b"S\0\0\0\x08a\0b\0", b"Z\0\0\0\x05I"]);
        assert_eq!(answer, Some(Answer::Ready));
        assert!(heard.starts_with(b"\0\0\0\x29\0\x03\0\0user\0postgres\0"));
        assert!(heard.ends_with(b"X\0\0\0\x04"));
        for (says, want) in [
            (&b"R\0\0\0\x08\0\0\0\x0a"[..], Some(refuses("it asks for a password"))),
            (b"E\0\0\0\x0eC57P03\0\0\0\0", Some(Answer::Nothing)),
            (b"E\0\0\0\x0cC28000\0\0", Some(refuses("C28000"))),
            (b"HTTP/1.1 400 Bad Request\r\n", None),
        ] {
            assert_eq!(asked(postgresql, &[says]).0, want);
        }
    }

    #[test]
    fn mariadb_lets_root_in_without_a_password() {
        let greeting: &[u8] = b"\x02\0\0\0\x0aX";
        let (answer, heard) = asked(mariadb, &[greeting, b"\x01\0\0\x02\0"]);
        assert_eq!(answer, Some(Answer::Ready));
        assert!(heard.ends_with(b"root\0\0mysql_native_password\0\x01\0\0\0\x01"));
        for (says, want) in [
            (&b"\x01\0\0\x02\xfe\x01\0\0\x04\0"[..], Some(Answer::Ready)),
            (b"\x05\0\0\x02\xffno !", Some(refuses("no !"))),
            (b"\x05\0\0\x02\xfe", None),
        ] {
            assert_eq!(asked(mariadb, &[greeting, says]).0, want);
        }
        assert_eq!(asked(mariadb, &[b"\x04\0\0\0\xffbad"]).0, Some(refuses("bad")));
        assert_eq!(asked(mariadb, &[b"HTTP/1.1 400"]).0, None);
    }
}
