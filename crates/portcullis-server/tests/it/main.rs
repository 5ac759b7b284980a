//! The server as its clients see it: real sockets, and every byte.
#[cfg(test)]
mod cases;
#[cfg(test)]
mod drain;
#[cfg(test)]
mod errors;
#[cfg(test)]
mod fuzz_corpora;
#[cfg(test)]
mod h2;
#[cfg(test)]
mod informational;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod panics;
#[cfg(test)]
mod probe;
#[cfg(test)]
mod proxy_protocol;
#[cfg(test)]
mod start;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tls;
