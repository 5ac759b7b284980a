//! Who has an account.
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use portcullis_core::{Identity, Secret};

use super::email::Email;
use crate::secret_id::SecretId;
use crate::session::StoreError;

/// A user as the endpoints need to know one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Account {
    /// Who they are to everybody behind the log-in: a subject that never changes, roles, tenant, plan.
    pub identity: Identity,
    /// Where mail goes.
    pub email: Email,
    /// What is kept of the password, as [`Passwords::hash`](crate::Passwords::hash) has made it; `None` for one who has none, and cannot log in by one.
    pub password: Option<Secret<String>>,
    /// Whether they may not log in.
    pub is_disabled: bool,
}

impl Account {
    /// Somebody who may log in, without a password.
    pub fn new(identity: Identity, email: Email) -> Self {
        Self { identity, email, password: None, is_disabled: false }
    }
    /// With what is kept of this password.
    #[must_use]
    pub fn password(self, kept: impl Into<Secret<String>>) -> Self {
        Self { password: Some(kept.into()), ..self }
    }
    /// Who may not log in.
    #[must_use]
    pub fn disabled(self, is_disabled: bool) -> Self {
        Self { is_disabled, ..self }
    }
    /// A new [id](Self::id), which nobody can guess: for a store that makes none of its own.
    ///
    /// # Panics
    /// When the machine has no random numbers.
    pub fn generate_id() -> String {
        let id = SecretId::new().expect("the machine has random numbers");
        id.text().chars().take(22).collect()
    }
    /// What names the user in a store: the subject of the identity.
    pub fn id(&self) -> &str {
        self.identity.subject()
    }
    /// What is kept of the password.
    pub fn kept(&self) -> Option<&str> {
        self.password.as_ref().map(|kept| kept.expose().as_str())
    }
}

/// Who has an account: the application's own table of users, or one of ours (`portcullis-sqlx`). Every change is atomic: of two that exclude each other one is made.
///
/// The contract tests of `portcullis-testkit` hold an implementation to what is said here.
#[async_trait]
pub trait Users: fmt::Debug + Send + Sync + 'static {
    /// Whose address this is, however it is [spelled](Email::spelled).
    async fn by_email(&self, email: &Email) -> Result<Option<Account>, StoreError>;
    /// Whose [id](Account::id) this is.
    async fn by_id(&self, id: &str) -> Result<Option<Account>, StoreError>;
    /// Adds a user whose address it is, with what is kept of their password. `None` where another one has the address.
    async fn add(&self, email: &Email, password: &str) -> Result<Option<Account>, StoreError>;
    /// Puts what is kept of a password in the place of what is kept `before`. `false` where something else is kept, or there is no such user.
    async fn set_password(
        &self,
        id: &str,
        before: Option<&str>,
        password: &str,
    ) -> Result<bool, StoreError>;
    /// Gives a user another address. `false` where another one has it, or there is no such user.
    async fn set_email(&self, id: &str, email: &Email) -> Result<bool, StoreError>;
}

/// Users in memory: for tests, and gone with the process. Cheap to clone; clones share them.
#[derive(Clone, Default)]
pub struct MemoryUsers(Arc<Mutex<HashMap<Arc<str>, Account>>>);

impl MemoryUsers {
    /// The issuer of their identities.
    pub const ISSUER: &str = "account";

    /// Nobody yet.
    pub fn new() -> Self {
        Self::default()
    }
    /// Adds or replaces a user, by the subject of the identity.
    pub fn put(&self, account: Account) {
        self.lock().insert(account.id().into(), account);
    }
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Account>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Users for MemoryUsers {
    async fn by_email(&self, email: &Email) -> Result<Option<Account>, StoreError> {
        Ok(self.lock().values().find(|account| account.email == *email).cloned())
    }
    async fn by_id(&self, id: &str) -> Result<Option<Account>, StoreError> {
        Ok(self.lock().get(id).cloned())
    }
    async fn add(&self, email: &Email, password: &str) -> Result<Option<Account>, StoreError> {
        let mut all = self.lock();
        if all.values().any(|account| account.email == *email) {
            return Ok(None);
        }
        let id: Arc<str> = Account::generate_id().into();
        let identity = Identity::builder(Self::ISSUER, Arc::clone(&id)).build();
        let account = Account::new(identity, email.clone()).password(password);
        all.insert(id, account.clone());
        Ok(Some(account))
    }
    async fn set_password(
        &self,
        id: &str,
        before: Option<&str>,
        password: &str,
    ) -> Result<bool, StoreError> {
        let mut all = self.lock();
        let Some(account) = all.get_mut(id).filter(|account| account.kept() == before) else {
            return Ok(false);
        };
        account.password = Some(password.into());
        Ok(true)
    }
    async fn set_email(&self, id: &str, email: &Email) -> Result<bool, StoreError> {
        let mut all = self.lock();
        if all.values().any(|other| other.id() != id && other.email == *email) {
            return Ok(false);
        }
        let Some(account) = all.get_mut(id) else { return Ok(false) };
        account.email = email.clone();
        Ok(true)
    }
}

impl fmt::Debug for MemoryUsers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryUsers").field("len", &self.lock().len()).finish()
    }
}
