//! What a handler does with a session.
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use http::header::{CACHE_CONTROL, SET_COOKIE, USER_AGENT};
use http::{HeaderMap, HeaderValue};
use portcullis_core::problem::Source;
use portcullis_core::problem::kinds::{AUTHENTICATION_REQUIRED, INTERNAL_ERROR};
use portcullis_core::{Clock, Identity, Problem};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::cross_site::{is_cross_site, needs_a_look};
use super::record::{SessionDigest, SessionRecord};
use super::{Sessions, StoreError};
use crate::kinds::{AUTHENTICATION_UNAVAILABLE, REQUEST_CROSS_SITE, SESSION_CONFLICT};
use crate::proof::Asked;
use crate::secret_id::SecretId;

/// The session of a request, which may be none yet. A request extension; cheap to clone, and clones are the same session.
///
/// What changes a session is in the store when its call returns. The cookie goes with the answer, whatever that is.
#[derive(Clone)]
pub struct Session(Arc<Inner>);

struct Inner {
    sessions: Sessions,
    clock: Clock,
    is_cross_site: bool,
    /// And it would change something.
    is_refused: bool,
    agent: Option<Arc<str>>,
    state: Mutex<State>,
}

/// What is known of a session in this request.
#[derive(Default)]
pub(super) struct State {
    current: Option<(SecretId, SessionRecord)>,
    /// The cookie that came with another credential, whose session nobody has looked into.
    unopened: Option<SessionDigest>,
    /// Somebody has said who they are in another way.
    is_aside: bool,
    /// What the browser is told about its cookie.
    said: Option<Said>,
}

enum Said {
    Keep(SecretId),
    TakeBack,
}

impl State {
    pub(super) fn of(id: SecretId, record: SessionRecord) -> Self {
        Self { current: Some((id, record)), ..Self::default() }
    }
    /// A cookie that is not good.
    pub(super) fn taken_back() -> Self {
        Self { said: Some(Said::TakeBack), ..Self::default() }
    }
    pub(super) fn unopened(cookie: Option<SessionDigest>) -> Self {
        Self { unopened: cookie, is_aside: true, ..Self::default() }
    }
}

/// What cannot be done with a session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The store cannot answer. Nothing is known to have changed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another site's page has sent the request: it may log nobody in.
    #[error("another site's page has sent the request")]
    CrossSite,
    /// Nobody has logged in.
    #[error("nobody has logged in")]
    Anonymous,
    /// The session has ended meanwhile, or others change it faster than this request can.
    #[error("the session has ended, or others change it all the time")]
    Conflict,
    /// More than an application may keep in a session.
    #[error("{size} bytes are more than a session may keep: {most}")]
    TooLarge {
        /// How many there are.
        size: usize,
        /// How many there may be.
        most: usize,
    },
    /// What is kept is not what is asked for, or cannot be kept.
    #[error("what a session keeps: {0}")]
    Data(#[from] serde_json::Error),
    /// The system gives no chance to make an id of.
    #[error("there is nothing to make an id of")]
    NoChance,
}

impl From<SessionError> for Problem {
    fn from(error: SessionError) -> Self {
        let kind = match &error {
            SessionError::Store(_) => {
                let problem = Self::new(AUTHENTICATION_UNAVAILABLE).source(Source::Upstream);
                let soon = HeaderValue::from_static("5");
                return problem.header(http::header::RETRY_AFTER, soon).cause(error);
            }
            SessionError::CrossSite => REQUEST_CROSS_SITE,
            SessionError::Anonymous => AUTHENTICATION_REQUIRED,
            SessionError::Conflict => SESSION_CONFLICT,
            SessionError::TooLarge { .. } | SessionError::Data(_) | SessionError::NoChance => {
                INTERNAL_ERROR
            }
        };
        Self::new(kind).cause(error)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        SessionError::from(error).into()
    }
}

/// A session in a list of its owner's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionInfo {
    /// What it is called, to [end](Session::end_named) it by. It opens nothing.
    pub name: String,
    /// Whether it is the one of this request.
    pub is_current: bool,
    /// When it began.
    pub created: SystemTime,
    /// When it was used for the last time, to the minute or so.
    pub used: SystemTime,
    /// When it ends, however much it is used.
    pub expires: SystemTime,
    /// What its browser calls itself.
    pub agent: Option<String>,
}

/// How long a browser's name may be.
const LONGEST_AGENT: usize = 200;
/// How often a change is tried that others get in the way of.
const TRIES: usize = 10;

impl Session {
    pub(super) fn new(sessions: Sessions, asked: Asked<'_>, state: State) -> Self {
        let is_cross_site =
            is_cross_site(asked.headers, asked.context.target(), &sessions.0.trusted);
        let agent = asked.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
        let agent = agent.map(|agent| agent.chars().take(LONGEST_AGENT).collect::<String>().into());
        let clock = asked.context.clock().clone();
        let is_refused = is_cross_site && needs_a_look(asked.method, asked.headers);
        let state = Mutex::new(state);
        Self(Arc::new(Inner { sessions, clock, is_cross_site, is_refused, agent, state }))
    }
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn now(&self) -> SystemTime {
        self.0.clock.wall()
    }
    fn current(&self) -> Option<SessionRecord> {
        self.lock().current.as_ref().map(|(_, record)| record.clone())
    }
    /// Takes the cookie back, whatever becomes of its session.
    #[cfg(feature = "accounts")]
    pub(crate) fn take_back(&self) {
        self.lock().said = Some(Said::TakeBack);
    }
    /// Whether another site's page has sent the request, whatever it asks for.
    #[cfg(feature = "accounts")]
    pub(crate) fn is_cross_site(&self) -> bool {
        self.0.is_cross_site
    }
    /// Ends all sessions of somebody, whoever asks.
    #[cfg(feature = "accounts")]
    pub(crate) async fn end_all_of(&self, identity: &Identity) -> Result<usize, StoreError> {
        self.0.sessions.end_all(identity).await
    }
    pub(super) fn is_refused(&self) -> bool {
        self.0.is_refused
    }
    fn refuse(&self) -> Result<(), SessionError> {
        if self.0.is_refused { Err(SessionError::CrossSite) } else { Ok(()) }
    }
    /// Who has logged in.
    pub fn identity(&self) -> Option<Identity> {
        self.current()?.identity
    }
    /// Whether there is one, also one in which nobody has logged in.
    pub fn exists(&self) -> bool {
        self.lock().current.is_some()
    }

    /// Logs somebody in, under a new id. What the application keeps in the session stays, where it was nobody's or the same one's; another one's is gone.
    ///
    /// # Errors
    /// Another site's page has sent the request, or the store cannot answer.
    pub async fn log_in(&self, identity: &Identity) -> Result<(), SessionError> {
        if self.0.is_cross_site {
            return Err(SessionError::CrossSite);
        }
        self.log_in_from_elsewhere(identity).await
    }
    /// The same at the end of a way that has led over another site, such as that of an identity provider, or that began in a mail. Whoever calls it has seen that this very browser began
    /// it (`state` of RFC 6749, section 10.12): otherwise somebody could log others in as themselves.
    ///
    /// # Errors
    /// The store cannot answer.
    pub async fn log_in_from_elsewhere(&self, identity: &Identity) -> Result<(), SessionError> {
        // Whoever says nothing else has just proved who they are.
        let now = identity.authenticated_at().is_none().then(|| self.now());
        let builder = || identity.to_builder();
        let fresh = now.map(|now| builder().authenticated_at(now).build());
        let identity = fresh.as_ref().unwrap_or(identity);
        let before = self.current();
        let is_same = before.as_ref().is_some_and(|record| {
            record.identity.as_ref().is_none_or(|own| own.key() == identity.key())
        });
        self.begin(before, is_same, Some(identity)).await
    }
    /// Gives the session a new id, as is due when what its owner may do has changed. It stays as long as it would have.
    ///
    /// # Errors
    /// There is none, it has ended meanwhile, or the store cannot answer.
    pub async fn renew(&self) -> Result<(), SessionError> {
        self.refuse()?;
        let before = self.current().ok_or(SessionError::Anonymous)?;
        let id = SecretId::new().ok_or(SessionError::NoChance)?;
        let record =
            SessionRecord { digest: SessionDigest::of(&id), used: self.now(), ..before.clone() };
        if !self.put_in_place(Some((before.digest, true)), id, record).await? {
            return Err(SessionError::Conflict);
        }
        Ok(())
    }
    /// A session under a new id, in the place of another one.
    async fn begin(
        &self,
        before: Option<SessionRecord>,
        keeps_data: bool,
        identity: Option<&Identity>,
    ) -> Result<(), SessionError> {
        let (now, id) = (self.now(), SecretId::new().ok_or(SessionError::NoChance)?);
        let expires = now.checked_add(self.0.sessions.0.absolute).unwrap_or(now);
        let mut record = SessionRecord::new(SessionDigest::of(&id), now, expires);
        record.agent.clone_from(&self.0.agent);
        record.identity = identity.cloned();
        let place = before.map(|before| (before.digest, keeps_data));
        // Whatever another cookie was for is over.
        let place = place.or_else(|| self.lock().unopened.map(|digest| (digest, false)));
        if !self.put_in_place(place, id.clone(), record.clone()).await? {
            // The other one has ended meanwhile, and what it kept with it.
            self.put_in_place(None, id, record).await?;
        }
        Ok(())
    }
    async fn put_in_place(
        &self,
        before: Option<(SessionDigest, bool)>,
        id: SecretId,
        mut record: SessionRecord,
    ) -> Result<bool, SessionError> {
        let Sessions(settings) = &self.0.sessions;
        // A store gets no signal: each process has its own.
        let bare = |it: Identity| it.to_builder().without_revocation().build();
        record.identity = record.identity.map(bare);
        let kept = self.current().filter(|own| before.is_some_and(|(id, _)| id == own.digest));
        match before {
            None => settings.store.create(record.clone()).await?,
            Some((digest, keeps_data)) => {
                if !settings.store.replace(&digest, record.clone(), keeps_data).await? {
                    return Ok(false);
                }
                let owner = |record: &SessionRecord| record.owner();
                if kept.as_ref().and_then(owner) == record.owner() {
                    // The same one goes on, and so does what is under way.
                    settings.live.rename(&digest, record.digest, self.now());
                } else {
                    settings.live.end(&digest);
                }
                if let Some(kept) = kept.filter(|_| keeps_data) {
                    // Whatever others have made of it meanwhile is seen with the next change.
                    (record.data, record.version) = (kept.data, kept.version);
                }
            }
        }
        let signal = settings.live.of(record.digest);
        let name = record.digest.name();
        record.identity =
            record.identity.map(|identity| self.0.sessions.alive(&identity, name, signal));
        let mut state = self.lock();
        state.said = Some(Said::Keep(id.clone()));
        (state.current, state.unopened) = (Some((id, record)), None);
        Ok(true)
    }
    /// Logs out: the session ends, with what is under way for it, and its cookie is taken back.
    ///
    /// # Errors
    /// Another site's page has sent the request, the store cannot answer, or another request has given the session a new id meanwhile: then it goes on.
    pub async fn log_out(&self) -> Result<(), SessionError> {
        self.refuse()?;
        let (current, unopened) = {
            let state = self.lock();
            (state.current.as_ref().map(|(_, record)| record.digest), state.unopened)
        };
        let ended = match current.or(unopened) {
            Some(digest) => self.end(&digest).await?,
            None => true,
        };
        if !ended
            && current.is_some_and(|digest| self.0.sessions.0.live.was_renamed(&digest, self.now()))
        {
            return Err(SessionError::Conflict);
        }
        let mut state = self.lock();
        (state.current, state.unopened, state.said) = (None, None, Some(Said::TakeBack));
        Ok(())
    }
    async fn end(&self, session: &SessionDigest) -> Result<bool, SessionError> {
        // Whatever the store says: nothing goes on that somebody wants to end.
        self.0.sessions.0.live.end(session);
        Ok(self.0.sessions.0.store.end(session).await?)
    }
    fn owner(&self) -> Result<(SessionDigest, String), SessionError> {
        let record = self.current().ok_or(SessionError::Anonymous)?;
        Ok((record.digest, record.owner().ok_or(SessionError::Anonymous)?))
    }
    /// The sessions of whoever has logged in, the one that was used last first.
    ///
    /// # Errors
    /// Nobody has logged in, or the store cannot answer.
    pub async fn list(&self) -> Result<Vec<SessionInfo>, SessionError> {
        let (own, owner) = self.owner()?;
        let (now, idle) = (self.now(), self.0.sessions.0.idle);
        let is_over = |record: &SessionRecord| {
            now >= record.expires || now.duration_since(record.used).is_ok_and(|time| time >= idle)
        };
        let all = self.0.sessions.0.store.list(&owner).await?;
        let info = |record: SessionRecord| SessionInfo {
            name: record.digest.name(),
            is_current: record.digest == own,
            created: record.created,
            used: record.used,
            expires: record.expires,
            agent: record.agent.as_deref().map(str::to_owned),
        };
        Ok(all.into_iter().filter(|record| !is_over(record)).map(info).collect())
    }
    /// Ends a session of whoever has logged in. `false` where there is none of this name.
    ///
    /// # Errors
    /// Nobody has logged in, or the store cannot answer.
    pub async fn end_named(&self, name: &str) -> Result<bool, SessionError> {
        let (_, owner) = self.owner()?;
        let all = self.0.sessions.0.store.list(&owner).await?;
        match all.iter().find(|record| record.digest.name() == name) {
            Some(record) => self.end(&record.digest).await,
            None => Ok(false),
        }
    }
    /// Ends all other sessions of whoever has logged in, as is due when their password has changed. Says how many there were.
    ///
    /// # Errors
    /// Nobody has logged in, or the store cannot answer.
    pub async fn end_others(&self) -> Result<usize, SessionError> {
        let (own, owner) = self.owner()?;
        let ended = self.0.sessions.0.store.end_all(&owner, Some(&own)).await?;
        for session in &ended {
            self.0.sessions.0.live.end(session);
        }
        Ok(ended.len())
    }

    /// What the application keeps in the session; `None` where it keeps nothing.
    ///
    /// # Errors
    /// It is something else.
    pub fn data<T: DeserializeOwned>(&self) -> Result<Option<T>, SessionError> {
        match self.current() {
            Some(record) if !record.data.is_empty() => {
                Ok(Some(serde_json::from_str(&record.data)?))
            }
            _ => Ok(None),
        }
    }
    /// Changes what the application keeps, and begins a session for it where there is none. Where other requests change it at the same time, `change` is called
    /// again with what they have made of it, so that no change is lost.
    ///
    /// # Errors
    /// Another site's page has sent the request; somebody has said who they are by a key or a token, and has not [logged in](Self::log_in); it is too large or something else; the session has
    /// ended meanwhile, or others change it all the time; or the store cannot answer.
    pub async fn update<T, R>(&self, mut change: impl FnMut(&mut T) -> R) -> Result<R, SessionError>
    where
        T: DeserializeOwned + Serialize + Default,
    {
        self.refuse()?;
        if !self.exists() {
            if self.lock().is_aside {
                // A key that is sent with each request would begin a session with each.
                return Err(SessionError::Anonymous);
            }
            self.begin(None, false, None).await?;
        }
        let Sessions(settings) = &self.0.sessions;
        for _ in 0..TRIES {
            let record = self.current().ok_or(SessionError::Conflict)?;
            let mut value = self.data::<T>()?.unwrap_or_default();
            let result = change(&mut value);
            let data = serde_json::to_string(&value)?;
            if data.len() > settings.largest {
                return Err(SessionError::TooLarge { size: data.len(), most: settings.largest });
            }
            let written = settings.store.write(&record.digest, record.version, &data).await?;
            let fresh = if written {
                Some((Arc::from(data), record.version + 1))
            } else {
                let touch = self.0.sessions.touch(self.now());
                let stored = settings.store.open(&record.digest, touch).await?;
                stored.map(|stored| (stored.data, stored.version))
            };
            let (data, version) = fresh.ok_or(SessionError::Conflict)?;
            if let Some((_, current)) = &mut self.lock().current
                && current.digest == record.digest
            {
                (current.data, current.version) = (data, version);
            }
            if written {
                return Ok(result);
            }
        }
        Err(SessionError::Conflict)
    }

    /// Tells the browser what becomes of its cookie.
    pub(crate) fn say(&self, headers: &mut HeaderMap) {
        let (said, is_somebodys) = {
            let mut state = self.lock();
            let own = state.current.as_ref().is_some_and(|(_, own)| own.identity.is_some());
            (state.said.take(), own || state.is_aside)
        };
        if is_somebodys && !headers.contains_key(CACHE_CONTROL) {
            // What is for one of many who share an address is nobody's to keep who does not say so (OWASP ASVS 14.3.2).
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        let Some(said) = said else { return };
        let settings = &self.0.sessions.0;
        let secure = if settings.is_secure { "; Secure" } else { "" };
        let (value, end) = match &said {
            Said::Keep(id) => (id.text(), ""),
            Said::TakeBack => ("", "; Max-Age=0"),
        };
        let cookie =
            format!("{}={value}; Path=/{secure}; HttpOnly; SameSite=Lax{end}", settings.cookie);
        if let Ok(mut cookie) = HeaderValue::try_from(cookie) {
            cookie.set_sensitive(true);
            headers.append(SET_COOKIE, cookie);
            keep_private(headers);
        }
    }
}

/// An answer with a cookie is for one browser (RFC 9111, section 7.3): nobody shares it.
fn keep_private(headers: &mut HeaderMap) {
    let lines = headers.get_all(CACHE_CONTROL).iter().filter_map(|line| line.to_str().ok());
    let directives = lines.flat_map(|line| line.split(',')).map(str::trim);
    let shared = |directive: &str| {
        let name = directive.split('=').next().unwrap_or_default().trim();
        ["public", "s-maxage", "private", ""].iter().any(|own| name.eq_ignore_ascii_case(own))
    };
    let kept = directives.filter(|directive| !shared(directive));
    let kept: Vec<_> = ["private"].into_iter().chain(kept).collect();
    if let Ok(line) = HeaderValue::try_from(kept.join(", ")) {
        headers.insert(CACHE_CONTROL, line);
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = self.current().map(|record| record.digest);
        f.debug_struct("Session").field("digest", &digest).finish_non_exhaustive()
    }
}
