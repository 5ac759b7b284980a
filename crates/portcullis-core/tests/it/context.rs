//! What the layers know about one request.
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response};
use portcullis_core::{
    Access, AuthState, BodyLimit, Challenges, ClientAddr, Clock, Connection, ConsumedCredentials,
    Context, Decision, Draining, Explain, Format, Identity, Informational, Note, Problem,
    RequestId, Requirement, Scheme, SendInformational, Target, TargetRules, Tls, TraceContext,
    Verdict, problem::kinds, public, route,
};
use portcullis_testkit::{FakeTime, TestRequest, get, request};

use crate::support::{Log, from};

fn context() -> Context {
    Context::of(&mut Request::new(()))
}

#[test]
fn every_fact_is_set_once() {
    let context = context();
    let target =
        |path: &str| Target::of(&get(path).build(), Scheme::Http, None, &TargetRules::strict());
    let identity = |name: &str| AuthState::Authenticated(Identity::builder("test", name).build());
    let mut table = route::TableBuilder::new(route::CatchAll::Bare);
    table.add("/a", Method::GET, public());
    table.add("/b", Method::GET, public());
    let table = table.build();
    let decision = |verdict| Decision::new(verdict, None, Requirement::Public, "test");
    let id = |text: &'static str| RequestId::parse(&http::HeaderValue::from_static(text)).unwrap();
    let kinds = [kinds::ROUTE_NOT_FOUND, kinds::INTERNAL_ERROR];
    let traces = [TraceContext::random(), TraceContext::random()];
    let second = Duration::from_secs(1);
    for n in 0..2 {
        let first = n == 0;
        let which = ["one", "two"][n];
        for (name, set) in [
            ("target", context.set_target(target(&format!("/{which}")).unwrap())),
            ("request id", context.set_request_id(id(which))),
            ("trace", context.set_trace(traces[n])),
            ("scheme", context.set_scheme([Scheme::Https, Scheme::Http][n])),
            ("route", context.set_route(table.route(n).unwrap())),
            ("route label", context.set_route_label(which.into())),
            ("auth", context.set_auth(identity(which))),
            ("consumed", context.set_consumed(ConsumedCredentials::none().cookie(which))),
            ("decision", context.set_decision(decision([Verdict::Deny, Verdict::Allow][n]))),
            ("problem", context.set_problem(Problem::new(kinds[n]))),
            ("client", context.set_client(ClientAddr::peer([192, 0, 2, [1, 2][n]].into()))),
            ("connection", context.set_connection(from(["192.0.2.1", "192.0.2.2"][n]))),
            ("renderer", context.set_renderer(Arc::new(|_: &Problem, _: &Context| None))),
        ] {
            assert_eq!(set, first, "{name}");
        }
        assert!(first || context.deadline().at().is_none());
    }
    assert_eq!(context.target().unwrap().path(), "/one");
    assert_eq!(context.request_id().unwrap().as_str(), "one");
    assert_eq!(context.trace(), Some(&traces[0]));
    assert_eq!(context.scheme(), Scheme::Https);
    assert_eq!(context.route().unwrap().index(), 0);
    assert_eq!(context.identity().unwrap().subject(), "one");
    assert_eq!(context.consumed().unwrap().cookies().collect::<Vec<_>>(), ["one"]);
    assert_eq!(context.decision().unwrap().verdict(), Verdict::Deny);
    assert_eq!(context.problem().unwrap().kind(), kinds[0]);
    assert_eq!(context.client().unwrap().to_string(), "192.0.2.1");
    assert_eq!(context.connection().unwrap().peer().unwrap().ip().to_string(), "192.0.2.1");
    context.limit_time(second);
    context.limit_time(second * 2);
    assert_eq!(context.deadline().remaining(context.start()), Some(second));
}

#[test]
fn all_layers_of_a_request_share_one_context() {
    let mut request = get("/").build();
    assert!(Context::get(request.extensions()).is_none());
    let outer = Context::of(&mut request);
    let inner = Context::of(&mut request);
    inner.set_auth(AuthState::Anonymous(Challenges::default()));
    assert!(outer.auth().is_some() && outer.identity().is_none());
    assert!(Context::get(request.extensions()).unwrap().auth().is_some());
    drop((request, inner));
    assert!(outer.auth().is_some(), "the outer layer sees it after the request is gone");
}

#[test]
fn the_first_layer_says_whose_clock_it_is_and_reads_the_dialect() {
    let (ours, theirs) = (FakeTime::new(), FakeTime::new());
    theirs.advance(Duration::from_secs(60));
    let mut request = request(Method::HEAD, "/").header("accept", "text/html").build();
    let first = Context::with_clock(&mut request, &ours.clock());
    request.headers_mut().clear();
    *request.method_mut() = Method::GET;
    let second = Context::with_clock(&mut request, &theirs.clock());
    for context in [first, second] {
        assert_eq!(context.start(), ours.clock().now());
        assert_eq!(context.clock().now(), ours.clock().now());
        assert_eq!((context.dialect().format(), context.dialect().head()), (Format::Html, true));
    }
}

#[test]
fn the_connection_is_taken_over_from_the_requests_extensions() {
    let connection = from("192.0.2.7")
        .with_local("198.51.100.1:443".parse().unwrap())
        .with_tls(Arc::new(Tls::new().with_server_name("shop.example")));
    let mut request = Request::new(());
    request.extensions_mut().insert(connection);
    let context = Context::of(&mut request);
    let found = context.connection().unwrap();
    assert_eq!(found.peer().unwrap().to_string(), "192.0.2.7:4711");
    assert_eq!(found.local().unwrap().port(), 443);
    assert_eq!(found.tls().unwrap().server_name(), Some("shop.example"));
    assert!(!context.set_connection(Connection::new(None)), "it is known already");
    // The client is the peer until the edge knows better.
    let client = context.client().unwrap();
    assert_eq!((client.to_string().as_str(), client.is_forwarded()), ("192.0.2.7", false));
    context.set_client(ClientAddr::forwarded([1, 2, 3, 4].into()));
    assert!(context.client().unwrap().is_forwarded());

    let nobody = self::context();
    assert!(nobody.connection().is_none() && nobody.client().is_none());
    assert!(nobody.set_connection(Connection::new(None)), "as on a Unix socket");
    assert!(nobody.client().is_none());
}

#[test]
fn notes_stand_in_their_order_with_the_time_that_passed() {
    let time = FakeTime::new();
    let context = Context::with_clock(&mut Request::new(()), &time.clock());
    context.start_explaining();
    context.note("route", || "GET /books");
    time.advance(Duration::from_millis(5));
    context.note("authorize", || format!("{}", Access::new(Requirement::Authenticated)));
    // Asking again does not begin anew.
    context.start_explaining();
    let explain: &Explain = context.explain().unwrap();
    let note = |stage, text: &'static str, millis| Note {
        stage,
        text: text.into(),
        after: Duration::from_millis(millis),
    };
    let want = [note("route", "GET /books", 0), note("authorize", "authenticated", 5)];
    assert_eq!(explain.notes(), want);
}

#[test]
fn nothing_is_noted_unless_somebody_asked() {
    let context = context();
    context.note("route", || -> &str { panic!("the text was made although nobody asked") });
    assert!(context.explain().is_none());
    context.start_explaining();
    assert!(context.explain().unwrap().notes().is_empty());
}

#[test]
fn the_template_is_that_of_our_own_table_before_that_of_a_foreign_router() {
    let context = context();
    assert_eq!(context.route_template(), None);
    assert!(context.set_route_label("/foreign/{id}".into()));
    assert_eq!(context.route_template(), Some("/foreign/{id}"));
    let mut table = route::TableBuilder::new(route::CatchAll::Bare);
    table.add("/ours/{id}", Method::GET, public());
    context.set_route(table.build().route(0).unwrap());
    assert_eq!(context.route_template(), Some("/ours/{id}"));
}

#[test]
fn there_is_one_body_limit_that_everybody_shares() {
    let context = context();
    let (one, other): (*const BodyLimit, *const BodyLimit) =
        (context.body_limit(), context.clone().body_limit());
    assert_eq!(one, other);
}

#[test]
fn the_body_limit_of_a_server_is_taken_over_beside_its_connection() {
    for (name, connection, taken) in
        [("a server of ours", Some(from("192.0.2.7")), true), ("nobody we know", None, false)]
    {
        let limit = BodyLimit::new(7);
        let mut request = get("/").extension(limit.clone());
        request = connection.into_iter().fold(request, TestRequest::connection);
        let context = Context::of(&mut request.build());
        assert_eq!(context.body_limit().get() == 7, taken, "{name}");
        assert!(!context.body_limit().is_rate_lifted(), "{name}");
        context.body_limit().set(8);
        context.body_limit().lift_rate();
        assert_eq!((limit.get() == 8, limit.is_rate_lifted()), (taken, taken), "{name}");
    }
}

#[test]
fn informational_responses_go_to_the_sink_of_the_connection_with_the_number_of_the_request() {
    struct Sink(Log);
    impl SendInformational for Sink {
        fn send(&self, exchange: u64, response: Response<()>) {
            self.0.add(format!("{exchange}: {}", response.status().as_u16()));
        }
    }
    let log = Log::default();
    let sink: Arc<dyn SendInformational> = Arc::new(Sink(log.clone()));
    let connection = from("192.0.2.7");
    assert!(context().informational().is_none());
    for (name, exchange, statuses, want) in [
        (
            "what is informational",
            1,
            &[100_u16, 102, 103, 199] as &[u16],
            "1: 100, 1: 102, 1: 103, 1: 199",
        ),
        ("what ends the exchange", 2, &[101, 200, 404, 99 + 1], "2: 100"),
    ] {
        let informational = Informational::new(Arc::clone(&sink), exchange);
        let connection = connection.clone().with_informational(informational);
        let context = Context::of(&mut get("/").connection(connection).build());
        for status in statuses {
            let response = Response::builder().status(*status).body(()).unwrap();
            context.informational().unwrap().send(response);
        }
        assert_eq!(log.take(), want, "{name}");
    }
    // The connection that is shared has none of a request.
    assert!(connection.informational().is_none());

    let plain = log.clone();
    let plain = Informational::from_fn(move |response| plain.add(response.status().as_str()));
    for status in [103, 101, 200] {
        plain.send(Response::builder().status(status).body(()).unwrap());
    }
    assert_eq!(log.take(), "103");
}

#[tokio::test]
async fn a_server_that_is_about_to_close_tells_whoever_serves_its_connections() {
    let (draining, tls) = (Draining::new(), Arc::new(Tls::new().with_server_name("shop.example")));
    for connection in [
        from("192.0.2.7").with_draining(draining.clone()).with_tls(Arc::clone(&tls)),
        from("192.0.2.7").with_tls(Arc::clone(&tls)).with_draining(draining.clone()),
    ] {
        let context = Context::of(&mut get("/").connection(connection).build());
        let connection = context.connection().unwrap();
        assert_eq!(connection.tls().unwrap().server_name(), Some("shop.example"));
        assert_eq!(connection.draining().unwrap().is_draining(), draining.is_draining());
        let told = connection.draining().unwrap().draining();
        draining.drain();
        told.await;
    }
    assert!(from("192.0.2.7").draining().is_none(), "a server that does not say");
}

#[test]
fn the_system_clock_is_the_default() {
    let context = context();
    assert!(context.start() <= Clock::system().now());
    assert_eq!(context.deadline().at(), None);
}

#[test]
fn what_is_shown_of_a_context_is_no_secret() {
    let mut request = get("/books?token=s3cret").header("authorization", "Bearer s3cret").build();
    let context = Context::of(&mut request);
    let target = Target::of(&request, Scheme::Http, None, &TargetRules::strict()).unwrap();
    context.set_target(target);
    let shown = format!("{context:?}");
    assert!(shown.contains("/books") && !shown.contains("s3cret"), "{shown}");
}
