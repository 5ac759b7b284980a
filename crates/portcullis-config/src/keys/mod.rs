//! Which keys there are. What reads the file and what describes it go by the same list.
mod auth;
mod authorization;
mod cache;
mod limits;
mod routes;
mod server;
mod stores;
mod upstreams;

pub(crate) use auth::{
    API_KEY, AUTH, CERTIFICATE, CLAIMS, IDENTITY, IDENTITY_TOKEN, INTROSPECT, JWT, ONE_API_KEY,
    SESSION,
};
pub(crate) use authorization::{
    AUTHORIZATION, DECISION_LOG, POLICY, ROLE, SEPARATION, SHADOW, STEP_UP,
};
pub(crate) use cache::{CACHE, ROUTE_CACHE};
pub(crate) use limits::{BOUNDS, COST, LIMIT, OVERLOAD};
pub(crate) use routes::{ACCESS, CORS, MATCH, MIRROR, ROUTE};
pub(crate) use server::{CERT, SERVER, TELEMETRY};
pub(crate) use stores::STORE;
pub(crate) use upstreams::{BREAKER, HEALTH, OUTLIERS, RETRY_BUDGET, UPSTREAM, UPSTREAM_SERVER};

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
