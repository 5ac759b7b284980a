//! What a database refuses because of others, and is tried again.
use portcullis_authn::StoreError;

pub(crate) type Answer<T> = Result<T, StoreError>;

/// How often is tried what a database refuses because of others that do something at the same time.
pub(crate) const TRIES: usize = 10;

/// Whether a database says that it would be another matter now: a deadlock, a lock that came too late, an order that cannot be had.
pub(crate) fn is_conflict(error: &sqlx::Error) -> bool {
    let Some(error) = error.as_database_error() else { return false };
    let code = error.code();
    ["40001", "40P01"].iter().any(|own| code.as_deref() == Some(own))
        || error.message().contains("try restarting transaction")
}

/// Whether there is one already.
pub(crate) fn is_doubled(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

/// Does it again, where others were in the way.
macro_rules! retried {
    ($work:expr) => {{
        let mut tries = 1;
        loop {
            match $work {
                Err(error) if is_conflict(&error) && tries < TRIES => tries += 1,
                done => break done.map_err(failed),
            }
        }
    }};
}
pub(crate) use retried;
