//! Stores that the file names. They are opened when the gateway starts, on the runtime that all workers share, and are asked there.
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use portcullis_authn::{
    Account, Email, KeyRecord, KeyStore, OneTimeTokens, SessionDigest, SessionRecord, SessionStore,
    StoreError, Touch, Users,
};
use portcullis_authz::{
    DecisionRecord, DecisionSink, RoleEdit, RoleModel, RoleStore, RoleStoreError,
};
use portcullis_core::{BoxError, Secret};
use portcullis_ratelimit::{QuotaStore, QuotaStoreError, Take, Taken};
use portcullis_redis::{RedisCache, RedisQuotas, RedisSessions, RedisTokens};
use portcullis_sqlx::{ManagedUsers, MySqlStores, PgStores, SchemaError, SqliteStores};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{ConnectOptions, Connection};
use tokio::runtime::Handle;
use tokio::time::timeout;

/// How long a request waits for a connection.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a store may take to open before it is tried again.
const PATIENCE_AT_START: Duration = Duration::from_secs(5);
/// How long is waited before an open is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// A store that the file names: where it is. Nothing is open yet.
#[derive(Clone)]
pub struct Store {
    name: String,
    place: Place,
}

#[derive(Clone)]
enum Place {
    Postgres(PgConnectOptions),
    MySql(MySqlConnectOptions),
    Sqlite(Box<SqliteConnectOptions>),
    Redis { url: Secret<String>, prefix: String },
}

/// The stores of a database that is open.
#[derive(Clone)]
#[non_exhaustive]
pub struct OpenStore {
    /// The users; `None` in Redis, which has none.
    pub users: Option<Arc<dyn ManagedUsers>>,
    /// The API keys; `None` in Redis, which has none.
    pub keys: Option<Arc<dyn KeyStore>>,
    /// The tokens of mails.
    pub tokens: Arc<dyn OneTimeTokens>,
    /// The sessions.
    pub sessions: Arc<dyn SessionStore>,
    /// The roles; `None` in Redis, which has none.
    pub roles: Option<Arc<dyn RoleStore>>,
    /// Where decisions are written; `None` in Redis, which has no place for them.
    pub decisions: Option<Arc<dyn DecisionSink>>,
    /// Where limits are counted together.
    pub quotas: Arc<dyn QuotaStore>,
}

/// The same for each database.
macro_rules! open {
    ($stores:expr) => {{
        let stores = $stores;
        Ok(OpenStore {
            users: Some(Arc::new(stores.users().await?)),
            keys: Some(Arc::new(stores.keys().await?)),
            tokens: Arc::new(stores.tokens().await?),
            sessions: Arc::new(stores.sessions().await?),
            roles: Some(Arc::new(stores.roles().await?)),
            decisions: Some(Arc::new(stores.decisions().await?)),
            quotas: Arc::new(stores.quotas().await?),
        })
    }};
}

impl Store {
    /// A database by its address.
    pub(crate) fn sql(name: &str, url: &str) -> Result<Self, String> {
        // What is wrong with an address may have its password in it: it is not told.
        let wrong =
            |kind: &str, example: &str| format!("it is no address of {kind}: write `{example}`");
        let scheme = url.split(':').next().unwrap_or_default();
        let place = match scheme {
            "postgres" | "postgresql" => url
                .parse()
                .map(Place::Postgres)
                .map_err(|_| wrong("PostgreSQL", "postgres://user:password@host/database"))?,
            "mysql" | "mariadb" => url
                .parse()
                .map(Place::MySql)
                .map_err(|_| wrong("MySQL", "mysql://user:password@host/database"))?,
            "sqlite" => url
                .parse()
                .map(|options| Place::Sqlite(Box::new(options)))
                .map_err(|_| wrong("SQLite", "sqlite://portcullis.db"))?,
            _ => {
                return Err("it is no address of a database: write `postgres://user:password@host/database`, `mysql://..` or `sqlite://portcullis.db`".to_owned());
            }
        };
        Ok(Self { name: name.to_owned(), place })
    }
    pub(crate) fn redis(name: &str, url: &str, prefix: &str) -> Result<Self, String> {
        let is_one = ["redis://", "rediss://", "redis+unix://", "unix://"];
        if !is_one.iter().any(|scheme| url.starts_with(scheme)) {
            return Err("it is no address of Redis: write `redis://127.0.0.1:6379`".to_owned());
        }
        if prefix.is_empty() {
            return Err("the names of keys have no prefix".to_owned());
        }
        let place = Place::Redis { url: url.into(), prefix: prefix.to_owned() };
        Ok(Self { name: name.to_owned(), place })
    }
    /// What the file calls it.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// Whether it has tables, and users, keys and tokens in them.
    pub fn has_tables(&self) -> bool {
        !matches!(self.place, Place::Redis { .. })
    }
    /// Where answers are kept in it, apart from those of other rules: by `space`. It connects when it is asked, on the runtime inside of which
    /// this is called.
    pub(crate) fn cache(&self, space: &str) -> Result<RedisCache, BoxError> {
        let Place::Redis { url, prefix } = &self.place else {
            return Err(format!("store `{}` keeps no answers", self.name).into());
        };
        Ok(RedisCache::open(url.expose(), &format!("{prefix}:{space}"))?)
    }
    /// The tables as text; `None` where there are none.
    pub fn schema(&self) -> Option<&'static str> {
        match &self.place {
            Place::Postgres(_) => Some(PgStores::SCHEMA),
            Place::MySql(_) => Some(MySqlStores::SCHEMA),
            Place::Sqlite(_) => Some(SqliteStores::SCHEMA),
            Place::Redis { .. } => None,
        }
    }
    /// Makes the tables, where there are to be any, and the file of SQLite.
    ///
    /// # Errors
    /// The database cannot answer, or has tables of a newer program.
    pub async fn migrate(&self) -> Result<(), SchemaError> {
        match &self.place {
            Place::Postgres(options) => {
                let pool = PgPoolOptions::new().connect_with(options.clone()).await?;
                PgStores::from_pool(pool).migrate().await
            }
            Place::MySql(options) => {
                let pool = MySqlPoolOptions::new().connect_with(options.clone()).await?;
                MySqlStores::from_pool(pool).migrate().await
            }
            Place::Sqlite(options) => {
                let options = options.as_ref().clone().create_if_missing(true);
                let pool = SqlitePoolOptions::new().connect_with(options).await?;
                SqliteStores::from_pool(pool).migrate().await
            }
            Place::Redis { .. } => Ok(()),
        }
    }
    /// Opens it.
    ///
    /// # Errors
    /// It cannot answer, or has other tables than are needed: a [`SchemaError`].
    pub async fn open(&self) -> Result<OpenStore, BoxError> {
        match &self.place {
            Place::Postgres(options) => {
                close(options.connect().await?).await;
                let pool = PgPoolOptions::new().acquire_timeout(PATIENCE);
                open!(PgStores::from_pool(pool.connect_lazy_with(options.clone())))
            }
            Place::MySql(options) => {
                close(options.connect().await?).await;
                let pool = MySqlPoolOptions::new().acquire_timeout(PATIENCE);
                open!(MySqlStores::from_pool(pool.connect_lazy_with(options.clone())))
            }
            Place::Sqlite(options) => {
                close(options.connect().await?).await;
                let pool = SqlitePoolOptions::new().acquire_timeout(PATIENCE);
                open!(SqliteStores::from_pool(pool.connect_lazy_with(options.as_ref().clone())))
            }
            Place::Redis { url, prefix } => {
                let sessions = RedisSessions::connect(url.expose(), prefix).await?;
                let tokens = Arc::new(RedisTokens::beside(&sessions));
                let sessions = Arc::new(sessions);
                let quotas = Arc::new(RedisQuotas::connect(url.expose(), prefix).await?);
                Ok(OpenStore {
                    users: None,
                    keys: None,
                    tokens,
                    sessions,
                    roles: None,
                    decisions: None,
                    quotas,
                })
            }
        }
    }
}

/// A pool does not say why it cannot connect; one connection does, and has done its work then.
async fn close(connection: impl Connection) {
    // Whether it takes leave or not, it is gone.
    drop(connection.close().await);
}

/// Without its address, which may have a password in it.
impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for OpenStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenStore").field("users", &self.users).finish_non_exhaustive()
    }
}

/// A store that is opened later, and asked on the runtime on which it was opened. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Later {
    store: Store,
    open: Arc<OnceLock<(Handle, OpenStore)>>,
}

impl Later {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, open: Arc::default() }
    }
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }
    /// Opens it, however long that takes.
    pub(crate) async fn start(&self) {
        let name = &self.store.name;
        let open = loop {
            match timeout(PATIENCE_AT_START, self.store.open()).await {
                Ok(Ok(open)) => break open,
                Ok(Err(error)) => tracing::warn!("store `{name}` is not open: {error}"),
                Err(_) => tracing::warn!("store `{name}` is not open: it does not answer"),
            }
            tokio::time::sleep(PAUSE).await;
        };
        drop(self.open.set((Handle::current(), open)));
    }
    fn opened(&self) -> Answer<&(Handle, OpenStore)> {
        let not_yet = || StoreError(format!("store `{}` is not open yet", self.store.name).into());
        self.open.get().ok_or_else(not_yet)
    }
}

/// Asks one of its stores, on its runtime.
macro_rules! ask {
    ($self:ident.$field:ident, $store:ident, $work:expr) => {{
        let (runtime, $store) = $self.$field()?;
        let asked = runtime.spawn(async move { $work.await });
        asked.await.unwrap_or_else(|error| Err(StoreError(error.into())))
    }};
}

fn none(what: &str) -> StoreError {
    StoreError(format!("the store has no {what}").into())
}

impl Later {
    fn sessions(&self) -> Answer<(&Handle, Arc<dyn SessionStore>)> {
        let (runtime, open) = self.opened()?;
        Ok((runtime, Arc::clone(&open.sessions)))
    }
    fn keys(&self) -> Answer<(&Handle, Arc<dyn KeyStore>)> {
        let (runtime, open) = self.opened()?;
        Ok((runtime, open.keys.clone().ok_or_else(|| none("keys"))?))
    }
    fn users(&self) -> Answer<(&Handle, Arc<dyn ManagedUsers>)> {
        let (runtime, open) = self.opened()?;
        Ok((runtime, open.users.clone().ok_or_else(|| none("users"))?))
    }
}

type Answer<T> = Result<T, StoreError>;

#[async_trait]
impl SessionStore for Later {
    async fn open(&self, id: &SessionDigest, touch: Touch) -> Answer<Option<SessionRecord>> {
        let id = *id;
        ask!(self.sessions, store, store.open(&id, touch))
    }
    async fn create(&self, record: SessionRecord) -> Answer<()> {
        ask!(self.sessions, store, store.create(record))
    }
    async fn replace(
        &self,
        id: &SessionDigest,
        record: SessionRecord,
        keeps_data: bool,
    ) -> Answer<bool> {
        let id = *id;
        ask!(self.sessions, store, store.replace(&id, record, keeps_data))
    }
    async fn write(&self, id: &SessionDigest, version: u64, data: &str) -> Answer<bool> {
        let (id, data) = (*id, data.to_owned());
        ask!(self.sessions, store, store.write(&id, version, &data))
    }
    async fn end(&self, id: &SessionDigest) -> Answer<bool> {
        let id = *id;
        ask!(self.sessions, store, store.end(&id))
    }
    async fn list(&self, owner: &str) -> Answer<Vec<SessionRecord>> {
        let owner = owner.to_owned();
        ask!(self.sessions, store, store.list(&owner))
    }
    async fn end_all(
        &self,
        owner: &str,
        but: Option<&SessionDigest>,
    ) -> Answer<Vec<SessionDigest>> {
        let (owner, but) = (owner.to_owned(), but.copied());
        ask!(self.sessions, store, store.end_all(&owner, but.as_ref()))
    }
    async fn missing(&self, ids: &[SessionDigest]) -> Answer<Vec<SessionDigest>> {
        let ids = ids.to_vec();
        ask!(self.sessions, store, store.missing(&ids))
    }
    async fn sweep(&self, now: SystemTime, unused_since: SystemTime) -> Answer<u64> {
        ask!(self.sessions, store, store.sweep(now, unused_since))
    }
}

#[async_trait]
impl KeyStore for Later {
    async fn find(&self, digest: &[u8; 32]) -> Answer<Option<KeyRecord>> {
        let digest = *digest;
        ask!(self.keys, store, store.find(&digest))
    }
    async fn add(&self, key: KeyRecord) -> Answer<bool> {
        ask!(self.keys, store, store.add(key))
    }
    async fn by_id(&self, id: &str) -> Answer<Option<KeyRecord>> {
        let id = id.to_owned();
        ask!(self.keys, store, store.by_id(&id))
    }
    async fn list(&self, user: Option<&str>) -> Answer<Vec<KeyRecord>> {
        let user = user.map(str::to_owned);
        ask!(self.keys, store, store.list(user.as_deref()))
    }
    async fn rotate(
        &self,
        id: &str,
        before: &[u8; 32],
        after: &[u8; 32],
        until: SystemTime,
    ) -> Answer<bool> {
        let (id, before, after) = (id.to_owned(), *before, *after);
        ask!(self.keys, store, store.rotate(&id, &before, &after, until))
    }
    async fn end(&self, id: &str) -> Answer<bool> {
        let id = id.to_owned();
        ask!(self.keys, store, store.end(&id))
    }
    async fn mark(&self, id: &str, now: SystemTime) -> Answer<()> {
        let id = id.to_owned();
        ask!(self.keys, store, store.mark(&id, now))
    }
}

#[async_trait]
impl Users for Later {
    async fn by_email(&self, email: &Email) -> Answer<Option<Account>> {
        let email = email.clone();
        ask!(self.users, store, store.by_email(&email))
    }
    async fn by_id(&self, id: &str) -> Answer<Option<Account>> {
        let id = id.to_owned();
        ask!(self.users, store, store.by_id(&id))
    }
    async fn add(&self, email: &Email, password: &str) -> Answer<Option<Account>> {
        let (email, password) = (email.clone(), password.to_owned());
        ask!(self.users, store, store.add(&email, &password))
    }
    async fn set_password(&self, id: &str, before: Option<&str>, password: &str) -> Answer<bool> {
        let (id, before, password) =
            (id.to_owned(), before.map(str::to_owned), password.to_owned());
        ask!(self.users, store, store.set_password(&id, before.as_deref(), &password))
    }
    async fn set_email(&self, id: &str, email: &Email) -> Answer<bool> {
        let (id, email) = (id.to_owned(), email.clone());
        ask!(self.users, store, store.set_email(&id, &email))
    }
}

/// A question that nobody asks any longer when this is gone.
pub(crate) struct Asked<T>(tokio::task::JoinHandle<T>);

impl<T> Asked<T> {
    pub(crate) fn new(asked: tokio::task::JoinHandle<T>) -> Self {
        Self(asked)
    }
    pub(crate) async fn answer(mut self) -> Result<T, tokio::task::JoinError> {
        (&mut self.0).await
    }
}

impl<T> Drop for Asked<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A question about roles, on the runtime of the store.
macro_rules! ask_roles {
    ($self:ident, $store:ident, $work:expr) => {{
        let unavailable = |error: BoxError| RoleStoreError::Unavailable(error);
        let (runtime, open) = $self.opened().map_err(|error| unavailable(error.into()))?;
        let no_roles = || unavailable("the store has no roles".into());
        let $store = open.roles.clone().ok_or_else(no_roles)?;
        let asked = Asked(runtime.spawn(async move { $work.await }));
        asked.answer().await.unwrap_or_else(|error| Err(unavailable(error.into())))
    }};
}

#[async_trait]
impl RoleStore for Later {
    async fn version(&self) -> Result<u64, RoleStoreError> {
        ask_roles!(self, store, store.version())
    }
    async fn load(&self) -> Result<(u64, RoleModel), RoleStoreError> {
        ask_roles!(self, store, store.load())
    }
    async fn change(&self, base: &RoleModel, edits: &[RoleEdit]) -> Result<u64, RoleStoreError> {
        let (base, edits) = (base.clone(), edits.to_vec());
        ask_roles!(self, store, store.change(&base, &edits))
    }
    async fn changed(&self) {
        let Some((_, open)) = self.open.get() else {
            // Whoever follows asks as soon as there is somebody to ask.
            while self.open.get().is_none() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            return;
        };
        match &open.roles {
            Some(roles) => roles.changed().await,
            None => std::future::pending().await,
        }
    }
}

/// A question about quotas, on the runtime of the store.
macro_rules! ask_quotas {
    ($self:ident, $store:ident, $work:expr) => {{
        let unavailable = |error: BoxError| QuotaStoreError(error);
        let (runtime, open) = $self.opened().map_err(|error| unavailable(error.into()))?;
        let $store = Arc::clone(&open.quotas);
        let asked = Asked(runtime.spawn(async move { $work.await }));
        asked.answer().await.unwrap_or_else(|error| Err(unavailable(error.into())))
    }};
}

#[async_trait]
impl QuotaStore for Later {
    async fn take(&self, takes: &[Take]) -> Result<Vec<Taken>, QuotaStoreError> {
        let takes = takes.to_vec();
        ask_quotas!(self, store, store.take(&takes))
    }
    async fn settle(&self, take: &Take, units: i64) -> Result<(), QuotaStoreError> {
        let take = take.clone();
        ask_quotas!(self, store, store.settle(&take, units))
    }
}

/// Where decisions are written once the store is open. What is decided before is not written.
#[derive(Clone, Debug)]
pub(crate) struct DecisionsLater(Later);

impl DecisionsLater {
    pub(crate) fn new(store: Later) -> Self {
        Self(store)
    }
}

impl DecisionSink for DecisionsLater {
    fn write(&self, record: DecisionRecord) {
        if let Ok((_, open)) = self.0.opened()
            && let Some(decisions) = &open.decisions
        {
            decisions.write(record);
        }
    }
}
