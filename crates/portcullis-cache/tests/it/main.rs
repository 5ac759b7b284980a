//! What the cache does, seen from outside.
#[cfg(test)]
mod answers;
#[cfg(test)]
mod aside;
#[cfg(test)]
mod attacks;
#[cfg(test)]
mod identities;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod support;
#[cfg(test)]
mod together;
