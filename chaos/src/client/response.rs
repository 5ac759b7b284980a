//! HTTP/1.1 responses, to the byte.

/// More than any answer of the experiments has.
const MAX_HEAD: usize = 64 * 1024;

/// A whole response.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) status: u16,
    /// The server will close the connection behind it.
    pub(super) close: bool,
    pub(super) body: Vec<u8>,
}

/// Why bytes are no response.
type Wrong = &'static str;

/// The response at the beginning of `bytes` and its length, or nothing where more is to come. Interim responses are
/// passed over.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Response, usize)>, Wrong> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return if bytes.len() > MAX_HEAD { Err("the head has no end") } else { Ok(None) };
    };
    let (head, rest) = bytes.split_at_checked(end + 4).ok_or("the head has no end")?;
    let Head { status, close, framing } = Head::parse(head)?;
    let parsed = match framing {
        _ if (100..200).contains(&status) => parse(rest)?,
        Framing::Length(length) => {
            rest.get(..length).map(|body| (Response { status, close, body: body.to_vec() }, length))
        }
        Framing::Chunked => {
            chunked(rest)?.map(|(body, length)| (Response { status, close, body }, length))
        }
    };
    Ok(parsed.map(|(response, length)| (response, head.len() + length)))
}

#[derive(Debug)]
struct Head {
    status: u16,
    close: bool,
    framing: Framing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
}

impl Head {
    fn parse(head: &[u8]) -> Result<Self, Wrong> {
        let head = str::from_utf8(head).map_err(|_| "the head is no text")?;
        let mut lines = head.split("\r\n");
        let status = status(lines.next().unwrap_or_default())?;
        let (mut close, mut framing) = (false, None);
        for line in lines.filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').ok_or("a header has no colon")?;
            match (name.to_ascii_lowercase().as_str(), value.trim()) {
                ("connection", value) => close |= has_token(value, "close"),
                ("content-length", value) => {
                    let length = value.parse().map_err(|_| "the length is no number")?;
                    once(&mut framing, Framing::Length(length))?;
                }
                ("transfer-encoding", value) if value.eq_ignore_ascii_case("chunked") => {
                    once(&mut framing, Framing::Chunked)?;
                }
                ("transfer-encoding", _) => return Err("the transfer encoding is unknown"),
                _ => {}
            }
        }
        let bodiless = status < 200 || [204, 304].contains(&status);
        let framing = if bodiless { Some(Framing::Length(0)) } else { framing };
        Ok(Self { status, close, framing: framing.ok_or("the body has no end")? })
    }
}

fn once(framing: &mut Option<Framing>, found: Framing) -> Result<(), Wrong> {
    match framing.replace(found) {
        None => Ok(()),
        Some(_) => Err("the length is told twice"),
    }
}

fn status(line: &str) -> Result<u16, Wrong> {
    let code = line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    let code = code.filter(|code| code.bytes().all(|byte| byte.is_ascii_digit()));
    code.and_then(|code| code.parse().ok()).ok_or("there is no status line")
}

fn has_token(list: &str, token: &str) -> bool {
    list.split(',').any(|one| one.trim().eq_ignore_ascii_case(token))
}

/// The body behind chunks, and the length of the chunks with their trailers.
fn chunked(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, Wrong> {
    let (mut rest, mut body) = (bytes, Vec::new());
    loop {
        let Some((size, behind)) = line(rest) else { return Ok(None) };
        let size = chunk_size(size)?;
        if size == 0 {
            let length = trailers(behind).map(|behind| bytes.len() - behind.len());
            return Ok(length.map(|length| (body, length)));
        }
        let Some((data, behind)) = behind.split_at_checked(size) else { return Ok(None) };
        body.extend_from_slice(data);
        if behind.len() < 2 {
            return Ok(None);
        }
        rest = behind.strip_prefix(b"\r\n").ok_or("a chunk is longer than it says")?;
    }
}

fn chunk_size(line: &[u8]) -> Result<usize, Wrong> {
    let text = str::from_utf8(line).map_err(|_| "the size of a chunk is no text")?;
    let digits = text.split(';').next().unwrap_or_default().trim();
    usize::from_str_radix(digits, 16).map_err(|_| "the size of a chunk is no number")
}

/// What stands behind the empty line that ends the trailers.
fn trailers(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        let (found, behind) = line(rest)?;
        if found.is_empty() {
            return Some(behind);
        }
        rest = behind;
    }
}

/// The first line without its end, and what stands behind it.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(2).position(|window| window == b"\r\n")?;
    Some((bytes.get(..end)?, bytes.get(end + 2..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every proper beginning must ask for more, and what follows must be left alone.
    fn check(text: &str, status: u16, close: bool, body: &str) {
        let want = Response { status, close, body: body.into() };
        for end in 0..text.len() {
            assert_eq!(parse(&text.as_bytes()[..end]), Ok(None), "{text:?} up to {end}");
        }
        let followed = format!("{text}HTTP/1.1 200 OK\r\n");
        assert_eq!(parse(followed.as_bytes()), Ok(Some((want, text.len()))), "{text:?}");
    }

    #[test]
    fn a_response_ends_where_its_head_says() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n", 200, false, "hello\n");
        check("HTTP/1.1 503 \r\ncontent-length:0\r\nconnection: Close\r\n\r\n", 503, true, "");
        check("HTTP/1.1 204 No Content\r\nConnection: a, close\r\n\r\n", 204, true, "");
        check("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 304 x\r\n\r\n", 304, false, "");
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        check(&format!("{chunked}6\r\nhello\n\r\n0\r\n\r\n"), 200, false, "hello\n");
        check(
            &format!("{chunked}1;x=y\r\na\r\nA\r\n0123456789\r\n0\r\nt: 1\r\n\r\n"),
            200,
            false,
            "a0123456789",
        );
        check(&format!("{chunked}0\r\n\r\n"), 200, false, "");
    }

    #[test]
    fn what_is_no_response_is_found() {
        for text in [
            "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n",
            "hello\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text:?}");
        }
        assert!(parse(&vec![b'a'; MAX_HEAD + 1]).is_err());
    }
}
