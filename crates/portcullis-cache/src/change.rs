//! Requests that change something.
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, request};
use http_body::Body as HttpBody;
use portcullis_core::{Body, BoxError};
use tokio::runtime::Handle;

use crate::Purge;
use crate::exchange::{Exchange, Looked};
use crate::forward::Origin;
use crate::pieces::declared;
use crate::policy::{self, Stored, Times};
use crate::shared::hide;
use crate::stats::Event;

impl Exchange {
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
