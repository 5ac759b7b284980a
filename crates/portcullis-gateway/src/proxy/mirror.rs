//! Copies of requests for a shadow, whose answers nobody reads.
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::EXPECT;
use http::{HeaderName, Request};
use http_body::Body as HttpBody;
use portcullis_core::{Body, End, Watch};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::send::{Route, Trail};
use crate::upstream::Upstream;

/// How large the body of a copy may be.
const MAX_BODY: usize = 64 << 10;
/// How many copies may be on their way.
const AT_ONCE: usize = 100;

/// Where copies go, and how many.
#[derive(Clone, Debug)]
pub(super) struct Mirror {
    upstream: Upstream,
    share: f64,
    room: Arc<Semaphore>,
}

impl Mirror {
    pub(super) fn new(upstream: Upstream, share: f64) -> Self {
        Self { upstream, share, room: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Sends a copy of a request that is about to be sent, without these headers, once its body has been read.
    pub(super) fn copy<'a>(
        &self,
        request: Request<Body>,
        without: impl Iterator<Item = &'a HeaderName>,
    ) -> Request<Body> {
        if self.share < 1.0 && fastrand::f64() >= self.share {
            return request;
        }
        // A shadow that is slow gets fewer, and holds nobody up.
        let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() else { return request };
        let (parts, body) = request.into_parts();
        if body.size_hint().lower() > MAX_BODY as u64 {
            return Request::from_parts(parts, body);
        }
        let mut head = Request::new(());
        *head.method_mut() = parts.method.clone();
        *head.uri_mut() = parts.uri.clone();
        *head.headers_mut() = parts.headers.clone();
        // It comes with its body at hand, and asks nobody.
        head.headers_mut().remove(EXPECT);
        without.for_each(|name| drop(head.headers_mut().remove(name)));
        let shadow = Shadow { upstream: self.upstream.clone(), head, permit };
        if body.is_end_stream() {
            shadow.send(Bytes::new());
            return Request::from_parts(parts, body);
        }
        let tee = Tee { read: BytesMut::new(), shadow: Some(shadow) };
        Request::from_parts(parts, body.watched(tee))
    }
}

struct Shadow {
    upstream: Upstream,
    head: Request<()>,
    permit: OwnedSemaphorePermit,
}

impl Shadow {
    fn send(self, body: Bytes) {
        let Self { upstream, head, permit } = self;
        tokio::spawn(async move {
            let request = head.map(|()| Body::from(body));
            if let Ok(answered) =
                upstream.send(request, None, Route::default(), None, &mut Trail::default()).await
            {
                let mut body = answered.response.into_body();
                while let Some(Ok(_)) =
                    std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await
                {
                }
            }
            drop(permit);
        });
    }
}

/// Reads along, as far as a copy may go.
struct Tee {
    read: BytesMut,
    shadow: Option<Shadow>,
}

impl Watch for Tee {
    fn data(&mut self, data: &Bytes) {
        if self.read.len() + data.len() > MAX_BODY {
            self.shadow = None;
            self.read = BytesMut::new();
        } else if self.shadow.is_some() {
            self.read.extend_from_slice(data);
        }
    }
    fn end(&mut self, how: End) {
        if let (End::Complete, Some(shadow)) = (how, self.shadow.take()) {
            shadow.send(std::mem::take(&mut self.read).freeze());
        }
    }
}
