//! Sessions of browsers: a cookie that says nothing, and what is known of it here.
mod cached;
mod cross_site;
mod handle;
mod live;
mod record;
mod store;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use portcullis_core::{Clock, ConfigError, Identity, IdentityBuilder, Revocation};
use tokio::runtime::Handle;

pub use self::cached::CachedSessions;
use self::handle::State;
pub use self::handle::{Session, SessionError, SessionInfo};
use self::live::Live;
pub use self::record::{SessionDigest, SessionRecord};
pub use self::store::{MemorySessions, SessionStore, StoreError, Touch};
use crate::own_path::own_path;
use crate::proof::Asked;
use crate::secret_id::SecretId;

/// Sessions of browsers: who has logged in, and what an application keeps for them. Cheap to clone; clones share them.
///
/// A browser has a cookie with 256 bits of chance, and a store has its SHA-256, so that who reads the store can log in as nobody. The cookie is
/// `HttpOnly`, `Secure` and `SameSite=Lax`, and its name begins with `__Host-`. A session ends when it was not used for a while, and after its longest time
/// however much it is used. A new id comes with each change of who somebody is, so that an id that somebody has smuggled in is worth nothing.
///
/// An answer to somebody that says nothing about caches is `no-store`. A handler gets a [`Session`] as a request extension, behind a route that is not public. A cookie that is not good is taken back, and its sender is anonymous. A
/// request that changes something and that another site's page has sent (CSRF) is refused, with a cookie that is good: 403 `request-cross-site`.
///
/// ```
/// use portcullis_authn::{AuthenticateLayer, MemorySessions, Sessions};
/// let layer = AuthenticateLayer::new().sessions(Sessions::new(MemorySessions::new()));
/// ```
#[derive(Clone)]
pub struct Sessions(Arc<Settings>);

#[derive(Clone)]
struct Settings {
    store: Arc<dyn SessionStore>,
    cookie: Arc<str>,
    is_secure: bool,
    idle: Duration,
    absolute: Duration,
    largest: usize,
    trusted: Vec<HeaderValue>,
    log_in: Option<Arc<str>>,
    live: Arc<Live>,
}

/// How often what is under way is held against a store that others change too.
const WATCH: Duration = Duration::from_millis(500);
/// How many sessions are asked about at once then.
const BATCH: usize = 500;
/// After how many looks what is over is taken away: ten minutes.
const SWEEP: u64 = 1_200;

async fn sweep(
    store: &dyn SessionStore,
    idle: Duration,
    now: SystemTime,
) -> Result<u64, StoreError> {
    let unused_since = now.checked_sub(idle).unwrap_or(SystemTime::UNIX_EPOCH);
    store.sweep(now, unused_since).await
}

/// What came of a look at a request.
pub(crate) enum Opened {
    /// Whose session it is, if it is anybody's.
    Session(Session, Option<Identity>),
    /// It is found out when this is over.
    Look(Look),
    /// The store cannot answer.
    Unavailable,
    /// Another site's page has sent it.
    CrossSite,
}

/// What a store says of a cookie.
pub(crate) type Loaded = (Result<Option<SessionRecord>, StoreError>, Revocation);
type Look = Pin<Box<dyn Future<Output = Loaded> + Send>>;

impl Sessions {
    /// How long a session may be unused, and how long it is at most, where nobody says otherwise.
    pub const IDLE: Duration = Duration::from_secs(30 * 60);
    /// How long a session is at most where nobody says otherwise.
    pub const ABSOLUTE: Duration = Duration::from_secs(12 * 3_600);
    /// The name of the cookie where nobody says otherwise.
    pub const COOKIE: &str = "__Host-session";

    /// Sessions in this store.
    pub fn new(store: impl SessionStore) -> Self {
        Self::from_store(Arc::new(store))
    }
    /// The same for a store that others have too.
    pub fn from_store(store: Arc<dyn SessionStore>) -> Self {
        Self(Arc::new(Settings {
            store,
            cookie: Self::COOKIE.into(),
            is_secure: true,
            idle: Self::IDLE,
            absolute: Self::ABSOLUTE,
            largest: 16 << 10,
            trusted: Vec::new(),
            log_in: None,
            live: Arc::default(),
        }))
    }
    fn edit(mut self, edit: impl FnOnce(&mut Settings)) -> Self {
        edit(Arc::make_mut(&mut self.0));
        self
    }
    /// The name of the cookie, which begins with `__Host-`. Default: [`COOKIE`](Self::COOKIE).
    #[must_use]
    pub fn cookie(self, name: impl Into<Arc<str>>) -> Self {
        self.edit(|settings| settings.cookie = name.into())
    }
    /// For how long a session may be unused. Default: 30 min.
    #[must_use]
    pub fn idle(self, time: Duration) -> Self {
        self.edit(|settings| settings.idle = time)
    }
    /// How long a session is at most. Default: 12 h.
    #[must_use]
    pub fn absolute(self, time: Duration) -> Self {
        self.edit(|settings| settings.absolute = time)
    }
    /// How many bytes an application may keep in a session. Default: 16 KiB.
    #[must_use]
    pub fn largest_data(self, bytes: usize) -> Self {
        self.edit(|settings| settings.largest = bytes)
    }
    /// Takes requests that change something from pages of this origin too: `https://app.example`. Default: from those of the same origin alone.
    #[must_use]
    pub fn trusted_origin(self, origin: HeaderValue) -> Self {
        self.edit(|settings| settings.trusted.push(origin))
    }
    /// Where a browser logs in: a path of this site, such as `/account/login`. A page that needs somebody is answered with a redirect there, and `next` says where it was; other
    /// requests get 401. Default: nowhere, so that where there is no other way to say who one is, nobody may.
    #[must_use]
    pub fn log_in_page(self, path: impl Into<Arc<str>>) -> Self {
        self.edit(|settings| settings.log_in = Some(path.into()))
    }
    /// For development: a cookie that also goes over plain HTTP, where everybody on the way can read it. It has another name, `insecure-session`, and a stack
    /// that has it says so loudly.
    #[must_use]
    pub fn insecure_plain_http(self) -> Self {
        self.edit(|settings| {
            settings.is_secure = false;
            settings.cookie = "insecure-session".into();
        })
    }
    /// Watches the store for sessions that others have ended, on this runtime, which should be one that lasts: what is under way for them ends within a second. Every ten
    /// minutes it also [takes away](Self::sweep) what is over. A store in memory needs none of it.
    pub fn start(&self, runtime: &Handle) {
        let (live, store) = (Arc::downgrade(&self.0.live), Arc::clone(&self.0.store));
        let (idle, clock) = (self.0.idle, Clock::system());
        runtime.spawn(async move {
            for beat in 1_u64.. {
                tokio::time::sleep(WATCH).await;
                let Some(live) = live.upgrade() else { return };
                if beat % SWEEP == 0
                    && let Err(error) = sweep(&*store, idle, clock.wall()).await
                {
                    tracing::warn!("sessions that are over stay in the store: {error}");
                }
                for batch in live.all().chunks(BATCH) {
                    match store.missing(batch).await {
                        Ok(gone) => gone.iter().for_each(|session| live.end(session)),
                        Err(error) => {
                            tracing::warn!("sessions are not watched: {error}");
                            break;
                        }
                    }
                }
            }
        });
    }
    /// Takes away what is over, and says how much that was: for who has not [started](Self::start) it. A store in memory, or one that forgets by itself, needs none of it.
    ///
    /// # Errors
    /// The store cannot answer.
    pub async fn sweep(&self, now: SystemTime) -> Result<u64, StoreError> {
        sweep(&*self.0.store, self.0.idle, now).await
    }

    /// Ends all sessions of somebody, as is due when they may no longer log in, or what they may do has changed. Says how many there were. What is under way for them in this
    /// process ends at once, and elsewhere within a second where the sessions were [started](Self::start).
    ///
    /// # Errors
    /// The store cannot answer.
    pub async fn end_all(&self, identity: &Identity) -> Result<usize, StoreError> {
        let ended = self.0.store.end_all(&identity.key().to_string(), None).await?;
        for session in &ended {
            self.0.live.end(session);
        }
        Ok(ended.len())
    }

    /// How a browser says who one is: where it can log in.
    pub(crate) fn challenge(&self) -> Option<HeaderValue> {
        let path = self.0.log_in.as_deref()?;
        HeaderValue::try_from(format!("Form location=\"{path}\"")).ok()
    }
    pub(crate) fn log_in_path(&self) -> Option<&Arc<str>> {
        self.0.log_in.as_ref()
    }
    pub(crate) fn cookie_name(&self) -> &Arc<str> {
        &self.0.cookie
    }
    /// What cannot work.
    pub(crate) fn errors(&self) -> Vec<ConfigError> {
        let settings = &*self.0;
        let mut errors = Vec::new();
        let mut wrong = |message: &str| errors.push(ConfigError::new("Sessions", message));
        let is_token =
            |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!#$%&'*+^`|~".contains(&byte);
        if !settings.is_secure && settings.cookie.starts_with("__") || settings.cookie.is_empty() {
            wrong(
                "the name of a cookie over plain HTTP begins with `__`, which browsers refuse, or there is none",
            );
        }
        if settings.trusted.iter().any(|origin| !is_origin(origin)) {
            wrong("an origin that is trusted is none: write `https://app.example`, without a path");
        }
        let is_own = |path: &str| own_path(path).is_some() && !path.contains(['"', '?', '#']);
        if settings.log_in.as_deref().is_some_and(|path| !is_own(path)) {
            wrong("the page to log in on is none of this site: write `/account/login`");
        }
        if settings.is_secure && !settings.cookie.starts_with("__Host-") {
            wrong(
                "the name of the cookie does not begin with `__Host-`, so that others could set it",
            );
        }
        if !settings.cookie.bytes().all(is_token) {
            wrong("the name of the cookie is none");
        }
        if settings.idle.is_zero() || settings.idle > settings.absolute {
            wrong(
                "a session is over before it can be idle: `idle` is longer than `absolute`, or nothing",
            );
        }
        errors
    }
    /// Whether cookies go over plain HTTP.
    pub(crate) fn is_insecure(&self) -> bool {
        !self.0.is_secure
    }
    /// How much of its idle time goes by before a session is marked as used again.
    fn touch(&self, now: SystemTime) -> Touch {
        Touch::new(now, self.0.idle / 30, self.0.idle)
    }

    /// The session of a request that says who it is in another way: its cookie is not looked into, and what it is for ends when somebody logs in or out.
    pub(crate) fn unopened(&self, asked: Asked<'_>) -> Session {
        let state = match cookie(asked.headers, &self.0.cookie) {
            Cookie::Id(id) => State::unopened(Some(SessionDigest::of(&id))),
            Cookie::None | Cookie::Odd => State::unopened(None),
        };
        Session::new(self.clone(), asked, state)
    }
    /// The session of a request. What was loaded for it comes with it the second time.
    pub(crate) fn open(&self, asked: Asked<'_>, now: SystemTime, loaded: Option<Loaded>) -> Opened {
        let anew = |state| Session::new(self.clone(), asked, state);
        let id = match cookie(asked.headers, &self.0.cookie) {
            Cookie::None => return Opened::Session(anew(State::default()), None),
            Cookie::Odd => return Opened::Session(anew(State::taken_back()), None),
            Cookie::Id(id) => id,
        };
        let digest = SessionDigest::of(&id);
        let touch = self.touch(now);
        let (loaded, signal) = if let Some(loaded) = loaded {
            loaded
        } else {
            // Before the store is asked: whoever ends the session from now on is heard.
            let signal = self.0.live.of(digest);
            let Some(record) = self.0.store.try_open(&digest, touch) else {
                let store = Arc::clone(&self.0.store);
                return Opened::Look(Box::pin(async move {
                    (store.open(&digest, touch).await, signal)
                }));
            };
            (record, signal)
        };
        let loaded = match loaded {
            Ok(record) => record,
            Err(error) => {
                tracing::warn!("{error}");
                return Opened::Unavailable;
            }
        };
        let idle = |record: &SessionRecord| now.duration_since(record.used).unwrap_or_default();
        let is_good = |record: &SessionRecord| {
            now < record.expires && idle(record) < self.0.idle && record.digest == digest
        };
        let Some(mut record) = loaded.filter(is_good).filter(|_| !signal.is_revoked()) else {
            self.0.live.forget(&digest, signal);
            // A request that was sent before the session had another name says nothing about the new one.
            let is_late = self.0.live.was_renamed(&digest, now);
            let state = if is_late { State::default() } else { State::taken_back() };
            return Opened::Session(anew(state), None);
        };
        record.identity =
            record.identity.map(|identity| self.alive(&identity, digest.name(), signal));
        let identity = record.identity.clone();
        let session = anew(State::of(id, record));
        if session.is_refused() {
            return Opened::CrossSite;
        }
        Opened::Session(session, identity)
    }
    /// The identity of a session, with what belongs to this process and not to the store.
    fn alive(
        &self,
        identity: &Identity,
        name: impl Into<Arc<str>>,
        signal: Revocation,
    ) -> Identity {
        let builder = identity.to_builder().session(name).revocation(signal);
        let page = self.log_in_path().cloned();
        page.into_iter().fold(builder, IdentityBuilder::log_in_page).build()
    }
}

/// The cookie of a request.
enum Cookie {
    None,
    /// It is none of ours, or there are several.
    Odd,
    Id(SecretId),
}

/// The cookie of this name.
fn cookie(headers: &HeaderMap, name: &str) -> Cookie {
    // As bytes: what others have put into their cookies hides none of ours.
    let lines = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    let pairs = lines.flat_map(|line| line.split(|it| *it == b';')).filter_map(|pair| {
        let pair = pair.trim_ascii();
        let at = pair.iter().position(|byte| *byte == b'=')?;
        Some((pair.get(..at)?, pair.get(at + 1..)?))
    });
    let mut values = pairs.filter(|(own, _)| *own == name.as_bytes()).map(|(_, value)| value);
    let Some(first) = values.next() else { return Cookie::None };
    let first = std::str::from_utf8(first).ok();
    let id = first.and_then(SecretId::read).filter(|_| values.next().is_none());
    id.map_or(Cookie::Odd, Cookie::Id)
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("store", &self.0.store)
            .field("cookie", &self.0.cookie)
            .field("idle", &self.0.idle)
            .field("absolute", &self.0.absolute)
            .finish_non_exhaustive()
    }
}

/// Whether browsers say it of a page: a scheme and a host, in small letters, and nothing behind them.
fn is_origin(origin: &HeaderValue) -> bool {
    let text = origin.to_str().unwrap_or_default();
    let uri = text.parse::<http::Uri>().ok();
    let plain = uri.as_ref().and_then(|uri| Some((uri.scheme_str()?, uri.authority()?)));
    plain.is_some_and(|(scheme, authority)| {
        ["http", "https"].contains(&scheme)
            && text == format!("{scheme}://{authority}")
            && text == text.to_ascii_lowercase()
    })
}
