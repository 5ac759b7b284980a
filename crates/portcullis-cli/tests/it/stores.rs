//! Stores of the file: what an operator does with them, and what a running gateway sees of it.
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use portcullis_authn::{AuthenticateLayer, Session, Sessions};
use portcullis_core::Identity;
use portcullis_sqlx::SqliteStores;
use portcullis_sqlx::sqlx::SqlitePool;
use tokio::io::AsyncWriteExt;
use tower::{Layer, ServiceExt};

use crate::support::{Answer, Backend, Serving, TempFile, program, within};

/// A database in a file, gone with the test.
struct Database(PathBuf);

impl Database {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("stores-{}-{}.db", std::process::id(), NUMBER.fetch_add(1, Relaxed));
        Self(std::env::temp_dir().join(name))
    }
    fn url(&self) -> String {
        format!("sqlite://{}", self.0.display())
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        for end in ["", "-wal", "-shm", "-journal"] {
            drop(std::fs::remove_file(format!("{}{end}", self.0.display())));
        }
    }
}

fn file(database: &Database, backend: &Backend) -> String {
    format!(
        r#"[server]
listen = ["http://127.0.0.1:0"]
[stores.main]
sql = "{}"
[auth.session]
store = "main"
insecure_plain_http = true
log_in_page = "/account/login"
[auth.api_key]
store = "main"
[roles.clerk]
permissions = ["orders:write"]
[upstreams.orders]
servers = ["http://{}"]
[[routes]]
match = {{ path = "/account/{{*rest}}" }}
access = "public"
to = "orders"
[[routes]]
match = {{ path = "/orders/{{*rest}}" }}
access = {{ permission = "orders:write" }}
to = "orders"
"#,
        database.url(),
        backend.address
    )
}

/// The program with these words, and this behind a pipe.
async fn run(config: &TempFile, words: &str, input: &str) -> Output {
    let mut command = program();
    command.args(words.split(' ')).arg("--config").arg(&config.0);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    // Whoever has no question does not listen.
    drop(pipe.write_all(input.as_bytes()).await);
    drop(pipe);
    within(child.wait_with_output()).await.unwrap()
}

async fn done(config: &TempFile, words: &str, input: &str) -> String {
    let output = run(config, words, input).await;
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

async fn refused(config: &TempFile, words: &str, input: &str) -> String {
    let output = run(config, words, input).await;
    assert_eq!(output.status.code(), Some(1), "{words}");
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test]
async fn an_operator_makes_tables_users_and_keys() {
    let (database, backend) = (Database::new(), Backend::hello().await);
    let config = TempFile::new("stores.toml", &file(&database, &backend));
    for words in ["user list", "key list", "serve"] {
        let said = refused(&config, words, "").await;
        assert!(
            said.contains("store `main`: ") && said.contains("hint: `portcullis migrate`"),
            "{said}"
        );
    }
    let sql = done(&config, "migrate --print", "").await;
    assert!(sql.contains("CREATE TABLE IF NOT EXISTS portcullis_users"), "{sql}");
    assert!(!database.0.exists(), "it is printed, and nothing is made");
    for _ in 0..2 {
        assert_eq!(done(&config, "migrate", "").await, "store `main` has its tables\n");
    }
    let ada = "ada@acme.example";
    let words = format!("user add {ada} --role clerk --plan pro");
    let made = done(&config, &words, "a good long password\n").await;
    let id = made.strip_prefix("ada@acme.example is ").unwrap().trim_end().to_owned();
    let list = done(&config, "user list", "").await;
    assert_eq!(list, format!("{ada}  {id}  roles clerk  plan pro\n"));
    done(&config, &format!("user rights {ada} --role clerk --role auditor --tenant acme"), "")
        .await;
    done(&config, &format!("user disable {ada}"), "").await;
    let list = done(&config, "user list", "").await;
    assert_eq!(list, format!("{ada}  {id}  roles clerk,auditor  tenant acme  disabled\n"));
    done(&config, &format!("user enable {ada}"), "").await;
    assert!(!done(&config, "user list", "").await.contains("disabled"));
    let key = done(&config, "key add ci --role clerk --days 30 --prefix shop", "").await;
    assert!(key.starts_with("shop_"), "{key}");
    assert!(done(&config, "key list", "").await.starts_with("ci  "));
    assert_ne!(done(&config, "key rotate ci --prefix shop", "").await, key);
    done(&config, "key end ci", "").await;
    assert_eq!(done(&config, "key list", "").await, "");

    for (words, input, wanted) in [
        ("user add ADA@acme.example", "a good long password", "has an account already"),
        ("user add bob@acme.example", "short", "at least 8 characters"),
        ("user add bob", "a good long password", "`bob` is no address"),
        ("user password bob@acme.example", "a good long password", "there is no user"),
        ("user list --store other", "", "there is no store `other`: the file has `main`"),
        ("user rights ada@acme.example --role a\u{a0}b", "", "is no role"),
        ("key end ci", "", "there is no key `ci`"),
        ("key rotate ci", "", "there is no key `ci`"),
    ] {
        let said = refused(&config, words, input).await;
        assert!(said.contains(wanted), "{words}: {said}");
    }
    let away =
        file(&database, &backend).replace(&database.url(), "postgres://nobody@127.0.0.1:1/x");
    let away = TempFile::new("away.toml", &away);
    let said = refused(&away, "user list", "").await;
    assert!(said.contains("Connection refused"), "{said}");
}

/// The cookie of somebody who has logged in to an application on the same store.
async fn log_in(stores: &SqliteStores, who: Identity) -> String {
    let sessions = Sessions::new(stores.sessions().await.unwrap()).insecure_plain_http();
    let handler = tower::service_fn(move |request: http::Request<portcullis_core::Body>| {
        let who = who.clone();
        async move {
            let session = request.extensions().get::<Session>().unwrap();
            session.log_in(&who).await.unwrap();
            Ok::<_, std::convert::Infallible>(http::Response::new(portcullis_core::Body::empty()))
        }
    });
    let service = AuthenticateLayer::new().sessions(sessions).layer(handler);
    let request = http::Request::new(portcullis_core::Body::empty());
    let answer = service.oneshot(request).await.unwrap();
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    cookie.split(';').next().unwrap().to_owned()
}

async fn ask(gateway: &Serving, headers: &str) -> Answer {
    gateway
        .ask(format!("POST /orders/1 HTTP/1.1\r\nhost: a\r\n{headers}content-length: 0\r\n\r\n"))
        .await
}

#[tokio::test]
async fn a_gateway_knows_sessions_and_keys_of_its_store_as_they_are_now() {
    let (database, backend) = (Database::new(), Backend::hello().await);
    let text = file(&database, &backend);
    let config = TempFile::new("stores.toml", &text);
    done(&config, "migrate", "").await;
    let ada = "ada@acme.example";
    done(&config, &format!("user add {ada} --role clerk"), "a good long password\n").await;
    let id = done(&config, "user list", "").await.split("  ").nth(1).unwrap().to_owned();
    let gateway = Serving::start(&text).await;
    // It has opened its store when the first answer is no 503.
    while ask(&gateway, "cookie: insecure-session=\r\n").await.status == 503 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let key = done(&config, "key add ci --role clerk", "").await;
    let with_key = |key: &str| format!("x-api-key: {}\r\n", key.trim_end());
    assert_eq!(ask(&gateway, &with_key(&key)).await.status, 200);
    let seen = backend.seen().pop().unwrap();
    assert!(!seen.contains(key.trim_end()), "{seen}");
    let next = done(&config, "key rotate ci", "").await;
    for key in [&key, &next] {
        assert_eq!(ask(&gateway, &with_key(key)).await.status, 200);
    }
    done(&config, "key end ci", "").await;
    for key in [&key, &next] {
        assert_eq!(ask(&gateway, &with_key(key)).await.status, 401);
    }

    let pool = SqlitePool::connect(&database.url()).await.unwrap();
    let stores = SqliteStores::from_pool(pool);
    let who = || Identity::builder("account", id.as_str()).role("clerk").build();
    let cookie = log_in(&stores, who()).await;
    let with_cookie = format!("cookie: a=b; {cookie}\r\n");
    backend.seen();
    assert_eq!(ask(&gateway, &with_cookie).await.status, 200);
    let seen = backend.seen().pop().unwrap();
    assert!(seen.contains("cookie: a=b\r\n") && !seen.contains("insecure-session"), "{seen}");
    let foreign = format!("{with_cookie}origin: https://evil.example\r\n");
    assert_eq!(ask(&gateway, &foreign).await.status, 403);
    assert!(backend.seen().is_empty());
    let page =
        gateway.ask("GET /orders/1?a=b HTTP/1.1\r\nhost: a\r\naccept: text/html\r\n\r\n").await;
    assert_eq!(page.status, 303);
    assert_eq!(page.header("location"), Some("/account/login?next=/orders/1%3Fa%3Db"));
    for words in ["log-out", "disable", "rights"] {
        let cookie = log_in(&stores, who()).await;
        let with_cookie = format!("cookie: {cookie}\r\n");
        assert_eq!(ask(&gateway, &with_cookie).await.status, 200);
        let said = done(&config, &format!("user {words} {ada}"), "").await;
        assert!(said.ends_with("sessions have ended\n"), "{said}");
        assert_eq!(ask(&gateway, &with_cookie).await.status, 401, "{words}");
    }
}

#[tokio::test]
async fn a_comparison_tells_no_password_and_says_who_else_is_known() {
    let backend = Backend::hello().await;
    let database = Database::new();
    let with = |url: &str| file(&database, &backend).replace(&database.url(), url);
    let old = TempFile::new("old.toml", &with("postgres://shop:first-secret@a/x"));
    let new = TempFile::new("new.toml", &with("postgres://shop:other-secret@b/x"));
    let diff = async |old: &TempFile, new: &TempFile| {
        let output = program().arg("diff").arg(&old.0).arg(&new.0).output().await.unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, said) = diff(&old, &new).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("widened: ") && said.contains("stores.main"), "{said}");
    assert!(!said.contains("secret"), "{said}");
    let text = with("postgres://shop:first-secret@a/x");
    let without = text.replace(
        "[auth.session]\nstore = \"main\"\ninsecure_plain_http = true\nlog_in_page = \"/account/login\"\n",
        "",
    );
    assert_ne!(text, without);
    let without = TempFile::new("without.toml", &without);
    let (code, said) = diff(&without, &old).await;
    assert_eq!(code, Some(2), "{said}");
}
