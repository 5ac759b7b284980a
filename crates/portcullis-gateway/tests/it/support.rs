//! Real servers, and a gateway in front of them.
use std::convert::Infallible;
use std::path::PathBuf;
use std::time::Duration;

use http::{Request, Response};
use portcullis_core::{Body, EdgeLayer, Routes, Stack};
use portcullis_gateway::{Proxy, Upstream};
use portcullis_server::{Handle, Limits, Server};
use portcullis_testkit::TestClient;
use tower::service_fn;
use tower::util::BoxCloneSyncService;

/// A server that runs until this is dropped.
pub(crate) struct Running {
    pub(crate) places: Vec<String>,
    handle: Handle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.close();
    }
}

/// Says how it was asked: the version, the method, the path, the host, the body's length.
pub(crate) async fn telling(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let (parts, body) = request.into_parts();
    let host = parts.headers.get("host").and_then(|host| host.to_str().ok());
    let host = parts.uri.authority().map(ToString::to_string).or(host.map(str::to_owned));
    let (bytes, _) = portcullis_testkit::collect(body).await.unwrap_or_default();
    let text = format!(
        "{:?} {} {} {} {}",
        parts.version,
        parts.method,
        parts.uri.path_and_query().unwrap(),
        host.unwrap_or_default(),
        bytes.len()
    );
    Ok(Response::new(Body::from(text)))
}

/// Serves what `answer` answers.
pub(crate) fn serve<F, R>(server: Server, answer: F) -> Running
where
    F: FnMut(Request<Body>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Result<Response<Body>, Infallible>> + Send + 'static,
{
    let server = server.limits(Limits::default().linger(Duration::ZERO));
    let handle = server.handle();
    let open = server.open().unwrap();
    let places = open.places();
    tokio::spawn(open.serve(service_fn(answer)));
    Running { places, handle }
}

pub(crate) type Front = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// A gateway that passes everything on to this upstream.
pub(crate) fn in_front_of(upstream: &Upstream) -> TestClient<Front> {
    TestClient::new(front_of(upstream))
}

/// The same as a service.
pub(crate) fn front_of(upstream: &Upstream) -> Front {
    let routes = Routes::builder().any("/{*rest}", Proxy::to(upstream)).public().build().unwrap();
    let stack = Stack::new().layer(EdgeLayer::new()).layer(routes.layer());
    BoxCloneSyncService::new(stack.around(routes).unwrap())
}

/// A folder of a test's own, gone with it.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let folder =
            std::env::temp_dir().join(format!("portcullis-gateway-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
    pub(crate) fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// Waits until `is` holds, which something else brings about.
pub(crate) async fn until(mut is: impl FnMut() -> bool) {
    let waiting = async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("it takes too long");
}
