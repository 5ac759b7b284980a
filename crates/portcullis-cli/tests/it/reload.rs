//! A gateway that goes over to another file while it runs, and one that does not.
use std::time::Duration;

use crate::support::{
    ADMIN_HASH, Answer, Backend, Client, Reply, Serving, TempFile, USER_HASH, ok, program, within,
};

/// A gateway whose administration is a Unix socket of its own.
pub(crate) struct Gateway {
    pub(crate) serving: Serving,
    socket: String,
}

fn head(socket: &str) -> String {
    format!(
        "[server]\nlisten = [\"http://127.0.0.1:0\"]\nworkers = 2\nadmin = \"unix:{socket}\"\n[telemetry]\naccess_log = \"off\"\n"
    )
}

fn route(path: &str, access: &str, more: &str) -> String {
    format!("[[routes]]\nmatch = {{ path = \"{path}\" }}\naccess = {access}\n{more}\n")
}

fn upstream(name: &str, backend: &Backend, more: &str) -> String {
    format!("[upstreams.{name}]\nservers = [\"http://{}\"]\n{more}\n", backend.address)
}

const KEYS: &str =
    "[roles.user]\npermissions = [\"api:use\"]\n[roles.admin]\npermissions = [\"admin:*\"]\n";

fn keys(ids: &[(&str, &str, &str)]) -> String {
    let keys: Vec<_> = ids
        .iter()
        .map(|(id, hash, role)| {
            format!("{{ id = \"{id}\", hash = \"{hash}\", roles = [\"{role}\"] }}")
        })
        .collect();
    format!("[auth.api_key]\nkeys = [{}]\n{KEYS}", keys.join(", "))
}

impl Gateway {
    pub(crate) async fn start(text: &str) -> Self {
        let file = TempFile::new("admin.sock", "");
        let socket = file.0.display().to_string();
        drop(file);
        let serving = Serving::start(&format!("{}{text}", head(&socket))).await;
        Self { serving, socket }
    }
    pub(crate) fn write(&self, text: &str) {
        std::fs::write(self.serving.path(), format!("{}{text}", head(&self.socket))).unwrap();
    }
    /// What the administration answers.
    pub(crate) async fn command(&self, name: &str) -> (u16, String) {
        self.tell(name, "").await
    }
    /// The same, of a command that is told this.
    pub(crate) async fn tell(&self, name: &str, body: &str) -> (u16, String) {
        let stream = tokio::net::UnixStream::connect(&self.socket).await.unwrap();
        let (mut read, mut write) = stream.into_split();
        let request = format!(
            "POST /{name} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        tokio::io::AsyncWriteExt::write_all(&mut write, request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        within(tokio::io::AsyncReadExt::read_to_end(&mut read, &mut answer)).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), body.to_owned())
    }
    async fn get(&self, path: &str) -> Answer {
        self.serving.ask(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")).await
    }
}

async fn get(client: &mut Client, path: &str, key: &str) -> Answer {
    let key = if key.is_empty() { String::new() } else { format!("x-api-key: {key}\r\n") };
    client.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n{key}\r\n")).await;
    client.answer().await.expect("an answer")
}

#[tokio::test]
async fn what_has_not_changed_goes_on_and_what_has_is_there_for_the_next_request() {
    let (kept, other) = (Backend::hello().await, Backend::answering(|_| ok("other")).await);
    let both = |more: &str, timeout: &str| {
        format!(
            "{}{}{}{more}",
            upstream("kept", &kept, ""),
            upstream("other", &other, timeout),
            route("/kept/{*rest}", "\"public\"", "to = \"kept\""),
        )
    };
    let gateway = Gateway::start(&both("", "")).await;
    let mut client = gateway.serving.connect().await;
    assert_eq!(get(&mut client, "/kept/1", "").await.text(), "hello");
    assert_eq!(get(&mut client, "/new/1", "").await.status, 404);
    gateway.write(&both(&route("/new/{*rest}", "\"public\"", "to = \"other\""), ""));
    // What nobody could reach before is not there by accident.
    let (status, said) = gateway.command("reload").await;
    assert_eq!(status, 409, "{said}");
    assert!(said.contains("it widens access") && said.contains("/new/{*rest}"), "{said}");
    assert!(said.contains("for everybody; before, for nobody"), "{said}");
    assert_eq!(get(&mut client, "/new/1", "").await.status, 404);
    let (status, said) = gateway.command("reload-and-widen").await;
    assert_eq!(status, 200, "{said}");
    assert!(
        said.contains("widened: ") && said.contains("changed: routes[/new/{*rest}]: is new"),
        "{said}"
    );
    assert_eq!(get(&mut client, "/new/1", "").await.text(), "other");
    // The same client, and the same connection behind it.
    for round in 0..20 {
        gateway.write(&both(
            &route("/new/{*rest}", "\"public\"", "to = \"other\""),
            &format!("timeout = \"{}s\"", round + 1),
        ));
        let (status, said) = gateway.command("reload").await;
        assert_eq!(status, 200, "{said}");
        assert!(said.contains("upstreams.other.timeout"), "{said}");
        assert_eq!(get(&mut client, "/kept/1", "").await.text(), "hello");
    }
    assert!(kept.connections() <= 2, "one for each worker at most: {}", kept.connections());
    let (status, said) = gateway.command("reload").await;
    assert_eq!((status, said.as_str()), (200, "nothing has changed\n"));
}

#[tokio::test]
async fn a_method_that_a_reload_brings_is_let_through_and_one_that_it_takes_away_is_not() {
    let backend = Backend::answering(|_| ok("found")).await;
    let with = |methods: &str| {
        format!(
            "{}[[routes]]\nmatch = {{ path = \"/{{*rest}}\", methods = [{methods}] }}\naccess = \"public\"\nto = \"b\"\n",
            upstream("b", &backend, "")
        )
    };
    let gateway = Gateway::start(&with("\"GET\"")).await;
    let find = || gateway.serving.ask("PROPFIND /a HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(find().await.status, 501);
    gateway.write(&with("\"GET\", \"PROPFIND\""));
    let (status, said) = gateway.command("reload").await;
    assert_eq!(status, 409, "{said}");
    assert!(said.contains("methods: routes that name none take PROPFIND"), "{said}");
    assert_eq!(find().await.status, 501);
    let (status, said) = gateway.command("reload-and-widen").await;
    assert_eq!(status, 200, "{said}");
    let answer = find().await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "found"));
    gateway.write(&with("\"GET\""));
    let (status, said) = gateway.command("reload-and-widen").await;
    assert_eq!(status, 200, "{said}");
    assert!(
        said.contains("narrowed: methods: routes that name none no longer take PROPFIND"),
        "{said}"
    );
    assert_eq!(find().await.status, 501);
    // A cache in front of a route for all methods is told of all, but not by a reload, which would let them through to the other routes too.
    let any = with("\"GET\"").replace(", methods = [\"GET\"]", "") + "cache = true\n";
    gateway.write(&any);
    assert_eq!(gateway.command("reload-and-widen").await.0, 200);
    assert_eq!(find().await.status, 501);
    let anew = Gateway::start(&any).await;
    let found = anew.serving.ask("PROPFIND /a HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(found.status, 200);
}

#[tokio::test]
async fn a_hangup_reloads_and_whatever_is_wrong_changes_nothing() {
    let backend = Backend::hello().await;
    let to = "to = \"b\"";
    let with = |more: &str| {
        format!("{}{}{more}", upstream("b", &backend, ""), route("/a", "\"public\"", to))
    };
    let gateway = Gateway::start(&with(&route("/gone", "\"public\"", to))).await;
    assert_eq!(gateway.get("/gone").await.status, 200);
    let pid = gateway.serving.pid();
    // A mistake, something that cannot change, a file that is not there, an upstream that nobody knows.
    for (text, told) in [
        (with("[[routes]]\nmatch = {}\n"), "serve.toml:"),
        (with("nonsense ="), "string values must be quoted"),
        (with("").replace("/a", "/b"), "it widens access"),
        (
            format!(
                "{}[upstreams.far]\nsrv = \"_http._tcp.nowhere.invalid\"\n{}",
                with(&route("/gone", "\"public\"", to)),
                route("/a/far", "\"public\"", "to = \"far\"")
            ),
            "",
        ),
    ] {
        gateway.write(&text);
        if told.is_empty() {
            let (status, said) = gateway.command("reload-and-widen").await;
            assert_eq!(status, 409, "{said}");
            assert!(said.contains("upstream `far`: no server of it was known within 5s"), "{said}");
        } else {
            hang_up(pid);
            gateway.serving.logged(&["changes nothing", told]).await;
        }
        assert_eq!(gateway.get("/gone").await.status, 200, "{told}");
    }
    std::fs::write(
        gateway.serving.path(),
        format!("{}{}", head(&gateway.socket).replace("workers = 2", "workers = 1"), with("")),
    )
    .unwrap();
    let (status, said) = gateway.command("reload").await;
    assert_eq!(status, 409);
    assert!(said.contains("server.workers: it is read only when the gateway starts"), "{said}");
    assert_eq!(gateway.get("/gone").await.status, 200);
    // To take something away needs no second word.
    gateway.write(&with(""));
    hang_up(pid);
    gateway.serving.logged(&["the file was read again and applies"]).await;
    assert_eq!(gateway.get("/gone").await.status, 404);
    assert_eq!(gateway.get("/a").await.status, 200);
    // Where the file says that it may, access widens at a signal too.
    let allowed = head(&gateway.socket).replace("workers", "widened_access = \"allow\"\nworkers");
    let text = format!("{allowed}{}", with(&route("/back", "\"public\"", to)));
    std::fs::write(gateway.serving.path(), text).unwrap();
    hang_up(pid);
    within(async {
        while gateway.get("/back").await.status != 200 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

fn hang_up(pid: u32) {
    let done = std::process::Command::new("kill").args(["-HUP", &pid.to_string()]).status();
    assert!(done.unwrap().success());
}

#[tokio::test]
async fn a_key_that_is_taken_away_ends_what_is_under_way_for_it_and_no_other() {
    let backend = Backend::answering(|request| {
        if request.contains("/stream") {
            let begun = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
            return Reply::Bytes(begun.as_bytes().to_vec());
        }
        ok("hello")
    })
    .await;
    let with = |ids: &[(&str, &str, &str)]| {
        let routes = format!(
            "{}{}",
            route("/api/{*rest}", "\"authenticated\"", "to = \"b\""),
            route("/admin", "{ permission = \"admin:all\" }", "to = \"b\"")
        );
        format!("{}{}{routes}", upstream("b", &backend, ""), keys(ids))
    };
    let (uma, ada) = (("uma", USER_HASH, "user"), ("ada", ADMIN_HASH, "admin"));
    let gateway = Gateway::start(&with(&[uma, ada])).await;
    let mut streams = Vec::new();
    for key in ["user-key", "admin-key"] {
        let mut client = gateway.serving.connect().await;
        let ask = format!("GET /api/stream HTTP/1.1\r\nhost: a\r\nx-api-key: {key}\r\n\r\n");
        client.send(ask).await;
        within(async {
            while !String::from_utf8_lossy(&client.read).contains("hello") {
                let mut bytes = [0; 1024];
                let count = tokio::io::AsyncReadExt::read(&mut client.stream, &mut bytes).await;
                client.read.extend_from_slice(&bytes[..count.unwrap()]);
            }
        })
        .await;
        streams.push(client);
    }
    gateway.write(&with(&[ada]));
    let (status, said) = gateway.command("reload").await;
    assert_eq!((status, said.contains("narrowed: API key `uma`: is gone")), (200, true), "{said}");
    assert!(!said.contains(USER_HASH) && !said.contains(ADMIN_HASH), "{said}");
    let mut uma = streams.remove(0);
    assert!(uma.answer().await.is_none(), "it ends, and not as if it were whole");
    let mut bytes = [0; 16];
    let going = tokio::io::AsyncReadExt::read(&mut streams[0].stream, &mut bytes);
    assert!(
        tokio::time::timeout(Duration::from_millis(200), going).await.is_err(),
        "the other goes on"
    );
    let mut client = gateway.serving.connect().await;
    assert_eq!(get(&mut client, "/api/1", "user-key").await.status, 401);
    assert_eq!(get(&mut client, "/api/1", "admin-key").await.status, 200);
}

#[tokio::test]
async fn a_limit_that_stays_keeps_its_counts() {
    let backend = Backend::hello().await;
    let with = |other: &str| {
        format!(
            "{}[limits.few]\nrate = \"2/h\"\nburst = 2\n{other}{}",
            upstream("b", &backend, ""),
            route("/{*rest}", "\"public\"", "to = \"b\"\nlimits = [\"few\"]"),
        )
    };
    let gateway = Gateway::start(&with("")).await;
    assert_eq!(gateway.get("/").await.status, 200);
    // The first of two, so that their places change.
    let more = with("")
        .replace("[limits.few]", "[limits.aaa]\nrate = \"100/s\"\n[limits.few]")
        .replace("[\"few\"]", "[\"aaa\", \"few\"]");
    gateway.write(&more);
    let (status, said) = gateway.command("reload").await;
    assert_eq!((status, said.contains("limits.aaa: is new")), (200, true), "{said}");
    assert_eq!(gateway.get("/").await.status, 200);
    assert_eq!(gateway.get("/").await.status, 429, "two of both lives together");
}

#[tokio::test]
async fn the_difference_of_two_files_says_first_what_widens() {
    let base = |routes: &str, roles: &str| {
        format!(
            "[upstreams.b]\nservers = [\"http://127.0.0.1:1\"]\n{}{roles}{routes}",
            keys(&[("uma", USER_HASH, "user"), ("ada", ADMIN_HASH, "admin")])
        )
    };
    let to = "to = \"b\"";
    let admin = "{ permission = \"admin:all\" }";
    let old = base(
        &[
            route("/admin/{*rest}", admin, to),
            route("/{*rest}", "\"authenticated\"", to),
            route("/office", "\"public\"", "only_from = [\"10.0.0.0/8\"]\nto = \"b\""),
        ]
        .concat(),
        "",
    );
    for (new, code, wanted) in [
        (old.clone(), 0, vec!["nothing has changed"]),
        // A route that is gone lets its requests fall to a wider one.
        (
            old.replace(&route("/admin/{*rest}", admin, to), ""),
            2,
            vec![
                "widened: DELETE|GET|HEAD|OPTIONS|PATCH|POST|PUT /admin/{*rest}: for everybody who says who they are; before, for role admin",
            ],
        ),
        // One that stands in front of another.
        (
            format!("{old}{}", route("/admin/help", "\"public\"", to)),
            2,
            vec!["/admin/help: for everybody; before, for role admin"],
        ),
        (old.replace("only_from = [\"10.0.0.0/8\"]\n", ""), 2, vec!["/office: from more networks"]),
        (
            old.replace("permissions = [\"api:use\"]", "permissions = [\"api:use\", \"admin:*\"]"),
            2,
            vec!["for role admin, user; before, for role admin", "changed: roles.user.permissions"],
        ),
        (
            old.replace("roles = [\"user\"]", "roles = [\"user\", \"admin\"]"),
            2,
            vec!["widened: API key `uma`: gains role admin"],
        ),
        (
            old.replace("\"authenticated\"", admin),
            0,
            vec![
                "narrowed: ",
                "/{*rest}: for role admin; before, for everybody who says who they are",
            ],
        ),
        (
            format!("[server]\ntrusted_proxies = [\"10.0.0.1\"]\n{old}"),
            2,
            vec!["widened: server.trusted_proxies: others are believed"],
        ),
        (format!("[server]\ndeny = [\"10.0.0.1\"]\n{old}"), 0, vec!["narrowed: server.deny"]),
        (
            old.replace(ADMIN_HASH, &"0".repeat(64)),
            2,
            vec!["widened: API key `ada`: a new secret", "hash: (not shown) -> (not shown)"],
        ),
        // Whoever had the one secret has the other's rights.
        (
            old.replace(ADMIN_HASH, "@").replace(USER_HASH, ADMIN_HASH).replace('@', USER_HASH),
            2,
            vec!["stands for somebody else", "gains role admin"],
        ),
        // A rest that becomes one segment leaves what is deeper to a wider route.
        (
            old.replace("/admin/{*rest}", "/admin/{one}"),
            2,
            vec!["/admin/{*rest}: is gone, for role admin; a wider route may take its requests"],
        ),
        (
            format!(
                "{old}{}",
                route("/a", "\"public\"", "request_headers = { x-k = \"s3cr3t\" }\nto = \"b\"")
            ),
            2,
            vec!["/a: for everybody"],
        ),
    ] {
        differs(&old, &new, code, &wanted).await;
    }
    let missing = program().args(["diff", "/nowhere/a.toml", "/nowhere/b.toml"]).output().await;
    assert_eq!(missing.unwrap().status.code(), Some(1));
}

/// The difference of two files says this, and ends with this code.
pub(crate) async fn differs(old: &str, new: &str, code: i32, wanted: &[&str]) {
    let (old, new) = (TempFile::new("old.toml", old), TempFile::new("new.toml", new));
    let run = |ack: &'static [&'static str]| {
        let mut command = program();
        command.arg("diff").args([&old.0, &new.0]).args(ack);
        async move { command.output().await.unwrap() }
    };
    let output = run(&[]).await;
    let said = String::from_utf8(output.stdout).unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{said}{error}");
    for wanted in wanted {
        assert!(said.contains(wanted), "{wanted}\n{said}");
    }
    assert!(!said.contains(USER_HASH) && !said.contains("s3cr3t"), "{said}");
    let widened = said.lines().take_while(|line| line.starts_with("widened: ")).count();
    assert_eq!(widened > 0, code == 2, "{said}");
    assert_eq!(run(&["--ack"]).await.status.code(), Some(0));
}

#[tokio::test]
async fn fewer_scopes_and_more_issuers_are_more_access() {
    let file = |access: &str| {
        let upstream = "[upstreams.b]\nservers = [\"http://127.0.0.1:1\"]\n";
        let issuer = |name: &str| {
            let ask =
                "url = \"http://127.0.0.1:1/\", client_id = \"a\", client_secret = \"s3cr3t\"";
            let ask = format!("introspect = {{ {ask}, prefix = \"{name}_\" }}");
            format!(
                "[auth.jwt.{name}]\nissuer = \"https://{name}.example\"\naudience = \"a\"\n{ask}\n"
            )
        };
        let route = route("/a", access, "to = \"b\"");
        format!("{upstream}{}{}{route}", issuer("one"), issuer("two"))
    };
    let all = [
        "{ scopes = [\"a\", \"b\"], issuers = [\"one\"] }",
        "{ scopes = [\"a\"], issuers = [\"one\"] }",
        "{ scopes = [\"a\"], issuers = [\"two\", \"one\"] }",
        "{ scopes = [\"a\"] }",
        "\"authenticated\"",
    ];
    for pair in all.windows(2) {
        let [narrow, wide] = [pair[0], pair[1]].map(file);
        differs(
            &narrow,
            &wide,
            2,
            &["/a: with fewer scopes, by more issuers, or with a weaker step-up"],
        )
        .await;
        differs(
            &wide,
            &narrow,
            0,
            &["narrowed: ", "/a: with more scopes, by fewer issuers, or with a stronger step-up"],
        )
        .await;
    }
    let (one, two) = (file(all[1]), file(&all[1].replace("one", "two")));
    differs(
        &one,
        &two,
        2,
        &["with fewer scopes, by more issuers, or with a weaker step-up", "narrowed: "],
    )
    .await;
    let secret = file(all[3]).replace("s3cr3t", "s3cr3t2");
    differs(&file(all[3]), &secret, 2, &["client_secret: (not shown) -> (not shown)"]).await;
}

/// What has come or gone is looked into.
#[tokio::test]
async fn what_tells_servers_who_calls_is_told_of_also_where_it_is_all_new() {
    let base = |auth: &str| {
        let upstream = "[upstreams.b]\nservers = [\"http://127.0.0.1:1\"]\nidentity = { subject = \"x-user\" }\n";
        format!("{upstream}{auth}{}", route("/a", "\"optional\"", "to = \"b\""))
    };
    let ca = TempFile::new("ca.pem", &rcgen_ca());
    let auth = format!(
        "[auth.jwt.m]\nissuer = \"https://id.example\"\naudience = [\"a\"]\nintrospect = {{ url = \"https://id.example/\", client_id = \"a\", client_secret = \"s3cr3t\", ca = \"{}\" }}\n",
        ca.0.display()
    );
    differs(&base(""), &base(&auth), 2, &["widened: auth: is new: "]).await;
    // Another authority answers in the issuer's place.
    let gateway = Gateway::start(&base(&auth)).await;
    std::fs::write(&ca.0, rcgen_ca()).unwrap();
    let (status, said) = gateway.command("reload").await;
    assert_eq!(status, 409, "{said}");
    assert!(said.contains("auth.jwt.m: a file of authorities has changed"), "{said}");
}

fn rcgen_ca() -> String {
    rcgen::generate_simple_self_signed(["id.example".to_owned()]).unwrap().cert.pem()
}
