//! What policies are asked, when, and what becomes of what they say.
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use http::HeaderValue;
use portcullis_authz::{AuthorizeLayer, Authorizer, Opinion, Policy, Question, Resource, Roles};
use portcullis_core::{
    AuthState, Body, Context, EdgeLayer, Routes, Stack, StepUp, Verdict, policy,
};
use portcullis_testkit::{
    Contract, FakeTime, ReadyGuard, StubAuthenticateLayer, TestClient, TestRequest, as_user, get,
};
use tokio::task::yield_now;
use tower::{Service, ServiceBuilder, ServiceExt};

use crate::support::{Endpoint, roles, send, without_schemes};

/// Thinks what it is told to, at once or after a moment, or never.
#[derive(Clone, Debug)]
struct Told {
    opinion: Option<Opinion>,
    at_once: bool,
    asked: Arc<AtomicUsize>,
    /// How many questions somebody waits for.
    waiting: Arc<AtomicUsize>,
}

/// One that somebody waits for.
struct Waits(Arc<AtomicUsize>);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Told {
    fn at_once(opinion: Opinion) -> Self {
        Self {
            opinion: Some(opinion),
            at_once: true,
            asked: Arc::default(),
            waiting: Arc::default(),
        }
    }
    fn later(opinion: Opinion) -> Self {
        Self { at_once: false, ..Self::at_once(opinion) }
    }
    fn never() -> Self {
        Self { opinion: None, ..Self::later(Opinion::allow("never")) }
    }
    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
    fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Policy for Told {
    fn decide_now(&self, _: &Question<'_>) -> Option<Opinion> {
        if !self.at_once {
            return None;
        }
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.opinion.clone()
    }
    async fn decide(&self, _: &Question<'_>) -> Opinion {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let _waits = Waits(Arc::clone(&self.waiting));
        yield_now().await;
        match &self.opinion {
            Some(opinion) => opinion.clone(),
            None => pending().await,
        }
    }
}

fn opinions() -> [(Opinion, u16, Option<&'static str>); 4] {
    [
        (Opinion::allow("it is day"), 200, None),
        (Opinion::deny("it is night"), 403, Some("permission-denied")),
        (Opinion::step_up("it is late"), 401, Some("step-up-required")),
        (Opinion::indeterminate("no clock"), 503, Some("authorization-unavailable")),
    ]
}

/// A route that asks `told`, in front of `endpoint`.
fn guarded(
    told: &Told,
    endpoint: &Endpoint,
) -> impl Service<
    http::Request<Body>,
    Response = http::Response<Body>,
    Error = std::convert::Infallible,
    Future: Send,
> + Clone {
    let routes = Routes::builder().any("/", endpoint.clone()).policy("told").build().unwrap();
    let layers = ServiceBuilder::new()
        .layer(routes.layer())
        .layer(StubAuthenticateLayer::new())
        .layer(AuthorizeLayer::new(roles()).policy("told", told.clone()));
    layers.service(routes.into_service())
}

#[tokio::test]
async fn what_a_policy_thinks_is_what_the_caller_gets() {
    for (opinion, status, problem) in opinions() {
        for told in [Told::at_once(opinion.clone()), Told::later(opinion.clone())] {
            let endpoint = Endpoint::default();
            let service = guarded(&told, &endpoint);
            let answer = TestClient::new(service.clone()).get("/").as_user("ada").send().await;
            answer.assert_status(status);
            assert_eq!(answer.problem(), problem, "{told:?}");
            assert_eq!(answer.header("retry-after"), (status == 503).then_some("5"), "{told:?}");
            assert_eq!(endpoint.calls(), usize::from(status == 200), "{told:?}");
            assert!(!answer.text().contains(opinion.reason()), "{}", answer.text());

            let (answered, context) = send(service, get("/").as_user("ada")).await;
            let decision = context.decision().unwrap();
            assert_eq!(answered, status);
            assert_eq!(decision.verdict(), opinion.verdict());
            assert_eq!(decision.reason(), opinion.reason());
            assert_eq!(decision.rule().to_string(), "policy told");
            assert_eq!(told.asked(), 2, "once for each request: {told:?}");
        }
    }
}

#[tokio::test]
async fn a_caller_nobody_knows_gets_401_and_the_policy_is_not_asked() {
    for told in [Told::at_once(Opinion::allow("all")), Told::later(Opinion::allow("all"))] {
        let endpoint = Endpoint::default();
        let answer = TestClient::new(guarded(&told, &endpoint)).get("/").send().await;
        answer.assert_status(401).assert_problem("authentication-required");
        assert_eq!(answer.header("www-authenticate"), Some("Stub"));
        assert_eq!((told.asked(), endpoint.calls()), (0, 0));

        let routes = Routes::builder().get("/", endpoint.clone()).policy("told").build().unwrap();
        let layers = ServiceBuilder::new()
            .layer(routes.layer())
            .map_request(without_schemes)
            .layer(AuthorizeLayer::new(roles()).policy("told", told.clone()));
        let client = TestClient::new(layers.service(routes.into_service()));
        client.get("/").send().await.assert_problem("permission-denied");
        assert_eq!((told.asked(), endpoint.calls()), (0, 0));
    }
}

#[tokio::test]
async fn a_policy_that_has_to_ask_goes_with_a_requirement_of_the_layer() {
    let told = Told::later(Opinion::allow("it is day"));
    let endpoint = Endpoint::default();
    let routes = Routes::builder().get("/", endpoint.clone()).policy("told").build().unwrap();
    let layer = AuthorizeLayer::new(roles()).policy("told", told.clone()).require("orders:read");
    let layers = ServiceBuilder::new()
        .layer(routes.layer())
        .layer(StubAuthenticateLayer::new())
        .layer(layer);
    let client = TestClient::new(layers.service(routes.into_service()));
    let reader = client.get("/").as_user(as_user("rita").roles(["reader"])).send().await;
    reader.assert_problem("permission-denied");
    assert_eq!(told.asked(), 0, "who may not anyway is not asked about");
    let clerk = client.get("/").as_user(as_user("carl").roles(["clerk"])).send().await;
    clerk.assert_status(200);
    assert_eq!((told.asked(), endpoint.calls()), (1, 1));
}

#[tokio::test]
async fn what_else_a_route_asks_for_counts_beside_its_policy() {
    let routes = Routes::builder()
        .get("/scope", Endpoint::default())
        .rule(policy("told").scope("rooms"))
        .get("/level", Endpoint::default())
        .rule(policy("told").step_up_to(StepUp::default()))
        .get("/issuer", Endpoint::default())
        .rule(policy("told").issuer("https://id.example"))
        .build()
        .unwrap();
    for told in [Told::at_once(Opinion::allow("all")), Told::later(Opinion::allow("all"))] {
        let layers = ServiceBuilder::new()
            .layer(routes.layer())
            .layer(StubAuthenticateLayer::new())
            .layer(AuthorizeLayer::new(roles()).policy("told", told));
        let client = TestClient::new(layers.service(routes.clone().into_service()));
        let ada = || as_user("ada");
        for (path, user, problem) in [
            ("/scope", ada(), Some("scope-insufficient")),
            ("/scope", ada().scopes(["rooms"]), None),
            ("/level", ada(), Some("step-up-required")),
            ("/level", ada().with(|who| who.assurance(2)), None),
            ("/issuer", ada(), Some("permission-denied")),
        ] {
            let answer = client.get(path).as_user(user).send().await;
            assert_eq!(answer.problem(), problem, "{path}");
        }
    }
}

#[test]
fn a_policy_that_nobody_defines_is_an_error_at_start() {
    let start = |layer: AuthorizeLayer| {
        let routes =
            Routes::builder().get("/rooms", Endpoint::default()).policy("owners").build().unwrap();
        let stack = Stack::new()
            .layer(EdgeLayer::default())
            .layer(routes.layer())
            .layer(StubAuthenticateLayer::new())
            .layer(layer);
        stack.around(routes).map(|_| ()).map_err(|errors| errors.to_string())
    };
    let layer = || AuthorizeLayer::new(Roles::default());
    let told = || Told::at_once(Opinion::allow("all"));
    let place = "route `GET /rooms`: no policy is called `owners`: ";
    assert_eq!(start(layer()), Err(format!("{place}there are none")));
    let layer = || layer().policy("owner", told()).policy("night", told());
    assert_eq!(start(layer()), Err(format!("{place}known are `owner`, `night`")));
    assert_eq!(start(layer().policy("owners", told())), Ok(()));
}

#[tokio::test]
async fn a_policy_that_is_named_twice_is_the_later_one() {
    let (first, second) = (Told::at_once(Opinion::deny("old")), Told::later(Opinion::allow("new")));
    let routes = Routes::builder().get("/", Endpoint::default()).policy("told").build().unwrap();
    let layer = AuthorizeLayer::new(roles()).policy("told", first.clone()).policy("told", second);
    let layers = ServiceBuilder::new().layer(routes.layer()).layer(as_user("ada")).layer(layer);
    let client = TestClient::new(layers.service(routes.into_service()));
    client.get("/").send().await.assert_status(200);
    assert_eq!(first.asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_hangs_is_503_when_the_time_is_over_and_its_question_is_dropped() {
    let second = Duration::from_secs(1);
    for (limit, lasts) in
        [(None, 5 * second), (Some(second), second), (Some(60 * second), 5 * second)]
    {
        let (told, endpoint, time) = (Told::never(), Endpoint::default(), FakeTime::new());
        let mut request = get("/").as_user("ada").clock(time.clock()).build();
        let context = Context::of(&mut request);
        if let Some(limit) = limit {
            context.limit_time(limit);
        }
        let began = tokio::time::Instant::now();
        let answer = guarded(&told, &endpoint).oneshot(request).await.unwrap();
        assert_eq!(answer.status(), 503, "{limit:?}");
        assert_eq!(answer.headers()["retry-after"], "5");
        // Tokio's timers go by milliseconds.
        let late = began.elapsed().checked_sub(lasts).expect("it waits for as long");
        assert!(late <= Duration::from_millis(1), "{limit:?}: {late:?}");
        assert_eq!(context.decision().unwrap().verdict(), Verdict::Indeterminate);
        assert_eq!(context.problem().unwrap().kind().slug(), "authorization-unavailable");
        assert_eq!((told.asked(), endpoint.calls()), (1, 0));
        assert_eq!(told.waiting(), 0, "nobody waits for it any longer");
    }
}

#[tokio::test]
async fn a_request_that_is_gone_takes_its_question_with_it() {
    let (told, endpoint) = (Told::never(), Endpoint::default());
    let mut service = guarded(&told, &endpoint);
    let request = || get("/").as_user("ada").build();
    // Before its first poll nobody is asked.
    drop(service.ready().await.unwrap().call(request()));
    assert_eq!(told.asked(), 0);
    let mut call = Box::pin(service.ready().await.unwrap().call(request()));
    for _ in 0..3 {
        let polled =
            std::future::poll_fn(|cx| std::task::Poll::Ready(call.as_mut().poll(cx))).await;
        assert!(polled.is_pending());
    }
    assert_eq!(told.asked(), 1);
    assert_eq!(told.waiting(), 1);
    drop(call);
    assert_eq!(told.waiting(), 0, "nobody waits for it any longer");
    assert_eq!(endpoint.calls(), 0);
}

#[tokio::test]
async fn the_layer_keeps_the_contract_with_a_policy_at_once_and_with_one_that_asks() {
    for at_once in [true, false] {
        let of = move |opinion| Told { at_once, ..Told::later(opinion) };
        let routes = Routes::builder()
            .get("/yes", ())
            .policy("yes")
            .get("/no", ())
            .policy("no")
            .build()
            .unwrap();
        let layer = AuthorizeLayer::new(roles())
            .policy("yes", of(Opinion::allow("yes")))
            .policy("no", of(Opinion::deny("no")));
        let layers = ServiceBuilder::new()
            .layer(routes.layer())
            .layer(StubAuthenticateLayer::new())
            .layer(layer);
        let clock = FakeTime::new().clock();
        let request = move |path: &'static str| {
            let clock = clock.clone();
            move || get(path).as_user("ada").clock(clock.clone()).build()
        };
        Contract::new(layers.into_inner())
            .passes(request("/yes"))
            .refuses(request("/no"))
            .check()
            .await;
    }
}

#[tokio::test]
async fn the_instance_that_was_ready_is_called_after_the_answer_of_a_policy() {
    let endpoint = Endpoint::default();
    let routes = Routes::builder().get("/", ()).policy("told").build().unwrap();
    let told = Told::later(Opinion::allow("yes"));
    let mut service = ServiceBuilder::new()
        .layer(routes.layer())
        .layer(as_user("ada"))
        .layer(AuthorizeLayer::new(roles()).policy("told", told))
        .service(ReadyGuard::new(endpoint.clone()));
    // Two are under way at once, and each has an instance of its own.
    let first = service.ready().await.unwrap().call(get("/").build());
    let second = service.ready().await.unwrap().call(get("/").build());
    assert_eq!(second.await.unwrap().status(), 200);
    assert_eq!(first.await.unwrap().status(), 200);
    assert_eq!(endpoint.calls(), 2);
}

// What a policy sees.

/// Asks a policy about a request, and hands out what `look` sees.
async fn seen<T: Send + 'static>(
    template: &str,
    request: TestRequest,
    look: impl Fn(&Question<'_>) -> T + Send + Sync + 'static,
) -> T {
    let kept = Arc::new(Mutex::new(None));
    let keeps = Arc::clone(&kept);
    let looks = move |question: &Question<'_>| {
        *keeps.lock().unwrap() = Some(look(question));
        Opinion::allow("seen")
    };
    let routes =
        Routes::builder().any(template, Endpoint::default()).policy("look").build().unwrap();
    let stack = Stack::new()
        .layer(EdgeLayer::default())
        .layer(routes.layer())
        .layer(StubAuthenticateLayer::new())
        .layer(AuthorizeLayer::new(Roles::default()).policy("look", looks));
    let service = stack.around(routes).unwrap();
    let answer =
        service.oneshot(request.as_user(as_user("ada").tenant("acme")).build()).await.unwrap();
    assert_eq!(answer.status(), 200);
    kept.lock().unwrap().take().unwrap()
}

#[tokio::test]
async fn a_policy_sees_every_value_of_a_header() {
    for (lines, values) in [
        (&["user, admin"][..], &["user", "admin"][..]),
        (&["user", "admin"], &["user", "admin"]),
        (&["\"admin\""], &["admin"]),
        (&["user", "\"a, b\",admin"], &["user", "a, b", "admin"]),
        (&["ad\"min\""], &["admin"]),
        (&["\"ad\\min\""], &["admin"]),
        // A quote that is open hides neither the rest of its line nor the next one.
        (&["\"user, admin"], &["user", "admin"]),
        (&["\"user", "admin"], &["user", "admin"]),
        (&["", " , ,", "\tadmin\t"], &["admin"]),
        (&[], &[]),
    ] {
        let request = lines.iter().fold(get("/"), |it, line| it.header("x-role", *line));
        let request = request.header("x-roles", "other");
        let have = seen("/", request, |question| question.header_values("X-Role")).await;
        assert_eq!(have, values, "{lines:?}");
    }
}

#[tokio::test]
async fn a_value_that_is_no_text_does_not_hide() {
    for (bytes, values) in [
        (&b"\xff\xfe"[..], &["\u{fffd}\u{fffd}"][..]),
        (b"\xff\xfe, admin", &["\u{fffd}\u{fffd}", "admin"]),
        (b"admin\xff", &["admin\u{fffd}"]),
        ("käse".as_bytes(), &["käse"]),
    ] {
        let value = HeaderValue::from_bytes(bytes).unwrap();
        let request = get("/").header("x-role", value);
        let (have, raw) = seen("/", request, |question| {
            let raw: Vec<_> = question.headers().get_all("x-role").iter().cloned().collect();
            (question.header_values("x-role"), raw)
        })
        .await;
        assert_eq!(have, values, "{bytes:?}");
        assert_eq!(raw, [HeaderValue::from_bytes(bytes).unwrap()]);
    }
}

#[tokio::test]
async fn a_policy_sees_who_asks_for_what() {
    let request = portcullis_testkit::request(http::Method::PUT, "/rooms/7%20a/plans/x?by=ada");
    let facts = seen("/rooms/{room}/plans/{plan}", request, |question| {
        assert!(question.action().is_none() && question.resource().is_none());
        assert!(question.parameter("rooms").is_none() && question.parameter("").is_none());
        let text = format!("{question:?}");
        assert!(text.contains("acme") && !text.contains("by=ada"), "{text}");
        [
            question.identity().key().to_string(),
            question.method().to_string(),
            question.path().to_owned(),
            question.uri().query().unwrap_or_default().to_owned(),
            question.route().unwrap().template().to_owned(),
            question.parameter("room").unwrap().to_owned(),
            question.parameter("plan").unwrap().to_owned(),
        ]
    })
    .await;
    assert_eq!(
        facts,
        [
            "test|acme|ada",
            "PUT",
            "/rooms/7%20a/plans/x",
            "by=ada",
            "/rooms/{room}/plans/{plan}",
            "7%20a",
            "x",
        ]
    );
    for (path, rest) in
        [("/files/a/b", Some("a/b")), ("/files/a", Some("a")), ("/files/a/", Some("a/"))]
    {
        let have = seen("/files/{*rest}", get(path), |question| {
            question.parameter("rest").map(str::to_owned)
        });
        assert_eq!(have.await.as_deref(), rest, "{path}");
    }
}

// What an application asks.

#[tokio::test(start_paused = true)]
async fn an_application_asks_a_policy_about_an_object() {
    let layer = AuthorizeLayer::new(roles())
        .policy("now", |question: &Question<'_>| {
            match (question.action(), question.resource().map(Resource::id)) {
                (Some("see"), Some("7")) => Opinion::allow("seven"),
                _ => Opinion::deny("another one"),
            }
        })
        .policy("later", Told::later(Opinion::allow("later")))
        .policy("never", Told::never());
    let authorizer = layer.authorizer();
    let request = || {
        let mut request = get("/").build();
        let context = Context::of(&mut request);
        (request.into_parts().0, context)
    };
    let ask = async |policy: &str, id: &str, is_known: bool| {
        let (head, context) = request();
        if is_known {
            context.set_auth(AuthState::Authenticated(as_user("ada").identity()));
        }
        let room = Resource::new("room", id);
        let opinion = Authorizer::ask(&authorizer, policy, &context, &head, ("see", &room)).await;
        assert!(context.is_object_checked());
        opinion
    };
    for (policy, id, is_known, opinion) in [
        ("now", "7", true, Opinion::allow("seven")),
        ("now", "8", true, Opinion::deny("another one")),
        ("now", "7", false, Opinion::deny("not-authenticated")),
        ("later", "7", true, Opinion::allow("later")),
        ("ghost", "7", true, Opinion::indeterminate("policy-unknown")),
        ("never", "7", true, Opinion::indeterminate("the policy has not answered in time")),
    ] {
        assert_eq!(ask(policy, id, is_known).await, opinion, "{policy} {id}");
    }
}
