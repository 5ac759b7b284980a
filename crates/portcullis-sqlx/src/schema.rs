//! Which tables there must be.

/// The version of the tables that this crate works with.
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
pub(crate) const VERSION: i64 = 4;

/// A database whose tables are not those that this crate works with.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// There are none, or older ones.
    #[error(
        "the tables of portcullis are of version {found}, and {wanted} is needed: call `migrate`, or run `SCHEMA`"
    )]
    Old {
        /// The version that is there; 0 is none.
        found: i64,
        /// The version that is needed.
        wanted: i64,
    },
    /// There are newer ones: another version of the program has made them.
    #[error(
        "the tables of portcullis are of version {found}, and this program knows {wanted}: run the program that made them"
    )]
    New {
        /// The version that is there.
        found: i64,
        /// The version that is known.
        wanted: i64,
    },
    /// The database cannot answer.
    #[error("the database cannot answer: {0}")]
    Database(#[from] sqlx::Error),
}

/// As it is told to people: `main` prints it so.
impl std::fmt::Debug for SchemaError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}
