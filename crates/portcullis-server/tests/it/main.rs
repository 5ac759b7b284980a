//! The server as its clients see it: real sockets, and every byte.
#[cfg(test)]
mod probe;
#[cfg(test)]
mod support;
