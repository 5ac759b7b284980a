//! Asks the library through the gateway, with everything around the calls that keeps a failing server from taking the client along.
#![expect(clippy::print_stdout, reason = "it is a program for the terminal")]
use std::time::Duration;

use grpc::proto::Id;
use grpc::proto::library_client::LibraryClient;
use portcullis::Body;
use portcullis::resilience::{
    Breaker, BreakerLayer, Bulkhead, BulkheadLayer, Outcomes, RetryLayer, TimeoutLayer,
};
use tonic::transport::Channel;
use tower::ServiceBuilder;

/// Every call of gRPC is a POST; these change nothing.
#[derive(Clone, Debug)]
struct Reads;

impl<E> Outcomes<E> for Reads {
    fn may_repeat(&self, request: &http::Request<Body>) -> bool {
        request.uri().path() == "/library.Library/Find"
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let channel = Channel::from_static("http://127.0.0.1:8080").connect_lazy();
    let channel = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_secs(5)))
        .layer(BulkheadLayer::new(Bulkhead::new(100)))
        .layer(RetryLayer::new(2).outcomes(Reads))
        .layer(BreakerLayer::new(Breaker::default()))
        .map_request(|request: http::Request<Body>| request.map(tonic::body::Body::new))
        .service(channel);
    let mut library = LibraryClient::new(channel);
    for id in [7, 0] {
        match library.find(Id { id }).await {
            Ok(book) => println!("{}", book.get_ref().title),
            Err(status) => println!("{:?}: {}", status.code(), status.message()),
        }
    }
    let mut books = library.watch(Id { id: 1 }).await?.into_inner();
    for _ in 0..3 {
        if let Some(book) = books.message().await? {
            println!("new: {}", book.title);
        }
    }
    Ok(())
}
