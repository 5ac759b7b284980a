//! What the origin has said is handed on, and stored on its way.
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Response, StatusCode, request};
use http_body::Body as HttpBody;
use portcullis_core::{Body, BoxError};
use tokio::runtime::Handle;

use crate::content;
use crate::exchange::{Exchange, Looked};
use crate::flight::{Arriving, Lead, Phase};
use crate::forward::{BEHIND, Origin, release};
use crate::key::Key;
use crate::pieces::{collect, combined, declared, drain, next, tidy};
use crate::policy::{self, NotStored, Stored, Times};
use crate::shared::Shared;
use crate::stats::Event;
use crate::status::{Forward, Handled};
use crate::store::{Entry, Mark, StoredBody};
use crate::stream::{OnEnd, OnLeft, Stream};

/// How many bytes of a body are kept for those who come later, where the store takes larger ones than it holds.
pub(crate) const KEPT: u64 = 8 << 20;

impl Exchange {
    /// Hands a response of the origin on, and stores it on its way where it may be stored.
    pub(crate) fn keep(
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
    pub(crate) fn stream(
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
    pub(crate) async fn complete<S, B>(
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
}

/// Stores what is complete; with what was stored in part, where that makes more of it.
fn put(shared: &Shared, key: &Key, head: &Arc<Stored>, pieces: Vec<Bytes>, mark: Mark) {
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
