//! What a token is known by in this process.
use std::sync::LazyLock;

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};

/// What a token is known by in this process, in place of its letters: GMAC with a key that the process makes for itself. It is never shown.
///
/// Who knows neither the key nor anything made with it cannot make two tokens that are known by the same: of up to 8 KiB, any two share theirs with a
/// probability of at most 513 in 2<sup>128</sup> (NIST SP 800-38D, appendix B; Carter and Wegman, 1979). That does not need a nonce of its own for each, as
/// it would where others see the tag. SHA-256 takes twenty times as many instructions where the processor has none for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Fingerprint(u128);

static KEY: LazyLock<LessSafeKey> = LazyLock::new(|| {
    let mut key = [0; 16];
    SystemRandom::new().fill(&mut key).expect("the machine has random numbers");
    LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).expect("a key of 16 bytes"))
});

impl Fingerprint {
    /// # Panics
    ///
    /// When the machine has no random numbers.
    pub(crate) fn of(token: &[u8]) -> Self {
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        let tag = KEY.seal_in_place_separate_tag(nonce, Aad::from(token), &mut []);
        let tag = tag.expect("a token is shorter than 2^61 bytes");
        Self(u128::from_ne_bytes(tag.as_ref().try_into().expect("a tag has 16 bytes")))
    }
    /// Makes the key, if there is none yet.
    ///
    /// # Panics
    ///
    /// When the machine has no random numbers.
    pub(super) fn prepare() {
        LazyLock::force(&KEY);
    }
}

#[cfg(test)]
mod tests {
    use super::Fingerprint;

    #[test]
    fn every_letter_counts_and_nothing_else() {
        let token = "eyJhbGciOiJFUzI1NiJ9".repeat(20);
        let of = |token: &str| Fingerprint::of(token.as_bytes());
        let whole = of(&token);
        assert!(whole == of("eyJhbGciOiJFUzI1NiJ9".repeat(20).as_str()));
        for at in 0..token.len() {
            let mut other = token.clone();
            other.replace_range(at..=at, "-");
            assert!(whole != of(&other), "letter {at}");
        }
        for length in 0..token.len() {
            assert!(whole != of(token.get(..length).unwrap()), "{length} letters");
        }
        // A block that is not full is not the same as one that is filled with zeros.
        assert!(whole != of(&format!("{token}\0")));
    }
}
