//! Responses for the tests of the cache.
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Response};
use portcullis_cache::policy::{Asked, Moment, Rules, Stored, Times};
use portcullis_cache::store::{CacheStore, CacheStoreError, Entry, Found, Mark, StoredBody};
use portcullis_cache::{Key, Scope};
use portcullis_core::Clock;

/// What is good for an hour.
pub(crate) fn head(fields: &[(&str, &str)]) -> Arc<Stored> {
    head_for(&[], fields)
}

/// The same, for a request with these fields.
pub(crate) fn head_for(asked: &[(&'static str, &str)], fields: &[(&str, &str)]) -> Arc<Stored> {
    let mut response = Response::builder().header("cache-control", "max-age=3600");
    for (name, value) in fields {
        response = response.header(*name, *value);
    }
    let (parts, ()) = response.body(()).unwrap().into_parts();
    let mut headers = HeaderMap::new();
    for (name, value) in asked {
        headers.insert(*name, value.parse().unwrap());
    }
    let now = Moment::from(Clock::system().wall());
    let times = Times { requested: now, received: now };
    let asked = Asked { method: &Method::GET, headers: &headers, is_authenticated: false };
    let rules = Rules::default();
    Arc::new(Stored::new(&rules, Scope::Public, None, asked, &parts, times).unwrap())
}

pub(crate) fn key(path: &str) -> Key {
    Key::for_url(&format!("http://shop.example{path}"))
}

/// Stores a response.
pub(crate) async fn store(
    cache: &dyn CacheStore,
    key: &Key,
    head: &Arc<Stored>,
    body: impl Into<Bytes>,
    mark: Mark,
) -> Result<(), CacheStoreError> {
    let mut writer = cache.writer(key, head, mark).expect("it stores by a writer");
    writer.push(body.into()).await?;
    writer.finish().await
}

/// Stores a response that is asked for now.
pub(crate) async fn store_now(
    cache: &dyn CacheStore,
    key: &Key,
    fields: &[(&str, &str)],
    body: &'static str,
) {
    let mark = cache.find(key).await.unwrap().mark;
    store(cache, key, &head(fields), body, mark).await.unwrap();
}

/// All of a body.
pub(crate) async fn read(entry: &Entry) -> Result<Vec<u8>, CacheStoreError> {
    match &entry.body {
        StoredBody::Here(pieces) => Ok(pieces.concat()),
        StoredBody::Elsewhere(body) => {
            let mut all = Vec::new();
            for piece in 0..body.len().div_ceil(body.piece()) {
                all.extend(body.read(piece).await?);
            }
            Ok(all)
        }
    }
}

/// The bodies that were found, and whether they are stale.
pub(crate) async fn bodies(found: &Found) -> Vec<(String, bool)> {
    let mut all = Vec::new();
    for entry in &*found.entries {
        all.push((String::from_utf8(read(entry).await.unwrap()).unwrap(), entry.is_stale));
    }
    all
}
