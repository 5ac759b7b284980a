//! What handlers can ask for about the caller and the request.
use http::StatusCode;
use portcullis_axum::{Caller, FromIdentity, Guarded, RequestContext, get};
use portcullis_core::{
    AuthState, Challenges, Context, EdgeLayer, Identity, Problem, ProblemKind, Stack, public,
};
use portcullis_testkit::{TestClient, as_user, request};
use tower::ServiceExt;

use crate::support::{Decide, client};

/// What an application makes of an identity.
struct Clerk {
    name: String,
}

const NO_CLERK: ProblemKind =
    ProblemKind::new("no-clerk", StatusCode::FORBIDDEN, "For clerks only");

impl FromIdentity for Clerk {
    fn from_identity(identity: &Identity) -> Result<Self, Problem> {
        if identity.roles().any(|role| role == "clerk") {
            Ok(Self { name: identity.subject().to_uppercase() })
        } else {
            Err(Problem::new(NO_CLERK).cause("roles of the directory: customer"))
        }
    }
}

async fn who(Caller(who): Caller<Identity>) -> String {
    who.subject().to_owned()
}
async fn clerk(Caller(Clerk { name }): Caller<Clerk>) -> String {
    name
}
async fn maybe(who: Option<Caller<Identity>>) -> String {
    who.map_or("nobody".to_owned(), |Caller(who)| who.subject().to_owned())
}
async fn maybe_clerk(who: Option<Caller<Clerk>>) -> String {
    who.map_or("nobody".to_owned(), |Caller(Clerk { name })| name)
}

#[tokio::test]
async fn the_caller_as_the_application_wants_it() {
    let api = Guarded::new()
        .route("/who", get(who), portcullis_core::optional())
        .route("/clerk", get(clerk), portcullis_core::optional())
        .route("/maybe", get(maybe), portcullis_core::optional())
        .route("/maybe-clerk", get(maybe_clerk), portcullis_core::optional());
    let client = client(api, Decide::Allow);
    let user = |role: &str| as_user("alice").roles([role.to_owned()]);
    for (path, caller, status, want) in [
        ("/who", Some(user("clerk")), 200, "alice"),
        ("/who", None, 401, "authentication-required"),
        ("/clerk", Some(user("clerk")), 200, "ALICE"),
        ("/clerk", Some(user("customer")), 403, "no-clerk"),
        ("/clerk", None, 401, "authentication-required"),
        ("/maybe", Some(user("customer")), 200, "alice"),
        ("/maybe", None, 200, "nobody"),
        ("/maybe-clerk", Some(user("clerk")), 200, "ALICE"),
        ("/maybe-clerk", Some(user("customer")), 403, "no-clerk"),
        ("/maybe-clerk", None, 200, "nobody"),
    ] {
        let request = client.get(path);
        let name = format!("{path} {caller:?}");
        let request = match caller {
            Some(caller) => request.as_user(caller),
            None => request,
        };
        let answer = request.send().await;
        assert_eq!(answer.status(), status, "{name}");
        assert_eq!(answer.problem().unwrap_or(answer.text()), want, "{name}");
        // The stub's challenge.
        let challenge = (status == 401).then_some("Stub");
        assert_eq!(answer.header("www-authenticate"), challenge, "{name}");
    }
}

#[tokio::test]
async fn without_an_authentication_layer_it_is_the_servers_fault() {
    let api = Guarded::new()
        .route("/who", get(who), public())
        .route("/maybe", get(maybe), public())
        .route("/maybe-clerk", get(maybe_clerk), public());
    let stack = Stack::new().layer(EdgeLayer::new()).layer(api.route_layer());
    let behind = TestClient::new(stack.around(api).unwrap());
    let bare = axum::Router::new()
        .route("/who", axum::routing::get(who))
        .route("/maybe", axum::routing::get(maybe))
        .route("/maybe-clerk", axum::routing::get(maybe_clerk));
    let bare = TestClient::new(bare);
    for path in ["/who", "/maybe", "/maybe-clerk"] {
        let answer = behind.get(path).send().await;
        answer.assert_status(500).assert_problem("authentication-missing");
        let answer = bare.get(path).send().await;
        answer.assert_status(500).assert_problem("authentication-missing");
    }
}

#[tokio::test]
async fn a_caller_who_has_no_way_to_say_who_they_are() {
    let api = Guarded::new().route("/who", get(who), public());
    let app = api.into_router().unwrap();
    let mut request = request(http::Method::GET, "/who").build();
    Context::of(&mut request).set_auth(AuthState::Anonymous(Challenges::default()));
    let answer = app.oneshot(request.map(axum::body::Body::new)).await.unwrap();
    // A 401 names a scheme (RFC 9110, section 15.5.2). There is none, and that is the server's fault.
    assert_eq!(answer.status(), 500);
    let body = portcullis_testkit::read(answer).await;
    assert!(body.contains("#authentication-missing"), "{body}");
}

#[tokio::test]
async fn the_context_of_the_request() {
    async fn tell(RequestContext(context): RequestContext) -> String {
        let route = context.route().map(|route| route.template().to_owned());
        let id = context.request_id().map(ToString::to_string);
        format!("{:?} {:?} {:?}", route, context.client().map(|c| c.to_string()), id)
    }
    let api = Guarded::new().route("/books/{id}", get(tell), public());
    let client = client(api, Decide::Nothing);
    let peer = "192.0.2.7:80".parse().unwrap();
    let answer = client.get("/books/7").peer(peer).send().await;
    let id = answer.header("x-request-id").unwrap();
    let want = format!("Some(\"/books/{{id}}\") Some(\"192.0.2.7\") Some(\"{id}\")");
    assert_eq!(answer.text(), want);

    let bare = axum::Router::new().route("/", axum::routing::get(tell));
    let answer = TestClient::new(bare).get("/").send().await;
    answer.assert_status(500).assert_problem("authentication-missing");
}
