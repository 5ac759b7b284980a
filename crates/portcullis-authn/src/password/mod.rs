//! Passwords: which are taken, how they are kept, and how many may be tried.
mod attempts;
mod pool;
mod rules;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use portcullis_core::{ConfigError, ConfigErrors, Problem, Secret};
use subtle::ConstantTimeEq;

pub use self::attempts::{Attempts, TooMany};
use self::pool::{Pool, Scratch};
#[cfg(feature = "accounts")]
pub(crate) use self::rules::spelled;
pub use self::rules::{PasswordRule, PasswordRules};
use crate::kinds::PASSWORDS_BUSY;
use crate::secret_id::SecretId;

/// Keeps passwords, and looks whether one is right: by Argon2id (RFC 9106), on threads of its own, so that no request waits for another one's hash. Cheap to clone; clones
/// share the threads.
///
/// ```
/// use portcullis_authn::{PasswordError, Passwords};
/// use portcullis_core::Secret;
/// # async fn both() -> Result<(), PasswordError> {
/// let passwords = Passwords::new();
/// let kept = passwords.hash(Secret::new("correct horse battery".to_owned())).await?;
/// // Where there is no such user, `None` is looked at for as long as a hash would be.
/// let looked = passwords.verify(Secret::new("correct horse".to_owned()), Some(&kept)).await?;
/// assert!(!looked.is_right);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Passwords(Arc<Inner>);

struct Inner {
    cost: Cost,
    pepper: Option<Secret<Vec<u8>>>,
    /// What is looked at where there is no user.
    nobody: String,
    pool: Pool,
}

/// What a hash costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cost {
    /// KiB.
    memory: u32,
    passes: u32,
    lanes: u32,
}

/// The least that is taken: 19 MiB, 2 passes (OWASP, Password Storage).
const LEAST: Cost = Cost { memory: 19 * 1024, passes: 2, lanes: 1 };
/// What a hash of a store may cost at most to look at: whoever can write there does not take the machine's memory.
const MOST: Cost = Cost { memory: 1024 * 1024, passes: 20, lanes: 16 };
/// How long a password may be to be looked at at all, in bytes.
const LONGEST: usize = 1024;
const SALT: usize = 16;
const TAG: usize = 32;

/// Builds [`Passwords`].
#[derive(Debug)]
#[must_use = "passwords are made by `build`"]
pub struct PasswordsBuilder {
    cost: Cost,
    pepper: Option<Secret<Vec<u8>>>,
    at_once: usize,
    waiting: usize,
}

/// What came of a look at a password.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Looked {
    /// Whether it is the user's.
    pub is_right: bool,
    /// What is to be kept from now on, where it is right and what was kept is weaker than what is kept today.
    pub rehashed: Option<String>,
}

/// What could not be done with a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordError {
    /// So many are being hashed that this one would wait for too long.
    #[error("too many passwords are being hashed at once")]
    Busy,
    /// What is kept is no hash, or one that costs more than any that was made here.
    #[error("what is kept of a password is no hash that is known: {0}")]
    NoHash(String),
    /// It could not be hashed.
    #[error("a password could not be hashed: {0}")]
    Failed(String),
}

impl From<PasswordError> for Problem {
    fn from(error: PasswordError) -> Self {
        let kind = match error {
            PasswordError::Busy => PASSWORDS_BUSY,
            PasswordError::NoHash(_) | PasswordError::Failed(_) => {
                portcullis_core::problem::kinds::INTERNAL_ERROR
            }
        };
        let problem = Self::new(kind).cause(error);
        if kind == PASSWORDS_BUSY {
            let soon = http::HeaderValue::from_static("1");
            return problem.header(http::header::RETRY_AFTER, soon).retry_is_safe();
        }
        problem
    }
}

impl Default for Passwords {
    fn default() -> Self {
        Self::new()
    }
}

impl Passwords {
    /// With the least cost that is taken (19 MiB, 2 passes, 1 lane), on as many threads as there are processors.
    ///
    /// # Panics
    /// The system gives no chance to make a salt of.
    pub fn new() -> Self {
        match Self::builder().build() {
            Ok(passwords) => passwords,
            Err(errors) => panic_of(&errors),
        }
    }
    /// Begins with the least cost.
    pub fn builder() -> PasswordsBuilder {
        let at_once = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        PasswordsBuilder { cost: LEAST, pepper: None, at_once, waiting: 64 }
    }
    /// What is to be kept of a password. Whether it is a good one is for [`PasswordRules`] to say.
    ///
    /// Dropped while it waits, nothing is hashed.
    ///
    /// # Errors
    /// Too many are hashed at once, or it is longer than 1,024 bytes.
    pub async fn hash(&self, password: Secret<String>) -> Result<String, PasswordError> {
        let inner = Arc::clone(&self.0);
        self.0.pool.run(move |scratch| inner.hash(password.expose(), scratch)).await?
    }
    /// Whether a password is taken, looked at on the threads that hash: it may take as long.
    ///
    /// # Errors
    /// Too many wait for a thread.
    pub async fn check(
        &self,
        rules: &PasswordRules,
        password: Secret<String>,
        about: &[&str],
    ) -> Result<Result<(), PasswordRule>, PasswordError> {
        let rules = rules.clone();
        let about: Vec<String> = about.iter().map(|text| (*text).to_owned()).collect();
        let look = move |_: &mut Scratch| {
            let about: Vec<&str> = about.iter().map(String::as_str).collect();
            rules.check(password.expose(), &about)
        };
        self.0.pool.run(look).await
    }
    /// Whether a password is that of which this is kept. `None` is for a user who is not there: it is never right, and takes as long.
    ///
    /// # Errors
    /// Too many are hashed at once, or what is kept is no hash that is known.
    pub async fn verify(
        &self,
        password: Secret<String>,
        kept: Option<&str>,
    ) -> Result<Looked, PasswordError> {
        let inner = Arc::clone(&self.0);
        let kept = kept.map(str::to_owned);
        self.0
            .pool
            .run(move |scratch| inner.verify(password.expose(), kept.as_deref(), scratch))
            .await?
    }
}

fn no_chance() -> PasswordError {
    PasswordError::Failed("there is no chance to be had".to_owned())
}

#[expect(
    clippy::panic,
    reason = "there is no chance to be had on this machine: nothing that is secret can be made"
)]
fn panic_of(errors: &ConfigErrors) -> ! {
    panic!("{errors}")
}

impl Inner {
    /// The tag of a password.
    fn tag(
        &self,
        (algorithm, version, cost): (Algorithm, Version, Cost),
        (password, salt): (&str, &[u8]),
        tag: &mut [u8],
        scratch: &mut Scratch,
    ) -> Result<(), PasswordError> {
        let failed = |error: argon2::Error| PasswordError::Failed(error.to_string());
        let params = Params::new(cost.memory, cost.passes, cost.lanes, Some(tag.len()));
        let params = params.map_err(failed)?;
        let blocks = params.block_count();
        let argon2 = match &self.pepper {
            None => Argon2::new(algorithm, version, params),
            Some(pepper) => {
                let with = Argon2::new_with_secret(pepper.expose(), algorithm, version, params);
                with.map_err(failed)?
            }
        };
        let most = usize::try_from(self.cost.memory).unwrap_or(usize::MAX);
        let hash = |memory: &mut [Block]| {
            argon2.hash_password_into_with_memory(password.as_bytes(), salt, tag, memory)
        };
        scratch.with(blocks, most, hash).map_err(failed)
    }
    fn hash(&self, password: &str, scratch: &mut Scratch) -> Result<String, PasswordError> {
        let text = rules::normal(password);
        if text.len() > LONGEST {
            return Err(PasswordError::Failed("it is too long".to_owned()));
        }
        let mut salt = [0; SALT];
        SystemRandom::new().fill(&mut salt).map_err(|_| no_chance())?;
        let mut tag = [0; TAG];
        self.tag(
            (Algorithm::Argon2id, Version::V0x13, self.cost),
            (&text, &salt),
            &mut tag,
            scratch,
        )?;
        let Cost { memory, passes, lanes } = self.cost;
        let (salt, tag) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(tag));
        Ok(format!("$argon2id$v=19$m={memory},t={passes},p={lanes}${salt}${tag}"))
    }
    fn verify(
        &self,
        password: &str,
        kept: Option<&str>,
        scratch: &mut Scratch,
    ) -> Result<Looked, PasswordError> {
        let wrong = Looked { is_right: false, rehashed: None };
        let no_hash = |why: &dyn fmt::Display| PasswordError::NoHash(why.to_string());
        let hash =
            PasswordHash::new(kept.unwrap_or(&self.nobody)).map_err(|error| no_hash(&error))?;
        let params = Params::try_from(&hash).map_err(|error| no_hash(&error))?;
        let cost =
            Cost { memory: params.m_cost(), passes: params.t_cost(), lanes: params.p_cost() };
        if cost.memory > MOST.memory || cost.passes > MOST.passes || cost.lanes > MOST.lanes {
            return Err(no_hash(&"it costs more than any that was made here"));
        }
        let algorithm =
            Algorithm::try_from(hash.algorithm.as_str()).map_err(|error| no_hash(&error))?;
        let version = hash.version.map_or(Ok(Version::V0x10), Version::try_from);
        let version = version.map_err(|error| no_hash(&error))?;
        let (Some(salt), Some(known)) = (&hash.salt, &hash.hash) else {
            return Err(no_hash(&"it has no salt, or nothing behind it"));
        };
        let text = rules::normal(password);
        if text.len() > LONGEST {
            // No password that is kept is as long: nobody hears from the time what this one is like.
            return Ok(wrong);
        }
        let mut tag = vec![0; known.len()];
        self.tag((algorithm, version, cost), (&text, salt), &mut tag, scratch)?;
        if kept.is_none() || !bool::from(tag.ct_eq(known.as_ref())) {
            return Ok(wrong);
        }
        let is_weaker = cost.memory < self.cost.memory
            || cost.passes < self.cost.passes
            || tag.len() < TAG
            || version != Version::V0x13
            || algorithm != Algorithm::Argon2id;
        let rehashed = if is_weaker { Some(self.hash(password, scratch)?) } else { None };
        Ok(Looked { is_right: true, rehashed })
    }
}

impl PasswordsBuilder {
    /// How much memory a hash takes, in KiB. Default, and least: 19,456.
    pub fn memory(mut self, kib: u32) -> Self {
        self.cost.memory = kib;
        self
    }
    /// How often a hash goes over its memory. Default, and least: 2.
    pub fn passes(mut self, passes: u32) -> Self {
        self.cost.passes = passes;
        self
    }
    /// A secret that every hash is made with, which is not where the hashes are: at least 16 bytes. Who has the hashes alone can try no password. With another one all
    /// passwords are wrong. Default: none.
    pub fn pepper(self, pepper: Secret<Vec<u8>>) -> Self {
        Self { pepper: Some(pepper), ..self }
    }
    /// How many are hashed at once, each on a thread of its own and with the memory of a hash, which the thread keeps. Default: as many as there are processors.
    pub fn at_once(self, threads: usize) -> Self {
        Self { at_once: threads, ..self }
    }
    /// How many may wait for a thread; whoever comes then hears [`PasswordError::Busy`]. Default: 64.
    pub fn waiting(self, most: usize) -> Self {
        Self { waiting: most, ..self }
    }
    /// Makes them, and the threads.
    ///
    /// # Errors
    /// A hash would be weaker than is taken, or cost more than can be looked at; there is no thread; the pepper is too short.
    pub fn build(self) -> Result<Passwords, ConfigErrors> {
        let Self { cost, pepper, at_once, waiting } = self;
        let mut errors = ConfigErrors::default();
        let mut wrong = |message: String| errors.push(ConfigError::new("Passwords", message));
        if cost.memory < LEAST.memory || cost.passes < LEAST.passes {
            let (memory, passes) = (LEAST.memory, LEAST.passes);
            wrong(format!("a hash is weaker than {memory} KiB and {passes} passes"));
        }
        if cost.memory > MOST.memory || cost.passes > MOST.passes {
            wrong("a hash costs more than 1 GiB or 20 passes".to_owned());
        }
        if at_once == 0 {
            wrong("there is no thread to hash on".to_owned());
        }
        if pepper.as_ref().is_some_and(|pepper| pepper.expose().len() < 16) {
            wrong("the pepper is shorter than 16 bytes".to_owned());
        }
        let errors = errors;
        if !errors.is_empty() {
            return Err(errors);
        }
        let (pool, nobody) = (Pool::new(at_once, waiting), String::new());
        let mut inner = Inner { cost, pepper, nobody, pool };
        // Of a password that nobody has.
        let secret = SecretId::new().ok_or_else(no_chance);
        let made = secret.and_then(|secret| inner.hash(secret.text(), &mut Scratch::default()));
        match made {
            Ok(nobody) => inner.nobody = nobody,
            Err(error) => {
                let mut errors = ConfigErrors::default();
                errors.push(ConfigError::new("Passwords", error.to_string()));
                return Err(errors);
            }
        }
        Ok(Passwords(Arc::new(inner)))
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passwords").field("cost", &self.0.cost).finish_non_exhaustive()
    }
}

/// How long one waits before another try, at least.
pub(crate) const SECOND: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use argon2::{AssociatedData, ParamsBuilder};

    use super::*;

    /// The test vector of the reference implementation, which is that of RFC 9106, section 5.3.
    #[test]
    fn the_vector_of_the_reference_implementation_is_met() {
        let text = crate::vectors::vectors("argon2/argon2id.kats");
        let text = String::from_utf8(text).unwrap();
        let tag = text.lines().find_map(|line| line.strip_prefix("Tag: ")).unwrap();
        let tag: Vec<u8> =
            tag.split_whitespace().map(|it| u8::from_str_radix(it, 16).unwrap()).collect();
        let mut params = ParamsBuilder::new();
        params.m_cost(32).t_cost(3).p_cost(4).data(AssociatedData::new(&[4; 12]).unwrap());
        let argon2 = Argon2::new_with_secret(
            &[3; 8],
            Algorithm::Argon2id,
            Version::V0x13,
            params.build().unwrap(),
        );
        let mut out = [0; 32];
        argon2.unwrap().hash_password_into(&[1; 32], &[2; 16], &mut out).unwrap();
        assert_eq!(out.as_slice(), tag);
    }

    /// Who is not there costs what everybody costs.
    #[tokio::test]
    async fn nobody_is_looked_at_as_long_as_somebody() {
        let passwords = Passwords::builder().passes(3).build().unwrap();
        let hash = PasswordHash::new(&passwords.0.nobody).unwrap();
        let params = Params::try_from(&hash).unwrap();
        assert_eq!((params.m_cost(), params.t_cost(), params.p_cost()), (19_456, 3, 1));
    }
}
