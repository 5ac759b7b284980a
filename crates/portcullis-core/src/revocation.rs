//! A signal that an identity is no longer good.
use crate::signal::signal;

signal! {
    /// Tells everyone who serves an identity that it is no longer good: streams end, tokens are forgotten.
    ///
    /// Clones share one signal. It is set once and stays set.
    ///
    /// ```
    /// use portcullis_core::Revocation;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let revocation = Revocation::new();
    /// let told = revocation.revoked();
    /// revocation.revoke();
    /// told.await;
    /// # }
    /// ```
    Revocation;
    /// Sets the signal and wakes everyone who waits for it.
    revoke;
    /// Whether the signal is set.
    is_revoked;
    /// Completes when the signal is set. The task is woken then. One task waits at one handle; another takes a clone.
    poll_revoked;
    /// Completes when the signal is set.
    revoked;
}

impl Revocation {
    /// Whether somebody else has it too, so that setting it would be heard.
    pub fn is_shared(&self) -> bool {
        self.0.is_shared()
    }
}

/// The error with which a body ends when the identity that it is for is [no longer good](Revocation).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("the identity is no longer good")]
pub struct Revoked;
