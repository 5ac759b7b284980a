//! Tokens that only their issuer can read: it is asked (RFC 7662).
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use portcullis_core::{BoxError, Clock};
use serde_json::{Map, Value};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;

use super::fingerprint::Fingerprint;
use super::remembered::Remembered;
use super::source::IssuerAnswer;
use crate::jose::object;

/// Asks an issuer about a token. Made of a closure by whoever has an HTTP client; [`IntrospectionUrl`](super::IntrospectionUrl) is one.
pub trait Introspect: Send + Sync + 'static {
    /// What the issuer answers about this token: the JSON of RFC 7662, section 2.2.
    fn introspect(&self, token: &str) -> IssuerAnswer;
}

impl<F, R> Introspect for F
where
    F: Fn(String) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Vec<u8>, BoxError>> + Send + 'static,
{
    fn introspect(&self, token: &str) -> IssuerAnswer {
        Box::pin(self(token.to_owned()))
    }
}

/// How an issuer is asked about tokens that nobody else can read (RFC 7662). Cheap to clone; clones share what is on its way, and up to
/// 10,000 answers of each kind.
///
/// All who come with one token wait for one answer, which may take 5 s. No more than 128 tokens are asked about at once, and no more than 96 that were not good within
/// the last hour; whoever comes then gets 503 `authentication-unavailable`. A limit by address in front keeps who invents tokens from using that up. A request that
/// goes away while it waits takes nothing with it.
///
/// Whatever can ask will do:
///
/// ```
/// use portcullis_authn::Introspection;
/// use portcullis_core::BoxError;
///
/// let introspection = Introspection::new(async |token: String| {
///     // Ask the issuer, by whichever HTTP client there is. An error is 503; that a token is not good is an answer.
///     let answer = if token == "good" {
///         r#"{"active":true,"sub":"ada","aud":"shop","scope":"orders"}"#
///     } else {
///         r#"{"active":false}"#
///     };
///     Ok::<_, BoxError>(answer.as_bytes().to_vec())
/// });
/// ```
#[derive(Clone)]
pub struct Introspection(Arc<Inner>);

struct Inner {
    ask: Box<dyn Introspect>,
    remember: Duration,
    prefix: String,
    needs_audience: bool,
    clock: Clock,
    active: Remembered<Arc<Map<String, Value>>>,
    /// Apart, so that whoever invents many drives out none that is good.
    inactive: Remembered<()>,
    /// Tokens that were good not long ago, whose callers are asked about also while others come with whatever they have invented.
    proved: Remembered<()>,
    under_way: Mutex<HashMap<Fingerprint, watch::Receiver<Option<Told>>>>,
    warned: Mutex<Option<Instant>>,
    /// Where it is asked.
    runtime: OnceLock<Handle>,
}

/// How long an answer may take.
const LONGEST: Duration = Duration::from_secs(5);
/// How many tokens are asked about at once, and how many of them may be such as were never good.
const AT_ONCE: usize = 128;
const UNPROVED: usize = 96;
/// How long a token that was good is one that may be again.
const PROVED: Duration = Duration::from_secs(3_600);
/// How often it is said that an issuer cannot be asked.
const WARN: Duration = Duration::from_secs(10);
/// How many answers of each kind are remembered, and how large one may be.
const ROOM: usize = 10_000;
const LARGEST: usize = 8 << 10;

/// What an issuer says of a token, and until when that counts.
pub(crate) type Told = (Answer, SystemTime);

/// What an issuer says of a token.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// It is good, if we find so too.
    Active(Arc<Map<String, Value>>),
    Inactive,
    /// Nothing that could be understood.
    Nothing,
}

impl Introspection {
    /// How long an answer is remembered where nobody says otherwise.
    pub const REMEMBER: Duration = Duration::from_secs(10);
    /// How long an answer may be remembered at most.
    pub const LONGEST_MEMORY: Duration = Duration::from_secs(300);

    /// Asks by this.
    pub fn new(ask: impl Introspect) -> Self {
        Self::with_clock(ask, Clock::system())
    }
    /// The same, with a clock of one's own. (Waits are tokio's.)
    pub fn with_clock(ask: impl Introspect, clock: Clock) -> Self {
        Self(Arc::new(Inner {
            ask: Box::new(ask),
            clock,
            remember: Self::REMEMBER,
            prefix: String::new(),
            needs_audience: true,
            active: Remembered::new(ROOM),
            inactive: Remembered::new(ROOM),
            proved: Remembered::new(ROOM),
            under_way: Mutex::default(),
            warned: Mutex::default(),
            runtime: OnceLock::new(),
        }))
    }
    fn edit(mut self, edit: impl FnOnce(&mut Inner)) -> Self {
        // Before it is shared; afterwards nothing changes.
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            edit(inner);
        }
        self
    }
    /// How long an answer counts, and so how long a token stays good that its issuer has revoked; never longer than the token itself. That a token is not good
    /// counts for 10 s at most. Default: 10 s; at most 5 min; 0 has the issuer asked each time. Say it before it is cloned.
    #[must_use]
    pub fn remember(self, time: Duration) -> Self {
        self.edit(|inner| inner.remember = time)
    }
    /// What the issuer's opaque tokens begin with, so that it is not asked about others, and others are not told of its own. Default: whatever.
    /// Say it before it is cloned.
    #[must_use]
    pub fn prefix(self, prefix: impl Into<String>) -> Self {
        self.edit(|inner| inner.prefix = prefix.into())
    }
    /// Takes tokens too of which the issuer does not say for whom they are: then it alone sees to it that a token for another service is no
    /// token for us. Default: a token without `aud` is refused. Say it before it is cloned.
    #[must_use]
    pub fn without_audience(self) -> Self {
        self.edit(|inner| inner.needs_audience = false)
    }
    /// Asks on this runtime, which should be one that lasts. Default: that of whoever comes first.
    pub fn start(&self, runtime: &Handle) {
        drop(self.0.runtime.set(runtime.clone()));
    }

    pub(crate) fn memory(&self) -> Duration {
        self.0.remember
    }
    pub(crate) fn needs_audience(&self) -> bool {
        self.0.needs_audience
    }
    /// Whether a token may be one of the issuer's.
    pub(crate) fn may_be(&self, token: &str) -> bool {
        token.starts_with(&self.0.prefix)
    }
    /// Whether a token may be one of either.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.may_be(&other.0.prefix) || other.may_be(&self.0.prefix)
    }
    /// What the issuer has said of a token, and until when that counts.
    pub(crate) fn known(&self, token: Fingerprint, now: SystemTime) -> Option<Told> {
        if let Some((claims, until)) = self.0.active.get(token, now) {
            return Some((Answer::Active(claims), until));
        }
        let ((), until) = self.0.inactive.get(token, now)?;
        Some((Answer::Inactive, until))
    }
    /// Has the issuer asked, with all who have come with this token; `None` where too many are asked for, or there is no runtime to do it on.
    pub(crate) fn look(
        &self,
        token: &str,
        of: Fingerprint,
    ) -> Option<Pin<Box<dyn Future<Output = Told> + Send>>> {
        let runtime = self.0.runtime.get().cloned().or_else(|| Handle::try_current().ok())?;
        let mut under_way = self.0.lock();
        let known = under_way.get(&of).cloned();
        let mut answer = match known {
            Some(answer) => answer,
            None if under_way.len() >= self.0.room(of) => return None,
            None => {
                let (sender, answer) = watch::channel(None);
                under_way.insert(of, answer.clone());
                // A runtime that has ended drops the task here and now, which takes the lock.
                drop(under_way);
                let asking = Asking { inner: Arc::clone(&self.0), of };
                let token = token.to_owned();
                // As a task of its own: whoever began it may go away, and others wait.
                runtime.spawn(async move {
                    let answer = asking.inner.ask_now(&token).await;
                    // Also where nobody waits for it any more.
                    let told = asking.inner.remember(asking.of, answer);
                    sender.send_replace(Some(told));
                });
                answer
            }
        };
        Some(Box::pin(async move {
            let answer = answer.wait_for(Option::is_some).await;
            let told = answer.ok().and_then(|answer| answer.clone());
            told.unwrap_or((Answer::Nothing, SystemTime::UNIX_EPOCH))
        }))
    }
}

/// Ends a question, however it ends.
struct Asking {
    inner: Arc<Inner>,
    of: Fingerprint,
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.inner.lock().remove(&self.of);
    }
}

impl Inner {
    /// How many may be asked about, this one not among them.
    fn room(&self, token: Fingerprint) -> usize {
        let is_proved = self.proved.get(token, self.clock.wall()).is_some();
        if is_proved { AT_ONCE } else { UNPROVED }
    }
    /// Until when counts what the issuer has just said of a token.
    fn remember(&self, token: Fingerprint, answer: Answer) -> Told {
        let now = self.clock.wall();
        let until = |time| now.checked_add(time).unwrap_or(now);
        let counts = match &answer {
            Answer::Active(claims) => {
                self.proved.remember(token, (), until(PROVED), now);
                let counts = until(self.remember);
                self.active.remember(token, Arc::clone(claims), counts, now);
                counts
            }
            Answer::Inactive => {
                let counts = until(self.remember.min(Introspection::REMEMBER));
                self.inactive.remember(token, (), counts, now);
                counts
            }
            Answer::Nothing => now,
        };
        (answer, counts)
    }
    /// Says that it cannot be asked, and not for each token.
    fn warn(&self, error: &(dyn std::error::Error + Send + Sync)) {
        let now = self.clock.now();
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_none_or(|last| now.saturating_duration_since(last) >= WARN) {
            *warned = Some(now);
            tracing::warn!("an issuer cannot be asked about tokens: {error}");
        }
    }
    fn lock(&self) -> MutexGuard<'_, HashMap<Fingerprint, watch::Receiver<Option<Told>>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
    async fn ask_now(&self, token: &str) -> Answer {
        let answered = timeout(LONGEST, self.ask.introspect(token)).await;
        let answered =
            answered.unwrap_or_else(|_| Err(format!("nothing within {LONGEST:?}").into()));
        match answered.and_then(|text| read(&text)) {
            Ok(answer) => answer,
            Err(error) => {
                self.warn(&*error);
                Answer::Nothing
            }
        }
    }
}

/// Reads an answer (RFC 7662, section 2.2).
fn read(text: &[u8]) -> Result<Answer, BoxError> {
    if text.len() > LARGEST {
        return Err(format!("its answer is larger than {LARGEST} bytes").into());
    }
    let claims = object(text).ok_or("its answer is no JSON object, or has a name twice")?;
    match claims.get("active") {
        Some(Value::Bool(true)) => Ok(Answer::Active(Arc::new(claims))),
        Some(Value::Bool(false)) => Ok(Answer::Inactive),
        _ => Err("its answer does not say whether the token is `active`".into()),
    }
}

impl fmt::Debug for Introspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Introspection")
            .field("remember", &self.0.remember)
            .field("prefix", &self.0.prefix)
            .finish_non_exhaustive()
    }
}
