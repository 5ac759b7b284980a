//! Informational responses stand where they belong: ahead of the answer to their own request, or nowhere.
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context as Cx, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use portcullis_core::{Body, Connection, Informational};
use proptest::prelude::*;
use tokio::net::TcpStream;

use crate::h2::H2;
use crate::support::{Raw, get, local, start_with, text};

/// When a handler informs its client.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// Before it answers, without a pause.
    Inline,
    /// From another task, which it waits for.
    Task,
    /// From another task, after a while: before, within or behind the answer.
    Late(u64),
    /// While its body is read.
    Body,
}

/// What a handler does.
#[derive(Clone, Debug)]
struct Plan {
    moments: Vec<Moment>,
    /// How many pieces of how many bytes; no piece is an empty body, and one has its length announced.
    pieces: (usize, usize),
    pause: u64,
}

fn plans() -> impl Strategy<Value = Vec<Plan>> {
    let moment = prop_oneof![
        Just(Moment::Inline),
        Just(Moment::Task),
        (0..3u64).prop_map(Moment::Late),
        Just(Moment::Body),
    ];
    let pieces = prop_oneof![Just((0, 0)), Just((1, 5)), (2..6usize, 1..40_000usize)];
    let plan = (prop::collection::vec(moment, 0..=3), pieces, 0..3u64);
    let plan = plan.prop_map(|(moments, pieces, pause)| Plan { moments, pieces, pause });
    prop::collection::vec(plan, 1..=6)
}

/// Informs the client about request `number`.
fn inform(informational: &Informational, number: usize) {
    let mut early = Response::new(());
    *early.status_mut() = StatusCode::EARLY_HINTS;
    early.headers_mut().insert("x-number", number.into());
    informational.send(early);
}

/// A body that informs too late.
struct Telling {
    pieces: VecDeque<Bytes>,
    tell: Option<(Informational, usize)>,
}

impl http_body::Body for Telling {
    type Data = Bytes;
    type Error = Infallible;
    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Cx<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some((informational, number)) = &self.tell {
            inform(informational, *number);
        }
        Poll::Ready(self.pieces.pop_front().map(|piece| Ok(Frame::data(piece))))
    }
}

fn piece(number: usize, len: usize) -> Bytes {
    let letter = b"abcdefgh"[number % 8];
    vec![letter; len].into()
}

async fn carry_out(plans: &[Plan], request: Request<Body>) -> Response<Body> {
    let number: usize = request.uri().path()[1..].parse().unwrap();
    let plan = &plans[number];
    let informational =
        request.extensions().get().and_then(Connection::informational).unwrap().clone();
    let mut tell = None;
    for moment in &plan.moments {
        let informational = informational.clone();
        match *moment {
            Moment::Inline => inform(&informational, number),
            Moment::Task => {
                let task = tokio::spawn(async move { inform(&informational, number) });
                task.await.unwrap();
            }
            Moment::Late(millis) => {
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(millis)).await;
                    inform(&informational, number);
                });
            }
            Moment::Body => tell = Some((informational, number)),
        }
    }
    if plan.pause > 0 {
        tokio::time::sleep(Duration::from_millis(plan.pause)).await;
    }
    let (count, len) = plan.pieces;
    if tell.is_none() && count == 1 {
        return Response::new(Body::from(piece(number, len)));
    }
    let pieces = std::iter::repeat_n(piece(number, len), count).collect();
    Response::new(Body::new(Telling { pieces, tell }))
}

async fn pipelined(plans: Vec<Plan>, split: usize) {
    let count = plans.len();
    let carried_out = plans.clone();
    let server = start_with(local(), move |request| {
        let plans = carried_out.clone();
        async move { Ok(carry_out(&plans, request).await) }
    });
    let requests: String = (0..count).map(|number| get(&format!("/{number}"))).collect();
    let (first, second) = requests.split_at(split % requests.len());
    let mut client = server.connect().await;
    client.send(first).await;
    tokio::task::yield_now().await;
    client.send(second).await;
    for (number, plan) in plans.iter().enumerate() {
        let answer = loop {
            let answer = client.answer().await;
            if answer.status >= 200 {
                break answer;
            }
            assert_eq!(answer.status, 103);
            assert_eq!(answer.header("x-number"), Some(number.to_string().as_str()), "{plans:?}");
        };
        assert_eq!(answer.status, 200);
        let body = piece(number, plan.pieces.0 * plan.pieces.1);
        assert!(answer.body == body, "the body of {number} is whole: {plans:?}");
    }
    assert_eq!(
        client.rest(Duration::from_millis(5)).await.0,
        b"",
        "nothing stands behind: {plans:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_handlers_do_the_answers_come_in_order_and_whole(plans in plans(), split in any::<usize>()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.unwrap().block_on(pipelined(plans, split));
    }
}

/// Informs, and answers at once; says whether it could.
async fn at_once(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let informational = request.extensions().get().and_then(Connection::informational);
    if let Some(informational) = informational {
        inform(informational, 7);
    }
    Ok(text(if informational.is_some() { "informed" } else { "not informed" }))
}

#[tokio::test]
async fn a_hint_just_before_the_answer_arrives() {
    let server = start_with(local(), at_once);
    let mut client = server.connect().await;
    for _ in 0..3 {
        client.send(get("/")).await;
        let early = client.answer().await;
        assert_eq!((early.status, early.header("x-number")), (103, Some("7")));
        assert_eq!(client.answer().await.text(), "informed");
    }
}

#[tokio::test]
async fn clients_that_do_not_know_them_get_none() {
    let server = start_with(local(), at_once);
    let mut old = Raw::new(TcpStream::connect(server.address).await.unwrap());
    old.send("GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(old.answer().await.text(), "not informed");
    let mut client = H2::connect(&server).await;
    client.get(1, "/").await;
    let answer = client.outcome(1).await;
    assert_eq!((answer.status, &answer.body[..]), (Some(200), &b"not informed"[..]));
}
