//! Roles, one type for each database.
use std::collections::BTreeSet;
use std::fmt;
#[cfg(any(feature = "mysql", feature = "sqlite"))]
use std::future::pending;

use async_trait::async_trait;
use portcullis_authz::{
    Binding, RoleDefinition, RoleEdit, RoleError, RoleModel, RoleStore, RoleStoreError, Scope,
    Separation, SeparationKind,
};
use portcullis_core::BoxError;
use sha2::{Digest, Sha256};
use sqlx::QueryBuilder;

use crate::retry::{TRIES, is_conflict};
use crate::sql;

/// How many bytes a text has at most: what `MySQL` keeps.
const LONGEST: usize = 65_535;
/// How many rows a statement is about at most: no database takes any number of values.
const ROWS: usize = 500;

/// The columns of a binding: issuer, tenant, subject, role, scope, place.
type BindingRow = (String, Option<String>, String, String, String, String);

/// Why something was not done.
enum Failure {
    Database(sqlx::Error),
    Refused(RoleError),
    /// What is kept is not what this program keeps.
    Odd(BoxError),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl From<RoleError> for Failure {
    fn from(error: RoleError) -> Self {
        Self::Refused(error)
    }
}

impl From<Failure> for RoleStoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Database(error) => Self::Unavailable(error.into()),
            Failure::Refused(error) => Self::Refused(error),
            Failure::Odd(error) => Self::Unavailable(error),
        }
    }
}

fn odd<T>(what: impl fmt::Display) -> Result<T, Failure> {
    Err(Failure::Odd(format!("{what} is none that this program can read").into()))
}

/// What some texts are known by: no collation makes two lists of one digest, and no length of one text shifts into another one.
fn digest<'a>(texts: impl IntoIterator<Item = Option<&'a str>>) -> [u8; 32] {
    let mut digest = Sha256::new();
    for text in texts {
        match text {
            None => digest.update([0]),
            Some(text) => {
                digest.update([1]);
                digest.update((text.len() as u64).to_be_bytes());
                digest.update(text);
            }
        }
    }
    digest.finalize().into()
}

fn name_digest(name: &str) -> [u8; 32] {
    digest([Some(name)])
}

fn holder_digest(binding: &Binding) -> [u8; 32] {
    let key = binding.key();
    digest([Some(key.issuer), key.tenant, Some(key.subject)])
}

fn binding_digest(binding: &Binding) -> [u8; 32] {
    let (key, (scope, place)) = (binding.key(), binding.scope().parts());
    let role = Some(binding.role());
    digest([Some(key.issuer), key.tenant, Some(key.subject), role, Some(scope), Some(place)])
}

/// Whether a text can be kept, by each of the three.
fn keepable(what: &str, text: &str) -> Result<(), RoleError> {
    let why = if text.contains('\0') {
        "no database keeps a NUL"
    } else if text.len() > LONGEST {
        "it is longer than a database keeps"
    } else {
        return Ok(());
    };
    let short: String = text.chars().take(40).collect();
    Err(RoleError::Malformed(format!(
        "{what} `{}` is kept by no database: {why}",
        short.escape_debug()
    )))
}

/// Of whom a change has to see what they have.
#[derive(Debug, PartialEq, Eq)]
enum Concerned {
    Everybody,
    /// Whoever has these digests.
    These(Vec<[u8; 32]>),
}

impl Concerned {
    /// Whoever is given something or loses it, and everybody where a change may break something for anybody, or take a role from them.
    fn by(edits: &[RoleEdit]) -> Self {
        let mut these = BTreeSet::new();
        for edit in edits {
            match edit {
                RoleEdit::Assign(binding) | RoleEdit::Unassign(binding) => {
                    these.insert(holder_digest(binding));
                }
                RoleEdit::AddRole(_)
                | RoleEdit::Permit { .. }
                | RoleEdit::Forbid { .. }
                | RoleEdit::Disinherit { .. }
                | RoleEdit::Unseparate(_) => {}
                RoleEdit::Separate { separation, .. }
                    if separation.kind == SeparationKind::Dynamic => {}
                _ => return Self::Everybody,
            }
        }
        Self::These(these.into_iter().collect())
    }
}

/// A row with a document: by what it is known, its name, the document.
type Document = ([u8; 32], String, String);

/// Which rows go, and which come.
#[derive(Default)]
struct Writes {
    ended_roles: Vec<[u8; 32]>,
    roles: Vec<Document>,
    ended_separations: Vec<[u8; 32]>,
    separations: Vec<Document>,
    ended_bindings: Vec<[u8; 32]>,
    bindings: Vec<Binding>,
}

impl Writes {
    fn between(before: &RoleModel, after: &RoleModel) -> Result<Self, RoleError> {
        let mut writes = Self::default();
        (writes.ended_roles, writes.roles) =
            documents("the role", before.roles(), after.roles(), |role| {
                serde_json::to_string(role)
            })?;
        let (before_them, after_them) = (before.separations(), after.separations());
        (writes.ended_separations, writes.separations) =
            documents("the separation", before_them, after_them, |separation| {
                serde_json::to_string(separation)
            })?;
        let had: BTreeSet<&Binding> = before.bindings().collect();
        let has: BTreeSet<&Binding> = after.bindings().collect();
        writes.ended_bindings = had.difference(&has).map(|it| binding_digest(it)).collect();
        for binding in has.difference(&had) {
            let key = binding.key();
            keepable("the issuer", key.issuer)?;
            keepable("the tenant", key.tenant.unwrap_or_default())?;
            keepable("the subject", key.subject)?;
            keepable("the role", binding.role())?;
            keepable("the place", binding.scope().parts().1)?;
            writes.bindings.push(Binding::clone(binding));
        }
        Ok(writes)
    }
    fn is_empty(&self) -> bool {
        self.ended_roles.is_empty()
            && self.roles.is_empty()
            && self.ended_separations.is_empty()
            && self.separations.is_empty()
            && self.ended_bindings.is_empty()
            && self.bindings.is_empty()
    }
}

/// What goes and what comes of things that have a name; one that is another one now goes and comes.
fn documents<'a, T: PartialEq + 'a>(
    what: &str,
    before: impl Iterator<Item = (&'a str, &'a T)>,
    after: impl Iterator<Item = (&'a str, &'a T)>,
    document: impl Fn(&T) -> serde_json::Result<String>,
) -> Result<(Vec<[u8; 32]>, Vec<Document>), RoleError> {
    let mut before: std::collections::BTreeMap<&str, &T> = before.collect();
    let (mut ended, mut come) = (Vec::new(), Vec::new());
    for (name, now) in after {
        let was = before.remove(name);
        if was == Some(now) {
            continue;
        }
        if was.is_some() {
            ended.push(name_digest(name));
        }
        keepable(what, name)?;
        let written = document(now);
        let written = written.map_err(|error| RoleError::Malformed(error.to_string()))?;
        come.push((name_digest(name), name.to_owned(), written));
    }
    ended.extend(before.into_keys().map(name_digest));
    Ok((ended, come))
}

fn put_bindings(model: &mut RoleModel, rows: Vec<BindingRow>) -> Result<(), Failure> {
    for (issuer, tenant, subject, role, scope, place) in rows {
        let Some(scope) = Scope::from_parts(&scope, &place) else {
            return odd(format_args!("the scope `{scope}` of a binding"));
        };
        let binding = Binding::of(issuer, tenant.as_deref(), subject, role);
        model.put_binding(binding.within(scope));
    }
    Ok(())
}

fn put_documents(
    model: &mut RoleModel,
    roles: Vec<(String, String)>,
    separations: Vec<(String, String)>,
) -> Result<(), Failure> {
    for (name, document) in roles {
        let Ok(role) = serde_json::from_str::<RoleDefinition>(&document) else {
            return odd(format_args!("the role `{name}`"));
        };
        model.put_role(name, role);
    }
    for (name, document) in separations {
        // Without one that cannot be read, somebody could have too much.
        let Ok(separation) = serde_json::from_str::<Separation>(&document) else {
            return odd(format_args!("the separation `{name}`"));
        };
        model.put_separation(name, separation);
    }
    Ok(())
}

/// Hears nothing.
#[cfg(any(feature = "mysql", feature = "sqlite"))]
#[derive(Clone, Debug, Default)]
struct NoEars;

#[cfg(any(feature = "mysql", feature = "sqlite"))]
impl NoEars {
    async fn changed<P>(&self, _: &P) {
        pending::<()>().await;
    }
}

macro_rules! roles {
    (
        $stores:ident, $(#[$doc:meta])* $roles:ident, $ears:ty, $database:ty, $statements:ident, $change:ident, $snapshot:literal, $tell:ident
    ) => {
        impl crate::stores::$stores {
            /// The roles, with whoever has them.
            ///
            /// # Errors
            /// The tables are not those that are needed, or the database cannot answer.
            pub async fn roles(&self) -> Result<$roles, crate::SchemaError> {
                self.check().await?;
                Ok($roles { pool: self.pool.clone(), ears: <$ears>::default() })
            }
        }

        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $roles {
            pool: sqlx::Pool<$database>,
            ears: $ears,
        }

        impl $roles {
            async fn try_load(&self) -> Result<(u64, RoleModel), Failure> {
                for _ in 0..TRIES {
                    let mut transaction = self.pool.begin_with($snapshot).await?;
                    let version = Self::read_version(&mut transaction).await?;
                    let model = Self::read(&mut transaction, &Concerned::Everybody).await?;
                    let then = Self::read_version(&mut transaction).await?;
                    transaction.rollback().await?;
                    // A database that keeps no picture for whoever reads.
                    if version == then {
                        return Ok((version, model));
                    }
                }
                Err(Failure::Odd("the roles change faster than they can be read".into()))
            }
            async fn try_change(
                &self,
                base: &RoleModel,
                edits: &[RoleEdit],
            ) -> Result<u64, Failure> {
                let mut transaction = $change(&self.pool).await?;
                // Whoever changes something waits here for whoever does already, on every database.
                let next = sqlx::query(sql::$statements::NEXT_ROLES_VERSION);
                if next.execute(&mut *transaction).await?.rows_affected() != 1 {
                    return odd("the row of portcullis_roles_version");
                }
                let version = Self::read_version(&mut transaction).await?;
                let before = Self::read(&mut transaction, &Concerned::by(edits)).await?;
                let mut after = before.clone();
                after.apply_all_above(base, edits)?;
                let writes = Writes::between(&before, &after)?;
                if writes.is_empty() {
                    transaction.rollback().await?;
                    return Ok(version.saturating_sub(1));
                }
                Self::write(&mut transaction, writes).await?;
                $tell(&mut transaction).await?;
                transaction.commit().await?;
                Ok(version)
            }
            async fn read_version(
                connection: &mut <$database as sqlx::Database>::Connection,
            ) -> Result<u64, Failure> {
                let version = sqlx::query_as::<_, (i64,)>(sql::$statements::ROLES_VERSION);
                match version.fetch_optional(connection).await? {
                    Some((version,)) => Ok(u64::try_from(version).unwrap_or_default()),
                    None => odd("the row of portcullis_roles_version"),
                }
            }
            async fn read(
                connection: &mut <$database as sqlx::Database>::Connection,
                concerned: &Concerned,
            ) -> Result<RoleModel, Failure> {
                let mut model = RoleModel::default();
                let roles = sqlx::query_as(sql::$statements::ROLES);
                let roles = roles.fetch_all(&mut *connection).await?;
                let separations = sqlx::query_as(sql::$statements::SEPARATIONS);
                let separations = separations.fetch_all(&mut *connection).await?;
                put_documents(&mut model, roles, separations)?;
                match concerned {
                    Concerned::Everybody => {
                        let rows = sqlx::query_as::<_, BindingRow>(sql::$statements::BINDINGS);
                        put_bindings(&mut model, rows.fetch_all(&mut *connection).await?)?;
                    }
                    Concerned::These(holders) => {
                        for holders in holders.chunks(ROWS) {
                            let mut query =
                                QueryBuilder::<$database>::new(sql::$statements::BINDINGS_OF);
                            Self::push_list(&mut query, holders);
                            let rows = query.build_query_as::<BindingRow>();
                            put_bindings(&mut model, rows.fetch_all(&mut *connection).await?)?;
                        }
                    }
                }
                Ok(model)
            }
            async fn write(
                connection: &mut <$database as sqlx::Database>::Connection,
                writes: Writes,
            ) -> sqlx::Result<()> {
                let ended = writes.ended_roles.iter().map(|it| (sql::$statements::END_ROLE, it));
                let ended_separations = writes.ended_separations.iter();
                let ended_separations =
                    ended_separations.map(|it| (sql::$statements::END_SEPARATION, it));
                for (statement, digest) in ended.chain(ended_separations) {
                    sqlx::query(statement).bind(&digest[..]).execute(&mut *connection).await?;
                }
                let roles = writes.roles.iter().map(|it| (sql::$statements::PUT_ROLE, it));
                let separations = writes.separations.iter();
                let separations = separations.map(|it| (sql::$statements::PUT_SEPARATION, it));
                for (statement, (digest, name, document)) in roles.chain(separations) {
                    let put = sqlx::query(statement).bind(&digest[..]).bind(name).bind(document);
                    put.execute(&mut *connection).await?;
                }
                for ended in writes.ended_bindings.chunks(ROWS) {
                    let mut query =
                        QueryBuilder::<$database>::new(sql::$statements::END_BINDINGS);
                    Self::push_list(&mut query, ended);
                    query.build().execute(&mut *connection).await?;
                }
                for bindings in writes.bindings.chunks(ROWS) {
                    let mut query =
                        QueryBuilder::<$database>::new(sql::$statements::PUT_BINDINGS);
                    query.push_values(bindings, |mut row, binding| {
                        let (key, (scope, place)) = (binding.key(), binding.scope().parts());
                        row.push_bind(binding_digest(binding).to_vec());
                        row.push_bind(holder_digest(binding).to_vec());
                        row.push_bind(key.issuer.to_owned());
                        row.push_bind(key.tenant.map(str::to_owned));
                        row.push_bind(key.subject.to_owned());
                        row.push_bind(binding.role().to_owned());
                        row.push_bind(scope).push_bind(place.to_owned());
                    });
                    query.build().execute(&mut *connection).await?;
                }
                Ok(())
            }
            fn push_list(query: &mut QueryBuilder<$database>, digests: &[[u8; 32]]) {
                let mut list = query.separated(", ");
                for digest in digests {
                    list.push_bind(digest.to_vec());
                }
                query.push(")");
            }
        }

        #[async_trait]
        impl RoleStore for $roles {
            async fn version(&self) -> Result<u64, RoleStoreError> {
                let version = sqlx::query_as::<_, (i64,)>(sql::$statements::ROLES_VERSION);
                match version.fetch_optional(&self.pool).await.map_err(Failure::from)? {
                    Some((version,)) => Ok(u64::try_from(version).unwrap_or_default()),
                    None => Ok(odd("the row of portcullis_roles_version")?),
                }
            }
            async fn load(&self) -> Result<(u64, RoleModel), RoleStoreError> {
                Ok(self.try_load().await?)
            }
            async fn change(
                &self,
                base: &RoleModel,
                edits: &[RoleEdit],
            ) -> Result<u64, RoleStoreError> {
                let mut tries = 1;
                loop {
                    match self.try_change(base, edits).await {
                        Err(Failure::Database(error)) if is_conflict(&error) && tries < TRIES => {
                            tries += 1;
                        }
                        done => return Ok(done?),
                    }
                }
            }
            async fn changed(&self) {
                self.ears.changed(&self.pool).await;
            }
        }
    };
}

#[cfg(feature = "postgres")]
roles!(
    PgStores,
    /// Roles on PostgreSQL. Replicas hear of a change at once, by `LISTEN` on a connection of its own beside the pool; a clone has another one.
    PgRoles,
    crate::listen::Ears,
    sqlx::Postgres,
    dollar,
    change_postgres,
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    tell_postgres
);

#[cfg(feature = "sqlite")]
roles!(
    SqliteStores,
    /// Roles on SQLite. Cheap to clone. Who follows them asks: nobody is told of a change.
    SqliteRoles,
    NoEars,
    sqlx::Sqlite,
    dollar,
    change_sqlite,
    "BEGIN",
    tell_nobody
);

#[cfg(feature = "mysql")]
roles!(
    MySqlStores,
    /// Roles on `MySQL` and MariaDB. Cheap to clone. Who follows them asks, or is told by something else ([`Announced`](portcullis_authz::Announced)).
    MySqlRoles,
    NoEars,
    sqlx::MySql,
    question,
    change_mysql,
    "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    tell_nobody
);

/// What is read after the wait for the lock is what is then, whatever the database is set to.
#[cfg(feature = "postgres")]
async fn change_postgres(
    pool: &sqlx::PgPool,
) -> sqlx::Result<sqlx::Transaction<'static, sqlx::Postgres>> {
    pool.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE").await
}

/// It has the file to itself from the beginning, as for migrations.
#[cfg(feature = "sqlite")]
async fn change_sqlite(
    pool: &sqlx::SqlitePool,
) -> sqlx::Result<sqlx::Transaction<'static, sqlx::Sqlite>> {
    pool.begin_with("BEGIN IMMEDIATE").await
}

/// The picture that is read from is made after the wait for the lock: an update makes none.
#[cfg(feature = "mysql")]
async fn change_mysql(
    pool: &sqlx::MySqlPool,
) -> sqlx::Result<sqlx::Transaction<'static, sqlx::MySql>> {
    pool.begin().await
}

#[cfg(feature = "postgres")]
async fn tell_postgres(connection: &mut sqlx::PgConnection) -> sqlx::Result<()> {
    let tell = sqlx::query("SELECT pg_notify($1, '')").bind(crate::listen::CHANNEL);
    tell.execute(connection).await.map(drop)
}

#[cfg(any(feature = "mysql", feature = "sqlite"))]
#[expect(clippy::unused_async, reason = "another database is asked")]
async fn tell_nobody<C>(_: &mut C) -> sqlx::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_look_alike_together_have_digests_of_their_own() {
        let lists = [
            [Some("a"), Some("bc")],
            [Some("ab"), Some("c")],
            [Some("a "), Some("bc")],
            [Some("A"), Some("bc")],
            [Some("a"), None],
            [Some("a"), Some("")],
            [None, Some("a")],
        ];
        let digests: BTreeSet<_> = lists.iter().map(|list| digest(*list)).collect();
        assert_eq!(digests.len(), lists.len());
    }

    #[test]
    fn who_is_given_something_concerns_nobody_else() {
        let ada = Binding::of("i", None, "ada", "clerk");
        let bob = Binding::of("i", None, "bob", "clerk");
        let edits = [
            RoleEdit::add_role("clerk"),
            RoleEdit::permit("clerk", "orders:*"),
            RoleEdit::Assign(ada.clone()),
            RoleEdit::Unassign(ada.clone().to_role("buyer")),
            RoleEdit::Assign(bob.clone()),
            RoleEdit::separate_dynamically("till", ["clerk", "auditor"], 2),
        ];
        let mut both = vec![holder_digest(&ada), holder_digest(&bob)];
        both.sort_unstable();
        assert_eq!(Concerned::by(&edits), Concerned::These(both));
        for everybody in [
            RoleEdit::inherit("clerk", "auditor"),
            RoleEdit::delete_role("clerk"),
            RoleEdit::separate_statically("till", ["clerk", "auditor"], 2),
        ] {
            assert_eq!(Concerned::by(&[everybody]), Concerned::Everybody);
        }
    }
}
