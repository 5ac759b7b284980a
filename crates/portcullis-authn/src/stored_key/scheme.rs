//! Keys of a store as a way to say who one is.
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use portcullis_core::{Identity, IdentityKind};

use super::{KeyRecord, KeyStore};
#[cfg(feature = "accounts")]
use crate::account::{Account, Users};
use crate::session::StoreError;

/// After how long a key is marked as used again.
const STEP: Duration = Duration::from_secs(60);

/// Takes the keys of a store, beside those of [`ApiKeys`](crate::ApiKeys) itself. The store is asked for each request, so that a key that has ended opens nothing from then on.
#[derive(Clone)]
pub struct StoredKeys {
    store: Arc<dyn KeyStore>,
    #[cfg(feature = "accounts")]
    users: Option<Arc<dyn Users>>,
}

/// A good key, and whom it stands for today.
pub(crate) struct FoundKey {
    pub(crate) id: Arc<str>,
    pub(crate) identity: Identity,
}

pub(crate) type KeyLook =
    Pin<Box<dyn Future<Output = Result<Option<FoundKey>, StoreError>> + Send>>;

impl StoredKeys {
    /// Takes the keys of this store.
    pub fn new(store: impl KeyStore) -> Self {
        Self {
            store: Arc::new(store),
            #[cfg(feature = "accounts")]
            users: None,
        }
    }
    /// Looks up the user for whom a key acts with each request: what they may do is what they may do today, and whoever is disabled can do nothing. Default: a key acts for
    /// who its user was when it was made.
    #[cfg(feature = "accounts")]
    #[must_use]
    pub fn users(self, users: impl Users) -> Self {
        Self { users: Some(Arc::new(users)), ..self }
    }
    /// Whose key this is the digest of.
    pub(crate) fn look(&self, digest: [u8; 32], now: SystemTime) -> KeyLook {
        let own = self.clone();
        Box::pin(async move {
            let found = own.store.find(&digest).await?;
            let Some(key) = found.filter(|key| key.is_good(&digest, now)) else { return Ok(None) };
            let Some(identity) = own.identity(&key).await? else { return Ok(None) };
            let since = |used: SystemTime| now.duration_since(used).unwrap_or_default();
            if key.used.is_none_or(|used| since(used) >= STEP) {
                // A store that takes no change can still be read.
                if let Err(error) = own.store.mark(&key.id, now).await {
                    tracing::warn!("a key is not marked as used: {error}");
                }
            }
            Ok(Some(FoundKey { id: key.id, identity }))
        })
    }
    #[cfg(feature = "accounts")]
    async fn identity(&self, key: &KeyRecord) -> Result<Option<Identity>, StoreError> {
        let (Some(users), Some(user)) = (&self.users, &key.user) else {
            return Ok(Some(acting(&key.identity, key)));
        };
        let account = users.by_id(user).await?.filter(|account| !account.is_disabled);
        Ok(account.map(|Account { identity, .. }| acting(&identity, key)))
    }
    #[cfg(not(feature = "accounts"))]
    #[expect(clippy::unused_async, reason = "with accounts it asks for the user")]
    async fn identity(&self, key: &KeyRecord) -> Result<Option<Identity>, StoreError> {
        Ok(Some(acting(&key.identity, key)))
    }
}

/// Whom a key stands for: the same one, by a key. Its scopes are the key's.
fn acting(identity: &Identity, key: &KeyRecord) -> Identity {
    let builder = identity.to_builder().without_revocation().kind(IdentityKind::Key);
    let scopes: Vec<Arc<str>> = key.identity.scopes().map(Arc::from).collect();
    builder.method("api-key").scopes(scopes).build()
}

impl fmt::Debug for StoredKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredKeys").field("store", &self.store).finish_non_exhaustive()
    }
}
