//! Check 36: every role, every route, every kind of object, over HTTP, against what the rules say by hand.
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use portcullis::{Identity, IdentityBuilder};
use serde_json::{Value, json};
use sqlx::SqlitePool;

use super::staff::{Answer, Given, Person, account, ask, is_there, order, serve};
use crate::shop::{File, Shop};

const ROLES: [&str; 6] = ["reader", "customer", "clerk", "auditor", "manager", "operator"];

/// With whose objects a role permits something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Power {
    All,
    Own,
    No,
}

/// What the roles mean, written down a second time.
fn power(role: &str, action: &str) -> Power {
    let (all, own): (&[_], &[_]) = match action {
        "orders:read" => (&["clerk", "manager"], &["reader", "customer", "auditor"]),
        "orders:write" => (&["clerk", "manager"], &["customer"]),
        "orders:audit" => (&["auditor", "manager"], &[]),
        "roles:assign" => (&["manager"], &[]),
        other => panic!("nobody has heard of `{other}`"),
    };
    if role == "operator" || all.contains(&role) {
        Power::All
    } else if own.contains(&role) {
        Power::Own
    } else {
        Power::No
    }
}

/// An order, or somebody who is given a role.
#[derive(Clone, Debug)]
pub(super) struct Object {
    name: String,
    branch: Option<&'static str>,
    owner: String,
}

impl Person {
    /// Whether they may do something with an object.
    fn may(&self, action: &str, object: &Object) -> bool {
        let reaches = match self.given {
            Given::ByAccount => object.branch.is_none() || object.branch == self.identity.tenant(),
            Given::In(branch) => object.branch == Some(branch),
            Given::Everywhere => true,
        };
        let is_own = object.owner == self.identity.key().to_string();
        let power = power(self.role, action);
        reaches && (power == Power::All || (power == Power::Own && is_own))
    }
    /// Whether the route lets them in at all.
    fn passes(&self, action: &str) -> bool {
        power(self.role, action) != Power::No
    }
}

/// The shop, whoever works there, and something of each kind that there can be.
pub(super) struct World {
    shop: Shop,
    address: SocketAddr,
    pool: SqlitePool,
    file: File,
    people: Vec<Object>,
}

impl World {
    async fn new() -> Self {
        let file = File::new();
        let shop = Shop::on(&file.url()).await;
        let pool = SqlitePool::connect(&file.url()).await.unwrap();
        let mut people = Vec::new();
        for (email, branch) in
            [("lou@leeds.example", Some("leeds")), ("yan@york.example", Some("york"))]
        {
            let name = account(&shop, email, branch).await;
            people.push(Object { name, branch, owner: String::new() });
        }
        Self { address: serve(&shop), shop, pool, file, people }
    }
    /// Fresh orders: the person's own, here and elsewhere, and those of others.
    async fn orders(&self, of: &Identity) -> Vec<Object> {
        let other = |tenant: Option<&str>| {
            let other = Identity::builder("account", "somebody else");
            tenant.into_iter().fold(other, IdentityBuilder::tenant).build()
        };
        // Whose name is the same, by the word of another issuer, and in another branch.
        let key = of
            .tenant()
            .into_iter()
            .fold(Identity::builder("api-key", of.subject()), IdentityBuilder::tenant);
        let namesake = Identity::builder("account", of.subject()).tenant("york").build();
        let mut all = Vec::new();
        for (owner, branch) in [
            (of.clone(), of.tenant().map(|_| "leeds")),
            (of.clone(), None),
            (of.clone(), Some("york")),
            (key.build(), of.tenant().map(|_| "leeds")),
            (namesake, Some("york")),
            (other(Some("leeds")), Some("leeds")),
            (other(Some("york")), Some("york")),
            (other(None), None),
        ] {
            let name = order(&self.pool, &owner, branch).await.to_string();
            all.push(Object { name, branch, owner: owner.key().to_string() });
        }
        all
    }
    async fn ask(&self, who: Option<&Person>, line: &str, json: Option<Value>) -> Answer {
        // So that no limit is in the way.
        self.shop.time.advance(Duration::from_secs(15));
        let (method, path) = line.split_once(' ').unwrap();
        let json = json.map(|json| json.to_string());
        let key = who.map(|it| it.key.as_str());
        ask(self.address, key, method, path, json.as_deref()).await
    }
}

/// The numbers in a list of orders.
fn numbers(answer: &Answer) -> BTreeSet<String> {
    let list = answer.json();
    list.as_array().unwrap().iter().map(|it| it["id"].to_string()).collect()
}

/// What a route answers whoever is not let in.
fn refusal(who: Option<&Person>) -> (u16, &'static str) {
    if who.is_some() { (403, "permission-denied") } else { (401, "authentication-required") }
}

impl World {
    /// Holds every answer of one route against the rules.
    async fn check(&self, who: Option<&Person>, line: &str) {
        let name = who.map(|it| (it.role, it.given, it.identity.tenant()));
        let name = format!("{line} {name:?}");
        let passes = |action| who.is_some_and(|who| who.passes(action));
        let may = |action, object: &Object| who.is_some_and(|who| who.may(action, object));
        let nobody = Identity::builder("account", "nobody").build();
        let identity = who.map_or(&nobody, |who| &who.identity);
        let action = match line {
            "GET /" | "GET /books" => return self.expect(who, line, None, 200, &name).await,
            "GET /books/{id}" => return self.expect(who, "GET /books/7", None, 200, &name).await,
            "* /catalogue/{*rest}" => {
                return self.expect(who, "GET /catalogue/authors", None, 200, &name).await;
            }
            "* /account/{*rest}" => {
                return self.expect(who, "GET /account/login", None, 200, &name).await;
            }
            "GET /me" => {
                let status = if who.is_some() { 200 } else { 401 };
                return self.expect(who, line, None, status, &name).await;
            }
            "GET /orders" | "GET /orders/{id}" | "GET /orders/events" => "orders:read",
            "POST /orders" | "DELETE /orders/{id}" => "orders:write",
            "GET /orders/all" => "orders:audit",
            "GET /admin/roles" | "POST /admin/roles" | "POST /admin/roles/revoke" => "roles:assign",
            other => panic!("say what is to be expected of `{other}`"),
        };
        if !passes(action) {
            // Whatever it is about, and whether it is there or not.
            let order = &self.orders(identity).await[0];
            let line = line.replace("{id}", &order.name);
            let json = line.starts_with("POST").then(|| json!({}));
            let answer = self.ask(who, &line, json).await;
            assert_eq!((answer.status, answer.problem().as_str()), refusal(who), "{name}");
            assert!(is_there(&self.pool, order.name.parse().unwrap()).await, "{name}");
            return;
        }
        match line {
            "GET /orders" | "GET /orders/all" => {
                let objects = self.orders(identity).await;
                let seen = numbers(&self.ask(who, line, None).await);
                for object in &objects {
                    let is_seen = seen.contains(&object.name);
                    assert_eq!(is_seen, may(action, object), "{name} {object:?}");
                }
            }
            "GET /orders/events" => self.expect(who, line, None, 200, &name).await,
            "GET /orders/{id}" | "DELETE /orders/{id}" => {
                let nothing = Object { name: "987654".into(), branch: None, owner: String::new() };
                for object in self.orders(identity).await.iter().chain([&nothing]) {
                    let is_real = object.name != nothing.name;
                    let line = line.replace("{id}", &object.name);
                    let answer = self.ask(who, &line, None).await;
                    let reads = is_real && may("orders:read", object);
                    let want = match (line.starts_with("GET"), reads, may(action, object)) {
                        (_, false, _) => 404,
                        (true, true, _) => 200,
                        (false, true, true) => 204,
                        (false, true, false) => 403,
                    };
                    assert_eq!(answer.status, want, "{name} {object:?}");
                    if want == 404 {
                        assert_eq!(answer.problem(), "order-unknown", "{name} {object:?}");
                        // What is not there and what is somebody else's looks the same.
                        let detail = format!("there is no order {}", object.name);
                        assert_eq!(answer.json()["detail"], detail, "{name}");
                    }
                    let is_left = is_there(&self.pool, object.name.parse().unwrap()).await;
                    assert_eq!(is_left, is_real && want != 204, "{name} {object:?}");
                }
            }
            "POST /orders" => {
                let branch = identity.tenant().map(|_| "leeds");
                let owner = identity.key().to_string();
                let status = if may(action, &Object { name: String::new(), branch, owner }) {
                    201
                } else {
                    403
                };
                let json = json!({ "book": 7, "quantity": 1 });
                self.expect(who, line, Some(json), status, &name).await;
            }
            "GET /admin/roles" => {
                let list = self.ask(who, line, None).await.json();
                let has = |object: &Object| {
                    list.as_array().unwrap().iter().any(|it| it["user"] == object.name)
                };
                for object in &self.people {
                    assert_eq!(has(object), may(action, object), "{name} {object:?}");
                }
            }
            _ => {
                for object in &self.people {
                    let json = json!({ "user": object.name, "role": "reader" });
                    let status = if may(action, object) { 200 } else { 404 };
                    self.expect(who, line, Some(json), status, &name).await;
                }
            }
        }
    }
    async fn expect(
        &self,
        who: Option<&Person>,
        line: &str,
        json: Option<Value>,
        status: u16,
        name: &str,
    ) {
        let answer = self.ask(who, line, json).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.body);
    }
    /// The routes, each with one method.
    fn lines(&self) -> Vec<String> {
        let rows = self.shop.matrix.rows().iter();
        rows.map(|row| format!("{} {}", row.method, row.template)).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_role_gets_from_every_route_what_the_rules_say_of_every_object() {
    let world = World::new().await;
    let roles: BTreeSet<_> = world.shop.matrix.columns().collect();
    let known: BTreeSet<_> = ROLES.into_iter().chain(["(nobody)", "(anybody)"]).collect();
    assert_eq!(roles, known, "say what a new role may do");
    let mut staff = vec![None];
    for role in ROLES {
        for (branch, given) in [
            (None, Given::ByAccount),
            (Some("leeds"), Given::ByAccount),
            (Some("leeds"), Given::In("leeds")),
            (None, Given::Everywhere),
        ] {
            let name = format!("{role}-{}", staff.len());
            staff.push(Some(Person::hired(&world.shop, &name, branch, role, given).await));
        }
    }
    for who in &staff {
        for line in world.lines() {
            world.check(who.as_ref(), &line).await;
        }
    }
}

/// The table that people look at says of each route what a request gets.
#[tokio::test(flavor = "multi_thread")]
async fn the_table_says_whom_each_route_lets_in() {
    let world = World::new().await;
    let columns: Vec<_> = world.shop.matrix.columns().map(str::to_owned).collect();
    for (at, column) in columns.iter().enumerate() {
        let role = ROLES.into_iter().find(|role| role == column);
        let who = match (column.as_str(), role) {
            ("(nobody)", _) => None,
            (_, None) => Some(Person::hired(&world.shop, "x", None, "", Given::ByAccount).await),
            (_, Some(role)) => {
                Some(Person::hired(&world.shop, role, None, role, Given::ByAccount).await)
            }
        };
        for row in world.shop.matrix.rows() {
            let method = if row.method == "*" { "GET" } else { &row.method };
            let path = row.template.replace("{id}", "987654").replace("{*rest}", "login");
            let json = (method == "POST").then(|| json!({}));
            let answer = world.ask(who.as_ref(), &format!("{method} {path}"), json).await;
            let is_let_in = row.cells[at].word() != "deny";
            let is_refused = (answer.status, answer.problem().as_str()) == refusal(who.as_ref());
            assert_eq!(is_let_in, !is_refused, "{method} {path} {column}: {answer:?}");
        }
    }
}

/// Check 37: whatever somebody's role in one branch, the other one's objects are not there for them, on any route.
#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_one_branch_is_not_there_for_another_one() {
    let world = World::new().await;
    let york = Identity::builder("account", "yan").tenant("york").build();
    for role in ROLES {
        for given in [Given::ByAccount, Given::In("leeds")] {
            let name = format!("{role}-{given:?}");
            let who = Person::hired(&world.shop, &name, Some("leeds"), role, given).await;
            let number = order(&world.pool, &york, Some("york")).await;
            let person = &world.people[1];
            for line in world.lines() {
                let line = line.replace('*', "GET").replace("{GETrest}", "login");
                let is_about_orders = line.contains("/orders");
                let line = line.replace("/orders/{id}", &format!("/orders/{number}"));
                let line = line.replace("{id}", "7");
                let json = match line.as_str() {
                    "POST /orders" => json!({ "book": 7, "quantity": 1 }),
                    _ => json!({ "user": person.name, "role": "reader" }),
                };
                let json = line.starts_with("POST").then_some(json);
                let answer = world.ask(Some(&who), &line, json).await;
                let name = format!("{line} {who:?}: {answer:?}");
                let names_it = line.contains(&format!("/orders/{number}"));
                if names_it || line.starts_with("POST /admin") {
                    assert!([403, 404].contains(&answer.status), "{name}");
                } else if is_about_orders || line.contains("/admin") {
                    let orders = answer.body.contains(&format!("\"id\":{number},"));
                    assert!(!orders && !answer.body.contains(&person.name), "{name}");
                }
                assert!(is_there(&world.pool, number).await, "{name}");
            }
        }
    }
    assert_eq!(world.shop.roles.current().assigned_users("reader").count(), 1, "{ROLES:?}");
    drop(world.file);
}
