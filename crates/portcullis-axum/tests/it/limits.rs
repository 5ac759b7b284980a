//! Limits as handlers see them: what is left, what it costs, and those that they count against themselves.
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context as Cx, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{FromRef, Path};
use axum::response::{IntoResponse, Response};
use http_body::Frame;
use portcullis_axum::{Guarded, Limited, Quotas, Spend, Valid, get};
use portcullis_core::{EdgeLayer, Stack, public};
use portcullis_ratelimit::{LimitExt, Quota, RateLimitLayer, Throttle, per_hour, per_minute};
use portcullis_testkit::{FakeTime, TestClient, TestResponse};

/// What stands on a page.
async fn shown(quotas: Quotas) -> String {
    let one = |quota: portcullis_core::QuotaUse| {
        format!("{} {}/{}", quota.name, quota.remaining, quota.limit)
    };
    let all: Vec<_> = quotas.iter().map(one).collect();
    let tightest = quotas.tightest().map(one).unwrap_or_default();
    let search = quotas.find("search").map(one).unwrap_or_default();
    format!("{} | {tightest} | {search}", all.join(", "))
}

fn quota(quota: Quota) -> RateLimitLayer<portcullis_core::stage::PreLimit> {
    RateLimitLayer::before_authentication().quota("search", quota)
}

#[tokio::test]
async fn a_page_shows_what_is_left() {
    let api = Guarded::new().route("/search", get(shown), public().limit("search")).route(
        "/",
        get(shown),
        public(),
    );
    let stack = Stack::new()
        .layer(EdgeLayer::default())
        .layer(RateLimitLayer::before_routing().everywhere(per_minute(10)))
        .layer(api.route_layer())
        .layer(quota(per_minute(4)));
    let client = TestClient::new(stack.around(api).unwrap()).clock(FakeTime::new().clock());
    for (path, want) in [
        ("/search", "everywhere 9/10, search 3/4 | search 3/4 | search 3/4"),
        ("/", "everywhere 8/10 | everywhere 8/10 | "),
        ("/search", "everywhere 7/10, search 2/4 | search 2/4 | search 2/4"),
    ] {
        assert_eq!(client.get(path).send().await.text(), want);
    }
    // Nobody limits.
    let router: Router = Router::new().route("/", axum::routing::get(shown));
    assert_eq!(TestClient::new(router).get("/").send().await.text(), " |  | ");
}

/// Two pieces; what each has cost is said when it is sent.
struct Pieces {
    spend: Spend,
    left: u8,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;
    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Cx<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(left) = self.left.checked_sub(1) else { return Poll::Ready(None) };
        self.left = left;
        self.spend.units(3);
        let total = format!("{} ", self.spend.total().unwrap());
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(total)))))
    }
}

async fn told(spend: Spend) -> Body {
    assert_eq!(spend.total(), None);
    Body::new(Pieces { spend, left: 2 })
}

#[tokio::test]
async fn a_stream_says_what_it_costs() {
    let api = Guarded::new().route("/", get(told), public().limit("search"));
    let stack = Stack::new()
        .layer(EdgeLayer::default())
        .layer(api.route_layer())
        .layer(quota(per_minute(10).settled(1)));
    let client = TestClient::new(stack.around(api).unwrap()).clock(FakeTime::new().clock());
    // One is taken at first, and six when it is over.
    for (status, left, text) in [(200, "9", "3 6 "), (200, "3", "3 6 "), (429, "0", "")] {
        let answer = client.get("/").send().await;
        let field = answer.header("ratelimit").unwrap();
        assert!(field.starts_with(&format!("\"search\";r={left};")), "{field}");
        assert_eq!(answer.status(), status, "{left}");
        if status == 200 {
            assert_eq!(answer.text(), text, "{left}");
        }
    }
}

#[derive(Clone)]
struct Shop {
    searches: Throttle,
    exports: Exports,
}
#[derive(Clone)]
struct Exports(Throttle);

impl AsRef<Throttle> for Exports {
    fn as_ref(&self) -> &Throttle {
        &self.0
    }
}
impl FromRef<Shop> for Throttle {
    fn from_ref(shop: &Shop) -> Self {
        shop.searches.clone()
    }
}
impl FromRef<Shop> for Exports {
    fn from_ref(shop: &Shop) -> Self {
        shop.exports.clone()
    }
}

async fn search(Valid(Path(_)): Valid<Path<u32>>, _: Limited, quotas: Quotas) -> String {
    quotas.find("searches").map_or(0, |quota| quota.remaining).to_string()
}
async fn export(Limited(pass, ..): Limited<Exports>) -> impl IntoResponse {
    pass.answer(Response::new(Body::from("books")))
}

#[tokio::test]
async fn a_handler_has_a_limit_of_its_own() {
    let shop = Shop {
        searches: Throttle::new("searches", per_minute(2)).unwrap(),
        exports: Exports(Throttle::new("exports", per_hour(1)).unwrap()),
    };
    let api = Guarded::new()
        .route("/search/{page}", get(search), public())
        .route("/export", get(export), public())
        .with_state(shop);
    let stack = Stack::new().layer(EdgeLayer::default()).layer(api.route_layer());
    let time = FakeTime::new();
    let client = TestClient::new(stack.around(api).unwrap()).clock(time.clock());
    let field = |answer: &TestResponse| answer.header("ratelimit").map(str::to_owned);
    for (path, seconds, status, text, fields) in [
        // What is rejected before it does not count.
        ("/search/x", 0, 400, "", None),
        ("/search/x", 0, 400, "", None),
        ("/search/1", 0, 200, "1", None),
        ("/search/1", 0, 200, "0", None),
        ("/search/x", 0, 400, "", None),
        ("/search/1", 0, 429, "", Some("\"searches\";r=0;t=30")),
        ("/export", 0, 200, "books", Some("\"exports\";r=0;t=3600")),
        ("/export", 0, 429, "", Some("\"exports\";r=0;t=3600")),
        ("/search/1", 30, 200, "0", None),
        ("/export", 0, 429, "", Some("\"exports\";r=0;t=3570")),
    ] {
        time.advance(Duration::from_secs(seconds));
        let answer = client.get(path).send().await;
        let name = format!("{path} {seconds}");
        assert_eq!(
            (answer.status().as_u16(), field(&answer).as_deref()),
            (status, fields),
            "{name}"
        );
        match status {
            200 => assert_eq!(answer.text(), text, "{name}"),
            429 => assert_eq!(answer.problem(), Some("quota-exceeded"), "{name}"),
            _ => assert_eq!(answer.problem(), Some("request-invalid"), "{name}"),
        }
        assert_eq!(answer.header("retry-after").is_some(), status == 429, "{name}");
    }
}

#[tokio::test]
async fn without_any_of_our_layers_it_is_the_servers_fault() {
    let throttle = Throttle::new("own", per_minute(1)).unwrap();
    let router = Router::new()
        .route("/limited", axum::routing::get(async |_: Limited| ""))
        .route("/spend", axum::routing::get(async |_: Spend| ""))
        .with_state(throttle);
    for path in ["/limited", "/spend"] {
        let request = http::Request::get(path).body(Body::empty()).unwrap();
        let answer = tower::ServiceExt::oneshot(router.clone(), request).await.unwrap();
        assert_eq!(answer.status(), 500, "{path}");
    }
}
