//! Tokens of mails on Redis.
use std::collections::HashMap;
use std::fmt;
use std::time::SystemTime;

use async_trait::async_trait;
use portcullis_authn::{OneTimeToken, OneTimeTokens, Purpose, StoreError};
use redis::Script;

use crate::record::{micros, time};
use crate::sessions::{Answer, RedisSessions, in_time, owner_name, text};

/// Puts a token, and its name among those of its owner. KEYS: the token, the owner's set. ARGV: when it ends, in seconds; its name; the names and values of its fields.
const PUT: &str = r"
for at = 3, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1]) end
redis.call('EXPIREAT', KEYS[1], ARGV[1])
redis.call('SADD', KEYS[2], ARGV[2])
local left = tonumber(ARGV[1]) - tonumber(redis.call('TIME')[1])
if redis.call('TTL', KEYS[2]) < left then redis.call('EXPIREAT', KEYS[2], ARGV[1]) end
return 1";

/// Takes a token away that is good at this time, in microseconds.
const TAKE: &str = r"
local expires = redis.call('HGET', KEYS[1], 'expires')
if not expires or tonumber(expires) <= tonumber(ARGV[1]) then return 0 end
return redis.call('DEL', KEYS[1])";

/// Takes all tokens of an owner away. KEYS: the owner's set. ARGV: what the keys of tokens begin with. Their keys have the slot of the set.
const FORGET: &str = r"
for _, name in ipairs(redis.call('SMEMBERS', KEYS[1])) do redis.call('DEL', ARGV[1] .. name) end
return redis.call('DEL', KEYS[1])";

/// Tokens of mails on Redis, under the prefix of [`RedisSessions`]. Cheap to clone.
#[derive(Clone)]
pub struct RedisTokens(RedisSessions);

impl RedisTokens {
    /// Over the connection of these sessions.
    pub fn beside(sessions: &RedisSessions) -> Self {
        Self(sessions.clone())
    }
    fn start(&self) -> String {
        format!("{{{}}}:token:", self.0.prefix())
    }
    fn key(&self, digest: &[u8; 32]) -> String {
        format!("{}{}", self.start(), text(digest))
    }
    fn owner_key(&self, owner: &str) -> String {
        format!("{{{}}}:tokens:{}", self.0.prefix(), owner_name(owner))
    }
}

/// The fields of a hash as a token, if they are one.
fn token(digest: [u8; 32], mut fields: HashMap<String, String>) -> Option<OneTimeToken> {
    let expires = time(fields.get("expires")?.parse().ok()?);
    let purpose = Purpose::from_text(fields.get("purpose")?)?;
    let (owner, data) = (fields.remove("owner")?, fields.remove("data")?);
    Some(OneTimeToken::new(digest, purpose, owner, data, expires))
}

#[async_trait]
impl OneTimeTokens for RedisTokens {
    async fn put(&self, token: OneTimeToken) -> Answer<()> {
        let expires = micros(token.expires);
        let script = Script::new(PUT);
        let mut put = script.prepare_invoke();
        put.key(self.key(&token.digest)).key(self.owner_key(&token.owner));
        // A second more than it is good for: what is over is looked at here.
        put.arg(expires / 1_000_000 + 1).arg(text(&token.digest));
        put.arg("purpose").arg(token.purpose.as_str()).arg("owner").arg(&*token.owner);
        put.arg("data").arg(&*token.data).arg("expires").arg(expires);
        in_time(put.invoke_async::<()>(&mut self.0.connection())).await
    }
    async fn look(&self, digest: &[u8; 32], now: SystemTime) -> Answer<Option<OneTimeToken>> {
        let mut command = redis::cmd("HGETALL");
        command.arg(self.key(digest));
        let mut connection = self.0.connection();
        let fields = in_time(command.query_async(&mut connection)).await?;
        Ok(token(*digest, fields).filter(|token| now < token.expires))
    }
    async fn take(&self, digest: &[u8; 32], now: SystemTime) -> Answer<bool> {
        let script = Script::new(TAKE);
        let mut take = script.prepare_invoke();
        take.key(self.key(digest)).arg(micros(now));
        let taken: u8 = in_time(take.invoke_async(&mut self.0.connection())).await?;
        Ok(taken == 1)
    }
    async fn forget(&self, owner: &str) -> Answer<()> {
        let script = Script::new(FORGET);
        let mut forget = script.prepare_invoke();
        forget.key(self.owner_key(owner)).arg(self.start());
        in_time(forget.invoke_async::<()>(&mut self.0.connection())).await
    }
    async fn sweep(&self, _: SystemTime) -> Result<u64, StoreError> {
        // The server forgets by itself.
        Ok(0)
    }
}

impl fmt::Debug for RedisTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisTokens").field("prefix", &self.0.prefix()).finish_non_exhaustive()
    }
}
