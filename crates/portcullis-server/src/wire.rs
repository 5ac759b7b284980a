//! The stream that hyper reads and writes: it sees every byte, measures, and adds what hyper cannot say.
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context as Cx, Poll, ready};

use bytes::{Buf, Bytes};
use portcullis_core::Revocation;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::caps::Admitted;
use crate::frames::{FrameMeter, Tick};
use crate::redress::Redress;
use crate::registry::Enrolled;
use crate::request_line::RequestLine;
use crate::rewind::Rewind;
use crate::stream::Stream;
use crate::vitals::{Phase, Vitals};

/// The stream of one connection, with what is known about it. The connection counts as open while this lives.
pub(crate) struct Wire {
    stream: Rewind<Stream>,
    /// How much of what we wrote the system had taken when we last looked.
    taken: u64,
    enrolled: Enrolled,
    /// Counts the connection as open.
    _admitted: Admitted,
    http2: Option<Box<FrameMeter>>,
    /// Bytes of ours that have been begun and must be finished before any of hyper's.
    own: Bytes,
    /// How an answer that hyper makes by itself is shown.
    redress: Redress,
    /// How many of hyper's bytes are to be dropped, since we said the same in our own words.
    swallow: usize,
    /// How the head that is being read begins.
    line: RequestLine,
    /// Ends an upgraded connection.
    revocation: Option<Revocation>,
}

impl Wire {
    pub(crate) fn new(
        stream: Stream,
        enrolled: Enrolled,
        admitted: Admitted,
        redress: Redress,
    ) -> Self {
        Self {
            taken: stream.taken(),
            stream: Rewind::new(stream),
            enrolled,
            _admitted: admitted,
            http2: None,
            own: Bytes::new(),
            redress,
            swallow: 0,
            line: RequestLine::default(),
            revocation: None,
        }
    }
    pub(crate) fn vitals(&self) -> &Vitals {
        self.enrolled.vitals()
    }
    /// Puts bytes in front of what comes next.
    pub(crate) fn unread(&mut self, bytes: Bytes) {
        self.stream.unread(bytes);
    }
    /// Answers a request whose head did not come in time. It is written as the next thing, flushing or shutting down included.
    pub(crate) fn time_out(&mut self) {
        if self.own.is_empty() {
            self.own = self.redress.timed_out();
        }
    }
    /// Ends the connection so that the client does not take it for the end of its answer.
    pub(crate) fn reset(self) {
        self.stream.get_ref().reset();
    }
    /// Counts the frames of HTTP/2 from here on.
    pub(crate) fn meter(&mut self, meter: FrameMeter) {
        self.http2 = Some(Box::new(meter));
    }

    /// Whether the connection must end now, whoever has it.
    #[inline]
    fn check(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
        if self.vitals().is_out_of_the_ordinary() { self.check_closely(cx) } else { Ok(()) }
    }
    #[cold]
    fn check_closely(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
        let vitals = self.enrolled.vitals();
        if vitals.phase() == Phase::Upgraded {
            vitals.wake_with(cx);
            if self.revocation.is_none() {
                self.revocation = vitals.revocation().cloned();
            }
            let revocation = self.revocation.as_mut();
            if revocation.is_some_and(|revocation| revocation.poll_revoked(cx).is_ready()) {
                let text = "the identity that opened the connection was revoked";
                return Err(io::Error::new(io::ErrorKind::ConnectionAborted, text));
            }
        }
        if vitals.is_killed() {
            let text = "the server has closed the connection";
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, text));
        }
        Ok(())
    }

    /// Writes what is ours: what was begun, and informational responses where the stream is clean.
    fn poll_own(&mut self, cx: &mut Cx<'_>) -> Poll<io::Result<()>> {
        if self.own.is_empty() {
            match self.vitals().take_informational() {
                Some(heads) => self.own = heads,
                None => return Poll::Ready(Ok(())),
            }
        }
        while !self.own.is_empty() {
            let polled = Pin::new(&mut self.stream).poll_write(cx, &self.own);
            self.note(&polled);
            let written = ready!(polled)?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.own.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    /// Notes how the client takes what we have for it.
    #[inline]
    fn note<T>(&mut self, polled: &Poll<io::Result<T>>) {
        let taken = self.stream.get_ref().taken();
        let moved = taken.wrapping_sub(std::mem::replace(&mut self.taken, taken));
        if moved > 0 {
            self.vitals().write_moves(moved);
        }
        if polled.is_pending() {
            self.vitals().write_stalls();
        }
    }
    /// Notes how writing something of hyper's went.
    #[inline]
    fn wrote(&mut self, polled: &Poll<io::Result<usize>>) {
        self.note(polled);
        if let Poll::Ready(Ok(bytes)) = polled {
            self.vitals().wrote();
            if let Some(meter) = &mut self.http2 {
                meter.sent(*bytes);
            }
        }
    }
    fn poll_flush_stream(&mut self, cx: &mut Cx<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.note(&polled);
        polled
    }

    /// What hyper says to a request that it could not read, in our own words. `None` for everything else.
    fn redressed(&mut self, bytes: &[u8]) -> Option<Bytes> {
        let vitals = self.enrolled.vitals();
        if self.http2.is_some() || !vitals.is_quiet() || vitals.phase() == Phase::Upgraded {
            return None;
        }
        self.redress.answer(bytes, self.line.to_blame())
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Cx<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let fresh = buf.filled().get(before..).unwrap_or_default();
        if fresh.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let Self { enrolled, http2, redress, line, .. } = &mut *self;
        let vitals = enrolled.vitals();
        if vitals.received(fresh) {
            *line = RequestLine::default();
        }
        line.feed(fresh);
        if line.has_two_ends() {
            vitals.set_two_ends();
        }
        if let Some(meter) = http2 {
            if let Err(flood) = meter.feed(fresh, Tick(vitals.now())) {
                redress.flooded(flood);
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, flood)));
            }
            vitals.header_block(meter.header_block_since().map(|Tick(since)| since));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Cx<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        ready!(self.poll_own(cx))?;
        if self.swallow > 0 {
            let len = self.swallow.min(buf.len());
            self.swallow -= len;
            return Poll::Ready(Ok(len));
        }
        if let Some(answer) = self.redressed(buf) {
            self.own = answer;
            self.swallow = buf.len();
            return self.as_mut().poll_write(cx, buf);
        }
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(&polled);
        polled
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Cx<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // What hyper answers by itself is one piece, and so is everything that we add.
        if let [one] = bufs {
            return self.poll_write(cx, one);
        }
        self.check(cx)?;
        ready!(self.poll_own(cx))?;
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(&polled);
        polled
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<io::Result<()>> {
        // TLS has a buffer of its own: the client has what is in there only when it has been flushed.
        ready!(self.poll_flush_stream(cx))?;
        // Hyper flushes when it has nothing left to write: from here on the stream is clean, until the next answer.
        self.vitals().flushed();
        if self.own.is_empty() && !self.vitals().has_informational() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_own(cx))?;
        self.poll_flush_stream(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        ready!(self.poll_own(cx))?;
        let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.note(&polled);
        polled
    }
}
