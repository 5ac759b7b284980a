//! Mails to users.
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use portcullis_core::{BoxError, Secret};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::email::Email;

/// What a mail is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MailKind {
    /// Somebody registers with this address: the link shows that it is theirs.
    Register,
    /// Somebody registers with an address that has an account: its owner is told, and nobody else.
    RegisteredAlready,
    /// Somebody has forgotten the password: the link leads to another one.
    Reset,
    /// The password has changed.
    PasswordChanged,
    /// Somebody gives their account this address: the link shows that it is theirs.
    ConfirmEmail,
    /// The account has another address now; this goes to the one before.
    EmailChanged,
    /// A key for programs has been made or changed.
    KeyMade,
}

/// A mail to a user.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Mail {
    /// What it is about: for who writes the text anew.
    pub kind: MailKind,
    /// Where it goes.
    pub to: Email,
    /// What it is called.
    pub subject: String,
    /// What it says, with its link: plain text.
    pub text: String,
    /// Where it leads to, if anywhere. Whoever has the link can use it once.
    pub link: Option<Secret<String>>,
}

/// Sends mails.
#[async_trait]
pub trait Mailer: fmt::Debug + Send + Sync + 'static {
    /// Sends a mail, or hands it to somebody who keeps it until it is sent. Where it fails, it is tried twice more.
    async fn send(&self, mail: &Mail) -> Result<(), BoxError>;
}

/// Writes mails to the log in place of sending them, links and all: for development.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogMailer;

#[async_trait]
impl Mailer for LogMailer {
    async fn send(&self, mail: &Mail) -> Result<(), BoxError> {
        tracing::warn!("a mail that nobody sends, to {}: {}\n{}", mail.to, mail.subject, mail.text);
        Ok(())
    }
}

/// How many mails may be on their way at once.
const ON_THEIR_WAY: usize = 1_000;
/// How long is waited before the next try.
const PAUSES: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(20)];

/// Mails on their way: whoever asks for one does not wait for it.
#[derive(Clone, Debug)]
pub(super) struct Post {
    mailer: Arc<dyn Mailer>,
    room: Arc<Semaphore>,
}

/// Room for a mail.
#[derive(Debug)]
pub(super) struct Room(OwnedSemaphorePermit);

impl Post {
    pub(super) fn new(mailer: Arc<dyn Mailer>) -> Self {
        Self { mailer, room: Arc::new(Semaphore::new(ON_THEIR_WAY)) }
    }
    /// Room for a mail, whether or not it is used; `None` where too many are on their way.
    pub(super) fn room(&self) -> Option<Room> {
        Arc::clone(&self.room).try_acquire_owned().ok().map(Room)
    }
    /// Sends a mail in the background; without one, as much is done as with one.
    pub(super) fn send(&self, Room(room): Room, mail: Option<Mail>) {
        let mailer = Arc::clone(&self.mailer);
        tokio::spawn(async move {
            let Some(mail) = mail else { return };
            let mut pauses = PAUSES.into_iter();
            while let Err(error) = mailer.send(&mail).await {
                let (kind, to) = (mail.kind, &mail.to);
                let Some(pause) = pauses.next() else {
                    tracing::error!("a mail is lost ({kind:?} to {to}): {error}");
                    break;
                };
                tracing::warn!("a mail is late ({kind:?} to {to}): {error}");
                tokio::time::sleep(pause).await;
            }
            drop(room);
        });
    }
}

/// The words of a mail.
pub(super) fn mail(kind: MailKind, to: Email, service: &str, link: Option<String>) -> Mail {
    let (subject, text) = match kind {
        MailKind::Register => (
            "Confirm your address",
            "Somebody has registered with this address. If it was you, follow this link and enter the password that you chose. If it was not, do nothing.",
        ),
        MailKind::RegisteredAlready => (
            "You have an account already",
            "Somebody has registered with this address, which has an account already. If it was you, log in; if you do not know the password, this link leads to another one. If it was not you, do nothing.",
        ),
        MailKind::Reset => (
            "Choose another password",
            "Somebody has asked for another password for your account. If it was you, follow this link. If it was not, do nothing: your password stays.",
        ),
        MailKind::PasswordChanged => (
            "Your password has changed",
            "The password of your account has changed, and all other browsers are logged out. If it was not you, choose another password at once, end the keys for programs that you do not know, and tell us.",
        ),
        MailKind::ConfirmEmail => (
            "Confirm your new address",
            "Somebody gives their account this address. If it was you, follow this link in the browser in which you are logged in. If it was not, do nothing.",
        ),
        MailKind::EmailChanged => (
            "Your account has another address",
            "Your account has another address now: mails about it go there from now on. If it was not you, tell us at once.",
        ),
        MailKind::KeyMade => (
            "A key for your account was made or changed",
            "A key with which programs act for you has been made or changed. If it was not you, end it, choose another password, and tell us.",
        ),
    };
    let once = "The link is good once, and for an hour at most.";
    let text = match &link {
        Some(link) => format!("{text}\n\n{link}\n\n{once}\n\n{service}\n"),
        None => format!("{text}\n\n{service}\n"),
    };
    Mail { kind, to, subject: format!("{service}: {subject}"), text, link: link.map(Secret::new) }
}
