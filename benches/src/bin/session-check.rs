//! What it costs to know a browser by its session: the authentication layer by itself, with each store. Run by `cargo xtask bench sessions`, which counts the instructions of
//! this process and has PostgreSQL and Redis answer on loopback; `time` shows microseconds, one request after the other.
#![expect(clippy::print_stdout, reason = "its output is read by the command that runs it")]

use std::alloc::System;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::http::header::{COOKIE, HOST, SET_COOKIE};
use axum::http::{HeaderValue, Request, Response};
use portcullis::authn::{
    AuthenticateLayer, CachedSessions, MemorySessions, Session, SessionStore, Sessions,
};
use portcullis::{Body, BoxError, Clock, Identity};
use portcullis_redis::RedisSessions;
use portcullis_sqlx::{PgStores, SqliteStores};
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgPool};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tower::{Layer, Service, ServiceExt, service_fn};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const POSTGRES: &str = "postgres://postgres@127.0.0.1:5432/postgres";

const VARIANTS: [&str; 8] = [
    "no cookie",
    "memory",
    "SQLite",
    "PostgreSQL",
    "Redis",
    "SQLite, cached",
    "PostgreSQL, cached",
    "Redis, cached",
];

fn main() -> Result<(), BoxError> {
    portcullis_benches::timed("session-check", &VARIANTS, run)
}

async fn sessions(variant: &str) -> Result<Sessions, BoxError> {
    if let Some(store) = variant.strip_suffix(", cached") {
        return Ok(Sessions::new(CachedSessions::from_store(store_of(store).await?)));
    }
    Ok(Sessions::from_store(store_of(variant).await?))
}

async fn store_of(variant: &str) -> Result<Arc<dyn SessionStore>, BoxError> {
    Ok(match variant {
        "SQLite" => {
            let options = SqliteConnectOptions::new().filename(file()).create_if_missing(true);
            let stores = SqliteStores::from_pool(SqlitePool::connect_with(options).await?);
            stores.migrate().await?;
            Arc::new(stores.sessions().await?)
        }
        "PostgreSQL" => {
            let options: PgConnectOptions = POSTGRES.parse()?;
            let schema = sqlx::query("CREATE SCHEMA IF NOT EXISTS portcullis_bench");
            schema.execute(&mut options.connect().await?).await?;
            let options = options.options([("search_path", "portcullis_bench")]);
            let stores = PgStores::from_pool(PgPool::connect_with(options).await?);
            stores.migrate().await?;
            Arc::new(stores.sessions().await?)
        }
        "Redis" => {
            let server = "redis://127.0.0.1:6379";
            Arc::new(RedisSessions::connect(server, "portcullis-session-check").await?)
        }
        _ => Arc::new(MemorySessions::new()),
    })
}

fn file() -> PathBuf {
    std::env::temp_dir().join("portcullis-session-check.db")
}

/// Nothing stays where others may look for something.
async fn clean(variant: &str) -> Result<(), BoxError> {
    match variant {
        "SQLite" => std::fs::remove_file(file())?,
        "PostgreSQL" => {
            let mut connection = POSTGRES.parse::<PgConnectOptions>()?.connect().await?;
            let drop = sqlx::query("DROP SCHEMA portcullis_bench CASCADE");
            drop.execute(&mut connection).await?;
        }
        _ => {}
    }
    Ok(())
}

/// How long so many took.
fn run(variant: &str, count: u32) -> Result<Duration, BoxError> {
    let clock = Clock::system();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let layer = AuthenticateLayer::new().sessions(sessions(variant).await?);
        let service = layer.layer(service_fn(answer));
        let logged_in = ask(&service, "/in", None).await?;
        let cookie = logged_in.ok_or("nobody was logged in")?;
        let kept = (variant != "no cookie").then(|| cookie.clone());
        ask(&service, "/books/7", kept.as_ref()).await?;
        let (region, began) = (Region::new(ALLOCATOR), clock.now());
        for _ in 0..count {
            ask(&service, "/books/7", kept.as_ref()).await?;
        }
        let (took, counted) = (clock.now() - began, region.change());
        println!("allocations {}", counted.allocations);
        ask(&service, "/out", Some(&cookie)).await?;
        clean(variant).await?;
        Ok(took)
    })
}

async fn answer(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let session = request.extensions().get::<Session>().cloned();
    let done = match (request.uri().path(), session) {
        ("/in", Some(session)) => {
            let ada = Identity::builder("shop", "5f2a7c1e-ada").role("reader").build();
            session.log_in(&ada).await.is_ok()
        }
        ("/out", Some(session)) => session.log_out().await.is_ok(),
        _ => true,
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
) -> Result<Option<HeaderValue>, BoxError>
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
