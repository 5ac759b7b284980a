//! What somebody may do something with, as a condition of SQL.
use std::collections::HashSet;
use std::fmt::Write;

use portcullis_core::Identity;

use crate::Resource;
use crate::roles::{Reach, Roles, Scope};

/// In which columns of a table it stands what a [`Resource`] is made of. A column that is not named is empty in every row.
///
/// They hold text. What the database thinks alike and the caller's roles do not (`Ada` and `ada`, in `MySQL`) is told apart.
#[derive(Clone, Copy, Debug, Default)]
pub struct Columns {
    tenant: Option<&'static str>,
    owner: Option<&'static str>,
    path: Option<&'static str>,
}

impl Columns {
    /// None yet.
    pub const fn new() -> Self {
        Self { tenant: None, owner: None, path: None }
    }
    /// Where the [tenant](Resource::tenant) stands. A row without one has NULL there.
    #[must_use]
    pub const fn tenant(self, column: &'static str) -> Self {
        Self { tenant: Some(column), ..self }
    }
    /// Where the [owner](Resource::owner) stands.
    #[must_use]
    pub const fn owner(self, column: &'static str) -> Self {
        Self { owner: Some(column), ..self }
    }
    /// Where the [path](Resource::path) stands.
    #[must_use]
    pub const fn path(self, column: &'static str) -> Self {
        Self { path: Some(column), ..self }
    }
}

/// Whose SQL it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SqlDialect {
    /// PostgreSQL: `$1`.
    Postgres,
    /// SQLite: `$1`.
    Sqlite,
    /// `MySQL` and MariaDB: `?`.
    MySql,
}

/// Which objects a caller may do something with: [`Authorizer::filter`](crate::Authorizer::filter) makes it.
///
/// ```
/// use portcullis_authz::{Authorizer, Columns, Roles, SqlDialect};
/// use portcullis_core::Identity;
/// let roles = Roles::builder().role("reader").permits_own("orders:read").build()?;
/// let ada = Identity::builder("https://id.example", "ada").role("reader").build();
/// let columns = Columns::new().owner("customer");
/// let filter = Authorizer::new(roles).filter(&ada, "orders:read", columns)?;
/// let (condition, values) = filter.sql(SqlDialect::Sqlite, 1);
/// // The first comparison finds rows by an index, the second is exact whatever the column is like.
/// assert!(condition.starts_with("((customer = $1 COLLATE BINARY AND "), "{condition}");
/// assert_eq!(values, ["https://id.example||ada"; 2]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// One of these, with all that it asks for. None is nothing; one that asks for nothing is everything.
    any: Vec<Vec<Term>>,
    columns: [Option<&'static str>; 3],
}

/// A piece of a condition of SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "who leaves a piece out has another condition")]
pub enum SqlPiece {
    /// What is written as it is.
    Text(String),
    /// What is bound, as text.
    Value(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Term {
    /// It belongs to no tenant, or to this one.
    AtHome(Option<String>),
    Tenant(String),
    Owner(String),
    Below(String),
}

impl Filter {
    pub(crate) fn nothing(Columns { tenant, owner, path }: Columns) -> Self {
        Self { any: Vec::new(), columns: [tenant, owner, path] }
    }
    pub(crate) fn new(roles: &Roles, identity: &Identity, action: &str, columns: Columns) -> Self {
        let (mut filter, mut seen) = (Self::nothing(columns), HashSet::new());
        roles.reaches(identity, action, |reach, is_own| {
            let mut terms = Vec::new();
            match reach {
                Reach::Home => terms.push(Term::AtHome(identity.tenant().map(str::to_owned))),
                Reach::Bound(Scope::Everywhere) => {}
                Reach::Bound(Scope::Tenant(tenant)) => terms.push(Term::Tenant(tenant.to_string())),
                Reach::Bound(Scope::Path(path)) => terms.push(Term::Below(path.to_string())),
            }
            if is_own {
                terms.push(Term::Owner(identity.key().to_string()));
            }
            if seen.insert(terms.clone()) {
                filter.any.push(terms);
            }
        });
        filter
    }
    /// Whether it is for an object: what the database says of the object's row.
    pub fn matches(&self, resource: &Resource) -> bool {
        let is_true = |term: &Term| match term {
            Term::AtHome(tenant) => resource.is_at_home_in(tenant.as_deref()),
            Term::Tenant(tenant) => resource.tenant_name() == Some(tenant),
            Term::Owner(owner) => resource.owner_key() == Some(owner),
            Term::Below(above) => resource.is_at(above),
        };
        self.any.iter().any(|terms| terms.iter().all(is_true))
    }
    /// Whether it has more in it than a database takes in one statement.
    pub(crate) fn is_too_large(&self) -> bool {
        self.any.len() > LARGEST
    }
    /// Whether the caller may do it with nothing at all, so that nobody need be asked.
    pub fn is_nothing(&self) -> bool {
        self.any.is_empty()
    }
    /// The condition, in brackets, and what is to be bound in its order; `first` is the number of the first value (`$1`). Bind each as text.
    pub fn sql(&self, dialect: SqlDialect, first: usize) -> (String, Vec<String>) {
        let (mut condition, mut values) = (String::new(), Vec::new());
        for piece in self.pieces(dialect) {
            match piece {
                SqlPiece::Text(text) => condition.push_str(&text),
                SqlPiece::Value(value) => {
                    match dialect {
                        SqlDialect::MySql => condition.push('?'),
                        _ => _ = write!(condition, "${}", first + values.len()),
                    }
                    values.push(value);
                }
            }
        }
        (condition, values)
    }
    /// The condition, in brackets, in pieces: for who writes what is bound in a way of its own.
    pub fn pieces(&self, dialect: SqlDialect) -> Vec<SqlPiece> {
        let mut writer = Writer { dialect, text: String::new(), pieces: Vec::new() };
        writer.text.push('(');
        if self.any.is_empty() {
            writer.text.push_str("1 = 0");
        }
        let [tenant, ..] = self.columns;
        // Where there is no column for tenants, everything is at home.
        let says_something = |term: &&Term| tenant.is_some() || !matches!(term, Term::AtHome(_));
        for (at, terms) in self.any.iter().enumerate() {
            let terms: Vec<&Term> = terms.iter().filter(says_something).collect();
            if at > 0 {
                writer.text.push_str(" OR ");
            }
            if terms.len() > 1 {
                writer.text.push('(');
            }
            if terms.is_empty() {
                writer.text.push_str("1 = 1");
            }
            for (at, term) in terms.iter().enumerate() {
                if at > 0 {
                    writer.text.push_str(" AND ");
                }
                writer.term(term, self.columns);
            }
            if terms.len() > 1 {
                writer.text.push(')');
            }
        }
        writer.text.push(')');
        writer.end_text();
        writer.pieces
    }
}

/// Of how many alternatives a filter may be: each binds six values at most, and SQLite takes 32,766.
const LARGEST: usize = 5_000;

struct Writer {
    dialect: SqlDialect,
    text: String,
    pieces: Vec<SqlPiece>,
}

impl Writer {
    fn term(&mut self, term: &Term, [tenant_column, owner_column, path_column]: [Option<&str>; 3]) {
        match (term, tenant_column, owner_column, path_column) {
            (Term::AtHome(tenant), Some(column), ..) => {
                _ = write!(self.text, "({column} IS NULL");
                if let Some(tenant) = tenant {
                    self.text.push_str(" OR ");
                    self.equals(column, tenant);
                }
                self.text.push(')');
            }
            (Term::Tenant(value), Some(column), ..) | (Term::Owner(value), _, Some(column), _) => {
                self.equals(column, value);
            }
            (Term::Below(path), .., Some(column)) => {
                self.text.push('(');
                self.equals(column, path);
                self.text.push_str(" OR ");
                let below = format!("{path}/");
                // Not LIKE, which takes `A` for `a` in two of the three.
                self.equals(&format!("substr({column}, 1, {})", below.chars().count()), &below);
                self.text.push(')');
            }
            // A row that has no such column has nothing there.
            _ => self.text.push_str("1 = 0"),
        }
    }
    /// Whether two texts are the same, and not alike. Where a column may take them for alike, the first comparison finds the row by an index, and the
    /// second one is exact.
    fn equals(&mut self, what: &str, value: &str) {
        match self.dialect {
            // It keeps no such text, and takes none.
            SqlDialect::Postgres if value.contains('\0') => self.text.push_str("1 = 0"),
            SqlDialect::Postgres => {
                _ = write!(self.text, "({what} = ");
                self.value(value);
                _ = write!(self.text, " AND CAST({what} AS text) COLLATE \"C\" = ");
                self.value(value);
                self.text.push(')');
            }
            SqlDialect::Sqlite => {
                // A column of numbers takes `7.0` for 7.
                _ = write!(self.text, "({what} = ");
                self.value(value);
                _ = write!(self.text, " COLLATE BINARY AND CAST({what} AS TEXT) = ");
                self.value(value);
                self.text.push_str(" COLLATE BINARY)");
            }
            SqlDialect::MySql => {
                _ = write!(self.text, "({what} = ");
                self.value(value);
                _ = write!(self.text, " AND CAST(CONVERT({what} USING utf8mb4) AS BINARY) = ");
                self.text.push_str("CAST(CONVERT(");
                self.value(value);
                self.text.push_str(" USING utf8mb4) AS BINARY))");
            }
        }
    }
    fn value(&mut self, value: &str) {
        self.end_text();
        self.pieces.push(SqlPiece::Value(value.to_owned()));
    }
    fn end_text(&mut self) {
        self.pieces.push(SqlPiece::Text(std::mem::take(&mut self.text)));
    }
}
