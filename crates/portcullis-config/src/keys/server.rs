//! `[server]` and `[telemetry]`.
use super::{Key, Kind, key};

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
