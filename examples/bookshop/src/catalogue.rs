//! A service of its own behind the shop: the authors, from two replicas. As a team would run it elsewhere, it has its own servers;
//! here they are in the same process, so that the example needs nothing else.
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use portcullis::BoxError;
use portcullis::axum::Caching;
use portcullis::gateway::{HealthCheck, Upstream};
use portcullis::server::Server;

use crate::api::SHELF;
use crate::store::Store;

/// Starts two replicas, and names them as one upstream.
///
/// # Errors
/// They cannot listen.
pub fn replicas(store: &Store) -> Result<Upstream, BoxError> {
    let mut upstream = Upstream::builder("catalogue");
    for _ in 0..2 {
        let service = Router::new()
            .route("/authors", get(authors))
            .route("/healthz", get(|| async { "ok" }))
            .with_state(store.clone());
        let server = Server::bind("127.0.0.1:0").open()?;
        for place in server.places() {
            upstream = upstream.server(place);
        }
        tokio::spawn(server.serve(service));
    }
    let check = HealthCheck::http("/healthz").interval(Duration::from_secs(2));
    Ok(upstream.health(check).build()?)
}

async fn authors(State(store): State<Store>) -> Result<(Caching, Json<Vec<String>>), StatusCode> {
    let authors = store.authors().await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    // Whoever stands in front of it may keep it: it says so as any service would.
    Ok((Caching(SHELF), Json(authors)))
}
