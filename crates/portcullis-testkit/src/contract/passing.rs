//! A request that passes, and an error that does.
use http::header::CONTENT_TYPE;
use http::{Method, Response, StatusCode};
use portcullis_core::Body;

use super::bench::{Bench, Case, shown};
use super::inner::{Act, DATA, KIND, trailers};

impl Bench {
    pub(super) async fn passing(&self) {
        let (case, mut outer) = self.case("a request that passes", Act::Answer);
        for number in 1..=2 {
            let call = case.call(&mut outer).await;
            let response = case.answer(call).await;
            case.unchanged(response).await;
            if case.ledger.calls() != number {
                case.fail("the inner service must be called once for one request");
            }
            case.nothing_left();
        }
        self.failing("an error of the inner service", Act::Fail).await;
        self.failing("an error of the inner `poll_ready`", Act::FailReady).await;
    }

    async fn failing(&self, what: &'static str, act: Act) {
        let (case, mut outer) = self.case(what, act);
        // A layer that is always ready finds out only in its call.
        if case.poll_ready(&mut outer).await.is_ok() {
            let answer = case.within("the error", outer.call(case.request())).await;
            if answer.is_ok() {
                case.fail(format!("it must come out unchanged, but came {}", shown(&answer)));
            }
        }
        case.nothing_left();
    }
}

impl Case<'_> {
    /// The answer of the inner service, as it was.
    async fn unchanged(&self, response: Response<Body>) {
        // The inner service answers every method alike, so it is no fault of the layer when a HEAD has a body.
        let (head, data, got) = self.inspect(&Method::GET, response).await;
        if head.status != StatusCode::OK {
            self.fail(format!("the status must stay 200 OK, but became {}", head.status));
        }
        let kind = head.headers.get(CONTENT_TYPE);
        if kind.is_none_or(|kind| kind != KIND) {
            self.fail(format!("`Content-Type` must stay `{KIND}`, but became {kind:?}"));
        }
        if data != DATA.concat() {
            self.fail(format!("the body must stay {:?}, but became {data:?}", DATA.concat()));
        }
        if got.as_ref() != Some(&trailers()) {
            self.fail(format!("the trailers must stay {:?}, but became {got:?}", trailers()));
        }
    }
}
