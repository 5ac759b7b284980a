//! The contract fails for every layer that breaks it, and holds for those of core.
use portcullis_core::{EdgeLayer, Routes};
use portcullis_testkit::{Contract, FakeTime, get};

use crate::broken::{BrokenLayer, Fault, SharingLayer};
use crate::support::{panic_in, panic_of};

/// What the contract says of a layer with this fault.
async fn said(fault: Fault) -> String {
    let layer = BrokenLayer::new(fault);
    let clock = FakeTime::new().clock();
    let contract = Contract::new(layer.clone()).passes(|| get("/yes").build());
    // With a clock, the request has its context from the beginning.
    let contract = contract.refuses(move || get("/no").clock(clock.clone()).build());
    panic_of(contract.released(layer.released()).check()).await
}

#[tokio::test]
async fn the_layers_of_core_keep_it() {
    Contract::new(EdgeLayer::new())
        .passes(|| get("/books/7").build())
        .refuses(|| get("/books%2F7").build())
        .check()
        .await;
    let routes = Routes::builder().get("/books", ()).public().build().unwrap();
    Contract::new(routes.layer())
        .passes(|| get("/books").build())
        .refuses(|| get("/nothing").build())
        .check()
        .await;
}

#[tokio::test]
async fn it_holds_for_a_sound_layer_and_for_none_at_all() {
    assert_eq!(said(Fault::None).await, "no panic");
    Contract::new(tower::layer::util::Identity::new()).passes(|| get("/").build()).check().await;
}

#[tokio::test(start_paused = true)]
async fn every_check_can_fail() {
    for (fault, want) in [
        (Fault::CallsTheClone, "on an instance that was not polled ready"),
        (Fault::NeverAsks, "on an instance that was not polled ready"),
        (Fault::LosesTheWaker, "whoever waits is never woken"),
        (Fault::LeaksTheReadyInstance, "polled ready is still alive"),
        (Fault::ShedsLoad, "the call must wait, but gave the answer 503"),
        (Fault::AnswersByItself, "did not reach the inner service, but gave the answer 200 OK"),
        (Fault::CallsTwice, "must be called once"),
        (Fault::SwallowsErrors, "it must come out unchanged, but came the answer 500"),
        (Fault::ChangesStatus, "the status must stay 200 OK, but became 202"),
        (Fault::ChangesKind, "`Content-Type` must stay"),
        (Fault::DropsTrailers, "the trailers must stay"),
        (Fault::ChangesData, "the body must stay \"one two\", but became b\"ONE TWO\""),
        (Fault::AddsHeader, "`x-debug` is not on the allow list"),
        (Fault::WaitsForTheBody, "the head of the answer did not come"),
        (Fault::DoesNotRefuse, "it was not refused, but gave the answer 200 OK"),
        (Fault::CallsBeforeRefusing, "the inner service was called all the same"),
        (Fault::RefusesWithoutProblem, "an error must be a problem"),
        (Fault::RefusesWithStrayHeader, "`server` is not on the allow list"),
        (Fault::RefusesWithoutChallenge, "401 without `WWW-Authenticate`"),
        (Fault::ForgetsTheContext, "the problem is not in the context"),
        (Fault::SpawnsTheCall, "after its first poll: the inner future is still alive"),
        (Fault::SpawnsTheCallLater, "service works: the inner future is still alive"),
        (Fault::KeepsTheBody(0), "before its first poll: the inner body is still alive"),
        (Fault::KeepsTheBody(1), "while it waits: the inner body is still alive"),
        (Fault::KeepsTheBody(3), "in its middle: the inner body is still alive"),
        (Fault::KeepsItsPermit, "after its first poll: `released` says"),
        (Fault::KeepsItsPermitWhenUnpolled, "before its first poll: `released` says"),
    ] {
        let message = said(fault).await;
        assert!(message.contains(want), "{fault:?}\nwant {want}: {message}");
        if !want.contains("not polled ready") {
            let begin = "`it::broken::BrokenLayer` breaks the contract of a layer (checked at ";
            assert!(message.starts_with(begin) && message.contains("contract.rs"), "{message}");
        }
    }
}

#[tokio::test]
async fn clones_must_not_share_their_readiness() {
    let contract = Contract::new(SharingLayer).passes(|| get("/").build());
    let message = panic_of(contract.check()).await;
    assert!(message.contains("on an instance that was not polled ready"), "{message}");
}

#[tokio::test]
async fn a_layer_that_says_so_may_shed_and_have_headers_of_its_own() {
    let shed = Contract::new(BrokenLayer::new(Fault::ShedsLoad)).sheds();
    shed.passes(|| get("/yes").build()).check().await;
    let debug = Contract::new(BrokenLayer::new(Fault::AddsHeader)).allow_header("x-debug");
    debug.passes(|| get("/yes").build()).check().await;
}

#[test]
fn a_contract_needs_a_request() {
    let message = panic_in(|| Contract::new(EdgeLayer::new()).check());
    assert!(message.contains("needs a request that `passes`"), "{message}");
}
