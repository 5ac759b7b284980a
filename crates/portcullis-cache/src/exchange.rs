//! One request: what it asks for, and what is stored that answers it.
use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, COOKIE, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    IF_UNMODIFIED_SINCE, RANGE, UPGRADE,
};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Body as HttpBody;
use portcullis_core::{Body, Context, Verdict};

use crate::content;
use crate::flight::Phase;
use crate::key::{Key, Place, Scope};
use crate::option::Cached;
use crate::policy::{self, Asked, Judgement, Moment, Stored};
use crate::shared::{self, Shared};
use crate::stats::Event;
use crate::status::{Forward, Handled};
use crate::store::{CacheStoreError, Entry, Found, Mark, StoredBody};

/// What is done with a request.
pub(crate) enum Plan {
    /// It is none of the cache's business.
    Pass,
    /// It may be answered from what is stored: `GET` and `HEAD`.
    Look(Exchange),
    /// The same, once its body is known: `QUERY`.
    Query(Exchange),
    /// It changes something, and so what is stored may no longer be good.
    Change(Exchange),
    /// It takes out what is stored.
    Purge(Exchange),
}

/// A request that the cache looks at.
#[derive(Clone)]
pub(crate) struct Exchange {
    pub(crate) shared: Arc<Shared>,
    pub(crate) context: Context,
    pub(crate) cached: Cached,
    /// What the answer would be kept under that is for nobody else.
    pub(crate) key: Key,
    /// What it would be kept under that is for everybody, where that is another.
    pub(crate) public: Option<Key>,
    pub(crate) is_authenticated: bool,
    /// Whether nobody can tell whose it is: then nobody waits for it, and it is kept only if it is for everybody.
    pub(crate) is_unknown: bool,
    /// The body of a `QUERY`.
    pub(crate) asks: Bytes,
    /// The query as it came.
    pub(crate) query: Option<Box<str>>,
}

/// What is stored that may answer a request.
#[derive(Default)]
pub(crate) struct Looked {
    /// What fits, and under which key.
    pub(crate) entry: Option<(Key, Entry)>,
    /// A part of what is asked for.
    pub(crate) part: Option<(Key, Entry)>,
    /// Whether there is something that does not fit.
    pub(crate) others: bool,
    /// How far purges had got; `None` where the store could not say.
    pub(crate) mark: Option<Mark>,
}

impl Exchange {
    /// What is done with `request`.
    pub(crate) fn plan<B: HttpBody>(
        shared: &Arc<Shared>,
        context: &Context,
        request: &Request<B>,
    ) -> Plan {
        let (method, headers) = (request.method(), request.headers());
        let route = context.route();
        let cached = match route {
            Some(route) => route.options().get::<Cached>().copied(),
            None => Some(Cached::default()),
        };
        let is_change = !policy::is_safe(method);
        // What is not cached may change what is.
        let Some(cached) = cached.or_else(|| is_change.then(Cached::default)) else {
            return Plan::Pass;
        };
        let is_read = *method == Method::GET || *method == Method::HEAD;
        let is_query = method.as_str() == QUERY;
        let is_public = route.is_some_and(|route| route.access().is_public());
        let decided = context.decision().is_some_and(|decision| {
            decision.verdict() == Verdict::Allow && route.is_none_or(|route| decision.allows(route))
        });
        if *method == Method::CONNECT || headers.contains_key(UPGRADE) {
            return Plan::Pass;
        }
        if !(is_read || is_query || is_change) || (is_read && !request.body().is_end_stream()) {
            return Plan::Pass;
        }
        // Nobody has decided: it is for the leaf to refuse it.
        if route.is_some() && !is_public && !decided {
            return Plan::Pass;
        }
        let Some(place) = Place::of(context, request.uri(), headers, shared.stand) else {
            return Plan::Pass;
        };
        let query = shared.searches.query(|| place.path_text(), place.query());
        let identity = context.identity().filter(|_| decided);
        let scope = match (cached.scope, identity) {
            (_, None) => Scope::Public,
            (Some(scope), Some(_)) => scope,
            (None, Some(_)) if is_public => Scope::Public,
            (None, Some(_)) => Scope::Identity,
        };
        let own = identity.filter(|_| scope != Scope::Public).map(|identity| {
            // Who has no tenant shares with nobody.
            let own = Key::of(scope, identity, place, query.as_deref());
            own.unwrap_or_else(|| Key::own(identity, place, query.as_deref()))
        });
        let public = Key::public(place, query.as_deref());
        let is_authenticated = is_authenticated(context, headers, is_public);
        let is_unknown = is_authenticated && own.is_none();
        let (key, public) = match own {
            Some(own) => (own, Some(public)),
            None => (public, None),
        };
        let exchange = Self {
            shared: Arc::clone(shared),
            context: context.clone(),
            cached,
            key,
            public,
            is_authenticated,
            is_unknown,
            asks: Bytes::new(),
            query: match query {
                // As a rule the key has it as it came.
                None | Some(Cow::Borrowed(_)) => None,
                Some(Cow::Owned(_)) => Some(place.query().unwrap_or_default().into()),
            },
        };
        if is_read {
            Plan::Look(exchange)
        } else if is_query {
            Plan::Query(exchange)
        } else if method.as_str() == PURGE && cached.purges {
            // Nobody in particular may: a stack that has such a route does not start.
            if is_public || !decided { Plan::Pass } else { Plan::Purge(exchange) }
        } else {
            Plan::Change(exchange)
        }
    }

    pub(crate) fn now(&self) -> Moment {
        self.context.clock().wall().into()
    }
    pub(crate) fn asked<'a>(&self, method: &'a Method, headers: &'a HeaderMap) -> Asked<'a> {
        Asked { method, headers, is_authenticated: self.is_authenticated }
    }
    fn keys(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.key).chain(&self.public)
    }
    /// What answers the request at once, with no one to be asked.
    pub(crate) fn quick<B>(&self, request: &Request<B>) -> Option<Response<Body>> {
        let asked = self.asked(request.method(), request.headers());
        for key in self.keys() {
            let found = self.shared.store.find_now(key)?;
            if let Some(at) = self.fitting(key, &found, asked) {
                let entry = found.entries.get(at)?;
                let StoredBody::Here(pieces) = &entry.body else { return None };
                let now = self.now();
                let judged = entry.head.judge(&self.shared.rules, asked, now, entry.is_stale);
                if judged != Judgement::Fresh {
                    return None;
                }
                let answer = entry.head.answer(asked, now, entry.body.len());
                let body = content::at_hand(&answer.content, pieces);
                let handled = Handled::hit(entry.head.ttl(now));
                self.shared.stats.count(Event::Hit);
                self.context.note("cache", || handled.to_string());
                return Some(self.respond(answer.status, answer.headers, body, handled));
            }
        }
        None
    }
    /// What is stored.
    pub(crate) async fn look(&self, asked: Asked<'_>) -> Looked {
        let mut looked = Looked::default();
        for key in self.keys() {
            let at_hand = self.shared.store.find_now(key).filter(|found| {
                // Others may have stored what fits since.
                !self.shared.store.is_shared() || self.fitting(key, found, asked).is_some()
            });
            let found = match at_hand {
                Some(found) => found,
                None => match self.shared.store.find(key).await {
                    Ok(found) => found,
                    Err(error) => {
                        tracing::debug!("{error}");
                        self.shared.stats.count(Event::StoreFailed);
                        return Looked::default();
                    }
                },
            };
            // The first look was before the second: what was purged in between counts.
            looked.mark = Some(looked.mark.map_or(found.mark, |mark| mark.min(found.mark)));
            looked.others |= !found.entries.is_empty();
            if let Some(at) = self.fitting(key, &found, asked) {
                looked.entry = found.entries.get(at).map(|entry| (key.clone(), entry.clone()));
                return looked;
            }
            let part = found.entries.iter().find(|entry| {
                self.may_use(key, entry) && entry.head.is_part() && entry.head.matches(asked)
            });
            looked.part = looked.part.or_else(|| part.map(|part| (key.clone(), part.clone())));
        }
        looked
    }
    /// Which of what is stored under a key answers the request.
    fn fitting(&self, key: &Key, found: &Found, asked: Asked<'_>) -> Option<usize> {
        let at = policy::select(&found.entries, asked)?;
        let entry = found.entries.get(at)?;
        self.may_use(key, entry).then_some(at)
    }
    /// Whether the origin has to say of what is everybody's that it is, for this caller to get it.
    pub(crate) fn needs_a_word(&self) -> bool {
        self.is_authenticated && self.shared.rules.preset == policy::Preset::Application
    }
    /// Whether it is for this caller, and for this query.
    fn may_use(&self, key: &Key, entry: &Entry) -> bool {
        let is_everybodys = key.scope() == Scope::Public;
        if is_everybodys && self.needs_a_word() && !entry.head.is_explicitly_public() {
            return false;
        }
        // It was looked for under another query than was asked.
        self.query.as_ref().is_none_or(|query| {
            let said = entry.head.no_vary_search();
            said.is_some_and(|said| said.key(Some(query)).as_deref() == key.query())
        })
    }
    /// What a response is kept under.
    pub(crate) fn key_of(&self, head: &Stored) -> Key {
        let key = match (&self.public, head.scope()) {
            (Some(public), Scope::Public) => public,
            _ => &self.key,
        };
        match head.no_vary_search() {
            None => key.clone(),
            Some(said) => {
                let query = self.query.as_deref().or_else(|| key.query());
                key.with_query(said.key(query).as_deref())
            }
        }
    }
    /// Under which name others wait for the same: the key, and what the fields say that the response is chosen by.
    pub(crate) fn flight(key: &Key, asked: Asked<'_>, names: &Stored) -> Vec<u8> {
        let mut name = key.as_bytes().to_vec();
        for (field, _) in &names.vary {
            for value in asked.headers.get_all(field) {
                name.extend_from_slice(&(value.len() as u64).to_be_bytes());
                name.extend_from_slice(value.as_bytes());
            }
            name.push(0xff);
        }
        name
    }
    /// The URL above, as far as the last slash: what was learned of one thing there may hold for others.
    pub(crate) fn above(&self) -> &[u8] {
        let url = self.key.path_text();
        url.rfind('/').and_then(|at| url.get(..at)).unwrap_or(url).as_bytes()
    }
    /// Whether the answer may be another than that to a plain `GET`: then nobody waits for it.
    pub(crate) fn is_special(headers: &HeaderMap) -> bool {
        headers.contains_key(RANGE) || CONDITIONS.iter().any(|name| headers.contains_key(name))
    }

    /// What those are told who wait for something that is stored now: what has to be validated each time is not worth waiting for.
    pub(crate) fn phase_of(&self, head: &Stored, asked: Asked<'_>, now: Moment) -> Phase {
        if head.judge(&self.shared.rules, asked, now, false) == Judgement::Fresh {
            return Phase::Stored;
        }
        self.shared.hints.unshared(self.key.as_bytes(), self.above(), now);
        Phase::Unshared
    }
    pub(crate) async fn refresh(&self, key: &Key, entry: &Entry, new: &Arc<Stored>, mark: Mark) {
        let refreshed = self.shared.store.refresh(key, &entry.head, Arc::clone(new), mark).await;
        self.tell(refreshed);
    }
    pub(crate) async fn remove(&self, key: &Key, entry: &Entry) {
        self.tell(self.shared.store.remove(key, &entry.head).await);
    }
    pub(crate) fn tell(&self, done: Result<(), CacheStoreError>) {
        if let Err(error) = done {
            tracing::debug!("{error}");
            self.shared.stats.count(Event::StoreFailed);
        }
    }

    pub(crate) fn respond(
        &self,
        status: StatusCode,
        headers: HeaderMap,
        body: Body,
        handled: Handled,
    ) -> Response<Body> {
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        self.say(response.headers_mut(), handled);
        response
    }
    /// Says how it was answered, and takes off what is for caches alone.
    pub(crate) fn say(&self, headers: &mut HeaderMap, handled: Handled) {
        if self.shared.hides_tags {
            shared::hide(headers);
        }
        handled.say(&self.shared.name, headers);
    }
    /// Why the origin is asked, where nothing stored answers.
    pub(crate) fn missed(looked: &Looked) -> Forward {
        match (&looked.part, looked.others) {
            (Some(_), _) => Forward::Partial,
            (None, true) => Forward::VaryMiss,
            (None, false) => Forward::UriMiss,
        }
    }
}

const CONDITIONS: [HeaderName; 4] =
    [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE];

/// The method of RFC 10008.
const QUERY: &str = "QUERY";
const PURGE: &str = "PURGE";

/// Whether a request may be somebody's: it is known whose, or it carries what may say so and nobody has looked at it.
fn is_authenticated(context: &Context, headers: &HeaderMap, is_public: bool) -> bool {
    // On a public route nobody looks. Elsewhere whoever looked knows their own cookies, and no others.
    let cookies_are_known = || {
        let consumed = context.consumed().filter(|_| context.auth().is_some() && !is_public);
        consumed.is_some_and(|consumed| {
            let lines = headers.get_all(COOKIE).iter();
            let mut cookies = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
            cookies.all(|cookie| {
                let name = cookie.split(|byte| *byte == b'=').next().unwrap_or_default();
                let name = name.trim_ascii();
                name.is_empty() || consumed.cookies().any(|known| known.as_bytes() == name)
            })
        })
    };
    context.identity().is_some()
        || headers.contains_key(AUTHORIZATION)
        || (headers.contains_key(COOKIE) && !cookies_are_known())
}

impl Stored {
    /// Whether it is a part of something (206).
    pub(crate) fn is_part(&self) -> bool {
        self.status() == StatusCode::PARTIAL_CONTENT
    }
}
