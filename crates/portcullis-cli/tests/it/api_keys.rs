//! API keys through the program: in a header and as a name and a password, for what they are for, and changed without a gap.
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::reload::Gateway;
use crate::support::{ADMIN_HASH, Answer, Backend, Serving, USER_HASH, header, headers};

const HEAD: &str =
    "[server]\nlisten = [\"http://127.0.0.1:0\"]\n[telemetry]\naccess_log = \"off\"\n";

/// What the file says behind its head.
fn rules(backend: &Backend, keys: &str) -> String {
    let routes = [
        ("/open", "\"public\""),
        ("/maybe", "\"optional\""),
        ("/mine", "\"authenticated\""),
        ("/read", "{ scopes = [\"books:read\"] }"),
        ("/write", "{ scopes = [\"books:read\", \"books:write\"] }"),
    ]
    .map(|(path, access)| {
        format!("[[routes]]\nmatch = {{ path = \"{path}\" }}\naccess = {access}\nto = \"b\"\n")
    });
    format!(
        "[auth.api_key]\n{keys}\n[upstreams.b]\nservers = [\"http://{}\"]\nidentity = {{ subject = \"x-user\" }}\n{}",
        backend.address,
        routes.concat()
    )
}

/// A key of the file: whose it is, its digest, and what else is said of it.
fn key(id: &str, hash: &str, more: &str) -> String {
    format!("{{ id = \"{id}\", hash = \"{hash}\"{more} }}")
}

async fn ask(front: &Serving, path: &str, lines: &str) -> Answer {
    front.ask(format!("GET {path} HTTP/1.1\r\nhost: a\r\nx-user: root\r\n{lines}\r\n")).await
}

fn basic(name_and_key: &str) -> String {
    format!("authorization: Basic {}\r\n", STANDARD.encode(name_and_key))
}

#[tokio::test]
async fn a_name_and_a_key_say_who_calls_where_that_is_offered() {
    let backend = Backend::hello().await;
    let keys = [key("uma", USER_HASH, ""), key("ada", ADMIN_HASH, "")].join(", ");
    let offered = rules(&backend, &format!("basic = true\nkeys = [{keys}]"));
    let front = Serving::start(&format!("{HEAD}{offered}")).await;
    let in_small_letters = basic("uma:user-key").replace("Basic", "basic");
    let twice = basic("uma:user-key").repeat(2);
    let both = format!("{}x-api-key: user-key\r\n", basic("uma:user-key"));
    let rows = [
        ("/mine", basic("uma:user-key"), 200, Some("uma")),
        ("/mine", in_small_letters, 200, Some("uma")),
        ("/mine", basic("ada:admin-key"), 200, Some("ada")),
        ("/mine", "x-api-key: user-key\r\n".to_owned(), 200, Some("uma")),
        ("/maybe", basic("uma:user-key"), 200, Some("uma")),
        ("/maybe", String::new(), 200, None),
        // Nobody looks at it there, and it goes nowhere.
        ("/open", basic("uma:user-key"), 200, None),
        ("/open", basic("uma:wrong"), 200, None),
        ("/mine", String::new(), 401, None),
        // A key is good for its own name alone.
        ("/mine", basic("ada:user-key"), 401, None),
        ("/mine", basic("UMA:user-key"), 401, None),
        ("/mine", basic(":user-key"), 401, None),
        ("/mine", basic("uma:user-key "), 401, None),
        ("/mine", basic("uma:"), 401, None),
        ("/mine", basic("uma"), 401, None),
        ("/mine", "authorization: Basic\r\n".to_owned(), 401, None),
        ("/mine", "authorization: Basic ?\r\n".to_owned(), 401, None),
        ("/mine", twice, 401, None),
        ("/mine", both, 401, None),
        // Missing is not invalid.
        ("/maybe", basic("uma:wrong"), 401, None),
        ("/maybe", "authorization: Basic ?\r\n".to_owned(), 401, None),
    ];
    for (path, lines, status, user) in rows {
        let answer = ask(&front, path, &lines).await;
        assert_eq!(answer.status, status, "{path} {lines} {}", answer.head);
        let seen = backend.seen();
        assert_eq!(seen.len(), usize::from(status == 200), "{path} {lines}");
        for seen in seen {
            assert_eq!(header(&seen, "x-user"), user, "{path} {lines}");
            assert_eq!(header(&seen, "authorization"), None, "{path} {lines}");
        }
        if status == 401 {
            assert_eq!(
                headers(&answer.head, "www-authenticate"),
                ["ApiKey header=\"x-api-key\"", "Basic realm=\"api\", charset=\"UTF-8\""],
                "{path} {lines}"
            );
        }
    }
    // Where it is not offered it is none of ours: it opens nothing, and is the back end's.
    let front =
        Serving::start(&format!("{HEAD}{}", rules(&backend, &format!("keys = [{keys}]")))).await;
    let refused = ask(&front, "/mine", &basic("uma:user-key")).await;
    assert_eq!(refused.status, 401);
    assert_eq!(headers(&refused.head, "www-authenticate"), ["ApiKey header=\"x-api-key\""]);
    assert_eq!(ask(&front, "/maybe", &basic("uma:user-key")).await.status, 200);
    let seen = backend.seen();
    assert_eq!((seen.len(), header(&seen[0], "x-user")), (1, None));
    assert!(header(&seen[0], "authorization").is_some());
}

#[tokio::test]
async fn a_key_opens_what_its_scopes_are_for() {
    let backend = Backend::hello().await;
    // The digest of `bare-key`.
    let bare = "330efbf79abf16a609b418c4f6ba48fe47501ce4bf193e35a5104d65e6ba6a11";
    let keys = [
        key("uma", USER_HASH, ", scopes = [\"books:read\"]"),
        key("ada", ADMIN_HASH, ", scopes = [\"books:write\", \"books:read\"]"),
        key("eve", bare, ""),
    ];
    let keys = format!("basic = true\nkeys = [{}]", keys.join(", "));
    let front = Serving::start(&format!("{HEAD}{}", rules(&backend, &keys))).await;
    for (id, key, read, write) in [
        ("uma", "user-key", 200, 403),
        ("ada", "admin-key", 200, 200),
        ("eve", "bare-key", 403, 403),
    ] {
        for lines in [format!("x-api-key: {key}\r\n"), basic(&format!("{id}:{key}"))] {
            for (path, status) in [("/mine", 200), ("/read", read), ("/write", write)] {
                let answer = ask(&front, path, &lines).await;
                assert_eq!(answer.status, status, "{id} {path} {}", answer.head);
                let seen = backend.seen();
                let told = seen.first().and_then(|seen| header(seen, "x-user"));
                assert_eq!(told, Some(id).filter(|_| status == 200), "{id} {path}");
            }
        }
    }
}

/// A caller gets another key while the one that it has is still good, is the same caller with either, and has one in the end.
#[tokio::test]
async fn a_key_is_changed_without_a_gap() {
    let backend = Backend::hello().await;
    let file = |keys: &[String]| rules(&backend, &format!("keys = [{}]", keys.join(", ")));
    let (old, new) = (key("uma", USER_HASH, ""), key("uma", ADMIN_HASH, ""));
    let until = |time: &str| key("uma", USER_HASH, &format!(", expires = \"{time}\""));
    let gateway = Gateway::start(&file(&[old])).await;
    let are = async |old: u16, new: u16| {
        for (key, status) in [("user-key", old), ("admin-key", new)] {
            let answer = ask(&gateway.serving, "/mine", &format!("x-api-key: {key}\r\n")).await;
            assert_eq!(answer.status, status, "{key} {}", answer.head);
            let seen = backend.seen();
            let told = seen.first().and_then(|seen| header(seen, "x-user"));
            assert_eq!(told, Some("uma").filter(|_| status == 200), "{key}");
        }
    };
    are(200, 401).await;
    // Another key is one more way in, and that has to be said.
    gateway.write(&file(&[until("2999-12-31T00:00:00Z"), new.clone()]));
    assert_eq!(gateway.command("reload").await.0, 409);
    are(200, 401).await;
    let (status, said) = gateway.command("reload-and-widen").await;
    assert_eq!(status, 200, "{said}");
    are(200, 200).await;
    // Its time is over, though it stands there still. (Another time is one that may let somebody do more.)
    gateway.write(&file(&[until("2020-01-31T00:00:00Z"), new.clone()]));
    let (status, said) = gateway.command("reload-and-widen").await;
    assert_eq!(status, 200, "{said}");
    are(401, 200).await;
    gateway.write(&file(&[new]));
    assert_eq!(gateway.command("reload").await.0, 200);
    are(401, 200).await;
}
