//! Ways in which somebody could use up what others have, or get more than there is.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context as Cx, Waker};
use std::time::Duration;

use async_trait::async_trait;
use http::Request;
use portcullis_core::{Body, Context};
use portcullis_ratelimit::{
    Key, OnFailure, QuotaStore, QuotaStoreError, RateLimitLayer, SharedCounts, Take, Taken,
    Throttle, per_day, per_hour, per_minute, per_second,
};
use portcullis_testkit::{FakeTime, StubAuthenticateLayer, as_user};
use tower::{Layer, Service, ServiceBuilder, service_fn};

use crate::store::{Mood, Store};
use crate::support::{Endpoint, answer, asking, client_of};

fn everywhere(
    quota: portcullis_ratelimit::Quota,
) -> RateLimitLayer<portcullis_core::stage::PreLimit> {
    RateLimitLayer::before_authentication().everywhere(quota)
}

#[tokio::test]
async fn what_is_on_trial_holds_nobody_up() {
    let time = FakeTime::new();
    let patient = per_second(1).waiting(Duration::from_secs(3)).shadow();
    let mut service = everywhere(patient).layer(Endpoint::default());
    for _ in 0..3 {
        let mut request = asking("192.0.2.1", &time);
        Context::of(&mut request).limit_time(Duration::from_millis(900));
        assert_eq!(answer(&mut service, request).status(), 200);
    }
}

#[tokio::test]
async fn who_is_refused_uses_up_nothing_of_others_however_long_it_took_to_get_here() {
    let time = FakeTime::new();
    let layer = RateLimitLayer::before_authentication()
        .everywhere_as("all", per_second(1_000).by(Key::Everyone))
        .everywhere_as("own", per_hour(1));
    let mut service = layer.layer(Endpoint::default());
    assert_eq!(answer(&mut service, asking("192.0.2.66", &time)).status(), 200);
    let begun = |_| {
        let mut request = asking("192.0.2.66", &time);
        Context::of(&mut request);
        request
    };
    let requests: Vec<Request<Body>> = (0..2_000).map(begun).collect();
    time.advance(Duration::from_millis(5));
    for request in requests {
        assert_eq!(answer(&mut service, request).status(), 429);
    }
    assert_eq!(answer(&mut service, asking("192.0.2.7", &time)).status(), 200);
}

#[tokio::test]
async fn plans_under_one_key_clear_nothing_of_each_other() {
    let time = FakeTime::new();
    let quota = per_minute(1).by(Key::Tenant).plan("pro", per_hour(100));
    let layers = ServiceBuilder::new()
        .layer(StubAuthenticateLayer::new())
        .layer(RateLimitLayer::in_memory().everywhere(quota))
        .into_inner();
    let client = client_of(&layers, &time);
    let mut admitted = 0;
    for _ in 0..10 {
        loop {
            let pro = as_user("a").tenant("t").plan("pro");
            if client.get("/").as_user(pro).send().await.status() != 200 {
                break;
            }
            admitted += 1;
        }
        client.get("/").as_user(as_user("b").tenant("t")).send().await;
    }
    assert_eq!(admitted, 100);
}

#[tokio::test(start_paused = true)]
async fn what_a_store_refused_is_not_remembered_for_another_plan_nor_for_long() {
    let time = FakeTime::new();
    let shared = SharedCounts::new(Store::new(&time));
    let quota = per_day(2).by(Key::Tenant).plan("pro", per_second(1_000)).shared(shared);
    let layers = ServiceBuilder::new()
        .layer(StubAuthenticateLayer::new())
        .layer(RateLimitLayer::in_memory().everywhere(quota))
        .into_inner();
    let client = client_of(&layers, &time);
    for status in [200, 200, 429] {
        let free = client.get("/").as_user(as_user("b").tenant("t")).send().await;
        assert_eq!(free.status(), status);
        // It is the day that is told, also where it is remembered.
        let want = (status == 429).then_some("43200");
        assert_eq!(free.header("retry-after"), want);
    }
    let remembered = client.get("/").as_user(as_user("b").tenant("t")).send().await;
    assert_eq!(remembered.header("retry-after"), Some("43200"));
    let pro = client.get("/").as_user(as_user("a").tenant("t").plan("pro")).send().await;
    assert_eq!(pro.status(), 200);

    let shared = SharedCounts::new(Store::new(&time));
    let tries = Throttle::new("log-in", per_hour(2).shared(shared)).unwrap();
    let context = Context::of(&mut asking("192.0.2.1", &time));
    let both = [(), ()].map(|()| tries.take(&context, "ada", 1));
    let [first, second] = both;
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert!(tries.take(&context, "ada", 1).await.is_err());
    first.give_back();
    second.give_back();
    // The store is told by a task.
    tokio::task::yield_now().await;
    assert!(tries.take(&context, "ada", 1).await.is_ok());
}

/// Counts at once, and answers a moment later.
#[derive(Clone, Debug, Default)]
struct Slow(Arc<AtomicU64>);

#[async_trait]
impl QuotaStore for Slow {
    async fn take(&self, takes: &[Take]) -> Result<Vec<Taken>, QuotaStoreError> {
        let answer = |take: &Take| {
            let was = self.0.load(Ordering::SeqCst);
            let units = take.most.min(take.rate.at_once() - was);
            let is_enough = units >= take.needs;
            let is = self.0.fetch_add(if is_enough { units } else { 0 }, Ordering::SeqCst) + units;
            Taken::new(is_enough, units, take.rate.time_of(is))
        };
        let answers = takes.iter().map(answer).collect();
        tokio::time::sleep(Duration::from_millis(1)).await;
        Ok(answers)
    }
    async fn settle(&self, _: &Take, _: i64) -> Result<(), QuotaStoreError> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn requests_that_go_away_take_no_lease_with_them() {
    let (time, store) = (FakeTime::new(), Slow::default());
    let shared = SharedCounts::new(store.clone()).leased();
    let quota = per_hour(1_000).by(Key::Everyone).shared(shared);
    let mut service = everywhere(quota).layer(Endpoint::default());
    for _ in 0..20 {
        let mut call = Box::pin(service.call(asking("192.0.2.66", &time)));
        assert!(call.as_mut().poll(&mut Cx::from_waker(Waker::noop())).is_pending());
        // The store is being asked now.
        tokio::task::yield_now().await;
        drop(call);
    }
    let others = service.call(asking("192.0.2.7", &time)).await.unwrap();
    assert_eq!(others.status(), 200);
    assert_eq!(store.0.load(Ordering::SeqCst), 100, "one lease");
}

#[tokio::test(start_paused = true)]
async fn a_share_has_room_for_what_the_whole_has() {
    let time = FakeTime::new();
    let store = Store::new(&time);
    store.is(Mood::Fails);
    let shared = SharedCounts::new(store).on_failure(OnFailure::Local { replicas: 10 });
    let quota = per_minute(60).burst(20).cost(5).shared(shared);
    let mut service = everywhere(quota).layer(Endpoint::default());
    for want in [200, 429] {
        let answer = service.call(asking("192.0.2.7", &time)).await.unwrap();
        assert_eq!(answer.status(), want);
    }
    // A tenth of one a second: five take fifty seconds.
    time.advance(Duration::from_secs(50));
    let answer = service.call(asking("192.0.2.7", &time)).await.unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn what_is_settled_late_is_given_back_as_far_as_it_has_not_passed() {
    let time = FakeTime::new();
    let endpoint = service_fn(async |mut request: Request<Body>| {
        Context::of(&mut request).spend(10);
        Ok::<_, std::convert::Infallible>(http::Response::new(Body::from("a long answer")))
    });
    let mut service = everywhere(per_minute(60_000).settled(6_000)).layer(endpoint);
    let (mut held, mut admitted) = (Vec::new(), 0);
    for _ in 0..6 {
        for _ in 0..20 {
            let answer = answer(&mut service, asking("192.0.2.7", &time));
            if answer.status() == 200 {
                admitted += 1;
                held.push(answer);
            }
        }
        time.advance(Duration::from_secs(10));
        held.clear();
    }
    // As many at once as are taken for; those that end make room for the next, but for what they have used.
    assert_eq!(admitted, 10 + 5 * 9);
}
