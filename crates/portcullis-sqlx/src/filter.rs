//! A filter of objects in a query.
use portcullis_authz::{Filter, SqlDialect, SqlPiece};
use sqlx::QueryBuilder;

/// Puts a [`Filter`] into a query.
pub trait FilterExt {
    /// Adds the condition, in brackets, with what is bound in it: what stands before it is `WHERE`, `AND` or the like.
    fn push_filter(&mut self, filter: &Filter) -> &mut Self;
}

macro_rules! filters {
    ($database:ty, $dialect:ident) => {
        impl FilterExt for QueryBuilder<$database> {
            fn push_filter(&mut self, filter: &Filter) -> &mut Self {
                for piece in filter.pieces(SqlDialect::$dialect) {
                    match piece {
                        SqlPiece::Value(value) => _ = self.push_bind(value),
                        SqlPiece::Text(text) => _ = self.push(text),
                    }
                }
                self
            }
        }
    };
}

#[cfg(feature = "postgres")]
filters!(sqlx::Postgres, Postgres);
#[cfg(feature = "sqlite")]
filters!(sqlx::Sqlite, Sqlite);
#[cfg(feature = "mysql")]
filters!(sqlx::MySql, MySql);
