//! What every layer must do, and a check that it does.
use std::panic::Location;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use portcullis_core::{Body, BoxError};
use tower_layer::Layer;
use tower_service::Service;

use crate::ReadyGuard;
use crate::client::Rules;

mod bench;
mod cancellation;
mod inner;
mod ledger;
mod outer;
mod passing;
mod readiness;
mod refusal;

use bench::Bench;
pub use inner::{Inner, InnerBody, InnerError, InnerFuture};
use outer::Outer;

/// Checks that a layer keeps the contract of a layer.
///
/// The layer is put around an inner service that keeps account, again for each check, and gets a new request each time:
/// about a dozen requests in all, which it must let through or refuse as it is told here.
///
/// - **Types**: the service is `Clone + Send + Sync + 'static`, its future `Send`, its error the inner one.
/// - **Readiness**: the instance that was polled ready is the one that is called, for each request anew.
/// - **Back-pressure**: while the inner service is not ready, the layer is not ready either, or its call waits
///   (or is refused, where the layer [`sheds`](Self::sheds) load).
/// - **Errors** of the inner service come out unchanged, those of `poll_ready` too.
/// - **Passing**: the inner service is called once; status, headers, data and trailers of its answer come out unchanged.
/// - **Refusal**: the inner service is not called; the answer is a problem in the right shape, checked as by the
///   [`TestClient`](crate::TestClient).
/// - **Cancellation**: whether the service is dropped when it is ready, or the future before its first poll, after it, or
///   while the inner service works, or the body before its first frame, while it waits, or in the middle: the inner
///   future and body are gone at once, and so is what the layer reserved.
///
/// ```
/// use portcullis_core::EdgeLayer;
/// use portcullis_testkit::{Contract, get};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// Contract::new(EdgeLayer::new())
///     .passes(|| get("/books/7").build())
///     .refuses(|| get("/books%2F7").build())
///     .check()
///     .await;
/// # }
/// ```
#[must_use = "nothing is checked until `check`"]
pub struct Contract<L> {
    layer: L,
    passes: Option<MakeRequest>,
    refuses: Option<MakeRequest>,
    released: Option<Box<dyn Fn() -> bool>>,
    sheds: bool,
    rules: Rules,
}

type MakeRequest = Box<dyn Fn() -> Request<Body>>;

impl<L> Contract<L> {
    /// The contract for `layer`.
    pub fn new(layer: L) -> Self {
        let rules = Rules::default();
        Self { layer, passes: None, refuses: None, released: None, sheds: false, rules }
    }
    /// Makes a request that the layer lets through: it reaches the inner service once. Always needed.
    ///
    /// The inner service answers 200 with `Cache-Control: no-store`. Two requests may be under way at the same time, and
    /// all of them come within one test: a layer that limits needs room for them.
    pub fn passes(self, request: impl Fn() -> Request<Body> + 'static) -> Self {
        Self { passes: Some(Box::new(request)), ..self }
    }
    /// Makes a request that the layer refuses. Default: the layer refuses nothing.
    pub fn refuses(self, request: impl Fn() -> Request<Body> + 'static) -> Self {
        Self { refuses: Some(Box::new(request)), ..self }
    }
    /// Says whether everything that the layer reserved (permits, counters, connections) is released. It is asked after
    /// each cancellation and each answer. Default: the layer reserves nothing.
    pub fn released(self, released: impl Fn() -> bool + 'static) -> Self {
        Self { released: Some(Box::new(released)), ..self }
    }
    /// Says that the layer sheds load: it refuses while the inner service is not ready. Default: it waits.
    pub fn sheds(self) -> Self {
        Self { sheds: true, ..self }
    }
    /// Allows a header that our layers never send. Default: those that they may send.
    ///
    /// # Panics
    /// When `name` is not a header name.
    #[track_caller]
    pub fn allow_header(mut self, name: &str) -> Self {
        self.rules.allow_header(name);
        self
    }
    /// Allows a member of problems that RFC 9457 does not define. Default: none.
    pub fn allow_member(mut self, name: &str) -> Self {
        self.rules.allow_member(name);
        self
    }
    /// Allows problems whose `type` begins with `prefix`: those of another registry. Default: ours.
    pub fn allow_problems(mut self, prefix: &str) -> Self {
        self.rules.allow_problems(prefix);
        self
    }

    /// Checks everything, one after the other. It needs a tokio runtime with timers.
    ///
    /// A layer that waits for what never comes fails after five seconds of tokio's time.
    ///
    /// What is wrong with the types of a layer does not compile, such as a changed error, or a service that is not `Send`:
    ///
    /// ```compile_fail,E0271
    /// # use portcullis_testkit::{Contract, get};
    /// # use tower::util::MapErrLayer;
    /// let layer = MapErrLayer::new(|error| format!("{error}"));
    /// Contract::new(layer).passes(|| get("/").build()).check();
    /// ```
    ///
    /// ```compile_fail,E0277
    /// # use portcullis_testkit::{Contract, get};
    /// # use tower::{layer::layer_fn, util::UnsyncBoxService};
    /// let layer = layer_fn(UnsyncBoxService::new);
    /// Contract::new(layer).passes(|| get("/").build()).check();
    /// ```
    ///
    /// # Panics
    /// When the layer breaks the contract, with the words in which; and without [`passes`](Self::passes).
    #[track_caller]
    pub fn check<S, B>(self) -> impl Future<Output = ()>
    where
        L: Layer<ReadyGuard<Inner>, Service = S> + 'static,
        S: Service<Request<Body>, Response = Response<B>, Error = InnerError>,
        S: Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let Self { layer, passes, refuses, released, sheds, rules } = self;
        let bench = Bench {
            make: Box::new(move |inner| Outer::new(layer.layer(inner))),
            layer: std::any::type_name::<L>(),
            checked_at: Location::caller(),
            passes: passes.expect("a contract needs a request that `passes`"),
            refuses,
            released: released.unwrap_or_else(|| Box::new(|| true)),
            sheds,
            rules,
        };
        async move {
            bench.passing().await;
            bench.readiness().await;
            bench.refusal().await;
            bench.cancellation().await;
        }
    }
}

impl<L: std::fmt::Debug> std::fmt::Debug for Contract<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Contract").field("layer", &self.layer).finish_non_exhaustive()
    }
}
