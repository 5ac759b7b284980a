//! How much may be under way at a time.
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Bounds how much is under way at a time, so that one slow dependency does not take everything. Cheap to clone; clones share it.
///
/// Nobody waits: what is one too many is refused at once, and may be done elsewhere, or later.
///
/// ```
/// use portcullis_resilience::Bulkhead;
/// let bulkhead = Bulkhead::new(1);
/// let first = bulkhead.try_acquire().unwrap();
/// assert!(bulkhead.try_acquire().is_err());
/// drop(first);
/// assert!(bulkhead.try_acquire().is_ok());
/// ```
#[derive(Clone, Debug)]
pub struct Bulkhead(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    most: usize,
    under_way: AtomicUsize,
}

/// The right to be under way, given back when it is dropped.
#[derive(Debug)]
#[must_use = "dropping it gives the right back"]
pub struct BulkheadPermit(Bulkhead);

/// As much is under way as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("as many requests are under way as may be: {0}")]
pub struct BulkheadFull(usize);

impl Bulkhead {
    /// So much at a time.
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Inner { most, under_way: AtomicUsize::new(0) }))
    }
    /// How much is under way.
    pub fn under_way(&self) -> usize {
        self.0.under_way.load(Relaxed)
    }
    /// Begins, unless as much is under way as may be.
    ///
    /// # Errors
    /// It is full.
    pub fn try_acquire(&self) -> Result<BulkheadPermit, BulkheadFull> {
        // Counted first and looked at then, so that two at once are never both the last.
        if self.0.under_way.fetch_add(1, Relaxed) >= self.0.most {
            self.0.under_way.fetch_sub(1, Relaxed);
            return Err(BulkheadFull(self.0.most));
        }
        Ok(BulkheadPermit(self.clone()))
    }
}

impl Drop for BulkheadPermit {
    fn drop(&mut self) {
        self.0.0.under_way.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn never_more_than_so_many_and_all_come_back() {
        let (bulkhead, seen) = (Bulkhead::new(3), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..2_000 {
                        if let Ok(_permit) = bulkhead.try_acquire() {
                            assert!(seen.fetch_add(1, Relaxed) < 3);
                            seen.fetch_sub(1, Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(bulkhead.under_way(), 0);
        assert_eq!(Bulkhead::new(0).try_acquire().unwrap_err(), BulkheadFull(0));
    }
}
