//! The table.
use std::pin::Pin;

use http::{Response, StatusCode};
use portcullis_core::{Body, BoxError, Context, Problem, ProblemKind, Verdict};
use tracing::Level;

use super::super::support::{FakeTime, Script, Step};

const NOT_YOURS: ProblemKind = ProblemKind::new("not-yours", StatusCode::FORBIDDEN, "Not yours");
const GONE: ProblemKind = ProblemKind::new("gone", StatusCode::GONE, "Gone");

pub(crate) type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

/// What the client does with the answer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Client {
    ReadsAll,
    /// Nobody polls the future.
    LeavesAtOnce,
    LeavesBeforeTheHead,
    /// After this many frames.
    LeavesInTheBody(usize),
}
use Client::{LeavesAtOnce, LeavesBeforeTheHead, LeavesInTheBody, ReadsAll};

/// What both the log and the metrics must say.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) request: &'static str,
    pub(crate) verdict: Verdict,
    pub(crate) inner: fn(Context, FakeTime) -> Answer,
    pub(crate) client: Client,
    /// The status on the wire; none where there is no head.
    pub(crate) wire: Option<u16>,
    pub(crate) status: u16,
    pub(crate) outcome: &'static str,
    pub(crate) level: Level,
    pub(crate) route: &'static str,
    pub(crate) problem: Option<&'static str>,
    pub(crate) cause: Option<&'static str>,
    /// How long it took.
    pub(crate) millis: u64,
}

/// An answer that is as good as they get; rows say in what they differ.
fn row(name: &'static str, inner: fn(Context, FakeTime) -> Answer) -> Row {
    Row {
        name,
        request: "GET /orders/7",
        verdict: Verdict::Allow,
        inner,
        client: ReadsAll,
        wire: Some(200),
        status: 200,
        outcome: "complete",
        level: Level::INFO,
        route: "/orders/{id}",
        problem: None,
        cause: None,
        millis: 0,
    }
}

/// A row that ends with a panic that was caught.
fn panic_row(name: &'static str, inner: fn(Context, FakeTime) -> Answer) -> Row {
    let problem = Some("internal-error");
    let (wire, status, outcome, level) = (Some(500), 500, "panicked", Level::ERROR);
    Row { wire, status, outcome, level, problem, ..row(name, inner) }
}

fn answer(status: u16, body: Body) -> Answer {
    Box::pin(async move { Ok(Response::builder().status(status).body(body)?) })
}

fn refused(context: &Context) -> Answer {
    let missing = std::io::Error::other("no rule\ngrants it");
    let answer = Problem::new(NOT_YOURS).cause(missing).respond(context);
    Box::pin(async { Ok(answer) })
}

pub(crate) fn answered() -> Vec<Row> {
    vec![
        Row {
            millis: 60,
            ..row("a body that is read to the end", |_, time| {
                time.pass(30);
                answer(
                    200,
                    Script::body(&time, [Step::Data("he"), Step::Pass(30), Step::Data("llo")]),
                )
            })
        },
        row("a body that is at hand", |_, _| answer(200, "hello".into())),
        Row {
            request: "HEAD /orders/7",
            client: LeavesInTheBody(0),
            ..row("an answer to HEAD", |_, time| {
                answer(200, Script::body(&time, [Step::Data("x")]))
            })
        },
        Row {
            client: LeavesInTheBody(0),
            ..row("an empty body", |_, _| answer(200, Body::empty()))
        },
        Row {
            wire: Some(304),
            status: 304,
            client: LeavesInTheBody(0),
            ..row("a status without a body", |_, time| {
                answer(304, Script::body(&time, [Step::Data("x")]))
            })
        },
        Row {
            client: LeavesInTheBody(1),
            ..row("a body whose length was announced", |_, time| {
                let body = Script::body(&time, [Step::Data("hello")]);
                Box::pin(async { Ok(Response::builder().header("content-length", 5).body(body)?) })
            })
        },
        Row {
            wire: Some(502),
            status: 502,
            ..row("a 5xx that the endpoint answers by itself", |_, _| answer(502, Body::empty()))
        },
        Row {
            problem: Some("not-yours"),
            cause: Some("no rule\\ngrants it"),
            ..row("a problem that was mended", |context, _| {
                drop(refused(&context));
                answer(200, Body::empty())
            })
        },
    ]
}

fn other_problem(context: &Context) -> Answer {
    drop(refused(context));
    Box::pin(async { Ok(Problem::new(GONE).into_response()) })
}

pub(crate) fn refusals() -> Vec<Row> {
    let refusal = |name| Row {
        verdict: Verdict::Deny,
        wire: Some(403),
        status: 403,
        problem: Some("not-yours"),
        cause: Some("no rule\\ngrants it"),
        ..row(name, |context, _| refused(&context))
    };
    let unmatched = |name, request, status, problem| Row {
        request,
        wire: Some(status),
        status,
        route: "",
        problem: Some(problem),
        ..row(name, |_, _| panic!("not reached"))
    };
    vec![
        refusal("a refusal"),
        Row {
            wire: Some(410),
            status: 410,
            problem: Some("gone"),
            ..row("a refusal in place of another", |context, _| other_problem(&context))
        },
        Row { request: "HEAD /orders/7", ..refusal("a refused HEAD") },
        Row { request: "POST /orders/7 grpc", wire: Some(200), ..refusal("a refusal in gRPC") },
        unmatched("no such route", "GET /nothing?q=1", 404, "route-not-found"),
        unmatched("no such method", "PATCH /orders/7", 405, "method-not-allowed"),
        unmatched("no such target", "GET /a%2Fb?q=1", 400, "target-invalid"),
    ]
}

pub(crate) fn faults() -> Vec<Row> {
    let boom: fn(Context, FakeTime) -> Answer = |_, _| panic!("boom {}\nin call", 1);
    vec![
        Row {
            wire: None,
            status: 500,
            outcome: "failed",
            level: Level::ERROR,
            millis: 7,
            ..row("a service that fails", |_, time| {
                time.pass(7);
                Box::pin(async { Err("no route to host".into()) })
            })
        },
        Row { cause: Some("panicked: boom 1\\nin call"), ..panic_row("a panic in call", boom) },
        Row {
            wire: None,
            client: LeavesAtOnce,
            cause: Some("panicked: boom 1\\nin call"),
            ..panic_row("a panic in call that nobody waits for", boom)
        },
        Row {
            cause: Some("panicked: boom in poll"),
            ..panic_row("a panic in poll", |_, _| Box::pin(async { panic!("boom in poll") }))
        },
        Row {
            cause: Some("panicked: with a value that is no text"),
            ..panic_row("a panic without a message", |_, _| {
                Box::pin(async { std::panic::panic_any(7) })
            })
        },
        Row {
            cause: Some("panicked: again"),
            ..panic_row("a panic in the application's rendering", |context, _| {
                context
                    .set_renderer(std::sync::Arc::new(|_: &Problem, _: &Context| panic!("again")));
                refused(&context)
            })
        },
        Row {
            outcome: "cancelled",
            wire: None,
            status: 499,
            client: LeavesBeforeTheHead,
            millis: 40,
            ..row("a client that leaves before the head", |_, time| {
                Box::pin(async move {
                    time.pass(40);
                    std::future::pending().await
                })
            })
        },
        Row {
            outcome: "cancelled",
            client: LeavesInTheBody(0),
            ..row("a client that leaves before the body", |_, _| answer(200, "hello".into()))
        },
        Row {
            outcome: "cancelled",
            client: LeavesInTheBody(1),
            millis: 20,
            ..row("a client that leaves in the body", |_, time| {
                answer(
                    200,
                    Script::body(&time, [Step::Pass(20), Step::Data("he"), Step::Data("llo")]),
                )
            })
        },
        Row {
            outcome: "failed",
            ..row("a body that fails", |_, time| {
                answer(200, Script::body(&time, [Step::Data("he"), Step::Fail]))
            })
        },
        Row {
            outcome: "panicked",
            ..row("a body that panics", |_, time| {
                answer(200, Script::body(&time, [Step::Data("he"), Step::Panic]))
            })
        },
    ]
}
