//! The kinds of problem that authentication answers with.
use http::StatusCode;
use portcullis_core::ProblemKind;

/// A credential was sent, and it is not valid.
pub const CREDENTIALS_INVALID: ProblemKind = ProblemKind::new(
    "credentials-invalid",
    StatusCode::UNAUTHORIZED,
    "The credentials are not valid",
);

/// Whoever could say whether the credentials are valid cannot be asked now.
pub const AUTHENTICATION_UNAVAILABLE: ProblemKind = ProblemKind::new(
    "authentication-unavailable",
    StatusCode::SERVICE_UNAVAILABLE,
    "Nobody can say now who you are",
);

/// Another site's page has sent a request that changes something, with a cookie of ours.
pub const REQUEST_CROSS_SITE: ProblemKind = ProblemKind::new(
    "request-cross-site",
    StatusCode::FORBIDDEN,
    "The request was sent by a page of another site",
);

/// The session has ended while the request was under way, or others change it all the time.
pub const SESSION_CONFLICT: ProblemKind = ProblemKind::new(
    "session-conflict",
    StatusCode::CONFLICT,
    "Your session has changed meanwhile",
);

/// So many passwords are being hashed that this one would wait for too long.
pub const PASSWORDS_BUSY: ProblemKind = ProblemKind::new(
    "passwords-busy",
    StatusCode::SERVICE_UNAVAILABLE,
    "Too many people are logging in at once",
);

/// Too many passwords were tried for an account or from an address, or too many mails asked for.
pub const ATTEMPTS_EXHAUSTED: ProblemKind = ProblemKind::new(
    "attempts-exhausted",
    StatusCode::TOO_MANY_REQUESTS,
    "Too many attempts were made",
);

/// A password is not one that is taken.
pub const PASSWORD_REFUSED: ProblemKind =
    ProblemKind::new("password-refused", StatusCode::BAD_REQUEST, "Choose another password");

/// A link of a mail is not good, or was used already.
pub const LINK_INVALID: ProblemKind =
    ProblemKind::new("link-invalid", StatusCode::BAD_REQUEST, "The link is no longer good");

/// A key was changed so short a while ago that the one before is still good.
pub const KEY_CONFLICT: ProblemKind =
    ProblemKind::new("key-conflict", StatusCode::CONFLICT, "The key was changed a short while ago");

/// So many mails are on their way that no other can be sent.
pub const MAIL_BUSY: ProblemKind = ProblemKind::new(
    "mail-busy",
    StatusCode::SERVICE_UNAVAILABLE,
    "No mail can be sent at the moment",
);

/// Every kind in this module.
pub const ALL: &[ProblemKind] = &[
    CREDENTIALS_INVALID,
    AUTHENTICATION_UNAVAILABLE,
    REQUEST_CROSS_SITE,
    SESSION_CONFLICT,
    PASSWORDS_BUSY,
    ATTEMPTS_EXHAUSTED,
    PASSWORD_REFUSED,
    LINK_INVALID,
    KEY_CONFLICT,
    MAIL_BUSY,
];
