//! Listening sockets that this process did not open: from a service manager, or from the process before it.
use listenfd::ListenFd;

use super::socket::{Address, Listening, Origin};

/// Listening sockets from elsewhere, each until a place asks for its address.
#[derive(Debug, Default)]
pub(crate) struct Inherited(Vec<Listening>);

impl Inherited {
    /// What a service manager passed by `LISTEN_FDS` (socket activation of systemd). It can be taken once in a process.
    pub(crate) fn from_service_manager() -> Self {
        let mut sockets = ListenFd::from_env();
        let mut inherited = Self::default();
        for at in 0..sockets.len() {
            // Each is of one kind, and taking it as the other fails and leaves it.
            if let Ok(Some(listener)) = sockets.take_tcp_listener(at) {
                inherited.0.extend(Listening::tcp(listener, Origin::Manager));
            } else if let Ok(Some(listener)) = sockets.take_unix_listener(at) {
                inherited.0.extend(Listening::unix(listener, Origin::Manager));
            }
        }
        inherited
    }
    pub(crate) fn add(&mut self, listening: Listening) {
        self.0.push(listening);
    }
    pub(crate) fn take(&mut self, address: &Address) -> Option<Listening> {
        let at = self.0.iter().position(|listening| listening.address() == address)?;
        Some(self.0.swap_remove(at))
    }
    /// What no place has asked for.
    pub(crate) fn left(&self) -> impl Iterator<Item = &Address> {
        self.0.iter().map(Listening::address)
    }
}
