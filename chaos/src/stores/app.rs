//! The server under test: who has a session, or a key to begin one with.
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use portcullis::authn::{Session, SessionStore, Sessions};
use portcullis::prelude::*;
use portcullis::problem::kinds::INTERNAL_ERROR;
use portcullis::{Body, Problem};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tower::service_fn;

use super::failed;
use crate::failure::{Failure, Result};

/// Logs in by `POST /session`.
pub(super) const KEY: &str = "k-chaos";
/// So short that sessions are marked as used every two seconds: that is asked of the store too.
const IDLE: Duration = Duration::from_mins(1);

/// A server in this process, gone with this value.
#[derive(Debug)]
pub(super) struct App {
    address: SocketAddr,
    _serving: JoinSet<()>,
}

impl App {
    pub(super) fn open(store: impl SessionStore) -> Result<Self> {
        let routes = Routes::builder()
            .get("/check", service_fn(answer))
            .authenticated()
            .post("/session", service_fn(answer))
            .authenticated()
            .delete("/session", service_fn(answer))
            .authenticated();
        let routes = routes.build().map_err(failed)?;
        let sessions = Sessions::new(store).idle(IDLE);
        sessions.start(&Handle::current());
        let keys = ApiKeys::new().key(ApiKey::new("ada", KEY));
        let stack = Stack::new()
            .layer(EdgeLayer::default())
            .layer(routes.layer())
            .layer(AuthenticateLayer::new().api_keys(keys).sessions(sessions))
            .layer(AuthorizeLayer::new(Roles::builder().build().map_err(failed)?));
        let service = stack.around(routes).map_err(failed)?;
        let server = Server::bind("http://127.0.0.1:0").open().map_err(failed)?;
        let address = server.addresses().first().copied();
        let address = address.ok_or_else(|| Failure::new("the server has no address"))?;
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            if let Err(error) = server.serve(service).await {
                eprintln!("the server: {error}");
            }
        });
        Ok(Self { address, _serving: serving })
    }
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

type Answer = std::result::Result<http::Response<Body>, Infallible>;

async fn answer(request: http::Request<Body>) -> Answer {
    let session = request.extensions().get::<Session>().cloned();
    let who = Context::get(request.extensions()).and_then(|context| context.auth()?.identity());
    let (Some(session), Some(who)) = (session, who) else {
        return Ok(Problem::new(INTERNAL_ERROR).into_response());
    };
    let done = match *request.method() {
        http::Method::POST => session.log_in(who).await,
        http::Method::DELETE => session.log_out().await,
        _ => Ok(()),
    };
    Ok(match done {
        Ok(()) => http::Response::new(Body::empty()),
        Err(error) => Problem::from(error).into_response(),
    })
}
