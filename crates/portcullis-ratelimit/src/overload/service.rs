//! The service.
use std::mem;
use std::sync::{Arc, Once};
use std::task::{Context as Cx, Poll};

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderValue, Request, Response};
use http_body::Body as HttpBody;
use portcullis_core::problem::kinds::SERVER_BUSY;
use portcullis_core::{Body, BoxError, Context, Identity, IdentityKey, Problem};
use tower_service::Service;

use super::concurrency::Kind;
use super::future::{Meter, OverloadFuture, Waiting};
use super::layer::Settings;
use super::reason::Reason;
use super::state::{Admission, Ask, Permit, State};

/// Answers 503 with `Retry-After` to a request that finds no room; the inner service is not called then.
///
/// # Cancellation
/// Dropping the future or the body makes room, also while the request waits.
#[derive(Clone, Debug)]
pub struct Overload<S> {
    inner: S,
    shared: Arc<Shared>,
}

/// What the clones of a service share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) state: Arc<State>,
    /// Whether the state has the settings: it may have those of a layer before.
    pub(super) adopted: Once,
}

impl<S> Overload<S> {
    pub(super) fn new(inner: S, shared: Shared) -> Self {
        Self { inner, shared: Arc::new(shared) }
    }
}

impl<S, ReqBody, B> Service<Request<ReqBody>> for Overload<S>
where
    S: Service<Request<ReqBody>, Response = Response<B>> + Clone,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = OverloadFuture<S, ReqBody>;

    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let context = Context::of(&mut request);
        match self.shared.admit(&context) {
            Admission::Admitted(permit) => {
                let meter = self.shared.begin(&context);
                OverloadFuture::calling(self.inner.call(request), permit, meter)
            }
            Admission::Shed(reason) => OverloadFuture::answered(self.shared.shed(reason, &context)),
            Admission::Waits(ticket) => {
                // The clone may not be ready: keep it, and move out the one that is.
                let clone = self.inner.clone();
                let ready = mem::replace(&mut self.inner, clone);
                let shared = Arc::clone(&self.shared);
                OverloadFuture::waiting(Waiting::new(ticket, ready, request, shared, context))
            }
        }
    }
}

impl Shared {
    fn admit(&self, context: &Context) -> Admission {
        let Settings { limit, shares, classify, fair, queue, per_address, .. } = &self.settings;
        self.adopted.call_once(|| self.state.adopt(limit, *shares, *queue));
        let address = || context.client().map(|client| client.key().to_bits());
        let tenant = || context.identity().map(tenant).or_else(address).unwrap_or_default();
        self.state.admit(&Ask {
            context,
            priority: classify.of(context),
            tenant: fair.then(tenant),
            address: per_address.and_then(|most| Some((address()?, most))),
            at_most: queue.map(|queue| queue.at_most),
        })
    }

    /// A call begins. `Some` where its latency matters.
    pub(super) fn begin(&self, context: &Context) -> Option<Meter> {
        self.state.count_admitted();
        context.note("overload", || {
            let (under_way, limit) = (self.state.in_flight(), self.state.limit());
            format!("admitted: {under_way} of {limit} are under way")
        });
        let adapts = matches!(self.settings.limit.0, Kind::Adaptive(_));
        adapts.then(|| Meter::new(context.clock().clone(), Arc::clone(&self.state)))
    }

    /// The answer to a request that is shed.
    pub(super) fn shed(&self, reason: Reason, context: &Context) -> Response<Body> {
        self.state.count_shed(reason);
        context.note("overload", || reason.to_string());
        let time = self.settings.retry_after;
        let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
        Problem::new(SERVER_BUSY)
            .header(RETRY_AFTER, HeaderValue::from(seconds.max(1)))
            .cause(reason)
            .retry_is_safe()
            .respond(context)
    }

    /// Whether a permit that came still serves somebody: expired work is not started.
    pub(super) fn in_time(permit: Permit, context: &Context) -> Result<Permit, Reason> {
        if context.deadline().is_expired(context.clock().now()) {
            return Err(Reason::Deadline);
        }
        Ok(permit)
    }
}

/// The tenant of an identity, else the identity itself.
fn tenant(identity: &Identity) -> u128 {
    match identity.tenant() {
        // No identity is empty but for its tenant.
        Some(tenant) => {
            let issuer = identity.issuer();
            IdentityKey { issuer, tenant: Some(tenant), subject: "" }.fingerprint()
        }
        None => identity.fingerprint(),
    }
}
