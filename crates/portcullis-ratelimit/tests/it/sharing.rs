//! Which counts are shared, and how many are kept.
use portcullis_core::{EdgeLayer, Stack};
use portcullis_ratelimit::{RateLimitLayer, per_hour};
use portcullis_testkit::{FakeTime, TestClient};
use tower::Layer;

use crate::support::{Endpoint, client_of, peer};

#[tokio::test]
async fn clones_and_services_of_one_layer_share_their_counts() {
    let time = FakeTime::new();
    let layer = RateLimitLayer::before_authentication().everywhere(per_hour(4));
    // Cloned before the first request, after it, as a layer and as a service.
    let early = layer.clone();
    let service = layer.layer(Endpoint::default());
    let of = |service| TestClient::new(service).clock(time.clock());
    let request = async |client: TestClient<_>, status| {
        client.get("/").peer(peer("192.0.2.1")).send().await.assert_status(status);
    };
    request(of(service.clone()), 200).await;
    request(of(service.clone()), 200).await;
    request(client_of(&early, &time), 200).await;
    request(client_of(&layer.clone(), &time), 200).await;
    request(of(service), 429).await;
    request(client_of(&early, &time), 429).await;

    // In two stacks too, as when a stack is built a second time from the same layer.
    let stack = Stack::new().layer(EdgeLayer::default()).layer(layer);
    let client = TestClient::new(stack.service(Endpoint::default()).unwrap()).clock(time.clock());
    client.get("/").peer(peer("192.0.2.1")).send().await.assert_status(429);
}

#[tokio::test]
async fn layers_of_their_own_count_for_themselves() {
    let time = FakeTime::new();
    let make = || RateLimitLayer::before_authentication().everywhere(per_hour(1));
    let (first, second) = (make(), make());
    for layer in [first, second] {
        let client = client_of(&layer, &time);
        client.get("/").peer(peer("192.0.2.1")).send().await.assert_status(200);
        client.get("/").peer(peer("192.0.2.1")).send().await.assert_status(429);
    }
}

/// How many of the first `strangers` clients are still counted when as many have come once.
async fn remembered(
    layer: RateLimitLayer<portcullis_core::stage::PreLimit>,
    strangers: u16,
) -> usize {
    let time = FakeTime::new();
    let client = client_of(&layer, &time);
    let address = |number: u16| peer(&format!("2001:db8:{number:x}::1"));
    for number in 0..strangers {
        client.get("/").peer(address(number)).send().await.assert_status(200);
    }
    let mut counted = 0;
    // The newest first: a stranger who was forgotten and comes again takes the place of another.
    for number in (0..strangers).rev() {
        let answer = client.get("/").peer(address(number)).send().await;
        counted += usize::from(answer.status() == 429);
    }
    counted
}

#[tokio::test]
async fn no_more_clients_are_remembered_than_there_is_room_for() {
    let layer = || RateLimitLayer::before_authentication().everywhere(per_hour(1));
    assert_eq!(remembered(layer(), 3_000).await, 3_000, "by default there is room for a million");
    let counted = remembered(layer().capacity(256), 3_000).await;
    assert!((256..=512).contains(&counted), "{counted}");
    // Not even without any room is anybody locked out.
    let counted = remembered(layer().capacity(0), 3_000).await;
    assert!(counted <= 512, "{counted}");
}

#[tokio::test]
async fn whoever_uses_much_is_not_forgotten_for_strangers() {
    let time = FakeTime::new();
    let layer = RateLimitLayer::before_authentication().everywhere(per_hour(5)).capacity(640);
    let client = client_of(&layer, &time);
    let hot = peer("192.0.2.1");
    for _ in 0..5 {
        client.get("/").peer(hot).send().await.assert_status(200);
    }
    for number in 0..5_000_u16 {
        let stranger = peer(&format!("2001:db8:{number:x}::1"));
        client.get("/").peer(stranger).send().await.assert_status(200);
        if number % 100 == 0 {
            client.get("/").peer(hot).send().await.assert_status(429);
        }
    }
    client.get("/").peer(hot).send().await.assert_status(429);
}
