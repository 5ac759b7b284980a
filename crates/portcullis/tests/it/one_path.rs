//! One path: what is routed is what is authorized is what the endpoint sees, whatever a client sends.
//!
//! The corpora lie in the folder that `PORTCULLIS_VECTORS` names, or beside the project in `shared/vectors`.
use std::convert::Infallible;
use std::path::PathBuf;

use http::{Request, Uri};
use portcullis::axum::{Guarded, get};
use portcullis::prelude::*;
use portcullis::{Body, TargetRules, canonical_path};
use portcullis_testkit::as_user;
use proptest::prelude::*;
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

type Front = BoxCloneSyncService<Request<Body>, (u16, String), Infallible>;

/// What an endpoint saw: its name, the route that was matched, the target that was checked, the path of the request.
fn seen<B>(name: &str, mut request: Request<B>) -> String {
    let uri = request.uri().path().to_owned();
    let context = Context::of(&mut request);
    let route = context.route().unwrap();
    let decided = context.decision().unwrap().route() == Some(route);
    format!("{name} {} {} {uri} {decided}", route.template(), context.target().unwrap().path())
}

const ROUTES: [(&str, &str); 5] = [
    ("public", "/public/{*rest}"),
    ("admin", "/admin/{*rest}"),
    ("exact", "/admin"),
    ("one", "/books/{id}"),
    ("fixed", "/books/a:b"),
];

/// Reads the whole answer.
fn read<S, B>(service: S) -> Front
where
    S: tower::Service<
            Request<Body>,
            Response = http::Response<B>,
            Error = Infallible,
            Future: Send,
        > + Clone
        + Send
        + Sync
        + 'static,
    B: http_body_util::BodyExt<Data = bytes::Bytes, Error: std::fmt::Debug> + Send + 'static,
{
    BoxCloneSyncService::new(service.and_then(|response: http::Response<B>| async move {
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        Ok((status, String::from_utf8(body.to_vec()).unwrap()))
    }))
}

/// Axum's router and our own, each behind the same stack; `admin` and `exact` need a role that `who` may have.
fn fronts(role: &str) -> [Front; 2] {
    let roles = || {
        Roles::builder().role("reader").permits("read").role("admin").permits("*").build().unwrap()
    };
    let access = |name: &str| {
        if matches!(name, "admin" | "exact") { require("admin") } else { require("read") }
    };
    let who = as_user("alice").roles([role.to_owned()]);

    let api = ROUTES.iter().fold(Guarded::new().restricted(), |api, &(name, template)| {
        let handler = move |request: axum::extract::Request| async move { seen(name, request) };
        api.route(template, get(handler), access(name))
    });
    let stack =
        Stack::new().layer(EdgeLayer::default()).layer(api.route_layer()).layer(who.clone());
    let of_axum = stack.layer(AuthorizeLayer::new(roles())).around(api).unwrap();

    let routes = ROUTES.iter().fold(Routes::builder().restricted(), |routes, &(name, template)| {
        let endpoint = tower::service_fn(move |request: Request<Body>| async move {
            Ok::<_, Infallible>(http::Response::new(Body::from(seen(name, request))))
        });
        // Every endpoint has one type.
        let endpoint = BoxCloneSyncService::new(endpoint);
        routes.get(template, endpoint).rule(access(name))
    });
    let routes = routes.build().unwrap();
    let stack = Stack::new().layer(EdgeLayer::default()).layer(routes.layer()).layer(who);
    let our_own = stack.layer(AuthorizeLayer::new(roles())).around(routes).unwrap();
    [read(of_axum), read(our_own)]
}

/// Sends `path` and checks the property. Says whether an endpoint was reached; `None` for what is no HTTP request.
async fn check(fronts: &[Front; 2], path: &str, may_reach_admin: bool) -> Option<bool> {
    let uri: Uri = path.parse().ok().filter(|uri: &Uri| uri.path_and_query().is_some())?;
    let mut reached = false;
    for front in fronts {
        let request = Request::builder()
            .uri(uri.clone())
            .header("host", "shop.example")
            .body(Body::empty())
            .unwrap();
        let (status, body) = front.clone().oneshot(request).await.unwrap();
        if status != 200 {
            assert!((400..500).contains(&status), "{path}: {status} {body}");
            continue;
        }
        reached = true;
        let [name, template, target, uri, about_it] = body.split(' ').collect::<Vec<_>>()[..]
        else {
            panic!("{body}")
        };
        assert_eq!(
            ROUTES.iter().find(|(known, _)| *known == name).unwrap().1,
            template,
            "{path}: {body}"
        );
        assert_eq!((target, about_it), (uri, "true"), "{path}: {body}");
        assert_eq!(canonical_path(target, &TargetRules::strict()).as_deref(), Ok(target), "{path}");
        let below = template.split("/{").next().unwrap();
        let rest = target.strip_prefix(below);
        assert!(
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            "{path}: {body}"
        );
        assert!(may_reach_admin || !target.starts_with("/admin"), "{path}: {body}");
        // However a reader decodes it, once or to the end, there is nothing in it that climbs.
        let decoded = decode(target);
        assert!(
            !decoded.split(['/', '\\']).any(|segment| segment == ".." || segment == "."),
            "{path}: {decoded}"
        );
    }
    Some(reached)
}

fn decode(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        let digits = [rest.clone().next(), rest.clone().nth(1)];
        match (byte, digits) {
            (b'%', [Some(high), Some(low)]) => {
                let hex = |digit: u8| char::from(digit).to_digit(16).unwrap();
                bytes.push(u8::try_from(hex(high) * 16 + hex(low)).unwrap());
                rest.nth(1);
            }
            _ => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// Lines of the corpora, and a few of our own for a machine that has none.
fn corpus() -> Vec<String> {
    let mut lines: Vec<String> =
        ["../admin", "..%2fadmin", "%2e%2e/admin", "..;/admin", "//admin/x", "..\\admin", "x"]
            .map(str::to_owned)
            .to_vec();
    let default = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors");
    let folder = std::env::var_os("PORTCULLIS_VECTORS").map_or(default, PathBuf::from);
    if !folder.is_dir() {
        assert!(std::env::var_os("CI").is_none(), "there are no vectors in {}", folder.display());
        eprintln!("skipped the corpora: there are no vectors in {}", folder.display());
        return lines;
    }
    let mut files: Vec<_> = std::fs::read_dir(folder.join("payloadsallthethings"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    for file in files {
        let text = String::from_utf8_lossy(&std::fs::read(file).unwrap()).into_owned();
        lines.extend(text.lines().map(|line| line.replace("{FILE}", "admin/secret")));
    }
    let cases = std::fs::read_to_string(folder.join("url/urltestdata.json")).unwrap();
    let cases: Vec<serde_json::Value> = serde_json::from_str(&cases).unwrap();
    let texts =
        cases.iter().flat_map(|case| ["input", "pathname", "href"].map(|key| case[key].as_str()));
    lines.extend(texts.flatten().map(str::to_owned));
    assert!(lines.len() > 4_000, "the corpora have shrunk to {} lines", lines.len());
    lines
}

#[tokio::test]
async fn no_line_of_the_corpora_parts_the_paths() {
    let (reader, admin) = (fronts("reader"), fronts("admin"));
    let (mut requests, mut reached) = (0, 0);
    for line in corpus() {
        for prefix in ["", "/", "/public/", "/public/x/", "/admin/", "/books/"] {
            let path = format!("{prefix}{line}");
            for (fronts, may) in [(&reader, false), (&admin, true)] {
                let outcome = check(fronts, &path, may).await;
                requests += usize::from(outcome.is_some());
                reached += usize::from(outcome == Some(true));
            }
        }
    }
    // The corpora must neither all be refused before they are read nor all pass.
    assert!(reached > 0 && reached < requests, "{reached} of {requests}");
}

#[tokio::test]
async fn a_traversal_never_reaches_another_routes_endpoint() {
    let fronts = fronts("reader");
    for path in [
        "/public/../admin",
        "/public/../admin/x",
        "/public/%2e%2e/admin/x",
        "/public/%2E./admin/x",
        "/public/x/../../admin/x",
        "/public/./../admin",
        "/%61dmin/x",
        "/admin",
        "/admin/",
        "/admin/x",
    ] {
        assert_eq!(check(&fronts, path, false).await, Some(false), "{path}");
    }
    for path in ["/public/x", "/public/x/../y", "/admin/../public/x", "/books/7", "/books/a:b"] {
        assert_eq!(check(&fronts, path, false).await, Some(true), "{path}");
    }
    // Decoded, it is another route: the two readings must not part.
    assert_eq!(check(&fronts, "/books/a%3Ab", false).await, Some(false));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn whatever_is_sent_one_path_is_seen(
        path in "(/(public|admin|books|\\.|\\.\\.|%2e|%2E%2e|\\.%2e|%61dmin|%2f|%5c|;|%3b|a:b|a%3ab|%252e|[a-z%.;:@]{0,4})){1,6}"
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (reader, admin) = FRONTS.with(Clone::clone);
        runtime.block_on(async {
            check(&reader, &path, false).await;
            check(&admin, &path, true).await;
        });
    }
}

thread_local! {
    static FRONTS: ([Front; 2], [Front; 2]) = (fronts("reader"), fronts("admin"));
}
