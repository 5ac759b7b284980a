//! An API that gains a cache by one line. See the README beside this file's folder.
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::env;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::header::COOKIE;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use portcullis::axum::{Caching, Problem, Tagged};
use portcullis::cache::{CacheControl, CacheHandle, CacheLayer, Purge};
use portcullis::problem::kinds::INTERNAL_ERROR;
use tokio::net::TcpListener;

/// Browsers ask each time, since no purge reaches them; the cache answers for a minute.
const MINUTE: CacheControl = CacheControl::public()
    .max_age(Duration::ZERO)
    .s_maxage(Duration::from_secs(60))
    .stale_while_revalidate(Duration::from_secs(30));

/// What handlers need.
#[derive(Clone)]
struct Paper {
    articles: Arc<Mutex<BTreeMap<u32, String>>>,
    cache: CacheHandle,
}

impl Paper {
    fn articles(&self) -> MutexGuard<'_, BTreeMap<u32, String>> {
        self.articles.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Stands for what takes long.
    async fn count_words(&self) -> u64 {
        let words = |text: &String| text.split_whitespace().count() as u64;
        let count = self.articles().values().map(words).sum();
        tokio::task::yield_now().await;
        count
    }
}

/// The API, and the line.
fn app() -> Router {
    let cache = CacheLayer::in_memory(64 << 20);
    let first = (1, "nothing happened today".to_owned());
    let paper =
        Paper { articles: Arc::new(Mutex::new(BTreeMap::from([first]))), cache: cache.handle() };
    Router::new()
        .route("/articles", get(articles))
        .route("/articles/{id}", get(article).put(write))
        .route("/words", get(words))
        .route("/hello", get(hello))
        .with_state(paper)
        .layer(cache)
}

async fn articles(
    State(paper): State<Paper>,
) -> (Caching, Tagged<[&'static str; 1]>, Json<Vec<u32>>) {
    let all = paper.articles().keys().copied().collect();
    (Caching(MINUTE), Tagged(["articles"]), Json(all))
}

async fn article(
    State(paper): State<Paper>,
    Path(id): Path<u32>,
) -> Result<(Caching, Tagged<[String; 1]>, String), StatusCode> {
    let text = paper.articles().get(&id).cloned().ok_or(StatusCode::NOT_FOUND)?;
    Ok((Caching(MINUTE), Tagged([tag(id)]), text))
}

fn tag(id: u32) -> String {
    format!("article-{id}")
}

async fn write(
    State(paper): State<Paper>,
    Path(id): Path<u32>,
    text: String,
) -> Result<StatusCode, Problem> {
    paper.articles().insert(id, text);
    // First the change, then the purge: what somebody reads in between is taken out too.
    for tag in ["articles".to_owned(), tag(id)] {
        let purged = paper.cache.purge(Purge::tag(tag)).await;
        purged.map_err(|error| Problem::new(INTERNAL_ERROR).cause(error))?;
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn words(State(paper): State<Paper>) -> (Caching, Json<u64>) {
    let minute = Duration::from_secs(60);
    let count = || async { Ok::<_, Infallible>(paper.count_words().await) };
    let Ok(count) = paper.cache.get_or_load("words", minute, &["articles"], count).await;
    (Caching(CacheControl::no_store()), Json(count))
}

/// Says nothing of caches: nobody keeps it.
async fn hello(headers: HeaderMap) -> String {
    let cookies = headers.get(COOKIE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let name = cookies.split("; ").find_map(|cookie| cookie.strip_prefix("name="));
    format!("hello {}\n", name.unwrap_or("stranger"))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let address = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(address).await?;
    let here = listener.local_addr()?;
    #[expect(clippy::print_stdout, reason = "it is what the example is started for")]
    {
        println!("Listening on http://{here}. Try:");
        println!("# an article, twice -> cache-status: portcullis; hit");
        println!("for i in 1 2; do curl -i 'http://{here}/articles/1'; done");
        println!("# write it anew, which purges it -> 204; then read it -> the new text");
        println!("curl -i -X PUT -d 'something happened' 'http://{here}/articles/1'");
        println!("# only what the cache has -> 504 not-cached, or 200");
        println!("curl -i -H 'cache-control: only-if-cached' 'http://{here}/articles/2'");
    }
    axum::serve(listener, app()).await
}

#[cfg(test)]
mod tests;
