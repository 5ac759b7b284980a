//! The header that tells why: for those who may know, in a form that can be read, and for nobody else.
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{HeaderMap, Request, Response};
use portcullis_authz::{AuthorizeLayer, ExplainLayer, LiveRoles, Opinion, Question, Roles};
use portcullis_core::{Body, EdgeLayer, Routes, Stack, authenticated, policy, public, require};
use portcullis_testkit::{
    AsUser, Contract, StubAuthenticateLayer, TestClient, TestRequest, as_user, get,
};
use tower::{ServiceBuilder, service_fn};

const NAME: &str = "portcullis-explain";

/// A member of a list of structured fields: its token, and what is said of it.
#[derive(Debug, PartialEq)]
struct Member {
    stage: String,
    say: String,
    micros: u64,
}

/// Reads a list (RFC 9651, section 4.2.1), as strictly as that says, whose members are tokens with a string and an integer.
fn parse(text: &str) -> Vec<Member> {
    assert!(text.is_ascii() && !text.is_empty() && text == text.trim(), "{text:?}");
    let (mut rest, mut members) = (text, Vec::new());
    loop {
        let end = rest.find(';').unwrap_or(rest.len());
        let stage = &rest[..end];
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~:/".contains(c);
        assert!(stage.starts_with(|c: char| c.is_ascii_alphabetic()), "{rest:?}");
        assert!(stage.chars().all(is_token), "{stage:?}");
        rest = rest[end..].strip_prefix(";say=\"").unwrap_or_else(|| panic!("{rest:?}"));
        let (mut say, mut at) = (String::new(), rest.char_indices());
        rest = loop {
            match at.next().unwrap_or_else(|| panic!("an open string in {text:?}")) {
                (_, '\\') => match at.next() {
                    Some((_, c @ ('"' | '\\'))) => say.push(c),
                    other => panic!("{other:?} is escaped in {text:?}"),
                },
                (end, '"') => break &rest[end + 1..],
                (_, c @ ' '..='~') => say.push(c),
                (_, c) => panic!("{c:?} in a string of {text:?}"),
            }
        };
        rest = rest.strip_prefix(";us=").unwrap_or_else(|| panic!("{rest:?}"));
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        assert!((1..=15).contains(&end), "an integer has up to 15 digits: {rest:?}");
        let micros = rest[..end].parse().unwrap();
        members.push(Member { stage: stage.to_owned(), say, micros });
        rest = &rest[end..];
        if rest.is_empty() {
            return members;
        }
        rest = rest.strip_prefix(", ").unwrap_or_else(|| panic!("{rest:?}"));
    }
}

fn explaining_roles() -> Roles {
    let roles = Roles::builder().role("operator").permits("explain:read").permits("books:read");
    let roles = roles.role("watcher").permits("explain:read");
    let roles = roles.role("own").permits_own("explain:read").permits("books:read");
    roles.role("reader").permits("books:read").build().unwrap()
}

/// What reaches the inner service.
type Reached = Arc<Mutex<Vec<HeaderMap>>>;

fn shop(
    roles: &LiveRoles,
    reached: &Reached,
) -> TestClient<
    impl tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
    + Clone
    + use<>,
> {
    let reached = Arc::clone(reached);
    // An upstream that says something under the same name.
    let upstream = service_fn(move |request: Request<Body>| {
        reached.lock().unwrap().push(request.headers().clone());
        let answer = Response::builder().header(NAME, "upstream").header(NAME, "twice");
        std::future::ready(Ok::<_, Infallible>(answer.body(Body::from("a book")).unwrap()))
    });
    let odd = |_: &Question<'_>| {
        Opinion::allow(format!("\"quoted\" \\ k\u{e4}se \r\n\0 \u{7f} {}", "long ".repeat(4_000)))
    };
    let routes = Routes::builder()
        .get("/books", upstream.clone())
        .rule(require("books:read"))
        .get("/me", upstream.clone())
        .rule(authenticated())
        .get("/odd", upstream.clone())
        .rule(policy("odd"))
        .get("/public", upstream)
        .rule(public())
        .build()
        .unwrap();
    let stack = Stack::new()
        .layer(EdgeLayer::default())
        .layer(ExplainLayer::new(roles, "explain:read"))
        .layer(routes.layer())
        .layer(StubAuthenticateLayer::new())
        .layer(AuthorizeLayer::new(roles).policy("odd", odd));
    TestClient::new(stack.around(routes).unwrap()).allow_header(NAME)
}

fn of(role: &'static str) -> AsUser {
    as_user("ada").roles([role])
}

#[tokio::test]
async fn who_has_the_permission_is_told_what_each_layer_decided() {
    let reached = Reached::default();
    let shop = shop(&explaining_roles().into(), &reached);
    for (path, role, status, say) in [
        (
            "/books",
            "operator",
            200,
            "allow: permission books:read: permission-granted, by role operator",
        ),
        ("/books", "watcher", 403, "deny: permission books:read: permission-missing"),
        ("/me", "watcher", 200, "allow: authenticated: authenticated"),
    ] {
        let answer = shop.get(path).header(NAME, "?1").as_user(of(role)).send().await;
        answer.assert_status(status);
        assert_eq!(answer.headers().get_all(NAME).iter().count(), 1);
        let members = parse(answer.header(NAME).unwrap());
        let authorize: Vec<_> = members.iter().filter(|it| it.stage == "authorize").collect();
        assert_eq!(authorize.len(), 1, "{members:?}");
        assert_eq!(authorize[0].say, say);
        assert!(members.iter().all(|it| it.micros < 60_000_000), "{members:?}");
    }
}

#[tokio::test]
async fn nobody_else_is_told_anything() {
    let reached = Reached::default();
    let roles = LiveRoles::new(explaining_roles());
    let shop = shop(&roles, &reached);
    for (path, caller) in [
        ("/books", None),
        ("/books", Some(of("reader"))),
        ("/books", Some(of("ghost"))),
        ("/me", Some("ada".into())),
        // With their own is not with all.
        ("/books", Some(of("own"))),
        // Who calls a public route is nobody.
        ("/public", Some(of("operator"))),
        ("/public", None),
        ("/nowhere", Some(of("operator"))),
    ] {
        let request = shop.get(path).header(NAME, "?1");
        let request = caller.clone().into_iter().fold(request, TestRequest::as_user);
        let answer = request.send().await;
        assert_eq!(answer.header(NAME), None, "{path} {caller:?}");
        assert!(!answer.text().contains("authorize"), "{}", answer.text());
    }
    // Who has it no longer is told no longer.
    let ask = async || {
        let answer = shop.get("/books").header(NAME, "?1").as_user(of("operator")).send().await;
        answer.header(NAME).is_some()
    };
    assert!(ask().await);
    roles.change(&[portcullis_authz::RoleEdit::forbid("operator", "explain:read")]).unwrap();
    assert!(!ask().await);
}

#[tokio::test]
async fn only_true_asks_for_it_and_nothing_of_it_goes_further_in() {
    let reached = Reached::default();
    let shop = shop(&explaining_roles().into(), &reached);
    for said in [&["?1"][..], &["?0"], &["1"], &["true"], &[""], &["?1", "?0"], &["?0", "?1"], &[]]
    {
        let request = shop.get("/books").as_user(of("operator"));
        let request = said.iter().fold(request, |request, said| request.header(NAME, *said));
        let answer = request.send().await;
        answer.assert_status(200);
        let is_told =
            answer.headers().get_all(NAME).iter().any(|it| it.as_bytes().starts_with(b"authorize"));
        let is_told =
            is_told || answer.header(NAME).is_some_and(|it| it.contains("authorize;say="));
        assert_eq!(is_told, said.first() == Some(&"?1"), "{said:?}");
        if is_told {
            let text = answer.header(NAME).unwrap();
            assert!(!text.contains("upstream") && !text.contains("twice"), "{text}");
            assert_eq!(answer.headers().get_all(NAME).iter().count(), 1);
        }
        let headers = reached.lock().unwrap().pop().unwrap();
        assert!(!headers.contains_key(NAME), "{said:?}: {headers:?}");
    }
}

#[tokio::test]
async fn whatever_is_said_it_can_be_read_and_is_no_longer_than_a_header_may_be() {
    let shop = shop(&explaining_roles().into(), &Reached::default());
    let answer = shop.get("/odd").header(NAME, "?1").as_user(of("operator")).send().await;
    let text = answer.header(NAME).unwrap();
    assert!(text.len() <= 4_096, "{}", text.len());
    let members = parse(text);
    let member = members.iter().find(|it| it.stage == "authorize").unwrap();
    let start = "allow: policy odd: \"quoted\" \\ k?se ??? ? long long ";
    assert!(member.say.starts_with(start), "{}", member.say);
}

#[tokio::test]
async fn it_keeps_the_contract_of_a_layer() {
    let roles = explaining_roles();
    let layers = || {
        ServiceBuilder::new()
            .layer(ExplainLayer::new(roles.clone(), "explain:read"))
            .layer(StubAuthenticateLayer::new())
            .layer(AuthorizeLayer::new(roles.clone()).require("books:read"))
            .into_inner()
    };
    Contract::new(layers())
        .passes(|| get("/").as_user(of("reader")).header(NAME, "?1").build())
        .refuses(|| get("/").as_user(of("watcher")).build())
        .check()
        .await;
}

#[test]
fn a_permission_that_nobody_has_is_an_error_at_start() {
    for (permission, is_fine) in [("explain:read", true), ("explain:all", false)] {
        let stack = Stack::new()
            .layer(EdgeLayer::default())
            .layer(ExplainLayer::new(explaining_roles(), permission))
            .layer(StubAuthenticateLayer::new())
            .layer(AuthorizeLayer::new(explaining_roles()).require("books:read"));
        let started = stack.service(crate::support::Endpoint::default());
        let told = started.map(|_| ()).map_err(|errors| errors.to_string());
        match told {
            Ok(()) => assert!(is_fine, "{permission}"),
            Err(told) => {
                assert!(!is_fine, "{told}");
                assert!(
                    told.starts_with("ExplainLayer: no role grants the permission `explain:all`"),
                    "{told}"
                );
            }
        }
    }
}
