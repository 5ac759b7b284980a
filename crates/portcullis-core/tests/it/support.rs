//! What several tests need: applications, a layer that decides, requests with many headers.
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http::{Request, Response};
use portcullis_core::stack::{Enforcement, Staged};
use portcullis_core::{
    Body, Connection, Context, Decision, Requirement, TrustedProxies, Verdict, stage,
};
use portcullis_testkit::TestRequest;
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, service_fn};

/// An application that answers with what it sees.
pub(crate) fn telling(
    tell: impl Fn(&Context, &Request<Body>) -> String + Clone + Send + Sync + 'static,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ Sync {
    service_fn(move |mut request: Request<Body>| {
        let context = Context::of(&mut request);
        let text = tell(&context, &request);
        async move { Ok(Response::new(Body::from(text))) }
    })
}

/// An endpoint of any kind.
pub(crate) type Endpoint = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// The header in which an endpoint says its name.
pub(crate) const NAME: &str = "x-endpoint";

/// An endpoint that says its name.
pub(crate) fn named(name: &'static str) -> Endpoint {
    BoxCloneSyncService::new(service_fn(move |_: Request<Body>| async move {
        Ok(Response::builder().header(NAME, name).body(Body::empty()).unwrap())
    }))
}

/// An application that no request may reach.
pub(crate) fn unreachable()
-> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ Sync {
    telling(|_, request| panic!("{} reached the application", request.uri()))
}

/// Whoever is asked says yes, or says nothing at all: stands where authorization does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Decide {
    Allow,
    Nothing,
}

impl<S> Layer<S> for Decide {
    type Service = Decided<S>;
    fn layer(&self, inner: S) -> Decided<S> {
        Decided { inner, decide: *self }
    }
}

impl Staged for Decide {
    type Stage = stage::Authorize;
    type Needs = ();
    type Provides = Enforcement;
}

#[derive(Clone, Debug)]
pub(crate) struct Decided<S> {
    inner: S,
    decide: Decide,
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for Decided<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }
    fn call(&mut self, mut request: Request<B>) -> S::Future {
        let context = Context::of(&mut request);
        if matches!(self.decide, Decide::Allow) {
            let route = context.route().cloned();
            let allow = Decision::new(Verdict::Allow, route, Requirement::Public, "test");
            context.set_decision(allow);
        }
        self.inner.call(request)
    }
}

/// The request with these headers too.
pub(crate) trait WithHeaders: Sized {
    fn headers(self, headers: &[(&'static str, &'static str)]) -> Self;
    /// As from this address, when there is one.
    fn peer_at(self, ip: &str) -> Self;
}

impl<S> WithHeaders for TestRequest<S> {
    fn headers(self, headers: &[(&'static str, &'static str)]) -> Self {
        headers.iter().fold(self, |request, (name, value)| request.header(*name, *value))
    }
    fn peer_at(self, ip: &str) -> Self {
        if ip.is_empty() { self } else { self.connection(from(ip)) }
    }
}

/// A connection from this address.
pub(crate) fn from(ip: &str) -> Connection {
    Connection::new(Some(SocketAddr::new(ip.parse().unwrap(), 4711)))
}

/// Proxies in these networks.
pub(crate) fn trusting(networks: &[&str]) -> TrustedProxies {
    TrustedProxies::new(networks.iter().map(|network| network.parse().unwrap()))
}

/// What happened, in the order in which it did. Clones write into the same log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn add(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }
    /// The lines so far; the log begins anew.
    pub(crate) fn take(&self) -> String {
        std::mem::take(&mut *self.0.lock().unwrap()).join(", ")
    }
}
