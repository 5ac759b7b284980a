//! Keys for callers, made so that those that leak can be found.
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use portcullis_core::Secret;
use sha2::{Digest, Sha256};

/// A new API key: `shop_` and 32 random characters (190 bits), and 6 by which anybody can tell it from a text that only looks like one.
///
/// The prefix says whose keys they are, so that a scanner of repositories and logs can look for them; the last characters are a checksum, so
/// that it finds nothing else. (The form is that of GitHub's tokens.)
///
/// ```
/// use portcullis_authn::{ApiKey, NewApiKey};
/// let made = NewApiKey::generate("shop");
/// assert!(made.key().expose().starts_with("shop_") && NewApiKey::is_one(made.key().expose()));
/// let known = ApiKey::from_sha256("ci", made.digest());
/// ```
#[derive(Debug)]
pub struct NewApiKey {
    key: Secret<String>,
}

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const RANDOM: usize = 32;
const CHECKSUM: usize = 6;

impl NewApiKey {
    /// Makes a key. Of `prefix`, letters, digits and `_` are taken.
    ///
    /// # Panics
    /// When the machine has no random numbers.
    pub fn generate(prefix: &str) -> Self {
        let is_plain = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
        let mut key: String = prefix.chars().filter(is_plain).collect();
        key.push('_');
        let random = SystemRandom::new();
        let end = key.len() + RANDOM;
        while key.len() < end {
            let mut byte = [0];
            random.fill(&mut byte).expect("the machine has random numbers");
            // 248 is four times 62: what is above it would make some characters likelier.
            let [byte] = byte;
            if byte < 248 {
                key.push(letter(byte.into()));
            }
        }
        let checksum = checksum(&key);
        key.push_str(&checksum);
        Self { key: key.into() }
    }
    /// The key, for its caller. Nobody else need have it.
    pub fn key(&self) -> &Secret<String> {
        &self.key
    }
    /// What [`ApiKey::from_sha256`](crate::ApiKey::from_sha256) and the file want.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.key.expose()).into()
    }
    /// Whether a text is a key that was made here.
    pub fn is_one(text: &str) -> bool {
        let Some(at) = text.len().checked_sub(CHECKSUM) else { return false };
        let Some((key, own)) = text.split_at_checked(at) else { return false };
        let random = key.rsplit('_').next().unwrap_or_default();
        key.contains('_') && random.len() == RANDOM && checksum(key) == own
    }
}

fn letter(number: u64) -> char {
    let at = usize::try_from(number % 62).unwrap_or_default();
    ALPHABET.get(at).copied().unwrap_or(b'0').into()
}

/// The first bytes of the digest, in letters.
fn checksum(key: &str) -> String {
    let digest = Sha256::digest(key);
    let first = digest.first_chunk::<8>().copied().unwrap_or_default();
    let mut rest = u64::from_be_bytes(first);
    let mut text = String::with_capacity(CHECKSUM);
    for _ in 0..CHECKSUM {
        text.push(letter(rest));
        rest /= 62;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn keys_differ_and_are_told_from_what_only_looks_like_one() {
        let all: HashSet<String> =
            (0..1_000).map(|_| NewApiKey::generate("my shop!").key().expose().clone()).collect();
        assert_eq!(all.len(), 1_000);
        for key in all {
            assert!(key.starts_with("myshop_") && key.len() == 7 + 38, "{key}");
            assert!(NewApiKey::is_one(&key));
            let (first, rest) = key.split_at(10);
            let other = if rest.starts_with('a') { "b" } else { "a" };
            assert!(!NewApiKey::is_one(&format!("{first}{other}{}", &rest[1..])));
            assert!(!NewApiKey::is_one(&key[1..]));
        }
        for text in ["", "x", "shop_", "shop_0123456789", "a_\u{e9}\u{e9}\u{e9}\u{e9}"] {
            assert!(!NewApiKey::is_one(text), "{text}");
        }
    }
}
