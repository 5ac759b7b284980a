//! Which parts of queries do not matter, as responses have said: `No-Vary-Search`.
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{PoisonError, RwLock};

use crate::Purge;
use crate::policy::NoVarySearch;
use crate::purge::What;
use crate::store::{CacheStore, CacheStoreError};

/// Of how many paths it is remembered.
const MOST: usize = 4_096;

/// What responses have said of the queries of their paths.
#[derive(Debug, Default)]
pub(crate) struct Searches {
    any: AtomicBool,
    by_path: RwLock<HashMap<Box<str>, NoVarySearch>>,
}

impl Searches {
    /// The query as it stands in keys: as it came, where nothing was said of its path. `path` is the URL without its query.
    pub(crate) fn query<'a>(
        &self,
        path: impl FnOnce() -> String,
        query: Option<&'a str>,
    ) -> Option<Cow<'a, str>> {
        if !self.any.load(Relaxed) {
            return query.map(Cow::Borrowed);
        }
        let by_path = self.by_path.read().unwrap_or_else(PoisonError::into_inner);
        match by_path.get(&*path()) {
            Some(said) => said.key(query).map(Cow::Owned),
            None => query.map(Cow::Borrowed),
        }
    }
    /// Whether anything was said at all.
    pub(crate) fn is_any(&self) -> bool {
        self.any.load(Relaxed)
    }
    /// Takes out what `purge` says, and of a URL also what is kept under another spelling of its query, which is meant too.
    pub(crate) async fn purge(
        &self,
        store: &dyn CacheStore,
        purge: &Purge,
    ) -> Result<(), CacheStoreError> {
        store.purge(purge).await?;
        let What::Url(url) = &purge.what else { return Ok(()) };
        let Some(kept) = self.kept(url) else { return Ok(()) };
        store.purge(&Purge { what: What::Url(kept.into()), soft: purge.soft }).await
    }
    /// Under which other spelling a URL is kept, if it is.
    fn kept(&self, url: &str) -> Option<String> {
        let (path, query) =
            url.split_once('?').map_or((url, None), |(path, query)| (path, Some(query)));
        let kept = self.query(|| path.to_owned(), query);
        if kept.as_deref() == query {
            return None;
        }
        Some(kept.map_or_else(|| path.to_owned(), |kept| [path, "?", &*kept].concat()))
    }
    /// What a response says of the queries of its path.
    pub(crate) fn learn(&self, path: &str, said: Option<&NoVarySearch>) {
        let Some(said) = said else {
            if self.any.load(Relaxed) {
                let mut by_path = self.by_path.write().unwrap_or_else(PoisonError::into_inner);
                by_path.remove(path);
                self.any.store(!by_path.is_empty(), Relaxed);
            }
            return;
        };
        let is_known = {
            let by_path = self.by_path.read().unwrap_or_else(PoisonError::into_inner);
            by_path.get(path) == Some(said)
                || (by_path.len() >= MOST && !by_path.contains_key(path))
        };
        if !is_known {
            let mut by_path = self.by_path.write().unwrap_or_else(PoisonError::into_inner);
            by_path.insert(path.into(), said.clone());
            self.any.store(true, Relaxed);
        }
    }
}

impl NoVarySearch {
    /// The query as it stands in keys; none where nothing of it matters.
    pub(crate) fn key(&self, query: Option<&str>) -> Option<String> {
        Some(self.normalise(query.unwrap_or_default())).filter(|query| !query.is_empty())
    }
}
