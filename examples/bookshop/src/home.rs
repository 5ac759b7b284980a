//! The first page.
use axum::extract::State;
use axum::response::Html;
use portcullis::QuotaUse;
use portcullis::authz::Resource;
use portcullis::axum::{Authorized, Problem, Quotas};

use crate::api::failed;
use crate::store::Store;

const HEAD: &str = "<!DOCTYPE html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>The bookshop</title><style>body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem}nav a{margin-right:1rem}</style><h1>The bookshop</h1>";

/// Whether somebody finds anything at `/admin/roles`.
fn is_manager(authorized: &Authorized) -> bool {
    let who = authorized.identity();
    let people = Resource::new("user", "any");
    let people = who.tenant().into_iter().fold(people, Resource::tenant);
    authorized.authorizer().may(who, "roles:assign", &people)
}

/// What the caller has left, as a line of a page.
pub(crate) fn left(quotas: &Quotas) -> String {
    let line = |quota: QuotaUse| {
        format!("<p><small>{} of {} requests left</small></p>", quota.remaining, quota.limit)
    };
    quotas.find("api").map(line).unwrap_or_default()
}

/// The books, and the way to whatever else there is.
pub(crate) async fn home(
    authorized: Option<Authorized>,
    quotas: Quotas,
    State(store): State<Store>,
) -> Result<Html<String>, Problem> {
    let links = match &authorized {
        Some(_) => {
            "<a href=\"/orders\">Orders</a><a href=\"/account/sessions\">Where I am logged in</a><a href=\"/account/keys\">My keys</a><a href=\"/account/password\">Password</a><a href=\"/account/logout\">Log out</a>"
        }
        None => "<a href=\"/account/login\">Log in</a><a href=\"/account/register\">Register</a>",
    };
    let is_manager = authorized.as_ref().is_some_and(is_manager);
    let roles = if is_manager { "<a href=\"/admin/roles\">Roles</a>" } else { "" };
    let books = store.books("").await.map_err(failed)?;
    // The titles are the shop's own: nobody else writes them.
    let books =
        books.iter().map(|book| format!("<li>{}, {}, {}</li>", book.author, book.title, book.year));
    let books = books.collect::<String>();
    Ok(Html(format!("{HEAD}<nav>{roles}{links}</nav>{}<ul>{books}</ul></html>", left(&quotas))))
}
