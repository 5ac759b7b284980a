//! The shop, as its clients see it.
use custom_layer::{DEMO_KEY, Switch, shop};
use portcullis_testkit::TestClient;

const CLOSED: &str = "https://shop.example/problems/under-maintenance";

#[tokio::test]
async fn the_keeper_closes_the_shop_and_opens_it_again() {
    let app = shop(Switch::default()).unwrap();
    let client = TestClient::new(app).allow_problems("https://shop.example/problems/");
    let as_keeper =
        |request: portcullis_testkit::TestRequest<_>| request.header("x-api-key", DEMO_KEY);
    client.get("/").send().await.assert_status(200);
    client.put("/maintenance").send().await.assert_problem("authentication-required");
    client.get("/").send().await.assert_status(200);

    as_keeper(client.put("/maintenance")).send().await.assert_status(204);
    let answer = client.get("/").send().await;
    answer.assert_status(503).assert_problem(CLOSED);
    assert_eq!(answer.header("retry-after"), Some("300"));
    as_keeper(client.get("/")).send().await.assert_problem(CLOSED);
    client.get("/health").send().await.assert_status(200);
    client.delete("/maintenance").send().await.assert_problem("authentication-required");
    client.get("/nothing").send().await.assert_problem("route-not-found");

    as_keeper(client.delete("/maintenance")).send().await.assert_status(204);
    client.get("/").send().await.assert_status(200);
}
