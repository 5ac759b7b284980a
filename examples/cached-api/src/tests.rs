//! What the README says.
use portcullis_testkit::{FakeTime, TestClient, TestResponse};

use super::*;

type Client = TestClient<Router>;

fn client() -> (Client, FakeTime) {
    let time = FakeTime::new();
    (TestClient::new(app()).clock(time.clock()), time)
}

/// The parameter of `Cache-Status` that says where an answer came from.
fn status(answer: &TestResponse) -> &str {
    let status = answer.header("cache-status").expect("a cache");
    status.split("; ").nth(1).expect("a parameter")
}

async fn read(client: &Client, path: &str) -> (String, String) {
    let answer = client.get(path).send().await;
    answer.assert_status(200);
    (answer.text().to_owned(), status(&answer).to_owned())
}

fn got(text: &str, status: &str) -> (String, String) {
    (text.to_owned(), status.to_owned())
}

#[tokio::test]
async fn what_says_so_is_kept_for_a_minute_and_served_stale_for_half_a_minute_more() {
    let (client, time) = client();
    for path in ["/articles", "/articles/1"] {
        assert_eq!(read(&client, path).await.1, "fwd=uri-miss");
        time.advance(Duration::from_secs(59));
        assert_eq!(read(&client, path).await.1, "hit");
        time.advance(Duration::from_secs(90));
        assert_eq!(read(&client, path).await.1, "fwd=stale");
    }
    let answer = client.get("/articles").send().await;
    assert_eq!(
        answer.header("cache-control"),
        Some("public, max-age=0, s-maxage=60, stale-while-revalidate=30")
    );
}

#[tokio::test]
async fn whoever_writes_purges_what_shows_it() {
    let (client, _) = client();
    for _ in 0..2 {
        read(&client, "/articles").await;
        read(&client, "/articles/1").await;
        read(&client, "/articles/1?print").await;
    }
    client.put("/articles/2").body("more").send().await.assert_status(204);
    assert_eq!(read(&client, "/articles").await, got("[1,2]", "fwd=uri-miss"));
    assert_eq!(read(&client, "/articles/1").await, got("nothing happened today", "hit"));
    client.put("/articles/1").body("news").send().await.assert_status(204);
    assert_eq!(read(&client, "/articles/1").await, got("news", "fwd=uri-miss"));
    assert_eq!(read(&client, "/articles/1?print").await, got("news", "fwd=uri-miss"));
    assert_eq!(read(&client, "/articles/1").await, got("news", "hit"));
}

#[tokio::test]
async fn a_value_of_the_application_is_kept_and_purged_too() {
    let (client, _) = client();
    for (wait, want) in [(false, "3"), (true, "5")] {
        if wait {
            client.put("/articles/2").body("two words").send().await.assert_status(204);
        }
        for _ in 0..2 {
            let answer = client.get("/words").send().await;
            assert_eq!(answer.text(), want);
            assert_ne!(status(&answer), "hit");
            assert_eq!(answer.header("cache-control"), Some("no-store"));
        }
    }
}

#[tokio::test]
async fn what_says_nothing_is_not_kept() {
    let (client, _) = client();
    for name in ["ada", "bob", "ada"] {
        let cookie = format!("name={name}");
        let answer = client.get("/hello").header("cookie", cookie.as_str()).send().await;
        assert_eq!(answer.text(), format!("hello {name}\n"));
    }
    assert_eq!(client.get("/hello").send().await.text(), "hello stranger\n");
}

#[tokio::test]
async fn whoever_takes_only_what_is_kept_is_told_that_it_is_not() {
    let (client, _) = client();
    let ask = || client.get("/articles/1").header("cache-control", "only-if-cached");
    ask().send().await.assert_status(504).assert_problem("not-cached");
    read(&client, "/articles/1").await;
    assert_eq!(ask().send().await.text(), "nothing happened today");
}
