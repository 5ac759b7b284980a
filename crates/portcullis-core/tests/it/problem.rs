//! A problem as the client gets it.
use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};
use portcullis_core::problem::{RenderProblem, Rendered, Source, kinds};
use portcullis_core::{Body, Context, Problem, ProblemKind};
use portcullis_testkit::{TestRequest, read, request};
use tower::service_fn;

const SOLD_OUT: ProblemKind =
    ProblemKind::new("sold-out", StatusCode::CONFLICT, "The book is \"sold out\" & <gone>");

const JSON: (&str, &str) = ("accept", "application/json");
const HTML: (&str, &str) = ("accept", "text/html");
const GRPC: (&str, &str) = ("content-type", "application/grpc");

/// The context of a request with this header.
fn context(method: Method, (name, value): (&str, &str)) -> Context {
    Context::of(&mut request(method, "/").header(name, value).build())
}

fn answer(problem: Problem, dialect: (&str, &str)) -> Response<Body> {
    problem.respond(&context(Method::GET, dialect))
}

#[tokio::test]
async fn json_has_the_members_of_the_rfc_in_its_order_and_then_its_own() {
    let registry = portcullis_core::problem::REGISTRY;
    let title = r#""title":"The book is \"sold out\" & <gone>""#;
    for (problem, want) in [
        (
            Problem::new(SOLD_OUT),
            format!(r#"{{"type":"{registry}sold-out",{title},"status":409}}"#),
        ),
        (
            Problem::new(SOLD_OUT).member("wait", 7).detail("no copy of “Emma” is left\n"),
            format!(
                r#"{{"type":"{registry}sold-out",{title},"status":409,"detail":"no copy of “Emma” is left\n","wait":7}}"#
            ),
        ),
        (
            Problem::new(SOLD_OUT)
                .member("type", "about:blank")
                .member("title", "mine")
                .member("status", 200)
                .member("detail", "mine")
                .member("instance", "/mine")
                .member("Status", 1),
            format!(r#"{{"type":"{registry}sold-out",{title},"status":409,"Status":1}}"#),
        ),
    ] {
        let answer = answer(problem, JSON);
        assert_eq!(answer.status(), 409);
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        assert_eq!(read(answer).await, want + "\n");
    }
}

#[tokio::test]
async fn an_application_has_kinds_of_its_own() {
    let uri = "https://shop.example/problems/sold-out";
    let kind = ProblemKind::new(uri, StatusCode::GONE, "Gone");
    assert_eq!((kind.slug(), &*kind.uri()), (uri, uri));
    let problem: Problem = kind.into();
    let text = read(answer(problem, JSON)).await;
    assert_eq!(text, format!(r#"{{"type":"{uri}","title":"Gone","status":410}}"#) + "\n");
}

#[tokio::test]
async fn html_escapes_every_text() {
    let problem = Problem::new(SOLD_OUT).detail("<script>alert('1' & \"2\")</script>");
    let answer = answer(problem, HTML);
    assert_eq!(answer.status(), 409);
    assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8");
    let page = read(answer).await;
    let title = "The book is &quot;sold out&quot; &amp; &lt;gone&gt;";
    for part in [
        format!("<title>409 {title}</title>"),
        format!("<h1>{title}</h1>"),
        "<p>&lt;script&gt;alert(&#39;1&#39; &amp; &quot;2&quot;)&lt;/script&gt;</p>".to_owned(),
        "<small>409 sold-out</small>".to_owned(),
    ] {
        assert!(page.contains(&part), "no `{part}` in {page}");
    }
    let page = read(self::answer(Problem::new(SOLD_OUT), HTML)).await;
    assert!(!page.contains("<p></p>") && !page.contains("None"), "{page}");
}

#[tokio::test]
async fn grpc_has_a_code_and_a_message_and_no_body() {
    let kind = |status: u16| {
        ProblemKind::new("any", StatusCode::from_u16(status).unwrap(), "Any title, 100%")
    };
    for (status, code) in [
        (400, "3"),
        (401, "16"),
        (403, "7"),
        (404, "12"),
        (405, "12"),
        (408, "4"),
        (409, "10"),
        (410, "3"),
        (412, "9"),
        (413, "8"),
        (429, "8"),
        (431, "8"),
        (499, "1"),
        (500, "13"),
        (501, "12"),
        (502, "14"),
        (503, "14"),
        (504, "4"),
        (507, "13"),
    ] {
        let answer = answer(kind(status).into(), GRPC);
        assert_eq!(answer.headers()["grpc-status"], code, "{status}");
        assert_eq!(answer.headers()["grpc-message"], "Any title, 100%25", "{status}");
        // A gRPC answer is always 200: the code says the rest.
        assert_eq!(answer.status(), 200, "{status}");
        assert_eq!(answer.headers()["content-type"], "application/grpc", "{status}");
        assert_eq!(read(answer).await, "", "{status}");
    }
    for (detail, message) in [
        ("plain ~text!", "plain ~text!"),
        ("two\r\nlines", "two%0D%0Alines"),
        ("caf\u{e9}", "caf%C3%A9"),
        ("50 % off\u{7f}", "50 %25 off%7F"),
        ("", ""),
    ] {
        let answer = answer(Problem::new(SOLD_OUT).detail(detail), GRPC);
        assert_eq!(answer.headers()["grpc-message"], message);
    }
}

#[tokio::test]
async fn the_answer_to_head_has_the_length_of_the_body_that_get_would_have() {
    for dialect in [JSON, HTML] {
        let problem = Problem::new(SOLD_OUT).detail("no copy of “Emma” is left");
        let get = problem.clone().respond(&context(Method::GET, dialect));
        let head = problem.respond(&context(Method::HEAD, dialect));
        assert_eq!(head.status(), 409);
        assert_eq!(head.headers()["content-type"], get.headers()["content-type"]);
        let length = head.headers()["content-length"].to_str().unwrap().to_owned();
        assert_eq!(read(head).await, "");
        assert_eq!(length, read(get).await.len().to_string());
    }
}

#[tokio::test]
async fn the_headers_of_a_problem_stay_and_no_cache_keeps_it() {
    let problem = Problem::new(SOLD_OUT)
        .header(header::RETRY_AFTER, HeaderValue::from_static("7"))
        .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic"))
        .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    for dialect in [JSON, HTML, GRPC] {
        let answer = answer(problem.clone(), dialect);
        assert_eq!(answer.headers()["cache-control"], "no-store", "{dialect:?}");
        assert_eq!(answer.headers()["retry-after"], "7", "{dialect:?}");
        let schemes = answer.headers().get_all("www-authenticate").iter();
        assert_eq!(schemes.collect::<Vec<_>>(), ["Basic", "Bearer"], "{dialect:?}");
    }
    // Whoever knows better says so.
    let known = problem.header(header::CACHE_CONTROL, HeaderValue::from_static("max-age=1"));
    let answer = answer(known, JSON);
    let said: Vec<_> = answer.headers().get_all("cache-control").iter().collect();
    assert_eq!(said, ["max-age=1"]);
}

#[tokio::test]
async fn the_cause_is_for_the_log_only() {
    let cause = "password of db-17.internal is wrong";
    let problem = Problem::new(kinds::INTERNAL_ERROR).detail("try later").cause(cause);
    assert_eq!(problem.cause_error().unwrap().to_string(), cause);
    assert_eq!(std::error::Error::source(&problem).unwrap().to_string(), cause);
    assert!(!problem.to_string().contains("db-17"));
    for dialect in [JSON, HTML, GRPC] {
        for method in [Method::GET, Method::HEAD] {
            let context = context(method, dialect);
            let answer = problem.clone().respond(&context);
            let heads = format!("{:?}", answer.headers());
            let text = heads + &read(answer).await;
            assert!(!text.contains("password") && !text.contains("db-17"), "{text}");
            // Logs and metrics find it here.
            assert_eq!(context.problem().unwrap().cause_error().unwrap().to_string(), cause);
        }
    }
    let text = read(problem.into_response()).await;
    assert!(!text.contains("db-17"), "{text}");
}

#[tokio::test]
async fn an_applications_renderer_puts_its_own_body_and_nothing_else() {
    fn render(problem: &Problem, _: &Context) -> Option<Rendered> {
        let body = format!("<error>{}</error>", problem.kind().slug());
        let own = || Rendered::new(HeaderValue::from_static("text/xml"), body);
        problem.detail_text().is_some().then(own)
    }
    let hook: Arc<dyn RenderProblem> = Arc::new(render);
    let rendered = |problem: Problem, method, dialect| {
        let context = context(method, dialect);
        assert!(context.set_renderer(Arc::clone(&hook)));
        problem.respond(&context)
    };
    let after = HeaderName::from_static("retry-after");
    let problem = Problem::new(SOLD_OUT).header(after, HeaderValue::from_static("7"));
    let shown = problem.clone().detail("shown");
    for dialect in [JSON, HTML] {
        let answer = rendered(shown.clone(), Method::GET, dialect);
        assert_eq!(answer.status(), 409);
        assert_eq!(answer.headers()["retry-after"], "7");
        assert_eq!(answer.headers()["cache-control"], "no-store");
        assert_eq!(answer.headers()["content-type"], "text/xml");
        assert_eq!(read(answer).await, "<error>sold-out</error>");
        let head = rendered(shown.clone(), Method::HEAD, dialect);
        assert_eq!(head.headers()["content-length"], "23");
        assert_eq!(read(head).await, "");
    }
    let ours = rendered(problem, Method::GET, JSON);
    assert_eq!(ours.headers()["content-type"], "application/problem+json", "`None` keeps ours");
    let grpc = rendered(shown, Method::GET, GRPC);
    assert_eq!(grpc.headers()["content-type"], "application/grpc", "gRPC is never rendered");
    assert_eq!(grpc.headers()["grpc-message"], "shown");
}

#[test]
fn a_problem_says_where_the_reason_lies() {
    let (ours, theirs) = (Problem::new(kinds::INTERNAL_ERROR), Problem::new(SOLD_OUT));
    assert_eq!(
        (ours.error_source(), theirs.error_source()),
        (Source::Internal, Source::Downstream)
    );
    let upstream = ours.clone().source(Source::Upstream).retry_is_safe();
    assert!(upstream.is_safe_to_retry() && !ours.is_safe_to_retry());
    assert_eq!(upstream.error_source(), Source::Upstream);
    assert_eq!(theirs.detail("none left").to_string().split(": ").last(), Some("none left"));
}

#[tokio::test]
async fn the_first_problem_stays_in_the_context_and_each_in_its_response() {
    let context = context(Method::GET, JSON);
    let first = Problem::new(SOLD_OUT).respond(&context);
    let second = Problem::new(kinds::INTERNAL_ERROR).respond(&context);
    let slug = |answer: &Response<Body>| answer.extensions().get::<Problem>().unwrap().kind();
    assert_eq!((slug(&first), slug(&second)), (SOLD_OUT, kinds::INTERNAL_ERROR));
    assert_eq!(context.problem().unwrap().kind(), SOLD_OUT);
}

/// The client of the kit reads the same things as these tests do.
#[tokio::test]
async fn every_kind_of_core_passes_the_checks_of_the_client() {
    for kind in kinds::ALL {
        let application = service_fn(move |mut request: http::Request<Body>| async move {
            let problem = Problem::new(*kind)
                .header(header::ALLOW, HeaderValue::from_static("GET"))
                .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            Ok::<_, std::convert::Infallible>(problem.respond(&Context::of(&mut request)))
        });
        let client = portcullis_testkit::TestClient::new(application);
        for (name, value) in [JSON, HTML, GRPC] {
            let request: TestRequest<_> = client.post("/").header(name, value);
            request.send().await.assert_problem(kind.slug());
        }
        client.get("/").send().await.assert_status(kind.status().as_u16());
    }
}
