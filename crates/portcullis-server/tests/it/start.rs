//! A server that cannot start says everything that is wrong, where, and what to do.
use std::net::TcpListener;

use portcullis_server::{ServeError, Server, Tls};

use crate::support::{Folder, ordinary};

#[tokio::test]
async fn everything_that_is_wrong_is_said_at_once() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().map(|address| (taken, address)).unwrap();
    let in_use = format!("http://{}", taken.1);
    let folder = Folder::new("start");
    let plain = format!("unix:{}", folder.file("plain", "").display());
    let twice = format!("unix:{}", folder.0.join("twice").display());
    let server = Server::bind("ftp://127.0.0.1:1")
        .listen("127.0.0.1")
        .listen("unix:")
        .listen("https://127.0.0.1:0")
        .listen(in_use.as_str())
        .listen("http://127.0.0.1:0")
        .listen("http://127.0.0.1:80/path")
        .listen(":3100")
        .listen(plain.as_str())
        .listen(twice.as_str())
        .listen(twice.as_str())
        .listen("http://192.0.2.1:0")
        .handover("/there/is/no/such/handover")
        .side("unix:/there/is/no/such/folder.sock", tower::service_fn(ordinary));
    let errors = server.open().unwrap_err();
    let mut all: Vec<_> =
        errors.iter().map(|error| (error.place().to_owned(), error.message())).collect();
    let (place, message) = all.remove(0);
    assert_eq!(place, "handover `/there/is/no/such/handover`");
    assert!(message.contains("its folder does not exist"), "{message}");
    for (at, (place, remedy)) in [
        ("ftp://127.0.0.1:1", "say `http`, `https` or `unix`"),
        ("127.0.0.1", "a host and a port, such as `127.0.0.1:8080`"),
        ("unix:", "a Unix socket needs a path: `unix:/run/shop.sock`"),
        ("https://127.0.0.1:0", "give the server `.tls(..)`, or say `http`"),
        (&in_use, "another program listens there"),
        ("http://127.0.0.1:80/path", "a path has no place here"),
        (":3100", "say `0.0.0.0:3100`"),
        (&plain, "there is a file that is no socket"),
        (&twice, "another listener of this server is there"),
        ("http://192.0.2.1:0", "this machine does not have that address"),
        ("unix:/there/is/no/such/folder.sock", "its folder does not exist"),
    ]
    .into_iter()
    .enumerate()
    {
        let (in_fact, message) = &all[at];
        assert_eq!(*in_fact, format!("listen `{place}`"));
        assert!(message.contains(remedy), "{place}: {message}");
    }
    assert_eq!(all.len(), 11, "{errors}");
    let text = errors.to_string();
    assert!(all.iter().all(|(place, _)| text.contains(place.as_str())), "{text}");
}

#[tokio::test]
async fn serve_ends_with_the_same_errors() {
    let served = Server::bind("nowhere").serve(tower::service_fn(ordinary)).await;
    let Err(ServeError::Config(errors)) = served else { panic!("{served:?}") };
    assert_eq!(errors.iter().next().unwrap().place(), "listen `nowhere`");
    // As `main` shows it.
    assert!(format!("{:?}", ServeError::Config(errors)).contains("listen `nowhere`: it must be"));
}

#[test]
fn a_worker_that_cannot_be_made_ends_the_server() {
    let server = Server::bind("127.0.0.1:0").workers(2.try_into().unwrap());
    let result = server.run(|worker| match worker.index {
        1 => Err("there is no database"),
        _ => Ok(tower::service_fn(ordinary)),
    });
    let error = result.unwrap_err();
    assert_eq!(error.to_string(), "the service of worker 1 cannot be made: there is no database");
}

#[test]
fn a_handover_path_at_which_nothing_can_listen_is_an_error() {
    let folder = Folder::new("start-handover");
    let plain = folder.file("plain", "");
    let long = folder.0.join("x".repeat(200));
    for (path, what) in [(&plain, "a file that is no socket"), (&long, "path must be shorter")] {
        let errors = Server::bind("127.0.0.1:0").handover(path).open().unwrap_err().to_string();
        assert!(errors.contains(what), "{errors}");
    }
}

#[test]
fn wrong_tls_files_are_named() {
    let folder = Folder::new("start-tls");
    let empty = folder.file("empty.pem", "");
    let errors = Tls::new()
        .certificate(folder.0.join("missing.pem"), folder.0.join("missing.key"))
        .certificate(&empty, &empty)
        .build()
        .unwrap_err();
    let all: Vec<_> = errors.iter().map(ToString::to_string).collect();
    for (at, (file, what)) in [
        ("missing.pem", "it cannot be read"),
        ("missing.key", "it cannot be read"),
        ("empty.pem", "it must hold certificates in PEM"),
        ("empty.pem", "it must hold a private key in PEM"),
    ]
    .into_iter()
    .enumerate()
    {
        assert!(all[at].contains(file) && all[at].contains(what), "{errors}");
    }
    assert_eq!(all.len(), 4, "{errors}");
    let errors = Tls::new().build().unwrap_err().to_string();
    assert!(errors.contains("name one with `certificate(chain, key)`"), "{errors}");
}
