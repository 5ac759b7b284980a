//! A candidate beside what decides: told, counted, and never seen in a response.
use portcullis_authz::{
    AuthorizeLayer, Authorizer, LiveRoles, Opinion, Policy, Question, Roles, Shadow, ShadowCounts,
};
use portcullis_core::{
    Context, MetricSource, Routes, StepUp, authenticated, optional, policy, public, require,
};
use portcullis_testkit::{AsUser, StubAuthenticateLayer, TestClient, TestRequest, as_user, get};
use tower::ServiceBuilder;

use crate::support::{Endpoint, roles, send};

/// Roles that are others than those of [`roles`]: some may more, some less.
fn candidate() -> Roles {
    let roles = Roles::builder().role("reader").permits("orders:read");
    let roles = roles.role("clerk").permits("orders:*").role("ghost").permits("*");
    roles.role("root").permits("books:*").build().unwrap()
}

/// A policy that has to ask somebody.
struct Asks;

#[async_trait::async_trait]
impl Policy for Asks {
    fn decide_now(&self, _: &Question<'_>) -> Option<Opinion> {
        None
    }
    async fn decide(&self, _: &Question<'_>) -> Opinion {
        tokio::task::yield_now().await;
        Opinion::allow("asked")
    }
}

fn by_tenant(question: &Question<'_>) -> Opinion {
    match question.identity().tenant() {
        Some("acme") => Opinion::allow("acme"),
        Some("bolt") => Opinion::step_up("bolt"),
        Some(_) => Opinion::indeterminate("another one"),
        None => Opinion::deny("none"),
    }
}

const PATHS: [&str; 9] =
    ["/public", "/optional", "/me", "/books", "/orders", "/keys", "/rooms", "/asks", "/nowhere"];

fn routes(endpoint: &Endpoint) -> Routes<Endpoint, portcullis_core::route::Restricted> {
    let rules = [
        public().restricted(),
        optional(),
        authenticated(),
        require("books:read"),
        require("orders:write").scope("orders"),
        require("orders:read").step_up_to(StepUp::default()),
        policy("tenant"),
        policy("asks"),
    ];
    let routes = PATHS.into_iter().zip(rules);
    let routes = routes.fold(Routes::builder().restricted(), |routes, (path, rule)| {
        routes.get(path, endpoint.clone()).rule(rule)
    });
    routes.build().unwrap()
}

#[tokio::test]
async fn no_response_is_another_one_because_of_a_candidate() {
    // Chance that comes again (SplitMix64).
    let mut state = 7_u64;
    let mut below = |end: u64| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % end).unwrap()
    };
    let shadow = Shadow::new(candidate())
        .policy("tenant", |_: &Question<'_>| Opinion::allow("whoever"))
        .policy("more", |_: &Question<'_>| Opinion::deny("nobody asks it"));
    let layer = AuthorizeLayer::new(roles()).policy("tenant", by_tenant).policy("asks", Asks);
    let with = |layer: AuthorizeLayer| {
        let endpoint = Endpoint::default();
        let routes = routes(&endpoint);
        let layers = ServiceBuilder::new()
            .layer(routes.layer())
            .layer(StubAuthenticateLayer::new())
            .layer(layer);
        (layers.service(routes.into_service()), endpoint)
    };
    let (plain_service, plain_endpoint) = with(layer.clone());
    let (shadowed_service, shadowed_endpoint) = with(layer.shadow(shadow.clone()));
    let (plain_client, shadowed_client) =
        (TestClient::new(plain_service.clone()), TestClient::new(shadowed_service.clone()));
    let mut statuses = std::collections::BTreeMap::<u16, usize>::new();
    for number in 0..1_000 {
        let path = PATHS[below(9)];
        let roles = ["reader", "clerk", "root", "ghost"];
        let said: Vec<_> = roles.into_iter().filter(|_| below(3) == 0).collect();
        let mut caller = as_user("ada").roles(said).scopes(["orders"].into_iter().take(below(2)));
        caller = [None, Some("acme"), Some("bolt"), Some("cob")][below(4)]
            .into_iter()
            .fold(caller, AsUser::tenant);
        let level = u8::try_from(below(4)).unwrap();
        let caller = Some(caller.with(|who| who.assurance(level))).filter(|_| below(6) > 0);
        let request = || caller.clone().into_iter().fold(get(path), TestRequest::as_user);
        let ask = |client: TestRequest<_>| {
            caller.clone().into_iter().fold(client, TestRequest::as_user).send()
        };
        let plain = ask(plain_client.get(path)).await;
        let shadowed = ask(shadowed_client.get(path)).await;
        assert_eq!(plain.status(), shadowed.status(), "{number} {path} {caller:?}");
        assert_eq!(plain.headers(), shadowed.headers(), "{number} {path} {caller:?}");
        assert_eq!(plain.bytes(), shadowed.bytes(), "{number} {path} {caller:?}");
        *statuses.entry(plain.status().as_u16()).or_default() += 1;
        assert_eq!(plain_endpoint.calls(), shadowed_endpoint.calls(), "{number} {path}");
        // What is left for others to read is the same too.
        let decided = [
            send(plain_service.clone(), request()).await.1,
            send(shadowed_service.clone(), request()).await.1,
        ];
        let [one, other] = decided.each_ref().map(|context| {
            context.decision().map(|it| (it.verdict(), it.rule().clone(), it.reason().to_owned()))
        });
        assert_eq!(one, other, "{number} {path} {caller:?}");
    }
    for status in [200, 401, 403, 404, 503] {
        assert!(statuses.get(&status).is_some_and(|count| *count > 10), "{statuses:?}");
    }
    let ShadowCounts { same, wider, narrower, other, skipped, .. } = shadow.counts();
    assert!(
        [same, wider, narrower, other, skipped].iter().all(|count| *count > 10),
        "{}",
        shadow.counts()
    );
}

/// What a candidate has counted after one request.
async fn counted(
    layer: AuthorizeLayer,
    shadow: Shadow,
    request: TestRequest,
) -> (ShadowCounts, Context) {
    let routes = routes(&Endpoint::default());
    let layers = ServiceBuilder::new()
        .layer(routes.layer())
        .layer(StubAuthenticateLayer::new())
        .layer(layer.shadow(shadow.clone()));
    let (_, context) = send(layers.service(routes.into_service()), request).await;
    (shadow.counts(), context)
}

#[tokio::test]
async fn what_would_be_otherwise_is_counted_by_how_it_would() {
    let caller = |role: &'static str| as_user("ada").roles([role]).scopes(["orders"]);
    let at_level_2 = |role| caller(role).with(|who| who.assurance(2));
    for (path, user, counts) in [
        // Same, wider, narrower, other, skipped.
        ("/public", None, [1, 0, 0, 0, 0]),
        ("/me", None, [1, 0, 0, 0, 0]),
        ("/me", Some(caller("ghost")), [1, 0, 0, 0, 0]),
        ("/books", Some(caller("root")), [1, 0, 0, 0, 0]),
        ("/books", Some(caller("ghost")), [0, 1, 0, 0, 0]),
        ("/books", Some(caller("reader")), [0, 0, 1, 0, 0]),
        ("/orders", Some(caller("root")), [0, 0, 1, 0, 0]),
        ("/orders", Some(caller("ghost")), [0, 1, 0, 0, 0]),
        // Both refuse, for different reasons: what is asked for decides what the caller is told.
        ("/keys", Some(caller("reader")), [0, 0, 0, 1, 0]),
        ("/keys", Some(at_level_2("reader")), [0, 1, 0, 0, 0]),
        ("/keys", Some(at_level_2("root")), [0, 0, 1, 0, 0]),
        // Both deny, by another rule.
        ("/orders", Some(as_user("ada").roles(["ghost"])), [1, 0, 0, 0, 0]),
        ("/asks", Some(caller("reader")), [0, 0, 0, 0, 1]),
        // What no route is for is decided by nobody.
        ("/nowhere", Some(caller("reader")), [0; 5]),
    ] {
        let request = user.into_iter().fold(get(path), TestRequest::as_user);
        let layer = AuthorizeLayer::new(roles()).policy("asks", Asks);
        let (told, context) = counted(layer, Shadow::new(candidate()), request).await;
        let ShadowCounts { same, wider, narrower, other, skipped, .. } = told;
        assert_eq!([same, wider, narrower, other, skipped], counts, "{path} {context:?}");
        assert_eq!(told.differences(), counts[1] + counts[2] + counts[3]);
        // An explanation says it too, and only where there is something to say.
        let notes = context.explain().unwrap().notes();
        let says = notes.iter().filter(|note| note.stage == "shadow").count() as u64;
        assert_eq!(says, told.differences(), "{path} {notes:?}");
    }
}

#[tokio::test]
async fn its_policies_are_those_of_the_layer_unless_it_has_its_own() {
    let bolt = || get("/rooms").as_user(as_user("ada").tenant("bolt"));
    let layer = || AuthorizeLayer::new(roles()).policy("tenant", by_tenant);
    let (counts, _) = counted(layer(), Shadow::new(roles()), bolt()).await;
    assert_eq!((counts.same, counts.differences()), (1, 0));
    let own = Shadow::new(roles()).policy("tenant", |_: &Question<'_>| Opinion::allow("all"));
    let (counts, context) = counted(layer(), own, bolt()).await;
    assert_eq!((counts.same, counts.wider), (0, 1));
    let notes = context.explain().unwrap().notes();
    let note = notes.iter().find(|note| note.stage == "shadow").unwrap();
    assert_eq!(note.text, "allow: policy tenant: all");
    // One that the layer gets afterwards is there too.
    let shadow = Shadow::new(roles());
    let late = AuthorizeLayer::new(roles()).shadow(shadow.clone()).policy("tenant", by_tenant);
    let routes = routes(&Endpoint::default());
    let layers =
        ServiceBuilder::new().layer(routes.layer()).layer(StubAuthenticateLayer::new()).layer(late);
    send(layers.service(routes.into_service()), bolt()).await;
    assert_eq!((shadow.counts().same, shadow.counts().differences()), (1, 0));
}

#[tokio::test]
async fn a_candidate_may_change_while_it_runs_and_decides_about_nothing() {
    let next = LiveRoles::new(roles());
    let shadow = Shadow::new(&next);
    let layer = AuthorizeLayer::new(roles()).shadow(shadow.clone()).require("orders:read");
    let layers = ServiceBuilder::new().layer(as_user("carl").roles(["clerk"])).layer(layer.clone());
    let client = TestClient::new(layers.service(Endpoint::default()));
    client.get("/").send().await.assert_status(200);
    next.replace(Roles::default());
    client.get("/").send().await.assert_status(200);
    let counts = shadow.counts();
    assert_eq!((counts.same, counts.narrower, counts.differences()), (1, 1, 1));
    // What an application asks about objects is decided by what is live.
    let authorizer: Authorizer = layer.authorizer();
    let carl = as_user("carl").roles(["clerk"]).identity();
    assert!(authorizer.may(&carl, "orders:read", &portcullis_authz::Resource::new("order", "7")));

    let mut metrics = String::new();
    shadow.write(&mut metrics);
    for (outcome, count) in
        [("same", 1), ("wider", 0), ("narrower", 1), ("other", 0), ("skipped", 0)]
    {
        let line = format!("portcullis_shadow_decisions_total{{outcome=\"{outcome}\"}} {count}\n");
        assert!(metrics.contains(&line), "{metrics}");
    }
    assert_eq!(counts.to_string(), "1 the same, 0 wider, 1 narrower, 0 other, 0 skipped");
}
