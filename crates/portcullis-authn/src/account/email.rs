//! Addresses of mail, and what makes two of them one.
use std::fmt;
use std::sync::Arc;

use crate::password::spelled;

/// An address that mail goes to. Two spellings of one address are one: what counts is how it looks, in small letters.
///
/// ```
/// use portcullis_authn::Email;
/// let email = Email::parse(" Ada@Acme.example ").unwrap();
/// assert_eq!((email.as_str(), email.spelled()), ("Ada@Acme.example", "ada@acme.example"));
/// assert!(Email::parse("ada").is_none());
/// ```
#[derive(Clone)]
pub struct Email {
    text: Arc<str>,
    spelled: Arc<str>,
}

/// How long an address may be, in bytes (RFC 5321, section 4.5.3.1.3, without its brackets).
const LONGEST: usize = 254;

impl Email {
    /// Reads an address as a user types it. Whether anybody reads what is sent there, only a mail can show.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (name, domain) = text.rsplit_once('@')?;
        let is_odd = |c: char| c.is_control() || c.is_whitespace() || "<>()[]\",:;\\".contains(c);
        let labels = domain.split('.').all(|label| {
            !label.is_empty()
                && label.len() < 64
                && !label.starts_with('-')
                && !label.ends_with('-')
        });
        let fits = text.len() <= LONGEST
            && (1..=64).contains(&name.len())
            && labels
            && !text.chars().any(is_odd)
            && !name.contains('@');
        let spelled = spelled(text);
        // What looks like another address must not become one.
        let stays = spelled.len() <= LONGEST
            && spelled.matches('@').count() == 1
            && !spelled.chars().any(is_odd);
        (fits && stays).then(|| Self { text: text.into(), spelled: spelled.into() })
    }
    /// As its owner has written it: where mail goes.
    pub fn as_str(&self) -> &str {
        &self.text
    }
    /// The one spelling that all its spellings have: what a store must find it by, and have once.
    pub fn spelled(&self) -> &str {
        &self.spelled
    }
}

impl PartialEq for Email {
    fn eq(&self, other: &Self) -> bool {
        self.spelled == other.spelled
    }
}
impl Eq for Email {}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Email").field(&self.text).finish()
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_however_it_is_written() {
        let ada = Email::parse("ada@acme.example").unwrap();
        for same in [" ada@acme.example", "ADA@Acme.Example\n", "\u{ff41}da@acme.example"] {
            assert_eq!(Email::parse(same).unwrap(), ada, "{same}");
        }
        let long = "a".repeat(65);
        for none in [
            "",
            "ada",
            "@acme.example",
            "ada@",
            "ada@acme..example",
            "ada@-acme.example",
            "a da@acme.example",
            "ada@acme.example\r\nBcc: eve@evil.example",
            "ada@acme.example,eve@evil.example",
            "ada@eve@acme.example",
            "\"ada\"@acme.example",
            "a\u{fe6b}b@acme.example",
            &format!("{long}@acme.example"),
            &format!("a@{}.example", "b.".repeat(130)),
        ] {
            assert!(Email::parse(none).is_none(), "{none}");
        }
    }
}
