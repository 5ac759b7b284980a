//! An HTTP/2 connection, frame by frame, and the limits that only HTTP/2 has.
use std::collections::BTreeMap;
use std::time::Duration;

use http::Response;
use portcullis_server::Limits;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::support::{Running, local, pieces, start, start_with, text, within};

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) type Field<'a> = (&'a [u8], &'a [u8]);

/// A frame as it stands on the wire.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![len[1], len[2], len[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Headers as literals without indexing and without Huffman's code: every byte may stand in them.
pub(crate) fn block(fields: &[Field<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            match u8::try_from(text.len()) {
                Ok(len) if len < 127 => bytes.push(len),
                _ => {
                    let rest = text.len() - 127;
                    bytes.extend([127, u8::try_from(rest % 128).unwrap() | 128]);
                    bytes.push(u8::try_from(rest / 128).expect("no text of a test is longer"));
                }
            }
            bytes.extend(*text);
        }
    }
    bytes
}

/// A request that is as short as can be, with other fields behind it.
pub(crate) fn request<'a>(method: &'a str, path: &'a str, more: &[Field<'a>]) -> Vec<u8> {
    let first: [Field<'_>; 4] = [
        (b":method", method.as_bytes()),
        (b":scheme", b"http"),
        (b":path", path.as_bytes()),
        (b":authority", b"a"),
    ];
    block(&[&first[..], more].concat())
}

/// What became of a stream.
#[derive(Debug, Default)]
pub(crate) struct Exchange {
    pub(crate) status: Option<u16>,
    pub(crate) body: Vec<u8>,
    pub(crate) over: bool,
    pub(crate) reset: Option<u32>,
}

/// An HTTP/2 connection.
pub(crate) struct H2<S> {
    pub(crate) stream: S,
    read: Vec<u8>,
    pub(crate) exchanges: BTreeMap<u32, Exchange>,
    /// The last stream and the error of each.
    pub(crate) goodbyes: Vec<(u32, u32)>,
    pub(crate) pongs: usize,
    /// `:status` headers that entered the table of the compression, the last one first.
    table: Vec<u16>,
}

impl H2<TcpStream> {
    pub(crate) async fn connect(server: &Running) -> Self {
        let stream = TcpStream::connect(server.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(stream).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> H2<S> {
    /// Says hello.
    pub(crate) async fn over(stream: S) -> Self {
        let (read, exchanges, goodbyes, table) = Default::default();
        let mut client = Self { stream, read, exchanges, goodbyes, pongs: 0, table };
        client.send(PREFACE).await;
        client.send(frame(SETTINGS, 0, 0, &[])).await;
        client
    }
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        drop(within(self.stream.write_all(bytes.as_ref())).await);
    }
    /// Sends a request that has no body.
    pub(crate) async fn get(&mut self, stream: u32, path: &str) {
        self.ask(stream, END_STREAM, &request("GET", path, &[])).await;
    }
    pub(crate) async fn ask(&mut self, stream: u32, flags: u8, block: &[u8]) {
        self.send(frame(HEADERS, END_HEADERS | flags, stream, block)).await;
    }
    /// Reads one frame. `false` at the end.
    pub(crate) async fn step(&mut self) -> bool {
        loop {
            if let Some(head) = self.read.get(..9) {
                let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
                if self.read.len() >= 9 + len {
                    let frame: Vec<_> = self.read.drain(..9 + len).collect();
                    self.note(&frame).await;
                    return true;
                }
            }
            let mut bytes = vec![0; 64 << 10];
            match within(self.stream.read(&mut bytes)).await {
                Ok(count) if count > 0 => self.read.extend(&bytes[..count]),
                _ => return false,
            }
        }
    }
    async fn note(&mut self, frame: &[u8]) {
        let (kind, flags, payload) = (frame[3], frame[4], &frame[9..]);
        let number = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
        let stream = u32::from_be_bytes(frame[5..9].try_into().unwrap());
        match kind {
            SETTINGS if flags & ACK == 0 => self.send(self::frame(SETTINGS, ACK, 0, &[])).await,
            PING if flags & ACK == 0 => self.send(self::frame(PING, ACK, 0, payload)).await,
            PING => self.pongs += 1,
            GOAWAY => self.goodbyes.push((number(0), number(4))),
            RST_STREAM => self.exchanges.entry(stream).or_default().reset = Some(number(0)),
            HEADERS => {
                let status = self.status(payload);
                let exchange = self.exchanges.entry(stream).or_default();
                exchange.status = exchange.status.or(status);
                exchange.over |= flags & END_STREAM != 0;
            }
            DATA => {
                let exchange = self.exchanges.entry(stream).or_default();
                exchange.body.extend(payload);
                exchange.over |= flags & END_STREAM != 0;
            }
            _ => {}
        }
    }
    /// The status, which comes first.
    fn status(&mut self, block: &[u8]) -> Option<u16> {
        let update = block.iter().take_while(|byte| *byte & 0xe0 == 0x20).count();
        let block = &block[update..];
        Some(match *block.first()? {
            index @ 0x88..=0x8e => [200, 204, 206, 304, 400, 404, 500][usize::from(index - 0x88)],
            0x48 | 0x08 => {
                let len = usize::from(block[1] & 0x7f);
                let text = &block[2..2 + len];
                let status = if block[1] & 0x80 == 0 { digits(text) } else { huffman(text) };
                if block[0] == 0x48 {
                    self.table.insert(0, status);
                }
                status
            }
            // One of the table, which grew by other headers since: the tests ask little enough that it is the last.
            0xbe.. => *self.table.first()?,
            _ => return None,
        })
    }
    /// Reads until the stream is over, one way or the other.
    pub(crate) async fn outcome(&mut self, stream: u32) -> Exchange {
        loop {
            let is_done = |exchange: &Exchange| exchange.over || exchange.reset.is_some();
            if self.exchanges.get(&stream).is_some_and(is_done) || !self.step().await {
                return self.exchanges.remove(&stream).unwrap_or_default();
            }
        }
    }
    /// Reads until the connection is closed.
    pub(crate) async fn read_to_end(&mut self) {
        while self.step().await {}
    }
}

fn digits(text: &[u8]) -> u16 {
    std::str::from_utf8(text).unwrap().parse().unwrap()
}

/// Digits in the code of RFC 7541, appendix B.
fn huffman(bytes: &[u8]) -> u16 {
    let bits: Vec<_> =
        bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)).collect();
    let (mut at, mut status) = (0, 0);
    for _ in 0..3 {
        let code = |len: usize| {
            bits[at..at + len].iter().fold(0u16, |sum, bit| sum << 1 | u16::from(*bit))
        };
        let (digit, len) = if code(5) < 3 { (code(5), 5) } else { (code(6) - 0x19 + 3, 6) };
        status = status * 10 + digit;
        at += len;
    }
    status
}

#[tokio::test]
async fn both_protocols_are_spoken_on_one_port() {
    let server = start(local());
    let mut client = H2::connect(&server).await;
    client.get(1, "/").await;
    let answer = client.outcome(1).await;
    assert_eq!((answer.status, &answer.body[..]), (Some(200), &b"hello"[..]));
    // What hyper does not refuse, we do, and the connection goes on.
    client.ask(3, END_STREAM, &request("TRACE", "/", &[])).await;
    let answer = client.outcome(3).await;
    assert_eq!(answer.status, Some(405));
    assert!(String::from_utf8(answer.body).unwrap().contains("method-refused\""));
    client.get(5, "/").await;
    assert_eq!(client.outcome(5).await.status, Some(200));
    server.assert_well().await;
}

#[tokio::test]
async fn the_preface_may_come_in_pieces() {
    let server = start(local());
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    for piece in PREFACE.chunks(5) {
        stream.write_all(piece).await.unwrap();
        stream.flush().await.unwrap();
        tokio::task::yield_now().await;
    }
    let (read, exchanges, goodbyes, table) = Default::default();
    let mut client = H2 { stream, read, exchanges, goodbyes, pongs: 0, table };
    client.send(frame(SETTINGS, 0, 0, &[])).await;
    client.get(1, "/").await;
    assert_eq!(client.outcome(1).await.status, Some(200));
}

#[tokio::test]
async fn one_connection_has_so_many_requests_at_once() {
    let limits = Limits::default().streams(2);
    let server = start_with(local().limits(limits), |request| async move {
        if request.uri().path() == "/never" {
            std::future::pending::<()>().await;
        }
        Ok(text("hello"))
    });
    let mut client = H2::connect(&server).await;
    client.get(1, "/never").await;
    client.get(3, "/never").await;
    client.get(5, "/").await;
    // REFUSED_STREAM: it was not begun, and may be sent again.
    assert_eq!(client.outcome(5).await.reset, Some(7));
    client.send(frame(RST_STREAM, 0, 1, &8u32.to_be_bytes())).await;
    client.get(7, "/").await;
    assert_eq!(client.outcome(7).await.status, Some(200), "one has made room");
}

#[tokio::test]
async fn an_answer_to_head_has_no_content() {
    let server = start(local());
    let mut client = H2::connect(&server).await;
    for (stream, method, path, status, len) in
        [(1, "HEAD", "/", 200, 0), (3, "HEAD", "/nowhere", 404, 0), (5, "GET", "/", 200, 5)]
    {
        client.ask(stream, END_STREAM, &request(method, path, &[])).await;
        let answer = client.outcome(stream).await;
        assert_eq!((answer.status, answer.body.len()), (Some(status), len), "{method} {path}");
        assert!(answer.over && answer.reset.is_none(), "{answer:?}");
    }
}

#[tokio::test]
async fn an_early_answer_is_there_before_the_stream_is_reset() {
    let server = start(local());
    for (path, host, status) in [("/nowhere", "a", 404), ("/nowhere", "a,b", 400)] {
        let mut client = H2::connect(&server).await;
        let block = block(&[
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", path.as_bytes()),
            (b":authority", host.as_bytes()),
        ]);
        client.ask(1, 0, &block).await;
        client.send(frame(DATA, 0, 1, &[0; 2_000])).await;
        assert_eq!(client.outcome(1).await.status, Some(status));
        let since = Instant::now();
        while client.exchanges.entry(1).or_default().reset.is_none() {
            assert!(client.step().await);
        }
        // Together with the answer it would take that from some clients.
        assert!(since.elapsed() > Duration::from_millis(500), "{host}: {:?}", since.elapsed());
        assert_eq!(client.exchanges[&1].reset, Some(0), "nothing went wrong");
    }
}

#[tokio::test]
async fn header_bytes_have_a_limit() {
    let server = start(local());
    let mut client = H2::connect(&server).await;
    let value = vec![b'v'; 10_000];
    let fields: [Field<'_>; 2] = [(b"x-one", &value), (b"x-two", &value)];
    let block = request("GET", "/", &fields);
    let (first, second) = block.split_at(16_000);
    client.send(frame(HEADERS, END_STREAM, 1, first)).await;
    client.send(frame(9, END_HEADERS, 1, second)).await;
    let answer = client.outcome(1).await;
    assert!(answer.status == Some(431) || answer.reset.is_some(), "{answer:?}");
    server.assert_well().await;
}

#[tokio::test]
async fn a_stream_that_is_not_read_is_reset() {
    let limits = Limits::default().write_idle(Duration::from_secs(1));
    let server = start_with(local().limits(limits), |request| async move {
        let piece = bytes::Bytes::from(vec![b'x'; 4 << 10]);
        Ok(match request.uri().path() {
            "/" => text("hello"),
            _ => Response::new(pieces(std::iter::repeat_n(piece, 256))),
        })
    });
    let mut client = H2::connect(&server).await;
    // More than the window of a stream, which nobody enlarges; of the connection's there is enough.
    client.send(frame(WINDOW_UPDATE, 0, 0, &(1u32 << 20).to_be_bytes())).await;
    client.get(1, "/long").await;
    let answer = client.outcome(1).await;
    assert!(answer.reset.is_some(), "{:?} {}", answer.status, answer.over);
    assert_eq!(answer.body.len(), 65_535);
    client.get(3, "/").await;
    assert_eq!(client.outcome(3).await.body, b"hello", "the others go on");
}

/// What a gRPC client does: many small messages, each a frame of its own, at the pace of whoever answers them.
#[tokio::test]
async fn many_small_messages_on_one_stream_are_no_flood() {
    let server =
        start_with(local(), |request| async move { Ok(Response::new(request.into_body())) });
    let mut client = H2::connect(&server).await;
    client.ask(1, 0, &request("POST", "/", &[])).await;
    let (batch, message) = (40, b"ten bytes.");
    let frames = frame(DATA, 0, 1, message).repeat(batch);
    let mut wanted = 0;
    for _ in 0..200 {
        client.send(&frames).await;
        wanted += batch * message.len();
        while client.exchanges.get(&1).is_none_or(|exchange| exchange.body.len() < wanted) {
            assert!(client.step().await, "after {wanted} bytes: {:?}", client.goodbyes);
        }
        // Room for more answers, as a client gives it.
        let room = u32::try_from(batch * message.len()).unwrap().to_be_bytes();
        client
            .send([frame(WINDOW_UPDATE, 0, 0, &room), frame(WINDOW_UPDATE, 0, 1, &room)].concat())
            .await;
    }
    client.send(frame(DATA, END_STREAM, 1, b"")).await;
    let answer = client.outcome(1).await;
    assert_eq!((answer.status, answer.body.len()), (Some(200), 80_000));
}
