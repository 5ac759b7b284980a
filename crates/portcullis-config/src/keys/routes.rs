//! `[[routes]]`.
use super::{Key, Kind, ROUTE_CACHE, STEP_UP, key};

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
