//! What happens where nothing stored answers at once: waiting for whoever asks already, asking the origin, and what is done with what it says.
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, IF_RANGE, RANGE, SET_COOKIE};
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode, request, response};
use http_body::Body as HttpBody;
use portcullis_core::{Body, BoxError, Problem};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tower_service::Service;

use crate::exchange::{Exchange, Looked};
use crate::flight::{Arriving, Joined, Lead, Phase};
use crate::key::Key;
use crate::kinds::NOT_CACHED;
use crate::policy::{
    self, Content, Judgement, Moment, NotStored, Preset, Serve, Source, Stored, Times,
};
use crate::shared::hide;
use crate::stats::Event;
use crate::status::{Forward, Handled};
use crate::store::{Entry, Mark, StoredBody};
use crate::stream::{OnEnd, OnLeft, Stream};
use crate::{Purge, Scope, content, odd};

/// How long something may go on that no client waits for.
const BEHIND: Duration = Duration::from_secs(60);
/// How often a request waits for others, until it asks for itself.
const ROUNDS: usize = 8;
/// Into pieces of how many bytes bodies are put together.
const PIECE: usize = 1 << 18;

/// A service that is ready, and whatever it takes to ask it again.
pub(crate) trait Origin<B>:
    Service<Request<Body>, Response = Response<B>, Error: Send, Future: Send> + Clone + Send + 'static
{
}

impl<S, B> Origin<B> for S where
    S: Service<Request<Body>, Response = Response<B>, Error: Send, Future: Send>
        + Clone
        + Send
        + 'static
{
}

/// What came of a wait for others.
enum Waited {
    Answer(Response<Body>),
    /// What they got is for everybody else.
    Other(Arc<Stored>),
    /// Look again.
    Again,
    /// The origin fails.
    Failed,
    Alone,
}

impl Exchange {
    /// Answers a `GET` or a `HEAD`, or a `QUERY` whose body is in its key. `S` is ready.
    pub(crate) async fn read<S, B>(
        self,
        origin: S,
        request: Request<Body>,
    ) -> Result<Response<Body>, S::Error>
    where
        S: Origin<B>,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (parts, body) = request.into_parts();
        let mut names: Option<Arc<Stored>> = None;
        for _ in 0..ROUNDS {
            let asked = self.asked(&parts.method, &parts.headers);
            let looked = self.look(asked).await;
            let mut why = Self::missed(&looked);
            if let Some((_, entry)) = &looked.entry {
                let now = self.now();
                let judged = entry.head.judge(&self.shared.rules, asked, now, entry.is_stale);
                let serve = match judged {
                    Judgement::Fresh => Some((Event::Hit, None)),
                    Judgement::Stale { serve: Serve::AsAsked, .. } => {
                        Some((Event::StaleHit, Some("max-stale")))
                    }
                    Judgement::Stale { serve: Serve::WhileRevalidating, .. } => {
                        let goes_on = self.refresh_behind(&origin, &parts, &looked);
                        goes_on.then_some((Event::StaleHit, Some("stale-while-revalidate")))
                    }
                    Judgement::Stale { .. } => None,
                };
                if let Some((event, detail)) = serve
                    && let Some(answer) = self.serve(asked, entry, event, detail).await
                {
                    return Ok(answer);
                }
                why = if policy::is_reload(&parts.headers) {
                    Forward::Request
                } else {
                    Forward::Stale
                };
            }
            if policy::only_if_cached(&parts.headers) {
                let mut response = Problem::new(NOT_CACHED).respond(&self.context);
                self.say(response.headers_mut(), Handled::forwarded(why));
                return Ok(response);
            }
            if !self.is_awaited(&parts, &looked, why) {
                return self.ask(origin, parts, body, looked, why, None).await;
            }
            let known = looked.entry.as_ref().map(|(_, entry)| &*entry.head).or(names.as_deref());
            // What is stored as everybody's is asked about once for all.
            let key = looked.entry.as_ref().map_or(&self.key, |(key, _)| key);
            let flight = match known {
                Some(known) => Self::flight(key, asked, known),
                None => key.as_bytes().to_vec(),
            };
            let waiting = match self.shared.flights.join(&flight) {
                Joined::Lead(lead) => {
                    return self.ask(origin, parts, body, looked, why, Some(lead)).await;
                }
                Joined::Wait(waiting) => waiting,
            };
            let of_all = key.scope() == Scope::Public;
            match self.wait(waiting, &parts, looked.mark, of_all).await {
                Waited::Answer(answer) => return Ok(answer),
                Waited::Other(head) => names = Some(head),
                Waited::Again => {}
                Waited::Failed => {
                    return match self.serve_failed(&parts, &looked, true).await {
                        Some(answer) => Ok(answer),
                        None => self.ask(origin, parts, body, looked, why, None).await,
                    };
                }
                Waited::Alone => return self.ask(origin, parts, body, looked, why, None).await,
            }
        }
        let looked = self.look(self.asked(&parts.method, &parts.headers)).await;
        self.ask(origin, parts, body, looked, Forward::Bypass, None).await
    }

    /// Whether others may wait for what comes of this request, or this one for what comes of others'.
    fn is_awaited(&self, parts: &request::Parts, looked: &Looked, why: Forward) -> bool {
        parts.method != Method::HEAD
            && (!self.is_unknown || looked.entry.is_some())
            && why != Forward::Request
            && !(self.key.scope() != Scope::Identity && self.has_odd_fields(&parts.headers, &[]))
            && (looked.entry.is_some() || !Self::is_special(&parts.headers))
            && !self.shared.hints.is_unshared(self.key.as_bytes(), self.above(), self.now())
    }

    /// Waits for what somebody else asks for.
    async fn wait(
        &self,
        mut waiting: watch::Receiver<Phase>,
        parts: &request::Parts,
        mark: Option<Mark>,
        of_all: bool,
    ) -> Waited {
        let phase = waiting.wait_for(|phase| !matches!(phase, Phase::Asked)).await;
        // They went away: somebody else asks.
        let Ok(phase) = phase.map(|phase| phase.clone()) else { return Waited::Again };
        let arriving = match phase {
            Phase::Arriving(arriving) => arriving,
            Phase::Stored => return Waited::Again,
            Phase::Failed => return Waited::Failed,
            Phase::Asked | Phase::Unshared => return Waited::Alone,
        };
        let Arriving { head, body, mark: begun } = arriving;
        let asked = self.asked(&parts.method, &parts.headers);
        if !head.matches(asked) {
            return Waited::Other(head);
        }
        // What was everybody's may be so no longer.
        let is_everybodys =
            head.scope() == Scope::Public && (!self.needs_a_word() || head.is_explicitly_public());
        if of_all && !is_everybodys {
            return Waited::Alone;
        }
        let key = self.key_of(&head);
        let is_current = match (begun, mark) {
            (Some(begun), Some(mark)) => {
                mark <= begun || !self.shared.store.purged_since(begun, &key, &head)
            }
            (None, None) => true,
            _ => false,
        };
        let now = self.now();
        let is_good = head.judge(&self.shared.rules, asked, now, false) == Judgement::Fresh;
        if !is_current || !is_good {
            return Waited::Alone;
        }
        match self.answer_arriving(parts, &head, &body, true) {
            Some(answer) => {
                self.shared.stats.count(Event::Collapsed);
                Waited::Answer(answer)
            }
            None => Waited::Alone,
        }
    }

    /// An answer made of a response that is coming.
    fn answer_arriving(
        &self,
        parts: &request::Parts,
        head: &Stored,
        body: &Arc<Stream>,
        collapsed: bool,
    ) -> Option<Response<Body>> {
        let reader = body.reader()?;
        let len = body.len();
        if len.is_none() && parts.headers.contains_key(RANGE) {
            return None;
        }
        let asked = self.asked(&parts.method, &parts.headers);
        let mut answer = head.answer(asked, self.now(), len.unwrap_or(u64::MAX));
        if len.is_none() {
            // Nobody knows yet how long it is.
            answer.headers.remove(CONTENT_LENGTH);
        }
        let body = match answer.content {
            Content::Nothing => Body::empty(),
            Content::Whole => Body::new(reader),
            Content::Part(from, until) => Body::new(reader.within(from..until)),
            Content::Parts(..) => return None,
        };
        let handled =
            Handled::Forwarded { why: Forward::UriMiss, status: None, stored: None, collapsed };
        Some(self.respond(answer.status, answer.headers, body, handled))
    }

    /// Answers with what is stored; `None` where its body cannot be had.
    async fn serve(
        &self,
        asked: policy::Asked<'_>,
        entry: &Entry,
        event: Event,
        detail: Option<&'static str>,
    ) -> Option<Response<Body>> {
        let now = self.now();
        let answer = entry.head.answer(asked, now, entry.body.len());
        let body = match content::fetched(&answer.content, &entry.body).await {
            Ok(body) => body,
            Err(error) => {
                tracing::debug!("{error}");
                self.shared.stats.count(Event::StoreFailed);
                return None;
            }
        };
        let handled = Handled::Hit { ttl: entry.head.ttl(now), detail };
        self.shared.stats.count(event);
        self.context.note("cache", || handled.to_string());
        Some(self.respond(answer.status, answer.headers, body, handled))
    }

    /// Calls the origin, which is ready, and says when it was asked and when it answered.
    async fn call<S, B>(
        &self,
        origin: &mut S,
        request: Request<Body>,
    ) -> Result<(Response<Body>, Times), S::Error>
    where
        S: Origin<B>,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let requested = self.now();
        let response = origin.call(request).await?.map(Body::new);
        Ok((response, Times { requested, received: self.now() }))
    }
    /// The same once more, as the client asked it.
    async fn call_again<S, B>(
        &self,
        mut origin: S,
        parts: &request::Parts,
    ) -> Result<(Response<Body>, Times), S::Error>
    where
        S: Origin<B>,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        poll_fn(|cx| origin.poll_ready(cx)).await?;
        self.call(&mut origin, Request::from_parts(parts.clone(), self.asking())).await
    }

    /// Asks the origin, and stores what it says where it may be stored. `S` is ready.
    async fn ask<S, B>(
        &self,
        mut origin: S,
        parts: request::Parts,
        body: Body,
        looked: Looked,
        why: Forward,
        lead: Option<Lead>,
    ) -> Result<Response<Body>, S::Error>
    where
        S: Origin<B>,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.shared.stats.forward(why);
        self.context.note("cache", || format!("fwd={}", why.as_str()));
        let mut outgoing = parts.clone();
        let tail = looked.part.as_ref().filter(|_| looked.entry.is_none()).and_then(|(_, part)| {
            let is_plain = parts.method == Method::GET && !Self::is_special(&parts.headers);
            is_plain
                .then(|| part.head.missing(part.body.len()))
                .flatten()
                .map(|range| (part, range))
        });
        if let Some((part, range)) = &tail {
            outgoing.headers.insert(RANGE, range.clone());
            if let Some(validator) = part.head.if_range() {
                outgoing.headers.insert(IF_RANGE, validator);
            }
        } else if let Some((_, entry)) = looked.entry.as_ref() {
            entry.head.ask_again(&mut outgoing.headers);
        }
        let called = self.call(&mut origin, Request::from_parts(outgoing, body)).await;
        let (response, times) = match called {
            Ok(called) => called,
            Err(error) => {
                release(lead, Phase::Failed);
                return match self.serve_failed(&parts, &looked, true).await {
                    Some(answer) => Ok(answer),
                    None => Err(error),
                };
            }
        };
        let asked = self.asked(&parts.method, &parts.headers);
        let status = response.status();
        if let Some((key, entry)) = &looked.entry {
            let default_ttl = self.cached.default_ttl;
            if status == StatusCode::NOT_MODIFIED {
                let (head, rest) = response.into_parts();
                drop(rest);
                let rules = &self.shared.rules;
                if let Some(new) = entry.head.refreshed(rules, default_ttl, asked, &head, times) {
                    let mut answer = self.validated(&parts, key, entry, new, &looked, lead).await;
                    // What is for this client alone is not stored, and not lost.
                    for cookie in head.headers.get_all(SET_COOKIE) {
                        if rules.preset == Preset::Application {
                            answer.headers_mut().append(SET_COOKIE, cookie.clone());
                        }
                    }
                    return Ok(answer);
                }
                // It is about something else than what is stored.
                self.remove(key, entry).await;
                let (response, times) = self.call_again(origin, &parts).await?;
                return Ok(self.keep(&parts, response, times, &looked, why, lead));
            }
            if status.is_server_error()
                && let Some(answer) =
                    self.serve_failed(&parts, &looked, is_disconnected(&response)).await
            {
                release(lead, Phase::Failed);
                return Ok(answer);
            }
            if parts.method == Method::HEAD {
                let (head, body) = response.into_parts();
                let rules = &self.shared.rules;
                let new = entry.head.refreshed_by_head(rules, default_ttl, asked, &head, times);
                match (new, looked.mark) {
                    _ if self.is_odd(&entry.head, &parts.headers) => {}
                    (Some(new), Some(mark)) => self.refresh(key, entry, &Arc::new(new), mark).await,
                    // Whoever is refused says nothing about what is stored.
                    (None, _) if status == StatusCode::OK => self.remove(key, entry).await,
                    _ => {}
                }
                let mut response = Response::from_parts(head, body);
                let handled = Handled::Forwarded {
                    why,
                    status: Some(status),
                    stored: None,
                    collapsed: false,
                };
                self.say(response.headers_mut(), handled);
                return Ok(response);
            }
        }
        if let Some((part, _)) = tail
            && status == StatusCode::PARTIAL_CONTENT
        {
            release(lead, Phase::Unshared);
            return self.complete(origin, parts, response, times, part.clone(), &looked).await;
        }
        Ok(self.keep(&parts, response, times, &looked, why, lead))
    }

    /// What is stored, though it is stale, where the origin fails and that is allowed.
    async fn serve_failed(
        &self,
        parts: &request::Parts,
        looked: &Looked,
        disconnected: bool,
    ) -> Option<Response<Body>> {
        let (_, entry) = looked.entry.as_ref()?;
        let asked = self.asked(&parts.method, &parts.headers);
        let judged = entry.head.judge(&self.shared.rules, asked, self.now(), entry.is_stale);
        let Judgement::Stale { if_error, .. } = judged else { return None };
        let rules = &self.shared.rules;
        let stands_in = disconnected && entry.head.stands_in(rules, asked, entry.is_stale);
        if !if_error && !stands_in {
            return None;
        }
        let why = if if_error { "stale-if-error" } else { "disconnected" };
        self.serve(asked, entry, Event::StaleHit, Some(why)).await
    }

    /// What is stored is still good.
    async fn validated(
        &self,
        parts: &request::Parts,
        key: &Key,
        entry: &Entry,
        new: Stored,
        looked: &Looked,
        lead: Option<Lead>,
    ) -> Response<Body> {
        let new = Arc::new(new);
        let is_odd = self.is_odd(&new, &parts.headers);
        if let Some(mark) = looked.mark.filter(|_| !is_odd) {
            self.refresh(key, entry, &new, mark).await;
        }
        let asked = self.asked(&parts.method, &parts.headers);
        let now = self.now();
        let phase = if is_odd { Phase::Unshared } else { self.phase_of(&new, asked, now) };
        release(lead, phase);
        let answer = new.answer(asked, now, entry.body.len());
        self.shared.stats.count(Event::Validated);
        let handled = Handled::Forwarded {
            why: Forward::Stale,
            status: Some(StatusCode::NOT_MODIFIED),
            stored: Some(Ok(())),
            collapsed: false,
        };
        match content::fetched(&answer.content, &entry.body).await {
            Ok(body) => self.respond(answer.status, answer.headers, body, handled),
            Err(error) => {
                tracing::debug!("{error}");
                let problem = Problem::new(portcullis_core::problem::kinds::INTERNAL_ERROR);
                problem.cause("the body of what was validated is gone").respond(&self.context)
            }
        }
    }

    /// Whether others would get what the client has said in a field that is no part of the key: see [`odd`](crate::odd).
    fn is_odd(&self, stored: &Stored, headers: &HeaderMap) -> bool {
        stored.scope() != Scope::Identity && self.has_odd_fields(headers, &stored.vary)
    }
    fn has_odd_fields(
        &self,
        headers: &HeaderMap,
        keyed: &[(HeaderName, Option<Box<str>>)],
    ) -> bool {
        let is_keyed = |name: &HeaderName| keyed.iter().any(|(keyed, _)| keyed == name);
        // What a layer before has read as a credential says who it is, and that is known.
        let is_read = |name: &HeaderName| {
            self.context.consumed().is_some_and(|consumed| consumed.headers().contains(name))
        };
        self.shared.rules.preset == Preset::Application
            && headers.iter().any(|(name, value)| {
                !odd::is_usual(name)
                    && !odd::is_as_keyed(name, value, self.key.url_text())
                    && !self.shared.ignored.contains(name)
                    && !is_keyed(name)
                    && !is_read(name)
            })
    }

    /// What those are told who wait for something that is stored now: what has to be validated each time is not worth waiting for.
    fn phase_of(&self, head: &Stored, asked: policy::Asked<'_>, now: Moment) -> Phase {
        if head.judge(&self.shared.rules, asked, now, false) == Judgement::Fresh {
            return Phase::Stored;
        }
        self.shared.hints.unshared(self.key.as_bytes(), self.above(), now);
        Phase::Unshared
    }

    /// The body of the question, once more.
    fn asking(&self) -> Body {
        Body::from(self.asks.clone())
    }
    async fn refresh(&self, key: &Key, entry: &Entry, new: &Arc<Stored>, mark: Mark) {
        let refreshed = self.shared.store.refresh(key, &entry.head, Arc::clone(new), mark).await;
        self.tell(refreshed);
    }
    async fn remove(&self, key: &Key, entry: &Entry) {
        self.tell(self.shared.store.remove(key, &entry.head).await);
    }
    fn tell(&self, done: Result<(), crate::store::CacheStoreError>) {
        if let Err(error) = done {
            tracing::debug!("{error}");
            self.shared.stats.count(Event::StoreFailed);
        }
    }

    /// Hands a response of the origin on, and stores it on its way where it may be stored.
    fn keep(
        &self,
        parts: &request::Parts,
        response: Response<Body>,
        times: Times,
        looked: &Looked,
        why: Forward,
        lead: Option<Lead>,
    ) -> Response<Body> {
        let (mut head, body) = response.into_parts();
        let status = head.status;
        let asked = self.asked(&parts.method, &parts.headers);
        let declared = declared(&head, &body);
        let read = Stored::new(
            &self.shared.rules,
            self.key.scope(),
            self.cached.default_ttl,
            asked,
            &head,
            times,
        );
        let sizes = self.shared.store.sizes();
        let fits = declared.is_none_or(|len| len <= sizes.whole.max(sizes.streamed));
        let said =
            |stored| Handled::Forwarded { why, status: Some(status), stored, collapsed: false };
        let read = match read {
            Ok(stored) if self.is_odd(&stored, &parts.headers) => Err(NotStored::Unkeyed),
            read => read,
        };
        let stored = match read {
            Ok(stored) if fits && parts.method != Method::HEAD => Arc::new(stored),
            other => {
                // What the request alone is the reason for says nothing about others', nor does an origin that fails.
                let is_ones_own = matches!(
                    other,
                    Err(NotStored::Method | NotStored::Unkeyed | NotStored::Authenticated)
                ) || parts.method == Method::HEAD
                    || status.is_server_error()
                    || policy::wants_no_store(&parts.headers);
                if !is_ones_own {
                    self.shared.hints.unshared(self.key.as_bytes(), self.above(), self.now());
                }
                release(lead, Phase::Unshared);
                let why_not = other.err().filter(|_| parts.method != Method::HEAD);
                self.say(&mut head.headers, said(why_not.map(Err)));
                return Response::from_parts(head, body);
            }
        };
        let key = self.key_of(&stored);
        let phase = self.phase_of(&stored, asked, self.now());
        if matches!(phase, Phase::Stored) {
            self.shared.hints.shared(self.key.as_bytes(), self.above());
        }
        let lead = match phase {
            Phase::Stored => lead,
            phase => {
                release(lead, phase);
                None
            }
        };
        if !stored.is_part() {
            self.shared.searches.learn(key.path_text(), stored.no_vary_search());
        }
        let lead = lead.map(Arc::new);
        let stream = self.stream(body, declared, &key, &stored, looked.mark, lead.clone());
        let reader = stream.reader();
        if let Some(lead) = lead {
            let (head, body) = (Arc::clone(&stored), Arc::clone(&stream));
            lead.tell(Phase::Arriving(Arriving { head, body, mark: looked.mark }));
        }
        self.shared.stats.count(Event::Stored);
        // What the client asks was left out of the question to the origin.
        if looked.entry.is_some()
            && Self::is_special(&parts.headers)
            && let Some(answer) = self.answer_arriving(parts, &stored, &stream, false)
        {
            return answer;
        }
        self.say(&mut head.headers, said(Some(Ok(()))));
        Response::from_parts(head, reader.map_or_else(Body::empty, Body::new))
    }

    /// A body on its way into the store.
    fn stream(
        &self,
        body: Body,
        declared: Option<u64>,
        key: &Key,
        head: &Arc<Stored>,
        mark: Option<Mark>,
        lead: Option<Arc<Lead>>,
    ) -> Arc<Stream> {
        let shared = Arc::clone(&self.shared);
        let sizes = shared.store.sizes();
        let (put_key, put_head, writing) = (key.clone(), Arc::clone(head), lead.clone());
        let on_end: OnEnd = Box::new(move |whole: Option<Vec<Bytes>>| {
            match (whole, mark) {
                (Some(pieces), Some(mark)) => put(&shared, &put_key, &put_head, pieces, mark),
                (None, _) => shared.stats.count(Event::Truncated),
                (Some(_), None) => {}
            }
            drop(lead);
        });
        let (behind, on) = (Arc::clone(&self.shared.behind), Handle::try_current().ok());
        let on_left: OnLeft = Box::new(move |stream: Arc<Stream>| {
            let permit = Arc::clone(&behind).try_acquire_owned().ok();
            let (Some(permit), Some(on)) = (permit, on.as_ref()) else { return false };
            let rest = Body::new(stream.rest());
            on.spawn(async move {
                _ = tokio::time::timeout(BEHIND, drain(rest)).await;
                drop(permit);
            });
            true
        });
        let keep = if sizes.whole > 0 { sizes.whole } else { sizes.streamed.min(KEPT) };
        let stream = Stream::new(body, declared, keep, &self.shared.room, on_end, on_left);
        if let (Some(mark), Some(runtime)) = (mark, Handle::try_current().ok())
            && let Some(mut writer) = self.shared.store.writer(key, head, mark)
            && let Some(reader) = stream.silent_reader()
        {
            let (most, shared) = (sizes.streamed, Arc::clone(&self.shared));
            runtime.spawn(async move {
                // Whoever comes now waits for it, until it is stored.
                let _writing = writing;
                let mut body = Body::new(reader);
                let mut read = 0;
                let written = async {
                    while let Some(data) = next(&mut body).await? {
                        read += data.len() as u64;
                        if read > most {
                            return Err("it is too large".into());
                        }
                        writer.push(data).await?;
                    }
                    writer.finish().await?;
                    Ok::<_, BoxError>(())
                };
                if let Err(error) = written.await {
                    tracing::debug!("a response is not stored: {error}");
                    shared.stats.count(Event::StoreFailed);
                }
            });
        }
        stream
    }

    /// What was stored in part, with the rest that has come now.
    async fn complete<S, B>(
        &self,
        origin: S,
        parts: request::Parts,
        response: Response<Body>,
        times: Times,
        part: Entry,
        looked: &Looked,
    ) -> Result<Response<Body>, S::Error>
    where
        S: Origin<B>,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (head, mut body) = response.into_parts();
        let asked = self.asked(&parts.method, &parts.headers);
        let rules = &self.shared.rules;
        let new =
            Stored::new(rules, self.key.scope(), self.cached.default_ttl, asked, &head, times);
        let largest = self.shared.store.sizes().whole;
        if let (Ok(new), Some(pieces)) = (new, collect(&mut body, largest).await)
            && let Ok(old) = part.body.all().await
            && let Some((head, pieces)) = combined(&part.head, &old, &new, &pieces)
            && !head.is_part()
        {
            let head = Arc::new(head);
            let pieces: Arc<[Bytes]> = tidy(pieces).into();
            if let Some(mark) = looked.mark.filter(|_| !self.is_odd(&head, &parts.headers)) {
                self.shared.store.put_now(&self.key_of(&head), &head, &pieces, mark);
            }
            let entry = Entry { head, body: StoredBody::Here(pieces), is_stale: false };
            let answer = entry.head.answer(asked, self.now(), entry.body.len());
            let body = content::fetched(&answer.content, &entry.body).await.unwrap_or_default();
            let handled = Handled::Forwarded {
                why: Forward::Partial,
                status: Some(StatusCode::PARTIAL_CONTENT),
                stored: Some(Ok(())),
                collapsed: false,
            };
            return Ok(self.respond(answer.status, answer.headers, body, handled));
        }
        // The two do not fit: all of it is asked for.
        let (response, times) = self.call_again(origin, &parts).await?;
        Ok(self.keep(&parts, response, times, looked, Forward::Partial, None))
    }

    /// Looks behind the answer whether what is stored is still good; whether somebody does.
    fn refresh_behind<S, B>(&self, origin: &S, parts: &request::Parts, looked: &Looked) -> bool
    where
        S: Origin<B>,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let Some((key, entry)) = &looked.entry else { return false };
        let Ok(runtime) = Handle::try_current() else { return false };
        let asked = self.asked(&parts.method, &parts.headers);
        let flight = Self::flight(key, asked, &entry.head);
        let Some(lead) = self.shared.flights.lead(&flight) else { return true };
        let Ok(permit) = Arc::clone(&self.shared.behind).try_acquire_owned() else { return false };
        let mut again = parts.clone();
        if again.method == Method::HEAD {
            again.method = Method::GET;
        }
        // It is no longer that client's request.
        again.extensions.remove::<portcullis_core::Connection>();
        let context = self.context.behind();
        context.limit_time(BEHIND);
        again.extensions.insert(context.clone());
        let exchange = Self { context, ..self.clone() };
        let looked = Looked { entry: looked.entry.clone(), mark: looked.mark, ..Looked::default() };
        let mut origin = origin.clone();
        self.shared.stats.count(Event::Behind);
        runtime.spawn(async move {
            let refreshed = async {
                poll_fn(|cx| origin.poll_ready(cx)).await.ok()?;
                let body = exchange.asking();
                let asked =
                    exchange.ask(origin, again, body, looked, Forward::Stale, Some(lead)).await;
                drain(asked.ok()?.into_body()).await;
                Some(())
            };
            _ = tokio::time::timeout(BEHIND, refreshed).await;
            drop(permit);
        });
        true
    }

    /// Passes on a request that changes something, and takes out what is no longer good by it.
    pub(crate) async fn change<S, B>(
        self,
        mut origin: S,
        request: Request<Body>,
    ) -> Result<Response<Body>, S::Error>
    where
        S: Origin<B>,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (parts, body) = request.into_parts();
        let request = Request::from_parts(parts.clone(), body);
        let (response, times) = self.call(&mut origin, request).await?;
        let (head, body) = response.into_parts();
        let asked = self.asked(&parts.method, &parts.headers);
        let urls = policy::invalidates(asked, self.key.url_text(), &head);
        let groups = policy::invalidated_groups(&head);
        let origin = self.key.origin();
        let purges = urls.into_iter().map(Purge::url);
        let purges = purges.chain(groups.into_iter().map(|group| Purge::group(origin, group)));
        self.take_out(purges.collect()).await;
        let mut response = Response::from_parts(head, body);
        if self.shared.hides_tags {
            hide(response.headers_mut());
        }
        if parts.method != Method::POST {
            return Ok(response);
        }
        // What it answers may be what a GET would answer from now on.
        let looked = self.look(self.asked(&Method::GET, &parts.headers)).await;
        let looked = Looked { mark: looked.mark, ..Looked::default() };
        Ok(self.keep_posted(&parts, response, times, &looked))
    }

    /// Takes out what is no longer good, whoever still waits for the answer.
    async fn take_out(&self, purges: Vec<Purge>) {
        let shared = Arc::clone(&self.shared);
        let taking = async move {
            for purge in purges {
                shared.stats.count(Event::Purged);
                if let Err(error) = shared.searches.purge(&*shared.store, &purge).await {
                    tracing::warn!("what is no longer good is not taken out of the cache: {error}");
                    shared.stats.count(Event::StoreFailed);
                }
            }
        };
        match Handle::try_current() {
            // It does not panic, and nobody stops it.
            Ok(runtime) => drop(runtime.spawn(taking).await),
            Err(_) => taking.await,
        }
    }

    /// Stores the answer to a `POST` where it says that it is that to a `GET`.
    fn keep_posted(
        &self,
        parts: &request::Parts,
        response: Response<Body>,
        times: Times,
        looked: &Looked,
    ) -> Response<Body> {
        let (head, body) = response.into_parts();
        let asked = self.asked(&parts.method, &parts.headers);
        let (rules, scope, url) = (&self.shared.rules, self.key.scope(), self.key.url_text());
        let stored = Stored::of_post(rules, scope, asked, url, &head, times).ok();
        let declared = declared(&head, &body);
        let largest = self.shared.store.sizes().whole;
        let stored = stored.filter(|stored| !self.is_odd(stored, &parts.headers));
        match stored {
            Some(stored) if declared.is_none_or(|len| len <= largest) => {
                let stored = Arc::new(stored);
                let key = self.key_of(&stored);
                let stream = self.stream(body, declared, &key, &stored, looked.mark, None);
                let reader = stream.reader();
                Response::from_parts(head, reader.map_or_else(Body::empty, Body::new))
            }
            _ => Response::from_parts(head, body),
        }
    }
}

/// Tells those who wait, if there is somebody for whom it is asked.
fn release(lead: Option<Lead>, phase: Phase) {
    if let Some(lead) = lead {
        lead.end(phase);
    }
}

/// Whether a response is none of the origin's: a gateway says that it has none.
fn is_disconnected(response: &Response<Body>) -> bool {
    let is_gateways =
        [StatusCode::BAD_GATEWAY, StatusCode::GATEWAY_TIMEOUT, StatusCode::SERVICE_UNAVAILABLE];
    response.extensions().get::<Problem>().is_some() && is_gateways.contains(&response.status())
}

/// How many bytes of a body are kept for those who come later, where the store takes larger ones than it holds.
pub(crate) const KEPT: u64 = 8 << 20;

/// Stores what is complete; with what was stored in part, where that makes more of it.
fn put(
    shared: &crate::shared::Shared,
    key: &Key,
    head: &Arc<Stored>,
    pieces: Vec<Bytes>,
    mark: Mark,
) {
    let store = &shared.store;
    if head.is_part()
        && let Some(found) = store.find_now(key)
    {
        let larger = found.entries.iter().find_map(|old| {
            let StoredBody::Here(old_pieces) = &old.body else { return None };
            let is_same = old.head.vary == head.vary;
            is_same.then(|| combined(&old.head, old_pieces, head, &pieces)).flatten()
        });
        if let Some((head, pieces)) = larger {
            store.put_now(key, &Arc::new(head), &tidy(pieces).into(), mark);
            return;
        }
    }
    store.put_now(key, head, &tidy(pieces).into(), mark);
}

/// Two parts of one thing, put together.
fn combined(
    old: &Stored,
    old_pieces: &[Bytes],
    new: &Stored,
    new_pieces: &[Bytes],
) -> Option<(Stored, Vec<Bytes>)> {
    let len = |pieces: &[Bytes]| pieces.iter().map(|piece| piece.len() as u64).sum();
    let combined = old.combine(len(old_pieces), new, len(new_pieces))?;
    let pieces = combined.pieces.iter().flat_map(|(source, from, until)| {
        let of = if *source == Source::Old { old_pieces } else { new_pieces };
        content::slice(of, *from, *until)
    });
    let pieces = pieces.collect();
    Some((combined.head, pieces))
}

/// Copies what arrived into pieces of its own: as it arrived, each piece may keep the larger buffer alive that it was read into.
fn tidy(pieces: Vec<Bytes>) -> Vec<Bytes> {
    let mut tidy: Vec<Bytes> = Vec::new();
    let mut left: usize = pieces.iter().map(Bytes::len).sum();
    let mut now: Vec<u8> = Vec::with_capacity(left.min(PIECE));
    for mut piece in pieces {
        while !piece.is_empty() {
            let part = piece.split_to(piece.len().min(PIECE - now.len()));
            now.extend_from_slice(&part);
            left -= part.len();
            if now.len() == PIECE || left == 0 {
                let next = Vec::with_capacity(left.min(PIECE));
                tidy.push(std::mem::replace(&mut now, next).into());
            }
        }
    }
    tidy
}

/// How long the body is, as far as that is known beforehand.
fn declared(head: &response::Parts, body: &Body) -> Option<u64> {
    let said = head.headers.get(CONTENT_LENGTH).and_then(|len| len.to_str().ok()?.parse().ok());
    said.or_else(|| body.size_hint().exact())
}

/// The next data of a body.
pub(crate) async fn next(body: &mut Body) -> Result<Option<Bytes>, BoxError> {
    loop {
        let frame = poll_fn(|cx| std::pin::Pin::new(&mut *body).poll_frame(cx)).await;
        match frame.transpose()?.map(http_body::Frame::into_data) {
            None => return Ok(None),
            Some(Ok(data)) => return Ok(Some(data)),
            Some(Err(_)) => {}
        }
    }
}

/// All of a body, where it is complete and no longer than `most`.
async fn collect(body: &mut Body, most: u64) -> Option<Vec<Bytes>> {
    let (mut pieces, mut len) = (Vec::new(), 0);
    while let Some(data) = next(body).await.ok()? {
        len += data.len() as u64;
        if len > most {
            return None;
        }
        pieces.push(data);
    }
    Some(pieces)
}

async fn drain(mut body: Body) {
    while let Ok(Some(_)) = next(&mut body).await {}
}
