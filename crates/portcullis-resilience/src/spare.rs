//! A request that can be sent again.
use http::Request;
use http_body::Body as HttpBody;
use portcullis_core::{Body, Dialect};

use crate::Replay;
use crate::layers::dialect_of;

/// What is kept of a request so that it can be sent again: its head, and its body as far as it was read.
#[derive(Debug)]
pub struct Spare {
    head: Request<()>,
    body: Option<Replay>,
}

impl Spare {
    /// Keeps what is needed of a request that is about to be sent. `None` where its body is larger than `limit`, which is in bytes.
    pub fn of(request: &mut Request<Body>, limit: usize) -> Option<Self> {
        let body = if request.body().is_end_stream() {
            None
        } else if request.body().size_hint().lower() > limit as u64 {
            return None;
        } else {
            let (replay, first) = Replay::new(std::mem::take(request.body_mut()), limit);
            *request.body_mut() = Body::new(first);
            Some(replay)
        };
        Some(Self { head: head_of(request), body })
    }
    /// Whether it can still be sent again: what was read of the body was not too much to be remembered.
    pub fn is_whole(&self) -> bool {
        self.body.as_ref().is_none_or(Replay::is_whole)
    }
    /// Whether it can be sent several times at once: it has no body, and its method is safe (RFC 9110, section 9.2.1).
    pub fn is_light(&self) -> bool {
        self.body.is_none() && self.head.method().is_safe()
    }
    /// In what shape whoever calls expects an error.
    pub(crate) fn dialect(&self) -> Dialect {
        dialect_of(&self.head)
    }
    /// The request once more; whatever has been sent of it before ends. `None` where it is not whole.
    pub fn again(&self) -> Option<Request<Body>> {
        let body = match &self.body {
            None => Body::empty(),
            Some(replay) => Body::new(replay.again()?),
        };
        Some(head_of(&self.head).map(|()| body))
    }
}

/// The request without its body. What the sender is told by callbacks it is told again.
fn head_of<B>(request: &Request<B>) -> Request<()> {
    let mut copy = Request::new(());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    copy
}
