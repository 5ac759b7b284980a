//! A server that cannot start says everything that is wrong, where, and what to do.
use std::net::TcpListener;

use portcullis_server::{ServeError, Server, Tls};

use crate::support::{Folder, ordinary};

#[tokio::test]
async fn everything_that_is_wrong_is_said_at_once() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().map(|address| (taken, address)).unwrap();
    let in_use = format!("http://{}", taken.1);
    let server = Server::bind("ftp://127.0.0.1:1")
        .listen("127.0.0.1")
        .listen("unix:")
        .listen("https://127.0.0.1:0")
        .listen(in_use.as_str())
        .listen("http://127.0.0.1:0")
        .side("unix:/there/is/no/such/folder.sock", tower::service_fn(ordinary));
    let errors = server.open().unwrap_err();
    let all: Vec<_> =
        errors.iter().map(|error| (error.place().to_owned(), error.message())).collect();
    for (at, (place, remedy)) in [
        ("ftp://127.0.0.1:1", "say `http`, `https` or `unix`"),
        ("127.0.0.1", "a host and a port, such as `127.0.0.1:8080`"),
        ("unix:", "a Unix socket needs a path: `unix:/run/shop.sock`"),
        ("https://127.0.0.1:0", "give the server `.tls(..)`, or say `http`"),
        (&in_use, "another program listens there"),
        ("unix:/there/is/no/such/folder.sock", "cannot listen"),
    ]
    .into_iter()
    .enumerate()
    {
        let (in_fact, message) = &all[at];
        assert_eq!(*in_fact, format!("listen `{place}`"));
        assert!(message.contains(remedy), "{place}: {message}");
    }
    assert_eq!(all.len(), 6, "{errors}");
    let text = errors.to_string();
    assert!(all.iter().all(|(place, _)| text.contains(place.as_str())), "{text}");
}

#[tokio::test]
async fn serve_ends_with_the_same_errors() {
    let served = Server::bind("nowhere").serve(tower::service_fn(ordinary)).await;
    let Err(ServeError::Config(errors)) = served else { panic!("{served:?}") };
    assert_eq!(errors.iter().next().unwrap().place(), "listen `nowhere`");
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
fn wrong_tls_files_are_named() {
    let folder = Folder::new("start-tls");
    let empty = folder.file("empty.pem", "");
    let errors = Tls::new()
        .certificate(folder.0.join("missing.pem"), folder.0.join("missing.key"))
        .certificate(&empty, &empty)
        .build()
        .unwrap_err();
    let all: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(all.len(), 2, "{errors}");
    assert!(all[0].contains("missing.pem") && all[0].contains("it cannot be read"), "{errors}");
    assert!(
        all[1].contains("empty.pem") && all[1].contains("it must hold certificates in PEM"),
        "{errors}"
    );
    let errors = Tls::new().build().unwrap_err().to_string();
    assert!(errors.contains("name one with `certificate(chain, key)`"), "{errors}");
}
