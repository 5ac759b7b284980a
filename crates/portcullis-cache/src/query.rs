//! `QUERY` (RFC 10008): a question that stands in the body; and `PURGE`.
use std::future::poll_fn;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{Request, Response, StatusCode};
use http_body::Body as HttpBody;
use portcullis_core::problem::kinds;
use portcullis_core::{Body, BoxError, Problem};
use sha2::{Digest, Sha256};

use crate::Purge;
use crate::exchange::Exchange;
use crate::forward::Origin;
use crate::kinds::CACHE_UNAVAILABLE;
use crate::pieces::next;
use crate::shared::hide;
use crate::stats::Event;

/// How long a question may be that is cached, in bytes.
const LONGEST: usize = 64 << 10;

impl Exchange {
    /// Answers a `QUERY`: by its body, and what kind of body it is.
    pub(crate) async fn query<S, B>(
        mut self,
        mut origin: S,
        request: Request<Body>,
    ) -> Result<Response<Body>, S::Error>
    where
        S: Origin<B>,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (parts, body) = request.into_parts();
        match question(body).await {
            Ok(Ok(asks)) => {
                let mut digest = Sha256::new();
                for name in [CONTENT_TYPE, CONTENT_ENCODING] {
                    for value in parts.headers.get_all(name) {
                        digest.update((value.len() as u64).to_be_bytes());
                        digest.update(value.as_bytes());
                    }
                    digest.update([0xff]);
                }
                digest.update(&asks);
                let digest = digest.finalize().into();
                self.key = self.key.asking(&digest);
                self.public = self.public.map(|key| key.asking(&digest));
                self.asks = asks.clone();
                self.read(origin, Request::from_parts(parts, Body::from(asks))).await
            }
            Ok(Err(long)) => {
                poll_fn(|cx| origin.poll_ready(cx)).await?;
                let mut response = origin.call(Request::from_parts(parts, long)).await?;
                if self.shared.hides_tags {
                    hide(response.headers_mut());
                }
                Ok(response.map(Body::new))
            }
            Err(error) => {
                let broken = portcullis_core::BodyError::find(&*error)
                    .map(portcullis_core::BodyError::problem);
                let problem = broken.unwrap_or_else(|| Problem::new(kinds::REQUEST_INVALID));
                Ok(problem.respond(&self.context))
            }
        }
    }

    /// Takes out what is stored of a URL.
    pub(crate) async fn purge<E>(self) -> Result<Response<Body>, E> {
        self.shared.stats.count(Event::Purged);
        // As it was asked for; what is kept under another spelling goes with it.
        let asked = self.query.as_deref().map(|query| [self.key.path_text(), "?", query].concat());
        let purge = Purge::url(asked.unwrap_or_else(|| self.key.url_text().to_owned()));
        Ok(match self.shared.searches.purge(&*self.shared.store, &purge).await {
            Ok(()) => {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::NO_CONTENT;
                response
            }
            Err(error) => {
                Problem::new(CACHE_UNAVAILABLE).cause(error.to_string()).respond(&self.context)
            }
        })
    }
}

/// The question; or the body as it was, where it is too long to be one.
async fn question(mut body: Body) -> Result<Result<Bytes, Body>, BoxError> {
    if body.size_hint().lower() > LONGEST as u64 {
        return Ok(Err(body));
    }
    let mut asks = BytesMut::new();
    while let Some(data) = next(&mut body).await? {
        asks.extend_from_slice(&data);
        if asks.len() > LONGEST {
            return Ok(Err(Body::new(Behind { first: Some(asks.freeze()), rest: body })));
        }
    }
    Ok(Ok(asks.freeze()))
}

/// What was read of a body already, and the rest of it.
struct Behind {
    first: Option<Bytes>,
    rest: Body,
}

impl HttpBody for Behind {
    type Data = Bytes;
    type Error = BoxError;
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BoxError>>> {
        match self.first.take() {
            Some(first) => std::task::Poll::Ready(Some(Ok(http_body::Frame::data(first)))),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }
    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.is_end_stream()
    }
}
