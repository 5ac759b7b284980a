//! Three small servers for a gateway to stand in front of. See the README beside this file's folder.
use std::convert::Infallible;

use http::{Request, Response};
use portcullis::Body;
use portcullis::server::Server;
use tower::service_fn;

/// Says who answers, and what it was asked.
fn answer(name: &str, request: &Request<Body>) -> Response<Body> {
    let header = |name: &str| {
        let value = request.headers().get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or("nobody").to_owned()
    };
    let (path, user) = (request.uri().path(), header("x-user"));
    let text = format!("{name}: {} {path} for {user}\n", request.method());
    Response::new(Body::from(text))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut servers = tokio::task::JoinSet::new();
    for (name, place) in [
        ("catalog 1", "http://127.0.0.1:9001"),
        ("catalog 2", "http://127.0.0.1:9002"),
        ("desk", "http://127.0.0.1:9003"),
    ] {
        let server = Server::bind(place).drain_on_signals().open()?;
        servers.spawn(server.serve(service_fn(move |request| async move {
            Ok::<_, Infallible>(answer(name, &request))
        })));
    }
    while let Some(served) = servers.join_next().await {
        served??;
    }
    Ok(())
}
