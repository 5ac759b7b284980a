//! Roles that a store keeps for several replicas.
use std::fmt;
use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use portcullis_core::{BoxError, Clock};
use tokio::runtime::Handle;
use tokio::sync::Mutex;

use crate::live::LiveRoles;
use crate::roles::{RoleEdit, RoleError, RoleModel, Roles};

/// Why a store of roles has not done something.
#[derive(Debug)]
#[non_exhaustive]
pub enum RoleStoreError {
    /// The change would break something. Nothing has changed.
    Refused(RoleError),
    /// The store cannot answer. Whether a change was made is not known.
    Unavailable(BoxError),
}

impl fmt::Display for RoleStoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => error.fmt(f),
            Self::Unavailable(error) => write!(f, "the store of roles cannot answer: {error}"),
        }
    }
}

impl std::error::Error for RoleStoreError {}

impl From<RoleError> for RoleStoreError {
    fn from(error: RoleError) -> Self {
        Self::Refused(error)
    }
}

/// Keeps roles for several replicas. `role_store_contract` of `portcullis-testkit` holds one to what it must do.
#[async_trait]
pub trait RoleStore: Send + Sync + 'static {
    /// A number that is another one after every change.
    async fn version(&self) -> Result<u64, RoleStoreError>;
    /// All that it keeps, and the number that goes with it.
    async fn load(&self) -> Result<(u64, RoleModel), RoleStoreError>;
    /// Makes changes, all of them or none, and hands out the number that is now. What would break something together with `base`, or with what
    /// somebody else changes at the same moment, is refused ([`RoleModel::apply_above`]).
    async fn change(&self, base: &RoleModel, edits: &[RoleEdit]) -> Result<u64, RoleStoreError>;
    /// Returns when somebody may have changed something: as soon as the store hears of it, or never, where it hears nothing. It may return
    /// too often.
    async fn changed(&self) {
        pending::<()>().await;
    }
}

/// Tells replicas that roles have changed, where the store itself cannot: `RedisNews` of `portcullis-redis` is one.
#[async_trait]
pub trait RoleNews: Send + Sync + 'static {
    /// Tells everybody. Where it cannot, they find out by asking.
    async fn tell(&self);
    /// Returns when it was told that something has changed, or may have been while nobody listened.
    async fn heard(&self);
}

/// A store that tells of its changes by something else.
pub struct Announced<S, N>(S, N);

impl<S: RoleStore, N: RoleNews> Announced<S, N> {
    /// This store, with news by that.
    pub fn new(store: S, news: N) -> Self {
        Self(store, news)
    }
}

impl<S, N> fmt::Debug for Announced<S, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Announced").finish_non_exhaustive()
    }
}

#[async_trait]
impl<S: RoleStore, N: RoleNews> RoleStore for Announced<S, N> {
    async fn version(&self) -> Result<u64, RoleStoreError> {
        self.0.version().await
    }
    async fn load(&self) -> Result<(u64, RoleModel), RoleStoreError> {
        self.0.load().await
    }
    async fn change(&self, base: &RoleModel, edits: &[RoleEdit]) -> Result<u64, RoleStoreError> {
        let version = self.0.change(base, edits).await?;
        self.1.tell().await;
        Ok(version)
    }
    async fn changed(&self) {
        tokio::select! {
            () = self.0.changed() => {}
            () = self.1.heard() => {}
        }
    }
}

/// Roles that a store keeps for several replicas, followed by this one.
///
/// A change that is made here counts here at once, and at every other replica as soon as it hears of it: by the store's own news (PostgreSQL), by
/// those of Redis ([`Announced`]), or when it next asks, which it does every second ([`asking_every`](Self::asking_every)).
///
/// A store that cannot answer leaves the roles as they were. When that has lasted [30 seconds](Self::trusted_for), nothing is decided by them
/// any longer: 503 `authorization-unavailable`, until it answers again.
#[derive(Clone)]
pub struct StoredRoles(Arc<Inner>);

struct Inner {
    store: Arc<dyn RoleStore>,
    base: RoleModel,
    live: LiveRoles,
    version: AtomicU64,
    /// What the store kept when it was last asked; `None` before it was.
    stored: std::sync::Mutex<Option<RoleModel>>,
    /// One look or change at a time, so that an older answer never takes the place of a newer one.
    one: Mutex<()>,
    every: Duration,
    trusted: Duration,
    clock: Clock,
    /// When it was last known what the store keeps; `None` before the first look.
    known_at: std::sync::Mutex<Option<Instant>>,
    /// The store was away: what it keeps may be older than what is known, whatever its number says.
    is_doubtful: AtomicBool,
}

impl StoredRoles {
    /// Asks the store for the first time. `base` are the roles that the program knows by itself: what the store keeps comes to that.
    ///
    /// # Errors
    /// The store cannot answer, or what it keeps does not fit with `base`.
    pub async fn open(base: Roles, store: impl RoleStore) -> Result<Self, RoleStoreError> {
        let (version, stored) = store.load().await?;
        let live = LiveRoles::new(Roles::kept(base.model().with(&stored))?);
        Ok(Self::of(base.model().clone(), Arc::new(store), live, Some(stored), version))
    }
    /// The same without asking the store: nothing is decided by these roles (503) until it has been asked, which [`start`](Self::start) sees to.
    pub fn later(base: Roles, store: impl RoleStore) -> Self {
        let model = base.model().clone();
        let live = LiveRoles::new(base);
        live.set_stale(true);
        Self::of(model, Arc::new(store), live, None, 0)
    }
    /// The same store with other roles that the program knows by itself, and with what is known of the store so far. [Start](Self::start) it too.
    ///
    /// # Errors
    /// What the store keeps does not fit with `base`.
    pub fn with_base(&self, base: &Roles) -> Result<Self, RoleError> {
        let stored = lock(&self.0.stored).clone();
        let known = stored.clone().unwrap_or_default();
        let live = LiveRoles::new(Roles::kept(base.model().with(&known))?);
        live.set_stale(self.0.live.is_stale());
        let version = self.0.version.load(Ordering::Relaxed);
        let (model, store) = (base.model().clone(), Arc::clone(&self.0.store));
        let after = Self::of(model, store, live, stored, version);
        let after = after.asking_every(self.0.every).trusted_for(self.0.trusted);
        let after = after.clock(self.0.clock.clone());
        // What has not been known for long is not known for longer by it.
        *lock(&after.0.known_at) = *lock(&self.0.known_at);
        after.0.is_doubtful.store(self.0.is_doubtful.load(Ordering::Relaxed), Ordering::Relaxed);
        Ok(after)
    }
    fn of(
        base: RoleModel,
        store: Arc<dyn RoleStore>,
        live: LiveRoles,
        stored: Option<RoleModel>,
        version: u64,
    ) -> Self {
        Self(Arc::new(Inner {
            store,
            base,
            live,
            version: AtomicU64::new(version),
            stored: std::sync::Mutex::new(stored),
            one: Mutex::default(),
            every: Duration::from_secs(1),
            trusted: Duration::from_secs(30),
            clock: Clock::system(),
            known_at: std::sync::Mutex::default(),
            is_doubtful: AtomicBool::new(false),
        }))
    }
    /// How often the store is asked whether something has changed. Default: every second. Longer than five means that a replica that hears no news is late.
    ///
    /// # Panics
    /// It has been cloned or started before.
    #[must_use]
    pub fn asking_every(self, every: Duration) -> Self {
        self.with(|inner| inner.every = every)
    }
    /// How long roles count while the store cannot answer. Default: 30 seconds.
    ///
    /// # Panics
    /// It has been cloned or started before.
    #[must_use]
    pub fn trusted_for(self, trusted: Duration) -> Self {
        self.with(|inner| inner.trusted = trusted)
    }
    /// Whose time it goes by. Default: the machine's.
    ///
    /// # Panics
    /// It has been cloned or started before.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        self.with(|inner| inner.clock = clock)
    }
    fn with(mut self, edit: impl FnOnce(&mut Inner)) -> Self {
        edit(Arc::get_mut(&mut self.0).expect("it is set up before it is cloned or started"));
        self
    }
    /// The roles, for the layer that decides by them.
    pub fn live(&self) -> &LiveRoles {
        &self.0.live
    }
    /// Whether the store has been asked, and not for too long could not be.
    pub fn is_known(&self) -> bool {
        !self.0.live.is_stale()
    }
    /// The roles as they are now.
    pub fn current(&self) -> Roles {
        self.0.live.current()
    }
    /// Changes what the store keeps, all of it or nothing. It counts here when this returns.
    ///
    /// # Errors
    /// A change is refused, or the store cannot answer.
    ///
    /// # Cancellation
    /// What was sent to the store may be done. Dropped before, nothing is.
    pub async fn change(&self, edits: &[RoleEdit]) -> Result<(), RoleStoreError> {
        self.0.store.change(&self.0.base, edits).await?;
        self.refresh().await
    }
    /// Asks the store now.
    ///
    /// # Errors
    /// It cannot answer; then the roles stay as they are. Or what it keeps does not fit together.
    pub async fn refresh(&self) -> Result<(), RoleStoreError> {
        let _one = self.0.one.lock().await;
        let (version, stored) = self.0.store.load().await?;
        self.0.live.replace(Roles::kept(self.0.base.with(&stored))?);
        *lock(&self.0.stored) = Some(stored);
        self.0.version.store(version, Ordering::Relaxed);
        self.0.is_doubtful.store(false, Ordering::Relaxed);
        self.0.live.set_stale(false);
        Ok(())
    }
    async fn look(&self) -> Result<(), RoleStoreError> {
        let version = self.0.store.version().await?;
        let is_known = lock(&self.0.stored).is_some();
        let is_doubtful = self.0.is_doubtful.load(Ordering::Relaxed);
        if !is_known || is_doubtful || version != self.0.version.load(Ordering::Relaxed) {
            return self.refresh().await;
        }
        self.0.live.set_stale(false);
        Ok(())
    }
    /// Begins to follow the store on `runtime`, for as long as somebody has these roles.
    pub fn start(&self, runtime: &Handle) {
        let weak = Arc::downgrade(&self.0);
        let (store, clock, every) = (Arc::clone(&self.0.store), self.0.clock.clone(), self.0.every);
        lock(&self.0.known_at).get_or_insert_with(|| clock.now());
        runtime.spawn(async move {
            let (mut told, mut failed, mut asked, mut looks) = (String::new(), 0_u32, false, 0_u64);
            loop {
                if asked {
                    tokio::select! {
                        () = store.changed() => {}
                        () = tokio::time::sleep(every) => {}
                    }
                }
                asked = true;
                let Some(inner) = weak.upgrade() else { return };
                let roles = Self(inner);
                looks += 1;
                if looks.is_multiple_of(EVERYTHING) {
                    roles.0.is_doubtful.store(true, Ordering::Relaxed);
                }
                // A store that hangs has not answered.
                let looked = tokio::time::timeout(LONGEST, roles.look()).await;
                let error = match looked {
                    Ok(Ok(())) => {
                        *lock(&roles.0.known_at) = Some(clock.now());
                        if !told.is_empty() {
                            tracing::info!("roles are followed again");
                            told.clear();
                        }
                        failed = 0;
                        // News may come faster than anybody need look.
                        tokio::time::sleep(every.min(PAUSE)).await;
                        continue;
                    }
                    Ok(Err(error)) => error.to_string(),
                    Err(_) => format!("the store of roles has not answered within {LONGEST:?}"),
                };
                roles.0.is_doubtful.store(true, Ordering::Relaxed);
                failed = failed.saturating_add(1);
                // The first one may be that of a store which is about to open.
                if failed > 1 && told != error {
                    tracing::warn!("roles are not followed: {error}");
                    told.clone_from(&error);
                }
                let known_at = lock(&roles.0.known_at).unwrap_or_else(|| clock.now());
                let since = clock.now().saturating_duration_since(known_at);
                if since >= roles.0.trusted && !roles.0.live.is_stale() {
                    tracing::error!("nothing is decided by roles any longer: {error}");
                    roles.0.live.set_stale(true);
                }
                // News of a store that is gone may come at once, again and again.
                tokio::time::sleep(every.min(Duration::from_millis(100))).await;
            }
        });
    }
}

fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// After so many looks everything is read again, whatever the number says: a store that was restored may have the same one for something else.
const EVERYTHING: u64 = 60;
/// How long is waited at least between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// How long a look at the store may take.
const LONGEST: Duration = Duration::from_secs(10);

impl From<&StoredRoles> for LiveRoles {
    fn from(roles: &StoredRoles) -> Self {
        roles.0.live.clone()
    }
}

impl fmt::Debug for StoredRoles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredRoles").field("live", &self.0.live).finish_non_exhaustive()
    }
}
