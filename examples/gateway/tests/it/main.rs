//! The file of the example is sound, and the servers behind it are those that the example starts.
use std::process::{Command, Stdio};
use std::time::Duration;

use portcullis_config::Gateway;

#[test]
fn the_file_is_sound_and_names_the_servers_of_the_example() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/portcullis.toml");
    let gateway = Gateway::read(file).unwrap();
    let mut urls: Vec<_> = gateway
        .upstreams()
        .flat_map(portcullis_gateway::Upstream::servers)
        .map(|server| server.url)
        .collect();
    urls.sort();
    assert_eq!(urls, ["http://127.0.0.1:9001", "http://127.0.0.1:9002", "http://127.0.0.1:9003"]);
    let routes: Vec<_> = gateway.routes().map(|(route, to)| format!("{route} -> {to}")).collect();
    assert_eq!(
        routes,
        [
            "GET /books/{*rest} -> catalog",
            "* /orders/{*rest} -> desk",
            "GET /catalogue/{*rest} -> redirect to /books/",
        ]
    );
    let mut servers =
        Command::new(env!("CARGO_BIN_EXE_gateway")).stderr(Stdio::null()).spawn().unwrap();
    let answers = |address: &str| {
        (0..200).any(|_| {
            std::thread::sleep(Duration::from_millis(20));
            std::net::TcpStream::connect(address).is_ok()
        })
    };
    let all = ["127.0.0.1:9001", "127.0.0.1:9002", "127.0.0.1:9003"].map(answers);
    servers.kill().unwrap();
    servers.wait().unwrap();
    assert_eq!(all, [true; 3]);
}
