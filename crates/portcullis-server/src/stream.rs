//! What a connection is made of below HTTP: TCP or a Unix socket, in clear or with TLS.
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context as Cx, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

use crate::rewind::Rewind;

/// An accepted socket.
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// The address of the other end, where it has one.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().ok(),
            Self::Unix(_) => None,
        }
    }
}

/// A socket, with TLS or in clear.
pub(crate) enum Stream {
    Clear(Socket),
    Tls(Box<TlsStream<Rewind<Socket>>>),
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

transport!(Socket::{ Tcp, Unix });
transport!(Stream::{ Clear, Tls });
