//! Where the checks are made: one case after the other, each with a layer and an inner service of its own.
use std::fmt::Display;
use std::future::poll_fn;
use std::panic::Location;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::response::Parts;
use http::{HeaderMap, Method, Request, Response};
use portcullis_core::{Body, Problem};

use super::MakeRequest;
use super::inner::{Act, Inner, InnerError};
use super::ledger::Ledger;
use super::outer::{Answer, Call, Outer};
use crate::client::{Rules, complaints};
use crate::fail::fail;
use crate::{ReadyGuard, collect};

/// How long a layer may take for what depends on nobody but itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// The layer under test, and what is known about it.
pub(super) struct Bench {
    pub(super) make: Box<dyn Fn(ReadyGuard<Inner>) -> Outer>,
    pub(super) layer: &'static str,
    pub(super) checked_at: &'static Location<'static>,
    pub(super) passes: MakeRequest,
    pub(super) refuses: Option<MakeRequest>,
    pub(super) released: Box<dyn Fn() -> bool>,
    pub(super) sheds: bool,
    pub(super) rules: Rules,
}

/// One case: the account of an inner service that the layer is around.
pub(super) struct Case<'a> {
    pub(super) bench: &'a Bench,
    what: &'static str,
    pub(super) ledger: Ledger,
}

impl Bench {
    /// Begins a case. `what` says in which situation the layer is.
    pub(super) fn case(&self, what: &'static str, act: Act) -> (Case<'_>, Outer) {
        let ledger = Ledger::default();
        let outer = (self.make)(ReadyGuard::new(Inner::new(act, ledger.clone())));
        (Case { bench: self, what, ledger }, outer)
    }
}

impl Case<'_> {
    pub(super) fn fail(&self, why: impl Display) -> ! {
        let Bench { layer, checked_at, .. } = self.bench;
        fail(format!(
            "`{layer}` breaks the contract of a layer (checked at {checked_at}): {}: {why}",
            self.what
        ))
    }

    /// Waits, but not for ever.
    pub(super) async fn within<T>(&self, awaited: &str, future: impl Future<Output = T>) -> T {
        match tokio::time::timeout(PATIENCE, future).await {
            Ok(done) => done,
            Err(_) => self.fail(format!("{awaited} did not come")),
        }
    }

    /// Makes the layer ready.
    pub(super) async fn ready(&self, outer: &mut Outer) {
        if let Err(error) = self.poll_ready(outer).await {
            self.fail(format!("`poll_ready` failed: {error}"));
        }
    }
    pub(super) async fn poll_ready(&self, outer: &mut Outer) -> Result<(), InnerError> {
        self.within("readiness", poll_fn(|cx| outer.poll_ready(cx))).await
    }

    /// A request that passes.
    pub(super) fn request(&self) -> Request<Body> {
        (self.bench.passes)()
    }
    /// Makes the layer ready and begins a call with a request that passes.
    pub(super) async fn call(&self, outer: &mut Outer) -> Call {
        self.ready(outer).await;
        outer.call(self.request())
    }

    /// Polls once.
    pub(super) async fn poll_once(&self, call: &mut Call) -> Poll<Answer> {
        poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await
    }

    /// Polls until the inner service is at work: a layer may ask somebody first.
    pub(super) async fn until_at_work(&self, call: &mut Call) {
        let reached = poll_fn(|cx| match call.as_mut().poll(cx) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending if self.ledger.is_at_work() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        if let Some(answer) = self.within("a poll of the inner future", reached).await {
            self.fail(format!(
                "the layer did not wait for the inner service, but gave {}",
                shown(&answer)
            ));
        }
    }

    /// The answer of a call that the inner service serves.
    pub(super) async fn answer(&self, call: Call) -> Response<Body> {
        let call = pin!(call);
        let answer = self.within("the head of the answer", call).await;
        if self.ledger.calls() == 0 {
            self.fail(format!(
                "the request of `passes` did not reach the inner service, but gave {}",
                shown(&answer)
            ));
        }
        answer.unwrap_or_else(|error| self.fail(format!("the call failed: {error}")))
    }

    /// Nothing may be left of a request.
    pub(super) fn nothing_left(&self) {
        if let Some(left) = self.ledger.left() {
            self.fail(left);
        }
        if !(self.bench.released)() {
            self.fail("`released` says that something is still reserved");
        }
    }

    /// Reads an answer to its end, and checks what holds for every answer.
    pub(super) async fn inspect(
        &self,
        method: &Method,
        response: Response<Body>,
    ) -> (Parts, Bytes, Option<HeaderMap>) {
        let (head, body) = response.into_parts();
        let (data, trailers) = match self.within("the end of the body", collect(body)).await {
            Ok(read) => read,
            Err(error) => self.fail(format!("the body failed: {error}")),
        };
        let complaints = complaints(&self.bench.rules, method, &head, &data);
        if !complaints.is_empty() {
            self.fail(format!("the answer {}:\n- {}", head.status, complaints.join("\n- ")));
        }
        (head, data, trailers)
    }
}

/// An answer in a few words.
pub(super) fn shown(answer: &Answer) -> String {
    match answer {
        Err(error) => format!("the error `{error}`"),
        Ok(response) => match response.extensions().get::<Problem>() {
            Some(problem) => format!("the answer {} ({problem})", response.status()),
            None => format!("the answer {}", response.status()),
        },
    }
}

/// Whether the answer says no.
pub(super) fn is_refusal(response: &Response<Body>) -> bool {
    let status = response.status();
    status.is_client_error()
        || status.is_server_error()
        // A gRPC refusal is a 200.
        || response.extensions().get::<Problem>().is_some()
}
