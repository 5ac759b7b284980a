//! Sessions on Redis.
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_authn::{SessionDigest, SessionRecord, SessionStore, StoreError, Touch};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{AsyncCommands, AsyncConnectionConfig, Client, ErrorKind, RedisError, RedisResult};
use sha2::{Digest, Sha256};

use crate::connect;
use crate::record::{fields, micros, record};
use crate::scripts::Scripts;

/// How long a command may take, with the time until there is a connection for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);
/// How long a try to connect may take, and how long it is at most until the next one, but for some chance.
const TRY: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(200);
/// In which steps what an owner has is given back, where it is over.
const DAY: u64 = 86_400;

/// Sessions on Redis. Cheap to clone; clones share one connection.
#[derive(Clone)]
pub struct RedisSessions {
    connection: ConnectionManager,
    prefix: Arc<str>,
    scripts: Arc<Scripts>,
}

/// What a session is called in keys and sets.
fn name(id: &SessionDigest) -> String {
    text(id.as_bytes())
}

/// A digest as text.
pub(crate) fn text(digest: &[u8; 32]) -> String {
    URL_SAFE_NO_PAD.encode(digest)
}

/// What an owner is called in keys: no name of an owner's becomes one of ours.
pub(crate) fn owner_name(owner: &str) -> String {
    text(&Sha256::digest(owner.as_bytes()).into())
}

fn digest(name: &str) -> Option<SessionDigest> {
    let bytes = URL_SAFE_NO_PAD.decode(name).ok()?;
    Some(SessionDigest::from_bytes(bytes.try_into().ok()?))
}

pub(crate) type Answer<T> = Result<T, StoreError>;

/// What Redis says, unless it takes too long. A command waits for a connection as long as there is none.
pub(crate) async fn in_time<T>(command: impl Future<Output = RedisResult<T>>) -> Answer<T> {
    connect::in_time(PATIENCE, command).await.map_err(StoreError)
}

/// A server that answers, and the connection that comes back by itself.
pub(crate) async fn open(url: &str, prefix: &str) -> RedisResult<(Client, ConnectionManager)> {
    if prefix.is_empty() {
        let wrong = (ErrorKind::InvalidClientConfig, "the names of keys have no prefix");
        return Err(RedisError::from(wrong));
    }
    let client = Client::open(url)?;
    // Once by itself, to say what is wrong.
    let once = AsyncConnectionConfig::new().set_connection_timeout(Some(TRY));
    client.get_multiplexed_async_connection_with_config(&once).await?;
    // It never gives up: it would not try again by itself where it was refused, as by another password.
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(TRY))
        .set_max_delay(PAUSE)
        .set_number_of_retries(usize::MAX)
        .set_response_timeout(Some(PATIENCE));
    let connection = ConnectionManager::new_lazy_with_config(client.clone(), config)?;
    Ok((client, connection))
}

impl RedisSessions {
    /// Connects to a server: `redis://127.0.0.1:6379`, or `rediss://` over TLS, where the crate `redis` is told to speak it. `prefix` begins the names of all keys; two
    /// applications with one prefix share their sessions.
    ///
    /// # Errors
    /// It is no address, nobody answers there, or the prefix is empty.
    pub async fn connect(url: &str, prefix: &str) -> Result<Self, RedisError> {
        let (_, connection) = open(url, prefix).await?;
        Ok(Self::from_connection(connection, prefix))
    }
    /// Over a connection that there is already.
    pub fn from_connection(connection: ConnectionManager, prefix: &str) -> Self {
        Self { connection, prefix: prefix.into(), scripts: Arc::new(Scripts::new()) }
    }
    /// What the keys of sessions begin with.
    fn start(&self) -> String {
        format!("{{{}}}:session:", self.prefix)
    }
    /// All of an application's in one slot of a cluster: a script sees keys of one slot alone.
    fn key(&self, id: &SessionDigest) -> String {
        format!("{}{}", self.start(), name(id))
    }
    fn owner_key(&self, owner: &str) -> String {
        format!("{{{}}}:owner:{}", self.prefix, owner_name(owner))
    }
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }
    pub(crate) fn connection(&self) -> ConnectionManager {
        self.connection.clone()
    }
    async fn put(
        &self,
        before: Option<(&SessionDigest, bool)>,
        record: &SessionRecord,
    ) -> Answer<bool> {
        let own = self.key(&record.digest);
        let set = record.owner().map(|owner| self.owner_key(&owner));
        let ends = micros(record.expires) / 1_000_000;
        let lasts = record.expires.duration_since(record.used).unwrap_or_default().as_secs() + DAY;
        let (before, keeps_data) = before.map_or((None, false), |(id, keeps)| (Some(id), keeps));
        let mut put = self.scripts.put.prepare_invoke();
        // Only keys of this slot, also where there are none.
        put.key(&own).key(before.map_or_else(|| own.clone(), |id| self.key(id)));
        put.key(set.as_ref().unwrap_or(&own));
        put.arg(u8::from(before.is_some())).arg(u8::from(keeps_data)).arg(u8::from(set.is_some()));
        put.arg(name(&record.digest)).arg(before.map(name).unwrap_or_default());
        put.arg(ends).arg(lasts).arg(&*record.data).arg(record.version);
        for (name, value) in fields(record) {
            put.arg(name).arg(value);
        }
        let done: u8 = in_time(put.invoke_async(&mut self.connection.clone())).await?;
        Ok(done == 1)
    }
    async fn read(&self, id: &SessionDigest) -> Answer<Option<SessionRecord>> {
        let mut connection = self.connection.clone();
        let read: HashMap<String, String> = in_time(connection.hgetall(self.key(id))).await?;
        Ok(record(*id, read))
    }
}

#[async_trait]
impl SessionStore for RedisSessions {
    async fn open(&self, id: &SessionDigest, touch: Touch) -> Answer<Option<SessionRecord>> {
        let Some(record) = self.read(id).await?.filter(|record| touch.now < record.expires) else {
            return Ok(None);
        };
        if touch.marks(record.used) {
            let mut mark = self.scripts.touch.prepare_invoke();
            mark.key(self.key(id)).arg(micros(touch.now));
            let marked = in_time(mark.invoke_async::<()>(&mut self.connection.clone())).await;
            // A server that takes no change can still be read.
            if let Err(error) = marked {
                tracing::warn!("a session is not marked as used: {error}");
            }
        }
        Ok(Some(record))
    }
    async fn create(&self, record: SessionRecord) -> Answer<()> {
        self.put(None, &record).await.map(drop)
    }
    async fn replace(
        &self,
        id: &SessionDigest,
        record: SessionRecord,
        keeps_data: bool,
    ) -> Answer<bool> {
        self.put(Some((id, keeps_data)), &record).await
    }
    async fn write(&self, id: &SessionDigest, version: u64, data: &str) -> Answer<bool> {
        let mut write = self.scripts.write.prepare_invoke();
        write.key(self.key(id)).arg(version).arg(data);
        let done: u8 = in_time(write.invoke_async(&mut self.connection.clone())).await?;
        Ok(done == 1)
    }
    async fn end(&self, id: &SessionDigest) -> Answer<bool> {
        let mut end = self.scripts.end.prepare_invoke();
        end.key(self.key(id)).arg(name(id));
        let ended: u8 = in_time(end.invoke_async(&mut self.connection.clone())).await?;
        Ok(ended == 1)
    }
    async fn list(&self, owner: &str) -> Answer<Vec<SessionRecord>> {
        let names: Vec<String> =
            in_time(self.connection.clone().smembers(self.owner_key(owner))).await?;
        let mut found = Vec::new();
        for id in names.iter().filter_map(|name| digest(name)) {
            let record = self.read(&id).await?;
            found.extend(record.filter(|record| record.owner().as_deref() == Some(owner)));
        }
        found.sort_by_key(|record| (std::cmp::Reverse(record.used), record.digest));
        Ok(found)
    }
    async fn end_all(
        &self,
        owner: &str,
        but: Option<&SessionDigest>,
    ) -> Answer<Vec<SessionDigest>> {
        let mut end = self.scripts.end_all.prepare_invoke();
        end.key(self.owner_key(owner)).arg(self.start()).arg(owner);
        end.arg(but.map(name).unwrap_or_default());
        let ended: Vec<String> = in_time(end.invoke_async(&mut self.connection.clone())).await?;
        Ok(ended.iter().filter_map(|name| digest(name)).collect())
    }
    async fn missing(&self, ids: &[SessionDigest]) -> Answer<Vec<SessionDigest>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut asked = redis::pipe();
        for id in ids {
            asked.exists(self.key(id));
        }
        let there: Vec<bool> = in_time(asked.query_async(&mut self.connection.clone())).await?;
        let gone = ids.iter().zip(there).filter(|(_, there)| !there);
        Ok(gone.map(|(id, _)| *id).collect())
    }
    async fn sweep(&self, _: SystemTime, _: SystemTime) -> Answer<u64> {
        // The server forgets by itself.
        Ok(0)
    }
}

impl fmt::Debug for RedisSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSessions").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}
