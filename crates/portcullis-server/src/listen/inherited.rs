//! Listening sockets that this process did not open: from a service manager, or from the process before it.
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;

use listenfd::ListenFd;

/// Listening sockets from elsewhere, each until a place asks for its address.
#[derive(Debug, Default)]
pub(crate) struct Inherited {
    tcp: Vec<TcpListener>,
    /// With whether the file is ours to remove in the end.
    unix: Vec<(UnixListener, bool)>,
}

impl Inherited {
    /// What a service manager passed by `LISTEN_FDS` (socket activation of systemd). It can be taken once in a process.
    pub(crate) fn from_service_manager() -> Self {
        let mut sockets = ListenFd::from_env();
        let mut inherited = Self::default();
        for at in 0..sockets.len() {
            // Each is of one kind, and taking it as the other fails and leaves it.
            if let Ok(Some(listener)) = sockets.take_tcp_listener(at) {
                inherited.tcp.push(listener);
            } else if let Ok(Some(listener)) = sockets.take_unix_listener(at) {
                inherited.unix.push((listener, false));
            }
        }
        inherited
    }
    pub(crate) fn add_tcp(&mut self, listener: TcpListener) {
        self.tcp.push(listener);
    }
    pub(crate) fn add_unix(&mut self, listener: UnixListener) {
        self.unix.push((listener, true));
    }
    pub(crate) fn take_tcp(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let is_it = |listener: &TcpListener| listener.local_addr().is_ok_and(|own| own == address);
        let at = self.tcp.iter().position(is_it)?;
        Some(self.tcp.swap_remove(at))
    }
    pub(crate) fn take_unix(&mut self, path: &Path) -> Option<(UnixListener, bool)> {
        let is_it = |(listener, _): &(UnixListener, bool)| {
            listener.local_addr().is_ok_and(|own| own.as_pathname() == Some(path))
        };
        let at = self.unix.iter().position(is_it)?;
        let (listener, is_ours) = self.unix.swap_remove(at);
        listener.set_nonblocking(true).ok()?;
        Some((listener, is_ours))
    }
}
