//! Messages as bytes: a head is read as Latin-1, so that no byte of it is lost.
use tokio::io::{AsyncRead, AsyncReadExt};

/// The lines of a head.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields(pub(super) Vec<(String, String)>);

impl Fields {
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key.eq_ignore_ascii_case(name))
    }
    /// All the values of a header, as one list.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        let values = self.0.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        let values: Vec<_> = values.map(|(_, value)| value.as_str()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }
    fn is_chunked(&self) -> bool {
        let codings = self.get("transfer-encoding").unwrap_or_default();
        codings.rsplit(',').next().is_some_and(|last| last.trim().eq_ignore_ascii_case("chunked"))
    }
}

/// Reads the messages of a connection.
pub(super) struct Reader<R> {
    io: R,
    read: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(super) fn new(io: R) -> Self {
        Self { io, read: Vec::new() }
    }
    async fn more(&mut self) -> bool {
        let mut bytes = [0; 4_096];
        match self.io.read(&mut bytes).await {
            Ok(count) if count > 0 => {
                self.read.extend_from_slice(&bytes[..count]);
                true
            }
            _ => false,
        }
    }
    async fn until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = crate::support::find(&self.read, end) {
                let mut part: Vec<u8> = self.read.drain(..at + end.len()).collect();
                part.truncate(at);
                return Some(part);
            }
            if !self.more().await {
                return None;
            }
        }
    }
    async fn exactly(&mut self, len: usize) -> Option<Vec<u8>> {
        while self.read.len() < len {
            if !self.more().await {
                return None;
            }
        }
        Some(self.read.drain(..len).collect())
    }
    /// The first line, and the fields.
    pub(super) async fn head(&mut self) -> Option<(String, Fields)> {
        let head = latin1(&self.until(b"\r\n\r\n").await?);
        let mut lines = head.split("\r\n");
        let first = lines.next()?.to_owned();
        let fields = lines.filter_map(|line| line.split_once(':'));
        let fields = fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
        Some((first, Fields(fields.collect())))
    }
    /// The body behind a head. One of no length goes to the end of the connection, or there is none.
    pub(super) async fn body(&mut self, fields: &Fields, to_the_end: bool) -> Option<Vec<u8>> {
        if fields.is_chunked() {
            let mut body = Vec::new();
            loop {
                let line = latin1(&self.until(b"\r\n").await?);
                let size = line.split(';').next()?.trim();
                let size = usize::from_str_radix(size, 16).ok()?;
                if size == 0 {
                    while !self.until(b"\r\n").await?.is_empty() {}
                    return Some(body);
                }
                body.extend(self.exactly(size).await?);
                self.exactly(2).await?;
            }
        }
        match fields.get("content-length") {
            Some(len) if !fields.has("transfer-encoding") => self.exactly(len.parse().ok()?).await,
            _ if to_the_end => {
                while self.more().await {}
                Some(std::mem::take(&mut self.read))
            }
            _ => Some(Vec::new()),
        }
    }
}

pub(super) fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// The bytes of a head, of which every character is one.
pub(super) fn bytes(head: &str) -> Vec<u8> {
    head.chars().map(|char| u8::try_from(char).unwrap()).collect()
}
