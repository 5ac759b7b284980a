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
