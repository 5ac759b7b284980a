//! Bodies, in pieces.
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use portcullis_cache::Key;
use portcullis_cache::policy::Stored;
use portcullis_cache::store::{CacheStoreError, Mark, ReadBody, Write};
use portcullis_core::BoxError;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use std::sync::Arc;

use super::RedisCache;
use super::piece::{PIECE, deflated, is_text, open, plain};
use super::variant::{Body, NAME};
use crate::connect::{LONGEST, in_time};

/// How long pieces are kept of a body that is never completed, in milliseconds.
const UNFINISHED: u64 = 3_600_000;

/// A name that no other body has.
fn name() -> [u8; NAME] {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    std::array::from_fn(|_| fastrand::choice(LETTERS).copied().unwrap_or(b'-'))
}

pub(super) struct Reader {
    pub(super) cache: RedisCache,
    pub(super) body: Body,
}

impl Reader {
    /// How many bytes a piece has.
    fn size(&self, piece: u64) -> usize {
        let before = piece.saturating_mul(PIECE as u64);
        let left = self.body.len.saturating_sub(before).min(PIECE as u64);
        usize::try_from(left).unwrap_or(PIECE)
    }
    /// A piece that is at hand already.
    pub(super) fn open(&self, piece: u64, packed: Vec<u8>) -> Result<Bytes, BoxError> {
        open(packed, self.size(piece))
    }
}

#[async_trait]
impl ReadBody for Reader {
    fn len(&self) -> u64 {
        self.body.len
    }
    fn piece(&self) -> u64 {
        PIECE as u64
    }
    async fn read(&self, piece: u64) -> Result<Bytes, CacheStoreError> {
        let mut get = redis::cmd("GET");
        get.arg(self.cache.piece_key(&self.body, piece));
        let mut connection = self.cache.bodies.clone();
        let packed: Option<Vec<u8>> = in_time(LONGEST, get.query_async(&mut connection)).await?;
        let gone = || CacheStoreError("a piece of a body is not there any longer".into());
        Ok(self.open(piece, packed.ok_or_else(gone)?)?)
    }
}

/// Writes a body, of which nobody knows until it is complete.
pub(super) struct Writer {
    cache: RedisCache,
    key: Key,
    head: Arc<Stored>,
    mark: Mark,
    /// What has come and is not written yet.
    rest: BytesMut,
    body: Body,
    is_deflated: bool,
}

impl Writer {
    pub(super) fn new(cache: &RedisCache, key: &Key, head: &Arc<Stored>, mark: Mark) -> Self {
        Self {
            cache: cache.clone(),
            key: key.clone(),
            head: Arc::clone(head),
            mark,
            rest: BytesMut::new(),
            body: Body { name: name(), len: 0, pieces: 0 },
            is_deflated: cache.is_compressed && is_text(head.headers()),
        }
    }
    async fn pack(&self, data: Bytes) -> Result<Vec<u8>, BoxError> {
        if self.is_deflated {
            Ok(spawn_blocking(move || deflated(&data)).await?)
        } else {
            Ok(plain(&data))
        }
    }
    async fn write(&mut self, data: Bytes) -> Result<(), CacheStoreError> {
        let packed = self.pack(data).await?;
        let mut set = redis::cmd("SET");
        set.arg(self.cache.piece_key(&self.body, u64::from(self.body.pieces)));
        set.arg(packed).arg("PX").arg(UNFINISHED);
        // Counted before: what is given up is taken out also where nobody knows whether it is there.
        self.body.pieces += 1;
        in_time(LONGEST, set.query_async::<()>(&mut self.cache.bodies.clone())).await?;
        Ok(())
    }
}

#[async_trait]
impl Write for Writer {
    async fn push(&mut self, data: Bytes) -> Result<(), CacheStoreError> {
        self.body.len = self.body.len.saturating_add(data.len() as u64);
        if self.body.len > self.cache.largest {
            return Err(CacheStoreError("a body is larger than what is stored".into()));
        }
        self.rest.extend_from_slice(&data);
        while self.rest.len() > PIECE {
            let piece = self.rest.split_to(PIECE).freeze();
            self.write(piece).await?;
        }
        Ok(())
    }
    async fn finish(mut self: Box<Self>) -> Result<(), CacheStoreError> {
        let rest = self.rest.split().freeze();
        let mut whole = None;
        if self.body.pieces > 0 {
            self.write(rest).await?;
        } else if !rest.is_empty() {
            whole = Some(self.pack(rest).await?);
            self.body.pieces = 1;
        }
        self.cache.put(&self.key, &self.head, self.mark, self.body, whole).await?;
        // It belongs to the record now.
        self.body.pieces = 0;
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // The server forgets it by itself too, only later.
        if self.body.pieces > 0
            && let Ok(runtime) = Handle::try_current()
        {
            let mut unlink = redis::cmd("UNLINK");
            for piece in 0..self.body.pieces {
                unlink.arg(self.cache.piece_key(&self.body, u64::from(piece)));
            }
            let mut connection = self.cache.bodies.clone();
            runtime.spawn(async move {
                let done = in_time(LONGEST, unlink.query_async::<()>(&mut connection)).await;
                if let Err(error) = done {
                    tracing::debug!("a body that was not completed is kept for an hour: {error}");
                }
            });
        }
    }
}
