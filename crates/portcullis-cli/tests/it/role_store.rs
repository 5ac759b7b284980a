//! Roles that a database keeps, and two gateways that follow it.
use std::time::Duration;

use portcullis_sqlx::sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::matrix::hash;
use crate::support::{Backend, Serving, TempFile, program, within};

const ROOT: &str = "postgres://postgres@127.0.0.1:5432";

/// A database of the test's own.
struct Database(String);

impl Database {
    async fn new() -> Self {
        let name = format!("portcullis_cli_roles_{}", std::process::id());
        let database = Self(name);
        database.drop_if_there().await;
        let mut root = PgConnection::connect(&format!("{ROOT}/postgres")).await.unwrap();
        root.execute(AssertSqlSafe(format!("CREATE DATABASE {}", database.0))).await.unwrap();
        database
    }
    async fn drop_if_there(&self) {
        let mut root = PgConnection::connect(&format!("{ROOT}/postgres")).await.unwrap();
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.0);
        root.execute(AssertSqlSafe(drop)).await.unwrap();
    }
}

async fn run(words: &str, config: &std::path::Path) -> (bool, String) {
    let output = program().args(words.split(' ')).arg("--config").arg(config).output();
    let output = within(output).await.unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), format!("{out}{err}"))
}

/// Two roles that are kept apart, a route for one of them, and a caller without any.
fn file(database: &Database, backend: &Backend) -> String {
    format!(
        r#"
[server]
listen = ["http://127.0.0.1:0"]
[stores.main]
sql = "{ROOT}/{}"
[auth.api_key]
keys = [{{ id = "rita", hash = "{}", tenant = "acme" }}]
[authorization]
store = "main"
decision_log = {{ to = "main" }}
[roles.clerk]
permissions = ["orders:write"]
[roles.auditor]
permissions = ["orders:audit"]
[separation.money]
roles = ["clerk", "auditor"]
[upstreams.b]
servers = ["http://{}"]
[[routes]]
match = {{ path = "/orders" }}
access = {{ permission = "orders:write" }}
to = "b"
"#,
        database.0,
        hash("rita"),
        backend.address
    )
}

#[tokio::test]
async fn a_role_that_is_given_or_taken_counts_at_every_gateway_within_seconds() {
    let (database, backend) = (Database::new().await, Backend::hello().await);
    let text = file(&database, &backend);
    let config = TempFile::new("roles.toml", &text);
    assert_eq!(run("migrate", &config.0).await, (true, "store `main` has its tables\n".to_owned()));
    let fronts = [Serving::start(&text).await, Serving::start(&text).await];
    let ask = "GET /orders HTTP/1.1\r\nhost: h\r\nx-api-key: rita\r\n\r\n";
    let comes_to = async |status: u16| {
        for front in &fronts {
            let turns = async {
                loop {
                    let answer = front.ask(ask).await.status;
                    if answer == status {
                        break;
                    }
                    // Before the store was asked for the first time.
                    assert!([200, 403, 503].contains(&answer), "{answer}");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            let turned = tokio::time::timeout(Duration::from_secs(5), turns).await;
            assert!(turned.is_ok(), "it is not {status} within 5 s");
        }
    };
    comes_to(403).await;
    let who = "--issuer api-key --subject rita --of-tenant acme";
    assert_eq!(run(&format!("role assign clerk {who}"), &config.0).await, (true, String::new()));
    comes_to(200).await;
    let (_, listed) = run("role list", &config.0).await;
    assert!(listed.contains("api-key|acme|rita  has clerk  everywhere"), "{listed}");
    let (_, said) =
        run(&format!("explain GET /orders {who}").replace("--of-tenant", "--tenant"), &config.0)
            .await;
    assert!(said.contains("by role clerk") && said.contains("goes to b"), "{said}");
    let (_, matrix) = run("matrix", &config.0).await;
    assert!(matrix.contains("auditor") && matrix.contains("clerk"), "{matrix}");
    for (words, part) in [
        (
            format!("role assign auditor {who}"),
            "`money` keeps roles apart, and api-key|acme|rita would have 2 of them",
        ),
        (format!("role assign clark {who}"), "no role is called `clark`"),
        ("role assign clerk".to_owned(), "say who: `--user EMAIL`, or `--issuer` and `--subject`"),
        (
            "role assign clerk --user nobody@acme.example".to_owned(),
            "there is no user `nobody@acme.example`",
        ),
        (
            "role assign clerk --issuer api-key --subject x --at orders".to_owned(),
            "`orders` is no path",
        ),
        (format!("role revoke auditor {who}"), "nobody has it so"),
        ("role add clerk".to_owned(), "there is a `clerk` already"),
        ("role delete clerk".to_owned(), "the role `clerk` is not written here"),
    ] {
        let (done, said) = run(&words, &config.0).await;
        assert!(!done && said.contains(part), "{words}: {said}");
    }
    // In another tenant alone, where the route knows no object: it does not count.
    assert!(run(&format!("role revoke clerk {who}"), &config.0).await.0);
    comes_to(403).await;
    assert!(run(&format!("role assign clerk {who} --in-tenant other"), &config.0).await.0);
    assert!(run(&format!("role assign clerk {who} --in-tenant acme"), &config.0).await.0);
    comes_to(200).await;
    // What the file says nothing of may stand in the store.
    let late = text.replace("permissions = [\"orders:write\"]", "permissions = []");
    let late = TempFile::new("late.toml", &late);
    let (sound, said) = run("check", &late.0).await;
    assert!(sound, "{said}");
    let typo = text.replace("permission = \"orders:write\"", "permission = \"oders:write\"");
    let typo = Serving::start(&typo).await;
    typo.logged(&["no role of the file or of its store grants the permission `oders:write`"]).await;
    drop(typo);
    // A role of the store's own.
    for words in [
        "role add temp --permit orders:write --inherit auditor",
        "role forbid temp orders:write",
        "role permit temp orders:read",
        "role delete temp",
    ] {
        let (done, said) = run(words, &config.0).await;
        assert!(done, "{words}: {said}");
    }
    // What only the store gives is somebody's, too.
    let other = text.replace("permission = \"orders:write\"", "permission = \"refunds:pay\"");
    let other = TempFile::new("other.toml", &other);
    let said = program().arg("diff").args([&config.0, &other.0]).output();
    let said = within(said).await.unwrap();
    let told = String::from_utf8_lossy(&said.stdout).into_owned();
    assert_eq!(said.status.code(), Some(2), "{told}");
    assert!(
        told.contains("widened: ") && told.contains("whomever the store gives `refunds:pay`"),
        "{told}"
    );
    decisions_go_on_after_a_reload(&fronts[0], &database, &text).await;
    drop(fronts);
    database.drop_if_there().await;
}

/// A file that is read again keeps its stores, and the log goes on there.
async fn decisions_go_on_after_a_reload(front: &Serving, database: &Database, text: &str) {
    std::fs::write(front.path(), format!("{text}\n# the same again\n")).unwrap();
    let pid = front.pid().to_string();
    within(tokio::process::Command::new("kill").args(["-HUP", &pid]).status()).await.unwrap();
    front.logged(&["the file was read again and applies"]).await;
    let ask = "GET /orders HTTP/1.1\r\nhost: after-the-reload\r\nx-api-key: rita\r\n\r\n";
    assert_eq!(front.ask(ask).await.status, 200);
    let mut database = PgConnection::connect(&format!("{ROOT}/{}", database.0)).await.unwrap();
    within(async {
        loop {
            let all: Vec<(String,)> =
                portcullis_sqlx::sqlx::query_as("SELECT document FROM portcullis_decisions")
                    .fetch_all(&mut database)
                    .await
                    .unwrap();
            if all.iter().any(|(document,)| document.contains("after-the-reload")) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}
