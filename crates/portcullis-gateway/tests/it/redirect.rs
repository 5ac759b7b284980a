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
        .get("/moved/{id}/{*rest}", Redirect::permanent("/new/{rest}?id={id}"))
        .public()
        .get("/{*any}", Redirect::permanent("{path}"))
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
        ("http://a.example/moved/7/a/b?y", 308, "/new/a/b?id=7"),
        ("http://a.example/moved/%7Bpath%7D/x", 308, "/new/x?id=%7Bpath%7D"),
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
    for (to, template, want) in [
        ("/new/{rest}", "/old/{*rest}", Ok(())),
        ("https://a{path}", "/old", Ok(())),
        ("https://a/{id}{query}", "/{id}", Ok(())),
        ("https://a{id}", "/{id}", Err("path alone")),
        ("{id}", "/{id}", Err("path alone")),
        ("https://{id}.a/{id}", "/{id}", Err("path alone")),
        ("/{id}", "/{name}", Err("`{id}` is neither")),
        ("/{", "/", Err("no address")),
    ] {
        match (Redirect::permanent(to).check(template), want) {
            (Ok(()), Ok(())) => {}
            (Err(message), Err(want)) => assert!(message.contains(want), "{to}: {message}"),
            (checked, want) => panic!("{to}: {checked:?}, not {want:?}"),
        }
    }
    assert!(Redirect::permanent("/").with_status(300).unwrap_err().contains("308"));
}
