//! Who is calling, and who is told of it: `[auth]`, `[identity_token]`.
use super::{Key, Kind, key};

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
