//! Who may do what.
use super::{Key, Kind, key};

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
