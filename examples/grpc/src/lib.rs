//! A library that is asked by gRPC. `src/bin/grpc-server.rs` serves it, `src/bin/grpc-client.rs` asks it; between them stands the gateway of
//! `portcullis.toml`. See the README beside this file's folder.
use std::pin::Pin;
use std::time::Duration;

use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

/// What is made of `proto/library.proto`.
#[expect(
    missing_docs,
    unused_qualifications,
    clippy::pedantic,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]
pub mod proto {
    tonic::include_proto!("library");
}

use proto::library_server::{Library, LibraryServer};
use proto::{Book, Count, Id};

/// The library. It has a book for each id but 0.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shelves;

impl Shelves {
    /// As a service of tonic's.
    pub fn service() -> LibraryServer<Self> {
        LibraryServer::new(Self)
    }
}

fn book(id: u32) -> Result<Book, Status> {
    let book = |id| Book { id, title: format!("Book {id}") };
    (id > 0).then(|| book(id)).ok_or_else(|| Status::not_found("there is no book 0"))
}

type Books = Pin<Box<dyn Stream<Item = Result<Book, Status>> + Send>>;

#[tonic::async_trait]
impl Library for Shelves {
    async fn find(&self, request: Request<Id>) -> Result<Response<Book>, Status> {
        let mut answer = Response::new(book(request.get_ref().id)?);
        // What is left of the client's time, as the gateway says it.
        if let Some(left) = request.metadata().get("grpc-timeout") {
            answer.metadata_mut().insert("x-time-left", left.clone());
        }
        if let Some(user) = request.metadata().get("x-user") {
            answer.metadata_mut().insert("x-seen-user", user.clone());
        }
        Ok(answer)
    }

    type WatchStream = Books;
    async fn watch(&self, request: Request<Id>) -> Result<Response<Books>, Status> {
        let first = request.get_ref().id;
        let pause = Duration::from_millis(10);
        let books = tokio_stream::iter(first..).then(move |id| async move {
            tokio::time::sleep(pause).await;
            book(id)
        });
        Ok(Response::new(Box::pin(books)))
    }

    async fn add(&self, request: Request<Streaming<Book>>) -> Result<Response<Count>, Status> {
        let (mut books, mut count) = (request.into_inner(), 0);
        while let Some(_book) = books.message().await? {
            count += 1;
        }
        Ok(Response::new(Count { count }))
    }

    type FindEachStream = Books;
    async fn find_each(&self, request: Request<Streaming<Id>>) -> Result<Response<Books>, Status> {
        let ids = request.into_inner();
        Ok(Response::new(Box::pin(ids.map(|id| book(id?.id)))))
    }
}
