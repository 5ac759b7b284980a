//! What every store of responses must do, and a check that it does.
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, header};
use portcullis_cache::policy::{Asked, Moment, Rules, Stored, Times};
use portcullis_cache::store::{CacheStore, Entry, Found, Mark, StoredBody};
use portcullis_cache::{Key, Purge, Scope};
use portcullis_core::Clock;
use tokio::task::JoinSet;

use crate::fail::{done, fail, same};

/// Checks that a store of responses does what [`CacheStore`] says, also where many ask at once. Each call of `make` gives an empty store.
///
/// # Panics
/// Where it does something else.
pub async fn cache_store_contract<S: CacheStore + 'static>(make: impl AsyncFn() -> S) {
    let new = async || Check { store: Arc::new(make().await), key: Key::for_url(BOOK) };
    new().await.keeps_what_it_is_given().await;
    new().await.keeps_variants_side_by_side().await;
    for (purge, is_meant) in purges() {
        new().await.purges(&purge, is_meant).await;
        new().await.purges(&purge.soft(), is_meant).await;
    }
    new().await.purges_what_is_on_its_way().await;
    new().await.refreshes_what_is_there().await;
    new().await.takes_out_what_it_is_told().await;
    new().await.loses_nothing().await;
    new().await.keeps_to_its_sizes().await;
}

const BOOK: &str = "https://shop.example/books/1?page=2";
/// How many store at once.
const MANY: usize = 50;
/// A larger body is not tried.
const ROOM: u64 = 64 * 1024 * 1024;

/// Purges, and whether they mean the book.
fn purges() -> [(Purge, bool); 12] {
    [
        (Purge::url(BOOK), true),
        (Purge::url("https://shop.example/books/1"), false),
        (Purge::prefix("https://shop.example/books/"), true),
        (Purge::prefix("https://shop.example/books/2"), false),
        (Purge::prefix("http://shop.example/"), false),
        (Purge::tag("books"), true),
        (Purge::tag("book"), false),
        // A tag and a group are not the same, though they have one name.
        (Purge::tag("new"), false),
        (Purge::group("https://shop.example", "new"), true),
        (Purge::group("https://shop.example", "books"), false),
        (Purge::group("https://other.example", "new"), false),
        (Purge::everything(), true),
    ]
}

/// A fresh response to a request in this language.
fn head(language: &str, etag: &str) -> Arc<Stored> {
    let mut wanted = HeaderMap::new();
    let language = done("language", HeaderValue::from_str(language));
    wanted.insert(header::ACCEPT_LANGUAGE, language);
    let response = Response::builder()
        .header(header::CACHE_CONTROL, "public, max-age=3600")
        .header(header::CONTENT_TYPE, "text/plain")
        .header(header::ETAG, format!("\"{etag}\""))
        .header(header::VARY, "accept-language")
        .header(HeaderName::from_static("surrogate-key"), "austen books")
        .header(HeaderName::from_static("cache-groups"), "\"new\"")
        .body(());
    let (head, ()) = done("response", response).into_parts();
    let now = Moment::from(Clock::system().wall());
    let times = Times { requested: now, received: now };
    let asked = Asked { method: &Method::GET, headers: &wanted, is_authenticated: false };
    let ttl = Some(Duration::from_secs(3_600));
    Arc::new(done("head", Stored::new(&Rules::default(), Scope::Public, ttl, asked, &head, times)))
}

fn pieces(text: &[&'static str]) -> Arc<[Bytes]> {
    text.iter().map(|piece| Bytes::from_static(piece.as_bytes())).collect()
}

async fn read(body: &StoredBody) -> Bytes {
    let pieces = match body {
        StoredBody::Here(pieces) => pieces.to_vec(),
        StoredBody::Elsewhere(body) => {
            let mut pieces = Vec::new();
            for piece in 0..body.len().div_ceil(body.piece()) {
                pieces.push(done("read", body.read(piece).await));
            }
            same("length", pieces.iter().map(|piece| piece.len() as u64).sum(), body.len());
            pieces
        }
    };
    same("empty pieces", pieces.iter().any(Bytes::is_empty), false);
    pieces.concat().into()
}

fn etag(entry: &Entry) -> String {
    let etag = entry.head.headers().get(header::ETAG);
    etag.and_then(|etag| etag.to_str().ok()).unwrap_or_default().trim_matches('"').to_owned()
}

/// Stores as the store wants it. It is an error of nobody where it does not.
async fn try_put<S: CacheStore>(
    store: &S,
    key: &Key,
    head: &Arc<Stored>,
    body: &Arc<[Bytes]>,
    mark: Mark,
) {
    let Some(mut writer) = store.writer(key, head, mark) else {
        return store.put_now(key, head, body, mark);
    };
    for piece in body.iter() {
        if writer.push(piece.clone()).await.is_err() {
            return;
        }
    }
    _ = writer.finish().await;
}

struct Check<S> {
    store: Arc<S>,
    key: Key,
}

impl<S: CacheStore + 'static> Check<S> {
    async fn find(&self) -> Found {
        self.find_at(&self.key).await
    }
    async fn find_at(&self, key: &Key) -> Found {
        let found = done("find", self.store.find(key).await);
        if let Some(at_hand) = self.store.find_now(key) {
            let etags = |found: &Found| found.entries.iter().map(etag).collect::<Vec<_>>();
            same("what is at hand", etags(&at_hand), etags(&found));
        }
        found
    }
    /// Which are there, the newest first, with a star where it is stale.
    async fn there(&self) -> Vec<String> {
        let found = self.find().await;
        let name =
            |entry: &Entry| format!("{}{}", etag(entry), if entry.is_stale { "*" } else { "" });
        found.entries.iter().map(name).collect()
    }
    async fn is(&self, what: &str, want: &[&str]) {
        same(what, self.there().await, want.iter().map(|&etag| etag.to_owned()).collect());
    }
    /// Stores what was asked for at a mark.
    async fn put_at(&self, language: &str, etag: &str, mark: Mark) {
        let (head, body) = (head(language, etag), pieces(&["the ", "book"]));
        if let Some(mut writer) = self.store.writer(&self.key, &head, mark) {
            for piece in body.iter() {
                done("push", writer.push(piece.clone()).await);
            }
            // What was purged in the meantime is not stored; whether that is an error is the store's business.
            _ = writer.finish().await;
        } else {
            self.store.put_now(&self.key, &head, &body, mark);
        }
    }
    async fn put(&self, language: &str, etag: &str) {
        let mark = self.find().await.mark;
        self.put_at(language, etag, mark).await;
    }
    async fn purge(&self, purge: &Purge) {
        done("purge", self.store.purge(purge).await);
    }

    async fn keeps_what_it_is_given(&self) {
        self.is("an empty store", &[]).await;
        self.put("en", "one").await;
        let found = self.find().await;
        let [entry] = &*found.entries else { fail("it does not find what was put") };
        let want = head("en", "one");
        same("status", entry.head.status(), want.status());
        same("fields", entry.head.headers().clone(), want.headers().clone());
        same("tags", entry.head.tags().to_vec(), want.tags().to_vec());
        same("stale", entry.is_stale, false);
        same("body", read(&entry.body).await, Bytes::from_static(b"the book"));
        // Nobody else's, though it begins or ends in the same way.
        for url in ["https://shop.example/books/1", "https://shop.example/books/1?page=22", ""] {
            same(url, self.find_at(&Key::for_url(url)).await.entries.len(), 0);
        }
        let empty = Key::for_url("https://shop.example/empty");
        let mark = self.find_at(&empty).await.mark;
        try_put(&*self.store, &empty, &want, &pieces(&[]), mark).await;
        let found = self.find_at(&empty).await;
        let [entry] = &*found.entries else { fail("it does not keep an empty body") };
        same("empty body", read(&entry.body).await, Bytes::new());
        // A body that does not end takes the place of nothing.
        if let Some(mut writer) = self.store.writer(&self.key, &head("en", "half"), found.mark) {
            done("push", writer.push(Bytes::from_static(b"the bo")).await);
            drop(writer);
        }
        self.is("a body that has not ended", &["one"]).await;
    }

    async fn keeps_variants_side_by_side(&self) {
        self.put("en", "emma").await;
        self.put("de", "Emma").await;
        self.is("two variants, the newest first", &["Emma", "emma"]).await;
        self.put("en", "emma 2").await;
        self.is("a variant that takes the place of its own", &["emma 2", "Emma"]).await;
    }

    async fn purges(&self, purge: &Purge, is_meant: bool) {
        let before = self.find().await.mark;
        self.put("en", "emma").await;
        self.put("de", "Emma").await;
        same(
            "nothing was purged",
            self.store.purged_since(before, &self.key, &head("en", "emma")),
            false,
        );
        self.purge(purge).await;
        let what = format!("{purge:?}");
        let want: &[&str] = match (is_meant, purge.is_soft()) {
            (false, _) => &["Emma", "emma"],
            (true, false) => &[],
            (true, true) => &["Emma*", "emma*"],
        };
        // The second look shows what the first has left behind.
        self.is(&what, want).await;
        self.is(&what, want).await;
        let is_purged = self.store.purged_since(before, &self.key, &head("en", "emma"));
        if is_meant && !is_purged {
            fail(format!("{what}: what was asked for before it counts as good"));
        }
        self.put("en", "emma 2").await;
        let there = self.there().await;
        same(&what, there.first().map(String::as_str), Some("emma 2"));
        let mark = self.find().await.mark;
        same(&what, self.store.purged_since(mark, &self.key, &head("en", "emma")), false);
    }

    async fn purges_what_is_on_its_way(&self) {
        let mark = self.find().await.mark;
        self.purge(&Purge::tag("austen")).await;
        self.put_at("en", "late", mark).await;
        self.is("what was asked for before a purge", &[]).await;
        let mark = self.find().await.mark;
        self.purge(&Purge::prefix("https://shop.example/").soft()).await;
        self.put_at("en", "late", mark).await;
        self.is("what was asked for before a soft purge", &["late*"]).await;
        // What is there already does not hide it.
        self.put("en", "new").await;
        let mark = self.find().await.mark;
        self.purge(&Purge::tag("books")).await;
        self.put_at("en", "late", mark).await;
        self.is("what takes the place of what was purged", &[]).await;
    }

    async fn refreshes_what_is_there(&self) {
        self.put("en", "emma").await;
        self.put("de", "Emma").await;
        self.purge(&Purge::url(BOOK).soft()).await;
        let found = self.find().await;
        let Some(old) = found.entries.iter().find(|entry| etag(entry) == "emma") else {
            fail("a soft purge has taken it out")
        };
        let refresh = async |old: &Stored, etag: &str, mark| {
            done("refresh", self.store.refresh(&self.key, old, head("en", etag), mark).await);
        };
        refresh(&old.head, "emma 2", found.mark).await;
        let mut there = self.there().await;
        there.sort_unstable();
        same("one of two is refreshed", there, vec!["Emma*".to_owned(), "emma 2".to_owned()]);
        let found = self.find().await;
        for entry in &*found.entries {
            same("its body", read(&entry.body).await, Bytes::from_static(b"the book"));
        }
        let Some(fresh) = found.entries.iter().find(|entry| etag(entry) == "emma 2") else {
            fail("it is not refreshed")
        };
        // It is another by now.
        self.put("en", "emma 3").await;
        refresh(&fresh.head, "late", found.mark).await;
        self.is("what has taken its place stays", &["emma 3", "Emma*"]).await;
        // A purge came between.
        let found = self.find().await;
        self.purge(&Purge::url(BOOK)).await;
        for entry in &*found.entries {
            refresh(&entry.head, "late", found.mark).await;
        }
        self.is("what was purged does not come back", &[]).await;
    }

    async fn takes_out_what_it_is_told(&self) {
        self.put("en", "emma").await;
        self.put("de", "Emma").await;
        let found = self.find().await;
        let Some(old) = found.entries.iter().find(|entry| etag(entry) == "emma") else {
            fail("it does not find what was put")
        };
        for what in ["the other stays", "once more is no error"] {
            done("remove", self.store.remove(&self.key, &old.head).await);
            self.is(what, &["Emma"]).await;
        }
        let refreshed = self.store.refresh(&self.key, &old.head, head("en", "late"), found.mark);
        done("refresh", refreshed.await);
        self.is("what is not there is not refreshed", &["Emma"]).await;
    }

    async fn loses_nothing(&self) {
        let keys = [self.key.clone(), Key::for_url("https://shop.example/books/2")];
        let mark = self.find().await.mark;
        let mut puts = JoinSet::new();
        for number in 0..MANY {
            let (store, [first, second]) = (Arc::clone(&self.store), &keys);
            let key = if number % 2 == 0 { first } else { second }.clone();
            puts.spawn(async move {
                let language = format!("x-{number}");
                try_put(&*store, &key, &head(&language, &language), &pieces(&["the book"]), mark)
                    .await;
            });
        }
        puts.join_all().await;
        for key in &keys {
            same("variants put at once", self.find_at(key).await.entries.len(), MANY / 2);
        }
    }

    async fn keeps_to_its_sizes(&self) {
        let sizes = self.store.sizes();
        let head = head("en", "large");
        let most = if self.store.writer(&self.key, &head, Mark::default()).is_some() {
            sizes.streamed
        } else {
            sizes.whole
        };
        if most > ROOM {
            return;
        }
        for (len, number) in [(most + 1, 0), (most, 1)] {
            let body = vec![b'x'; usize::try_from(len).unwrap_or(usize::MAX)];
            let mark = self.find().await.mark;
            try_put(&*self.store, &self.key, &head, &Arc::from([Bytes::from(body)]), mark).await;
            same(&format!("a body of {len} bytes"), self.find().await.entries.len(), number);
        }
    }
}
