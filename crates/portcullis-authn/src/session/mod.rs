//! Sessions of browsers: a cookie that says nothing, and what is known of it here.
mod cross_site;
mod handle;
mod live;
mod record;
mod store;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use portcullis_core::{ConfigError, Identity};
use tokio::runtime::Handle;

use self::handle::State;
pub use self::handle::{Session, SessionError, SessionInfo};
use self::live::Live;
use self::record::SessionId;
pub use self::record::{SessionDigest, SessionRecord};
pub use self::store::{MemorySessions, SessionStore, StoreError, Touch};
use crate::proof::Asked;

/// Sessions of browsers: who has logged in, and what an application keeps for them. Cheap to clone; clones share them.
///
/// A browser has a cookie with 256 bits of chance, and a store has its SHA-256, so that who reads the store can log in as nobody. The cookie is
/// `HttpOnly`, `Secure` and `SameSite=Lax`, and its name begins with `__Host-`. A session ends when it was not used for a while, and after its longest time
/// however much it is used. A new id comes with each change of who somebody is, so that an id that somebody has smuggled in is worth nothing.
///
/// A handler gets a [`Session`] as a request extension, behind a route that is not public. A cookie that is not good is taken back, and its sender is anonymous. A
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
    live: Arc<Live>,
}

/// How often what is under way is held against a store that others change too.
const WATCH: Duration = Duration::from_millis(500);
/// How many sessions are asked about at once then.
const BATCH: usize = 500;

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
pub(crate) type Loaded = Result<Option<SessionRecord>, StoreError>;
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
        Self(Arc::new(Settings {
            store: Arc::new(store),
            cookie: Self::COOKIE.into(),
            is_secure: true,
            idle: Self::IDLE,
            absolute: Self::ABSOLUTE,
            largest: 16 << 10,
            trusted: Vec::new(),
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
    /// For development: a cookie that also goes over plain HTTP, where everybody on the way can read it. It has another name, `insecure-session`, and a stack
    /// that has it says so loudly.
    #[must_use]
    pub fn insecure_plain_http(self) -> Self {
        self.edit(|settings| {
            settings.is_secure = false;
            settings.cookie = "insecure-session".into();
        })
    }
    /// Watches the store for sessions that others have ended, on this runtime, which should be one that lasts: what is under way for them ends within a second. A
    /// store that only this process changes needs none of it.
    pub fn start(&self, runtime: &Handle) {
        let settings = Arc::downgrade(&self.0);
        runtime.spawn(async move {
            loop {
                tokio::time::sleep(WATCH).await;
                let Some(settings) = settings.upgrade() else { return };
                for batch in settings.live.all().chunks(BATCH) {
                    match settings.store.missing(batch).await {
                        Ok(gone) => gone.iter().for_each(|session| settings.live.end(session)),
                        Err(error) => tracing::warn!("sessions are not watched: {error}"),
                    }
                }
            }
        });
    }
    /// Takes away what is over. A store in memory, or one that forgets by itself, needs none of it; for others, call it now and then.
    ///
    /// # Errors
    /// The store cannot answer.
    pub async fn sweep(&self, now: std::time::SystemTime) -> Result<u64, StoreError> {
        self.0.store.sweep(now).await
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
    fn touch(&self, now: std::time::SystemTime) -> Touch {
        Touch::new(now, self.0.idle / 30, self.0.idle)
    }

    /// No session yet, whatever cookie the request has.
    pub(crate) fn unopened(&self, asked: Asked<'_>) -> Session {
        Session::new(self.clone(), asked, State::default())
    }
    /// The session of a request. What was loaded for it comes with it the second time.
    pub(crate) fn open(
        &self,
        asked: Asked<'_>,
        now: std::time::SystemTime,
        loaded: Option<Loaded>,
    ) -> Opened {
        let anew = |state| Session::new(self.clone(), asked, state);
        let id = match cookie(asked.headers, &self.0.cookie) {
            Cookie::None => return Opened::Session(anew(State::default()), None),
            Cookie::Odd => return Opened::Session(anew(State::taken_back()), None),
            Cookie::Id(id) => id,
        };
        let digest = id.digest();
        let touch = self.touch(now);
        let loaded = loaded.or_else(|| self.0.store.try_open(&digest, touch));
        let loaded = match loaded {
            Some(Ok(record)) => record,
            Some(Err(error)) => {
                tracing::warn!("{error}");
                return Opened::Unavailable;
            }
            None => {
                let store = Arc::clone(&self.0.store);
                return Opened::Look(Box::pin(async move { store.open(&digest, touch).await }));
            }
        };
        let idle = |record: &SessionRecord| now.duration_since(record.used).unwrap_or_default();
        let is_good = |record: &SessionRecord| {
            now < record.expires && idle(record) < self.0.idle && record.digest == digest
        };
        let Some(mut record) = loaded.filter(is_good) else {
            return Opened::Session(anew(State::taken_back()), None);
        };
        record.identity = record.identity.map(|identity| self.alive(&identity, digest));
        let identity = record.identity.clone();
        let session = anew(State::of(id, record));
        if session.is_cross_site() && cross_site::needs_a_look(asked.method, asked.headers) {
            return Opened::CrossSite;
        }
        Opened::Session(session, identity)
    }
    /// The identity of a session, which ends with it.
    fn alive(&self, identity: &Identity, session: SessionDigest) -> Identity {
        if identity.revocation().is_some() {
            return identity.clone();
        }
        let built = identity.to_builder().session(session.name());
        built.revocation(self.0.live.of(session)).build()
    }
}

/// The cookie of a request.
enum Cookie {
    None,
    /// It is none of ours, or there are several.
    Odd,
    Id(SessionId),
}

/// The cookie of this name.
fn cookie(headers: &HeaderMap, name: &str) -> Cookie {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs =
        lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut values = pairs.filter(|(own, _)| *own == name).map(|(_, value)| value);
    let Some(first) = values.next() else { return Cookie::None };
    let id = SessionId::read(first).filter(|_| values.next().is_none());
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
