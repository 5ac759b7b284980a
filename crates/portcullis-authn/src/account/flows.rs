//! What anybody may ask for: to register, to log in and out, another password.
use http::StatusCode;
use portcullis_core::problem::kinds::{INTERNAL_ERROR, REQUEST_INVALID};
use portcullis_core::{Identity, Problem, Secret};
use serde_json::json;

use super::email::Email;
use super::input::Input;
use super::mail::{MailKind, Room, mail};
use super::one_time::{OneTimeToken, Purpose};
use super::service::{Ask, Done, Shown, audit, wrong};
use super::users::Account;
use super::{Accounts, LINK};
use crate::kinds::{LINK_INVALID, MAIL_BUSY, PASSWORD_REFUSED};
use crate::password::{Looked, PasswordError};
use crate::secret_id::SecretId;
use crate::session::Session;

/// What is said to everybody who asks for a mail.
const SENT: &str = "If this is the address of somebody whom we may write to, a mail is on its way.";

/// How often somebody is logged in anew who may do something else each time.
const ROUNDS: u8 = 3;
/// How long a request for another password takes at least.
const REST: std::time::Duration = std::time::Duration::from_millis(100);

pub(super) fn link_invalid() -> Problem {
    Problem::new(LINK_INVALID).detail("ask for another mail")
}

impl Accounts {
    /// The address that was sent.
    pub(super) fn email(input: &Input) -> Result<Email, Problem> {
        let wrong = || Problem::new(REQUEST_INVALID).detail("`email` is no address");
        Email::parse(input.required("email")?).ok_or_else(wrong)
    }
    /// A password that is taken.
    pub(super) async fn new_password(
        &self,
        input: &Input,
        email: &Email,
    ) -> Result<Secret<String>, Problem> {
        let password = input.secret("password")?;
        let about = [email.as_str(), self.0.service.as_str()];
        let refused =
            |rule: crate::PasswordRule| Problem::new(PASSWORD_REFUSED).detail(rule.to_string());
        let looked_at = self.0.passwords.check(&self.0.rules, again(&password), &about);
        looked_at.await?.map_err(refused)?;
        Ok(password)
    }
    /// Whether a mail may go to an address. `false` where it has had enough of them, of which nobody but its owner need hear.
    pub(super) fn may_write(&self, email: &Email, ask: &Ask<'_>) -> Result<bool, Problem> {
        match self.0.mails.begin(email.spelled(), ask.client) {
            Ok(()) => Ok(true),
            Err(error) if error.is_of_account => {
                tracing::warn!("an address is sent no more mails for a while");
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }
    /// Whether an account is as it was when its password was looked at. Whatever is made on the strength of a password is made before this look, and taken back after it: a change
    /// that comes later finds it, and ends it itself.
    ///
    /// Who they are may have changed meanwhile: it is as it comes from here. `None` where the password is another one, or nobody may log in.
    pub(super) async fn still(
        &self,
        account: &Account,
        password: Secret<String>,
    ) -> Result<Option<Account>, Problem> {
        let now = self.0.users.by_id(account.id()).await?;
        let Some(now) = now.filter(|now| !now.is_disabled) else { return Ok(None) };
        // The same password may be kept in another way since: somebody else has logged in with it.
        let is_same = now.kept() == account.kept()
            || self.0.passwords.verify(password, now.kept()).await?.is_right;
        Ok(is_same.then_some(now))
    }
    /// Whether a password is that of an account. What is kept and cannot be read is nobody's password, and takes as long.
    async fn look(
        &self,
        password: &Secret<String>,
        account: Option<&Account>,
    ) -> Result<Looked, Problem> {
        let kept = account.and_then(Account::kept);
        match self.0.passwords.verify(again(password), kept).await {
            Err(PasswordError::NoHash(why)) => {
                let id = account.map(Account::id).unwrap_or_default();
                tracing::error!("the password of `{id}` cannot be read: {why}");
                Ok(self.0.passwords.verify(again(password), None).await?)
            }
            looked => Ok(looked?),
        }
    }
    /// Room for a mail, before anything is done for which one is due.
    pub(super) fn room(&self) -> Result<Room, Problem> {
        self.0.post.room().ok_or_else(|| Problem::new(MAIL_BUSY).retry_is_safe())
    }
    pub(super) fn send(&self, room: Room, kind: MailKind, to: Email, link: Option<String>) {
        self.send_if(true, room, kind, to, link);
    }
    /// Sends a mail, or does as much and sends none.
    pub(super) fn send_if(
        &self,
        is_sent: bool,
        room: Room,
        kind: MailKind,
        to: Email,
        link: Option<String>,
    ) {
        let mail = mail(kind, to, &self.0.service, link);
        self.0.post.send(room, is_sent.then_some(mail));
    }
    /// A token for a mail, and the link with it.
    pub(super) async fn link(
        &self,
        ask: &Ask<'_>,
        purpose: Purpose,
        owner: &str,
        data: String,
    ) -> Result<String, Problem> {
        let no_chance = || Problem::new(INTERNAL_ERROR).cause("there is no chance to be had");
        let secret = SecretId::new().ok_or_else(no_chance)?;
        let expires = ask.now.checked_add(LINK).unwrap_or(ask.now);
        let token = OneTimeToken::new(secret.digest(), purpose, owner, data, expires);
        self.0.tokens.put(token).await?;
        let path = match purpose {
            Purpose::Register => "/verify",
            Purpose::Reset => "/reset/confirm",
            Purpose::Email => "/email/confirm",
        };
        let (base, mount) = (&self.0.base, &self.0.mount);
        Ok(format!("{base}{mount}{path}?token={}", secret.text()))
    }
    /// The token that was sent, which stays good.
    pub(super) async fn token(
        &self,
        ask: &Ask<'_>,
        input: &Input,
        purpose: Purpose,
    ) -> Result<OneTimeToken, Problem> {
        let secret = SecretId::read(input.required("token")?).ok_or_else(link_invalid)?;
        let token = self.0.tokens.look(&secret.digest(), ask.now).await?;
        token.filter(|token| token.purpose == purpose).ok_or_else(link_invalid)
    }
    /// Uses a token up; of all who do so with one token, one gets further.
    pub(super) async fn take(&self, ask: &Ask<'_>, token: &OneTimeToken) -> Result<(), Problem> {
        let is_first = self.0.tokens.take(&token.digest, ask.now).await?;
        if is_first { Ok(()) } else { Err(link_invalid()) }
    }

    /// Sends a mail to an address, whoever has it: the account is made when its link is followed. What is done costs the same for an address that has an account.
    pub(super) async fn register(&self, ask: &Ask<'_>, input: &Input) -> Result<Done, Problem> {
        let email = Self::email(input)?;
        let may_write = self.may_write(&email, ask)?;
        let password = self.new_password(input, &email).await?;
        let room = self.room()?;
        let kept = self.0.passwords.hash(password).await?;
        let known = self.0.users.by_email(&email).await?;
        let (kind, to, link) = match known {
            None => {
                let data = json!({ "email": email.as_str(), "password": kept }).to_string();
                let link = self.link(ask, Purpose::Register, email.spelled(), data).await?;
                (MailKind::Register, email, link)
            }
            Some(account) => {
                let address = account.email.spelled().to_owned();
                let link = self.link(ask, Purpose::Reset, account.id(), address).await?;
                // To the address as its owner has written it, and not as somebody else does who knows how to make it look the same.
                (MailKind::RegisteredAlready, account.email, link)
            }
        };
        self.send_if(may_write, room, kind, to, Some(link));
        Ok(sent())
    }
    /// Makes the account of somebody who has the link and knows the password that was chosen with it: who has only one of both is somebody else.
    pub(super) async fn verify(&self, ask: &Ask<'_>, input: &Input) -> Result<Done, Problem> {
        let place = self.place(input)?;
        let token = self.token(ask, input, Purpose::Register).await?;
        let data: serde_json::Value = serde_json::from_str(&token.data).unwrap_or_default();
        let text = |name: &str| data.get(name)?.as_str();
        let (Some(email), Some(kept)) = (text("email").and_then(Email::parse), text("password"))
        else {
            return Err(link_invalid());
        };
        self.0.attempts.begin(email.spelled(), ask.client)?;
        let password = input.secret("password")?;
        if !self.0.passwords.verify(password, Some(kept)).await?.is_right {
            return Err(wrong());
        }
        self.take(ask, &token).await?;
        let made = self.0.users.add(&email, kept).await?;
        let account = made.ok_or_else(link_invalid)?;
        self.0.attempts.succeeded(email.spelled());
        // Whoever else has registered with it has not had the link.
        self.0.tokens.forget(email.spelled()).await?;
        self.enter(ask.session, &account, ask).await?;
        audit("registered", account.id(), "done");
        let json = json!({ "subject": account.id() });
        Ok(Done { status: StatusCode::CREATED, ..Done::of(json, Shown::See(place)) })
    }
    /// Logs somebody in. Everything that leads to a session of an account leads through here.
    async fn enter(
        &self,
        session: &Session,
        account: &Account,
        ask: &Ask<'_>,
    ) -> Result<(), Problem> {
        let identity: &Identity = &account.identity;
        let identity = identity.to_builder().method("pwd").authenticated_at(ask.now).build();
        Ok(session.log_in(&identity).await?)
    }
    /// Logs in by address and password. Whether it is the address or the password that is wrong, nobody learns.
    pub(super) async fn log_in(&self, ask: &Ask<'_>, input: &Input) -> Result<Done, Problem> {
        let (email, place) = (Self::email(input)?, self.place(input)?);
        let password = input.secret("password")?;
        self.0.attempts.begin(email.spelled(), ask.client)?;
        let account = self.0.users.by_email(&email).await?;
        let looked = self.look(&password, account.as_ref()).await?;
        let Some(mut account) = account else { return Err(wrong()) };
        if !looked.is_right || account.is_disabled {
            let outcome = if looked.is_right { "disabled" } else { "wrong-password" };
            audit("log-in", account.id(), outcome);
            return Err(wrong());
        }
        for round in 1_u8.. {
            self.enter(ask.session, &account, ask).await?;
            match self.still(&account, again(&password)).await {
                Ok(Some(now)) if now.identity.to_json() == account.identity.to_json() => break,
                // They may do something else since; or they are somebody else with each look, and the last one counts.
                Ok(Some(_)) if round == ROUNDS => break,
                Ok(Some(now)) => account = now,
                // The password has changed while it was looked at, and whoever sends the old one is too late; or nobody can say.
                other => {
                    ask.session.take_back();
                    ask.session.log_out().await?;
                    other?;
                    audit("log-in", account.id(), "wrong-password");
                    return Err(wrong());
                }
            }
        }
        audit("log-in", account.id(), "done");
        self.0.attempts.succeeded(email.spelled());
        if let Some(rehashed) = looked.rehashed {
            let put = self.0.users.set_password(account.id(), account.kept(), &rehashed).await;
            // Another one is made with the next log-in.
            if let Err(error) = put {
                tracing::warn!("a password is kept as weakly as before: {error}");
            }
        }
        let json = json!({ "subject": account.id() });
        Ok(Done::of(json, Shown::See(place)))
    }
    pub(super) async fn log_out(&self, ask: &Ask<'_>) -> Result<Done, Problem> {
        ask.session.log_out().await?;
        Ok(Done::of(json!({}), Shown::See(self.0.after_log_out.clone())))
    }
    /// Sends a link to somebody who has forgotten the password. For an address without an account a token is made too, that nobody gets.
    pub(super) async fn reset(&self, ask: &Ask<'_>, input: &Input) -> Result<Done, Problem> {
        // Some microseconds more for one who is known would tell of them: nobody hears sooner than this.
        let rest = tokio::time::sleep(REST);
        let done = self.ask_for_reset(ask, input).await;
        rest.await;
        done
    }
    async fn ask_for_reset(&self, ask: &Ask<'_>, input: &Input) -> Result<Done, Problem> {
        let email = Self::email(input)?;
        let may_write = self.may_write(&email, ask)?;
        let room = self.room()?;
        let account = self.0.users.by_email(&email).await?;
        let owner = account.as_ref().map_or(email.spelled(), Account::id);
        // It is good for as long as the account has this address.
        let address = account.as_ref().map_or(&email, |account| &account.email);
        let address = address.spelled().to_owned();
        let link = self.link(ask, Purpose::Reset, owner, address).await?;
        let (is_known, to) = (account.is_some(), account.map_or(email, |account| account.email));
        self.send_if(is_known && may_write, room, MailKind::Reset, to, Some(link));
        Ok(sent())
    }
    /// Puts another password, ends all sessions, and logs nobody in: who has the link has not shown anything else that a log-in may ask for.
    pub(super) async fn reset_confirm(
        &self,
        ask: &Ask<'_>,
        input: &Input,
    ) -> Result<Done, Problem> {
        let token = self.token(ask, input, Purpose::Reset).await?;
        let account = self.0.users.by_id(&token.owner).await?;
        let is_theirs = |it: &Account| !it.is_disabled && *token.data == *it.email.spelled();
        let account = account.filter(is_theirs).ok_or_else(link_invalid)?;
        Self::ends_keys(input)?;
        let password = self.new_password(input, &account.email).await?;
        let room = self.room()?;
        let kept = self.0.passwords.hash(password).await?;
        self.take(ask, &token).await?;
        let put = self.0.users.set_password(account.id(), account.kept(), &kept).await;
        if !put? {
            return Err(link_invalid());
        }
        // Each of these whatever comes of the others.
        let sessions = ask.session.end_all_of(&account.identity).await;
        let keys = self.end_keys(input, account.id()).await;
        let links = self.0.tokens.forget(account.id()).await;
        sessions?;
        keys?;
        links?;
        self.0.attempts.succeeded(account.email.spelled());
        audit("password-reset", account.id(), "done");
        self.send(room, MailKind::PasswordChanged, account.email, None);
        Ok(Done::of(json!({}), Shown::LogIn("Your password has changed: log in with it.")))
    }
}

/// The same secret once more.
pub(super) fn again(secret: &Secret<String>) -> Secret<String> {
    Secret::new(secret.expose().clone())
}

fn sent() -> Done {
    Done { status: StatusCode::ACCEPTED, ..Done::of(json!({}), Shown::Said(SENT)) }
}
