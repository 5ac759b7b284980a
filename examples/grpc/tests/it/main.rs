//! The file of the example is sound, and the server behind it is the one that the example starts.
#![cfg(test)]

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use grpc::proto::Id;
use grpc::proto::library_client::LibraryClient;
use portcullis_config::Gateway;
use tonic::transport::Channel;

/// Killed with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::test]
async fn the_file_is_sound_and_names_the_server_of_the_example() {
    let gateway = Gateway::read(concat!(env!("CARGO_MANIFEST_DIR"), "/portcullis.toml")).unwrap();
    let servers = gateway.upstreams().flat_map(portcullis_gateway::Upstream::servers);
    let urls: Vec<_> = servers.map(|server| server.url).collect();
    assert_eq!(urls, ["h2c://127.0.0.1:50051"]);
    let routes: Vec<_> = gateway.routes().map(|(route, to)| format!("{route} -> {to}")).collect();
    let want =
        ["POST /library.Library/{method} -> library", "POST /library.Library/Add -> library"];
    assert_eq!(routes, want);

    let server = Command::new(env!("CARGO_BIN_EXE_grpc-server")).stderr(Stdio::null()).spawn();
    let _server = Running(server.unwrap());
    let channel = Channel::from_static("http://127.0.0.1:50051").connect_lazy();
    let mut library = LibraryClient::new(channel);
    for _ in 0..500 {
        if let Ok(book) = library.find(Id { id: 7 }).await {
            assert_eq!(book.get_ref().title, "Book 7");
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the server does not answer");
}
