//! Which keys there are. What reads the file and what describes it go by the same list.

/// What stands at a key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Text,
    Flag,
    Whole,
    /// Between 0 and 1.
    Share,
    /// `30s`, `500ms`, `2m`, `1h`.
    Duration,
    /// `64KiB`, `2MiB`, or bytes.
    Size,
    /// `100/s`, `60/min`, `1000/h`, `10000/d`, `60/10s`.
    Rate,
    /// One of these.
    OneOf(&'static [&'static str]),
    Texts,
    /// Text by name.
    TextMap,
    /// Weights by name.
    WeightMap,
    /// A list of these.
    List(&'static Kind),
    /// One of these kinds by name.
    ByName(&'static [Kind]),
    Table(&'static [Key]),
    Tables(&'static [Key]),
    /// Tables by name.
    Named(&'static [Key]),
    /// Any of these.
    Either(&'static [Kind]),
}

/// A key, and what is said of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) about: &'static str,
}

const fn key(name: &'static str, kind: Kind, about: &'static str) -> Key {
    Key { name, kind, about }
}

pub(crate) const FILE: &[Key] = &[
    key("server", Kind::Table(SERVER), "Where clients connect, and what they may take."),
    key("telemetry", Kind::Table(TELEMETRY), "What is told about requests."),
    key(
        "stores",
        Kind::Named(STORE),
        "Where sessions, API keys, roles and decisions are kept, and limits counted together, by names of your own.",
    ),
    key("auth", Kind::Table(AUTH), "How callers say who they are."),
    key(
        "identity_token",
        Kind::Table(IDENTITY_TOKEN),
        "Tokens of our own that tell upstreams who is calling; `identity` of an upstream says which get them.",
    ),
    key("roles", Kind::Named(ROLE), "What the roles permit, by their names."),
    key(
        "separation",
        Kind::Named(SEPARATION),
        "Which roles are kept apart, by names of your own (separation of duty).",
    ),
    key("policies", Kind::Named(POLICY), "What roles cannot say, by names of your own."),
    key(
        "authorization",
        Kind::Table(AUTHORIZATION),
        "Where roles are kept beside this file, and what is told of decisions.",
    ),
    key(
        "limits",
        Kind::Named(LIMIT),
        "How much somebody may, by names of your own: plain ASCII, since they stand in answers.",
    ),
    key(
        "overload",
        Kind::Table(OVERLOAD),
        "How many requests are under way at once, and who is shed where there are more: 503 `server-busy`. Each gateway has a limit of its own. Default: no limit.",
    ),
    key(
        "cache",
        Kind::Table(CACHE),
        "What is kept of answers (RFC 9111), and where. Routes say with `cache` that theirs are; where they do and this table is not there, all of it has its default.",
    ),
    key(
        "upstreams",
        Kind::Named(UPSTREAM),
        "The servers behind the gateway, by the names of what they do.",
    ),
    key("routes", Kind::Tables(ROUTE), "Which requests go where, and who may send them."),
];

pub(crate) const SERVER: &[Key] = &[
    key(
        "listen",
        Kind::Either(&[Kind::Text, Kind::Texts]),
        "Where clients connect: `http://127.0.0.1:8080`, `https://0.0.0.0:443`, `unix:/run/x.sock`. Default: `http://127.0.0.1:8080`.",
    ),
    key("observe", Kind::Text, "Where `/healthz`, `/readyz` and `/metrics` are. Default: nowhere."),
    key(
        "admin",
        Kind::Text,
        "Where operators drain, close and reload: a Unix socket, or an address together with `admin_token` and `admin_host`. Default: nowhere.",
    ),
    key(
        "admin_token",
        Kind::Text,
        "What operators send as a bearer token; needed where `admin` is an address.",
    ),
    key(
        "admin_host",
        Kind::Text,
        "The `Host` that operators name; needed where `admin` is an address.",
    ),
    key(
        "workers",
        Kind::Whole,
        "How many workers, each with a runtime of its own. Default: one for each processor.",
    ),
    key(
        "trusted_proxies",
        Kind::Texts,
        "Networks of proxies whose forwarding headers are believed. Default: nobody's.",
    ),
    key(
        "widened_access",
        Kind::OneOf(&["refuse", "allow"]),
        "Whether a reload may let somebody do what they could not do before without being told that it is wanted. Default: refuse.",
    ),
    key(
        "proxy_protocol",
        Kind::Texts,
        "Networks whose connections begin with a PROXY header. Default: none.",
    ),
    key("allow", Kind::Texts, "The only networks that may connect. Default: all."),
    key("deny", Kind::Texts, "Networks that may not connect. Default: none."),
    key(
        "drain",
        Kind::Duration,
        "How long requests have to finish when the gateway ends. Default: 30s.",
    ),
    key(
        "handover",
        Kind::Text,
        "A Unix socket by which the next process takes the listening sockets over. Default: none.",
    ),
    key("certs", Kind::Tables(CERT), "Certificates of `https` listeners."),
    key(
        "client_ca",
        Kind::Text,
        "A PEM file with the authorities that clients' certificates come from; clients must then show one. Default: clients are not asked.",
    ),
    key(
        "body_limit",
        Kind::Size,
        "How large request bodies may be where a route does not say. Default: 2MiB.",
    ),
    key("header_timeout", Kind::Duration, "How long the head of a request may take. Default: 10s."),
    key("idle_timeout", Kind::Duration, "How long a connection may do nothing. Default: 75s."),
    key(
        "max_connections",
        Kind::Whole,
        "How many connections there may be. Default: nine tenths of the file descriptors.",
    ),
    key(
        "max_connections_per_address",
        Kind::Whole,
        "How many connections one address may have. Default: 1024.",
    ),
    key(
        "limit_fields",
        Kind::OneOf(&["standard", "legacy", "off"]),
        "What answers say about limits: `RateLimit` and `RateLimit-Policy`; these and `X-RateLimit-Limit`, `-Remaining` and `-Reset`; or nothing but `Retry-After`. Default: standard.",
    ),
    key(
        "limit_keys",
        Kind::Whole,
        "For how many addresses, callers and so on each limit has room in memory; a million take 38 MB. Where there are more, those are forgotten that have used least. Default: 1000000.",
    ),
];

pub(crate) const CERT: &[Key] = &[
    key("cert", Kind::Text, "The chain, in PEM."),
    key("key", Kind::Text, "The key, in PEM."),
    key("names", Kind::Texts, "The names that it is shown for. Default: those in the certificate."),
];

pub(crate) const TELEMETRY: &[Key] = &[key(
    "access_log",
    Kind::OneOf(&["json", "text", "off"]),
    "How requests are written down. Default: text.",
)];

pub(crate) const AUTH: &[Key] = &[
    key("api_key", Kind::Table(API_KEY), "API keys."),
    key(
        "certificates",
        Kind::Tables(CERTIFICATE),
        "Callers who are known by the certificate of their connection; `client_ca` of the server has them show one.",
    ),
    key(
        "jwt",
        Kind::Named(JWT),
        "Issuers whose tokens are accepted (`Authorization: Bearer`), by names of your own.",
    ),
    key("session", Kind::Table(SESSION), "Sessions of browsers, which an application has begun."),
];

pub(crate) const STORE: &[Key] = &[
    key(
        "sql",
        Kind::Text,
        "A database: `postgres://user:password@host/database`, `mysql://..`, `sqlite://portcullis.db`. `portcullis migrate` makes its tables.",
    ),
    key(
        "redis",
        Kind::Text,
        "A Redis server: `redis://127.0.0.1:6379`. It keeps sessions, and counts limits.",
    ),
    key("prefix", Kind::Text, "What the names of keys in Redis begin with. Default: `portcullis`."),
];

pub(crate) const SESSION: &[Key] = &[
    key("store", Kind::Text, "Where they are: a name of `[stores]`."),
    key(
        "cookie",
        Kind::Text,
        "The name of the cookie, which begins with `__Host-`. Default: `__Host-session`.",
    ),
    key("idle", Kind::Duration, "For how long a session may be unused. Default: 30m."),
    key("absolute", Kind::Duration, "How long a session is at most. Default: 12h."),
    key(
        "trusted_origins",
        Kind::Texts,
        "Other sites whose pages may send requests that change something: `https://app.example`. Default: none.",
    ),
    key(
        "log_in_page",
        Kind::Text,
        "Where a browser logs in: `/account/login`. A page that needs somebody is answered with a redirect there. Default: nowhere.",
    ),
    key(
        "cache",
        Kind::Duration,
        "For how long what the store says of a session is remembered, 1s at most; one that has ended elsewhere goes on for so long. Default: 0s, and the store is asked about each request.",
    ),
    key(
        "insecure_plain_http",
        Kind::Flag,
        "For development: the cookie also goes over plain HTTP, and is called `insecure-session`. Default: false.",
    ),
];

pub(crate) const CERTIFICATE: &[Key] = &[
    key("id", Kind::Text, "Whose certificate it is, for logs and limits."),
    key("dns", Kind::Texts, "DNS names, of which the certificate has one. Default: none."),
    key("uri", Kind::Texts, "URIs, of which the certificate has one. Default: none."),
    key("sha256", Kind::Text, "The SHA-256 digest of the certificate itself, in DER."),
    key("roles", Kind::Texts, "The caller's roles. Default: none."),
    key("tenant", Kind::Text, "The caller's tenant. Default: none."),
];

pub(crate) const JWT: &[Key] = &[
    key("issuer", Kind::Text, "What stands in `iss` of its tokens, letter for letter."),
    key("audience", Kind::Texts, "For whom its tokens are: one of these stands in `aud`."),
    key(
        "jwks",
        Kind::Text,
        "Its keys: `file:keys.json`, or where it publishes them, `https://id.example/jwks`; `http` only on this machine. Default: none, and `introspect` says whom to ask.",
    ),
    key(
        "introspect",
        Kind::Table(INTROSPECT),
        "How it is asked about tokens that are not signed, and about all of its tokens where it has no `jwks` here.",
    ),
    key(
        "bound_only",
        Kind::Flag,
        "Takes only tokens that are bound to their holder, by DPoP or by the certificate of the connection. Default: false, and only those that are bound must come from their holder.",
    ),
    key(
        "jwks_ca",
        Kind::Text,
        "A PEM file with the authorities that the certificate of `jwks` comes from. Default: those that the machine trusts.",
    ),
    key("refresh", Kind::Duration, "How often its keys are fetched. Default: 5m."),
    key(
        "keep",
        Kind::Duration,
        "How long known keys stay good while they cannot be fetched; after that its tokens are 503. Default: 1h.",
    ),
    key(
        "algorithms",
        Kind::Texts,
        "The algorithms that are allowed. Default: RS256, PS256, ES256, EdDSA.",
    ),
    key(
        "types",
        Kind::Texts,
        "The `typ` that its tokens have; one that says none is refused then. Default: none, JWT or at+jwt.",
    ),
    key(
        "leeway",
        Kind::Duration,
        "How much its clock and ours may differ; at most 5m. Default: 30s.",
    ),
    key("claims", Kind::Table(CLAIMS), "Where its tokens say what their subject is to us."),
    key(
        "roles",
        Kind::TextMap,
        "Which value of the claim for roles is which of our roles; what is not named gives none. `\"*\" = \"*\"` is the role of the same name.",
    ),
];

pub(crate) const INTROSPECT: &[Key] = &[
    key(
        "url",
        Kind::Text,
        "Where it is asked: `https://id.example/introspect`; `http` only on this machine.",
    ),
    key(
        "ca",
        Kind::Text,
        "A PEM file with the authorities that its certificate comes from. Default: those that the machine trusts.",
    ),
    key("client_id", Kind::Text, "What we are called there."),
    key("client_secret", Kind::Text, "Our secret there: `${NAME}` from the environment."),
    key(
        "remember",
        Kind::Duration,
        "How long its answer counts, and so how long a token stays good that it has revoked; at most 5m, 0s asks each time. Default: 10s.",
    ),
    key(
        "prefix",
        Kind::Text,
        "What its opaque tokens begin with, so that it is not asked about others. Default: whatever.",
    ),
    key(
        "without_audience",
        Kind::Flag,
        "Takes tokens too of which it does not say for whom they are. Default: false.",
    ),
];

pub(crate) const CLAIMS: &[Key] = &[
    key("roles", Kind::Text, "A JSON pointer to the roles: `/roles`. Default: there are none."),
    key("tenant", Kind::Text, "To the tenant. Default: there is none."),
    key("plan", Kind::Text, "To the plan. Default: there is none."),
    key("scopes", Kind::Text, "To the scopes. Default: `/scope`."),
];

pub(crate) const API_KEY: &[Key] = &[
    key("header", Kind::Text, "The header that carries the key. Default: `x-api-key`."),
    key(
        "basic",
        Kind::Flag,
        "Accepts them by `Authorization: Basic` too, with the `id` for a name and the key for a password. Default: false.",
    ),
    key("keys", Kind::Tables(ONE_API_KEY), "The keys."),
    key(
        "store",
        Kind::Text,
        "A store that has keys too: a name of `[stores]` with `sql`. Default: none.",
    ),
];

pub(crate) const ONE_API_KEY: &[Key] = &[
    key("id", Kind::Text, "Whose key it is, for logs and limits."),
    key("hash", Kind::Text, "The SHA-256 digest of the key, in hexadecimal digits."),
    key("roles", Kind::Texts, "The caller's roles. Default: none."),
    key(
        "scopes",
        Kind::Texts,
        "What the caller's key is for, for servers that ask. Default: none.",
    ),
    key("tenant", Kind::Text, "The caller's tenant. Default: none."),
    key("plan", Kind::Text, "The caller's plan, for `plans` of limits. Default: none."),
    key(
        "expires",
        Kind::Text,
        "Until when it is good, as `2027-01-31T00:00:00Z`. Default: for ever. Two keys may have one `id`: the new one, and the old one for a while.",
    ),
];

pub(crate) const ROLE: &[Key] = &[
    key(
        "permissions",
        Kind::Texts,
        "What it permits: `orders:write`, `orders:*`, `*:read`, `*`. Default: nothing.",
    ),
    key("inherits", Kind::Texts, "Roles whose permissions it has too. Default: none."),
];

pub(crate) const SEPARATION: &[Key] = &[
    key("roles", Kind::Texts, "The roles."),
    key(
        "too_many",
        Kind::Whole,
        "How many of them are too many for one, inherited ones included: 2 or more. Who has them all the same can use none of them. Default: 2.",
    ),
    key(
        "kind",
        Kind::OneOf(&["static", "dynamic"]),
        "`static`: nobody may have so many. `dynamic`: nobody may use so many at once. Default: static.",
    ),
];

pub(crate) const POLICY: &[Key] = &[
    key("cedar", Kind::Text, "A file with policies in Cedar."),
    key(
        "schema",
        Kind::Text,
        "A file with the schema that they are checked by, in Cedar's own form. Default: none.",
    ),
    key("entities", Kind::Text, "A file with further entities, as JSON. Default: none."),
    key(
        "headers",
        Kind::Texts,
        "Which headers of a request they see, in `context.headers`. Default: none.",
    ),
];

pub(crate) const AUTHORIZATION: &[Key] = &[
    key(
        "store",
        Kind::Text,
        "The store that keeps further roles, and who has which: a name of `[stores]` with `sql`. `portcullis role` changes them, and they are followed within a second; once the store has been away for 30 s, nothing is decided by roles: 503. Names that the file does not know may stand there, so slips of the pen are not told. Default: none.",
    ),
    key(
        "explain",
        Kind::Text,
        "The permission by which a caller who sends `portcullis-explain: ?1` is told what was decided and why. Default: nobody is.",
    ),
    key(
        "decision_log",
        Kind::Table(DECISION_LOG),
        "Writes down who was let in, who was not, and why. Default: nothing is written.",
    ),
    key(
        "shadow",
        Kind::Text,
        "A file with `[roles]`, `[separation]` and `[policies]` that run beside those of this file: what they would decide otherwise is logged and counted, and changes nothing. Default: none.",
    ),
];

pub(crate) const DECISION_LOG: &[Key] = &[
    key("to", Kind::Text, "`log`, or a name of `[stores]` with `sql`. Default: log."),
    key(
        "allowed",
        Kind::Share,
        "Which share of what is allowed; what is not is written always. Default: 1.",
    ),
    key("subjects", Kind::Flag, "Whether it says who it was, beside their roles. Default: true."),
    key(
        "paths",
        Kind::Flag,
        "Whether it says the path, without the query, and not only the template. Default: true.",
    ),
];

pub(crate) const SHADOW: &[Key] = &[
    key("roles", Kind::Named(ROLE), "What the roles would permit."),
    key("separation", Kind::Named(SEPARATION), "Which roles would be kept apart."),
    key("policies", Kind::Named(POLICY), "What the policies would be."),
];

pub(crate) const STEP_UP: &[Key] = &[
    key("level", Kind::Whole, "The assurance level that is needed: 1, 2 or 3. Default: any."),
    key("max_age", Kind::Duration, "How long ago the caller may have logged in. Default: ever."),
];

const RATES: &[Kind] = &[Kind::Rate, Kind::List(&Kind::Rate)];
const WHOLES: &[Kind] = &[Kind::Whole, Kind::List(&Kind::Whole)];

pub(crate) const LIMIT: &[Key] = &[
    key(
        "rate",
        Kind::Either(RATES),
        "How much in how much time: `100/s`, `60/min`, `1000/h`, `10000/d`, `60/10s`; a list where all of them count. Of bytes also `10MiB/s`.",
    ),
    key(
        "burst",
        Kind::Either(WHOLES),
        "How much may come at once; with several rates one for each, in their order. Default: as much as in the time of the rate.",
    ),
    key(
        "at_once",
        Kind::Whole,
        "How many requests may be under way at once, until their answers are over; in each process. Default: no limit.",
    ),
    key(
        "key",
        Kind::Either(&[Kind::Text, Kind::Texts]),
        "What is counted by: `address` (IPv6 by its /64), `identity`, `tenant`, `key` (the API key), `header:NAME`, `route`, `everyone`; a list counts by all of them together. Where a request has no such thing: the tenant's is the identity, the identity's and a header's is the address. Default: address.",
    ),
    key(
        "plans",
        Kind::ByName(&[Kind::Rate, Kind::List(&Kind::Rate), Kind::Table(BOUNDS)]),
        "What callers of a plan may in place of `rate`, `burst` and `at_once`: `{ pro = \"600/min\", internal = \"unlimited\" }`. Default: all are alike.",
    ),
    key(
        "count",
        Kind::OneOf(&["requests", "bytes", "refusals"]),
        "What is counted: requests, the bytes of answers, or answers with 401 and 403 alone, so that guessing is limited and nothing else. Default: requests.",
    ),
    key(
        "cost",
        Kind::Either(&[Kind::Whole, Kind::Table(COST)]),
        "How much one request counts. Default: 1.",
    ),
    key(
        "wait",
        Kind::Duration,
        "How long a request may wait until there is room for it, before it is refused. Default: 0s.",
    ),
    key(
        "shadow",
        Kind::Flag,
        "Refuses nobody, and only counts whom it would refuse. Default: false.",
    ),
    key("exempt", Kind::Texts, "Networks of clients that are not counted. Default: none."),
    key(
        "exempt_roles",
        Kind::Texts,
        "Roles whose callers are not counted; it counts behind authentication then. Default: none.",
    ),
    key(
        "everywhere",
        Kind::Flag,
        "Counts the requests of every route, and no route names it. By address, header or everyone it counts whatever comes, also what no route answers. Default: false.",
    ),
    key(
        "store",
        Kind::Text,
        "Where it is counted: `memory`, or a name of `[stores]`, in which several gateways count together. Default: memory.",
    ),
    key(
        "leased",
        Kind::Flag,
        "Takes a tenth of the burst from the store ahead, so that most requests do not ask it; each gateway may let through so much more. Default: false.",
    ),
    key(
        "on_store_failure",
        Kind::OneOf(&["local", "open", "closed"]),
        "What happens while the store does not answer: each gateway counts its share, everybody gets through, or nobody does. Default: local.",
    ),
    key(
        "replicas",
        Kind::Whole,
        "How many gateways share it, for `on_store_failure = \"local\"`. Default: 1.",
    ),
    key(
        "store_timeout",
        Kind::Duration,
        "How long the store may take for an answer. Limits of one store are asked about together where they say the same. Default: 40ms.",
    ),
];

pub(crate) const BOUNDS: &[Key] = &[
    key("rate", Kind::Either(RATES), "As of the limit. Default: no limit."),
    key("burst", Kind::Either(WHOLES), "As of the limit."),
    key("at_once", Kind::Whole, "As of the limit."),
];

pub(crate) const COST: &[Key] = &[
    key(
        "header",
        Kind::Text,
        "The header of answers in which the server says how much it was, as a number.",
    ),
    key("first", Kind::Whole, "How much is taken until that is known. Default: 1."),
];

pub(crate) const OVERLOAD: &[Key] = &[
    key(
        "limit",
        Kind::Either(&[Kind::Whole, Kind::OneOf(&["adaptive"])]),
        "How many requests may be under way, until their answers are over; `adaptive` finds out, by how long the answers take.",
    ),
    key(
        "between",
        Kind::List(&Kind::Whole),
        "The least and the most that `adaptive` may find. Default: `[10, 1000]`.",
    ),
    key(
        "per_address",
        Kind::Whole,
        "How many requests of one address (IPv6 by its /64) may be under way, counted in front of everything. Default: no limit.",
    ),
    key(
        "fair",
        Kind::Flag,
        "Whether tenants share the limit where it is used up; a caller without one counts alone, and who is not known by address. Default: true.",
    ),
    key(
        "queue",
        Kind::Whole,
        "How many requests may wait for room; the more important go first, and tenants take turns. Default: none.",
    ),
    key(
        "queue_target",
        Kind::Duration,
        "How long a wait is good: where all are longer for 100ms, some requests are shed from the queue (CoDel). Default: 5ms.",
    ),
    key("queue_time", Kind::Duration, "How long a request waits at most. Default: 500ms."),
    key(
        "retry_after",
        Kind::Duration,
        "What `Retry-After` says to who is shed, in whole seconds. Default: 1s.",
    ),
    key(
        "paid_plans",
        Kind::Texts,
        "The plans whose callers have priority `high`. Default: every plan.",
    ),
    key(
        "reserve",
        Kind::Whole,
        "How many requests of critical routes may be under way beyond the limit. Default: a tenth of the limit, at least 1.",
    ),
];

pub(crate) const CACHE: &[Key] = &[
    key(
        "capacity",
        Kind::Size,
        "How much memory the gateway has for answers, in all its workers together. Default: 64MiB.",
    ),
    key(
        "store",
        Kind::Either(&[Kind::Text, Kind::Texts]),
        "Where they are kept: `memory`; a name of `[stores]` with `redis`, which several gateways share; or both, `[\"memory\", \"NAME\"]`, where memory has what is asked for often. While the store does not answer nothing is found, and all goes to the servers. Default: memory.",
    ),
    key(
        "preset",
        Kind::OneOf(&["application", "rfc"]),
        "Which rules hold. `application`: what a caller gets who is known, or who sends `Authorization` or a cookie that nobody has looked at, is kept for others only where the answer says `public` or `s-maxage`, and an answer with `Set-Cookie` is not kept. `rfc`: every clause of RFC 9111, and no more. Default: application.",
    ),
    key(
        "largest",
        Kind::Size,
        "How large the body of one answer may be that is kept. Default: an eighth of `capacity`, and at most 16MiB.",
    ),
    key(
        "name",
        Kind::Text,
        "What it is called in `Cache-Status` (RFC 9211): a token. Default: portcullis.",
    ),
    key(
        "targeted",
        Kind::Texts,
        "Fields of answers that are meant for this cache, and count in place of `Cache-Control` (RFC 9213); of several the first that is there. Default: `cdn-cache-control`.",
    ),
    key(
        "ignore_headers",
        Kind::Texts,
        "Headers of requests that no upstream looks at, though clients do not usually send them. With `preset = \"application\"` an answer to a request with an unusual header is shared only where its `Vary` names the header. Default: none.",
    ),
    key(
        "hide_tags",
        Kind::Flag,
        "Takes `Surrogate-Key` and `Cache-Tag`, which say by what answers can be purged, out of answers of routes that are cached. Default: true, and false with `preset = \"rfc\"`.",
    ),
    key("compress", Kind::Flag, "Compresses bodies in the store. Default: false."),
    key(
        "background",
        Kind::Whole,
        "How many stale answers may be asked for anew at once while clients have the old ones (`stale-while-revalidate`). Default: 64.",
    ),
];

pub(crate) const ROUTE_CACHE: &[Key] = &[
    key(
        "scope",
        Kind::OneOf(&["public", "tenant", "identity"]),
        "Who shares what is kept: everybody; the callers of one tenant that have the same roles and scopes; or nobody beside the caller. `public` is for public routes, and the others are for those that are not. Default: `public` where the route is public, and `identity` elsewhere. What is neither explicitly fresh nor has a `default_ttl` is kept for no tenant and no caller.",
    ),
    key(
        "default_ttl",
        Kind::Duration,
        "How long an answer is good that says nothing about it: no `Cache-Control`, no `Expires`. Default: it is not kept; with `preset = \"rfc\"`, a tenth of the time since `Last-Modified`.",
    ),
    key(
        "purge",
        Kind::Flag,
        "Whoever may call it may `PURGE` its URLs: PURGE is named in its `methods`, and it is neither public nor optional. Default: false, and PURGE is a method like others. Operators purge by `POST /purge` at `admin`.",
    ),
];

pub(crate) const UPSTREAM: &[Key] = &[
    key(
        "servers",
        Kind::Either(&[Kind::Texts, Kind::Tables(UPSTREAM_SERVER)]),
        "Where the servers are: `http://127.0.0.1:9001`, `https://api.example`, `h2c://10.0.0.7:50051`, `unix:/run/api.sock`.",
    ),
    key("srv", Kind::Text, "The SRV records that name the servers, such as `_api._tcp.example`."),
    key(
        "scheme",
        Kind::OneOf(&["http", "https", "h2c"]),
        "What servers speak that SRV records name. Default: http.",
    ),
    key("file", Kind::Text, "A file with a server a line, which is looked at every second."),
    key(
        "balance",
        Kind::Text,
        "How requests are shared out: `p2c`, `round_robin`, `least_requests`, `hash:header:NAME`, `hash:address`, `hash:identity`, `sticky:COOKIE`. Default: p2c.",
    ),
    key(
        "connect_timeout",
        Kind::Duration,
        "How long a connection to one server may take to open, or to come free. Default: 1s.",
    ),
    key("timeout", Kind::Duration, "How long the head of an answer may take. Default: 30s."),
    key("body_idle", Kind::Duration, "How long the body of an answer may pause. Default: 60s."),
    key("idle_timeout", Kind::Duration, "How long an unused connection is kept. Default: 60s."),
    key("connections", Kind::Whole, "How many connections one server may have. Default: 1024."),
    key(
        "health",
        Kind::Table(HEALTH),
        "How servers are asked whether they are well. Default: they are not.",
    ),
    key(
        "outliers",
        Kind::Table(OUTLIERS),
        "When a server that keeps failing is left alone. One that takes no connection is left alone at once, until a health check reaches it.",
    ),
    key(
        "retries",
        Kind::Whole,
        "How often a request is sent again that failed (no answer, none in time, 502, 503, 504), where that does no harm: its method is idempotent, and its body is at most 64KiB. Default: 1.",
    ),
    key(
        "retry_budget",
        Kind::Table(RETRY_BUDGET),
        "How much is sent again at most, retries and hedges together.",
    ),
    key(
        "try_timeout",
        Kind::Duration,
        "How long the head of an answer may take in one try; `timeout` is for all of them. Default: as `timeout`.",
    ),
    key(
        "hedge",
        Kind::Duration,
        "Asks a second server too when the first has not answered after this time, and takes what comes first. For requests that change nothing and have no body, and where there is a second server. Default: never.",
    ),
    key(
        "breaker",
        Kind::Table(BREAKER),
        "When nobody is asked any more because too much fails: clients get 503 at once. Default: never.",
    ),
    key(
        "requests",
        Kind::Whole,
        "How many requests may be under way; one more is 503 at once. A connection that has changed its protocol is none. Default: no limit.",
    ),
    key(
        "slow_start",
        Kind::Duration,
        "For how long a server that is new, or well again, gets less than its share. Default: 0s.",
    ),
    key(
        "panic_threshold",
        Kind::Share,
        "Below which share of available servers health is not believed. Default: 0.",
    ),
    key(
        "ca",
        Kind::Text,
        "A PEM file with the authorities that servers' certificates come from. Default: those that the machine trusts.",
    ),
    key("client_cert", Kind::Text, "Our own certificate, in PEM, for servers that ask for it."),
    key("client_key", Kind::Text, "The key of `client_cert`, in PEM."),
    key(
        "http1_only",
        Kind::Flag,
        "Speaks HTTP/1.1 also to servers that offer HTTP/2. Default: false.",
    ),
    key(
        "host",
        Kind::Text,
        "The `Host` that servers see: `keep`, `server`, or a name. Default: keep.",
    ),
    key(
        "forwarding",
        Kind::OneOf(&["x-forwarded", "forwarded", "both", "none"]),
        "The headers that say where a request comes from. Default: x-forwarded.",
    ),
    key("identity", Kind::Table(IDENTITY), "Headers that say who is calling. Default: none."),
];

pub(crate) const UPSTREAM_SERVER: &[Key] = &[
    key("url", Kind::Text, "Where it is."),
    key("weight", Kind::Whole, "How much more it gets than one of weight 1. Default: 1."),
    key(
        "priority",
        Kind::Whole,
        "It gets requests once those of lower numbers are not available. Default: 0.",
    ),
];

pub(crate) const HEALTH: &[Key] = &[
    key("path", Kind::Text, "Asked for by GET; every 2xx is well."),
    key("tcp", Kind::Flag, "Opens a connection, and no more."),
    key(
        "grpc",
        Kind::Text,
        "Asks `grpc.health.v1.Health` for this service; empty is the server as a whole.",
    ),
    key("host", Kind::Text, "The `Host` that is named. Default: the server's own."),
    key("interval", Kind::Duration, "How often. Default: 2s."),
    key("timeout", Kind::Duration, "How long an answer may take. Default: 1s."),
    key("fall", Kind::Whole, "Failures in a row until it is not well. Default: 3."),
    key("rise", Kind::Whole, "Successes in a row until it is well again. Default: 2."),
];

pub(crate) const OUTLIERS: &[Key] = &[
    key("failures", Kind::Whole, "Failures in a row; 0 turns it off. Default: 5."),
    key("base", Kind::Duration, "For how long at first. Default: 10s."),
    key("longest", Kind::Duration, "For how long at most. Default: 5m."),
    key("most", Kind::Share, "Which share of the servers at a time. Default: 0.3."),
];

pub(crate) const RETRY_BUDGET: &[Key] = &[
    key("share", Kind::Share, "Of the requests of the last 10 seconds. Default: 0.2."),
    key("per_second", Kind::Whole, "So many besides. Default: 10."),
];

pub(crate) const BREAKER: &[Key] = &[
    key(
        "error_rate",
        Kind::Share,
        "Which share of the tries may fail; a request that is sent again is several. Default: 0.5.",
    ),
    key(
        "min",
        Kind::Whole,
        "How many tries there must be, for a share to mean anything. Default: 20.",
    ),
    key("window", Kind::Duration, "Over how long it is counted. Default: 10s."),
    key("open", Kind::Duration, "How long nobody is asked then. Default: 10s."),
    key(
        "probes",
        Kind::Whole,
        "How many are let through after that, and must go well. Default: 3.",
    ),
    key("slow", Kind::Duration, "What takes longer than this is slow. Default: nothing is."),
    key("slow_rate", Kind::Share, "Which share may be slow. Default: 1."),
];

pub(crate) const IDENTITY: &[Key] = &[
    key("subject", Kind::Text, "The header for who they are."),
    key("roles", Kind::Text, "The header for their roles."),
    key("tenant", Kind::Text, "The header for their tenant."),
    key(
        "token",
        Kind::Text,
        "For whom a signed token says who they are (`aud`), as `[identity_token]` says. Default: none is sent.",
    ),
    key(
        "token_header",
        Kind::Text,
        "The header for the token. Default: `authorization`, as a bearer token.",
    ),
];

pub(crate) const IDENTITY_TOKEN: &[Key] = &[
    key("issuer", Kind::Text, "What stands in `iss` of the tokens: `https://gateway.example`."),
    key(
        "keys",
        Kind::Texts,
        "PEM files with private keys, of P-256 or Ed25519. The first one signs; the others are published too, since they have signed or will.",
    ),
    key("lifetime", Kind::Duration, "How long a token is good: 10s to 1h. Default: 1m."),
];

pub(crate) const ROUTE: &[Key] = &[
    key("name", Kind::Text, "What it is called. Default: nothing."),
    key("match", Kind::Table(MATCH), "Which requests it is for."),
    key(
        "access",
        Kind::Either(&[Kind::OneOf(&["public", "optional", "authenticated"]), Kind::Table(ACCESS)]),
        "Who may call: `public`, `optional`, `authenticated`, `{ permission = \"orders:write\" }`, `{ policy = \"owners\" }`, `{ scopes = [\"orders\"] }`.",
    ),
    key(
        "step_up",
        Kind::Either(&[Kind::Flag, Kind::Table(STEP_UP)]),
        "Asks for a stronger or a fresher proof of identity: `true` is two factors, `{ max_age = \"5m\" }` a log-in of the last five minutes. Default: false.",
    ),
    key("limits", Kind::Texts, "The limits that count its requests. Default: none."),
    key(
        "priority",
        Kind::OneOf(&["critical", "high", "normal", "low"]),
        "How important it is where `[overload]` sheds, whoever calls. Default: by who asks, `high` with a plan, `normal` without one, and `low` for anybody who is not known.",
    ),
    key(
        "to",
        Kind::Either(&[Kind::Text, Kind::WeightMap]),
        "The upstream, or upstreams with their shares: `{ stable = 95, canary = 5 }`.",
    ),
    key(
        "jwks",
        Kind::Flag,
        "Answers with the keys that upstreams verify identity tokens by, in place of `to`. Default: false.",
    ),
    key(
        "sticky",
        Kind::Text,
        "How a client stays with its share: `identity` or `cookie:NAME`. Default: it does not.",
    ),
    key("mirror", Kind::Table(MIRROR), "Where copies of the requests go. Default: nowhere."),
    key(
        "redirect",
        Kind::Text,
        "Sends clients elsewhere. `{host}`, `{path}`, `{query}` and the parameters of the path may stand in it: `https://new.example{path}{query}`, `/new/{rest}`.",
    ),
    key(
        "status",
        Kind::Whole,
        "The status of a redirect: 301, 302, 303, 307 or 308. Default: 308.",
    ),
    key("strip_prefix", Kind::Text, "Taken off the path. Default: nothing."),
    key("add_prefix", Kind::Text, "Put in front of the path. Default: nothing."),
    key(
        "rewrite",
        Kind::Text,
        "The path for the server, of the parameters of the path: `/v2/{rest}`. Default: as it is.",
    ),
    key(
        "request_headers",
        Kind::TextMap,
        "Headers that requests get; an empty value takes the header away.",
    ),
    key(
        "response_headers",
        Kind::TextMap,
        "Headers that answers get; an empty value takes the header away.",
    ),
    key("body_limit", Kind::Size, "How large request bodies may be. Default: the server's."),
    key(
        "grpc_web",
        Kind::Flag,
        "Translates gRPC-Web, which browsers speak, into gRPC for the servers; `cors` then lets pages send and read what that needs. Default: false.",
    ),
    key(
        "streaming",
        Kind::Flag,
        "Bodies of requests may pause, and take as long as they like. Answers may too, up to the upstream's `body_idle`. Default: false.",
    ),
    key(
        "timeout",
        Kind::Duration,
        "How long a request may take, up to the head of its answer. Default: the upstream's.",
    ),
    key("only_from", Kind::Texts, "The only networks that may call. Default: all."),
    key(
        "compress",
        Kind::Flag,
        "Compresses answers for clients that take it (br, gzip, zstd). Not for answers that hold a secret beside what a client chose. Default: false.",
    ),
    key(
        "cache",
        Kind::Either(&[Kind::Flag, Kind::Table(ROUTE_CACHE)]),
        "Keeps answers, as they and `[cache]` allow it: `true`, or `{ default_ttl = \"60s\" }`. Default: false.",
    ),
    key(
        "cors",
        Kind::Table(CORS),
        "Which pages of other origins may read the answers. Default: none.",
    ),
];

pub(crate) const CORS: &[Key] = &[
    key("origins", Kind::Texts, "The origins: `https://shop.example`; `*` alone for all."),
    key(
        "methods",
        Kind::Texts,
        "The methods that pages may use. Default: those of the route, or GET, HEAD and POST.",
    ),
    key(
        "headers",
        Kind::Texts,
        "The headers that pages may send. Default: none but the simple ones.",
    ),
    key(
        "expose",
        Kind::Texts,
        "The headers of answers that pages may read. Default: none but the simple ones.",
    ),
    key("credentials", Kind::Flag, "Pages may send cookies. Not with `*`. Default: false."),
    key("max_age", Kind::Duration, "How long browsers remember what is allowed. Default: 5s."),
];

pub(crate) const MATCH: &[Key] = &[
    key("path", Kind::Text, "The path: `/books/{id}`, `/books/{*rest}`."),
    key("methods", Kind::Texts, "The methods; GET includes HEAD. Default: all."),
    key("hosts", Kind::Texts, "The hosts: `shop.example`, `*.shop.example`. Default: all."),
    key("headers", Kind::TextMap, "Headers that a request has; with an empty value, any."),
    key(
        "query",
        Kind::TextMap,
        "Parameters of the query that a request has; with an empty value, any.",
    ),
    key("addresses", Kind::Texts, "Networks that a request comes from."),
];

pub(crate) const ACCESS: &[Key] = &[
    key(
        "permission",
        Kind::Text,
        "What the caller's roles must permit. Default: nothing, and everybody may call who says who they are.",
    ),
    key(
        "policy",
        Kind::Text,
        "The policy that must allow it, a name of `[policies]`, in place of `permission`. Default: none.",
    ),
    key(
        "scopes",
        Kind::Texts,
        "What the caller's token or key must be for, all of it. Default: nothing.",
    ),
    key(
        "issuers",
        Kind::Texts,
        "Whose callers are taken: names of `[auth.jwt]`, `api_key` and `certificates`. Default: all.",
    ),
];

pub(crate) const MIRROR: &[Key] = &[
    key("to", Kind::Text, "The upstream."),
    key("share", Kind::Share, "Which share of the requests. Default: 1."),
];
