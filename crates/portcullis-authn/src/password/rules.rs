//! Which passwords are taken (NIST SP 800-63B, section 3.1.1.2).
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use unicode_normalization::{UnicodeNormalization, is_nfkc};
use zxcvbn::{Score, zxcvbn};

/// A password as it is hashed: one spelling of what a user types on different keyboards (NFKC).
pub(super) fn normal(password: &str) -> Cow<'_, str> {
    if is_nfkc(password) {
        Cow::Borrowed(password)
    } else {
        password.nfkc().collect::<String>().into()
    }
}

/// The one spelling of an account: as it would look, in small letters.
pub(crate) fn spelled(account: &str) -> String {
    account.trim().nfkc().collect::<String>().to_lowercase().nfkc().collect()
}

/// Why a password is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordRule {
    /// It has too few characters.
    #[error("a password has at least {0} characters")]
    TooShort(usize),
    /// It has too many.
    #[error("a password has at most {0} characters")]
    TooLong(usize),
    /// It is one of those that everybody tries first.
    #[error("this password is one of the first that somebody would try")]
    Common,
    /// It is known from elsewhere.
    #[error("this password has been published with others")]
    Breached,
}

/// What somebody would make a password of who knows this of its user.
fn words(text: &str) -> Vec<String> {
    let parts: Vec<_> =
        text.split(|c: char| !c.is_alphanumeric()).filter(|it| it.len() > 2).collect();
    let together = parts.concat();
    let parts = parts.iter().map(|part| (*part).to_owned());
    [text.to_owned(), together].into_iter().chain(parts).collect()
}

type Breached = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// Which passwords are taken: from 8 to 128 characters of any kind, and none of those that everybody tries first. There is no rule about kinds of characters, and none is
/// asked for again after a while.
///
/// ```
/// use portcullis_authn::{PasswordRule, PasswordRules};
/// let rules = PasswordRules::new();
/// assert_eq!(rules.check("password1", &[]), Err(PasswordRule::Common));
/// assert_eq!(rules.check("correct horse battery", &["ada@acme.example"]), Ok(()));
/// ```
#[derive(Clone)]
pub struct PasswordRules {
    least: usize,
    breached: Option<Breached>,
}

/// How many characters a password may have.
const MOST: usize = 128;
/// Beyond this the first characters decide how common it is: what can be read as letters and as signs takes the longer the more of it there is.
const LOOKED_AT: usize = 32;

impl Default for PasswordRules {
    fn default() -> Self {
        Self::new()
    }
}

impl PasswordRules {
    /// From 8 to 128 characters.
    pub fn new() -> Self {
        Self { least: 8, breached: None }
    }
    /// How many characters a password has at least: 8 or more. Default: 8.
    #[must_use]
    pub fn at_least(self, characters: usize) -> Self {
        Self { least: characters.clamp(8, MOST), ..self }
    }
    /// Refuses those too of which this says that they are known from elsewhere. It must not block; ask a service before.
    #[must_use]
    pub fn breached(self, is_breached: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self { breached: Some(Arc::new(is_breached)), ..self }
    }
    /// Whether a password is taken. Made to take long, it takes some tens of milliseconds: where clients choose passwords, [`Passwords::check`](crate::Passwords::check) does it on threads of its own. `about` is what everybody knows of its user: name, address, the name of the service.
    ///
    /// # Errors
    /// Why it is not.
    pub fn check(&self, password: &str, about: &[&str]) -> Result<(), PasswordRule> {
        let text = normal(password);
        let characters = text.chars().take(MOST + 1).count();
        if characters < self.least {
            return Err(PasswordRule::TooShort(self.least));
        }
        if characters > MOST {
            return Err(PasswordRule::TooLong(MOST));
        }
        let first: String = text.chars().take(LOOKED_AT).collect();
        let about: Vec<String> = about.iter().flat_map(|text| words(text)).collect();
        let about: Vec<&str> = about.iter().map(String::as_str).collect();
        if zxcvbn(&first, &about).score() < Score::Two {
            return Err(PasswordRule::Common);
        }
        let is_breached = self.breached.as_ref().is_some_and(|breached| breached(&text));
        if is_breached { Err(PasswordRule::Breached) } else { Ok(()) }
    }
}

impl fmt::Debug for PasswordRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordRules").field("least", &self.least).finish_non_exhaustive()
    }
}
