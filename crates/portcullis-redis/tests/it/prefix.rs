//! What the keys of a test on the shared server begin with.
use std::fmt;

/// Whatever has it is gone with it, also where the test fails.
pub(crate) struct Prefix(String);

impl Prefix {
    /// One that no other test has, nor another run of this one.
    pub(crate) fn new(name: &str) -> Self {
        Self(format!("portcullis-test-{name}-{}", std::process::id()))
    }
}

impl std::ops::Deref for Prefix {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Drop for Prefix {
    fn drop(&mut self) {
        let client = redis::Client::open(crate::SERVER).unwrap();
        // A test that fails says why by itself.
        let Ok(mut connection) = client.get_connection() else { return };
        for pattern in [format!("{self}:*"), format!("{{{self}}}:*")] {
            let keys = redis::cmd("KEYS").arg(pattern).query::<Vec<String>>(&mut connection);
            for key in keys.unwrap_or_default() {
                drop(redis::cmd("DEL").arg(key).exec(&mut connection));
            }
        }
    }
}
