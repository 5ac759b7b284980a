//! Responses on Redis.
mod body;
mod news;
mod piece;
mod scripts;
mod variant;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use portcullis_cache::policy::{Moment, Stored};
use portcullis_cache::store::{
    CacheStore, CacheStoreError, Entry, Found, Mark, Sizes, StoredBody, Write,
};
use portcullis_cache::{Key, Purge};
use portcullis_core::{BoxError, Clock};
use redis::aio::ConnectionManager;
use redis::{Client, RedisError, Script, ScriptInvocation, Value};
use sha2::{Digest, Sha256};

use self::body::{Reader, Writer};
use self::scripts::Scripts;
use self::variant::{Body, digest, field, pack, unpack};
use crate::connect::{LONGEST, answers, client, in_time, lazy};
use crate::sessions::text;

/// How large a body may be, unless told otherwise.
const LARGEST: u64 = 64 * 1024 * 1024;
/// More pieces than scripts take in one go.
const MOST: u64 = 16 * 1024 * 1024 * 1024;
/// How many bytes of bodies come with a look-up.
const AT_HAND: usize = 512 * 1024;
/// How many variants a key has.
const VARIANTS: usize = 32;
/// How many purges of URLs and tags are remembered one by one, and how many of prefixes.
const NAMES: usize = 100_000;
const PREFIXES: usize = 256;

/// Responses on Redis, which replicas share. Cheap to clone; clones share their connections.
///
/// A hit is one round trip, with a body of up to 256 KiB in it; a larger body is read in pieces of that size, and is written in them while it is still coming. A response is there once its body is complete, and whoever reads
/// the one before it has a minute to go on. A key has 32 variants at most. All that is stored is forgotten by the server in time: a day after it could not be used any longer, and after 30 days at
/// most.
///
/// A purge is one round trip too, and when it returns nobody finds any longer what was purged. Purges are numbered and remembered: 100,000 of URLs, tags and groups, and 256 of prefixes. Where there are more, all
/// that is older than what is forgotten counts as purged; and all that is stored, when the server has lost its numbers.
///
/// A call fails after a second. Put it into `portcullis_cache::Guarded`, which waits for less; and behind `portcullis_cache::TwoLevels`, so that most hits ask nobody.
///
/// # Deployment
/// All keys of an application are in one slot of a Redis Cluster, and on one node therefore. The connections go to a single address, which has to be that of a node that takes changes: look-ups
/// change things too. A replica that becomes the primary may not know of the last purges, and is noticed by processes that do: all that is stored counts as purged then.
#[derive(Clone)]
pub struct RedisCache {
    client: Client,
    records: ConnectionManager,
    /// So that no look-up waits behind a large body.
    bodies: ConnectionManager,
    prefix: Arc<str>,
    scripts: Arc<Scripts>,
    /// How far purges had got, as far as this process knows.
    seen: Arc<AtomicU64>,
    largest: u64,
    is_compressed: bool,
}

impl RedisCache {
    /// Connects to a server, as [`RedisSessions::connect`](crate::RedisSessions::connect) does, by connections of its own. `prefix` begins the names of all keys; two
    /// applications with one prefix share what is stored.
    ///
    /// # Errors
    /// It is no address, nobody answers there, or the prefix is empty.
    pub async fn connect(url: &str, prefix: &str) -> Result<Self, RedisError> {
        let cache = Self::open(url, prefix)?;
        answers(&cache.client).await?;
        Ok(cache)
    }
    /// The same, without asking whether somebody answers: it connects when it is used, inside a tokio runtime.
    ///
    /// # Errors
    /// It is no address, or the prefix is empty.
    pub fn open(url: &str, prefix: &str) -> Result<Self, RedisError> {
        let client = client(url, prefix)?;
        Ok(Self {
            records: lazy(&client)?,
            bodies: lazy(&client)?,
            client,
            prefix: prefix.into(),
            scripts: Arc::new(Scripts::new()),
            seen: Arc::default(),
            largest: LARGEST,
            is_compressed: false,
        })
    }
    /// How large a body may be, in bytes. Default: 64 MiB; at most 16 GiB.
    #[must_use]
    pub fn largest(self, bytes: u64) -> Self {
        Self { largest: bytes.min(MOST), ..self }
    }
    /// Compresses bodies of more than 1 KiB that are text, and not encoded already. Default: all bodies are kept as they are. Bodies that are compressed can be read in any case.
    #[must_use]
    pub fn compressed(self) -> Self {
        Self { is_compressed: true, ..self }
    }

    /// All in one slot of a cluster: a script sees keys of one slot alone.
    fn key(&self, rest: &str) -> String {
        format!("{{{}}}:cache:{rest}", self.prefix)
    }
    fn channel(&self) -> String {
        self.key("purges")
    }
    fn piece_key(&self, body: &Body, piece: u64) -> String {
        self.key(&format!("b:{}:{piece}", String::from_utf8_lossy(&body.name)))
    }
    fn seen(&self) -> Mark {
        Mark(self.seen.load(Ordering::Acquire))
    }
    fn sees(&self, mark: Mark) {
        self.seen.fetch_max(mark.0, Ordering::AcqRel);
    }
    /// Begins a call with the log, and the record of a key.
    fn call<'a>(&self, script: &'a Script, key: &Key) -> ScriptInvocation<'a> {
        let record = text(&Sha256::digest(key.as_bytes()).into());
        let mut call = script.prepare_invoke();
        call.key(self.key("log")).key(self.key(&format!("r:{record}")));
        call
    }
    /// What most scripts are told first: the key, its URL, and what the names of bodies begin with.
    fn about(&self, call: &mut ScriptInvocation<'_>, key: &Key) {
        let url = key.url_text();
        let name = digest(&Purge::url(url).to_text());
        call.arg(key.as_bytes()).arg(name.as_slice()).arg(url).arg(self.key("b:"));
    }
    async fn run<T: redis::FromRedisValue>(
        &self,
        call: &ScriptInvocation<'_>,
    ) -> Result<T, BoxError> {
        in_time(LONGEST, call.invoke_async(&mut self.records.clone())).await
    }
    /// How far purges have got; larger than what is known, or everything counts as purged.
    async fn ask_mark(&self, known: Mark) -> Result<Mark, BoxError> {
        let mut call = self.scripts.mark.prepare_invoke();
        call.key(self.key("log")).arg(known.0);
        let mark = Mark(self.run(&call).await?);
        self.sees(mark);
        Ok(mark)
    }
    /// Stores a variant whose body is there in pieces, or comes with it.
    async fn put(
        &self,
        key: &Key,
        head: &Stored,
        mark: Mark,
        body: Body,
        whole: Option<Vec<u8>>,
    ) -> Result<(), BoxError> {
        let packed = pack(key, head, mark, body).ok_or("it has too many tags")?;
        let mut call = self.call(&self.scripts.put, key);
        self.about(&mut call, key);
        call.arg(field(head)).arg(packed).arg(lasts(head)).arg(VARIANTS);
        call.arg(u8::from(whole.is_some())).arg(whole.unwrap_or_default());
        let stored: u8 = self.run(&call).await?;
        if stored == 0 {
            tracing::debug!("a response is not stored, as it was purged, or is incomplete");
        }
        Ok(())
    }
    /// One variant of what was found.
    fn entry(&self, packed: &[u8], is_stale: bool, piece: Option<Vec<u8>>) -> Option<Entry> {
        let (head, body) = unpack(packed)?;
        let reader = Reader { cache: self.clone(), body };
        let body = match piece {
            _ if body.len == 0 => StoredBody::default(),
            Some(piece) => StoredBody::Here(Arc::new([reader.open(0, piece).ok()?])),
            None => StoredBody::Elsewhere(Arc::new(reader)),
        };
        Some(Entry { head, body, is_stale })
    }
    fn entries(&self, said: &[Value]) -> Arc<[Entry]> {
        let (all, _) = said.as_chunks::<3>();
        let entries = all.iter().filter_map(|each| {
            let [Value::BulkString(packed), Value::Int(is_stale), piece] = each else {
                return None;
            };
            let piece = match piece {
                Value::BulkString(piece) => Some(piece.clone()),
                _ => None,
            };
            let entry = self.entry(packed, *is_stale == 1, piece);
            if entry.is_none() {
                tracing::debug!("what is stored cannot be read, and counts as not stored");
            }
            entry
        });
        entries.collect()
    }
}

/// For how many milliseconds a response is kept.
fn lasts(head: &Stored) -> u64 {
    let time = head.kept_for(Moment::from(Clock::system().wall()));
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

#[async_trait]
impl CacheStore for RedisCache {
    fn find_now(&self, _: &Key) -> Option<Found> {
        None
    }
    async fn find(&self, key: &Key) -> Result<Found, CacheStoreError> {
        let known = self.seen();
        let mut call = self.call(&self.scripts.find, key);
        self.about(&mut call, key);
        call.arg(AT_HAND);
        let said: Vec<Value> = self.run(&call).await?;
        let Some((Value::Int(mark), rest)) = said.split_first() else {
            return Err(CacheStoreError("a script says something else".into()));
        };
        let mark = Mark(u64::try_from(*mark).unwrap_or_default());
        if mark < known {
            // It has gone back to an older state, and knows nothing of some purges.
            let mark = self.ask_mark(known).await?;
            return Ok(Found { mark, ..Found::default() });
        }
        self.sees(mark);
        Ok(Found { entries: self.entries(rest), mark })
    }
    fn sizes(&self) -> Sizes {
        Sizes { whole: 0, streamed: self.largest }
    }
    fn put_now(&self, _: &Key, _: &Arc<Stored>, _: &Arc<[Bytes]>, _: Mark) {}
    fn writer(&self, key: &Key, head: &Arc<Stored>, mark: Mark) -> Option<Box<dyn Write>> {
        Some(Box::new(Writer::new(self, key, head, mark)))
    }
    async fn refresh(
        &self,
        key: &Key,
        old: &Stored,
        new: Arc<Stored>,
        mark: Mark,
    ) -> Result<(), CacheStoreError> {
        // Its body is that of the one before.
        let body = Body { name: [0; 16], len: 0, pieces: 0 };
        let packed =
            pack(key, &new, mark, body).ok_or_else(|| BoxError::from("it has too many tags"))?;
        let mut call = self.call(&self.scripts.refresh, key);
        self.about(&mut call, key);
        call.arg(field(&new)).arg(packed).arg(lasts(&new)).arg(field(old)).arg(old.to_bytes());
        self.run::<u8>(&call).await?;
        Ok(())
    }
    async fn remove(&self, key: &Key, old: &Stored) -> Result<(), CacheStoreError> {
        let mut call = self.call(&self.scripts.remove, key);
        call.arg(self.key("b:")).arg(field(old)).arg(old.to_bytes());
        self.run::<u8>(&call).await?;
        Ok(())
    }
    async fn purge(&self, purge: &Purge) -> Result<(), CacheStoreError> {
        let named = purge.to_text();
        let kind = named.get(..1).unwrap_or_default();
        let what = if kind == "p" {
            named.as_bytes().get(1..).unwrap_or_default().to_vec()
        } else {
            digest(&named).to_vec()
        };
        let mut call = self.scripts.purge.prepare_invoke();
        call.key(self.key("log")).arg(kind).arg(u8::from(purge.is_soft())).arg(what);
        call.arg(self.channel()).arg(news::text(purge)).arg(NAMES).arg(PREFIXES);
        self.sees(Mark(self.run(&call).await?));
        Ok(())
    }
    /// Whether there was any purge since, of whatever it was.
    fn purged_since(&self, mark: Mark, _: &Key, _: &Stored) -> bool {
        self.seen() > mark
    }
}

impl fmt::Debug for RedisCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisCache")
            .field("prefix", &self.prefix)
            .field("largest", &self.largest)
            .field("is_compressed", &self.is_compressed)
            .finish_non_exhaustive()
    }
}
