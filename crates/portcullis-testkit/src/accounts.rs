//! What every store of users, of one-time tokens and of keys must do, and checks that they do.
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use portcullis_authn::{Email, KeyRecord, KeyStore, OneTimeToken, OneTimeTokens, Purpose, Users};
use portcullis_core::{Identity, IdentityKind};

use crate::fail::{done, fail, same};

/// How many ask at once.
const MANY: usize = 50;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
}

/// How many of all who do this at the same time hear `true`.
async fn how_many<F>(work: impl Fn(usize) -> F) -> usize
where
    F: Future<Output = bool> + Send + 'static,
{
    let all: Vec<_> = (0..MANY).map(|number| tokio::spawn(work(number))).collect();
    let mut count = 0;
    for one in all {
        count += usize::from(done("a task", one.await));
    }
    count
}

fn email(text: &str) -> Email {
    Email::parse(text).unwrap_or_else(|| fail(format!("{text} is an address")))
}

/// Checks that a table of users does what [`Users`] says, also where many ask at once. It has nobody whose address ends with `contract.example`, and may have a few of them
/// afterwards.
///
/// # Panics
/// Where it does something else.
pub async fn users_contract(users: Arc<dyn Users>) {
    let ada = email("Ada@contract.example");
    same("nobody has it", done("by_email", users.by_email(&ada).await).is_none(), true);
    // Of all who register with one address, however it is spelled, one gets it.
    let added =
        how_many(|number| {
            let users = Arc::clone(&users);
            let text =
                if number % 2 == 0 { "Ada@contract.example" } else { "aDA@CONTRACT.example" };
            async move {
                done("add", users.add(&email(text), &format!("kept-{number}")).await).is_some()
            }
        })
        .await;
    same("added", added, 1);
    let known = done("by_email", users.by_email(&email("ADA@contract.example")).await);
    let known =
        known.unwrap_or_else(|| fail("whoever was added is found by any spelling".to_owned()));
    same("the address", known.email.spelled(), ada.spelled());
    same("they may log in", known.is_disabled, false);
    let by_id = done("by_id", users.by_id(known.id()).await);
    let by_id = by_id.unwrap_or_else(|| fail("whoever was added is found by the id".to_owned()));
    same("the same one", by_id.identity.key().to_string(), known.identity.key().to_string());
    same("nobody", done("by_id", users.by_id("contract-nobody").await).is_none(), true);
    // Of all who change a password, one does; whoever has seen another one before does not.
    let kept = known.password.as_ref().map(|it| it.expose().clone());
    let changed = how_many(|number| {
        let (users, id, kept) = (Arc::clone(&users), known.id().to_owned(), kept.clone());
        async move {
            let after = format!("changed-{number}");
            done("set_password", users.set_password(&id, kept.as_deref(), &after).await)
        }
    })
    .await;
    same("changed", changed, 1);
    let late = users.set_password(known.id(), kept.as_deref(), "late").await;
    same("a change of what is no longer kept", done("set_password", late), false);
    let none = users.set_password(known.id(), None, "late").await;
    same("a change of what never was", done("set_password", none), false);
    let after = done("by_id", users.by_id(known.id()).await).and_then(|it| it.password);
    let after = after.map(|it| it.expose().clone()).unwrap_or_default();
    same("what is kept is what was put", after.starts_with("changed-"), true);
    for odd in [format!("{} ", known.id()), format!("{}\0", known.id()), String::new()] {
        let found = done("by_id", users.by_id(&odd).await);
        same("an id that is nearly another one", found.is_none(), true);
    }
    // An address is one user's.
    let bob = done("add", users.add(&email("bob@contract.example"), "kept").await);
    let bob = bob.unwrap_or_else(|| fail("another address is another user".to_owned()));
    same("another one", bob.id() != known.id(), true);
    let taken = users.set_email(bob.id(), &email("ADA@Contract.example")).await;
    same("an address that another one has", done("set_email", taken), false);
    let moved = users.set_email(bob.id(), &email("Bob@Contract.example")).await;
    same("the own address, spelled anew", done("set_email", moved), true);
    let moved = users.set_email(bob.id(), &email("robert@contract.example")).await;
    same("a new address", done("set_email", moved), true);
    let old = users.by_email(&email("bob@contract.example")).await;
    same("the old address", done("by_email", old).is_none(), true);
    let nobody = users.set_email("contract-nobody", &email("x@contract.example")).await;
    same("nobody's address", done("set_email", nobody), false);
}

fn digest(number: u8) -> [u8; 32] {
    let mut bytes = [number; 32];
    bytes[..8].copy_from_slice(b"contract");
    bytes
}

/// Checks that a store does what [`OneTimeTokens`] says, also where many ask at once. It has nothing of an owner whose name begins with `contract`.
///
/// # Panics
/// Where it does something else.
pub async fn one_time_tokens_contract(tokens: Arc<dyn OneTimeTokens>) {
    let put = async |number: u8, purpose, owner: &str, expires| {
        let token =
            OneTimeToken::new(digest(number), purpose, owner, "{\"a\":\"\u{e9}\"}", expires);
        done("put", tokens.put(token).await);
    };
    let is_there =
        async |number: u8, seconds| done("look", tokens.look(&digest(number), at(seconds)).await);
    put(1, Purpose::Reset, "contract-ada", at(100)).await;
    put(2, Purpose::Email, "contract-ada", at(100)).await;
    put(3, Purpose::Register, "contract-bob", at(100)).await;
    put(4, Purpose::Reset, "contract-ada", at(100)).await;
    for _ in 0..2 {
        let token = is_there(1, 99).await;
        let token = token.unwrap_or_else(|| fail("what is looked at stays".to_owned()));
        same("the purpose", token.purpose, Purpose::Reset);
        same("the owner", &*token.owner, "contract-ada");
        same("the data", &*token.data, "{\"a\":\"\u{e9}\"}");
        same("the digest", token.digest, digest(1));
    }
    same("what is over is not there", is_there(1, 100).await.is_none(), true);
    same("nor taken", done("take", tokens.take(&digest(4), at(100)).await), false);
    let taken = how_many(|_| {
        let tokens = Arc::clone(&tokens);
        async move { done("take", tokens.take(&digest(1), at(1)).await) }
    })
    .await;
    same("taken", taken, 1);
    same("what was taken is gone", is_there(1, 1).await.is_none(), true);
    done("forget", tokens.forget("contract-ada").await);
    same("what was forgotten is gone", is_there(2, 1).await.is_none(), true);
    same("another one's stays", is_there(3, 1).await.is_some(), true);
    done("sweep", tokens.sweep(at(99)).await);
    same("what is good is not swept", is_there(3, 1).await.is_some(), true);
    done("sweep", tokens.sweep(at(100)).await);
    done("forget", tokens.forget("contract-bob").await);
    same("what is over is swept", is_there(3, 1).await.is_none(), true);
}

/// Checks that a store does what [`KeyStore`] says, also where many ask at once. It has nothing whose id begins with `contract`, and is left without it.
///
/// # Panics
/// Where it does something else.
pub async fn key_store_contract(keys: Arc<dyn KeyStore>) {
    let identity = Identity::builder("contract", "ada").kind(IdentityKind::Key).role("clerk");
    let identity = identity.scopes(["orders:read"]).build();
    let mut key = KeyRecord::new("contract-1", digest(1), identity, at(0));
    key.user = Some("contract-ada".into());
    key.label = "the till".into();
    key.expires = Some(at(1_000));
    let added = how_many(|_| {
        let (keys, key) = (Arc::clone(&keys), key.clone());
        async move { done("add", keys.add(key).await) }
    })
    .await;
    same("added", added, 1);
    let machine = Identity::builder("api-key", "ci").kind(IdentityKind::Key).build();
    let machine = KeyRecord::new("contract-2", digest(2), machine, at(1));
    same("another one", done("add", keys.add(machine).await), true);
    let find = async |number: u8| done("find", keys.find(&digest(number)).await);
    let found = find(1).await.unwrap_or_else(|| fail("a key is found".to_owned()));
    same("its id", &*found.id, "contract-1");
    same("its label", &*found.label, "the till");
    same("its user", found.user.as_deref(), Some("contract-ada"));
    same("whom it stands for", found.identity.to_json(), key.identity.to_json());
    same("made", found.created, at(0));
    same("good until", found.expires, Some(at(1_000)));
    same("never used", found.used, None);
    same("good", found.is_good(&digest(1), at(999)), true);
    same("over", found.is_good(&digest(1), at(1_000)), false);
    same("nobody's", find(9).await.is_none(), true);
    done("mark", keys.mark("contract-1", at(60)).await);
    let used = done("by_id", keys.by_id("contract-1").await).and_then(|it| it.used);
    same("used", used, Some(at(60)));
    let ids = async |user: Option<&str>| {
        let list = done("list", keys.list(user).await);
        let ids = list.iter().map(|it| it.id.to_string()).filter(|id| id.starts_with("contract"));
        ids.collect::<Vec<_>>()
    };
    same("a user's keys", ids(Some("contract-ada")).await, vec!["contract-1".to_owned()]);
    let all = vec!["contract-1".to_owned(), "contract-2".to_owned()];
    same("all keys", ids(None).await, all);
    let rotated = how_many(|number| {
        let keys = Arc::clone(&keys);
        async move {
            let after = digest(100 + u8::try_from(number).unwrap_or_default());
            done("rotate", keys.rotate("contract-1", &digest(1), &after, at(100)).await)
        }
    })
    .await;
    same("rotated", rotated, 1);
    let old = find(1).await.unwrap_or_else(|| fail("the key before is found too".to_owned()));
    same("good for a while", old.is_good(&digest(1), at(99)), true);
    same("and no longer", old.is_good(&digest(1), at(100)), false);
    same("the new one", old.is_good(&old.digest, at(100)), true);
    for odd in ["contract-2 ", "contract-2\0", "CONTRACT-2", ""] {
        let found = done("by_id", keys.by_id(odd).await);
        same("an id that is nearly another one", found.is_none(), true);
        same("nor ended", done("end", keys.end(odd).await), false);
    }
    let wrong = keys.rotate("contract-2", &digest(1), &digest(3), at(100)).await;
    same("a key whose text is another one", done("rotate", wrong), false);
    same("ended", done("end", keys.end("contract-1").await), true);
    same("ended once", done("end", keys.end("contract-1").await), false);
    same("what has ended is not found", find(1).await.is_none(), true);
    same("nor by what it had last", done("find", keys.find(&old.digest).await).is_none(), true);
    same("ended", done("end", keys.end("contract-2").await), true);
}
