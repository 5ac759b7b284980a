//! Addresses of mail, and what makes two of them one.
use std::fmt;
use std::sync::Arc;

use unicode_normalization::{UnicodeNormalization, is_nfkc};

use crate::password::spelled;

/// Characters that nobody sees (of Unicode's `Default_Ignorable_Code_Point`).
fn is_unseen(c: char) -> bool {
    matches!(u32::from(c),
        0xad | 0x34f | 0x61c | 0x115f..=0x1160 | 0x17b4..=0x17b5 | 0x180b..=0x180f | 0x200b..=0x200f
        | 0x202a..=0x202e | 0x2060..=0x206f | 0x3164 | 0xfe00..=0xfe0f | 0xfeff | 0xffa0 | 0xfff0..=0xfff8
        | 0x1_bca0..=0x1_bca3 | 0x1_d173..=0x1_d17a | 0xe_0000..=0xe_0fff)
}

/// An address that mail goes to. Two spellings of one address are one: what counts is how it looks, in small letters.
///
/// ```
/// use portcullis_authn::Email;
/// let email = Email::parse(" Ada@Acme.example ").unwrap();
/// assert_eq!((email.as_str(), email.spelled()), ("Ada@acme.example", "ada@acme.example"));
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
    /// Reads an address as a user types it. Whether anybody reads what is sent there, only a mail can show. The name of the host becomes what mail servers know it by (IDNA, UTS 46). Names before the `@`
    /// that look like others, or have characters in them that nobody sees, are none.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, host) = text.trim().rsplit_once('@')?;
        // One of two ways to write an accent.
        let name: String = name.nfc().collect();
        let is_odd = |c: char| {
            c.is_control() || c.is_whitespace() || "<>()[]\",:;\\@".contains(c) || is_unseen(c)
        };
        let is_name = (1..=64).contains(&name.len())
            && !name.chars().any(is_odd)
            && !name.starts_with('-')
            && name.split('.').all(|part| !part.is_empty())
            && is_nfkc(&name);
        let host = idna::domain_to_ascii_strict(host).ok()?;
        let labels = host.split('.').all(|label| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            !label.is_empty() && label.bytes().all(plain)
        });
        // What ends with a number is no name of a host.
        let last = host.rsplit('.').next().unwrap_or_default();
        let is_host = labels && !last.bytes().all(|byte| byte.is_ascii_digit());
        let text = format!("{name}@{host}");
        // A letter that looks otherwise at the end of a word is the same one.
        let spelled = spelled(&text).replace('\u{3c2}', "\u{3c3}");
        let fits = is_name && is_host && text.len() <= LONGEST && spelled.len() <= LONGEST;
        fits.then(|| Self { text: text.into(), spelled: spelled.into() })
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
        for same in [
            " ada@acme.example",
            "ADA@Acme.Example\n",
            "ada@acme\u{3002}example",
            "ada@\u{ff41}cme.example",
            "ada@a\u{ad}cme.example",
        ] {
            assert_eq!(Email::parse(same).unwrap(), ada, "{same}");
        }
        for (one, other) in [
            ("zo\u{eb}@m\u{fc}ller.example", "ZOE\u{308}@xn--mller-kva.EXAMPLE"),
            ("\u{3c3}\u{3c3}@acme.example", "\u{3a3}\u{3a3}@acme.example"),
            ("\u{3c3}\u{3c2}@acme.example", "\u{3a3}\u{3a3}@acme.example"),
        ] {
            assert_eq!(Email::parse(one).unwrap(), Email::parse(other).unwrap(), "{one}");
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
            "\u{ff41}da@acme.example",
            "\u{fb01}ona@acme.example",
            "a\u{ad}da@acme.example",
            "ada\u{200b}@acme.example",
            "ada\u{fe0f}@acme.example",
            "-oq/tmp@acme.example",
            ".ada@acme.example",
            "a..da@acme.example",
            "ada.@acme.example",
            "ada@127.0.0.1",
            "ada@acme|b.example",
            &format!("{long}@acme.example"),
            &format!("a@{}.example", "b.".repeat(130)),
        ] {
            assert!(Email::parse(none).is_none(), "{none}");
        }
    }
}
