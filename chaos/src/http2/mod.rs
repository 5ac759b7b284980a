//! HTTP/2 by hand, for what no client library would send.
pub(crate) mod frames;
pub(crate) mod hpack;
