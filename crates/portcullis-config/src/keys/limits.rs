//! How much: `[limits]`, `[overload]`.
use super::{Key, Kind, key};

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
