//! What a connection is made of below HTTP: TCP or a Unix socket, in clear or with TLS.
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context as Cx, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

use crate::rewind::Rewind;

/// An accepted socket, and how much it has taken.
pub(crate) struct Socket {
    kind: Kind,
    taken: u64,
}

enum Kind {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    pub(crate) fn tcp(stream: TcpStream) -> Self {
        Self { kind: Kind::Tcp(stream), taken: 0 }
    }
    pub(crate) fn unix(stream: UnixStream) -> Self {
        Self { kind: Kind::Unix(stream), taken: 0 }
    }
    /// The address of the other end, where it has one.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        match &self.kind {
            Kind::Tcp(stream) => stream.peer_addr().ok(),
            Kind::Unix(_) => None,
        }
    }
    /// Closing resets the connection from here on, and says nothing of an end.
    fn reset(&self) {
        if let Kind::Tcp(stream) = &self.kind {
            // One that is closed already cannot be reset, and need not be.
            drop(stream.set_zero_linger());
        }
    }
    fn took(&mut self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = polled {
            self.taken = self.taken.wrapping_add(bytes as u64);
        }
        polled
    }
}

/// A socket, with TLS or in clear.
pub(crate) enum Stream {
    Clear(Socket),
    Tls(Box<TlsStream<Rewind<Socket>>>),
}

impl Stream {
    /// Has the end of the connection look like a mishap. With TLS it does: nobody has said `close_notify`.
    pub(crate) fn reset(&self) {
        if let Self::Clear(socket) = self {
            socket.reset();
        }
    }
    /// How many bytes the system has taken from us. TLS has a buffer of its own, so what it takes says nothing about the client.
    #[inline]
    pub(crate) fn taken(&self) -> u64 {
        match self {
            Self::Clear(socket) => socket.taken,
            Self::Tls(stream) => stream.get_ref().0.get_ref().taken,
        }
    }
}

/// Does the same with whichever variant there is.
macro_rules! either {
    ($self:ident, $type:ident :: { $first:ident, $second:ident }, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            $type::$first($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
            $type::$second($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
        }
    };
}

macro_rules! transport {
    ($type:ident :: { $first:ident, $second:ident }) => {
        impl AsyncRead for $type {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Cx<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                either!(self, $type::{ $first, $second }, stream => stream.poll_read(cx, buf))
            }
        }

        impl AsyncWrite for $type {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Cx<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                either!(self, $type::{ $first, $second }, stream => stream.poll_write(cx, buf))
            }
            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Cx<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                either!(self, $type::{ $first, $second }, stream => stream.poll_write_vectored(cx, bufs))
            }
            fn is_write_vectored(&self) -> bool {
                match self {
                    $type::$first(stream) => stream.is_write_vectored(),
                    $type::$second(stream) => stream.is_write_vectored(),
                }
            }
            fn poll_flush(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<io::Result<()>> {
                either!(self, $type::{ $first, $second }, stream => stream.poll_flush(cx))
            }
            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<io::Result<()>> {
                either!(self, $type::{ $first, $second }, stream => stream.poll_shutdown(cx))
            }
        }
    };
}

transport!(Kind::{ Tcp, Unix });
transport!(Stream::{ Clear, Tls });

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Cx<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.kind).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Cx<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.kind).poll_write(cx, buf);
        self.took(polled)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Cx<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.kind).poll_write_vectored(cx, bufs);
        self.took(polled)
    }
    fn is_write_vectored(&self) -> bool {
        self.kind.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.kind).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.kind).poll_shutdown(cx)
    }
}
