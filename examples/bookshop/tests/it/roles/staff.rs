//! People with a key each, and orders of theirs.
use std::net::SocketAddr;

use portcullis::authn::{Email, KeyRecord, KeyStore, NewApiKey, Users};
use portcullis::authz::{Binding, RoleEdit, Scope};
use portcullis::server::Server;
use portcullis::{Clock, Identity, IdentityBuilder};
use portcullis_sqlx::{ManagedUsers, Rights};
use sqlx::SqlitePool;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::shop::Shop;

/// How somebody has a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    /// It stands in their account, or in their key.
    ByAccount,
    /// A manager has given it to them in this branch.
    In(&'static str),
    /// It stands in the database that they have it above all branches.
    Everywhere,
}

/// Somebody with a key.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) identity: Identity,
    pub(crate) key: String,
    pub(crate) role: &'static str,
    pub(crate) given: Given,
}

impl Person {
    /// Makes a key of a program that acts for somebody with an account.
    pub(crate) async fn of_account(shop: &Shop, user: &str) -> Self {
        let users = shop.store.stores().users().await.unwrap();
        let identity = users.by_id(user).await.unwrap().unwrap().identity;
        let key = NewApiKey::generate("bookshop");
        let now = Clock::system().wall();
        let mut record = KeyRecord::new(user, key.digest(), identity.clone(), now);
        record.user = Some(user.into());
        assert!(shop.store.stores().keys().await.unwrap().add(record).await.unwrap());
        let key = key.key().expose().clone();
        Self { identity, key, role: "customer", given: Given::ByAccount }
    }
    /// Makes a key for somebody who has this role and no other.
    pub(crate) async fn hired(
        shop: &Shop,
        subject: &str,
        branch: Option<&str>,
        role: &'static str,
        given: Given,
    ) -> Self {
        let identity = Identity::builder("account", subject);
        let mut identity = branch.into_iter().fold(identity, IdentityBuilder::tenant);
        let scope = match given {
            Given::ByAccount => {
                identity = identity.role(role);
                None
            }
            Given::In(branch) => Some(Scope::Tenant(branch.into())),
            Given::Everywhere => Some(Scope::Everywhere),
        };
        let identity = identity.build();
        if let Some(scope) = scope {
            let binding = Binding::for_key(identity.key(), role).within(scope);
            shop.roles.change(&[RoleEdit::Assign(binding)]).await.unwrap();
        }
        let key = NewApiKey::generate("bookshop");
        let now = Clock::system().wall();
        let record = KeyRecord::new(subject, key.digest(), identity.clone(), now);
        assert!(shop.store.stores().keys().await.unwrap().add(record).await.unwrap());
        Self { identity, key: key.key().expose().clone(), role, given }
    }
}

/// Makes an account in a branch, and hands out its number.
pub(crate) async fn account(shop: &Shop, email: &str, branch: Option<&str>) -> String {
    let users = shop.store.stores().users().await.unwrap();
    let email = Email::parse(email).unwrap();
    let account = users.add(&email, "no password").await.unwrap().unwrap();
    let mut rights = Rights::default();
    rights.tenant = branch.map(str::to_owned);
    assert!(users.set_rights(account.id(), &rights).await.unwrap());
    account.id().to_owned()
}

/// An order in the database.
pub(crate) async fn order(pool: &SqlitePool, owner: &Identity, branch: Option<&str>) -> i64 {
    let order = "insert into orders (customer, book, quantity, tenant, owner) values (?, 7, 1, ?, ?) returning id";
    let order = sqlx::query_scalar(order).bind(owner.subject()).bind(branch);
    order.bind(owner.key().to_string()).fetch_one(pool).await.unwrap()
}

/// Whether an order is still there.
pub(crate) async fn is_there(pool: &SqlitePool, id: i64) -> bool {
    let count = sqlx::query_scalar::<_, i64>("select count(*) from orders where id = ?");
    count.bind(id).fetch_one(pool).await.unwrap() == 1
}

/// The shop on a socket.
pub(crate) fn serve(shop: &Shop) -> SocketAddr {
    let server = Server::bind("127.0.0.1:0").open().unwrap();
    let address = server.addresses()[0];
    tokio::spawn(server.serve(shop.router.clone()));
    address
}

/// What was answered: the status and the body, which is empty where it goes on for ever.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
    /// The slug of the problem, where it is one.
    pub(crate) fn problem(&self) -> String {
        let json = serde_json::from_str::<serde_json::Value>(&self.body).unwrap_or_default();
        let kind = json["type"].as_str().unwrap_or_default();
        kind.rsplit(['#', '/']).next().unwrap_or_default().to_owned()
    }
}

/// Asks over a connection of its own.
pub(crate) async fn ask(
    address: SocketAddr,
    key: Option<&str>,
    method: &str,
    path: &str,
    json: Option<&str>,
) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let key = key.map_or(String::new(), |key| format!("x-api-key: {key}\r\n"));
    let body = json.unwrap_or_default();
    let kind = if json.is_some() { "content-type: application/json\r\n" } else { "" };
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {length}\r\n{key}{kind}\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    loop {
        let read = stream.read_buf(&mut bytes).await.unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let head = text.split_once("\r\n\r\n");
        let goes_on = head.is_some_and(|(head, _)| head.contains("text/event-stream"));
        if read > 0 && !goes_on {
            continue;
        }
        let (head, body) = head.unwrap_or_else(|| panic!("{method} {path}: {text}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let body = if goes_on { "" } else { body };
        return Answer { status, body: whole(head, body) };
    }
}

/// A body without the lengths of its pieces.
fn whole(head: &str, mut body: &str) -> String {
    if !head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        return body.to_owned();
    }
    let mut all = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        all.push_str(&rest[..length]);
        body = rest[length..].trim_start_matches("\r\n");
        if length == 0 {
            break;
        }
    }
    all
}
