//! The first page.
use axum::Extension;
use axum::extract::State;
use axum::response::Html;
use portcullis::authn::Session;
use portcullis::axum::Problem;

use crate::api::failed;
use crate::store::Store;

const HEAD: &str = "<!DOCTYPE html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>The bookshop</title><style>body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem}nav a{margin-right:1rem}</style><h1>The bookshop</h1>";

/// The books, and the way to whatever else there is.
pub(crate) async fn home(
    Extension(session): Extension<Session>,
    State(store): State<Store>,
) -> Result<Html<String>, Problem> {
    let links = if session.identity().is_some() {
        "<a href=\"/orders\">My orders</a><a href=\"/account/sessions\">Where I am logged in</a><a href=\"/account/keys\">My keys</a><a href=\"/account/password\">Password</a><a href=\"/account/logout\">Log out</a>"
    } else {
        "<a href=\"/account/login\">Log in</a><a href=\"/account/register\">Register</a>"
    };
    let books = store.books("").await.map_err(failed)?;
    // The titles are the shop's own: nobody else writes them.
    let books =
        books.iter().map(|book| format!("<li>{}, {}, {}</li>", book.author, book.title, book.year));
    Ok(Html(format!("{HEAD}<nav>{links}</nav><ul>{}</ul></html>", books.collect::<String>())))
}
