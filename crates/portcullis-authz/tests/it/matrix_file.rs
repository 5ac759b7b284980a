//! The matrix: its cells are what a request gets, and a file holds it.
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use portcullis_authz::{AuthorizeLayer, Matrix, Opinion, Question, Roles, Shadow, assert_matrix};
use portcullis_core::{
    Context, Identity, Methods, Routes, StepUp, Verdict, authenticated, optional, policy, public,
    require,
};
use portcullis_testkit::{AsUser, StubAuthenticateLayer, TestRequest, request};
use tower::ServiceBuilder;

use crate::support::{Endpoint, send};

fn layer() -> AuthorizeLayer {
    let roles = Roles::builder().role("customer").permits_own("orders:read");
    let roles = roles.role("clerk").permits("orders:*").role("chief").inherits("clerk");
    let roles = roles.role("auditor").permits("*:audit").role("ghost").build().unwrap();
    let by_day = |_: &Question<'_>| Opinion::deny("it is night");
    AuthorizeLayer::new(roles).policy("by-day", by_day)
}

fn routes() -> Routes<Endpoint, portcullis_core::route::Restricted> {
    let end = Endpoint::default;
    Routes::builder()
        .get("/public", end())
        .rule(public())
        .get("/hello", end())
        .rule(optional())
        .get("/me", end())
        .rule(authenticated())
        .on(Methods::These(vec![http::Method::GET, http::Method::PUT]), "/orders", end())
        .rule(require("orders:write").scope("orders"))
        .get("/orders/{id}", end())
        .rule(require("orders:read").object_checked())
        .any("/audit", end())
        .rule(require("orders:audit").issuer("https://id.example"))
        .get("/rooms", end())
        .rule(policy("by-day"))
        .get("/keys", end())
        .rule(authenticated().step_up())
        .get("/fresh", end())
        .rule(require("orders:write").step_up_to(StepUp::fresh(Duration::from_secs(300))))
        .get("/level-1", end())
        .rule(authenticated().step_up_to(StepUp::default().at_level(1)))
        .build()
        .unwrap()
}

fn matrix() -> Matrix {
    layer().matrix(routes().table())
}

#[test]
fn it_is_as_the_file_says() {
    assert_matrix!(matrix(), "tests/matrix.md");
}

#[test]
fn its_cells_are_said_in_words() {
    let matrix = matrix();
    let columns: Vec<_> = matrix.columns().collect();
    assert_eq!(
        columns,
        ["(nobody)", "(anybody)", "auditor", "chief", "clerk", "customer", "ghost"]
    );
    let row = |method: &str, template: &str| {
        let mut rows = matrix.rows().iter();
        let row = rows.find(|row| row.method == method && row.template == template).unwrap();
        row.cells.iter().map(portcullis_authz::Cell::word).collect::<Vec<_>>().join(" ")
    };
    for (method, template, words) in [
        ("GET", "/public", "allow allow allow allow allow allow allow"),
        ("GET", "/hello", "allow allow allow allow allow allow allow"),
        ("GET", "/me", "deny allow allow allow allow allow allow"),
        ("GET", "/orders", "deny deny deny allow allow deny deny"),
        ("PUT", "/orders", "deny deny deny allow allow deny deny"),
        ("GET", "/orders/{id}", "deny deny deny allow allow some deny"),
        ("*", "/audit", "deny deny allow allow allow deny deny"),
        ("GET", "/rooms", "deny policy policy policy policy policy policy"),
        ("GET", "/keys", "deny step-up step-up step-up step-up step-up step-up"),
        ("GET", "/fresh", "deny deny deny step-up step-up deny deny"),
        ("GET", "/level-1", "deny allow allow allow allow allow allow"),
    ] {
        assert_eq!(row(method, template), words, "{method} {template}");
    }
    assert_eq!(matrix.rows().len(), 11);
    // A requirement of the layer comes to those of the routes.
    let both = layer().require("orders:read").matrix(routes().table());
    let row = both.rows().iter().find(|row| row.template == "/me").unwrap();
    let words: Vec<_> = row.cells.iter().map(portcullis_authz::Cell::word).collect();
    assert_eq!(words, ["deny", "deny", "deny", "allow", "allow", "deny", "deny"]);
    // What runs beside it changes nothing.
    let shadowed = layer().shadow(Shadow::new(Roles::default())).matrix(routes().table());
    assert_eq!(shadowed, matrix);
}

/// The caller of a column, as the documentation has it.
fn caller(column: &str, route: &portcullis_core::Route) -> Option<AsUser> {
    if column == "(nobody)" {
        return None;
    }
    let issuer = route.access().issuers().next().unwrap_or("test").to_owned();
    let scopes: Vec<_> = route.access().scopes().map(str::to_owned).collect();
    let caller = Identity::builder(issuer, "ada").scopes(scopes).assurance(1);
    let is_role = column != "(anybody)";
    Some(if is_role { caller.role(column) } else { caller }.into())
}

#[tokio::test]
async fn each_cell_is_what_a_request_gets() {
    let (layer, routes, matrix) = (layer(), routes(), matrix());
    let layers = ServiceBuilder::new()
        .layer(routes.layer())
        .layer(StubAuthenticateLayer::new())
        .layer(layer);
    let service = layers.service(routes.clone().into_service());
    let mut checked = 0;
    for row in matrix.rows() {
        let route = routes.table().routes().find(|it| it.template() == row.template).unwrap();
        let method = if row.method == "*" { "DELETE" } else { &row.method };
        for (column, cell) in matrix.columns().zip(&row.cells) {
            let asked = request(method.parse().unwrap(), row.template.replace("{id}", "7"));
            let asked = caller(column, &route).into_iter().fold(asked, TestRequest::as_user);
            let (status, context): (_, Context) = send(service.clone(), asked).await;
            let decision = context.decision().unwrap();
            let place = format!("{} {} {column}", row.method, row.template);
            match cell.word() {
                "policy" => assert_eq!(decision.reason(), "it is night", "{place}"),
                // It passes, and its endpoint has not looked at the object.
                _ if route.access().checks_objects() && cell.verdict == Verdict::Allow => {
                    assert_eq!(
                        (decision.verdict(), status.as_u16()),
                        (Verdict::Allow, 500),
                        "{place}"
                    );
                    assert_eq!(decision.reason(), cell.reason, "{place}");
                }
                _ => {
                    assert_eq!(
                        (decision.verdict(), decision.reason()),
                        (cell.verdict, &*cell.reason),
                        "{place}"
                    );
                    assert_eq!(status == 200, cell.verdict == Verdict::Allow, "{place}");
                }
            }
            checked += 1;
        }
    }
    assert_eq!(checked, 77);
}

#[test]
fn it_is_json_and_a_table_too() {
    let matrix = matrix();
    let json = matrix.to_json();
    let row = &json[3];
    assert_eq!((row["method"].as_str(), row["path"].as_str()), (Some("GET"), Some("/orders")));
    assert_eq!(row["rule"], "permission orders:write, scope orders");
    assert_eq!(row["callers"]["clerk"]["verdict"], "allow");
    assert_eq!(row["callers"]["(nobody)"]["reason"], "not-authenticated");
    assert_eq!(json.as_array().unwrap().len(), matrix.rows().len());
    let table = matrix.to_string();
    assert_eq!(table.lines().count(), matrix.rows().len() + 1);
    assert!(table.lines().all(|line| line == line.trim_end()), "{table}");
    // Every row of Markdown has as many cells, and is as long.
    let markdown = matrix.to_markdown();
    let lines: Vec<_> = markdown.lines().collect();
    assert!(lines.iter().all(|line| line.len() == lines[0].len()), "{markdown}");
    assert!(lines[1].chars().all(|c| matches!(c, '|' | '-' | ' ')), "{markdown}");
}

#[test]
fn a_bar_in_a_rule_does_not_end_a_cell() {
    let routes = Routes::builder().get("/", ()).rule(policy("a|b")).build().unwrap();
    let layer =
        AuthorizeLayer::new(Roles::default()).policy("a|b", |_: &Question<'_>| Opinion::allow("x"));
    let markdown = layer.matrix(routes.table()).to_markdown();
    assert!(markdown.contains("policy a\\|b"), "{markdown}");
}

fn file(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    folder.join(format!("{name}-{}.md", std::process::id()))
}

#[test]
fn what_differs_from_a_file_is_told_line_by_line() {
    if std::env::var_os(WRITES).is_some() {
        return;
    }
    let (matrix, path) = (matrix(), file("differs"));
    let text = matrix.to_markdown();
    std::fs::write(&path, &text).unwrap();
    assert_eq!(matrix.compare_with_file(&path), Ok(()));
    // As some editors and some version controls write it.
    std::fs::write(&path, text.replace('\n', "\r\n")).unwrap();
    assert_eq!(matrix.compare_with_file(&path), Ok(()));

    let old = text.lines().find(|line| line.contains("/fresh")).unwrap();
    let other = old.replace("step-up", "allow  ");
    std::fs::write(&path, text.replace(old, &other)).unwrap();
    let told = matrix.compare_with_file(&path).unwrap_err();
    let lines: Vec<_> = told.lines().collect();
    assert!(lines[0].contains(&path.display().to_string()), "{told}");
    assert!(lines[0].contains("PORTCULLIS_MATRIX=write"), "{told}");
    assert_eq!(lines[1..], [format!("- {other}"), format!("+ {old}")]);
    // It was looked at, and not touched.
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text.replace(old, &other));

    // The same lines in another order are not the same.
    let mut lines: Vec<_> = text.lines().collect();
    lines.swap(3, 4);
    std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    assert!(matrix.compare_with_file(&path).is_err());
    std::fs::remove_file(&path).unwrap();
    let told = matrix.compare_with_file(&path).unwrap_err();
    assert!(told.contains("PORTCULLIS_MATRIX=write"), "{told}");
    assert!(!path.exists());
}

/// Says where the test that runs itself again is to write.
const WRITES: &str = "PORTCULLIS_TEST_MATRIX_FILE";

#[test]
fn it_is_written_where_the_environment_says_so() {
    if let Some(path) = std::env::var_os(WRITES) {
        matrix().compare_with_file(Path::new(&path)).unwrap();
        return;
    }
    let path = file("written");
    let run = |word: &str| {
        let test = "matrix_file::it_is_written_where_the_environment_says_so";
        let mut again = Command::new(std::env::current_exe().unwrap());
        again.args(["--exact", test]).env(WRITES, &path).env("PORTCULLIS_MATRIX", word);
        again.output().unwrap().status.success()
    };
    // Another word is none, and there is no file to compare with.
    assert!(!run("read") && !path.exists());
    assert!(run("write"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), matrix().to_markdown());
    assert!(run(""), "what was written is what it is");
    std::fs::write(&path, "something else").unwrap();
    assert!(!run(""));
    assert!(run("write"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), matrix().to_markdown());
    std::fs::remove_file(&path).unwrap();
}
