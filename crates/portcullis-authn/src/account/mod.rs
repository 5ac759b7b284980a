//! Accounts: endpoints to mount for registering, logging in and out, passwords, sessions and keys.
mod email;
mod flows;
mod input;
mod mail;
mod one_time;
mod page;
mod service;
mod signed_in;
#[cfg(feature = "smtp")]
mod smtp;
mod users;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::{Clock, ConfigError, ConfigErrors};
use tokio::runtime::Handle;

pub use self::email::Email;
use self::mail::Post;
pub use self::mail::{LogMailer, Mail, MailKind, Mailer};
pub use self::one_time::{MemoryTokens, OneTimeToken, OneTimeTokens, Purpose};
pub use self::page::{Page, PageKind, Pages, PlainPages};
pub use self::service::AccountsFuture;
#[cfg(feature = "smtp")]
pub use self::smtp::{SmtpError, SmtpMailer};
pub use self::users::{Account, MemoryUsers, Users};
use crate::own_path::own_path;
use crate::password::{Attempts, PasswordRules, Passwords};
use crate::stored_key::KeyStore;

/// Endpoints for accounts, as a service to mount: register, verify, log in, log out, reset, change of password and address, sessions, keys. Each reads JSON and the forms of
/// its own pages, and answers in kind. Cheap to clone.
///
/// It stands behind an [`AuthenticateLayer`](crate::AuthenticateLayer) with [`Sessions`](crate::Sessions), on routes of optional access:
/// `.nest("/account", Router::new().fallback_service(accounts), optional())`.
///
/// Each path is a page by GET, and does something by POST:
///
/// | path | reads (`?` may be missing) | does | answers |
/// |---|---|---|---|
/// | `/register` | `email`, `password` | sends a mail; there is no account before its link is followed | 202 `{}` |
/// | `/verify` | `token`, `password` | makes the account, and logs in | 201 `{"subject"}` |
/// | `/login` | `email`, `password`, `next?` | logs in | 200 `{"subject"}` |
/// | `/logout` | | ends the session | 200 `{}` |
/// | `/reset` | `email` | sends a mail | 202 `{}` |
/// | `/reset/confirm` | `token`, `password`, `keys?` | puts another password, and ends all sessions; with `keys` = `end` all keys too | 200 `{}` |
/// | `/password` | `current`, `password`, `keys?` | puts another password, and ends all other sessions; with `keys` = `end` all keys too | 200 `{}` |
/// | `/email` | `current`, `email` | sends a mail to the new address | 202 `{}` |
/// | `/email/confirm` | `token` | puts the new address | 200 `{}` |
/// | `/sessions` | | GET alone: the own sessions | 200 `[{"name", "is_current", "created", "used", "expires", "agent"}]` |
/// | `/sessions/end` | `name` | ends the session of this name, or with `others` all but this one | 200 `{"ended": 1}` |
/// | `/keys` | `label?`, `days?` (1 to 3650), `scopes?` (words), `current` | makes a key, and says it this once; GET: the own keys | 201 `{"id", "key", ..}`; 200 `[{"id", "label", "created", "used", "expires", "scopes", "previous_until"}]` |
/// | `/keys/rotate` | `id`, `current` | gives a key another text; the old one is good for a day more | 200 `{"id", "key", ..}` |
/// | `/keys/end` | `id` | ends a key | 200 `{"ended": 1}` |
///
/// Times are seconds since 1970. What needs somebody (from `/password` on) needs a session: a key or a token does not count, and 401 says so. To a browser's form the answer is a page, or 303 to where it goes on: after
/// a log-in to `next`, where that is a path of this site. What is wrong is a problem in JSON, and the page again with what is wrong for a form.
///
/// Whoever logs in is to the rest of the application who [`Users`] says they are, by a session as by a key: the same issuer and subject. Log-ins, and what changes an account, are lines of the log with the
/// target `portcullis::audit`.
///
/// Nobody learns from an answer who has an account: not by its status, its text, its length or what is done for it. Tokens of mails are good once and for an hour. Whoever registers
/// with the address of somebody else gets nothing by it: its link asks for the password that was chosen with it.
///
/// # Cancellation
/// A request that is dropped may have done a part of what it asks for, and each part is whole: a password that is put is put, though its sessions may still have to be ended.
#[derive(Clone)]
pub struct Accounts(Arc<Inner>);

pub(crate) struct Inner {
    users: Arc<dyn Users>,
    tokens: Arc<dyn OneTimeTokens>,
    keys: Option<Arc<dyn KeyStore>>,
    post: Post,
    pages: Arc<dyn Pages>,
    passwords: Passwords,
    rules: PasswordRules,
    attempts: Attempts,
    mails: Attempts,
    service: String,
    /// `https://shop.example`.
    base: String,
    mount: String,
    after_log_in: String,
    after_log_out: String,
    key_prefix: String,
}

/// How long the link of a mail is good.
const LINK: Duration = Duration::from_secs(3_600);
/// How often what is over is taken away.
const SWEEP: Duration = Duration::from_secs(600);

/// Builds [`Accounts`].
#[derive(Debug)]
#[must_use = "the endpoints are made by `build`"]
pub struct AccountsBuilder {
    base: String,
    users: Arc<dyn Users>,
    tokens: Arc<dyn OneTimeTokens>,
    mailer: Arc<dyn Mailer>,
    keys: Option<Arc<dyn KeyStore>>,
    pages: Arc<dyn Pages>,
    passwords: Option<Passwords>,
    rules: PasswordRules,
    attempts: Attempts,
    mails: Attempts,
    service: Option<String>,
    mount: String,
    after_log_in: String,
    after_log_out: String,
    key_prefix: String,
}

impl Accounts {
    /// Begins with these users, tokens of mails, and mails. `base` is where the site is, `https://shop.example`: links of mails begin with it, whatever a request calls its host.
    pub fn builder(
        base: impl Into<String>,
        users: impl Users,
        tokens: impl OneTimeTokens,
        mailer: impl Mailer,
    ) -> AccountsBuilder {
        AccountsBuilder {
            base: base.into(),
            users: Arc::new(users),
            tokens: Arc::new(tokens),
            mailer: Arc::new(mailer),
            keys: None,
            pages: Arc::new(PlainPages),
            passwords: None,
            rules: PasswordRules::new(),
            attempts: Attempts::new(),
            mails: Self::mails_with_clock(Clock::system()),
            service: None,
            mount: "/account".to_owned(),
            after_log_in: "/".to_owned(),
            after_log_out: "/".to_owned(),
            key_prefix: "key".to_owned(),
        }
    }
    /// How many mails there are where nobody says otherwise: three at once to an address and another one every ten minutes, and for a client what [`Attempts::new`] says.
    pub fn mails_with_clock(clock: Clock) -> Attempts {
        Attempts::with_clock(clock).by_account(3, Duration::from_secs(600))
    }
    /// Takes away tokens that are over every ten minutes, on this runtime, as long as the endpoints are there. A store in memory or one that forgets by itself needs none of it.
    pub fn start(&self, runtime: &Handle) {
        let inner = Arc::downgrade(&self.0);
        runtime.spawn(async move {
            loop {
                tokio::time::sleep(SWEEP).await;
                let Some(inner) = inner.upgrade() else { return };
                if let Err(error) = inner.tokens.sweep(Clock::system().wall()).await {
                    tracing::warn!("tokens that are over stay in the store: {error}");
                }
            }
        });
    }
}

impl AccountsBuilder {
    /// Where the endpoints are mounted: the path before theirs. Default: `/account`.
    pub fn mounted_at(self, path: impl Into<String>) -> Self {
        Self { mount: path.into(), ..self }
    }
    /// What the service is called in mails and pages. Default: its host.
    pub fn service(self, name: impl Into<String>) -> Self {
        Self { service: Some(name.into()), ..self }
    }
    /// How passwords are hashed. Default: [`Passwords::new`].
    pub fn passwords(self, passwords: Passwords) -> Self {
        Self { passwords: Some(passwords), ..self }
    }
    /// Which passwords are taken. Default: [`PasswordRules::new`].
    pub fn rules(self, rules: PasswordRules) -> Self {
        Self { rules, ..self }
    }
    /// How many passwords may be tried. Default: [`Attempts::new`].
    pub fn attempts(self, attempts: Attempts) -> Self {
        Self { attempts, ..self }
    }
    /// How many mails an address may be sent, and a client may cause. Default: [`Accounts::mails_with_clock`].
    pub fn mails(self, mails: Attempts) -> Self {
        Self { mails, ..self }
    }
    /// Lets users make keys for programs. `prefix` begins them, so that those that leak can be found. Default: they cannot.
    pub fn keys(self, keys: impl KeyStore, prefix: impl Into<String>) -> Self {
        Self { keys: Some(Arc::new(keys)), key_prefix: prefix.into(), ..self }
    }
    /// What browsers are shown. Default: [`PlainPages`].
    pub fn pages(self, pages: impl Pages) -> Self {
        Self { pages: Arc::new(pages), ..self }
    }
    /// Where a browser goes that has logged in and says no other place. Default: `/`.
    pub fn after_log_in(self, path: impl Into<String>) -> Self {
        Self { after_log_in: path.into(), ..self }
    }
    /// Where a browser goes that has logged out. Default: `/`.
    pub fn after_log_out(self, path: impl Into<String>) -> Self {
        Self { after_log_out: path.into(), ..self }
    }
    /// Makes the endpoints.
    ///
    /// # Errors
    /// `base` is no origin, a path is none, or passwords cannot be hashed.
    pub fn build(self) -> Result<Accounts, ConfigErrors> {
        let mut errors = ConfigErrors::default();
        let mut wrong = |message: String| errors.push(ConfigError::new("Accounts", message));
        let host = host_of(&self.base);
        if host.is_none() {
            let base = &self.base;
            wrong(format!(
                "`{base}` is not where a site is: write `https://shop.example`, without a path"
            ));
        }
        let is_mount = self.mount.is_empty()
            || (own_path(&self.mount).is_some() && !self.mount.ends_with('/'));
        if !is_mount {
            let mount = &self.mount;
            wrong(format!("`{mount}` is no path to mount anything at: write `/account`"));
        }
        for path in [&self.after_log_in, &self.after_log_out] {
            if own_path(path).is_none() {
                wrong(format!("`{path}` is no path of this site"));
            }
        }
        let passwords = match self.passwords {
            Some(passwords) => Some(passwords),
            None => match Passwords::builder().build() {
                Ok(passwords) => Some(passwords),
                Err(others) => {
                    others.into_iter().for_each(|error| errors.push(error));
                    None
                }
            },
        };
        let (Some(passwords), Some(host), true) = (passwords, host, errors.is_empty()) else {
            return Err(errors);
        };
        let service = self.service.unwrap_or(host);
        Ok(Accounts(Arc::new(Inner {
            users: self.users,
            tokens: self.tokens,
            keys: self.keys,
            post: Post::new(self.mailer),
            pages: self.pages,
            passwords,
            rules: self.rules,
            attempts: self.attempts,
            mails: self.mails,
            service,
            base: self.base,
            mount: self.mount,
            after_log_in: self.after_log_in,
            after_log_out: self.after_log_out,
            key_prefix: self.key_prefix,
        })))
    }
}

/// The host of a site, where the text is a site and nothing else.
fn host_of(base: &str) -> Option<String> {
    let uri = base.parse::<http::Uri>().ok()?;
    let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
    let is_site = ["http", "https"].contains(&scheme) && base == format!("{scheme}://{authority}");
    (is_site && !authority.as_str().contains('@')).then(|| authority.host().to_owned())
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accounts")
            .field("base", &self.0.base)
            .field("mount", &self.0.mount)
            .finish_non_exhaustive()
    }
}
