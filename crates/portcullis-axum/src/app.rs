//! A finished stack around an axum router.
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context as Cx, Poll, ready};

use axum::body::Body as AxumBody;
use axum::extract::connect_info::IntoMakeServiceWithConnectInfo;
use axum::routing::IntoMakeService;
use axum::{Router, ServiceExt};
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use pin_project_lite::pin_project;
use portcullis_core::{Body, BoxError};
use tower_service::Service;

use crate::bridge::connect;

/// A finished stack around an axum router: what `stack.around(api)` gives.
///
/// `Server` of portcullis takes it as it is. `axum::serve` takes it with connect info, since it has the client's address from
/// axum's `ConnectInfo<SocketAddr>`. A function that builds an application may return it as a plain router, by
/// [`into_router`](Self::into_router).
///
/// ```no_run
/// # async fn f(app: portcullis_axum::App<portcullis_axum::Leaf>, listener: tokio::net::TcpListener) -> std::io::Result<()> {
/// axum::serve(listener, app.into_make_service_with_connect_info::<std::net::SocketAddr>()).await
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct App<S> {
    stack: S,
}

impl<S> App<S> {
    pub(crate) fn new(stack: S) -> Self {
        Self { stack }
    }
    /// What `axum::serve` takes, with the address of each client. Without it every client shares one limit.
    pub fn into_make_service_with_connect_info<C>(self) -> IntoMakeServiceWithConnectInfo<Self, C>
    where
        Self: Service<Request<AxumBody>>,
    {
        ServiceExt::<Request<AxumBody>>::into_make_service_with_connect_info(self)
    }
    /// What `axum::serve` takes, without addresses: for a Unix socket, or tests.
    pub fn into_make_service(self) -> IntoMakeService<Self>
    where
        Self: Service<Request<AxumBody>>,
    {
        ServiceExt::<Request<AxumBody>>::into_make_service(self)
    }
    /// An axum router that holds nothing but this, for code that wants the type by its name. It costs one box more a request.
    pub fn into_router(self) -> Router
    where
        Self: Service<
                Request<AxumBody>,
                Response = Response<AxumBody>,
                Error = Infallible,
                Future: Send,
            > + Clone
            + Send
            + Sync
            + 'static,
    {
        Router::new().fallback_service(self)
    }
    /// The stack itself, whose answers have our body. It does not look for `ConnectInfo`: its server says by a
    /// [`Connection`](portcullis_core::Connection) where a request comes from.
    pub fn into_inner(self) -> S {
        self.stack
    }
}

impl<S, ReqBody, B> Service<Request<ReqBody>> for App<S>
where
    S: Service<Request<ReqBody>, Response = Response<B>, Error = Infallible>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<AxumBody>;
    type Error = Infallible;
    type Future = AppFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), Infallible>> {
        self.stack.poll_ready(cx)
    }
    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        connect(&mut request);
        AppFuture { call: self.stack.call(request) }
    }
}

pin_project! {
    /// The response future of [`App`].
    #[must_use = "futures do nothing unless polled"]
    #[derive(Debug)]
    pub struct AppFuture<F> { #[pin] call: F }
}

impl<F, B> Future for AppFuture<F>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<AxumBody>, Infallible>;
    fn poll(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        let response = ready!(self.project().call.poll(cx))?;
        Poll::Ready(Ok(response.map(|body| AxumBody::new(Body::new(body)))))
    }
}
