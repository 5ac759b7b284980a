//! What every store of sessions must do, and a check that it does.
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use portcullis_authn::{SessionDigest, SessionRecord, SessionStore, Touch};
use portcullis_core::{Identity, IdentityKind};
use serde_json::json;

use crate::fail::{done, fail, same};

/// Checks that a store of sessions does what [`SessionStore`] says, also where many ask at once. The store is empty, or has nothing of what begins with
/// `contract`; it is left without what came into it.
///
/// # Panics
/// Where it does something else.
pub async fn session_store_contract(store: Arc<dyn SessionStore>) {
    let check = Check { store, start: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000) };
    check.keeps_what_it_is_given().await;
    check.marks_what_is_used().await;
    check.replaces_one_session_once().await;
    check.loses_no_change().await;
    check.knows_whose_they_are().await;
    check.replaces_the_whole_session().await;
    check.ends_all_of_an_owner().await;
    check.forgets_what_is_over().await;
}

const SECOND: Duration = Duration::from_secs(1);
/// How many ask at once.
const MANY: usize = 50;

struct Check {
    store: Arc<dyn SessionStore>,
    start: SystemTime,
}

fn digest(number: u8) -> SessionDigest {
    let mut bytes = [number; 32];
    bytes[..8].copy_from_slice(b"contract");
    SessionDigest::from_bytes(bytes)
}

impl Check {
    fn at(&self, seconds: u64) -> SystemTime {
        self.start + Duration::from_secs(seconds)
    }
    fn touch(&self, seconds: u64) -> Touch {
        Touch::new(self.at(seconds), Duration::from_secs(60), Duration::from_secs(1_800))
    }
    fn record(&self, number: u8, owner: Option<&Identity>) -> SessionRecord {
        let mut record = SessionRecord::new(digest(number), self.at(0), self.at(10_000));
        record.identity = owner.cloned();
        record
    }
    async fn add(&self, number: u8, owner: Option<&Identity>) {
        done("create", self.store.create(self.record(number, owner)).await);
    }
    async fn open(&self, number: u8, seconds: u64) -> Option<SessionRecord> {
        let touch = self.touch(seconds);
        let opened = done("open", self.store.open(&digest(number), touch).await);
        if let Some(at_hand) = self.store.try_open(&digest(number), touch) {
            let at_hand = done("try_open", at_hand);
            let known = |record: &Option<SessionRecord>| record.as_ref().map(|it| it.digest);
            same("what is at hand", known(&at_hand), known(&opened));
        }
        opened
    }
    async fn end(&self, number: u8) -> bool {
        done("end", self.store.end(&digest(number)).await)
    }

    async fn keeps_what_it_is_given(&self) {
        let claims = json!({"email": "ada@acme.example", "n": [1, null]});
        let ada = Identity::builder("https://id.example", "ada \u{1f600} | \\ ' \" %_")
            .kind(IdentityKind::Service)
            .tenant("acme")
            .plan("pro")
            .roles(["clerk", "buyer"])
            .scopes(["orders"])
            .method("pwd")
            .method("otp")
            .assurance(2)
            .authenticated_at(self.at(1))
            .claims(claims.as_object().cloned().unwrap_or_default())
            .build();
        let mut record = self.record(1, Some(&ada));
        record.agent = Some("Browser \u{1f98a} 1.0 '\"\\".into());
        done("create", self.store.create(record.clone()).await);
        let Some(got) = self.open(1, 0).await else {
            fail("what was created is not there".to_owned())
        };
        same("the digest", got.digest, record.digest);
        same(
            "the times",
            (got.created, got.used, got.expires),
            (record.created, record.used, record.expires),
        );
        same("the browser", got.agent, record.agent);
        same("the data", (&*got.data, got.version), ("", 0));
        let Some(who) = got.identity else { fail("the identity is gone".to_owned()) };
        same(
            "the identity",
            (who.key(), who.kind(), who.plan()),
            (ada.key(), ada.kind(), ada.plan()),
        );
        same("the roles", who.roles().collect::<Vec<_>>(), ada.roles().collect());
        same("the scopes", who.scopes().collect::<Vec<_>>(), ada.scopes().collect());
        same("the methods", who.methods().collect::<Vec<_>>(), ada.methods().collect());
        same(
            "the assurance",
            (who.assurance(), who.authenticated_at()),
            (ada.assurance(), ada.authenticated_at()),
        );
        same("the claims", who.claims(), ada.claims());
        self.add(2, None).await;
        let nobody = self.open(2, 0).await.map(|record| record.identity.is_none());
        same("a session of nobody", nobody, Some(true));
        same("what was never there", self.open(3, 0).await.map(|record| record.digest), None);
        for number in [1, 2] {
            same("the first end", self.end(number).await, true);
            same("the second end", self.end(number).await, false);
            same("what has ended", self.open(number, 0).await.map(|record| record.digest), None);
        }
    }
    async fn marks_what_is_used(&self) {
        self.add(1, None).await;
        let used = async |seconds| self.open(1, seconds).await.map(|record| record.used);
        same("a use within the step", used(59).await, Some(self.at(0)));
        same("it is not marked", used(60).await, Some(self.at(0)));
        same("it is marked once the step is over", used(61).await, Some(self.at(60)));
        same(
            "it is not marked when it was idle for too long",
            used(2_000).await,
            Some(self.at(60)),
        );
        same("it is still as it was", used(2_001).await, Some(self.at(60)));
        self.end(1).await;
    }
    async fn replaces_one_session_once(&self) {
        for keeps_data in [true, false] {
            self.add(1, None).await;
            done("write", self.store.write(&digest(1), 0, "{\"cart\":7}").await);
            let all = (0..MANY).map(|at| {
                let number = u8::try_from(at).unwrap_or_default() + 100;
                let (store, record) = (Arc::clone(&self.store), self.record(number, None));
                tokio::spawn(async move {
                    (number, store.replace(&digest(1), record, keeps_data).await)
                })
            });
            let mut there = Vec::new();
            for task in all.collect::<Vec<_>>() {
                let (number, replaced) = done("replace", task.await);
                if done("replace", replaced) {
                    there.push(number);
                }
            }
            same("how many of 50 take the place of one session", there.len(), 1);
            same(
                "the one that was replaced",
                self.open(1, 0).await.map(|record| record.digest),
                None,
            );
            let mut left = 0;
            for number in (0..MANY).map(|at| u8::try_from(at).unwrap_or_default() + 100) {
                left += usize::from(self.open(number, 0).await.is_some());
            }
            same("how many are there then", left, 1);
            let number = there.first().copied().unwrap_or_default();
            let data = self.open(number, 0).await.map(|it| (it.data.to_string(), it.version));
            let want = if keeps_data { ("{\"cart\":7}".to_owned(), 1) } else { (String::new(), 0) };
            same("its data", data, Some(want));
            self.end(number).await;
        }
    }
    async fn loses_no_change(&self) {
        self.add(1, None).await;
        same(
            "a write to another version",
            done("write", self.store.write(&digest(1), 1, "1").await),
            false,
        );
        same(
            "a write to nothing",
            done("write", self.store.write(&digest(2), 0, "1").await),
            false,
        );
        let all = (0..MANY).map(|_| {
            let (store, touch) = (Arc::clone(&self.store), self.touch(0));
            tokio::spawn(async move {
                loop {
                    let record = store.open(&digest(1), touch).await?;
                    let Some(record) = record else { return Ok(()) };
                    let count = record.data.parse::<u64>().unwrap_or_default() + 1;
                    if store.write(&digest(1), record.version, &count.to_string()).await? {
                        return Ok::<_, portcullis_authn::StoreError>(());
                    }
                }
            })
        });
        for task in all.collect::<Vec<_>>() {
            done("write", done("write", task.await));
        }
        let data = self.open(1, 0).await.map(|record| (record.data.to_string(), record.version));
        same("50 changes at once", data, Some(("50".to_owned(), 50)));
        let ends = (0..MANY).map(|_| {
            let store = Arc::clone(&self.store);
            tokio::spawn(async move { store.end(&digest(1)).await })
        });
        let mut ended = 0;
        for task in ends.collect::<Vec<_>>() {
            ended += usize::from(done("end", done("end", task.await)));
        }
        same("how many of 50 end one session", ended, 1);
    }
    async fn knows_whose_they_are(&self) {
        // Owners whose names look alike where somebody puts them together carelessly.
        let ada = Identity::builder("contract", "ada").build();
        let others = [
            Identity::builder("contract", "Ada").build(),
            Identity::builder("contract", "ada ").build(),
            Identity::builder("contract|", "ada").build(),
            Identity::builder("contract", "ada").tenant("acme").build(),
            Identity::builder("contract", "%").build(),
        ];
        for number in 1..=4 {
            self.add(number, Some(&ada)).await;
        }
        for (number, other) in (20..).zip(&others) {
            self.add(number, Some(other)).await;
        }
        self.add(30, None).await;
        // The third one was used last, then the first one.
        self.open(3, 300).await;
        self.open(1, 200).await;
        let owner = ada.key().to_string();
        let list = done("list", self.store.list(&owner).await);
        let list: Vec<_> = list.iter().map(|record| record.digest).collect();
        same(
            "whose they are, and in which order",
            (list.len(), list.first()),
            (4, Some(&digest(3))),
        );
        same("the second in the order", list.get(1), Some(&digest(1)));
        let missing = self.store.missing(&[digest(1), digest(99), digest(20)]).await;
        same("which are missing", done("missing", missing), vec![digest(99)]);
        same(
            "of no session none is missing",
            done("missing", self.store.missing(&[]).await),
            vec![],
        );
        let mut ended = done("end_all", self.store.end_all(&owner, Some(&digest(2))).await);
        ended.sort();
        same("all but one", ended, vec![digest(1), digest(3), digest(4)]);
        let left = done("list", self.store.list(&owner).await);
        same(
            "the one that is left",
            left.iter().map(|it| it.digest).collect::<Vec<_>>(),
            vec![digest(2)],
        );
        same("all", done("end_all", self.store.end_all(&owner, None).await), vec![digest(2)]);
        for number in (20..).take(others.len()).chain([30]) {
            same("the session of another one", self.end(number).await, true);
        }
    }
    /// Whose it is, and all but its data, are those of the new one.
    async fn replaces_the_whole_session(&self) {
        let [ada, bob] = ["ada", "bob"].map(|name| Identity::builder("contract", name).build());
        self.add(1, Some(&ada)).await;
        let data = format!("{{\"text\":\"{}\u{1f600}\\u0000\\n'\"}}", "x".repeat(70_000));
        same("a large write", done("write", self.store.write(&digest(1), 0, &data).await), true);
        let mut record = SessionRecord::new(digest(2), self.at(5), self.at(9_000));
        (record.identity, record.used) = (Some(bob.clone()), self.at(7) + Duration::from_micros(5));
        record.agent = Some("another".into());
        done("replace", self.store.replace(&digest(1), record.clone(), true).await);
        let Some(got) = self.open(2, 8).await else {
            fail("what was put in place is not there".to_owned())
        };
        same("whose it is", got.owner(), Some(bob.key().to_string()));
        same(
            "its times",
            (got.created, got.used, got.expires),
            (record.created, record.used, record.expires),
        );
        same("its browser", got.agent, record.agent);
        same("its data", (&*got.data, got.version), (&*data, 1));
        let of = async |who: &Identity| {
            done("list", self.store.list(&who.key().to_string()).await).len()
        };
        same("of whom there are sessions", (of(&ada).await, of(&bob).await), (0, 1));
        // What has ended comes back by nothing.
        self.end(2).await;
        done("write", self.store.write(&digest(2), 1, "1").await);
        done("replace", self.store.replace(&digest(2), self.record(3, Some(&bob)), true).await);
        same("what has ended", self.open(2, 100).await.is_some(), false);
        same("what would have taken its place", self.open(3, 100).await.is_some(), false);
        same("of whom there are sessions then", of(&bob).await, 0);
    }
    /// Whoever is quicker: of what ends together nothing is left, also where it has another name meanwhile.
    async fn ends_all_of_an_owner(&self) {
        let ada = Identity::builder("contract", "ada").build();
        let owner = ada.key().to_string();
        for _ in 0..MANY {
            for number in 1..=3 {
                self.add(number, Some(&ada)).await;
            }
            let tasks = (1..=3).map(|number| {
                let (store, record) =
                    (Arc::clone(&self.store), self.record(number + 10, Some(&ada)));
                tokio::spawn(async move { store.replace(&digest(number), record, true).await })
            });
            let tasks: Vec<_> = tasks.collect();
            done("end_all", self.store.end_all(&owner, None).await);
            for task in tasks {
                done("replace", done("replace", task.await));
            }
            let left = done("list", self.store.list(&owner).await);
            same("what is left of an owner", left.len(), 0);
        }
    }
    async fn forgets_what_is_over(&self) {
        self.add(1, None).await;
        self.add(2, None).await;
        done("sweep", self.store.sweep(self.at(9_999), self.start - SECOND).await);
        same("before its end", self.open(1, 9_999).await.is_some(), true);
        same("at its end", self.open(1, 10_000).await.is_some(), false);
        // One that forgets by itself, by the time of its server, has nothing to take away.
        let swept = done("sweep", self.store.sweep(self.at(10_000), self.start - SECOND).await);
        same("what is over", self.open(2, 10_000).await.is_some(), false);
        let was_there = self.end(2).await;
        same("what was taken away", was_there && swept > 0, false);
    }
}
