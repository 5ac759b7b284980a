//! What the cache does, seen from outside.
#[cfg(test)]
mod aside;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod properties;
mod answers;
mod support;
mod together;
