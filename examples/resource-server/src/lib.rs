//! Notes of whoever calls, known by a token of somebody else's. See the README beside this file's folder.
use axum::Json;
use portcullis::authn::RemoteKeys;
use portcullis::axum::{Caller, Claims, Guarded, get, post};
use portcullis::prelude::*;
use portcullis::{BoxError, require};
use serde::Deserialize;
use serde_json::{Value, json};

/// What a handler wants to know of a token.
#[derive(Debug, Deserialize)]
struct Author {
    sub: String,
    /// Who has no name is called by their subject.
    name: Option<String>,
}

async fn notes(Caller(who): Caller<Identity>) -> Json<Value> {
    Json(json!({ "notes": [], "of": who.subject(), "tenant": who.tenant() }))
}

async fn write(Caller(Claims(author)): Caller<Claims<Author>>) -> Json<Value> {
    Json(json!({ "by": author.name.unwrap_or(author.sub) }))
}

/// The issuer's tokens that are for us, by its own keys.
///
/// # Errors
/// What it is given is not enough to know an issuer by.
pub fn issuer(name: &str, audience: &str, keys: RemoteKeys) -> Result<TokenIssuer, ConfigErrors> {
    TokenIssuer::builder(name)
        .audience(audience)
        .remote_keys(keys)
        .claims(ClaimNames::new().roles("/roles").tenant("/org"))
        .role("notes-writer", "writer")
        .build()
}

/// The API with everything in front of it.
///
/// # Errors
/// A stack that does not fit together.
pub fn app(issuer: TokenIssuer) -> Result<axum::Router, BoxError> {
    let api = Guarded::new().route("/notes", get(notes), require("notes:read")).route(
        "/notes",
        post(write),
        require("notes:write"),
    );
    let roles = Roles::builder()
        .role("reader")
        .permits("notes:read")
        .role("writer")
        .inherits("reader")
        .permits("notes:write")
        .build()?;
    let stack = Stack::new()
        .layer(ObserveLayer::default())
        .layer(EdgeLayer::default())
        .layer(api.route_layer())
        .layer(AuthenticateLayer::new().bearer(issuer))
        .layer(AuthorizeLayer::new(roles));
    Ok(axum::Router::new().fallback_service(stack.around(api)?))
}
