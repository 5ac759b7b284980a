//! A stream some of whose bytes were read too early.
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context as Cx, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream that gives back bytes which were read to find out what they are.
#[derive(Debug)]
pub(crate) struct Rewind<S> {
    stream: S,
    unread: Bytes,
}

impl<S> Rewind<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, unread: Bytes::new() }
    }
    pub(crate) fn get_ref(&self) -> &S {
        &self.stream
    }
    pub(crate) fn into_parts(self) -> (S, Bytes) {
        (self.stream, self.unread)
    }
    /// Puts bytes in front of what comes next.
    pub(crate) fn unread(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            // An empty view may still hold a buffer.
        } else if self.unread.is_empty() {
            self.unread = bytes;
        } else {
            self.unread = [&bytes[..], &self.unread[..]].concat().into();
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewind<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Cx<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let len = self.unread.len().min(buf.remaining());
        buf.put_slice(self.unread.get(..len).unwrap_or_default());
        self.unread.advance(len);
        if self.unread.is_empty() {
            // Lets go of the memory behind an empty view.
            self.unread = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewind<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Cx<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Cx<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
