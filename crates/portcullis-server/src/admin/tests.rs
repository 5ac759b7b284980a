use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use tower::ServiceExt;

use super::*;
use crate::Server;

const PEER: &str = "192.0.2.1:4711";

fn admin() -> (Admin, Server, Arc<AtomicU32>) {
    let server = Server::bind("127.0.0.1:0");
    let runs = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&runs);
    let admin = Admin::new(server.handle(), server.stats())
        .command("purge", move || {
            let run = counted.fetch_add(1, SeqCst);
            async move { Ok(format!("purged {run}\n")) }
        })
        .command("fail", || async { Err("the store is gone".into()) })
        .command_with_body("echo", |body| {
            let said = std::str::from_utf8(&body).map_err(|_| "it is no text".to_owned())?;
            let said = format!("{} bytes: {said:.9}\n", said.len());
            Ok(async move { if said.starts_with('0') { Err("nothing".into()) } else { Ok(said) } })
        });
    (admin, server, runs)
}

async fn ask(
    admin: &Admin,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    peer: Option<&str>,
) -> (u16, http::HeaderMap, String) {
    tell(admin, method, path, headers, peer, Body::empty()).await
}

async fn tell(
    admin: &Admin,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    peer: Option<&str>,
    body: Body,
) -> (u16, http::HeaderMap, String) {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let peer = peer.map(|peer| peer.parse().unwrap());
    let request = request.extension(Connection::new(peer)).body(body).unwrap();
    let Ok(response) = admin.clone().oneshot(request).await;
    let (head, body) = response.into_parts();
    let (bytes, _) = portcullis_testkit::collect(body).await.unwrap();
    (head.status.as_u16(), head.headers, String::from_utf8(bytes.to_vec()).unwrap())
}

#[tokio::test]
async fn each_command_is_obeyed_where_the_file_guards_it() {
    let (admin, server, runs) = admin();
    for (method, path, want, said) in [
        ("GET", "/status", 200, "{\"state\":\"running\",\"connections\":0,"),
        ("HEAD", "/status", 200, ""),
        ("POST", "/status", 405, "method-not-allowed"),
        ("GET", "/purge", 405, "method-not-allowed"),
        ("POST", "/purge", 200, "purged 0"),
        ("POST", "/fail", 409, "the store is gone"),
        ("GET", "/", 404, "route-not-found"),
        ("GET", "/metrics", 404, "route-not-found"),
        ("POST", "/reload-certificates", 404, "route-not-found"),
        ("POST", "/drain", 200, "done"),
        ("GET", "/status", 200, "\"lingering\""),
        ("POST", "/close", 200, "done"),
    ] {
        let (status, headers, body) = ask(&admin, method, path, &[], None).await;
        assert_eq!(status, want, "{method} {path}: {body}");
        assert!(body.contains(said), "{method} {path}: {body}");
        assert_eq!(headers["cache-control"], "no-store", "{method} {path}");
        assert_eq!(headers["x-content-type-options"], "nosniff", "{method} {path}");
    }
    while !ask(&admin, "GET", "/status", &[], None).await.2.contains("\"killing\"") {
        // The test's runtime has one thread, which the command needs too.
        tokio::task::yield_now().await;
    }
    assert_eq!(runs.load(SeqCst), 1);
    assert!(server.handle().is_draining());
}

#[tokio::test]
async fn a_command_with_a_body_is_told_what_is_in_it_and_tells_what_is_wrong_with_it() {
    let (admin, _server, _) = admin();
    for (body, want, said) in [
        (b"hello".to_vec(), 200, "5 bytes: hello\n"),
        (vec![b'a'; 64 << 10], 200, "65536 bytes: aaaaaaaaa\n"),
        (vec![b'a'; (64 << 10) + 1], 413, "at most 65536 bytes"),
        (vec![0xff], 400, "it is no text"),
        (Vec::new(), 409, "nothing"),
    ] {
        let len = body.len();
        let (status, headers, answer) =
            tell(&admin, "POST", "/echo", &[], None, Body::from(Bytes::from(body))).await;
        assert_eq!(status, want, "{len} bytes: {answer}");
        assert!(answer.contains(said), "{len} bytes: {answer}");
        assert_eq!(headers["cache-control"], "no-store");
    }
    assert_eq!(ask(&admin, "GET", "/echo", &[], None).await.0, 405);
}

#[tokio::test]
async fn strangers_are_refused_and_nothing_is_done() {
    let (plain, _server, plain_runs) = admin();
    let (guarded, _other, runs) = admin();
    let guarded = guarded.token(Secret::new("s3cret".to_owned()));
    // On `Server::side`, say, where nobody has asked for a host.
    let any_host = guarded.clone();
    let guarded = guarded.host("127.0.0.1:9901");
    let host = ("host", "127.0.0.1:9901");
    let token = ("authorization", "Bearer s3cret");
    for (admin, headers, peer, want, shows) in [
        (&plain, &[][..], Some(PEER), 403, "no token on TCP"),
        (&plain, &[("origin", "null")], None, 403, "a browser"),
        (&any_host, &[host, token], Some(PEER), 403, "any host on TCP"),
        (&guarded, &[host], Some(PEER), 401, "no token sent"),
        (&guarded, &[host, ("authorization", "Bearer s3cre")], Some(PEER), 401, "a wrong token"),
        (&guarded, &[host, ("authorization", "Basic s3cret")], Some(PEER), 401, "another scheme"),
        (&guarded, &[("host", "evil.example"), token], Some(PEER), 421, "another host"),
        (&guarded, &[token], Some(PEER), 421, "no host"),
        (&guarded, &[host, token, ("origin", "http://127.0.0.1:9901")], Some(PEER), 403, "a page"),
    ] {
        let (status, headers, body) = ask(admin, "POST", "/purge", headers, peer).await;
        assert_eq!(status, want, "{shows}: {body}");
        assert_eq!(headers.contains_key("www-authenticate"), want == 401, "{shows}");
    }
    assert_eq!((runs.load(SeqCst), plain_runs.load(SeqCst)), (0, 0));
    let (status, _, body) = ask(&guarded, "POST", "/purge", &[host, token], Some(PEER)).await;
    assert_eq!((status, body.as_str()), (200, "purged 0\n"));
}

#[test]
fn administration_by_tcp_does_not_open_unguarded() {
    let open = |admin: fn(Admin) -> Admin| {
        let (bare, server, _) = admin_parts();
        server
            .admin("127.0.0.1:0", admin(bare))
            .open()
            .map(drop)
            .map_err(|errors| errors.to_string())
    };
    let token = |admin: Admin| admin.token(Secret::new("s3cret".to_owned()));
    assert!(open(|admin| admin).unwrap_err().contains("needs a `token`"));
    assert!(open(token).unwrap_err().contains("needs the `host`"));
    let both = |admin: Admin| admin.token(Secret::new("s".to_owned())).host("127.0.0.1:1");
    assert_eq!(open(both), Ok(()));
    let hidden = |admin: Admin| {
        let admin = admin.token(Secret::new("s".to_owned())).host("127.0.0.1:1");
        admin.command("drain", || async { Ok(String::new()) })
    };
    assert!(open(hidden).unwrap_err().contains("the command `drain` is built in"));
}

fn admin_parts() -> (Admin, Server, Arc<AtomicU32>) {
    admin()
}

#[test]
fn its_unix_socket_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let path = std::env::temp_dir().join(format!("portcullis-admin-{}.sock", std::process::id()));
    let (admin, server, _) = admin();
    let server = server.admin(crate::Listen::unix(&path), admin).open().unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    drop(server);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(mode & 0o777, 0o600);
}
