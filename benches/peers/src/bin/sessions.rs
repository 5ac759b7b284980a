//! What it costs to know a browser by its session with axum-login and tower-sessions: their layers by themselves, over the same service as portcullis' own in
//! `session-check`, and with the same command line. Run by `cargo xtask bench sessions`.
use std::alloc::System;
use std::collections::HashMap;
use std::convert::Infallible;
use std::error::Error;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::header::{COOKIE, HOST, SET_COOKIE};
use axum::http::{HeaderValue, Request, Response};
use axum_login::{AuthManagerLayerBuilder, AuthSession, AuthUser, AuthnBackend};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_sessions::{CachingSessionStore, Expiry, MemoryStore, SessionManagerLayer, SessionStore};
use tower_sessions_moka_store::MokaStore;
use tower_sessions_redis_store::RedisStore;
use tower_sessions_redis_store::fred::prelude::{Builder, ClientLike, Config};
use tower_sessions_sqlx_store::sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use tower_sessions_sqlx_store::sqlx::{self, PgPool};
use tower_sessions_sqlx_store::{PostgresStore, SqliteStore};

type Answer<T = ()> = Result<T, Box<dyn Error>>;
type Auth = AuthSession<Users>;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const POSTGRES: &str = "postgres://postgres@127.0.0.1:5432/postgres";
const SCHEMA: &str = "portcullis_bench_peers";
const ADA: &str = "5f2a7c1e-ada";

/// A store with another one in memory before it, which answers as long as it knows the session.
const CACHED: &str = ", cached";
/// A session that lasts longer when it is only read, which costs a write for each request. portcullis writes once a minute for that.
const SAVED: &str = ", saved each time";

const VARIANTS: [&str; 10] = [
    "no cookie",
    "memory",
    "SQLite",
    "PostgreSQL",
    "Redis",
    "SQLite, cached",
    "PostgreSQL, cached",
    "Redis, cached",
    "PostgreSQL, saved each time",
    "Redis, saved each time",
];

/// Users are in memory with every store, so that sessions alone make the difference: axum-login asks for the user with each request, where portcullis has the identity in the
/// session.
#[derive(Clone)]
struct Users(Arc<HashMap<String, User>>);

/// Cheap to clone, as a backend that is made with care has it.
#[derive(Clone, Debug)]
struct User(Arc<Account>);

#[derive(Debug)]
struct Account {
    id: String,
    password_hash: String,
}

impl AuthUser for User {
    type Id = String;
    fn id(&self) -> String {
        self.0.id.clone()
    }
    fn session_auth_hash(&self) -> &[u8] {
        self.0.password_hash.as_bytes()
    }
}

impl AuthnBackend for Users {
    type User = User;
    type Credentials = String;
    type Error = Infallible;
    async fn authenticate(&self, id: String) -> Result<Option<User>, Infallible> {
        self.get_user(&id).await
    }
    async fn get_user(&self, id: &String) -> Result<Option<User>, Infallible> {
        Ok(self.0.get(id).cloned())
    }
}

fn main() -> Answer {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["list"] => VARIANTS.iter().for_each(|variant| println!("{variant}")),
        ["run", variant, count] => drop(run(variant, count.parse()?)?),
        ["time"] => {
            for variant in VARIANTS {
                // A write may wait for a disk.
                let count = if variant.ends_with(SAVED) { 2_000 } else { 20_000 };
                run(variant, count / 10)?;
                let micros = run(variant, count)?.as_secs_f64() * 1e6 / f64::from(count);
                println!("{variant}: {micros:.2} us");
            }
        }
        _ => println!("usage: sessions list | run VARIANT COUNT | time"),
    }
    Ok(())
}

/// How long so many took.
fn run(variant: &str, count: u32) -> Answer<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let store = variant.split(',').next().unwrap_or(variant);
        match store {
            "SQLite" => {
                let options = SqliteConnectOptions::new().filename(file()).create_if_missing(true);
                let store = SqliteStore::new(SqlitePool::connect_with(options).await?);
                store.migrate().await?;
                let took = stored(store, variant, count).await;
                std::fs::remove_file(file())?;
                took
            }
            "PostgreSQL" => {
                let pool = PgPool::connect(POSTGRES).await?;
                let store = PostgresStore::new(pool.clone()).with_schema_name(SCHEMA)?;
                store.migrate().await?;
                let took = stored(store, variant, count).await;
                let drop = format!("DROP SCHEMA {SCHEMA} CASCADE");
                sqlx::query(&drop).execute(&pool).await?;
                took
            }
            "Redis" => {
                // One connection for all, as portcullis has it. The store knows no prefix; logging out takes its only key away.
                let config = Config::from_url("redis://127.0.0.1:6379")?;
                let client = Builder::from_config(config).build()?;
                client.init().await?;
                stored(RedisStore::new(client), variant, count).await
            }
            _ => measured(MemoryStore::default(), variant, count).await,
        }
    })
}

fn file() -> PathBuf {
    std::env::temp_dir().join("portcullis-peers-sessions.db")
}

async fn stored(store: impl SessionStore + Clone, variant: &str, count: u32) -> Answer<Duration> {
    if variant.ends_with(CACHED) {
        let store = CachingSessionStore::new(MokaStore::new(Some(10_000)), store);
        return measured(store, variant, count).await;
    }
    measured(store, variant, count).await
}

async fn measured(store: impl SessionStore + Clone, variant: &str, count: u32) -> Answer<Duration> {
    let ada = Account {
        id: ADA.to_owned(),
        password_hash: "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA".to_owned(),
    };
    let users = Users(Arc::new(HashMap::from([(ADA.to_owned(), User(Arc::new(ada)))])));
    // As long as a session of portcullis may be unused.
    let sessions = SessionManagerLayer::new(store)
        .with_expiry(Expiry::OnInactivity(time::Duration::minutes(30)))
        .with_always_save(variant.ends_with(SAVED));
    let service = AuthManagerLayerBuilder::new(users, sessions).build().layer(service_fn(answer));
    let cookie = ask(&service, "/in", None).await?.ok_or("nobody was logged in")?;
    ask(&service, "/me", Some(&cookie)).await?;
    let kept = (variant != "no cookie").then_some(&cookie);
    ask(&service, "/books/7", kept).await?;
    let (region, began) = (Region::new(ALLOCATOR), Instant::now());
    for _ in 0..count {
        ask(&service, "/books/7", kept).await?;
    }
    let (took, counted) = (began.elapsed(), region.change());
    println!("allocations {}", counted.allocations);
    ask(&service, "/out", Some(&cookie)).await?;
    Ok(took)
}

async fn answer(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let done = match request.extensions().get::<Auth>() {
        None => false,
        Some(auth) => {
            // Read where it is: the extractor would make a copy, with two allocations.
            let user = black_box(auth.user.as_ref());
            match request.uri().path() {
                "/in" => match auth.authenticate(ADA.to_owned()).await {
                    Ok(Some(ada)) => auth.clone().login(&ada).await.is_ok(),
                    _ => false,
                },
                "/me" => user.is_some_and(|user| user.0.id == ADA),
                "/out" => auth.clone().logout().await.is_ok(),
                _ => true,
            }
        }
    };
    let status = if done { 200 } else { 500 };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status.try_into().unwrap_or_default();
    Ok(response)
}

/// The cookie that the answer brings.
async fn ask<S>(
    service: &S,
    path: &str,
    cookie: Option<&HeaderValue>,
) -> Answer<Option<HeaderValue>>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
{
    let mut request = Request::get(path).header(HOST, HeaderValue::from_static("shop.example"));
    if let Some(cookie) = cookie {
        request = request.header(COOKIE, cookie.clone());
    }
    let Ok(response) = service.clone().oneshot(request.body(Body::empty())?).await;
    assert_eq!(response.status(), 200, "the benchmark measures what succeeds");
    let cookie = response.headers().get(SET_COOKIE).and_then(|line| line.to_str().ok());
    let cookie = cookie.and_then(|line| line.split(';').next());
    Ok(cookie.map(HeaderValue::from_str).transpose()?)
}
