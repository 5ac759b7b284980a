//! What is kept: `[cache]`, and `cache` of a route.
use super::{Key, Kind, key};

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
