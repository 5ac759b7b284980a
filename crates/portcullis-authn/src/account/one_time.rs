//! What a mail brings, and is good once.
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;

use crate::session::StoreError;

/// What a token of a mail is good for, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// To show that an address is that of who registers with it.
    Register,
    /// To choose another password.
    Reset,
    /// To show that another address is the user's too.
    Email,
}

impl Purpose {
    /// What a store keeps.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Reset => "reset",
            Self::Email => "email",
        }
    }
    /// What a store has kept.
    pub fn from_text(text: &str) -> Option<Self> {
        [Self::Register, Self::Reset, Self::Email].into_iter().find(|it| it.as_str() == text)
    }
}

/// A token as a store keeps it.
#[derive(Clone)]
#[non_exhaustive]
pub struct OneTimeToken {
    /// The SHA-256 of what the mail brings: whoever reads the store cannot use it.
    pub digest: [u8; 32],
    /// What it is good for.
    pub purpose: Purpose,
    /// Whose it is: the id of a user, or the spelling of an address that is nobody's yet.
    pub owner: Arc<str>,
    /// What else is known with it.
    pub data: Arc<str>,
    /// Until when it is good.
    pub expires: SystemTime,
}

impl OneTimeToken {
    /// A token.
    pub fn new(
        digest: [u8; 32],
        purpose: Purpose,
        owner: impl Into<Arc<str>>,
        data: impl Into<Arc<str>>,
        expires: SystemTime,
    ) -> Self {
        Self { digest, purpose, owner: owner.into(), data: data.into(), expires }
    }
}

/// Without what is kept with it, which may be a hash of a password.
impl fmt::Debug for OneTimeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneTimeToken")
            .field("purpose", &self.purpose)
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}

/// Where tokens are that are good once. A token that is over is not there.
#[async_trait]
pub trait OneTimeTokens: fmt::Debug + Send + Sync + 'static {
    /// Adds a token.
    async fn put(&self, token: OneTimeToken) -> Result<(), StoreError>;
    /// A token, which stays.
    async fn look(
        &self,
        digest: &[u8; 32],
        now: SystemTime,
    ) -> Result<Option<OneTimeToken>, StoreError>;
    /// Takes a token away. Of any number that do so at the same time one hears `true`.
    async fn take(&self, digest: &[u8; 32], now: SystemTime) -> Result<bool, StoreError>;
    /// Takes all tokens of an owner away.
    async fn forget(&self, owner: &str) -> Result<(), StoreError>;
    /// Takes away what is over, and says how many that were.
    async fn sweep(&self, now: SystemTime) -> Result<u64, StoreError>;
}

/// Tokens in memory: those of one process, gone with it, 10,000 at most. Cheap to clone; clones share them.
#[derive(Clone, Default)]
pub struct MemoryTokens(Arc<Mutex<HashMap<[u8; 32], OneTimeToken>>>);

/// How many there may be; beyond it the one that ends first goes.
const MOST: usize = 10_000;

impl MemoryTokens {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }
    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], OneTimeToken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl OneTimeTokens for MemoryTokens {
    async fn put(&self, token: OneTimeToken) -> Result<(), StoreError> {
        let mut all = self.lock();
        if all.len() >= MOST {
            let first = all.values().min_by_key(|it| it.expires).map(|it| it.digest);
            first.map(|digest| all.remove(&digest));
        }
        all.insert(token.digest, token);
        Ok(())
    }
    async fn look(
        &self,
        digest: &[u8; 32],
        now: SystemTime,
    ) -> Result<Option<OneTimeToken>, StoreError> {
        Ok(self.lock().get(digest).filter(|token| now < token.expires).cloned())
    }
    async fn take(&self, digest: &[u8; 32], now: SystemTime) -> Result<bool, StoreError> {
        Ok(self.lock().remove(digest).is_some_and(|token| now < token.expires))
    }
    async fn forget(&self, owner: &str) -> Result<(), StoreError> {
        self.lock().retain(|_, token| &*token.owner != owner);
        Ok(())
    }
    async fn sweep(&self, now: SystemTime) -> Result<u64, StoreError> {
        let mut all = self.lock();
        let before = all.len();
        all.retain(|_, token| now < token.expires);
        Ok(u64::try_from(before - all.len()).unwrap_or(u64::MAX))
    }
}

impl fmt::Debug for MemoryTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTokens").field("len", &self.lock().len()).finish()
    }
}
