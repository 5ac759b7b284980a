//! The shop's handlers: plain axum, with [`Caller`] and [`Problem`] from portcullis.
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use portcullis::axum::{Caller, Problem, Valid};
use portcullis::problem::kinds::INTERNAL_ERROR;
use portcullis::{Identity, ProblemKind};
use serde::{Deserialize, Serialize};
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::{Stream, StreamExt};

use crate::store::{Book, Order, Store};

const BOOK_UNKNOWN: ProblemKind = ProblemKind::new(
    "https://bookshop.example/problems/book-unknown",
    StatusCode::NOT_FOUND,
    "The shop does not have this book",
);
const QUANTITY_INVALID: ProblemKind = ProblemKind::new(
    "https://bookshop.example/problems/quantity-invalid",
    StatusCode::UNPROCESSABLE_ENTITY,
    "The quantity is not valid",
);

#[derive(Deserialize)]
pub(crate) struct Search {
    #[serde(default)]
    author: String,
}

pub(crate) async fn books(
    State(store): State<Store>,
    Valid(Query(search)): Valid<Query<Search>>,
) -> Result<Json<Vec<Book>>, Problem> {
    Ok(Json(store.books(&search.author).await.map_err(failed)?))
}

pub(crate) async fn book(
    State(store): State<Store>,
    Valid(Path(id)): Valid<Path<i64>>,
) -> Result<Json<Book>, Problem> {
    let book = store.book(id).await.map_err(failed)?;
    Ok(Json(
        book.ok_or_else(|| Problem::new(BOOK_UNKNOWN).detail(format!("there is no book {id}")))?,
    ))
}

#[derive(Serialize)]
pub(crate) struct Me {
    subject: String,
    roles: Vec<String>,
}

pub(crate) async fn me(Caller(who): Caller<Identity>) -> Json<Me> {
    Json(Me { subject: who.subject().to_owned(), roles: who.roles().map(str::to_owned).collect() })
}

pub(crate) async fn my_orders(
    Caller(who): Caller<Identity>,
    State(store): State<Store>,
) -> Result<Json<Vec<Order>>, Problem> {
    Ok(Json(store.orders(Some(who.subject())).await.map_err(failed)?))
}

pub(crate) async fn all_orders(State(store): State<Store>) -> Result<Json<Vec<Order>>, Problem> {
    Ok(Json(store.orders(None).await.map_err(failed)?))
}

/// My orders as they are taken, for as long as I am logged in.
pub(crate) async fn my_new_orders(
    Caller(who): Caller<Identity>,
    State(store): State<Store>,
) -> Sse<impl Stream<Item = Result<Event, axum::Error>>> {
    let orders = BroadcastStream::new(store.taken()).filter_map(move |order| {
        // Who is too slow misses some.
        let order = order.ok().filter(|order| order.customer == who.subject())?;
        Some(Event::default().event("order").json_data(order))
    });
    Sse::new(orders).keep_alive(KeepAlive::default())
}

#[derive(Deserialize)]
pub(crate) struct NewOrder {
    book: i64,
    quantity: i64,
}

pub(crate) async fn order(
    Caller(who): Caller<Identity>,
    State(store): State<Store>,
    Valid(Json(NewOrder { book, quantity })): Valid<Json<NewOrder>>,
) -> Result<(StatusCode, Json<Order>), Problem> {
    if !(1..=100).contains(&quantity) {
        return Err(Problem::new(QUANTITY_INVALID).detail("order 1 to 100 copies"));
    }
    if store.book(book).await.map_err(failed)?.is_none() {
        return Err(Problem::new(BOOK_UNKNOWN).detail(format!("there is no book {book}")));
    }
    Ok((
        StatusCode::CREATED,
        Json(store.order(who.subject(), book, quantity).await.map_err(failed)?),
    ))
}

/// The client learns that we failed, the log learns why.
pub(crate) fn failed(error: sqlx::Error) -> Problem {
    Problem::new(INTERNAL_ERROR).cause(error)
}
