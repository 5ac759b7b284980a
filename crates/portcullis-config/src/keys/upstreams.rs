//! `[upstreams]`.
use super::{IDENTITY, Key, Kind, key};

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
