//! Sockets that listen, before and after a runtime has them.
use std::fmt;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use super::{At, Inherited};
use crate::stream::Socket;

/// How many connections may wait to be accepted. Linux cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 4_096;

/// How much of an answer the kernel takes beyond what is on its way. It would take megabytes for a client that reads nothing, and
/// a thousand of those would hold all that the machine has for TCP; what is on its way is as much as the line carries all the same.
const UNSENT: u32 = 256 << 10;

/// A socket that listens, and belongs to no runtime yet.
#[derive(Debug)]
pub(crate) enum Listening {
    Tcp(TcpListener, SocketAddr),
    /// The file is removed in the end where there is one that is ours.
    Unix(UnixListener, PathBuf, bool),
}

impl Listening {
    /// The socket for `at`: an inherited one where there is one for this very address.
    pub(crate) fn open(at: &At, inherited: &mut Inherited) -> io::Result<Self> {
        match at {
            At::Unix(path) => match inherited.take_unix(path) {
                Some((listener, is_ours)) => Ok(Self::Unix(listener, path.clone(), is_ours)),
                None => bind_unix(path),
            },
            At::Tcp(addresses) => {
                let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
                for address in addresses {
                    let listener = match inherited.take_tcp(*address) {
                        Some(listener) => Ok(listener),
                        None => bind_tcp(*address),
                    };
                    match listener.and_then(Self::tcp) {
                        Ok(listening) => return Ok(listening),
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
        }
    }
    fn tcp(listener: TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        // On Linux accepted sockets inherit both, which saves system calls for each.
        sockopt::set_tcp_nodelay(&listener, true)?;
        bound_unsent(&listener)?;
        let address = listener.local_addr()?;
        Ok(Self::Tcp(listener, address))
    }
    /// The address, where there is one.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(_, address) => Some(*address),
            Self::Unix(..) => None,
        }
    }
    /// How the socket is called when it is handed over.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Tcp(_, address) => format!("tcp:{address}"),
            Self::Unix(_, path, _) => format!("unix:{}", path.display()),
        }
    }
    /// Another handle to the same socket, with the same queue.
    pub(crate) fn share(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(listener, address) => Self::Tcp(listener.try_clone()?, *address),
            Self::Unix(listener, path, is_ours) => {
                Self::Unix(listener.try_clone()?, path.clone(), *is_ours)
            }
        })
    }
    /// Hands the socket to the runtime that this is called on.
    pub(crate) fn accepting(&self) -> io::Result<Accepting> {
        Ok(match self.share()? {
            Self::Tcp(listener, _) => Accepting::Tcp(tokio::net::TcpListener::from_std(listener)?),
            Self::Unix(listener, ..) => {
                Accepting::Unix(tokio::net::UnixListener::from_std(listener)?)
            }
        })
    }
    /// Lets nobody but its owner connect to a Unix socket.
    pub(crate) fn make_private(&self) -> io::Result<()> {
        match self {
            Self::Tcp(..) => Ok(()),
            Self::Unix(_, path, _) => fs::set_permissions(path, fs::Permissions::from_mode(0o600)),
        }
    }
    /// The file of a Unix socket.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        match self {
            Self::Tcp(..) => None,
            Self::Unix(_, path, is_ours) => is_ours.then(|| path.clone()),
        }
    }
}

impl AsFd for Listening {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener, _) => listener.as_fd(),
            Self::Unix(listener, ..) => listener.as_fd(),
        }
    }
}

impl fmt::Display for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(_, address) => address.fmt(f),
            Self::Unix(_, path, _) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(any(target_os = "android", target_os = "linux"))]
fn bound_unsent(listener: &TcpListener) -> io::Result<()> {
    socket2::SockRef::from(listener).set_tcp_notsent_lowat(UNSENT)
}

/// Elsewhere the kernel's own limits hold.
#[cfg(not(any(target_os = "android", target_os = "linux")))]
fn bound_unsent(_: &TcpListener) -> io::Result<()> {
    Ok(())
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket: OwnedFd = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    // A port whose last connections still wait to be forgotten is free for us.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

/// Binds a Unix socket. A file that a server left behind which is gone is replaced.
fn bind_unix(path: &Path) -> io::Result<Listening> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    let is_dead = || {
        UnixStream::connect(path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    };
    if is_socket && is_dead() {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    Ok(Listening::Unix(listener, path.to_owned(), true))
}

/// A socket that a runtime accepts on.
#[derive(Debug)]
pub(crate) enum Accepting {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

impl Accepting {
    /// A connection that is in the queue now, whatever the runtime knows of it yet.
    pub(crate) fn queued(&self) -> io::Result<Socket> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        Ok(match self {
            Self::Tcp(listener) => {
                let stream: std::net::TcpStream = rustix::net::accept_with(listener, flags)?.into();
                Socket::Tcp(tokio::net::TcpStream::from_std(stream)?)
            }
            Self::Unix(listener) => {
                let stream: UnixStream = rustix::net::accept_with(listener, flags)?.into();
                Socket::Unix(tokio::net::UnixStream::from_std(stream)?)
            }
        })
    }
    /// Waits for the next connection.
    ///
    /// # Cancellation
    /// No connection is lost.
    pub(crate) async fn accept(&self) -> io::Result<(Socket, Option<SocketAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((Socket::Tcp(stream), Some(peer)))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Socket::Unix(stream), None))
            }
        }
    }
}
