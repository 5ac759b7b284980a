//! Clients that are sent elsewhere.
use portcullis_core::{EdgeLayer, Routes, Stack};
use portcullis_gateway::Redirect;
use portcullis_testkit::TestClient;

#[tokio::test]
async fn a_redirect_may_use_what_was_asked_for() {
    let routes = Routes::builder()
        .get("/old/{*rest}", Redirect::permanent("https://new.example{path}{query}"))
        .public()
        .get("/secure/{*rest}", Redirect::temporary("https://{host}{path}{query}"))
        .public()
        .post("/form", Redirect::temporary("/done").with_status(303).unwrap())
        .public()
        .build()
        .unwrap();
    let stack = Stack::new().layer(EdgeLayer::new()).layer(routes.layer());
    let client = TestClient::new(stack.around(routes).unwrap());
    for (uri, status, location) in [
        ("http://a.example/old/x?y=z", 308, "https://new.example/old/x?y=z"),
        ("http://a.example/old", 308, "https://new.example/old"),
        ("http://a.example:8080/secure/x", 307, "https://a.example:8080/secure/x"),
        ("http://A.example/secure/%7Ex?", 307, "https://a.example/secure/~x?"),
    ] {
        let answer = client.get(uri).send().await;
        assert_eq!(
            (answer.status().as_u16(), answer.header("location")),
            (status, Some(location)),
            "{uri}"
        );
    }
    let answer = client.post("/form").send().await;
    assert_eq!((answer.status().as_u16(), answer.header("location")), (303, Some("/done")));
    assert!(Redirect::permanent("/").with_status(300).unwrap_err().contains("308"));
}
