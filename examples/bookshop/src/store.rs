//! The shop's database.
use std::sync::{Arc, Mutex};

use portcullis::authz::{Columns, Filter, Resource};
use portcullis::{BoxError, Identity};
use portcullis_sqlx::{FilterExt, SqliteStores};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqlitePool, SqlitePoolOptions};
use sqlx::{Connection, QueryBuilder};
use tokio::sync::broadcast;

/// The shop's books and orders, in SQLite.
#[derive(Clone, Debug)]
pub struct Store {
    pool: SqlitePool,
    /// Tells of each order that is taken here.
    taken: broadcast::Sender<Order>,
    /// A database in memory lives as long as some connection to it, and the pool may close all of its own: a request
    /// that is cancelled takes its connection with it. This one nobody uses, so it stays.
    _keeper: Arc<Mutex<SqliteConnection>>,
}

/// A book of the shop.
#[derive(Debug, Deserialize, Serialize, sqlx::FromRow)]
pub(crate) struct Book {
    id: i64,
    pub(crate) title: String,
    pub(crate) author: String,
    pub(crate) year: i64,
    price_cents: i64,
    /// How many copies are ordered.
    #[serde(default)]
    ordered: i64,
}

impl Book {
    /// What answers are tagged with that show it.
    pub(crate) fn tag(&self) -> String {
        tag_of(self.id)
    }
}

/// The tag of a book, by its number.
pub(crate) fn tag_of(book: i64) -> String {
    format!("book-{book}")
}

/// An order for a book.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub(crate) struct Order {
    id: i64,
    customer: String,
    pub(crate) book: i64,
    quantity: i64,
    /// The branch that took it.
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    /// The whole key of the customer: somebody else's name may be the same.
    #[serde(skip)]
    owner: Option<String>,
}

impl Order {
    /// Where it stands in the table whose an order is.
    pub(crate) const WHOSE: Columns = Columns::new().tenant("tenant").owner("owner");

    /// The same of one order, for whoever wants to do something with it.
    pub(crate) fn resource(&self) -> Resource {
        whose(self.id.to_string(), self.tenant.as_deref(), self.owner.as_deref())
    }
    /// An order that somebody wants to make.
    pub(crate) fn new_of(who: &Identity) -> Resource {
        whose("new".to_owned(), who.tenant(), Some(&who.key().to_string()))
    }
}

fn whose(id: String, tenant: Option<&str>, owner: Option<&str>) -> Resource {
    let order = Resource::new("order", id);
    let order = tenant.into_iter().fold(order, Resource::tenant);
    owner.into_iter().fold(order, Resource::owner)
}

const STOCK: &str = include_str!("../books.csv");

macro_rules! books {
    ($which:literal) => {
        concat!(
            "select *, (select coalesce(sum(quantity), 0) from orders where book = books.id) as ordered from books ",
            $which
        )
    };
}

impl Store {
    /// Opens the database at `url` (`sqlite::memory:` or `sqlite://shop.db?mode=rwc`), and fills the shelves of a new one.
    ///
    /// # Errors
    /// The database cannot be opened, or the tables cannot be made.
    pub async fn open(url: &str) -> Result<Self, BoxError> {
        let options: SqliteConnectOptions = url.parse()?;
        let keeper = SqliteConnection::connect_with(&options).await?;
        let pool = SqlitePoolOptions::new().max_connections(4).connect_with(options).await?;
        for table in [
            "create table if not exists books (id integer primary key, title text not null, \
             author text not null, year integer not null, price_cents integer not null)",
            "create table if not exists orders (id integer primary key, customer text not null, \
             book integer not null references books, quantity integer not null, tenant text, owner text)",
        ] {
            sqlx::query(table).execute(&pool).await?;
        }
        let is_old = "select count(*) = 0 from pragma_table_info('orders') where name = 'owner'";
        if sqlx::query_scalar(is_old).fetch_one(&pool).await? {
            // Orders of before are nobody's own, and clerks see them.
            for column in ["tenant", "owner"] {
                let add = format!("alter table orders add column {column} text");
                sqlx::query(sqlx::AssertSqlSafe(add)).execute(&pool).await?;
            }
        }
        SqliteStores::from_pool(pool.clone()).migrate().await?;
        let (taken, _) = broadcast::channel(100);
        let store = Self { pool, taken, _keeper: Arc::new(Mutex::new(keeper)) };
        store.stock().await?;
        Ok(store)
    }

    /// Closes the database, whoever still wants something of it.
    pub async fn close(&self) {
        self.pool.close().await;
    }
    /// Users, sessions and keys, in the same database.
    pub fn stores(&self) -> SqliteStores {
        SqliteStores::from_pool(self.pool.clone())
    }

    async fn stock(&self) -> Result<(), BoxError> {
        let mut shelves = self.pool.begin().await?;
        for book in csv::Reader::from_reader(STOCK.as_bytes()).deserialize() {
            let Book { id, title, author, year, price_cents, .. } = book?;
            sqlx::query("insert or ignore into books values (?, ?, ?, ?, ?)")
                .bind(id)
                .bind(title)
                .bind(author)
                .bind(year)
                .bind(price_cents)
                .execute(&mut *shelves)
                .await?;
        }
        Ok(shelves.commit().await?)
    }

    /// The books whose author's name contains `author`, the oldest first, 50 at most.
    pub(crate) async fn books(&self, author: &str) -> sqlx::Result<Vec<Book>> {
        sqlx::query_as(books!("where instr(lower(author), lower(?)) order by year, id limit 50"))
            .bind(author)
            .fetch_all(&self.pool)
            .await
    }
    /// The authors, by name, 50 at most.
    pub(crate) async fn authors(&self) -> sqlx::Result<Vec<String>> {
        sqlx::query_scalar("select distinct author from books order by author limit 50")
            .fetch_all(&self.pool)
            .await
    }
    /// One book.
    pub(crate) async fn book(&self, id: i64) -> sqlx::Result<Option<Book>> {
        sqlx::query_as(books!("where id = ?")).bind(id).fetch_optional(&self.pool).await
    }
    /// The orders that somebody may do something with, by when they were taken.
    pub(crate) async fn orders(&self, filter: &Filter) -> sqlx::Result<Vec<Order>> {
        let mut query = QueryBuilder::new("select * from orders where ");
        query.push_filter(filter).push(" order by id");
        query.build_query_as().fetch_all(&self.pool).await
    }
    /// One order.
    pub(crate) async fn order(&self, id: i64) -> sqlx::Result<Option<Order>> {
        let order = sqlx::query_as("select * from orders where id = ?");
        order.bind(id).fetch_optional(&self.pool).await
    }
    /// Takes an order.
    pub(crate) async fn take(
        &self,
        who: &Identity,
        book: i64,
        quantity: i64,
    ) -> sqlx::Result<Order> {
        let order: Order = sqlx::query_as(
            "insert into orders (customer, book, quantity, tenant, owner) values (?, ?, ?, ?, ?) returning *",
        )
        .bind(who.subject())
        .bind(book)
        .bind(quantity)
        .bind(who.tenant())
        .bind(who.key().to_string())
        .fetch_one(&self.pool)
        .await?;
        // Where nobody listens there is nobody to tell.
        drop(self.taken.send(order.clone()));
        Ok(order)
    }
    /// Forgets an order.
    pub(crate) async fn cancel(&self, id: i64) -> sqlx::Result<()> {
        sqlx::query("delete from orders where id = ?").bind(id).execute(&self.pool).await?;
        Ok(())
    }
    /// The orders that are taken from now on.
    pub(crate) fn taken(&self) -> broadcast::Receiver<Order> {
        self.taken.subscribe()
    }
}
