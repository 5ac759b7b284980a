//! The layer by itself.
use std::sync::Arc;
use std::time::Duration;

use custom_layer::{MaintenanceExt, MaintenanceLayer, Switch};
use http::Request;
use portcullis::{Body, Context, EdgeLayer, RouteTable, Routes, Stack};
use portcullis_testkit::{Contract, get};

fn routes() -> Routes<()> {
    let routes = Routes::builder().get("/", ()).public();
    routes.get("/health", ()).public().survives_maintenance().build().unwrap()
}

/// A request for which the route layer has found the route at `index`.
fn routed(table: &Arc<RouteTable>, index: usize) -> Request<Body> {
    let mut request = get("/").build();
    Context::of(&mut request).set_route(table.route(index).unwrap());
    request
}

#[tokio::test]
async fn it_keeps_the_contract_of_a_layer() {
    let switch = Switch::default();
    switch.turn(true);
    let table = Arc::clone(routes().table());
    let (closed, open) = (Arc::clone(&table), table);
    Contract::new(MaintenanceLayer::new(switch.clone()))
        .allow_problems("https://shop.example/problems/")
        .refuses(move || routed(&closed, 0))
        .passes(move || routed(&open, 1))
        .check()
        .await;

    switch.turn(false);
    let table = Arc::clone(routes().table());
    Contract::new(MaintenanceLayer::new(switch)).passes(move || routed(&table, 0)).check().await;
}

#[test]
fn a_stack_without_the_layer_does_not_start_with_a_route_that_survives() {
    let routes = routes();
    let stack = Stack::new().layer(EdgeLayer::default()).layer(routes.layer());
    let errors = stack.around(routes).unwrap_err();
    assert!(errors.to_string().starts_with("route `GET /health`: no layer"), "{errors}");
    assert!(errors.to_string().contains("`survives_maintenance`"), "{errors}");

    let routes = self::routes();
    let layer = MaintenanceLayer::new(Switch::default()).retry_after(Duration::from_secs(60));
    let stack = Stack::new().layer(EdgeLayer::default()).layer(routes.layer()).layer(layer);
    assert!(stack.around(routes).is_ok());
}
