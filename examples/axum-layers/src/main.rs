//! Three layers on an axum router that knows nothing of them. See the README beside this file's folder.
use std::env;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use portcullis::EdgeLayer;
use portcullis::axum::BridgeLayer;
use portcullis::ratelimit::{Key, RateLimitLayer, per_minute};
use tokio::net::TcpListener;

/// The router as it was, and three lines more.
fn app() -> Router {
    Router::new()
        .route("/", get(|| async { "hello\n" }))
        .route("/books/{id}", get(|Path(id): Path<u32>| async move { format!("book {id}\n") }))
        // In axum the layer that is added last is the outermost: read these from below.
        .layer(
            RateLimitLayer::before_authentication()
                .everywhere(per_minute(12).burst(5).by(Key::Address)),
        )
        .layer(EdgeLayer::default())
        .layer(BridgeLayer::new())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let address = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(address).await?;
    let here = listener.local_addr()?;
    #[expect(clippy::print_stdout, reason = "it is what the example is started for")]
    {
        println!("Listening on http://{here}. Try:");
        println!(
            "# a book -> 200, with a request id, security headers, and how many requests are left"
        );
        println!("curl -i 'http://{here}/books/7'");
        println!("# a path that could be read in two ways -> 400 target-invalid");
        println!("curl -i --path-as-is 'http://{here}/books/..%2f7'");
        println!("# more than five at once -> 429 quota-exceeded");
        println!("for i in $(seq 6); do curl -i 'http://{here}/'; done");
    }
    // Without connect info nobody knows the client's address, and all clients share one limit.
    axum::serve(listener, app().into_make_service_with_connect_info::<SocketAddr>()).await
}

#[cfg(test)]
mod tests {
    use axum::extract::ConnectInfo;
    use portcullis_testkit::{TestClient, TestRequest};

    use super::*;

    /// As axum's server says it: who is at the other end.
    fn from<S>(request: TestRequest<S>, peer: [u8; 4]) -> TestRequest<S> {
        request.extension(ConnectInfo(SocketAddr::from((peer, 50_000))))
    }

    #[tokio::test]
    async fn each_client_has_a_limit_of_its_own() {
        let client = TestClient::new(app());
        for number in 0..5 {
            let answer = from(client.get("/books/7"), [192, 0, 2, 1]).send().await;
            answer.assert_status(200);
            assert_eq!(answer.text(), "book 7\n", "{number}");
            assert!(answer.header("x-request-id").is_some());
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
            assert_eq!(answer.header("ratelimit-policy"), Some("\"everywhere\";q=5;w=25"));
            let left = format!("\"everywhere\";r={};t=", 4 - number);
            assert!(answer.header("ratelimit").unwrap().starts_with(&left), "{left}");
        }
        let refused = from(client.get("/"), [192, 0, 2, 1]).send().await;
        refused.assert_status(429).assert_problem("quota-exceeded");
        let after: u32 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=5).contains(&after), "{after}");
        from(client.get("/"), [192, 0, 2, 2]).send().await.assert_status(200);
    }

    #[tokio::test]
    async fn what_could_be_read_in_two_ways_is_refused() {
        let client = TestClient::new(app());
        for path in ["/books/..%2f7", "/books/7%00", "/books/%5c"] {
            client.get(path).send().await.assert_status(400).assert_problem("target-invalid");
        }
    }
}
