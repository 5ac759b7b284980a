//! What somebody may ask for who has logged in.
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::StatusCode;
use portcullis_core::problem::kinds::{INTERNAL_ERROR, REQUEST_INVALID, ROUTE_NOT_FOUND};
use portcullis_core::{IdentityKind, Problem, is_scope};
use serde_json::{Value, json};

use super::Accounts;
use super::flows::link_invalid;
use super::input::Input;
use super::mail::MailKind;
use super::one_time::Purpose;
use super::service::{Ask, Done, Shown, audit, nobody, wrong};
use super::users::Account;
use crate::kinds::{KEY_CONFLICT, PASSWORD_REFUSED, SESSION_CONFLICT};
use crate::new_key::NewApiKey;
use crate::secret_id::SecretId;
use crate::session::SessionInfo;
use crate::stored_key::{KeyRecord, KeyStore};

/// How many keys a user may have.
const KEYS: usize = 50;
/// How long the name of a key may be.
const LABEL: usize = 100;
/// For how many days a key may be good.
const DAYS: u64 = 3_650;

/// Seconds since 1970, as JSON has it.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn session(info: &SessionInfo) -> Value {
    json!({
        "name": info.name,
        "is_current": info.is_current,
        "created": seconds(info.created),
        "used": seconds(info.used),
        "expires": seconds(info.expires),
        "agent": info.agent,
    })
}

fn key(record: &KeyRecord) -> Value {
    json!({
        "id": &*record.id,
        "label": &*record.label,
        "created": seconds(record.created),
        "used": record.used.map(seconds),
        "expires": record.expires.map(seconds),
        "scopes": record.identity.scopes().collect::<Vec<_>>(),
        "previous_until": record.previous.map(|(_, until)| seconds(until)),
    })
}

impl Accounts {
    /// The account of whoever has logged in here, and not elsewhere.
    async fn own(&self, ask: &Ask<'_>) -> Result<Account, Problem> {
        let identity = ask.session.identity().ok_or_else(nobody)?;
        let account = self.0.users.by_id(identity.subject()).await?;
        let is_own =
            |account: &Account| account.identity.key() == identity.key() && !account.is_disabled;
        account.filter(is_own).ok_or_else(nobody)
    }
    /// The account of whoever has logged in, and shows with this very request that they know the password.
    async fn shown_again(&self, ask: &Ask<'_>, input: &Input) -> Result<Account, Problem> {
        let account = self.own(ask).await?;
        let current = input.secret("current")?;
        // By itself: what strangers try for the address takes nothing from who has a session.
        let own = format!("session of {}", account.id());
        self.0.attempts.begin(&own, ask.client)?;
        let looked = self.0.passwords.verify(current, account.kept()).await?;
        if !looked.is_right {
            audit("password-asked-again", account.id(), "wrong-password");
            return Err(wrong());
        }
        self.0.attempts.succeeded(&own);
        Ok(account)
    }

    pub(super) async fn change_password(
        &self,
        ask: &Ask<'_>,
        input: &Input,
    ) -> Result<Done, Problem> {
        Self::ends_keys(input)?;
        let account = self.shown_again(ask, input).await?;
        let password = self.new_password(input, &account.email).await?;
        if input.required("current")? == password.expose() {
            return Err(Problem::new(PASSWORD_REFUSED).detail("it is the one from before"));
        }
        let room = self.room()?;
        let kept = self.0.passwords.hash(password).await?;
        let put = self.0.users.set_password(account.id(), account.kept(), &kept).await;
        if !put? {
            return Err(Problem::new(SESSION_CONFLICT));
        }
        // Each of these whatever comes of the others.
        let others = ask.session.end_others().await;
        let keys = self.end_keys(input, account.id()).await;
        let links = self.0.tokens.forget(account.id()).await;
        let renewed = ask.session.renew().await;
        others?;
        keys?;
        links?;
        renewed?;
        audit("password-change", account.id(), "done");
        self.send(room, MailKind::PasswordChanged, account.email, None);
        Ok(Done::of(json!({}), Shown::Said("Your password has changed.")))
    }
    /// Sends a mail to the new address, unless somebody has it.
    pub(super) async fn change_email(&self, ask: &Ask<'_>, input: &Input) -> Result<Done, Problem> {
        let account = self.shown_again(ask, input).await?;
        let email = Self::email(input)?;
        let may_write = self.may_write(&email, ask)?;
        let room = self.room()?;
        let other = self.0.users.by_email(&email).await?;
        let data = email.as_str().to_owned();
        let link = self.link(ask, Purpose::Email, account.id(), data).await?;
        if self.still(&account, input.secret("current")?).await?.is_none() {
            self.0.tokens.forget(account.id()).await?;
            return Err(wrong());
        }
        let is_free = other.is_none_or(|other| other.id() == account.id());
        self.send_if(is_free && may_write, room, MailKind::ConfirmEmail, email, Some(link));
        let said = "If nobody has this address here, a mail is on its way to it.";
        Ok(Done { status: StatusCode::ACCEPTED, ..Done::of(json!({}), Shown::Said(said)) })
    }
    /// In the browser of whoever has asked for it: a stranger who gets the mail by mistake can do nothing with it.
    pub(super) async fn confirm_email(
        &self,
        ask: &Ask<'_>,
        input: &Input,
    ) -> Result<Done, Problem> {
        let account = self.own(ask).await?;
        let token = self.token(ask, input, Purpose::Email).await?;
        let email = super::Email::parse(&token.data).ok_or_else(link_invalid)?;
        if &*token.owner != account.id() {
            return Err(link_invalid());
        }
        let room = self.room()?;
        self.take(ask, &token).await?;
        if !self.0.users.set_email(account.id(), &email).await? {
            return Err(link_invalid());
        }
        let now = self.0.users.by_id(account.id()).await?;
        if now.is_none_or(|now| now.is_disabled || now.kept() != account.kept()) {
            // Another password was put meanwhile: the link was worth nothing any more.
            self.0.users.set_email(account.id(), &account.email).await?;
            return Err(link_invalid());
        }
        self.0.tokens.forget(account.id()).await?;
        ask.session.renew().await?;
        audit("email-change", account.id(), "done");
        self.send(room, MailKind::EmailChanged, account.email, None);
        Ok(Done::of(json!({}), Shown::Said("Your account has the new address.")))
    }

    pub(super) async fn sessions(&self, ask: &Ask<'_>) -> Result<Done, Problem> {
        let list = ask.session.list().await?;
        Ok(Done::of(list.iter().map(session).collect(), Shown::Sessions(list)))
    }
    pub(super) async fn end_session(&self, ask: &Ask<'_>, input: &Input) -> Result<Done, Problem> {
        let ended = match input.required("name")? {
            "others" => ask.session.end_others().await?,
            name => usize::from(ask.session.end_named(name).await?),
        };
        let place = format!("{}/sessions", self.0.mount);
        Ok(Done::of(json!({ "ended": ended }), Shown::See(place)))
    }

    /// Whether all keys are to end with the password.
    pub(super) fn ends_keys(input: &Input) -> Result<bool, Problem> {
        match input.optional("keys")? {
            None => Ok(false),
            Some("end") => Ok(true),
            Some(_) => Err(Problem::new(REQUEST_INVALID).detail("`keys` is not `end`")),
        }
    }
    /// Ends all keys of a user who wants it, with another password.
    pub(super) async fn end_keys(&self, input: &Input, user: &str) -> Result<(), Problem> {
        let Some(keys) =
            self.0.keys.as_ref().filter(|_| Self::ends_keys(input).is_ok_and(|ends| ends))
        else {
            return Ok(());
        };
        for key in keys.list(Some(user)).await? {
            keys.end(&key.id).await?;
        }
        Ok(())
    }
    fn key_store(&self) -> Result<&dyn KeyStore, Problem> {
        self.0.keys.as_deref().ok_or_else(|| Problem::new(ROUTE_NOT_FOUND))
    }
    pub(super) async fn keys(&self, ask: &Ask<'_>) -> Result<Done, Problem> {
        let account = self.own(ask).await?;
        let list = self.key_store()?.list(Some(account.id())).await?;
        Ok(Done::of(list.iter().map(key).collect(), Shown::Keys(list, None)))
    }
    /// Makes a key, and says it this once.
    pub(super) async fn make_key(&self, ask: &Ask<'_>, input: &Input) -> Result<Done, Problem> {
        let account = self.shown_again(ask, input).await?;
        let invalid = |detail: &'static str| Problem::new(REQUEST_INVALID).detail(detail);
        let label = input.optional("label")?.unwrap_or_default();
        if label.chars().count() > LABEL || label.chars().any(char::is_control) {
            return Err(invalid("`label` is longer than 100 characters, or has odd ones"));
        }
        let days = input.optional("days")?.map(str::parse::<u64>).transpose();
        let days = days.ok().filter(|days| days.is_none_or(|days| (1..=DAYS).contains(&days)));
        let days = days.ok_or_else(|| invalid("`days` is no number from 1 to 3650"))?;
        let scopes = input.optional("scopes")?.unwrap_or_default().split_whitespace();
        let scopes: Vec<Arc<str>> = scopes.map(Arc::from).collect();
        if scopes.len() > 50 || scopes.iter().any(|scope| !is_scope(scope)) {
            return Err(invalid("`scopes` are no words of printable ASCII, or more than 50"));
        }
        let keys = self.key_store()?;
        if keys.list(Some(account.id())).await?.len() >= KEYS {
            return Err(invalid("there are 50 keys already: end one first"));
        }
        let room = self.room()?;
        let made = NewApiKey::generate(&self.0.key_prefix);
        let identity = account.identity.to_builder().kind(IdentityKind::Key).scopes(scopes).build();
        let id = SecretId::new().ok_or_else(|| Problem::new(INTERNAL_ERROR))?;
        let id = id.text().get(..16).unwrap_or_default();
        let mut record = KeyRecord::new(id, made.digest(), identity, ask.now);
        record.user = Some(account.id().into());
        record.label = label.into();
        let life = days.map(|days| Duration::from_secs(days * 86_400));
        record.expires = life.and_then(|life| ask.now.checked_add(life));
        if !keys.add(record.clone()).await? {
            return Err(Problem::new(INTERNAL_ERROR).cause("two keys of one id"));
        }
        if self.still(&account, input.secret("current")?).await?.is_none() {
            keys.end(&record.id).await?;
            return Err(wrong());
        }
        audit("key-made", account.id(), "done");
        self.send(room, MailKind::KeyMade, account.email.clone(), None);
        self.said_once(&account, &record, &made, StatusCode::CREATED).await
    }
    /// The answer that has a key in it.
    async fn said_once(
        &self,
        account: &Account,
        record: &KeyRecord,
        made: &NewApiKey,
        status: StatusCode,
    ) -> Result<Done, Problem> {
        // The key is made, and said now or never.
        let list = self.key_store()?.list(Some(account.id())).await.unwrap_or_default();
        let text = made.key().expose().clone();
        let mut json = key(record);
        if let Some(object) = json.as_object_mut() {
            object.insert("key".to_owned(), text.clone().into());
        }
        Ok(Done { status, ..Done::of(json, Shown::Keys(list, Some(text))) })
    }
    /// The key of this id, where it is the user's.
    async fn own_key(
        &self,
        account: &Account,
        input: &Input,
    ) -> Result<Option<KeyRecord>, Problem> {
        let found = self.key_store()?.by_id(input.required("id")?).await?;
        Ok(found.filter(|key| key.user.as_deref() == Some(account.id())))
    }
    /// Gives a key another text, and says it this once.
    pub(super) async fn rotate_key(&self, ask: &Ask<'_>, input: &Input) -> Result<Done, Problem> {
        let account = self.shown_again(ask, input).await?;
        let none = || Problem::new(ROUTE_NOT_FOUND).detail("there is no such key");
        let mut record = self.own_key(&account, input).await?.ok_or_else(none)?;
        if record.previous.is_some_and(|(_, until)| ask.now < until) {
            // Twice would end what is good for a day at once.
            return Err(Problem::new(KEY_CONFLICT));
        }
        let room = self.room()?;
        let made = NewApiKey::generate(&self.0.key_prefix);
        let until = ask.now.checked_add(KeyRecord::OVERLAP).unwrap_or(ask.now);
        let keys = self.key_store()?;
        let put = keys.rotate(&record.id, &record.digest, &made.digest(), until).await;
        if !put? {
            return Err(Problem::new(KEY_CONFLICT));
        }
        if self.still(&account, input.secret("current")?).await?.is_none() {
            keys.end(&record.id).await?;
            return Err(wrong());
        }
        record.previous = Some((record.digest, until));
        audit("key-rotated", account.id(), "done");
        self.send(room, MailKind::KeyMade, account.email.clone(), None);
        self.said_once(&account, &record, &made, StatusCode::OK).await
    }
    pub(super) async fn end_key(&self, ask: &Ask<'_>, input: &Input) -> Result<Done, Problem> {
        let account = self.own(ask).await?;
        let ended = match self.own_key(&account, input).await? {
            Some(record) => {
                audit("key-ended", account.id(), "done");
                self.key_store()?.end(&record.id).await?
            }
            None => false,
        };
        let place = format!("{}/keys", self.0.mount);
        Ok(Done::of(json!({ "ended": usize::from(ended) }), Shown::See(place)))
    }
}
