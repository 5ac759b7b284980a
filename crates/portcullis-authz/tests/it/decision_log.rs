//! What is written about decisions, how much of it, and what never is.
use std::convert::Infallible;
use std::fmt::Write;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use http::{Request, Response};
use portcullis_authz::{
    AuthorizeLayer, Authorizer, DecisionLog, DecisionRecord, Opinion, Question, Resource,
};
use portcullis_core::{
    Body, Context, EdgeLayer, Routes, Stack, Verdict, authenticated, policy, public, require,
};
use portcullis_testkit::{
    FakeTime, StubAuthenticateLayer, TestClient, TestRequest, as_user, get, request,
};
use serde_json::json;
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::support::{Endpoint, roles};

/// Keeps what is written.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<DecisionRecord>>>);

impl Kept {
    fn log(&self) -> DecisionLog {
        let kept = Arc::clone(&self.0);
        DecisionLog::new(move |record| kept.lock().unwrap().push(record))
    }
    fn take(&self) -> Vec<DecisionRecord> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

async fn looks(mut request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let context = Context::of(&mut request);
    let order = Resource::new("order", "ada-4711").tenant("acme");
    // Of a public route there is nobody to ask about.
    let Some(authorizer) = Authorizer::of(&context) else {
        return Ok(Response::new(Body::empty()));
    };
    Ok(match authorizer.check_in(&context, "orders:read", &order) {
        Ok(()) => Response::new(Body::empty()),
        Err(problem) => problem.respond(&context),
    })
}

fn shop(
    log: DecisionLog,
) -> impl tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
+ Clone {
    let looks = || service_fn(looks);
    let routes = Routes::builder()
        .get("/public", looks())
        .rule(public())
        .get("/me/{name}", looks())
        .rule(authenticated())
        .get("/orders/{id}", looks())
        .rule(require("orders:read"))
        .get("/rooms", looks())
        .rule(policy("night"))
        .get("/keys", looks())
        .rule(authenticated().step_up())
        .build()
        .unwrap();
    let night = |_: &Question<'_>| Opinion::deny("it is night");
    let stack = Stack::new()
        .layer(EdgeLayer::default())
        .layer(routes.layer())
        .layer(StubAuthenticateLayer::new())
        .layer(AuthorizeLayer::new(roles()).log(log).policy("night", night));
    stack.around(routes).unwrap()
}

#[tokio::test]
async fn it_says_who_wanted_what_and_by_which_rule_it_was_decided() {
    let (kept, time) = (Kept::default(), FakeTime::new());
    let service = shop(kept.log());
    let send = async |it: TestRequest| {
        let request = it.clock(time.clock()).header("x-request-id", "of-the-client").build();
        let mut answer = service.clone().oneshot(request).await.unwrap();
        let id = answer.headers_mut().remove("x-request-id").unwrap();
        (answer.status().as_u16(), id.to_str().unwrap().to_owned())
    };
    let carl = || as_user("carl").tenant("acme").roles(["clerk", "ghost"]).scopes(["a", "b"]);
    let (status, id) = send(
        request(http::Method::GET, "/orders/7?secret=1").as_user(carl().with(|it| it.assurance(2))),
    )
    .await;
    assert_eq!(status, 200);
    let [route, object] = <[_; 2]>::try_from(kept.take()).unwrap();
    assert_eq!(
        route.to_json(),
        json!({
            "time": time.clock().wall().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64(),
            "request_id": id,
            "issuer": "test",
            "tenant": "acme",
            "subject": "carl",
            "roles": ["clerk", "ghost"],
            "scopes": ["a", "b"],
            "assurance": 2,
            "method": "GET",
            "host": "test.example",
            "path": "/orders/7",
            "route": "/orders/{id}",
            "object": null,
            "verdict": "allow",
            "rule": "permission orders:read",
            "reason": "permission-granted",
        })
    );
    assert_eq!(object.object.as_deref(), Some("order ada-4711"));
    assert_eq!((object.verdict, object.reason.as_str()), (Verdict::Allow, "object-permitted"));
    assert_eq!(
        (object.rule.as_str(), object.path.as_str()),
        ("permission orders:read", "/orders/7")
    );
    assert_eq!(object.request_id, route.request_id);

    // Whatever was decided; what needs no decision is one too.
    for (path, user, status, verdicts) in [
        ("/public", None, 200, &[(Verdict::Allow, "public", "public")][..]),
        ("/me/ada", None, 401, &[(Verdict::Deny, "authenticated", "not-authenticated")]),
        (
            "/orders/7",
            Some(as_user("ada")),
            403,
            &[(Verdict::Deny, "permission orders:read", "permission-missing")],
        ),
        ("/rooms", Some(as_user("ada")), 403, &[(Verdict::Deny, "policy night", "it is night")]),
        (
            "/keys",
            Some(as_user("ada")),
            401,
            &[(Verdict::StepUp, "authenticated", "assurance-too-low")],
        ),
        // At home in another tenant.
        (
            "/orders/7",
            Some(carl().tenant("bolt")),
            403,
            &[
                (Verdict::Allow, "permission orders:read", "permission-granted"),
                (Verdict::Deny, "permission orders:read", "object-not-permitted"),
            ],
        ),
    ] {
        let request = user.into_iter().fold(get(path), TestRequest::as_user);
        assert_eq!(send(request).await.0, status, "{path}");
        let records = kept.take();
        let have: Vec<_> =
            records.iter().map(|it| (it.verdict, it.rule.as_str(), it.reason.as_str())).collect();
        assert_eq!(have, verdicts, "{path}");
    }
}

/// What was sent with a request, and must not be written.
const CANARIES: [&str; 9] = [
    "canary-query",
    "canary-bearer",
    "canary-cookie",
    "canary-key",
    "canary-claim",
    "canary-session",
    "canary-body",
    "canary-user",
    "canary-fragment",
];

fn with_canaries(path: &str) -> TestRequest {
    let mut claims = serde_json::Map::new();
    claims.insert("email".to_owned(), "canary-claim".into());
    get(format!("{path}?q=canary-query"))
        .header("authorization", "Bearer canary-bearer")
        .header("proxy-authorization", "Basic canary-user")
        .header("cookie", "id=canary-cookie")
        .header("x-api-key", "canary-key")
        .header("referer", "https://shop.example/#canary-fragment")
        .body("canary-body")
        .as_user(
            as_user("carl")
                .roles(["clerk"])
                .with(|who| who.claims(claims).session("canary-session").method("canary-key")),
        )
}

#[tokio::test]
async fn there_is_no_credential_and_no_query_in_it() {
    let kept = Kept::default();
    let service = shop(kept.log());
    for path in ["/orders/7", "/me/ada", "/rooms", "/keys", "/public"] {
        service.clone().oneshot(with_canaries(path).build()).await.unwrap();
    }
    // Alone, without an edge.
    let layers = ServiceBuilder::new()
        .layer(StubAuthenticateLayer::new())
        .layer(AuthorizeLayer::new(roles()).log(kept.log()).require("orders:read"));
    let alone = layers.service(Endpoint::default());
    alone.oneshot(with_canaries("https://shop.example/orders/7").build()).await.unwrap();
    let records = kept.take();
    assert!(records.len() >= 6, "{records:#?}");
    assert_eq!(records.last().unwrap().path, "/orders/7");
    assert_eq!(records.last().unwrap().host.as_deref(), Some("shop.example"));
    for record in records {
        let (text, debug) = (record.to_json().to_string(), format!("{record:?}"));
        for canary in CANARIES {
            assert!(!text.contains(canary) && !debug.contains(canary), "{canary}: {text}");
        }
    }
}

#[tokio::test]
async fn subjects_and_paths_are_left_out_on_demand() {
    let kept = Kept::default();
    for (log, subject, path, object) in [
        (kept.log(), Some("carl"), "/orders/carls-7", "order ada-4711"),
        (kept.log().without_subjects(), None, "/orders/carls-7", "order ada-4711"),
        (kept.log().without_paths(), Some("carl"), "/orders/{id}", "order"),
        (kept.log().without_subjects().without_paths(), None, "/orders/{id}", "order"),
    ] {
        let caller = as_user("carl").tenant("acme").roles(["clerk"]);
        shop(log).oneshot(get("/orders/carls-7").as_user(caller).build()).await.unwrap();
        let records = kept.take();
        assert_eq!(records.len(), 2);
        for record in &records {
            assert_eq!(record.subject.as_deref(), subject);
            assert_eq!(record.path, path);
            // What says nothing of a person stays.
            assert_eq!(
                (record.tenant.as_deref(), &*record.roles),
                (Some("acme"), &["clerk".to_owned()][..])
            );
            let text = record.to_json().to_string();
            assert_eq!(text.contains("carl"), subject.is_some() || path.contains("carl"), "{text}");
        }
        assert_eq!(records[1].object.as_deref(), Some(object));
    }
}

#[tokio::test]
async fn of_what_is_allowed_a_share_is_written_and_all_that_is_not() {
    const SENT: usize = 4_000;
    let kept = Kept::default();
    for (share, least, most) in [
        (0.0, 0, 0),
        (-1.0, 0, 0),
        (f64::NAN, 0, 0),
        (1.0, SENT, SENT),
        (2.0, SENT, SENT),
        // Six standard deviations to each side.
        (0.5, SENT / 2 - 190, SENT / 2 + 190),
        (0.1, SENT / 10 - 114, SENT / 10 + 114),
    ] {
        let layer = AuthorizeLayer::new(roles()).log(kept.log().share_of_allowed(share));
        let layers = ServiceBuilder::new()
            .layer(StubAuthenticateLayer::new())
            .layer(layer.require("orders:read"));
        let service = layers.service(Endpoint::default());
        for _ in 0..SENT {
            let allowed = get("/").as_user(as_user("carl").roles(["clerk"])).build();
            service.clone().oneshot(allowed).await.unwrap();
        }
        let written = kept.take().len();
        assert!((least..=most).contains(&written), "{written} of {SENT} for a share of {share}");
        for (user, verdict) in [(Some(as_user("ada")), Verdict::Deny), (None, Verdict::Deny)] {
            let denied = user.into_iter().fold(get("/"), TestRequest::as_user).build();
            service.clone().oneshot(denied).await.unwrap();
            let records = kept.take();
            assert_eq!(records.iter().map(|it| it.verdict).collect::<Vec<_>>(), [verdict]);
        }
    }
}

/// Keeps events as texts.
#[derive(Clone, Default)]
struct Events(Arc<Mutex<Vec<String>>>);

impl Subscriber for Events {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        struct Fields(String);
        impl Visit for Fields {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                write!(self.0, " {}={value:?}", field.name()).unwrap();
            }
        }
        let meta = event.metadata();
        let mut fields = Fields(format!("{} {}", meta.target(), meta.level()));
        event.record(&mut fields);
        self.0.lock().unwrap().push(fields.0);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn it_goes_to_tracing_under_a_target_of_its_own() {
    let events = Events::default();
    let _guard = tracing::subscriber::set_default(events.clone());
    let client = TestClient::new(shop(DecisionLog::to_tracing()));
    let answer =
        client.get("/rooms?q=canary-query").as_user(as_user("ada").roles(["x", "y"])).send().await;
    answer.assert_status(403);
    service_with_canaries(shop(DecisionLog::to_tracing())).await;
    let events = std::mem::take(&mut *events.0.lock().unwrap());
    let decided: Vec<_> =
        events.iter().filter(|event| event.starts_with("portcullis::decision INFO")).collect();
    assert!(decided.len() >= 2, "{events:#?}");
    for part in [
        "issuer=\"test\"",
        "subject=\"ada\"",
        "roles=\"x y\"",
        "method=\"GET\"",
        "path=\"/rooms\"",
        "verdict=\"deny\"",
        "rule=\"policy night\"",
        "reason=\"it is night\"",
    ] {
        assert!(decided[0].contains(part), "{part}: {}", decided[0]);
    }
    for event in &events {
        for canary in CANARIES {
            assert!(!event.contains(canary), "{canary}: {event}");
        }
    }
}

async fn service_with_canaries<S>(service: S)
where
    S: tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    service.oneshot(with_canaries("/orders/7").build()).await.unwrap();
}
