//! Where the keys of an issuer come from: they are given, or they are fetched and kept fresh.
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::AcqRel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use portcullis_core::{BoxError, Clock};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::jose::{Keys, KeysError};

/// What an issuer answers, once it has.
pub type IssuerAnswer = Pin<Box<dyn Future<Output = Result<Vec<u8>, BoxError>> + Send>>;

/// Fetches the text of a JWK Set. Made of a closure by whoever has an HTTP client; [`JwksUrl`](super::JwksUrl) is one.
pub trait FetchKeys: Send + Sync + 'static {
    /// Fetches it once.
    fn fetch(&self) -> IssuerAnswer;
}

impl<F, R> FetchKeys for F
where
    F: Fn() -> R + Send + Sync + 'static,
    R: Future<Output = Result<Vec<u8>, BoxError>> + Send + 'static,
{
    fn fetch(&self) -> IssuerAnswer {
        Box::pin(self())
    }
}

/// The keys of an issuer, fetched from where it publishes them. Cheap to clone; clones share them.
///
/// They are fetched when the first token needs them or [`start`](Self::start) is called, and again and again from then on. A token that names
/// an unknown key has them fetched at once, for all who wait together, and no sooner than 30 s after the last time. A fetch may take 10 s; a
/// request waits for it within its deadline, and 5 s at most. Where the issuer cannot be reached, the keys that are known stay good for a
/// while, and after that nobody is let in. A request that goes away while it waits takes nothing with it: the fetch goes on.
#[derive(Clone)]
pub struct RemoteKeys(Arc<Inner>);

struct Inner {
    fetch: Box<dyn FetchKeys>,
    every: Duration,
    keep: Duration,
    clock: Clock,
    current: ArcSwapOption<Known>,
    state: Mutex<State>,
    /// Goes up with each look, however it ended.
    looks: watch::Sender<u64>,
    started: AtomicBool,
    /// Where they are fetched.
    runtime: OnceLock<Handle>,
}

/// Keys, and when they were fetched.
struct Known {
    keys: Arc<Keys>,
    version: u64,
    fresh: Instant,
}

#[derive(Default)]
struct State {
    /// When somebody last looked, well or not.
    looked: Option<Instant>,
    looking: bool,
}

/// How soon a token with an unknown key may have them fetched again.
const FLOOR: Duration = Duration::from_secs(30);
/// How long a look may take.
const LONGEST: Duration = Duration::from_secs(10);
/// The first pause after a look that failed; it doubles, up to the usual one.
const AGAIN: Duration = Duration::from_secs(1);

/// What is known of the keys now.
pub(crate) enum Now {
    Keys(Arc<Keys>, u64),
    /// None, or too old ones.
    Nothing,
}

impl Now {
    /// Which keys they are, where there are any.
    pub(crate) fn version(&self) -> Option<u64> {
        match self {
            Self::Keys(_, version) => Some(*version),
            Self::Nothing => None,
        }
    }
}

impl RemoteKeys {
    /// How often they are fetched where nobody says otherwise.
    pub const EVERY: Duration = Duration::from_secs(300);
    /// How long known keys stay good where nobody says otherwise.
    pub const KEEP: Duration = Duration::from_secs(3_600);

    /// Keys that `fetch` brings.
    pub fn new(fetch: impl FetchKeys) -> Self {
        Self::with_clock(fetch, Clock::system())
    }
    /// The same, with a clock of one's own. (Waits are tokio's.)
    pub fn with_clock(fetch: impl FetchKeys, clock: Clock) -> Self {
        Self(Arc::new(Inner {
            fetch: Box::new(fetch),
            every: Self::EVERY,
            keep: Self::KEEP,
            clock,
            current: ArcSwapOption::empty(),
            state: Mutex::default(),
            looks: watch::Sender::new(0),
            started: AtomicBool::new(false),
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
    /// How often they are fetched. Default: every 5 min. Say it before it is cloned.
    #[must_use]
    pub fn every(self, time: Duration) -> Self {
        self.edit(|inner| inner.every = time.max(AGAIN))
    }
    /// How long known keys stay good while they cannot be fetched. Default: 1 h. Say it before it is cloned.
    #[must_use]
    pub fn keep(self, time: Duration) -> Self {
        self.edit(|inner| inner.keep = time)
    }
    /// Begins to fetch them, on this runtime, which should be one that lasts.
    pub fn start(&self, runtime: &Handle) {
        if !self.0.started.swap(true, AcqRel) {
            drop(self.0.runtime.set(runtime.clone()));
            runtime.spawn(keep_fetching(Arc::downgrade(&self.0)));
        }
    }
    /// Waits until there are keys.
    pub async fn ready(&self) {
        let mut looks = self.0.looks.subscribe();
        while matches!(self.now(), Now::Nothing) {
            if looks.changed().await.is_err() {
                return;
            }
        }
    }

    pub(crate) fn now(&self) -> Now {
        let known = self.0.current.load();
        let Some(known) = known.as_ref() else { return Now::Nothing };
        let age = self.0.clock.now().saturating_duration_since(known.fresh);
        if age > self.0.keep {
            return Now::Nothing;
        }
        if age > self.0.every {
            // Nobody has started them, or the issuer is gone: who comes now need not wait for it.
            drop(self.look());
        }
        Now::Keys(Arc::clone(&known.keys), known.version)
    }
    /// Has them fetched because somebody needs one that is not known, and waits for it; `None` where that has just been done, or where there is no
    /// runtime to do it on.
    pub(crate) fn look(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        let runtime = self.0.runtime.get().cloned().or_else(|| Handle::try_current().ok())?;
        let mut looks = self.0.looks.subscribe();
        let mut state = self.0.lock();
        if !state.looking {
            let now = self.0.clock.now();
            let too_soon = |looked: Instant| now.saturating_duration_since(looked) < FLOOR;
            if state.looked.is_some_and(too_soon) {
                return None;
            }
            (state.looking, state.looked) = (true, Some(now));
            let inner = Arc::clone(&self.0);
            // As a task of its own: whoever began it may go away, and others wait.
            runtime.spawn(async move { inner.fetch_now().await });
        }
        drop(state);
        Some(Box::pin(async move { drop(looks.changed().await) }))
    }
}

/// Ends a look, however it ends.
struct Looking<'a>(&'a Inner);

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        self.0.lock().looking = false;
        self.0.looks.send_modify(|looks| *looks += 1);
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Fetches them, and says whether that went well.
    async fn fetch_now(&self) -> bool {
        let _looking = Looking(self);
        let fetched = timeout(LONGEST, self.fetch.fetch()).await;
        let fetched = fetched.unwrap_or_else(|_| Err(format!("nothing within {LONGEST:?}").into()));
        let read = fetched
            .and_then(|text| Keys::from_jwks(&text).map_err(|error: KeysError| error.into()));
        match read {
            Ok(keys) => {
                for left_out in keys.left_out() {
                    tracing::debug!("a key of an issuer is left out: {left_out}");
                }
                let version = self.current.load().as_ref().map_or(0, |known| known.version + 1);
                let (keys, fresh) = (Arc::new(keys), self.clock.now());
                self.current.store(Some(Arc::new(Known { keys, version, fresh })));
                true
            }
            Err(error) => {
                tracing::warn!("the keys of an issuer cannot be fetched: {error}");
                false
            }
        }
    }
}

/// Fetches them again and again, as long as somebody has them.
async fn keep_fetching(keys: Weak<Inner>) {
    let mut pause = AGAIN;
    loop {
        let every = {
            let Some(inner) = keys.upgrade() else { return };
            let usual = inner.every;
            let is_mine = {
                let mut state = inner.lock();
                let is_mine = !state.looking;
                (state.looking, state.looked) = (true, Some(inner.clock.now()));
                is_mine
            };
            // One that panics is one that failed.
            let fetching = is_mine.then(|| tokio::spawn(async move { inner.fetch_now().await }));
            let well = match fetching {
                Some(fetching) => fetching.await.unwrap_or(false),
                None => false,
            };
            pause = if well { usual } else { (pause * 2).min(usual) };
            pause
        };
        sleep(every).await;
    }
}

impl fmt::Debug for RemoteKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteKeys")
            .field("every", &self.0.every)
            .field("keep", &self.0.keep)
            .finish_non_exhaustive()
    }
}

/// Where an issuer's keys come from.
#[derive(Debug)]
pub(super) enum Source {
    /// There are none: its tokens are not read here.
    None,
    Given(Arc<Keys>),
    Remote(RemoteKeys),
}

/// Which keys those are that never change.
const GIVEN: u64 = 0;

impl Source {
    pub(super) fn now(&self) -> Now {
        match self {
            Self::None => Now::Nothing,
            Self::Given(keys) => Now::Keys(Arc::clone(keys), GIVEN),
            Self::Remote(keys) => keys.now(),
        }
    }
    /// Which keys they are, where there are any.
    pub(super) fn version(&self) -> Option<u64> {
        match self {
            Self::None => None,
            Self::Given(_) => Some(GIVEN),
            Self::Remote(keys) => keys.now().version(),
        }
    }
    pub(super) fn remote(&self) -> Option<&RemoteKeys> {
        match self {
            Self::None | Self::Given(_) => None,
            Self::Remote(keys) => Some(keys),
        }
    }
}
