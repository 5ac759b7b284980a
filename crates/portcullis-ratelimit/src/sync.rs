//! What the table is made of, and how large it is at least. The model checker of its test has another of these.
pub(crate) use std::sync::atomic::{AtomicU64, Ordering};
pub(crate) use std::sync::{Mutex, MutexGuard, OnceLock};
pub(crate) use std::thread::yield_now;

/// How many entries a set has.
pub(crate) const WAYS: usize = 8;
/// How many sets the first level has, and how many locks there are: all sets of a key have the same lock.
pub(crate) const SETS: usize = 64;
