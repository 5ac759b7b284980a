//! The shop's handlers: plain axum, with [`Caller`], [`Authorized`] and [`Problem`] from portcullis.
use std::collections::BTreeSet;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use portcullis::authz::StoredRoles;
use portcullis::authz::kinds::PERMISSION_DENIED;
use portcullis::axum::{Authorized, Caching, Caller, Problem, Tagged, Valid};
use portcullis::cache::{CacheControl, CacheHandle, Purge};
use portcullis::problem::kinds::INTERNAL_ERROR;
use portcullis::{Identity, ProblemKind};
use serde::{Deserialize, Serialize};
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::{Stream, StreamExt};

use crate::store::{Book, Order, Store, tag_of};

const BOOK_UNKNOWN: ProblemKind = ProblemKind::new(
    "https://bookshop.example/problems/book-unknown",
    StatusCode::NOT_FOUND,
    "The shop does not have this book",
);
const ORDER_UNKNOWN: ProblemKind = ProblemKind::new(
    "https://bookshop.example/problems/order-unknown",
    StatusCode::NOT_FOUND,
    "The shop does not have this order",
);
const QUANTITY_INVALID: ProblemKind = ProblemKind::new(
    "https://bookshop.example/problems/quantity-invalid",
    StatusCode::UNPROCESSABLE_ENTITY,
    "The quantity is not valid",
);

/// For the catalogue, which is the same to everybody. Browsers ask each time, since no purge reaches them; the shop's own cache answers for five minutes, and for an hour more
/// where the database does not.
pub(crate) const SHELF: CacheControl = CacheControl::public()
    .max_age(Duration::ZERO)
    .s_maxage(Duration::from_mins(5))
    .stale_if_error(Duration::from_hours(1));

#[derive(Deserialize)]
pub(crate) struct Search {
    #[serde(default)]
    author: String,
}

pub(crate) async fn books(
    State(store): State<Store>,
    Valid(Query(search)): Valid<Query<Search>>,
) -> Result<(Caching, Tagged<Vec<String>>, Json<Vec<Book>>), Problem> {
    let books = store.books(&search.author).await.map_err(failed)?;
    Ok((Caching(SHELF), Tagged(books.iter().map(Book::tag).collect()), Json(books)))
}

pub(crate) async fn book(
    State(store): State<Store>,
    Valid(Path(id)): Valid<Path<i64>>,
) -> Result<(Caching, Tagged<[String; 1]>, Json<Book>), Problem> {
    let unknown = || Problem::new(BOOK_UNKNOWN).detail(format!("there is no book {id}"));
    let book = store.book(id).await.map_err(failed)?.ok_or_else(unknown)?;
    Ok((Caching(SHELF), Tagged([book.tag()]), Json(book)))
}

/// What the cache has of a book is no longer so. When this returns nobody gets it.
async fn changed(cache: &CacheHandle, book: i64) {
    // The order stands, whatever the cache says; what it has ends by itself.
    drop(cache.purge(Purge::tag(tag_of(book))).await);
}

#[derive(Serialize)]
pub(crate) struct Me {
    subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<String>,
    roles: BTreeSet<String>,
}

pub(crate) async fn me(
    Caller(who): Caller<Identity>,
    State(roles): State<StoredRoles>,
) -> Json<Me> {
    let roles = roles.current();
    // Those that the key or the account has, and those that a manager has given.
    let all = who.roles().chain(roles.assigned_roles(who.key())).map(str::to_owned).collect();
    let (tenant, plan) = (who.tenant().map(str::to_owned), who.plan().map(str::to_owned));
    Json(Me { subject: who.subject().to_owned(), tenant, plan, roles: all })
}

/// The orders that the caller may read: their own, or those of their branch.
pub(crate) async fn orders(
    authorized: Authorized,
    State(store): State<Store>,
) -> Result<Json<Vec<Order>>, Problem> {
    list(&authorized, &store, "orders:read").await
}

/// The orders that the caller may audit.
pub(crate) async fn all_orders(
    authorized: Authorized,
    State(store): State<Store>,
) -> Result<Json<Vec<Order>>, Problem> {
    list(&authorized, &store, "orders:audit").await
}

async fn list(
    authorized: &Authorized,
    store: &Store,
    action: &str,
) -> Result<Json<Vec<Order>>, Problem> {
    let filter = authorized.filter(action, Order::WHOSE)?;
    Ok(Json(store.orders(&filter).await.map_err(failed)?))
}

/// An order, for who may read it. To everybody else it is not there, so that numbers tell nothing.
async fn found(authorized: &Authorized, store: &Store, id: i64) -> Result<Order, Problem> {
    let unknown = || Problem::new(ORDER_UNKNOWN).detail(format!("there is no order {id}"));
    let order = store.order(id).await.map_err(failed)?.ok_or_else(unknown)?;
    match authorized.check("orders:read", &order.resource()) {
        Err(problem) if problem.kind() == PERMISSION_DENIED => Err(unknown()),
        checked => checked.map(|()| order),
    }
}

pub(crate) async fn one_order(
    authorized: Authorized,
    State(store): State<Store>,
    Valid(Path(id)): Valid<Path<i64>>,
) -> Result<Json<Order>, Problem> {
    found(&authorized, &store, id).await.map(Json)
}

pub(crate) async fn cancel(
    authorized: Authorized,
    State(store): State<Store>,
    State(cache): State<CacheHandle>,
    Valid(Path(id)): Valid<Path<i64>>,
) -> Result<StatusCode, Problem> {
    let order = found(&authorized, &store, id).await?;
    authorized.check("orders:write", &order.resource())?;
    store.cancel(id).await.map_err(failed)?;
    changed(&cache, order.book).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Orders that the caller may read, as they are taken, for as long as the caller is logged in.
pub(crate) async fn new_orders(
    authorized: Authorized,
    State(store): State<Store>,
) -> Result<Sse<impl Stream<Item = Result<Event, axum::Error>>>, Problem> {
    authorized.filter("orders:read", Order::WHOSE)?;
    let (who, judge) = (authorized.identity().clone(), authorized.authorizer().clone());
    let orders = BroadcastStream::new(store.taken()).filter_map(move |order| {
        // Who is too slow misses some. A role that is gone since then shows nothing more.
        let order = order.ok()?;
        let may = judge.may(&who, "orders:read", &order.resource());
        may.then(|| Event::default().event("order").json_data(order))
    });
    Ok(Sse::new(orders).keep_alive(KeepAlive::default()))
}

#[derive(Deserialize)]
pub(crate) struct NewOrder {
    book: i64,
    quantity: i64,
}

pub(crate) async fn order(
    authorized: Authorized,
    State(store): State<Store>,
    State(cache): State<CacheHandle>,
    Valid(Json(NewOrder { book, quantity })): Valid<Json<NewOrder>>,
) -> Result<(StatusCode, Json<Order>), Problem> {
    let who = authorized.identity();
    authorized.check("orders:write", &Order::new_of(who))?;
    if !(1..=100).contains(&quantity) {
        return Err(Problem::new(QUANTITY_INVALID).detail("order 1 to 100 copies"));
    }
    if store.book(book).await.map_err(failed)?.is_none() {
        return Err(Problem::new(BOOK_UNKNOWN).detail(format!("there is no book {book}")));
    }
    let order = store.take(who, book, quantity).await.map_err(failed)?;
    changed(&cache, book).await;
    Ok((StatusCode::CREATED, Json(order)))
}

/// The client learns that we failed, the log learns why.
pub(crate) fn failed(error: sqlx::Error) -> Problem {
    Problem::new(INTERNAL_ERROR).cause(error)
}
