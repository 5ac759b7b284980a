//! A signal that a server is about to close.
use crate::signal::signal;

signal! {
    /// Tells everyone who works on a connection that its server is about to close: finish soon. A WebSocket says goodbye, a
    /// stream of events ends where the client can begin again.
    ///
    /// What does not finish is cut off when the server's patience ends. Clones share one signal. It is set once and stays
    /// set. A handler finds it in [`Connection::draining`](crate::Connection::draining).
    Draining;
    /// Sets the signal and wakes everyone who waits for it.
    drain;
    /// Whether the signal is set.
    is_draining;
    /// Completes when the signal is set. The task is woken then. One task waits at one handle; another takes a clone.
    poll_draining;
    /// Completes when the signal is set.
    draining;
}
