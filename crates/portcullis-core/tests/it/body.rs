//! The one body, and those who watch it.
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Cx, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use portcullis_core::{Body, BoxError, End, Revocation, Revoked, Watch};

use crate::support::Log;

/// Writes down what it sees.
struct Watcher(&'static str, Log);

impl Watch for Watcher {
    fn data(&mut self, data: &Bytes) {
        self.1.add(format!("{}{}", self.0, String::from_utf8_lossy(data)));
    }
    fn trailers(&mut self, trailers: &HeaderMap) {
        self.1.add(format!("{}{} trailers", self.0, trailers.len()));
    }
    fn end(&mut self, how: End) {
        self.1.add(format!("{}{how:?}", self.0));
    }
}

/// A body of these frames, one a poll.
struct Frames(Vec<Result<Frame<Bytes>, &'static str>>);

impl HttpBody for Frames {
    type Data = Bytes;
    type Error = &'static str;
    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Cx<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        let next = (!self.0.is_empty()).then(|| self.0.remove(0));
        Poll::Ready(next)
    }
    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::new();
        hint.set_lower(self.0.len() as u64);
        hint.set_upper(100);
        hint
    }
}

fn data(text: &'static str) -> Frame<Bytes> {
    Frame::data(Bytes::from_static(text.as_bytes()))
}

fn trailers() -> Frame<Bytes> {
    let status =
        (http::HeaderName::from_static("grpc-status"), http::HeaderValue::from_static("0"));
    Frame::trailers(HeaderMap::from_iter([status]))
}

fn frames<const N: usize>(frames: [Frame<Bytes>; N]) -> Body {
    Body::new(Frames(frames.into_iter().map(Ok).collect()).map_err(BoxError::from))
}

/// A body that fails after these frames.
fn broken<const N: usize>(frames: [Frame<Bytes>; N]) -> Body {
    let frames = frames.into_iter().map(Ok).chain([Err("broken")]).collect();
    Body::new(Frames(frames).map_err(BoxError::from))
}

/// Polls the body so often, then drops it.
async fn poll(mut body: Body, times: usize) {
    for _ in 0..times {
        let _ = body.frame().await;
    }
}

#[tokio::test]
async fn watchers_see_what_passes_and_the_end_exactly_once() {
    for (name, body, polls, want) in [
        ("complete", frames([data("a"), data("b")]), 3, "a, b, Complete"),
        ("asked on after the end", frames([data("a")]), 9, "a, Complete"),
        ("with trailers", frames([data("a"), trailers()]), 3, "a, 1 trailers, Complete"),
        ("failed", broken([data("a")]), 2, "a, Failed"),
        ("asked on after it failed", broken([data("a")]), 9, "a, Failed"),
        ("dropped halfway", frames([data("a"), data("b")]), 1, "a, Dropped"),
        ("dropped before its first frame", frames([data("a")]), 0, "Dropped"),
        ("empty", Body::empty(), 1, "Complete"),
        ("empty and dropped", Body::empty(), 0, "Complete"),
        ("an empty text", Body::from(""), 0, "Complete"),
        ("full", Body::from("all"), 2, "all, Complete"),
        ("full, taken and then dropped", Body::from("all"), 1, "all, Complete"),
        ("full and dropped", Body::from("all"), 0, "Dropped"),
        ("a foreign full one", Body::new(Full::new(Bytes::from("all"))), 1, "all, Complete"),
        ("a foreign empty one", Body::new(Full::<Bytes>::default()), 0, "Complete"),
    ] {
        let log = Log::default();
        poll(body.watched(Watcher("", log.clone())), polls).await;
        assert_eq!(log.take(), want, "{name}");
    }
}

#[tokio::test]
async fn several_watchers_see_the_same_in_the_order_in_which_they_came() {
    let log = Log::default();
    let watcher = |name| Watcher(name, log.clone());
    let body = frames([data("x")]).watched(watcher("1")).watched(watcher("2"));
    // A body that is wrapped again keeps its watchers.
    poll(Body::new(body).watched(watcher("3")), 2).await;
    assert_eq!(log.take(), "1x, 2x, 3x, 1Complete, 2Complete, 3Complete");
    let body = Body::from("x").watched(watcher("1")).watched(watcher("2"));
    drop(Body::new(body));
    assert_eq!(log.take(), "1Dropped, 2Dropped");
}

#[tokio::test]
async fn what_a_watcher_holds_is_released_at_the_end_not_at_the_drop() {
    struct Holds(#[expect(dead_code, reason = "only held")] Arc<()>);
    impl Watch for Holds {}
    for (name, polls, mut body) in [("complete", 2, frames([data("a")])), ("failed", 1, broken([]))]
    {
        let permit = Arc::new(());
        body = body.watched(Holds(permit.clone()));
        assert_eq!(Arc::strong_count(&permit), 2, "{name}");
        for _ in 0..polls {
            let _ = body.frame().await;
        }
        assert_eq!(Arc::strong_count(&permit), 1, "{name}");
        drop(body);
    }
}

#[tokio::test]
async fn a_body_that_waits_is_not_over() {
    let log = Log::default();
    let mut body = Body::new(Never).watched(Watcher("", log.clone()));
    let mut cx = Cx::from_waker(Waker::noop());
    assert!(Pin::new(&mut body).poll_frame(&mut cx).is_pending());
    assert_eq!(log.take(), "");
    drop(body);
    assert_eq!(log.take(), "Dropped");
}

/// A body that never begins.
struct Never;

impl HttpBody for Never {
    type Data = Bytes;
    type Error = BoxError;
    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Cx<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Pending
    }
}

#[tokio::test]
async fn our_body_is_handed_through_and_not_boxed_again() {
    // What is shown says what it is: a second box would hide it.
    for (body, want) in [
        (Body::from("full"), "full"),
        (Body::empty(), "empty"),
        (Body::new(Body::from("full")), "full"),
        (Body::new(Body::new(Body::empty())), "empty"),
        (Body::new(Full::new(Bytes::from("full"))), "boxed"),
        (Body::new(Full::<Bytes>::default()), "empty"),
    ] {
        let shown = format!("{:?}", Body::new(body));
        assert!(shown.starts_with(&format!("Body {{ kind: \"{want}\"")), "{want}: {shown}");
    }
    let whole = Body::new(Body::new(frames([data("a"), data("b"), trailers()])));
    let whole = whole.collect().await.unwrap();
    assert_eq!(whole.trailers().unwrap()["grpc-status"], "0");
    assert_eq!(whole.to_bytes(), "ab");
}

#[tokio::test]
async fn size_and_end_are_those_of_the_body_inside() {
    let bounds = |body: &Body| (body.size_hint().lower(), body.size_hint().upper());
    for (name, mut body, want, over_after) in [
        ("empty", Body::empty(), (0, Some(0)), 0),
        ("full", Body::from("four"), (4, Some(4)), 1),
        ("a foreign full one", Body::new(Full::new(Bytes::from("four"))), (4, Some(4)), 1),
        ("frames", frames([data("a"), data("b")]), (2, Some(100)), usize::MAX),
    ] {
        assert_eq!(bounds(&body), want, "{name}");
        for polled in 0..3 {
            assert_eq!(body.is_end_stream(), polled >= over_after, "{name} after {polled}");
            let _ = body.frame().await;
        }
    }
}

#[tokio::test]
async fn the_error_of_the_body_inside_comes_out() {
    let error = broken([data("a")]).collect().await.unwrap_err();
    assert_eq!(error.to_string(), "broken");
}

/// A body that hands out these texts, one a poll, then waits for ever. It holds something.
struct Endless(Vec<&'static str>, #[expect(dead_code, reason = "only held")] Arc<()>);

impl HttpBody for Endless {
    type Data = Bytes;
    type Error = BoxError;
    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Cx<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.0.is_empty() {
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok(data(self.0.remove(0)))))
    }
}

/// What a body says, frame by frame, as far as it goes without waiting; nine at most.
fn at_hand(body: &mut Body) -> Vec<String> {
    let mut cx = Cx::from_waker(Waker::noop());
    let mut said = Vec::new();
    while said.len() < 9 && !said.iter().any(|said| matches!(said as &str, "over" | "waits")) {
        said.push(match Pin::new(&mut *body).poll_frame(&mut cx) {
            Poll::Ready(Some(Ok(frame))) => {
                String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
            }
            Poll::Ready(Some(Err(error))) if error.is::<Revoked>() => "revoked".to_owned(),
            Poll::Ready(Some(Err(error))) => error.to_string(),
            Poll::Ready(None) => "over".to_owned(),
            Poll::Pending => "waits".to_owned(),
        });
    }
    said
}

#[test]
fn a_body_ends_when_the_identity_that_it_is_for_is_no_longer_good() {
    let endless = || Body::new(Endless(vec!["a", "b"], Arc::default()));
    let foreign = || Body::new(Full::new(Bytes::from("all")));
    // Revoked before the body is made, after its first frame, or never.
    for (name, body, when, want) in [
        ("endless, never", endless(), None, "a b waits"),
        ("endless, while it goes on", endless(), Some(1), "a revoked over"),
        ("endless, before its first frame", endless(), Some(0), "revoked over"),
        ("of frames, never", frames([data("a"), data("b")]), None, "a b over"),
        ("of frames, while it goes on", frames([data("a"), data("b")]), Some(1), "a revoked over"),
        ("broken", broken([data("a")]), None, "a broken over"),
        ("a foreign full one, before its first frame", foreign(), Some(0), "revoked over"),
        // Nothing is left to be waited for.
        ("full", Body::from("all"), Some(0), "all over"),
        ("empty", Body::empty(), Some(0), "over"),
    ] {
        let (log, revocation) = (Log::default(), Revocation::new());
        let failed = want.contains("revoked") || want.contains("broken");
        let mut body = body.watched(Watcher("", log.clone())).until(revocation.clone());
        let mut said = Vec::new();
        if when == Some(1) {
            let frame = Pin::new(&mut body).poll_frame(&mut Cx::from_waker(Waker::noop()));
            assert!(matches!(frame, Poll::Ready(Some(Ok(_)))), "{name}");
            said.push("a".to_owned());
        }
        if when.is_some() {
            revocation.revoke();
        }
        said.extend(at_hand(&mut body));
        assert_eq!(said.join(" "), want, "{name}");
        assert_eq!(log.take().contains("Failed"), failed, "{name}");
    }
}

#[test]
fn an_answer_that_is_made_when_the_identity_is_no_longer_good_says_what_it_has_at_hand() {
    let revocation = Revocation::new();
    revocation.revoke();
    for (name, body, want) in [
        ("a foreign full one", Body::new(Full::new(Bytes::from("logged out"))), "logged out over"),
        ("of frames", frames([data("a"), data("b")]), "a b over"),
        ("endless", Body::new(Endless(vec!["a", "b"], Arc::default())), "a b revoked over"),
        ("never begun", Body::new(Never), "revoked over"),
    ] {
        assert_eq!(at_hand(&mut body.until(revocation.clone())).join(" "), want, "{name}");
    }
}

#[tokio::test]
async fn whoever_waits_for_a_frame_is_woken_and_what_the_body_holds_is_released() {
    for which in 0..2 {
        let (held, both) = (Arc::new(()), [Revocation::new(), Revocation::new()]);
        let [one, other] = both.clone();
        // Either of two signals ends it, and none replaces the other.
        let body = Body::new(Endless(vec!["a"], held.clone())).until(one);
        let mut body = Body::new(body).until(other);
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "a");
        let waiting = tokio::spawn(async move {
            let error = body.frame().await.unwrap().unwrap_err();
            (error.is::<Revoked>(), body)
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        both[which].revoke();
        tokio::task::yield_now().await;
        assert!(waiting.is_finished(), "woken by signal {which}");
        let (revoked, body) = waiting.await.unwrap();
        assert!(revoked, "{which}");
        assert_eq!(Arc::strong_count(&held), 1, "released with the error, not with the body");
        assert!(body.is_end_stream());
    }
}

#[tokio::test]
async fn until_changes_neither_size_nor_end_nor_trailers() {
    let whole = frames([data("a"), trailers()]).until(Revocation::new());
    assert_eq!((whole.size_hint().lower(), whole.size_hint().upper()), (2, Some(100)));
    let whole = whole.collect().await.unwrap();
    assert_eq!(whole.trailers().unwrap()["grpc-status"], "0");
    let mut full = Body::new(Full::new(Bytes::from("four"))).until(Revocation::new());
    assert_eq!(full.size_hint().exact(), Some(4));
    _ = full.frame().await;
    assert!(full.is_end_stream());
}
