//! Texts that nobody can guess, of which only the digest is kept.
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_core::Secret;

/// 256 bits of chance as text: the id of a session, or what a mail brings its reader.
#[derive(Clone, Debug)]
pub(crate) struct SecretId(Secret<String>);

/// How long one is.
const LENGTH: usize = 43;

impl SecretId {
    /// A new one; `None` where there is no chance to be had.
    pub(crate) fn new() -> Option<Self> {
        let mut bytes = [0; 32];
        SystemRandom::new().fill(&mut bytes).ok()?;
        Some(Self(Secret::new(URL_SAFE_NO_PAD.encode(bytes))))
    }
    /// What somebody has sent, if it can be one.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let fits = text.len() == LENGTH && URL_SAFE_NO_PAD.decode(text).is_ok();
        fits.then(|| Self(Secret::new(text.to_owned())))
    }
    /// What a store may have of it.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let digest = digest(&SHA256, self.0.expose().as_bytes());
        digest.as_ref().try_into().unwrap_or_default()
    }
    pub(crate) fn text(&self) -> &str {
        self.0.expose()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn of_a_hundred_thousand_no_two_are_the_same() {
        let all: HashSet<_> =
            (0..100_000).map(|_| SecretId::new().unwrap().text().to_owned()).collect();
        assert_eq!(all.len(), 100_000);
        // Each of 256 bits is chance: about half of all ids have it.
        let mut set = [0_u32; 256];
        for id in &all {
            let bytes = URL_SAFE_NO_PAD.decode(id).unwrap();
            for (at, count) in set.iter_mut().enumerate() {
                *count += u32::from(bytes[at / 8] >> (at % 8) & 1);
            }
        }
        assert!(set.iter().all(|count| (48_500..51_500).contains(count)), "{set:?}");
        let id = SecretId::new().unwrap();
        assert_eq!(SecretId::read(id.text()).unwrap().digest(), id.digest());
        assert!(SecretId::read(&id.text()[1..]).is_none());
    }
}
