//! Users, one-time tokens and keys, one type of each for each database.
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use portcullis_authn::{
    Account, Email, KeyRecord, KeyStore, MemoryUsers, OneTimeToken, OneTimeTokens, Purpose,
    StoreError, Users,
};
use portcullis_core::Identity;

use crate::retry::{Answer, TRIES, is_conflict, is_doubled, retried};
use crate::row::{failed, micros, owner_digest, time};
use crate::sql;

/// The issuer of the identities of users in these tables.
const ISSUER: &str = MemoryUsers::ISSUER;

/// Whether a text can be none that is kept here: some databases take no NUL, and some take no notice of spaces at an end.
fn is_nothing(text: &str) -> bool {
    text.is_empty() || text.ends_with(' ') || text.contains('\0')
}

/// The columns of a user: id, email, password, disabled, roles, tenant, plan.
type UserRow = (String, String, Option<String>, bool, String, Option<String>, Option<String>);

/// A user, if the row is one.
fn account(row: UserRow, everybody: &[Arc<str>]) -> Result<Account, StoreError> {
    let (id, email, password, disabled, roles, tenant, plan) = row;
    let wrong = || StoreError(format!("the address of user `{id}` is none").into());
    let email = Email::parse(&email).ok_or_else(wrong)?;
    let identity = Identity::builder(ISSUER, id.as_str()).roles(everybody.iter().cloned());
    let mut identity = identity.roles(roles.split_whitespace());
    identity = match tenant {
        Some(tenant) => identity.tenant(tenant),
        None => identity,
    };
    identity = match plan {
        Some(plan) => identity.plan(plan),
        None => identity,
    };
    let account = Account::new(identity.build(), email).disabled(disabled);
    Ok(match password {
        Some(kept) => account.password(kept),
        None => account,
    })
}

/// What is kept of a user beside address and password.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rights {
    /// Their roles: words without spaces.
    pub roles: Vec<String>,
    /// Their tenant.
    pub tenant: Option<String>,
    /// Their plan.
    pub plan: Option<String>,
}

impl Rights {
    /// These roles, without tenant and plan.
    pub fn of<R: Into<String>>(roles: impl IntoIterator<Item = R>) -> Self {
        Self { roles: roles.into_iter().map(Into::into).collect(), ..Self::default() }
    }
    /// The roles as a row has them.
    fn joined(&self) -> Answer<String> {
        let is_odd = |role: &&String| role.is_empty() || role.contains(char::is_whitespace);
        match self.roles.iter().find(is_odd) {
            Some(role) => {
                Err(StoreError(format!("`{role}` is no role: a word without spaces").into()))
            }
            None => Ok(self.roles.join(" ")),
        }
    }
}

/// What an operator does with the users of these tables.
#[async_trait]
pub trait ManagedUsers: Users {
    /// All of them, by their addresses.
    async fn all(&self) -> Result<Vec<Account>, StoreError>;
    /// What stands in the row of a user, without what all have (`role_of_all`).
    async fn rights(&self, id: &str) -> Result<Option<Rights>, StoreError>;
    /// Puts roles, tenant and plan. `false` where there is no such user. Sessions that have begun keep what they had: [end](portcullis_authn::Sessions::end_all) them.
    ///
    /// # Errors
    /// The database cannot answer, or a role has a space in it.
    async fn set_rights(&self, id: &str, rights: &Rights) -> Result<bool, StoreError>;
    /// Says whether a user may log in. `false` where there is no such user. Sessions that have begun go on: [end](portcullis_authn::Sessions::end_all) them.
    async fn set_disabled(&self, id: &str, is_disabled: bool) -> Result<bool, StoreError>;
}

/// The columns of a token: digest, purpose, owner, data, expires.
type TokenRow = (Vec<u8>, String, String, String, i64);

/// A token, if the row is one; one that a newer program has made is none.
fn token(row: TokenRow) -> Option<OneTimeToken> {
    let (digest, purpose, owner, data, expires) = row;
    let (digest, purpose) = (digest.try_into().ok()?, Purpose::from_text(&purpose)?);
    Some(OneTimeToken::new(digest, purpose, owner, data, time(expires)))
}

/// The columns of a key, as the statements have them.
type KeyRow = (
    String,
    Vec<u8>,
    Option<Vec<u8>>,
    Option<i64>,
    Option<String>,
    String,
    String,
    i64,
    Option<i64>,
    Option<i64>,
);

/// A key, if the row is one. One that cannot be read opens nothing.
fn key(row: KeyRow) -> Option<KeyRecord> {
    let (id, digest, previous, until, owner, identity, label, created, expires, used) = row;
    let value = serde_json::from_str(&identity).ok();
    let Some(identity) = value.as_ref().and_then(Identity::from_json) else {
        tracing::warn!("the key {id} is none that this program can read");
        return None;
    };
    let mut key = KeyRecord::new(id, digest.try_into().ok()?, identity, time(created));
    let previous = previous.map(<[u8; 32]>::try_from).transpose().ok()?;
    key.previous = previous.zip(until.map(time));
    key.user = owner.map(Arc::from);
    key.label = label.into();
    (key.expires, key.used) = (expires.map(time), used.map(time));
    Some(key)
}

macro_rules! accounts {
    (
        $stores:ident, $(#[$users_doc:meta])* $users:ident, $(#[$tokens_doc:meta])* $tokens:ident, $(#[$keys_doc:meta])* $keys:ident, $database:ty, $statements:ident
    ) => {
        impl crate::stores::$stores {
            /// The users. Cheap to clone.
            ///
            /// # Errors
            /// The tables are not those that are needed, or the database cannot answer.
            pub async fn users(&self) -> Result<$users, crate::SchemaError> {
                self.check().await?;
                Ok($users { pool: self.pool.clone(), everybody: Arc::default() })
            }
            /// The tokens of mails. Cheap to clone.
            ///
            /// # Errors
            /// The tables are not those that are needed, or the database cannot answer.
            pub async fn tokens(&self) -> Result<$tokens, crate::SchemaError> {
                self.check().await?;
                Ok($tokens { pool: self.pool.clone() })
            }
            /// The API keys. Cheap to clone.
            ///
            /// # Errors
            /// The tables are not those that are needed, or the database cannot answer.
            pub async fn keys(&self) -> Result<$keys, crate::SchemaError> {
                self.check().await?;
                Ok($keys { pool: self.pool.clone() })
            }
        }

        $(#[$users_doc])*
        #[derive(Clone, Debug)]
        pub struct $users {
            pool: sqlx::Pool<$database>,
            everybody: Arc<[Arc<str>]>,
        }

        impl $users {
            /// A role that everybody has who has an account, beside those of their row. Default: none.
            #[must_use]
            pub fn role_of_all(self, role: impl Into<Arc<str>>) -> Self {
                let everybody = self.everybody.iter().cloned().chain([role.into()]).collect();
                Self { everybody, ..self }
            }
        }

        #[async_trait]
        impl ManagedUsers for $users {
            async fn all(&self) -> Answer<Vec<Account>> {
                let rows = sqlx::query_as::<_, UserRow>(sql::$statements::USERS);
                let rows = rows.fetch_all(&self.pool).await.map_err(failed)?;
                rows.into_iter().map(|row| account(row, &self.everybody)).collect()
            }
            async fn rights(&self, id: &str) -> Answer<Option<Rights>> {
                if is_nothing(id) {
                    return Ok(None);
                }
                let row = sqlx::query_as::<_, UserRow>(sql::$statements::USER_BY_ID);
                let row = row.bind(id).fetch_optional(&self.pool).await.map_err(failed)?;
                Ok(row.map(|(_, _, _, _, roles, tenant, plan)| {
                    let roles = roles.split_whitespace().map(str::to_owned).collect();
                    Rights { roles, tenant, plan }
                }))
            }
            async fn set_rights(&self, id: &str, rights: &Rights) -> Answer<bool> {
                if is_nothing(id) {
                    return Ok(false);
                }
                let roles = rights.joined()?;
                let done = retried!(
                    sqlx::query(sql::$statements::SET_ROLES)
                        .bind(&roles)
                        .bind(rights.tenant.as_deref())
                        .bind(rights.plan.as_deref())
                        .bind(id)
                        .execute(&self.pool)
                        .await
                )?;
                Ok(done.rows_affected() == 1)
            }
            async fn set_disabled(&self, id: &str, is_disabled: bool) -> Answer<bool> {
                if is_nothing(id) {
                    return Ok(false);
                }
                let done = retried!(
                    sqlx::query(sql::$statements::SET_DISABLED)
                        .bind(is_disabled)
                        .bind(id)
                        .execute(&self.pool)
                        .await
                )?;
                Ok(done.rows_affected() == 1)
            }
        }

        #[async_trait]
        impl Users for $users {
            async fn by_email(&self, email: &Email) -> Answer<Option<Account>> {
                let row = sqlx::query_as::<_, UserRow>(sql::$statements::USER_BY_EMAIL);
                let row = row.bind(email.spelled()).fetch_optional(&self.pool).await;
                row.map_err(failed)?.map(|row| account(row, &self.everybody)).transpose()
            }
            async fn by_id(&self, id: &str) -> Answer<Option<Account>> {
                if is_nothing(id) {
                    return Ok(None);
                }
                let row = sqlx::query_as::<_, UserRow>(sql::$statements::USER_BY_ID);
                let row = row.bind(id).fetch_optional(&self.pool).await;
                row.map_err(failed)?.map(|row| account(row, &self.everybody)).transpose()
            }
            async fn add(&self, email: &Email, password: &str) -> Answer<Option<Account>> {
                let (id, now) = (Account::generate_id(), portcullis_core::Clock::system().wall());
                let added = retried!(
                    sqlx::query(sql::$statements::ADD_USER)
                        .bind(&id)
                        .bind(email.as_str())
                        .bind(email.spelled())
                        .bind(password)
                        .bind(false)
                        .bind("")
                        .bind(micros(now))
                        .execute(&self.pool)
                        .await
                        .map(|_| true)
                        .or_else(|error| if is_doubled(&error) { Ok(false) } else { Err(error) })
                )?;
                let identity = Identity::builder(ISSUER, id).roles(self.everybody.iter().cloned());
                let identity = identity.build();
                Ok(added.then(|| Account::new(identity, email.clone()).password(password)))
            }
            async fn set_password(&self, id: &str, before: Option<&str>, password: &str) -> Answer<bool> {
                if is_nothing(id) || before.is_some_and(is_nothing) {
                    return Ok(false);
                }
                let done = match before {
                    Some(before) => retried!(
                        sqlx::query(sql::$statements::SET_PASSWORD)
                            .bind(password)
                            .bind(id)
                            .bind(before)
                            .execute(&self.pool)
                            .await
                    ),
                    None => retried!(
                        sqlx::query(sql::$statements::SET_FIRST_PASSWORD)
                            .bind(password)
                            .bind(id)
                            .execute(&self.pool)
                            .await
                    ),
                }?;
                Ok(done.rows_affected() == 1)
            }
            async fn set_email(&self, id: &str, email: &Email) -> Answer<bool> {
                if is_nothing(id) {
                    return Ok(false);
                }
                retried!(
                    sqlx::query(sql::$statements::SET_EMAIL)
                        .bind(email.as_str())
                        .bind(email.spelled())
                        .bind(id)
                        .execute(&self.pool)
                        .await
                        .map(|done| done.rows_affected() == 1)
                        .or_else(|error| if is_doubled(&error) { Ok(false) } else { Err(error) })
                )
            }
        }

        $(#[$tokens_doc])*
        #[derive(Clone, Debug)]
        pub struct $tokens {
            pool: sqlx::Pool<$database>,
        }

        #[async_trait]
        impl OneTimeTokens for $tokens {
            async fn put(&self, token: OneTimeToken) -> Answer<()> {
                retried!(
                    sqlx::query(sql::$statements::PUT_TOKEN)
                        .bind(&token.digest[..])
                        .bind(token.purpose.as_str())
                        .bind(&*token.owner)
                        .bind(owner_digest(&token.owner))
                        .bind(&*token.data)
                        .bind(micros(token.expires))
                        .execute(&self.pool)
                        .await
                )?;
                Ok(())
            }
            async fn look(&self, digest: &[u8; 32], now: SystemTime) -> Answer<Option<OneTimeToken>> {
                let row = sqlx::query_as::<_, TokenRow>(sql::$statements::LOOK_TOKEN);
                let row = row.bind(&digest[..]).bind(micros(now)).fetch_optional(&self.pool).await;
                Ok(row.map_err(failed)?.and_then(token))
            }
            async fn take(&self, digest: &[u8; 32], now: SystemTime) -> Answer<bool> {
                let done = retried!(
                    sqlx::query(sql::$statements::TAKE_TOKEN)
                        .bind(&digest[..])
                        .bind(micros(now))
                        .execute(&self.pool)
                        .await
                )?;
                Ok(done.rows_affected() == 1)
            }
            async fn forget(&self, owner: &str) -> Answer<()> {
                retried!(
                    sqlx::query(sql::$statements::FORGET_TOKENS)
                        .bind(owner_digest(owner))
                        .execute(&self.pool)
                        .await
                )?;
                Ok(())
            }
            async fn sweep(&self, now: SystemTime) -> Answer<u64> {
                let done = retried!(
                    sqlx::query(sql::$statements::SWEEP_TOKENS)
                        .bind(micros(now))
                        .execute(&self.pool)
                        .await
                )?;
                Ok(done.rows_affected())
            }
        }

        $(#[$keys_doc])*
        #[derive(Clone, Debug)]
        pub struct $keys {
            pool: sqlx::Pool<$database>,
        }

        #[async_trait]
        impl KeyStore for $keys {
            async fn find(&self, digest: &[u8; 32]) -> Answer<Option<KeyRecord>> {
                let row = sqlx::query_as::<_, KeyRow>(sql::$statements::KEY_BY_DIGEST);
                let row = row.bind(&digest[..]).bind(&digest[..]).fetch_optional(&self.pool).await;
                Ok(row.map_err(failed)?.and_then(key))
            }
            async fn add(&self, key: KeyRecord) -> Answer<bool> {
                if is_nothing(&key.id) || key.user.as_deref().is_some_and(is_nothing) {
                    return Err(StoreError("the id of a key is none".into()));
                }
                let identity = key.identity.to_json().to_string();
                retried!(
                    sqlx::query(sql::$statements::ADD_KEY)
                        .bind(&*key.id)
                        .bind(&key.digest[..])
                        .bind(key.user.as_deref())
                        .bind(&identity)
                        .bind(&*key.label)
                        .bind(micros(key.created))
                        .bind(key.expires.map(micros))
                        .execute(&self.pool)
                        .await
                        .map(|_| true)
                        .or_else(|error| if is_doubled(&error) { Ok(false) } else { Err(error) })
                )
            }
            async fn by_id(&self, id: &str) -> Answer<Option<KeyRecord>> {
                if is_nothing(id) {
                    return Ok(None);
                }
                let row = sqlx::query_as::<_, KeyRow>(sql::$statements::KEY_BY_ID);
                let row = row.bind(id).fetch_optional(&self.pool).await;
                Ok(row.map_err(failed)?.and_then(key))
            }
            async fn list(&self, user: Option<&str>) -> Answer<Vec<KeyRecord>> {
                if user.is_some_and(is_nothing) {
                    return Ok(Vec::new());
                }
                let rows = match user {
                    Some(user) => {
                        let rows = sqlx::query_as::<_, KeyRow>(sql::$statements::KEYS_OF);
                        rows.bind(user).fetch_all(&self.pool).await
                    }
                    None => {
                        let rows = sqlx::query_as::<_, KeyRow>(sql::$statements::KEYS);
                        rows.fetch_all(&self.pool).await
                    }
                };
                Ok(rows.map_err(failed)?.into_iter().filter_map(key).collect())
            }
            async fn rotate(
                &self,
                id: &str,
                before: &[u8; 32],
                after: &[u8; 32],
                until: SystemTime,
            ) -> Answer<bool> {
                if is_nothing(id) {
                    return Ok(false);
                }
                let done = retried!(
                    sqlx::query(sql::$statements::ROTATE_KEY)
                        .bind(&after[..])
                        .bind(&before[..])
                        .bind(micros(until))
                        .bind(id)
                        .bind(&before[..])
                        .execute(&self.pool)
                        .await
                )?;
                Ok(done.rows_affected() == 1)
            }
            async fn end(&self, id: &str) -> Answer<bool> {
                if is_nothing(id) {
                    return Ok(false);
                }
                let done = retried!(
                    sqlx::query(sql::$statements::END_KEY).bind(id).execute(&self.pool).await
                )?;
                Ok(done.rows_affected() == 1)
            }
            async fn mark(&self, id: &str, now: SystemTime) -> Answer<()> {
                if is_nothing(id) {
                    return Ok(());
                }
                retried!(
                    sqlx::query(sql::$statements::MARK_KEY)
                        .bind(micros(now))
                        .bind(id)
                        .execute(&self.pool)
                        .await
                )?;
                Ok(())
            }
        }
    };
}

#[cfg(feature = "postgres")]
accounts!(
    PgStores,
    /// Users on PostgreSQL.
    PgUsers,
    /// Tokens of mails on PostgreSQL.
    PgTokens,
    /// API keys on PostgreSQL.
    PgKeys,
    sqlx::Postgres,
    dollar
);

#[cfg(feature = "sqlite")]
accounts!(
    SqliteStores,
    /// Users on SQLite.
    SqliteUsers,
    /// Tokens of mails on SQLite.
    SqliteTokens,
    /// API keys on SQLite.
    SqliteKeys,
    sqlx::Sqlite,
    dollar
);

#[cfg(feature = "mysql")]
accounts!(
    MySqlStores,
    /// Users on `MySQL` and MariaDB.
    MySqlUsers,
    /// Tokens of mails on `MySQL` and MariaDB.
    MySqlTokens,
    /// API keys on `MySQL` and MariaDB.
    MySqlKeys,
    sqlx::MySql,
    question
);
