//! Tables: their identity, their mistakes, and the route layer without an edge in front.
use http::Method;
use portcullis_core::route::{CatchAll, Guardedness, Open, RouteLayer, TableBuilder};
use portcullis_core::{
    ConfigError, Context, EdgeLayer, Methods, Route, RouteTable, Routes, Rule, WithOptions,
    authenticated, public, require,
};
use portcullis_testkit::{Contract, TestClient, get};
use std::sync::Arc;
use tower::{Layer, ServiceExt};

use crate::support::{NAME, from, named, telling, unreachable};

fn table(template: &str) -> Arc<RouteTable> {
    let mut table = TableBuilder::new(CatchAll::Bare);
    table.add(template, Method::GET, public());
    table.build()
}

#[tokio::test]
async fn the_route_layer_keeps_the_contract_of_a_layer() {
    Contract::new(RouteLayer::<Open>::new(table("/books/{id}")))
        .passes(|| get("/books/7").build())
        .refuses(|| get("/films").build())
        .check()
        .await;
}

#[tokio::test]
async fn a_table_with_mistakes_refuses_every_request_and_tells_only_the_log() {
    let mut table = TableBuilder::new(CatchAll::Bare);
    table.add("/books", Method::GET, public());
    table.error(ConfigError::new("route `GET /films`", "there are no films in this shop"));
    let table = table.build();
    let client = TestClient::new(RouteLayer::<Open>::new(table).layer(unreachable()));
    for path in ["/books", "/nothing", "/a%2Fb", "*"] {
        let answer = client.options(path).send().await;
        answer.assert_status(500).assert_problem("configuration-invalid");
        let problem = answer.extensions().get::<portcullis_core::Problem>().unwrap();
        let cause = problem.cause_error().unwrap().to_string();
        assert_eq!(cause, "route `GET /films`: there are no films in this shop");
        assert!(!answer.text().contains("films"), "{path}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_second_table_is_a_conflict_and_the_same_one_too() {
    let (one, two) = (table("/{*rest}"), table("/{*rest}"));
    for second in [two, Arc::clone(&one)] {
        let inner = RouteLayer::<Open>::new(second).layer(unreachable());
        let outer = RouteLayer::<Open>::new(Arc::clone(&one)).layer(inner);
        let answer = TestClient::new(outer).get("/").send().await;
        answer.assert_status(500).assert_problem("context-conflict");
    }
}

#[tokio::test]
async fn alone_the_route_layer_reads_the_target_by_itself_and_changes_nothing() {
    let application = telling(|context, request| {
        let target = context.target().unwrap();
        assert!(target.matches(request.uri()));
        let scheme = target.scheme().as_str();
        format!("{} {scheme} {}", request.uri(), context.route().unwrap().template())
    });
    let layer = RouteLayer::<Open>::new(table("/books/{id}"));
    let client = TestClient::new(layer.layer(application));
    let answer = client.get("/books/7?x").send().await;
    assert_eq!(answer.text(), "/books/7?x http /books/{id}");
    let tls = from("192.0.2.1").with_tls(Arc::default());
    let answer = client.get("/books/7").connection(tls).send().await;
    assert_eq!(answer.text(), "/books/7 https /books/{id}");

    let client = TestClient::new(layer.layer(unreachable()));
    // A router in front may have matched the path as it came, so one that would have to be changed is refused.
    for path in
        ["/books%2F7", "/books//7", "/../books/7", "/books/7%00", "/a/../books/7", "/books/%37"]
    {
        client.get(path).send().await.assert_status(400).assert_problem("target-invalid");
    }
}

#[tokio::test]
async fn an_edge_inside_of_the_route_layer_is_a_conflict() {
    let service = RouteLayer::<Open>::new(table("/")).layer(EdgeLayer::new().layer(unreachable()));
    TestClient::new(service).get("/").send().await.assert_problem("context-conflict");
}

#[tokio::test]
async fn what_was_matched_is_noted_for_whoever_asked() {
    let application = telling(|context, _| context.explain().unwrap().notes()[0].text.to_string());
    let mut request = get("/books/7").build();
    Context::of(&mut request).start_explaining();
    let service = RouteLayer::<Open>::new(table("/books/{id}")).layer(application);
    let answer = service.oneshot(request).await.unwrap();
    assert_eq!(portcullis_testkit::read(answer).await, "GET /books/{id} (public)");
}

#[test]
fn a_route_is_equal_only_to_itself() {
    let routes = |_: i32| {
        Routes::builder().get("/a", ()).public().get("/b", ()).require("x").build().unwrap()
    };
    let (mine, other) = (routes(1), routes(2));
    let of = |table: &Arc<RouteTable>, index| -> Route { table.route(index).unwrap() };
    assert_eq!(of(mine.table(), 0), of(mine.clone().table(), 0));
    assert_ne!(of(mine.table(), 0), of(mine.table(), 1));
    assert_ne!(of(mine.table(), 0), of(other.table(), 0), "the same path in another table");
    assert!(mine.table().route(2).is_none());
}

#[test]
fn a_route_knows_what_it_is() {
    #[derive(Debug, PartialEq)]
    struct Cost(u32);
    impl portcullis_core::RouteOption for Cost {
        const NAME: &'static str = "cost";
    }
    let routes = Routes::builder()
        .get("/books/{id}", ())
        .public()
        .name("book")
        .with_option(Cost(1))
        .with_option(Cost(2))
        .on(Methods::These(vec![Method::PUT, Method::PATCH]), "/books/{id}", ())
        .rule(require("books:write").step_up())
        .any("/rest/{*path}", ())
        .authenticated()
        .build()
        .unwrap();
    let found: Vec<_> = routes
        .table()
        .routes()
        .map(|route| {
            let cost = route.options().get::<Cost>().map_or(0, |cost| cost.0);
            format!("{route} | {} | {} | {cost}", route.name().unwrap_or("-"), route.access())
        })
        .collect();
    assert_eq!(
        found,
        [
            "GET /books/{id} | book | public | 2",
            "PUT,PATCH /books/{id} | - | permission books:write, step-up | 0",
            "* /rest/{*path} | - | authenticated | 0",
        ]
    );
    assert_eq!(routes.table().routes().map(|route| route.index()).collect::<Vec<_>>(), [0, 1, 2]);
}

#[tokio::test]
async fn an_adapter_names_several_patterns_for_one_route_and_axum_has_no_bare_prefix() {
    fn add<G: Guardedness>(rule: Rule<G>) -> Arc<RouteTable> {
        let mut table = TableBuilder::new(CatchAll::NotEmpty);
        table.add("/files/{*rest}", Methods::Any, authenticated());
        table.add_all(&["/old", "/old/{*rest}"], "/old/{*rest}", Methods::Any, rule);
        table.build()
    }
    let service = RouteLayer::<Open>::new(add(public())).layer(named("found"));
    let client = TestClient::new(service).allow_header(NAME);
    for (path, found) in [
        ("/files/a", true),
        ("/files", false),
        ("/files/", false),
        ("/old", true),
        ("/old/a/b", true),
        ("/old/", false),
    ] {
        let answer = client.get(path).send().await;
        assert_eq!(answer.header(NAME).is_some(), found, "{path}");
    }
}
