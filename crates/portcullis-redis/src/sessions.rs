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
use redis::{AsyncCommands, RedisError, Script};
use sha2::{Digest, Sha256};

use crate::record::{fields, micros, record};

/// How long a command may take, and a connection.
const PATIENCE: Duration = Duration::from_secs(2);
/// In which steps what an owner has is given back, where it is over.
const DAY: u64 = 86_400;

/// Sessions on Redis. Cheap to clone; clones share one connection.
#[derive(Clone)]
pub struct RedisSessions {
    connection: ConnectionManager,
    prefix: Arc<str>,
    scripts: Arc<Scripts>,
}

struct Scripts {
    put: Script,
    write: Script,
    end: Script,
    touch: Script,
}

/// Puts a session there, and takes away the one whose place it takes. KEYS: the new one, the old one, the new owner's. ARGV: whether there is an old one, whether its data are kept, the
/// digest of the new one, when it ends (in seconds since 1970), the longest that an owner's set is kept, data and version, the names and values of its fields.
/// `0` where the old one is not there.
const PUT: &str = r"
if ARGV[1] == '1' then
  local kept = redis.call('HMGET', KEYS[2], 'data', 'version')
  if not kept[2] then return 0 end
  redis.call('DEL', KEYS[2])
  if ARGV[2] == '1' then ARGV[6] = kept[1] ARGV[7] = kept[2] end
end
redis.call('HSET', KEYS[1], 'data', ARGV[6], 'version', ARGV[7])
for at = 8, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1]) end
redis.call('EXPIREAT', KEYS[1], ARGV[4])
if KEYS[3] ~= '' then
  redis.call('SADD', KEYS[3], ARGV[3])
  redis.call('EXPIRE', KEYS[3], ARGV[5])
end
return 1";

/// Changes what is kept, where it has this version.
const WRITE: &str = r"
if redis.call('HGET', KEYS[1], 'version') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'data', ARGV[2])
redis.call('HINCRBY', KEYS[1], 'version', 1)
return 1";

/// Takes a session away.
const END: &str = r"return redis.call('DEL', KEYS[1])";

/// Marks a session as used, where it is there, and was not used later.
const TOUCH: &str = r"
local used = redis.call('HGET', KEYS[1], 'used')
if used and tonumber(used) < tonumber(ARGV[1]) then redis.call('HSET', KEYS[1], 'used', ARGV[1]) end
return 1";

fn failed(error: RedisError) -> StoreError {
    StoreError(error.into())
}

type Answer<T> = Result<T, StoreError>;

impl RedisSessions {
    /// Connects to a server: `redis://127.0.0.1:6379`, or `rediss://` over TLS, where the crate `redis` is told to speak it. `prefix` begins the names of all keys; two
    /// applications with one prefix share their sessions.
    ///
    /// # Errors
    /// It is no address, or nobody answers there.
    pub async fn connect(url: &str, prefix: &str) -> Result<Self, RedisError> {
        let client = redis::Client::open(url)?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let connection = ConnectionManager::new_with_config(client, config).await?;
        Ok(Self::from_connection(connection, prefix))
    }
    /// Over a connection that there is already.
    pub fn from_connection(connection: ConnectionManager, prefix: &str) -> Self {
        let scripts = Scripts {
            put: Script::new(PUT),
            write: Script::new(WRITE),
            end: Script::new(END),
            touch: Script::new(TOUCH),
        };
        Self { connection, prefix: prefix.into(), scripts: Arc::new(scripts) }
    }
    /// All of an application's in one slot of a cluster: a script sees keys of one slot alone.
    fn key(&self, id: &SessionDigest) -> String {
        format!("{{{}}}:session:{}", self.prefix, URL_SAFE_NO_PAD.encode(id.as_bytes()))
    }
    fn owner_key(&self, owner: &str) -> String {
        let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(owner.as_bytes()));
        format!("{{{}}}:owner:{digest}", self.prefix)
    }
    async fn put(
        &self,
        before: Option<(&SessionDigest, bool)>,
        record: &SessionRecord,
    ) -> Answer<bool> {
        let owner = record.owner().map(|owner| self.owner_key(&owner)).unwrap_or_default();
        let ends = micros(record.expires) / 1_000_000;
        let lasts = record.expires.duration_since(record.used).unwrap_or_default().as_secs() + DAY;
        let (before, keeps_data) = before.map_or((None, false), |(id, keeps)| (Some(id), keeps));
        let mut put = self.scripts.put.prepare_invoke();
        put.key(self.key(&record.digest));
        put.key(before.map(|id| self.key(id)).unwrap_or_default()).key(owner);
        put.arg(u8::from(before.is_some())).arg(u8::from(keeps_data));
        put.arg(URL_SAFE_NO_PAD.encode(record.digest.as_bytes())).arg(ends).arg(lasts);
        put.arg(&*record.data).arg(record.version);
        for (name, value) in fields(record) {
            put.arg(name).arg(value);
        }
        let done: u8 = put.invoke_async(&mut self.connection.clone()).await.map_err(failed)?;
        Ok(done == 1)
    }
    /// The sessions of an owner; what is over is taken out of the set.
    async fn of(&self, owner: &str) -> Answer<Vec<SessionRecord>> {
        let (key, mut connection) = (self.owner_key(owner), self.connection.clone());
        let names: Vec<String> = connection.smembers(&key).await.map_err(failed)?;
        let mut found = Vec::new();
        for name in names {
            let bytes = URL_SAFE_NO_PAD.decode(&name).ok().and_then(|it| it.try_into().ok());
            let id = bytes.map(SessionDigest::from_bytes);
            let read = match &id {
                Some(id) => self.read(id).await?,
                None => None,
            };
            match read.filter(|record| record.owner().as_deref() == Some(owner)) {
                Some(record) => found.push(record),
                None => connection.srem::<_, _, ()>(&key, &name).await.map_err(failed)?,
            }
        }
        Ok(found)
    }
    async fn read(&self, id: &SessionDigest) -> Answer<Option<SessionRecord>> {
        let mut connection = self.connection.clone();
        let read: HashMap<String, String> =
            connection.hgetall(self.key(id)).await.map_err(failed)?;
        record(*id, read)
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
            mark.invoke_async::<()>(&mut self.connection.clone()).await.map_err(failed)?;
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
        let done: u8 = write.invoke_async(&mut self.connection.clone()).await.map_err(failed)?;
        Ok(done == 1)
    }
    async fn end(&self, id: &SessionDigest) -> Answer<bool> {
        let mut end = self.scripts.end.prepare_invoke();
        end.key(self.key(id));
        let ended: u8 = end.invoke_async(&mut self.connection.clone()).await.map_err(failed)?;
        Ok(ended == 1)
    }
    async fn list(&self, owner: &str) -> Answer<Vec<SessionRecord>> {
        let mut found = self.of(owner).await?;
        found.sort_by_key(|record| (std::cmp::Reverse(record.used), record.digest));
        Ok(found)
    }
    async fn end_all(
        &self,
        owner: &str,
        but: Option<&SessionDigest>,
    ) -> Answer<Vec<SessionDigest>> {
        let mut ended = Vec::new();
        for record in self.of(owner).await? {
            if Some(&record.digest) != but && self.end(&record.digest).await? {
                ended.push(record.digest);
            }
        }
        Ok(ended)
    }
    async fn missing(&self, ids: &[SessionDigest]) -> Answer<Vec<SessionDigest>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut asked = redis::pipe();
        for id in ids {
            asked.exists(self.key(id));
        }
        let there: Vec<bool> =
            asked.query_async(&mut self.connection.clone()).await.map_err(failed)?;
        let gone = ids.iter().zip(there).filter(|(_, there)| !there);
        Ok(gone.map(|(id, _)| *id).collect())
    }
    async fn sweep(&self, _: SystemTime) -> Answer<u64> {
        // The server forgets by itself.
        Ok(0)
    }
}

impl fmt::Debug for RedisSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSessions").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}
