//! What is changed on one replica counts on the other ones.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use portcullis_authz::{
    Announced, Authorizer, Binding, Resource, RoleEdit, RoleModel, RoleStore, RoleStoreError,
    Roles, StoredRoles,
};
use portcullis_core::Identity;
use portcullis_redis::RedisNews;
use portcullis_sqlx::{MySqlStores, PgStores, SqliteStores};
use portcullis_testkit::FakeTime;
use sqlx::Executor;
use tokio::runtime::Handle;

use crate::support::{with_mysql, with_postgres, with_sqlite};

const HOUR: Duration = Duration::from_hours(1);
const ISSUER: &str = "https://id.example";

/// Waits until it is so, for less than what is promised.
async fn soon(what: &str, is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(4), wait).await.is_ok(), "{what}");
}

fn ada() -> Identity {
    Identity::builder(ISSUER, "ada").build()
}

fn binding() -> Binding {
    Binding::of(ISSUER, None, "ada", "clerk")
}

fn assign() -> [RoleEdit; 1] {
    [RoleEdit::Assign(binding())]
}

fn revoke() -> [RoleEdit; 1] {
    [RoleEdit::Unassign(binding())]
}

fn base() -> Roles {
    Roles::builder().role("clerk").permits("orders:read").build().unwrap()
}

fn may(roles: &StoredRoles) -> bool {
    Authorizer::new(roles).may(&ada(), "orders:read", &Resource::new("order", "1"))
}

/// What one who asks is told: 200, 403 or 503.
fn status(roles: &StoredRoles) -> u16 {
    let checked = Authorizer::new(roles).check(&ada(), "orders:read", &Resource::new("order", "1"));
    checked.map_or_else(|problem| problem.status().as_u16(), |()| 200)
}

/// Changes go to and fro between two replicas, and each counts at once where it is made, and soon at the other one.
async fn follow_each_other(one: impl RoleStore, other: impl RoleStore, every: Duration) {
    let one = StoredRoles::open(base(), one).await.unwrap().asking_every(every);
    let other = StoredRoles::open(base(), other).await.unwrap().asking_every(every);
    for roles in [&one, &other] {
        roles.start(&Handle::current());
    }
    for round in 0..10 {
        let (here, there) = if round % 2 == 0 { (&one, &other) } else { (&other, &one) };
        here.change(&assign()).await.unwrap();
        assert!(may(here), "round {round}");
        soon("a role that was given is had on another replica", || may(there)).await;
        here.change(&revoke()).await.unwrap();
        assert!(!may(here), "a role that was revoked is refused at once, in round {round}");
        soon("a role that was revoked is refused on another replica", || !may(there)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_tells_other_replicas_of_a_revoked_role() {
    with_postgres(async |pool| {
        let stores = PgStores::from_pool(pool);
        stores.migrate().await.unwrap();
        // A clone hears by itself.
        let one = stores.roles().await.unwrap();
        follow_each_other(one.clone(), one, HOUR).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_tells_replicas_on_mariadb_of_a_revoked_role() {
    with_mysql(async |pool| {
        let stores = MySqlStores::from_pool(pool);
        stores.migrate().await.unwrap();
        let prefix = format!("portcullis-test-roles-{}", std::process::id());
        let news = RedisNews::connect("redis://127.0.0.1:6379", &prefix).await;
        let news = news.expect("Redis answers: `cargo xtask services`");
        let one = Announced::new(stores.roles().await.unwrap(), news.clone());
        let other = Announced::new(stores.roles().await.unwrap(), news);
        follow_each_other(one, other, HOUR).await;
    })
    .await;
}

/// The same on each database.
macro_rules! asks {
    ($name:ident, $with:ident, $stores:ident) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            $with(async |pool| {
                let stores = $stores::from_pool(pool);
                stores.migrate().await.unwrap();
                let (one, other) = (stores.roles().await.unwrap(), stores.roles().await.unwrap());
                follow_each_other(one, other, Duration::from_millis(200)).await;
            })
            .await;
        }
    };
}

asks!(mariadb_is_asked_for_revoked_roles, with_mysql, MySqlStores);
asks!(sqlite_is_asked_for_revoked_roles, with_sqlite, SqliteStores);

/// Takes what is told already, and what comes with it.
async fn settle(store: &impl RoleStore) {
    for _ in 0..20 {
        let mut changed = store.changed();
        while std::future::poll_fn(|cx| Poll::Ready(changed.as_mut().poll(cx).is_ready())).await {
            changed = store.changed();
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_keeps_the_news_for_whoever_asks_later() {
    with_postgres(async |pool| {
        let stores = PgStores::from_pool(pool);
        stores.migrate().await.unwrap();
        let roles = stores.roles().await.unwrap();
        let base = base();
        // It listens now, and what changed before it did may be told.
        tokio::time::timeout(Duration::from_secs(4), roles.changed()).await.unwrap();
        settle(&roles).await;
        for edit in [assign(), revoke(), assign(), revoke()] {
            // Nobody waits while it is made, and whoever did has gone.
            roles.change(base.model(), &edit).await.unwrap();
            let heard = tokio::time::timeout(Duration::from_secs(4), roles.changed()).await;
            heard.expect("what changed meanwhile is told");
            settle(&roles).await;
        }
        // All who wait are told.
        let (edit, wait) =
            (assign(), || tokio::time::timeout(Duration::from_secs(4), roles.changed()));
        let (one, other, changed) = tokio::join!(wait(), wait(), roles.change(base.model(), &edit));
        assert!(one.is_ok() && other.is_ok() && changed.is_ok());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_loses_no_news_when_connections_are_killed() {
    with_postgres(async |pool| {
        let stores = PgStores::from_pool(pool.clone());
        stores.migrate().await.unwrap();
        let store = stores.roles().await.unwrap();
        let gate = Gate::of(store.clone());
        let asked = Arc::clone(&gate.asked);
        let other = StoredRoles::open(base(), gate).await.unwrap().asking_every(HOUR);
        other.start(&Handle::current());
        let base = base();
        store.change(base.model(), &assign()).await.unwrap();
        soon("it is told of the first change", || may(&other)).await;
        let mut one = pool.acquire().await.unwrap();
        for round in 0..6 {
            // They listen again some time.
            let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'";
            let wait = async {
                while one.fetch_all(kill).await.unwrap().is_empty() {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            };
            let before = asked.load(Relaxed);
            tokio::time::timeout(Duration::from_secs(4), wait).await.expect("they listen");
            if round >= 2 {
                // The loss is news too; what is made after it is made while nobody listens.
                soon("it is asked after a loss", || asked.load(Relaxed) > before).await;
            }
            let edit = if round % 2 == 0 { revoke() } else { assign() };
            store.change(base.model(), &edit).await.unwrap();
            let wanted = round % 2 == 1;
            soon("what changed while nobody listened is known", || may(&other) == wanted).await;
        }
    })
    .await;
}

/// A store that can be shut.
struct Gate<S> {
    store: S,
    is_shut: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
}

impl<S> Gate<S> {
    fn of(store: S) -> Self {
        let (is_shut, asked, refused) = (Arc::default(), Arc::default(), Arc::default());
        Self { store, is_shut, asked, refused }
    }
    fn pass(&self) -> Result<&S, RoleStoreError> {
        self.asked.fetch_add(1, Relaxed);
        if self.is_shut.load(Relaxed) {
            self.refused.fetch_add(1, Relaxed);
            return Err(RoleStoreError::Unavailable("shut".into()));
        }
        Ok(&self.store)
    }
}

#[async_trait]
impl<S: RoleStore> RoleStore for Gate<S> {
    async fn version(&self) -> Result<u64, RoleStoreError> {
        self.pass()?.version().await
    }
    async fn load(&self) -> Result<(u64, RoleModel), RoleStoreError> {
        self.pass()?.load().await
    }
    async fn change(&self, base: &RoleModel, edits: &[RoleEdit]) -> Result<u64, RoleStoreError> {
        self.pass()?.change(base, edits).await
    }
    async fn changed(&self) {
        self.store.changed().await;
    }
}

/// The same on each database.
macro_rules! gone {
    ($name:ident, $with:ident, $stores:ident) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            $with(async |pool| {
                let stores = $stores::from_pool(pool);
                stores.migrate().await.unwrap();
                let store = stores.roles().await.unwrap();
                let gate = Gate::of(store.clone());
                let (is_shut, refused) = (Arc::clone(&gate.is_shut), Arc::clone(&gate.refused));
                let time = FakeTime::new();
                let roles = StoredRoles::open(base(), gate).await.unwrap().clock(time.clock());
                let roles = roles.asking_every(Duration::from_millis(5));
                let roles = roles.trusted_for(Duration::from_secs(30));
                roles.change(&assign()).await.unwrap();
                roles.start(&Handle::current());
                let asked = |times: usize| {
                    let (refused, before) = (Arc::clone(&refused), refused.load(Relaxed));
                    move || refused.load(Relaxed) >= before + times
                };
                for _ in 0..2 {
                    is_shut.store(true, Relaxed);
                    soon("it is asked", asked(3)).await;
                    assert_eq!(status(&roles), 200, "roles stay when the store is gone");
                    time.advance(Duration::from_secs(29));
                    soon("it is asked", asked(3)).await;
                    assert_eq!(status(&roles), 200, "for as long as they are trusted");
                    let failed = roles.change(&revoke()).await.unwrap_err();
                    assert!(matches!(failed, RoleStoreError::Unavailable(_)), "{failed}");
                    time.advance(Duration::from_secs(2));
                    soon("nothing is decided any longer", || status(&roles) == 503).await;
                    // Somebody else changes something meanwhile.
                    store.change(base().model(), &revoke()).await.unwrap();
                    is_shut.store(false, Relaxed);
                    soon("what was changed meanwhile counts", || status(&roles) == 403).await;
                    roles.change(&assign()).await.unwrap();
                    assert_eq!(status(&roles), 200);
                }
            })
            .await;
        }
    };
}

gone!(postgres_that_is_gone_leaves_roles_for_a_while, with_postgres, PgStores);
gone!(mariadb_that_is_gone_leaves_roles_for_a_while, with_mysql, MySqlStores);
gone!(sqlite_that_is_gone_leaves_roles_for_a_while, with_sqlite, SqliteStores);

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_is_closed_is_a_store_that_cannot_answer() {
    with_sqlite(async |pool| {
        let stores = SqliteStores::from_pool(pool.clone());
        stores.migrate().await.unwrap();
        let store = stores.roles().await.unwrap();
        pool.close().await;
        let base = base();
        let all = [
            store.version().await.map(drop),
            store.load().await.map(drop),
            store.change(base.model(), &assign()).await.map(drop),
        ];
        for said in all {
            assert!(matches!(said, Err(RoleStoreError::Unavailable(_))), "{said:?}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_no_role_and_no_separation_that_is_left_out() {
    with_sqlite(async |pool| {
        let stores = SqliteStores::from_pool(pool.clone());
        stores.migrate().await.unwrap();
        let store = stores.roles().await.unwrap();
        for (spoil, restore) in [
            (
                "INSERT INTO portcullis_roles VALUES (x'00', 'a', '{\"permissions\": 7}')",
                "DELETE FROM portcullis_roles",
            ),
            (
                "INSERT INTO portcullis_separations VALUES (x'00', 'a', '{\"roles\": [], \"too_many\": 2, \"kind\": \"newer\"}')",
                "DELETE FROM portcullis_separations",
            ),
            (
                "INSERT INTO portcullis_bindings VALUES (x'00', x'00', 'a', NULL, 'a', 'clerk', 'newer', 'a')",
                "DELETE FROM portcullis_bindings",
            ),
            ("DELETE FROM portcullis_roles_version", "INSERT INTO portcullis_roles_version VALUES (1, 7)"),
        ] {
            pool.execute(spoil).await.unwrap();
            let loaded = store.load().await;
            assert!(matches!(loaded, Err(RoleStoreError::Unavailable(_))), "{loaded:?}");
            let edit = [RoleEdit::separate_statically("x", ["clerk", "clerk2"], 2)];
            let changed = store.change(base().model(), &edit).await;
            assert!(matches!(changed, Err(RoleStoreError::Unavailable(_))), "{spoil}: {changed:?}");
            pool.execute(restore).await.unwrap();
            store.load().await.unwrap();
        }
    })
    .await;
}
