//! Who may call what: every route, every method, every role.
use std::fmt::{self, Write};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use http::{Method, Request};
use portcullis_core::{
    AuthState, Challenges, Context, Identity, Methods, Requirement, Route, RouteTable, Verdict,
};
use serde_json::{Value, json};

use crate::judge::{Judge, Judged};
use crate::roles::Roles;

/// Who may call what: a row for each route and method, a column for nobody, for anybody who says who they are, and for each role. [`AuthorizeLayer::matrix`](crate::AuthorizeLayer::matrix)
/// makes it, by the very code that decides about requests.
///
/// A caller of a column has the scopes that the route asks for, comes from an issuer that it takes, and has proved themselves by one factor. What a policy
/// says depends on the request, and stands there as `policy`; `some` is a permission with some objects alone, such as the caller's own.
///
/// Keep it beside your tests, and see what changes ([`assert_matrix!`](crate::assert_matrix)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matrix {
    columns: Vec<Arc<str>>,
    rows: Vec<MatrixRow>,
}

/// A route with one of its methods.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MatrixRow {
    /// The method; `*` is every one.
    pub method: String,
    /// The template of the path.
    pub template: String,
    /// What else a request must have: hosts, headers.
    pub matching: String,
    /// The name of the route.
    pub name: Option<String>,
    /// The rule that decides.
    pub rule: String,
    /// For each column.
    pub cells: Vec<Cell>,
}

/// What is decided.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cell {
    /// What it comes to.
    pub verdict: Verdict,
    /// Why.
    pub reason: String,
}

impl Cell {
    /// In a word: `allow`, `deny`, `step-up`, `policy`, `some`.
    pub fn word(&self) -> &'static str {
        match (self.verdict, self.reason.as_str()) {
            (Verdict::Indeterminate, "policy-by-request") => "policy",
            (Verdict::Allow, "permission-granted-with-some") => "some",
            (verdict, _) => verdict.as_str(),
        }
    }
}

/// The columns that are no role: nobody, and anybody who says who they are. No role can be called so.
const COLUMNS: [&str; 2] = ["(nobody)", "(anybody)"];

impl Matrix {
    pub(crate) fn new(judge: &Judge, own: Option<&Requirement>, table: &Arc<RouteTable>) -> Self {
        let roles = judge.roles.current();
        let columns = COLUMNS.into_iter().chain(Roles::names(&roles)).map(Arc::from);
        let columns: Vec<Arc<str>> = columns.collect();
        let rows = table.routes().flat_map(|route| {
            let cells: Vec<_> =
                columns.iter().map(|column| cell(judge, own, &route, column)).collect();
            let methods: Vec<_> = match route.methods() {
                Methods::These(these) => these.iter().map(ToString::to_string).collect(),
                _ => vec!["*".to_owned()],
            };
            methods.into_iter().map(move |method| MatrixRow {
                method,
                template: route.template().to_owned(),
                matching: route.matching().to_string(),
                name: route.name().map(str::to_owned),
                rule: route.access().to_string(),
                cells: cells.clone(),
            })
        });
        Self { rows: rows.collect(), columns }
    }
    /// The columns: `(nobody)`, `(anybody)`, and the roles.
    pub fn columns(&self) -> impl ExactSizeIterator<Item = &str> {
        self.columns.iter().map(|column| &**column)
    }
    /// The rows, in the order of the routes.
    pub fn rows(&self) -> &[MatrixRow] {
        &self.rows
    }
    /// As JSON: a list of routes with what each column gets.
    pub fn to_json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            let cells = self.columns.iter().zip(&row.cells).map(|(column, cell)| {
                let cell = json!({ "verdict": cell.word(), "reason": cell.reason });
                (column.to_string(), cell)
            });
            json!({
                "method": row.method,
                "path": row.template,
                "if": row.matching,
                "name": row.name,
                "rule": row.rule,
                "callers": cells.collect::<serde_json::Map<_, _>>(),
            })
        });
        rows.collect()
    }
    fn lines(&self) -> Vec<Vec<String>> {
        let has_conditions = self.rows.iter().any(|row| !row.matching.is_empty());
        let head = ["METHOD", "PATH"].into_iter().chain(has_conditions.then_some("IF"));
        let head = head.chain(["RULE"]).chain(self.columns());
        let mut lines: Vec<Vec<String>> = vec![head.map(str::to_owned).collect()];
        for row in &self.rows {
            let mut line = vec![row.method.clone(), row.template.clone()];
            line.extend(has_conditions.then(|| row.matching.clone()));
            line.push(row.rule.clone());
            line.extend(row.cells.iter().map(|cell| cell.word().to_owned()));
            lines.push(line);
        }
        lines
    }
    /// As a table in Markdown.
    pub fn to_markdown(&self) -> String {
        let lines = self.lines();
        let widths = widths(&lines);
        let mut text = String::new();
        for (at, line) in lines.iter().enumerate() {
            let cells = line.iter().zip(&widths);
            let cells = cells.map(|(cell, width)| format!("{:width$}", escaped(cell)));
            // Writing to a string never fails.
            _ = writeln!(text, "| {} |", cells.collect::<Vec<_>>().join(" | "));
            if at == 0 {
                let rules: Vec<_> = widths.iter().map(|width| "-".repeat(*width)).collect();
                _ = writeln!(text, "| {} |", rules.join(" | "));
            }
        }
        text
    }
    /// Compares it with what stands in a file, in Markdown. With `PORTCULLIS_MATRIX=write` in the environment the file is written instead.
    ///
    /// # Errors
    /// What differs, or why the file cannot be read or written.
    pub fn compare_with_file(&self, path: &Path) -> Result<(), String> {
        let (is, place) = (self.to_markdown(), path.display());
        let how = "run the test with `PORTCULLIS_MATRIX=write` in the environment, and look at what it changes";
        if std::env::var("PORTCULLIS_MATRIX").is_ok_and(|word| word == "write") {
            return fs::write(path, is).map_err(|error| format!("{place}: {error}"));
        }
        let was = fs::read_to_string(path);
        let was = was.map_err(|error| format!("{place}: {error}; {how}"))?;
        if was.replace("\r\n", "\n") == is {
            return Ok(());
        }
        let mut text = format!("{place} says otherwise; if it is meant, {how}\n");
        let (old, new): (Vec<_>, Vec<_>) = (was.lines().collect(), is.lines().collect());
        for line in old.iter().filter(|line| !new.contains(line)) {
            _ = writeln!(text, "- {line}");
        }
        for line in new.iter().filter(|line| !old.contains(line)) {
            _ = writeln!(text, "+ {line}");
        }
        Err(text)
    }
}

fn escaped(cell: &str) -> String {
    cell.replace('|', "\\|")
}

fn widths(lines: &[Vec<String>]) -> Vec<usize> {
    let columns = lines.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| escaped(cell).chars().count()).max().unwrap_or(0)
    };
    (0..columns).map(width).collect()
}

/// As a table for people.
impl fmt::Display for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.lines();
        let widths = widths(&lines);
        for line in &lines {
            let cells = line.iter().zip(&widths);
            let cells: Vec<_> = cells.map(|(cell, width)| format!("{cell:width$}")).collect();
            writeln!(f, "{}", cells.join("  ").trim_end())?;
        }
        Ok(())
    }
}

fn cell(judge: &Judge, own: Option<&Requirement>, route: &Route, column: &str) -> Cell {
    let mut request = Request::new(());
    *request.method_mut() = Method::GET;
    let context = Context::of(&mut request);
    context.set_route(route.clone());
    context.set_auth(if column == COLUMNS[0] {
        AuthState::Anonymous(Challenges::default())
    } else {
        let issuer = route.access().issuers().next().unwrap_or("matrix");
        let scopes = route.access().scopes().map(str::to_owned);
        let caller = Identity::builder(issuer, "matrix").scopes(scopes.collect::<Vec<_>>());
        let is_role = column != COLUMNS[1];
        let caller = if is_role { caller.role(column) } else { caller };
        AuthState::Authenticated(caller.assurance(1).build())
    });
    match judge.judge(own, &context, None, None) {
        Ok(Judged::Judgement(judged)) => {
            Cell { verdict: judged.verdict, reason: judged.reason.into_owned() }
        }
        // Neither can be: there is a route, and nobody is asked without a request.
        Ok(Judged::Ask(_)) | Err(_) => {
            Cell { verdict: Verdict::Indeterminate, reason: "not-evaluable".to_owned() }
        }
    }
}

/// Holds a [`Matrix`] against a file beside the test, so that whoever changes who may call what sees it, and so does whoever reviews it.
///
/// The path is relative to the package. With `PORTCULLIS_MATRIX=write` in the environment the file is written instead.
///
/// ```no_run
/// # use portcullis_authz::{AuthorizeLayer, Roles, assert_matrix};
/// # let api = portcullis_core::Routes::<()>::builder().build()?;
/// let layer = AuthorizeLayer::new(Roles::default());
/// assert_matrix!(layer.matrix(api.table()), "tests/matrix.md");
/// # Ok::<(), portcullis_core::ConfigErrors>(())
/// ```
///
/// # Panics
/// The file says otherwise, or is not there.
#[macro_export]
macro_rules! assert_matrix {
    ($matrix:expr, $path:literal) => {{
        let path = ::std::path::Path::new(::std::env!("CARGO_MANIFEST_DIR")).join($path);
        if let ::std::result::Result::Err(difference) = $matrix.compare_with_file(&path) {
            ::std::panic!("{difference}");
        }
    }};
}
