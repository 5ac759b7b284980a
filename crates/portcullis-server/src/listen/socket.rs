//! Sockets that listen, before and after a runtime has them.
use std::fmt;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};

use super::{At, Inherited};
use crate::stream::Socket;

/// How many connections may wait to be accepted. Linux cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 4_096;

/// How much of an answer the kernel takes beyond what is on its way. It would take megabytes for a client that reads nothing, and
/// a thousand of those would hold all that the machine has for TCP; what is on its way is as much as the line carries all the same.
const UNSENT: u32 = 256 << 10;

/// Where a socket listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Where a listening socket came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// This process opened it.
    Opened,
    /// From the process before this one, which accepts on it until it is told to let go.
    Predecessor,
    /// From a service manager, which keeps it open and owns the file.
    Manager,
    /// From a service manager, by way of the process before this one.
    ManagerOfPredecessor,
}

impl Origin {
    /// What the next process gets.
    pub(crate) fn handed_over(self) -> Self {
        match self {
            Self::Opened | Self::Predecessor => Self::Predecessor,
            Self::Manager | Self::ManagerOfPredecessor => Self::ManagerOfPredecessor,
        }
    }
    /// Whether another process may accept on it beside this one.
    pub(crate) fn is_shared(self) -> bool {
        matches!(self, Self::Predecessor | Self::ManagerOfPredecessor)
    }
}

/// A socket that listens, and belongs to no runtime yet.
#[derive(Debug)]
pub(crate) struct Listening {
    socket: OwnedFd,
    address: Address,
    pub(crate) origin: Origin,
}

impl Listening {
    /// The socket for `at`: an inherited one where there is one for this very address. A private Unix socket is for the user
    /// of this process alone.
    pub(crate) fn open(at: &At, inherited: &mut Inherited, private: bool) -> io::Result<Self> {
        match at {
            At::Unix(path) => match inherited.take(&Address::Unix(path.clone())) {
                Some(listening) => Ok(listening),
                None => Self::unix(bind_unix(path, private)?, Origin::Opened),
            },
            At::Tcp(addresses) => {
                let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
                for address in addresses {
                    if let Some(listening) = inherited.take(&Address::Tcp(*address)) {
                        return Ok(listening);
                    }
                    match bind_tcp(*address).and_then(|socket| Self::tcp(socket, Origin::Opened)) {
                        Ok(listening) => return Ok(listening),
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
        }
    }
    pub(crate) fn tcp(listener: TcpListener, origin: Origin) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        // On Linux accepted sockets inherit both, which saves system calls for each.
        sockopt::set_tcp_nodelay(&listener, true)?;
        bound_unsent(&listener)?;
        let address = Address::Tcp(listener.local_addr()?);
        Ok(Self { socket: listener.into(), address, origin })
    }
    pub(crate) fn unix(listener: UnixListener, origin: Origin) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let Some(path) = address.as_pathname() else {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "the socket has no path"));
        };
        Ok(Self { address: Address::Unix(path.to_owned()), socket: listener.into(), origin })
    }
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }
    /// The TCP address, where it is one.
    pub(crate) fn tcp_address(&self) -> Option<SocketAddr> {
        match self.address {
            Address::Tcp(address) => Some(address),
            Address::Unix(_) => None,
        }
    }
    /// Another handle to the same socket, with the same queue.
    pub(crate) fn share(&self) -> io::Result<Self> {
        let socket = self.socket.try_clone()?;
        Ok(Self { socket, address: self.address.clone(), origin: self.origin })
    }
    /// Hands the socket to the runtime that this is called on.
    pub(crate) fn accepting(&self) -> io::Result<Accepting> {
        let socket = self.socket.try_clone()?;
        Ok(match self.address {
            Address::Tcp(_) => Accepting::Tcp(tokio::net::TcpListener::from_std(socket.into())?),
            Address::Unix(_) => Accepting::Unix(tokio::net::UnixListener::from_std(socket.into())?),
        })
    }
    /// The file of a Unix socket that is not a service manager's, and whether another process may use it beside this one.
    pub(crate) fn file(&self) -> Option<(PathBuf, bool)> {
        match (&self.address, self.origin) {
            (Address::Tcp(_), _) | (_, Origin::Manager | Origin::ManagerOfPredecessor) => None,
            (Address::Unix(path), origin) => Some((path.clone(), origin.is_shared())),
        }
    }
}

impl AsFd for Listening {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
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

/// Whether there is the file of a Unix socket at `path`.
pub(crate) fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
}

/// Binds a Unix socket. A file that a server left behind which is gone is replaced.
fn bind_unix(path: &Path, private: bool) -> io::Result<UnixListener> {
    let is_dead = || {
        UnixStream::connect(path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    };
    if is_socket(path) && is_dead() {
        fs::remove_file(path)?;
    }
    let address = SocketAddrUnix::new(path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let family = AddressFamily::UNIX;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    rustix::net::bind(&socket, &address)?;
    if private {
        // Before it listens: until then nobody can connect.
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    }
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
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
                Socket::tcp(tokio::net::TcpStream::from_std(stream)?)
            }
            Self::Unix(listener) => {
                let stream: UnixStream = rustix::net::accept_with(listener, flags)?.into();
                Socket::unix(tokio::net::UnixStream::from_std(stream)?)
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
                Ok((Socket::tcp(stream), Some(peer)))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Socket::unix(stream), None))
            }
        }
    }
}
