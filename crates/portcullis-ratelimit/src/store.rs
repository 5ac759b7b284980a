//! Where replicas count together.
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use portcullis_core::BoxError;

use crate::Rate;

/// Where replicas count together: Redis (`portcullis-redis`), or a database (`portcullis-sqlx`).
///
/// A store keeps one number for each quota and key: until when, by **its own** clock, the time is taken up. It forgets a number once that time has passed.
///
/// # Cancellation
/// A call whose future is dropped may have counted or not.
#[async_trait]
pub trait QuotaStore: Send + Sync + fmt::Debug {
    /// Counts all of these or none, in one step, and as few round trips as it can. An answer for each, in their order.
    ///
    /// # Errors
    /// It cannot answer. Whether it has counted is not known.
    async fn take(&self, takes: &[Take]) -> Result<Vec<Taken>, QuotaStoreError>;

    /// Counts so many units more (or fewer, down to none taken up), whether there is room for them or not.
    ///
    /// # Errors
    /// It cannot answer. Whether it has counted is not known.
    async fn settle(&self, take: &Take, units: i64) -> Result<(), QuotaStoreError>;
}

/// What is to be counted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Take {
    /// The name of the quota: letters, digits, `-`, `_`, `.`, `:` and `/`.
    pub quota: Arc<str>,
    /// Who is counted: a digest.
    pub who: [u8; 16],
    /// How much they may.
    pub rate: Rate,
    /// There must be room for so many units; otherwise nothing is taken.
    pub needs: u64,
    /// So many units are taken, as far as there is room.
    pub most: u64,
    /// How much too early the needed units may come: they are taken nevertheless, and whoever asked waits so long.
    pub patience: Duration,
}

impl Take {
    /// So many units of this quota, for this key.
    pub fn new(quota: Arc<str>, who: [u8; 16], rate: Rate, units: u64) -> Self {
        Self { quota, who, rate, needs: units, most: units, patience: Duration::ZERO }
    }
}

/// What a store says of a [`Take`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Taken {
    /// Whether there was room, here and for all others of the same step; otherwise nothing was taken.
    pub admitted: bool,
    /// How many units were taken.
    pub units: u64,
    /// How far ahead of the store's now the time is taken up, these units included.
    pub ahead: Duration,
}

impl Taken {
    /// As a store answers.
    pub fn new(admitted: bool, units: u64, ahead: Duration) -> Self {
        Self { admitted, units, ahead }
    }
}

/// A store of quotas that cannot answer.
#[derive(Debug, thiserror::Error)]
#[error("the store of quotas cannot answer: {0}")]
pub struct QuotaStoreError(#[from] pub BoxError);
