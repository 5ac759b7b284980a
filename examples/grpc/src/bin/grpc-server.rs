//! Serves the library on port 50051.
use grpc::Shelves;
use tonic::transport::Server;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<grpc::proto::library_server::LibraryServer<Shelves>>().await;
    let server = Server::builder().add_service(Shelves::service()).add_service(health);
    server.serve("127.0.0.1:50051".parse()?).await?;
    Ok(())
}
