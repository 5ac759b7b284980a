//! A cart for whoever has a session. See the README beside this file's folder.
use axum::extract::Path;
use axum::{Extension, Json};
use portcullis::authn::{Session, Sessions};
use portcullis::axum::{Caller, Guarded, Problem, delete, get, post};
use portcullis::prelude::*;
use portcullis::{BoxError, authenticated};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What is kept in a session.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Cart {
    books: Vec<u32>,
}

fn failed(error: portcullis::authn::SessionError) -> Problem {
    portcullis::Problem::from(error).into()
}

/// Whoever has said who they are by a key is known by a cookie from now on.
async fn log_in(
    Caller(who): Caller<Identity>,
    Extension(session): Extension<Session>,
) -> Result<Json<Value>, Problem> {
    session.log_in(&who).await.map_err(failed)?;
    Ok(Json(json!({ "subject": who.subject() })))
}

async fn log_out(Extension(session): Extension<Session>) -> Result<Json<Value>, Problem> {
    session.log_out().await.map_err(failed)?;
    Ok(Json(json!({})))
}

async fn cart(Extension(session): Extension<Session>) -> Result<Json<Cart>, Problem> {
    Ok(Json(session.data().map_err(failed)?.unwrap_or_default()))
}

async fn add(
    Path(book): Path<u32>,
    Extension(session): Extension<Session>,
) -> Result<Json<Value>, Problem> {
    let add = |cart: &mut Cart| {
        cart.books.push(book);
        cart.books.len()
    };
    let books = session.update(add).await.map_err(failed)?;
    Ok(Json(json!({ "books": books })))
}

/// Where else they are logged in.
async fn list(Extension(session): Extension<Session>) -> Result<Json<Value>, Problem> {
    let all = session.list().await.map_err(failed)?;
    let all =
        all.iter().map(|it| json!({ "name": it.name, "browser": it.agent, "this": it.is_current }));
    Ok(Json(all.collect()))
}

async fn end(
    Path(name): Path<String>,
    Extension(session): Extension<Session>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "ended": session.end_named(&name).await.map_err(failed)? })))
}

/// The application with everything in front of it.
///
/// # Errors
/// A stack that does not fit together.
pub fn app(sessions: Sessions, keys: ApiKeys) -> Result<axum::Router, BoxError> {
    let api = Guarded::new()
        .route("/session", post(log_in).delete(log_out), authenticated())
        .route("/cart", get(cart), authenticated())
        .route("/cart/{book}", post(add), authenticated())
        .route("/sessions", get(list), authenticated())
        .route("/sessions/{name}", delete(end), authenticated());
    let stack = Stack::new()
        .layer(ObserveLayer::default())
        .layer(EdgeLayer::default())
        .layer(api.route_layer())
        .layer(AuthenticateLayer::new().api_keys(keys).sessions(sessions))
        .layer(AuthorizeLayer::new(Roles::builder().build()?));
    Ok(axum::Router::new().fallback_service(stack.around(api)?))
}
