//! Mails by SMTP.
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use portcullis_core::{BoxError, Secret};

use super::mail::{Mail, Mailer};

/// How long a server may take for a step.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why mails cannot be sent in this way.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum SmtpError {
    /// It is no address of a server.
    #[error(
        "the mail server: {0}; write `smtps://user:password@host:465`, `smtp://user:password@host:587?tls=required`, or `smtp://127.0.0.1:25` for one on this machine"
    )]
    Server(String),
    /// Mails cannot come from there.
    #[error("`{0}` is no sender: write `Shop <shop@acme.example>`")]
    Sender(String),
}

/// As it is told to people: `main` prints it so.
impl fmt::Debug for SmtpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Sends mails by SMTP (RFC 5321), over TLS as the address of the server says.
#[derive(Clone)]
pub struct SmtpMailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl SmtpMailer {
    /// Through this server, from this sender. `smtps://` is TLS from the first byte; `smtp://` with `?tls=required` is STARTTLS, and without it plain text: for a server on this
    /// machine. No connection is opened before there is a mail.
    ///
    /// # Errors
    /// One of both is none.
    pub fn new(server: &Secret<String>, from: &str) -> Result<Self, SmtpError> {
        let wrong = |error: lettre::transport::smtp::Error| SmtpError::Server(error.to_string());
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(server.expose());
        let transport = transport.map_err(wrong)?.timeout(Some(PATIENCE)).build();
        let from = from.parse().map_err(|_| SmtpError::Sender(from.to_owned()))?;
        Ok(Self { transport, from })
    }
}

#[async_trait]
impl Mailer for SmtpMailer {
    async fn send(&self, mail: &Mail) -> Result<(), BoxError> {
        let message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, mail.to.as_str().parse()?))
            .subject(&mail.subject)
            .header(ContentType::TEXT_PLAIN)
            .body(mail.text.clone())?;
        self.transport.send(message).await?;
        Ok(())
    }
}

impl fmt::Debug for SmtpMailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmtpMailer").field("from", &self.from).finish_non_exhaustive()
    }
}
