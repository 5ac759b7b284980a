//! `portcullis check` says everything that is wrong with a file, with its line and how to mend it.
use std::process::Output;

use crate::support::{TempFile, program};

async fn check(text: &str) -> Output {
    let file = TempFile::new("check.toml", text);
    program().arg("check").arg("--config").arg(&file.0).output().await.unwrap()
}

/// A sound file; the tests put something wrong into it. Its lines are counted from 1.
const SOUND: &str = r#"[server]
listen = ["http://127.0.0.1:0"]
[upstreams.catalog]
servers = ["http://127.0.0.1:9001"]
[[routes]]
match = { path = "/books/{*rest}", methods = ["GET"] }
access = "public"
to = "catalog"
"#;

#[tokio::test]
async fn a_sound_file_is_nothing_to_talk_about() {
    let done = check(SOUND).await;
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!((done.stdout.as_slice(), done.stderr.as_slice()), (&b""[..], &b""[..]));
}

/// What is put in the place of what, the line that is named, what is said, and the hint.
type Row = (&'static str, &'static str, usize, &'static str, &'static str);

const ROWS: &[Row] = &[
    // The file as such.
    ("[server]", "[server", 1, "", "the file is TOML"),
    ("to = \"catalog\"", "to = catalog", 8, "", "the file is TOML"),
    (
        "access = \"public\"",
        "access = \"public\"\naccess = \"public\"",
        8,
        "duplicate key",
        "the file is TOML",
    ),
    // Roles, and what decides beside them.
    (
        "[server]",
        "[roles.clerk]\ninherits = [\"redaer\"]\n[roles.reader]\n[server]",
        2,
        "there is no role `redaer`",
        "did you mean `reader`?",
    ),
    (
        "[server]",
        "[roles.a]\ninherits = [\"b\"]\n[roles.b]\ninherits = [\"a\"]\n[server]",
        1,
        "role `a`: it inherits from itself; break the circle",
        "",
    ),
    (
        "[server]",
        "[roles.a]\npermissions = [\"ord*\"]\n[server]",
        1,
        "`ord*` is no permission: write a name, `noun:*`, `*:verb`, or `*`",
        "",
    ),
    (
        "[server]",
        "[roles.a]\n[separation.money]\nroles = [\"a\", \"auditor\"]\n[server]",
        3,
        "there is no role `auditor`",
        "add `[roles.auditor]`",
    ),
    (
        "[server]",
        "[roles.a]\n[separation.money]\nroles = [\"a\"]\n[server]",
        2,
        "1 roles are kept apart, and 2 are too many",
        "name as many roles as are too many, or more",
    ),
    (
        "[server]",
        "[roles.a]\ninherits = [\"b\"]\n[roles.b]\n[separation.money]\nroles = [\"a\", \"b\"]\n[server]",
        4,
        "`money` keeps roles apart, and whoever has `a` would have 2 of them: a, b",
        "",
    ),
    (
        "[server]",
        "[policies.own]\n[server]",
        1,
        "policies.own: `cedar` is missing",
        "add `cedar = \"policies.cedar\"`",
    ),
    (
        "[server]",
        "[policies.own]\ncedar = \"/nowhere/own.cedar\"\n[server]",
        2,
        "/nowhere/own.cedar cannot be read",
        "",
    ),
    (
        "[server]",
        "[authorization]\nstore = \"mian\"\n[stores.main]\nsql = \"sqlite://x.db\"\n[server]",
        2,
        "there is no store `mian`",
        "did you mean `main`?",
    ),
    (
        "[server]",
        "[authorization]\nstore = \"shared\"\n[stores.shared]\nredis = \"redis://127.0.0.1\"\n[server]",
        1,
        "the store is Redis, which keeps no roles",
        "name a store with `sql`",
    ),
    (
        "[server]",
        "[authorization]\ndecision_log = { to = \"nowhere\" }\n[server]",
        2,
        "there is no store `nowhere`",
        "say `log`, or the name of a store",
    ),
    (
        "[server]",
        "[authorization]\nshadow = \"/nowhere/next.toml\"\n[server]",
        2,
        "/nowhere/next.toml cannot be read",
        "",
    ),
    (
        "access = \"public\"",
        "access = \"public\"\nstep_up = true",
        8,
        "the route is public, so nobody is asked who they are",
        "or drop `step_up`",
    ),
    (
        "access = \"public\"",
        "access = \"public\"\nstep_up = { }",
        8,
        "it asks for nothing",
        "say `level = 2`",
    ),
    // Stores.
    (
        "[server]",
        "[stores.main]\n[server]",
        1,
        "stores.main: it says not where it is",
        "say `sql = \"sqlite://portcullis.db\"` or `redis = \"redis://127.0.0.1:6379\"`",
    ),
    (
        "[server]",
        "[stores.main]\nsql = \"oracle://x\"\n[server]",
        2,
        "stores.main.sql: it is no address of a database",
        "",
    ),
    (
        "[server]",
        "[stores.main]\nredis = \"127.0.0.1\"\n[server]",
        2,
        "stores.main.redis: it is no address of Redis",
        "",
    ),
    (
        "[server]",
        "[stores.main]\nsql = \"sqlite://a.db\"\nredis = \"redis://a\"\n[server]",
        1,
        "stores.main: it is in two places",
        "say `sql",
    ),
    (
        "[server]",
        "[stores.main]\nsql = \"sqlite://a.db\"\n[auth.session]\nstore = \"mian\"\n[server]",
        4,
        "auth.session.store: there is no store `mian`",
        "did you mean `main`?",
    ),
    (
        "[server]",
        "[auth.session]\nidle = \"1h\"\n[server]",
        1,
        "auth.session: `store` is missing",
        "add `store = \"main\"`",
    ),
    (
        "[server]",
        "[stores.main]\nsql = \"sqlite://a.db\"\n[auth.session]\nstore = \"main\"\nidle = \"24h\"\n[server]",
        3,
        "a session is over before it can be idle",
        "",
    ),
    (
        "[server]",
        "[stores.main]\nsql = \"sqlite://a.db\"\n[auth.session]\nstore = \"main\"\ncache = \"5s\"\n[server]",
        3,
        "`cache` is longer than 1s",
        "write `cache = \"500ms\"`",
    ),
    (
        "[server]",
        "[stores.main]\nredis = \"redis://127.0.0.1\"\n[auth.api_key]\nstore = \"main\"\n[server]",
        3,
        "auth.api_key: Redis keeps no keys",
        "name a store with `sql`",
    ),
    // Keys.
    ("[server]", "[sever]", 1, "sever: there is no key `sever`", "did you mean `server`?"),
    ("listen =", "lisen =", 2, "server.lisen: there is no key `lisen`", "did you mean `listen`?"),
    (
        "listen =",
        "port = 80\nlisten =",
        2,
        "server.port: there is no key `port`",
        "known here: listen, observe",
    ),
    (
        "servers =",
        "server =",
        4,
        "upstreams.catalog.server: there is no key `server`",
        "did you mean `servers`?",
    ),
    (
        "to = \"catalog\"",
        "upstream = \"catalog\"",
        8,
        "routes[0].upstream: there is no key `upstream`",
        "known here:",
    ),
    ("path =", "pth =", 6, "routes[0].match.pth: there is no key `pth`", "did you mean `path`?"),
    // What is cached.
    (
        "[server]",
        "[cache]\ncapacty = \"1MiB\"\n[server]",
        2,
        "cache.capacty: there is no key `capacty`",
        "did you mean `capacity`?",
    ),
    ("[server]", "[cache]\ncapacity = \"64MB\"\n[server]", 2, "`64MB` is no size", ""),
    (
        "[server]",
        "[cache]\ncapacity = 0\n[server]",
        2,
        "there would be room for nothing",
        "leave the key out for the default",
    ),
    (
        "[server]",
        "[cache]\ncapacity = \"1MiB\"\nlargest = \"600KiB\"\n[server]",
        3,
        "one answer has at most half of the `capacity`, which is 1048576 bytes",
        "say a larger `capacity`, or a smaller `largest`",
    ),
    (
        "[server]",
        "[cache]\npreset = \"rfc9111\"\n[server]",
        2,
        "`rfc9111` is not one of application, rfc",
        "",
    ),
    ("[server]", "[cache]\nname = \"our edge\"\n[server]", 2, "`our edge` is no token", ""),
    ("[server]", "[cache]\nname = \"1st\"\n[server]", 2, "`1st` is no token", ""),
    ("[server]", "[cache]\ntargeted = [\"a b\"]\n[server]", 2, "`a b` is no header name", ""),
    (
        "[server]",
        "[cache]\ntargeted = [\"Cache-Control\"]\n[server]",
        2,
        "`cache-control` counts anyway",
        "",
    ),
    ("[server]", "[cache]\nbackground = 0\n[server]", 2, "0 is not between 1 and 100000", ""),
    (
        "[server]",
        "[stores.shared]\nredis = \"redis://a\"\n[cache]\nstore = \"shraed\"\n[server]",
        4,
        "cache.store: there is no store `shraed`",
        "did you mean `shared`?",
    ),
    (
        "[server]",
        "[stores.main]\nsql = \"sqlite://a.db\"\n[cache]\nstore = [\"memory\", \"main\"]\n[server]",
        4,
        "cache.store[1]: `main` is a database, which keeps no answers",
        "say `memory`, or name a store with `redis`",
    ),
    (
        "[server]",
        "[stores.a]\nredis = \"redis://a\"\n[stores.b]\nredis = \"redis://b\"\n[cache]\nstore = [\"a\", \"b\"]\n[server]",
        6,
        "cache.store[1]: answers are kept in one store",
        "name one",
    ),
    (
        "[server]",
        "[cache]\nstore = []\n[server]",
        2,
        "it is kept nowhere",
        "say `store = \"memory\"`",
    ),
    (
        "[server]",
        "[stores.a]\nredis = \"redis://a\"\n[cache]\nstore = \"a\"\ncapacity = \"1MiB\"\n[server]",
        5,
        "it is that of memory, and answers are kept in `a` alone",
        "say `store = [\"memory\", \"a\"]`, or drop `capacity`",
    ),
    (
        "[server]",
        "[cache]\ncompress = true\n[server]",
        2,
        "only what a store has is compressed",
        "name a Redis store in `store`, or drop `compress`",
    ),
    (
        "to = \"catalog\"",
        "to = \"catalog\"\ncache = \"60s\"",
        9,
        "routes[0].cache: it must be `true` or `false`, and is a string",
        "Keeps answers",
    ),
    (
        "to = \"catalog\"",
        "to = \"catalog\"\ncache = { ttl = \"60s\" }",
        9,
        "routes[0].cache.ttl: there is no key `ttl`",
        "known here: scope, default_ttl, purge",
    ),
    (
        "to = \"catalog\"",
        "to = \"catalog\"\ncache = { default_ttl = \"0s\" }",
        9,
        "no time at all lets nothing happen",
        "leave the key out for the default",
    ),
    (
        "to = \"catalog\"",
        "to = \"catalog\"\ncache = { scope = \"tenant\" }",
        9,
        "the route is public, so nobody is asked who they are",
        "drop `scope`",
    ),
    (
        "access = \"public\"",
        "access = \"optional\"\ncache = { scope = \"public\" }",
        8,
        "the route is not public, and what one caller gets would be everybody's",
        "say `\"tenant\"` or `\"identity\"`",
    ),
    (
        "methods = [\"GET\"]",
        "methods = [\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"]",
        6,
        "is longer than the 32 bytes that a method may have",
        "",
    ),
    (
        "methods = [\"GET\"] }\naccess = \"public\"",
        "methods = [\"GET\", \"PURGE\"] }\ncache = { purge = true }\naccess = \"public\"",
        7,
        "everybody may call the route, and so could purge",
        "add a route for `methods = [\"PURGE\"]`",
    ),
    (
        "access = \"public\"",
        "access = \"optional\"\ncache = { purge = true }",
        8,
        "everybody may call the route, and so could purge",
        "",
    ),
    (
        "access = \"public\"",
        "access = \"public\"\ncache = { purge = true }",
        8,
        "PURGE is not named among the route's methods",
        "add it to `methods` of `match`, or drop `purge`",
    ),
    (
        ", methods = [\"GET\"] }\naccess = \"public\"\nto = \"catalog\"",
        " }\naccess = { permission = \"a:b\" }\nto = \"catalog\"\ncache = { purge = true }\n[auth.api_key]\n[roles.a]\npermissions = [\"a:b\"]",
        9,
        "PURGE is not named among the route's methods",
        "add it to `methods` of `match`, or drop `purge`",
    ),
    (
        "to = \"catalog\"",
        "to = \"catalog\"\ncache = true\nstreaming = true",
        9,
        "what is streamed goes on as it comes, and is not kept",
        "drop `streaming` or `cache`",
    ),
    (
        "to = \"catalog\"",
        "redirect = \"/new/{rest}\"\ncache = true",
        9,
        "no upstream is asked here, for which it would be",
        "drop `cache`",
    ),
    (
        "methods = [\"GET\"] }",
        "methods = [\"PUT\", \"DELETE\"] }\ncache = true",
        7,
        "answers to none of the route's methods are kept",
        "drop `cache`",
    ),
    // Kinds.
    (
        "listen = [\"http://127.0.0.1:0\"]",
        "listen = 80",
        2,
        "server.listen: it must be a list of texts, and is an integer",
        "",
    ),
    (
        "listen =",
        "workers = \"two\"\nlisten =",
        2,
        "server.workers: it must be a whole number, and is a string",
        "",
    ),
    ("listen =", "workers = 0\nlisten =", 2, "server.workers: 0 is not between 1 and 1024", ""),
    ("listen =", "workers = -1\nlisten =", 2, "server.workers: -1 is not between 1 and 1024", ""),
    (
        "listen =",
        "drain = 30\nlisten =",
        2,
        "server.drain: it must be a text in quotes, and is an integer",
        "",
    ),
    (
        "listen =",
        "drain = \"30\"\nlisten =",
        2,
        "server.drain: `30` is no time: write `500ms`, `30s`, `2m` or `1h`",
        "",
    ),
    (
        "listen =",
        "body_limit = \"2MB\"\nlisten =",
        2,
        "server.body_limit: `2MB` is no size: write `64KiB`, `2MiB`, `1GiB`",
        "",
    ),
    (
        "servers =",
        "try_timeout = \"30s\"\nservers =",
        4,
        "upstreams.catalog.try_timeout: it never comes: `timeout` ends it all after 30s",
        "make `try_timeout` shorter",
    ),
    (
        "servers =",
        "timeout = \"1s\"\nhedge = \"2s\"\nservers =",
        5,
        "upstreams.catalog.hedge: it never comes: `timeout` ends it all after 1s",
        "make `hedge` shorter",
    ),
    ("[[routes]]", "[routes]", 5, "routes: it must be a list of tables, as in `[[routes]]`", ""),
    ("[upstreams.catalog]", "[upstreams]", 4, "upstreams.servers: it must be a table", ""),
    // Places.
    (
        "http://127.0.0.1:0",
        "ftp://127.0.0.1:0",
        2,
        "`ftp` is no scheme: say `http`, `https` or `unix`",
        "",
    ),
    ("http://127.0.0.1:0", ":8080", 2, "for every address of the machine say `0.0.0.0:8080`", ""),
    (
        "http://127.0.0.1:0",
        "https://127.0.0.1:0",
        1,
        "`https://127.0.0.1:0` needs a certificate",
        "certs = [{ cert = \"tls.crt\", key = \"tls.key\" }]",
    ),
    (
        "listen =",
        "observe = \"https://127.0.0.1:1\"\nlisten =",
        2,
        "server.observe: it speaks no TLS",
        "",
    ),
    (
        "listen =",
        "admin = \"127.0.0.1:9901\"\nlisten =",
        2,
        "server.admin: on an address it needs `admin_token`",
        "unix:/run/portcullis.sock",
    ),
    (
        "listen =",
        "trusted_proxies = [\"10.0.0.0/99\"]\nlisten =",
        2,
        "`10.0.0.0/99` is no network: write `10.0.0.0/8`",
        "",
    ),
    (
        "listen =",
        "certs = [{ cert = \"/missing.crt\", key = \"/missing.key\" }]\nlisten =",
        2,
        "`/missing.crt`: it cannot be read",
        "",
    ),
    (
        "listen =",
        "certs = [{ cert = \"a.crt\" }]\nlisten =",
        2,
        "server.certs[0]: `key` is missing",
        "add `key = \"tls.key\"`",
    ),
    // The environment.
    (
        "http://127.0.0.1:9001",
        "http://${PORTCULLIS_NO_SUCH_VARIABLE}:1",
        4,
        "the environment has no variable `PORTCULLIS_NO_SUCH_VARIABLE`",
        "set PORTCULLIS_NO_SUCH_VARIABLE",
    ),
    ("http://127.0.0.1:9001", "http://${HOME", 4, "`${` has no `}`", "write `${NAME}`"),
    // Upstreams.
    (
        "http://127.0.0.1:9001",
        "127.0.0.1:9001",
        4,
        "a server is a URL: write `http://127.0.0.1:9001`",
        "",
    ),
    (
        "http://127.0.0.1:9001",
        "http://127.0.0.1:9001/api",
        4,
        "a server has no path: a route may rewrite the path instead",
        "",
    ),
    (
        "servers = [\"http://127.0.0.1:9001\"]",
        "",
        3,
        "upstreams.catalog: it has no server",
        "add `servers = [\"http://127.0.0.1:9001\"]`",
    ),
    (
        "servers = [\"http://127.0.0.1:9001\"]",
        "servers = [\"http://a:1\", \"http://a:1\"]",
        4,
        "server `http://a:1` stands twice",
        "",
    ),
    (
        "servers =",
        "balance = \"fastest\"\nservers =",
        4,
        "upstreams.catalog.balance: `fastest` is no way to balance: say `p2c`",
        "",
    ),
    (
        "servers =",
        "health = { path = \"healthz\" }\nservers =",
        4,
        "`healthz`: a path begins with `/`",
        "",
    ),
    (
        "servers =",
        "health = { interval = \"1s\" }\nservers =",
        4,
        "upstreams.catalog.health: it does not say how",
        "add `path = \"/healthz\"`",
    ),
    (
        "servers =",
        "health = { path = \"/\", tcp = true }\nservers =",
        4,
        "`path`, `tcp` and `grpc` exclude each other",
        "keep one of them",
    ),
    (
        "servers =",
        "panic_threshold = 50\nservers =",
        4,
        "it must be a share between 0 and 1",
        "a third is 0.33",
    ),
    ("servers =", "ca = \"/missing.pem\"\nservers = [\"https://a\"]\nx =", 4, "`/missing.pem`", ""),
    (
        "servers =",
        "client_cert = \"a.pem\"\nservers =",
        4,
        "upstreams.catalog.client_cert: it needs `client_key`",
        "",
    ),
    // Routes.
    (
        "access = \"public\"\n",
        "",
        5,
        "it does not say who may call: `access` is missing",
        "add `access = \"public\"`",
    ),
    (
        "\"public\"",
        "\"pubic\"",
        7,
        "routes[0].access: `pubic` is not one of public, optional, authenticated",
        "did you mean `public`?",
    ),
    (
        "\"public\"",
        "{ permission = \"orders:write\" }",
        7,
        "routes[0].access: nobody can say who they are",
        "add `[auth.api_key]`",
    ),
    ("\"public\"", "\"authenticated\"", 7, "there is no `[auth]`", "add `[auth.api_key]`"),
    (
        "\"public\"",
        "{}",
        7,
        "routes[0].access: it says nothing that whoever calls must have",
        "say at least one",
    ),
    (
        "to = \"catalog\"",
        "to = \"catalog\"\n[[routes]]\nmatch = { path = \"/x\" }\naccess = { scopes = [\"a b\"] }\nto = \"catalog\"\n[auth.api_key]\nkeys = []",
        9,
        "`a b` is no scope: a word",
        "",
    ),
    (
        "\"public\"",
        "{ scopes = [] }",
        7,
        "access.scopes: an empty list would hold for everybody",
        "",
    ),
    (
        "\"public\"",
        "{ issuers = [] }",
        7,
        "there is no issuer whose callers",
        "leave `issuers` out",
    ),
    (
        "[[routes]]\nmatch = { path = \"/books/{*rest}\", methods = [\"GET\"] }\naccess = \"public\"",
        "[auth.api_key]\nkeys = []\n[[routes]]\nmatch = { path = \"/books/{*rest}\" }\naccess = { issuers = [\"apikey\"] }",
        9,
        "routes[0].access.issuers: nobody is called `apikey` who says who callers are",
        "did you mean `api_key`?",
    ),
    (
        "[[routes]]\nmatch = { path = \"/books/{*rest}\", methods = [\"GET\"] }\naccess = \"public\"",
        "[auth.api_key]\nkeys = []\n[[routes]]\nmatch = { path = \"/books/{*rest}\" }\naccess = { permission = \"orders:write\" }",
        7,
        "`orders:write`",
        "",
    ),
    // Issuers that are asked about their tokens.
    (
        "[[routes]]",
        "[auth.jwt.main]\nissuer = \"https://main.example\"\naudience = [\"shop\"]\nintrospect = { url = \"http://id.example/\", client_id = \"a\", client_secret = \"b\" }\n[[routes]]",
        8,
        "auth.jwt.main.introspect.url: `http://id.example/`: over `http` issuers are asked only on this machine",
        "",
    ),
    (
        "[[routes]]",
        "[auth.jwt.main]\nissuer = \"https://main.example\"\naudience = [\"shop\"]\nintrospect = { url = \"http://127.0.0.1:1/\", client_id = \"a\", client_secret = \"\" }\n[[routes]]",
        8,
        "introspect.client_secret: it is empty",
        "is its variable set?",
    ),
    (
        "[[routes]]",
        "[auth.jwt.main]\nissuer = \"https://main.example\"\naudience = [\"shop\"]\nintrospect = { url = \"http://127.0.0.1:1/\", client_secret = \"b\" }\n[[routes]]",
        8,
        "auth.jwt.main.introspect: `client_id` is missing",
        "add `client_id =",
    ),
    (
        "[[routes]]",
        "[auth.jwt.main]\nissuer = \"https://main.example\"\naudience = [\"shop\"]\nintrospect = { url = \"http://127.0.0.1:1/\", client_id = \"a\", client_secret = \"b\", remember = \"6m\" }\n[[routes]]",
        8,
        "auth.jwt.main.introspect.remember: `6m` is too long",
        "",
    ),
    (
        "[[routes]]",
        "[auth.jwt.main]\nissuer = \"https://main.example\"\naudience = [\"shop\"]\n\n[[routes]]",
        5,
        "auth.jwt.main: it says neither where its keys are nor how it is asked",
        "`introspect` for opaque tokens",
    ),
    (
        "[[routes]]",
        "[auth.jwt.main]\nissuer = \"https://main.example\"\naudience = [\"shop\"]\nintrospect = { url = \"http://127.0.0.1:1/\", client_id = \"a\", client_secret = \"b\", ca = \"no/such.pem\" }\n[[routes]]",
        8,
        "cannot be read",
        "",
    ),
    (
        "[[routes]]",
        "[auth.jwt.one]\nissuer = \"https://one.example\"\naudience = [\"shop\"]\nintrospect = { url = \"http://127.0.0.1:1/\", client_id = \"a\", client_secret = \"b\" }\n[auth.jwt.two]\nissuer = \"https://two.example\"\naudience = [\"shop\"]\nintrospect = { url = \"http://127.0.0.1:1/\", client_id = \"a\", client_secret = \"b\" }\n[[routes]]\nmatch = { path = \"/mine\" }\naccess = \"authenticated\"\nto = \"catalog\"\n[[routes]]",
        13,
        "opaque tokens of `https://one.example` and `https://two.example` cannot be told apart",
        "",
    ),
    // Tokens for upstreams.
    (
        "[[routes]]",
        "[identity_token]\n[[routes]]",
        5,
        "identity_token: `keys` is missing",
        "add `keys = [\"signing.pem\"]`",
    ),
    (
        "[[routes]]",
        "[identity_token]\nissuer = \"https://a.example\"\nkeys = [\"no/such.pem\"]\n[[routes]]",
        7,
        "no/such.pem` cannot be read",
        "",
    ),
    (
        "servers =",
        "identity = { token = \"a\" }\nservers =",
        4,
        "upstreams.catalog.identity.token: nobody signs it",
        "add it, with `issuer` and `keys`",
    ),
    (
        "servers =",
        "identity = { token_header = \"x-a\" }\nservers =",
        4,
        "there is no token for `token_header`",
        "add `token = \"NAME\"`",
    ),
    (
        "servers =",
        "identity = { token = \"\" }\nservers =",
        4,
        "identity.token: it is for nobody",
        "such as the upstream",
    ),
    (
        "servers =",
        "identity = { token = \"a\", token_header = \"x-a\", subject = \"X-A\" }\nservers =",
        4,
        "`x-a` is said twice",
        "give one of them another header",
    ),
    (
        "to = \"catalog\"",
        "jwks = true",
        5,
        "there are no keys: there is no `[identity_token]`",
        "drop `jwks`",
    ),
    (
        "to = \"catalog\"",
        "to = \"catalog\"\njwks = true",
        5,
        "leads to an upstream, elsewhere or to our keys",
        "keep one of",
    ),
    // What would mean nothing, or something else than it says.
    (
        "[[routes]]",
        "[auth.jwt.main]\nissuer = \"https://main.example\"\naudience = [\"shop\"]\nintrospect = { url = \"http://127.0.0.1:1/\", client_id = \"\", client_secret = \"b\" }\n[[routes]]",
        8,
        "introspect.client_id: it is empty",
        "is its variable set?",
    ),
    (
        "[[routes]]",
        "[auth.jwt.main]\nissuer = \"https://main.example\"\naudience = [\"shop\"]\nintrospect = { url = \"https://id.example:99999/\", client_id = \"a\", client_secret = \"b\" }\n[[routes]]",
        8,
        "`https://id.example:99999/` is no address of an issuer",
        "",
    ),
    (
        "[[routes]]",
        "[auth.jwt.main]\nissuer = \"https://main.example\"\naudience = [\"shop\"]\nintrospect = { url = \"https://u:s3cr3t@id.example/\", client_id = \"a\", client_secret = \"b\" }\n[[routes]]",
        8,
        "`https://id.example/` is no address of an issuer: write `https://id.example/path`, without a user",
        "",
    ),
    (
        "[[routes]]",
        "[auth.jwt.main]\nissuer = \"https://main.example\"\naudience = [\"shop\"]\nintrospect = { url = \"http://127.0.0.1:1/\", client_id = \"a\", client_secret = \"b\" }\ntypes = [\"at+jwt\"]\n[[routes]]",
        9,
        "auth.jwt.main.types: it means nothing without `jwks`",
        "drop `types`, or add `jwks`",
    ),
    (
        "[[routes]]",
        "[auth.jwt.main]\nissuer = \"https://main.example\"\naudience = [\"shop\"]\nintrospect = { url = \"http://127.0.0.1:1/\", client_id = \"a\", client_secret = \"b\" }\nclaims = { roles = \"/roles\" }\n[[routes]]",
        5,
        "`claims.roles` means nothing without `roles`",
        "add `roles =",
    ),
    (
        "[[routes]]",
        "[auth.jwt.main]\nissuer = \"https://main.example\"\naudience = [\"shop\"]\nintrospect = { url = \"http://127.0.0.1:1/\", client_id = \"a\", client_secret = \"b\" }\nroles = { a = \"a\" }\n[[routes]]",
        5,
        "`roles` means nothing without `claims.roles`",
        "add `claims =",
    ),
    (
        "[[routes]]",
        "[auth.jwt.main]\nissuer = \"https://main.example\"\naudience = [\"shop\"]\nintrospect = { url = \"http://127.0.0.1:1/\", client_id = \"a\", client_secret = \"b\" }\nclaims = { tenant = \"org\" }\n[[routes]]",
        9,
        "auth.jwt.main.claims.tenant: `org` is no JSON pointer: one begins with `/`, as in `/org`",
        "",
    ),
    (
        "[[routes]]",
        "[auth.jwt.main]\nissuer = \"https://main.example\"\naudience = [\"shop\"]\njwks = \"keys.json\"\n[[routes]]",
        8,
        "`keys.json` is neither an address nor a file: write `https://id.example/jwks`, or `file:keys.json`",
        "",
    ),
    (
        "[[routes]]",
        "[identity_token]\nissuer = \"https://a.example\"\nkeys = []\n[[routes]]",
        5,
        "identity_token: there is no key to sign with",
        "openssl genpkey",
    ),
    (
        "[[routes]]",
        "[identity_token]\nissuer = \"https://a.example\"\nkeys = []\nlifetime = \"1s\"\n[[routes]]",
        8,
        "identity_token.lifetime: `1s` is not from 10s to 1h",
        "",
    ),
    (
        "servers =",
        "identity = { token = \"a\", token_header = \"cookie\" }\nservers =",
        4,
        "`cookie` says something else",
        "",
    ),
    (
        "servers =",
        "identity = { subject = \"x-user\", tenant = \"x_user\" }\nservers =",
        4,
        "is said twice",
        "give one of them another header",
    ),
    (
        "to = \"catalog\"",
        "redirect = \"/a\"\nstrip_prefix = \"/books\"",
        9,
        "routes[0].strip_prefix: no upstream is asked here",
        "drop `strip_prefix`",
    ),
    (
        "to = \"catalog\"",
        "to = { catalog = 1, other = 1 }\n[upstreams.other]\nservers = [\"http://127.0.0.1:9002\"]\nidentity = { subject = \"x-user\" }",
        8,
        "says another `identity` than the other upstreams",
        "or give each a route",
    ),
    (
        "to = \"catalog\"",
        "to = \"catalog\"\nmirror = { to = \"other\" }\n[upstreams.other]\nservers = [\"http://127.0.0.1:9002\"]\nidentity = { subject = \"x-user\" }",
        9,
        "`other` is told otherwise who is calling than the upstreams of `to`",
        "give it the same `identity`, or none",
    ),
    // What belongs elsewhere, or is of another kind.
    (
        "match = ",
        "path = \"/books\"\nmatch = ",
        6,
        "routes[0].path: there is no key `path` here",
        "it belongs into `match`",
    ),
    ("servers =", "timeout = 30\nservers =", 4, "must be a text in quotes", "write `500ms`, `30s`"),
    ("servers =", "health = \"/healthz\"\nservers =", 4, "must be a table", "{ path, tcp, grpc"),
    (
        "servers =",
        "healthcheck = {}\nservers =",
        4,
        "no key `healthcheck`",
        "did you mean `health`?",
    ),
    ("listen =", "observe = 9464\nlisten =", 2, "must be a text in quotes", "/healthz"),
    (
        "listen = [\"http://127.0.0.1:0\"]",
        "observe = \"127.0.0.1:8080\"\nlisten = [\"http://127.0.0.1:8080\"]",
        2,
        "server.observe: clients connect there too",
        "choose another port",
    ),
    (
        "servers =",
        "ca = \"no/such.pem\"\nservers =",
        4,
        "upstreams.catalog.ca: no server of this upstream speaks TLS",
        "say `https://`",
    ),
    // Files are looked for where the configuration is.
    (
        "servers = [\"http:",
        "ca = \"no/such.pem\"\nservers = [\"https:",
        4,
        "upstreams.catalog: tls: `/",
        "",
    ),
    ("to = \"catalog\"", "redirect = \"/new/{other}\"", 8, "`{other}` is neither", ""),
    (
        "to = \"catalog\"",
        "redirect = \"https://shop.example{rest}\"",
        8,
        "`{rest}` may stand in the path alone",
        "",
    ),
    (
        "\"public\"",
        "{ role = \"clerk\" }",
        7,
        "routes[0].access.role: there is no key `role`",
        "known here: permission",
    ),
    (
        "to = \"catalog\"",
        "to = \"katalog\"",
        8,
        "routes[0].to: there is no upstream `katalog`",
        "did you mean `catalog`?",
    ),
    (
        "to = \"catalog\"",
        "to = \"orders\"",
        8,
        "there is no upstream `orders`",
        "add `[upstreams.orders]`",
    ),
    (
        "to = \"catalog\"",
        "to = { catalog = 0 }",
        8,
        "no upstream has a share",
        "write `{ stable = 95, canary = 5 }`",
    ),
    (
        "to = \"catalog\"",
        "to = { catalog = \"all\" }",
        8,
        "routes[0].to.catalog: it must be a weight: a whole number, and is a string",
        "",
    ),
    (
        "to = \"catalog\"\n",
        "",
        5,
        "routes[0]: it leads nowhere: `to` is missing",
        "add `to = \"NAME\"`",
    ),
    (
        "to = \"catalog\"",
        "to = \"catalog\"\nredirect = \"/\"",
        9,
        "a route leads to an upstream or elsewhere, not both",
        "keep `to` or `redirect`",
    ),
    (
        "to = \"catalog\"",
        "redirect = \"/\"\nstatus = 306",
        9,
        "306 is no redirection: say 301, 302, 303, 307 or 308",
        "",
    ),
    (
        "to = \"catalog\"",
        "to = \"catalog\"\nlimits = [\"standard\"]",
        9,
        "routes[0].limits: there is no limit `standard`",
        "add `[limits.standard]`",
    ),
    (
        "to = \"catalog\"",
        "to = \"catalog\"\nstrip_prefix = \"/api\"",
        9,
        "the path `/books/{*rest}` does not begin with `/api/`, which is to be stripped",
        "",
    ),
    (
        "to = \"catalog\"",
        "to = \"catalog\"\nrewrite = \"/v2/{id}\"",
        9,
        "the path `/books/{*rest}` has no parameter `id`",
        "",
    ),
    (
        "to = \"catalog\"",
        "to = \"catalog\"\nstrip_prefix = \"/books\"\nadd_prefix = \"/v2\"",
        5,
        "`strip_prefix` and `add_prefix` exclude each other",
        "`rewrite` can say both",
    ),
    (
        "to = \"catalog\"",
        "to = \"catalog\"\nrequest_headers = { \"a b\" = \"c\" }",
        9,
        "`a b` is no header name",
        "",
    ),
    ("/books/{*rest}", "books", 5, "a template begins with `/`", ""),
    ("/books/{*rest}", "/books/*", 5, "`*` and `:` match only themselves", ""),
    ("\"GET\"", "\"get\"", 6, "`get` is no method: write `GET`", ""),
    (
        "methods =",
        "hosts = [\"shop.example:80\"], methods =",
        6,
        "`shop.example:80` is no host",
        "",
    ),
    (
        "to = \"catalog\"\n",
        "to = \"catalog\"\n[[routes]]\nmatch = { path = \"/books/{*rest}\", methods = [\"GET\"] }\naccess = \"public\"\nto = \"catalog\"\n",
        9,
        "`GET /books/{*rest}` has a route already; remove one of the two",
        "",
    ),
    (
        "to = \"catalog\"",
        "to = \"catalog\"\nonly_from = []",
        9,
        "an empty list would hold for everybody",
        "name somebody, or leave the key out",
    ),
    (
        "to = \"catalog\"",
        "to = \"catalog\"\ntimeout = \"0s\"",
        9,
        "no time at all lets nothing happen",
        "leave the key out",
    ),
    (
        "to = \"catalog\"",
        "to = \"catalog\"\nsticky = \"cookie:a b\"",
        9,
        "`cookie:a b` is no way to stay",
        "",
    ),
    (
        "to = \"catalog\"",
        "to = \"catalog\"\nrewrite = \"/a?b={rest}\"",
        9,
        "it is a path alone",
        "",
    ),
    ("to = \"catalog\"", "redirect = \"{x}\"", 8, "`{x}` is neither `{host}`", ""),
    (
        "to = \"catalog\"",
        "to = \"catalog\"\nrequest_headers = { content-length = \"5\" }",
        5,
        "`content-length` says how a message is framed",
        "",
    ),
    (
        "to = \"catalog\"",
        "to = \"catalog\"\nresponse_headers = { transfer-encoding = \"chunked\" }",
        5,
        "`transfer-encoding` says how a message is framed",
        "",
    ),
    ("to = \"catalog\"", "to = { catalog = -1 }", 8, "a weight is a whole number from 0 on", ""),
    (
        "servers =",
        "identity = { subject = \"content-length\" }\nservers =",
        4,
        "`content-length` says how a message is framed",
        "",
    ),
    ("servers =", "host = \"a b\"\nservers =", 4, "`a b` is no host", ""),
    ("servers =", "health = { path = \"/a b\" }\nservers =", 4, "`/a b` is no path", ""),
    ("servers =", "timeout = \"0s\"\nservers =", 4, "no time at all lets nothing happen", ""),
    ("http://127.0.0.1:9001", "http://*", 4, "`*` is no host and port", ""),
    ("http://127.0.0.1:9001", "http://${}", 4, "`${}` names no variable", "write `${NAME}`"),
    ("listen =", "allow = []\nlisten =", 2, "an empty list would hold for everybody", ""),
    (
        "listen =",
        "client_ca = \"ca.pem\"\nlisten =",
        2,
        "no listener speaks TLS",
        "listen at an `https` place",
    ),
    (
        "to = \"catalog\"",
        "to = \"catalog\"\ncors = {}",
        9,
        "it does not say whose pages",
        "origins = ",
    ),
    (
        "to = \"catalog\"",
        "to = \"catalog\"\ncors = { origins = [\"*\"], credentials = true }",
        9,
        "`*` and `credentials` together",
        "name the origins",
    ),
    (
        "to = \"catalog\"",
        "to = \"catalog\"\ncors = { origins = [\"https://shop.example/\"] }",
        9,
        "is no origin",
        "",
    ),
    // Roles, keys, limits.
    (
        "[[routes]]",
        "[roles.clerk]\ninherits = [\"reeder\"]\n[roles.reader]\n[[routes]]",
        6,
        "there is no role `reeder`",
        "did you mean `reader`?",
    ),
    (
        "[[routes]]",
        "[roles.a]\ninherits = [\"b\"]\n[roles.b]\ninherits = [\"a\"]\n[[routes]]",
        5,
        "role",
        "",
    ),
    (
        "[[routes]]",
        "[auth.api_key]\nkeys = [{ id = \"ci\", hash = \"secret\" }]\n[[routes]]",
        6,
        "a digest is 64 hexadecimal digits",
        "",
    ),
    (
        "[[routes]]",
        "[auth.api_key]\nkeys = [{ id = \"ci\" }]\n[[routes]]",
        6,
        "auth.api_key.keys[0]: `hash` is missing",
        "sha256sum",
    ),
    (
        "[[routes]]",
        "[auth.jwt.main]\nissuer = \"https://id.example\"\naudience = [\"shop\"]\njwks = \"http://127.0.0.1:1/keys\"\nkeep = \"1m\"\n[[routes]]",
        5,
        "`keep` is shorter than `refresh`",
        "several times `refresh`",
    ),
    (
        "[[routes]]",
        "[auth.jwt.main]\nissuer = \"https://id.example\"\naudience = [\"shop\"]\njwks = \"http://id.example/keys\"\n[[routes]]",
        8,
        "jwks",
        "",
    ),
    (
        "[[routes]]",
        "[limits.a]\nrate = \"100\"\n[[routes]]",
        6,
        "`100` is no rate: write `100/s`, `60/min` or `1000/h`",
        "",
    ),
    (
        "[[routes]]",
        "[limits.a]\nrate = \"0/s\"\n[[routes]]",
        6,
        "a rate of 0 lets nobody through",
        "",
    ),
    (
        "[[routes]]",
        "[limits.a]\n[[routes]]",
        5,
        "limits.a: `rate` is missing, and so is `at_once`",
        "add `rate = \"100/s\"`",
    ),
    (
        "[[routes]]",
        "[limits.a]\nrate = \"1/s\"\nkey = \"user\"\n[[routes]]",
        7,
        "limits.a.key: `user` is not one of address, identity",
        "",
    ),
    (
        "[[routes]]",
        "[limits.a]\nrate = \"1/s\"\nspeed = 2\n[[routes]]",
        7,
        "limits.a.speed: there is no key `speed`",
        "known here: rate, burst",
    ),
    (
        "[[routes]]",
        "[limits.a]\nrate = \"1/s\"\nbrust = 2\n[[routes]]",
        7,
        "there is no key `brust`",
        "did you mean `burst`?",
    ),
    (
        "[[routes]]",
        "[limits.a]\nrate = [\"10/s\", \"1/fortnight\"]\n[[routes]]",
        6,
        "limits.a.rate[1]: `1/fortnight` is no rate",
        "",
    ),
    (
        "[[routes]]",
        "[limits.a]\nrate = []\n[[routes]]",
        6,
        "an empty list bounds nothing",
        "write `\"100/s\"`",
    ),
    (
        "[[routes]]",
        "[limits.a]\nrate = 100\n[[routes]]",
        6,
        "limits.a.rate: it must be a list of texts",
        "`100/s`, `60/min`",
    ),
    (
        "[[routes]]",
        "[limits.a]\nrate = [\"10/s\", \"100/h\"]\nburst = 20\n[[routes]]",
        7,
        "`burst` has 1 number, and `rate` has 2 rates",
        "one burst for each rate",
    ),
    (
        "[[routes]]",
        "[limits.a]\nat_once = 5\nburst = 20\n[[routes]]",
        7,
        "`burst` has 1 number, and `rate` has 0 rates",
        "",
    ),
    ("[[routes]]", "[limits.a]\nrate = \"1/s\"\nburst = 0\n[[routes]]", 7, "0 is less than 1", ""),
    ("[[routes]]", "[limits.a]\nat_once = 0\n[[routes]]", 6, "0 is not between 1 and", ""),
    (
        "[[routes]]",
        "[limits.a]\nrate = \"unlimited\"\n[[routes]]",
        5,
        "it has no bound, for no plan",
        "drop the limit",
    ),
    (
        "[[routes]]",
        "[limits.a]\nrate = \"1/s\"\nkey = \"adress\"\n[[routes]]",
        7,
        "`adress` is not one of address, identity",
        "did you mean `address`?",
    ),
    (
        "[[routes]]",
        "[limits.a]\nrate = \"1/s\"\nkey = \"header:a b\"\n[[routes]]",
        7,
        "`a b` is no header name",
        "",
    ),
    (
        "[[routes]]",
        "[limits.a]\nrate = \"1/s\"\nkey = []\n[[routes]]",
        5,
        "`key` says nothing that is counted by",
        "`key = \"everyone\"`",
    ),
    (
        "[[routes]]",
        "[limits.a]\nrate = \"1/s\"\nplans = { pro = \"9/s\" }\n[[routes]]",
        7,
        "a plan is a caller's, and `key` counts by address",
        "`key = \"identity\"`",
    ),
    (
        "[[routes]]",
        "[limits.a]\nrate = \"1/s\"\nkey = \"identity\"\nplans = { pro = {} }\n[[routes]]",
        8,
        "limits.a.plans.pro: it does not say how much",
        "`\"unlimited\"`",
    ),
    (
        "[[routes]]",
        "[limits.a]\nrate = \"1/s\"\nkey = \"identity\"\nplans = { pro = \"0/s\" }\n[[routes]]",
        8,
        "limits.a.plans.pro: a rate of 0",
        "",
    ),
    (
        "[[routes]]",
        "[limits.a]\nrate = \"1/s\"\nkey = \"identity\"\nplans = { pro = { rat = \"9/s\" } }\n[[routes]]",
        8,
        "there is no key `rat`",
        "did you mean `rate`?",
    ),
    (
        "[[routes]]",
        "[limits.a]\nrate = \"1/s\"\nkey = \"identity\"\nplans = [\"pro\"]\n[[routes]]",
        8,
        "limits.a.plans: it must be a table",
        "",
    ),
    (
        "[[routes]]",
        "[limits.a]\nrate = \"1/s\"\nstore = \"shred\"\n[[routes]]",
        7,
        "there is no store `shred`",
        "`[stores.shred]`",
    ),
    (
        "[[routes]]",
        "[limits.a]\nat_once = 5\nstore = \"s\"\n[stores.s]\nredis = \"redis://127.0.0.1\"\n[[routes]]",
        7,
        "`at_once` is counted in each gateway",
        "drop `store`",
    ),
    (
        "[[routes]]",
        "[limits.a]\nrate = \"1/s\"\nleased = true\n[[routes]]",
        7,
        "limits.a.leased: it means nothing without a `store`",
        "drop `leased`",
    ),
    (
        "[[routes]]",
        "[limits.a]\nrate = \"1/s\"\nreplicas = 3\n[[routes]]",
        7,
        "limits.a.replicas: it means nothing without a `store`",
        "",
    ),
    (
        "[[routes]]",
        "[limits.a]\nrate = \"1/s\"\nstore = \"memory\"\non_store_failure = \"open\"\n[[routes]]",
        8,
        "on_store_failure: it means nothing without a `store`",
        "",
    ),
    (
        "[[routes]]",
        "[limits.a]\nrate = \"1/s\"\nstore_timeout = \"1s\"\n[[routes]]",
        7,
        "store_timeout: it means nothing without a `store`",
        "",
    ),
    (
        "[[routes]]",
        "[limits.a]\nrate = \"1/s\"\nstore = \"s\"\non_store_failure = \"open\"\nreplicas = 3\n[stores.s]\nredis = \"redis://127.0.0.1\"\n[[routes]]",
        9,
        "replicas: it means nothing with `on_store_failure = \"open\"`",
        "drop one",
    ),
    (
        "[[routes]]",
        "[limits.a]\nrate = \"1/s\"\nstore = \"s\"\non_store_failure = \"shut\"\n[stores.s]\nredis = \"redis://127.0.0.1\"\n[[routes]]",
        8,
        "`shut` is not one of local, open, closed",
        "",
    ),
    (
        "[[routes]]",
        "[limits.a]\nrate = \"100/s\"\nstore = \"s\"\nleased = true\nwait = \"1s\"\n[stores.s]\nredis = \"redis://127.0.0.1\"\n[[routes]]",
        9,
        "nobody can wait for it",
        "drop `wait` or `leased`",
    ),
    (
        "[[routes]]",
        "[limits.a]\nat_once = 5\nwait = \"1s\"\n[[routes]]",
        7,
        "nobody waits",
        "add `rate",
    ),
    (
        "[[routes]]",
        "[limits.a]\nrate = \"100/s\"\nburst = 4\ncost = 5\n[[routes]]",
        8,
        "a request costs 5, and there is room for 4 at once",
        "`burst = 5`",
    ),
    (
        "[[routes]]",
        "[limits.a]\nrate = \"9/s\"\nkey = \"identity\"\nplans = { low = \"4/s\" }\ncost = 5\n[[routes]]",
        9,
        "there is room for 4 at once",
        "of plans too",
    ),
    (
        "[[routes]]",
        "[limits.a]\nrate = \"9/s\"\ncost = { header = \"x-tokens\", first = 10 }\n[[routes]]",
        7,
        "a request costs 10",
        "",
    ),
    (
        "[[routes]]",
        "[limits.a]\nrate = \"9/s\"\ncost = { first = 1 }\n[[routes]]",
        7,
        "`header` is missing",
        "x-tokens",
    ),
    (
        "[[routes]]",
        "[limits.a]\nrate = \"9/s\"\ncount = \"bytes\"\ncost = 2\n[[routes]]",
        8,
        "`count = \"bytes\"` says already what a request costs",
        "keep one",
    ),
    (
        "[[routes]]",
        "[limits.a]\nrate = \"9/s\"\nexempt = []\n[[routes]]",
        7,
        "limits.a.exempt: an empty list",
        "",
    ),
    (
        "[[routes]]",
        "[limits.a]\nrate = \"9/s\"\nexempt = [\"10.0.0.0/33\"]\n[[routes]]",
        7,
        "is no network",
        "",
    ),
    (
        "[[routes]]",
        "[limits.a]\nrate = \"9/s\"\nexempt_roles = [\"staff\"]\n[[routes]]",
        7,
        "there is no role `staff`",
        "`[roles.staff]`",
    ),
    (
        "[[routes]]",
        "[limits.a]\nrate = \"9/s\"\n[[routes]]",
        5,
        "limits.a: no route names it, so it limits nothing",
        "`everywhere = true`",
    ),
    (
        "to = \"catalog\"",
        "to = \"catalog\"\nlimits = [\"a\"]\n[limits.a]\nrate = \"1/s\"\neverywhere = true",
        9,
        "routes[0].limits[0]: `a` counts everywhere, and so here too",
        "take it out here",
    ),
    (
        "to = \"catalog\"",
        "to = \"catalog\"\nlimits = [\"ä\"]\n[limits.\"ä\"]\nrate = \"1/s\"",
        10,
        "the name stands in answers: write it in plain ASCII",
        "",
    ),
    (
        "listen =",
        "limit_fields = \"both\"\nlisten =",
        2,
        "server.limit_fields: `both` is not one of standard, legacy, off",
        "",
    ),
    ("listen =", "limit_keys = 0\nlisten =", 2, "server.limit_keys: 0 is not between", ""),
    (
        "[server]",
        "[telemetry]\naccess_log = \"xml\"\n[server]",
        2,
        "telemetry.access_log: `xml` is not one of json, text, off",
        "",
    ),
    // Overload.
    (
        "[[routes]]",
        "[overload]\nlimit = 0\n[[routes]]",
        6,
        "overload.limit: 0 is not between 1 and",
        "",
    ),
    (
        "[[routes]]",
        "[overload]\nlimit = \"adaptiv\"\n[[routes]]",
        6,
        "overload.limit: `adaptiv` is not one of adaptive",
        "did you mean `adaptive`?",
    ),
    (
        "[[routes]]",
        "[overload]\nlimit = 1.5\n[[routes]]",
        6,
        "overload.limit: it must be a whole number",
        "`adaptive` finds out",
    ),
    (
        "[[routes]]",
        "[overload]\nqueue = 10\n[[routes]]",
        5,
        "overload: `limit` is missing",
        "add `limit = 500`",
    ),
    (
        "[[routes]]",
        "[overload]\nbetween = [1, 2]\n[[routes]]",
        5,
        "overload: `limit` is missing",
        "add `limit = \"adaptive\"`",
    ),
    (
        "[[routes]]",
        "[overload]\nlimit = 5\nbetween = [1, 10]\n[[routes]]",
        7,
        "overload.between: the limit is a number",
        "say `limit = \"adaptive\"`",
    ),
    (
        "[[routes]]",
        "[overload]\nlimit = \"adaptive\"\nbetween = [10, 1]\n[[routes]]",
        7,
        "overload.between: the least, 10, is more than the most, 1",
        "say the least and the most",
    ),
    (
        "[[routes]]",
        "[overload]\nlimit = \"adaptive\"\nbetween = [10]\n[[routes]]",
        7,
        "overload.between: it must be two numbers",
        "say the least and the most",
    ),
    (
        "[[routes]]",
        "[overload]\nlimit = \"adaptive\"\nbetween = [0, 10]\n[[routes]]",
        7,
        "overload.between[0]: 0 is not between 1 and",
        "",
    ),
    (
        "[[routes]]",
        "[overload]\nlimit = 5\nper_address = 0\n[[routes]]",
        7,
        "overload.per_address: 0 is not between 1 and",
        "",
    ),
    (
        "[[routes]]",
        "[overload]\nlimit = 5\nqueue = 0\n[[routes]]",
        7,
        "overload.queue: 0 is not between 1 and",
        "",
    ),
    (
        "[[routes]]",
        "[overload]\nlimit = 5\nqueue_target = \"5ms\"\n[[routes]]",
        7,
        "overload.queue_target: nobody waits",
        "add `queue = 100`",
    ),
    (
        "[[routes]]",
        "[overload]\nlimit = 5\nqueue_time = \"1s\"\n[[routes]]",
        7,
        "overload.queue_time: nobody waits",
        "or drop `queue_time`",
    ),
    (
        "[[routes]]",
        "[overload]\nlimit = 5\nqueue = 5\nqueue_time = \"0s\"\n[[routes]]",
        8,
        "overload.queue_time: no time at all",
        "leave the key out",
    ),
    (
        "[[routes]]",
        "[overload]\nlimit = 5\nretry_after = \"soon\"\n[[routes]]",
        7,
        "overload.retry_after: `soon` is no time",
        "",
    ),
    (
        "[[routes]]",
        "[overload]\nlimit = 5\nfair = \"yes\"\n[[routes]]",
        7,
        "overload.fair: it must be `true` or `false`",
        "",
    ),
    (
        "[[routes]]",
        "[overload]\nlimit = 5\npaid_plan = [\"pro\"]\n[[routes]]",
        7,
        "overload.paid_plan: there is no key `paid_plan`",
        "did you mean `paid_plans`?",
    ),
    (
        "to = \"catalog\"",
        "to = \"catalog\"\npriority = \"high\"",
        9,
        "routes[0].priority: nobody is shed",
        "add `[overload]`",
    ),
    (
        "to = \"catalog\"",
        "to = \"catalog\"\npriority = \"hihg\"\n[overload]\nlimit = 5",
        9,
        "routes[0].priority: `hihg` is not one of critical, high, normal, low",
        "did you mean `high`?",
    ),
];

#[tokio::test]
async fn each_mistake_is_told_with_its_line_and_a_hint() {
    assert!(ROWS.len() >= 40);
    let mut wrong = Vec::new();
    for (from, to, line, message, hint) in ROWS {
        assert!(SOUND.contains(from), "{from}");
        let text = SOUND.replacen(from, to, 1);
        let done = check(&text).await;
        let said = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(1), "{text}\n{said}");
        let fits = |error: &str| {
            error.contains(&format!("check.toml:{line}: "))
                && error.contains(message)
                && (hint.is_empty() || error.contains("\n    hint: ") && error.contains(hint))
        };
        if !said.split("error: ").any(fits) {
            wrong.push(format!("line {line}, `{message}`, hint `{hint}` in:\n{said}\nof:\n{text}"));
        }
        assert!(!said.contains("panicked"), "{said}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[tokio::test]
async fn everything_is_told_at_once_in_the_order_of_the_lines() {
    let text = SOUND
        .replace("listen =", "lisen =")
        .replace("http://127.0.0.1:9001", "nowhere")
        .replace("\"public\"", "\"pubic\"")
        .replace("to = \"catalog\"", "to = \"katalog\"");
    let said = String::from_utf8(check(&text).await.stderr).unwrap();
    let at = |what: &str| said.find(what).unwrap_or_else(|| panic!("no `{what}` in {said}"));
    assert!(
        at("lisen") < at("nowhere") && at("nowhere") < at("pubic") && at("pubic") < at("katalog")
    );
    assert_eq!(said.matches("error: ").count(), 4, "{said}");
}

#[tokio::test]
async fn a_file_that_is_not_there_is_named() {
    let done = program().args(["check", "--config", "/no/such/file.toml"]).output().await.unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(1));
    assert!(
        said.contains("/no/such/file.toml: it cannot be read") && said.contains("--config FILE"),
        "{said}"
    );
}

#[tokio::test]
async fn an_address_that_is_taken_is_told_by_serve() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let file = TempFile::new("taken.toml", &SOUND.replace("127.0.0.1:0", &address));
    let done = program().arg("serve").arg("--config").arg(&file.0).output().await.unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(1));
    assert!(said.contains(&address) && said.contains("another program listens there"), "{said}");
}

#[tokio::test]
async fn routes_are_printed_for_people_and_for_programs() {
    let file = TempFile::new("routes.toml", SOUND);
    let print = |json: bool| {
        let mut command = program();
        command.arg("routes").arg("--config").arg(&file.0);
        if json {
            command.arg("--json");
        }
        async move { String::from_utf8(command.output().await.unwrap().stdout).unwrap() }
    };
    let table = print(false).await;
    assert!(table.starts_with("NAME  METHODS  PATH"), "{table}");
    assert!(
        table.contains("      GET      /books/{*rest}      public           catalog"),
        "{table}"
    );
    let routes: serde_json::Value = serde_json::from_str(&print(true).await).unwrap();
    assert_eq!(routes[0]["path"], "/books/{*rest}");
    assert_eq!(routes[0]["to"], "catalog");
}

#[tokio::test]
async fn the_page_in_docs_says_what_the_program_does() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    // A package has no such folder.
    let Ok(page) = std::fs::read_to_string(page) else { return };
    let printed = program().arg("reference").output().await.unwrap().stdout;
    let printed = String::from_utf8(printed).unwrap();
    assert!(page == printed, "`cargo run -p portcullis-cli -- reference > docs/configuration.md`");
    for key in ["`strip_prefix`", "`[[routes]]`", "`[upstreams.NAME]`", "`[upstreams.health]`"] {
        assert!(printed.contains(key), "{key}");
    }
}

#[tokio::test]
async fn the_schema_knows_every_table() {
    let done = program().arg("schema").output().await.unwrap();
    let schema: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    for table in [
        "server",
        "telemetry",
        "stores",
        "auth",
        "roles",
        "separation",
        "policies",
        "authorization",
        "limits",
        "overload",
        "cache",
        "upstreams",
        "routes",
    ] {
        assert!(schema["properties"][table].is_object(), "{table}");
    }
    let route = &schema["properties"]["routes"]["items"];
    assert_eq!(route["additionalProperties"], false);
    assert!(
        route["properties"]["access"]["description"].as_str().unwrap().contains("Who may call")
    );
}
