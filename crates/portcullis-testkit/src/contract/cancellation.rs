//! Whoever waits goes away.
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use http_body::{Body as HttpBody, Frame};
use http_body_util::BodyExt;
use portcullis_core::Body;

use super::bench::{Bench, Case};
use super::inner::{Act, DATA};

impl Bench {
    pub(super) async fn cancellation(&self) {
        self.service_dropped_when_ready().await;
        self.future_dropped_unpolled().await;
        self.future_dropped_after_its_first_poll().await;
        self.future_dropped_while_the_inner_service_works().await;
        self.body_dropped_unpolled().await;
        self.body_dropped_before_its_first_frame().await;
        self.body_dropped_in_the_middle().await;
    }

    async fn service_dropped_when_ready(&self) {
        let (case, mut outer) = self.case("the service dropped after `poll_ready`", Act::Answer);
        case.ready(&mut outer).await;
        drop(outer);
        case.nothing_left();
    }

    async fn future_dropped_unpolled(&self) {
        let (case, mut outer) = self.case("the future dropped before its first poll", Act::Answer);
        drop(case.call(&mut outer).await);
        case.nothing_left();
    }

    async fn future_dropped_after_its_first_poll(&self) {
        let (case, mut outer) = self.case("the future dropped after its first poll", Act::Hang);
        let mut call = case.call(&mut outer).await;
        // A layer that asks somebody first has not reached the inner service yet.
        let polled = case.poll_once(&mut call).await;
        drop((polled, call));
        case.nothing_left();
    }

    async fn future_dropped_while_the_inner_service_works(&self) {
        let (case, mut outer) =
            self.case("the future dropped while the inner service works", Act::Hang);
        let mut call = case.call(&mut outer).await;
        case.until_at_work(&mut call).await;
        drop(call);
        case.nothing_left();
    }

    async fn body_dropped_unpolled(&self) {
        let (case, mut outer) = self.case("the body dropped before its first poll", Act::HangBody);
        let call = case.call(&mut outer).await;
        drop(case.answer(call).await);
        case.nothing_left();
    }

    async fn body_dropped_before_its_first_frame(&self) {
        let (case, mut outer) = self.case("the body dropped while it waits", Act::HangBody);
        let call = case.call(&mut outer).await;
        let mut body = case.answer(call).await.into_body();
        case.no_frame(&mut body).await;
        drop(body);
        case.nothing_left();
    }

    async fn body_dropped_in_the_middle(&self) {
        let (case, mut outer) = self.case("the body dropped in its middle", Act::HangMidBody);
        let call = case.call(&mut outer).await;
        let mut body = case.answer(call).await.into_body();
        let frame = case.within("the first frame", body.frame()).await;
        let data = frame.and_then(Result::ok).and_then(|frame| Frame::into_data(frame).ok());
        if data.as_deref() != Some(DATA[0].as_bytes()) {
            case.fail(format!("the first frame must stay {:?}, but became {data:?}", DATA[0]));
        }
        case.no_frame(&mut body).await;
        drop(body);
        case.nothing_left();
    }
}

impl Case<'_> {
    /// Polls the body once, which has nothing to give.
    async fn no_frame(&self, body: &mut Body) {
        let polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut *body).poll_frame(cx))).await;
        if let Poll::Ready(frame) = polled {
            self.fail(format!("the body must wait for the inner one, but gave {frame:?}"));
        }
    }
}
