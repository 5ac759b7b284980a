//! What happens where nothing stored answers at once: waiting for whoever asks already, asking the origin, and what is done with what it says.
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, IF_RANGE, RANGE, SET_COOKIE};
use http::{Method, Request, Response, StatusCode, request};
use http_body::Body as HttpBody;
use portcullis_core::{Body, BoxError, Problem};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tower_service::Service;

use crate::content;
use crate::exchange::{Exchange, Looked};
use crate::flight::{Arriving, Joined, Lead, Phase};
use crate::key::{Key, Scope};
use crate::kinds::NOT_CACHED;
use crate::pieces::drain;
use crate::policy::{self, Content, Judgement, Preset, Serve, Stored, Times};
use crate::stats::Event;
use crate::status::{Forward, Handled};
use crate::store::{Entry, Mark};
use crate::stream::Stream;

/// How long something may go on that no client waits for.
pub(crate) const BEHIND: Duration = Duration::from_secs(60);
/// How often a request waits for others, until it asks for itself.
const ROUNDS: usize = 8;

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
    pub(crate) fn answer_arriving(
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
    pub(crate) async fn call<S, B>(
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
    pub(crate) async fn call_again<S, B>(
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

    /// The body of the question, once more.
    fn asking(&self) -> Body {
        Body::from(self.asks.clone())
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
}

/// Tells those who wait, if there is somebody for whom it is asked.
pub(crate) fn release(lead: Option<Lead>, phase: Phase) {
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
