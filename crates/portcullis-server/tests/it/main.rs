//! The server as its clients see it: real sockets, and every byte.
#[cfg(test)]
mod errors;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod panics;
#[cfg(test)]
mod probe;
#[cfg(test)]
mod start;
#[cfg(test)]
mod support;
