//! Values that are never printed.
use std::fmt;

use zeroize::Zeroize;

/// A credential or key: never printed, wiped from memory when dropped.
///
/// Everything that proves who somebody is has this type from the parser on.
///
/// ```
/// use portcullis_core::Secret;
/// let key = Secret::new(String::from("hunter2"));
/// assert_eq!(format!("{key:?}"), "[redacted]");
/// assert_eq!(key.expose(), "hunter2");
/// ```
#[derive(Clone)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Takes `value` in custody.
    pub fn new(value: T) -> Self {
        Self(value)
    }
    /// The value itself. Every call of this method is a place to review.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl From<&str> for Secret<String> {
    fn from(text: &str) -> Self {
        Self::new(text.to_owned())
    }
}

impl From<&Self> for Secret<String> {
    fn from(secret: &Self) -> Self {
        secret.clone()
    }
}
