//! The application's own table of users, as the endpoints for accounts see it.
use async_trait::async_trait;
use portcullis::Identity;
use portcullis::authn::{Account, Email, StoreError, Users};
use sqlx::SqlitePool;

/// The members of the club.
#[derive(Clone, Debug)]
pub struct Members {
    pool: SqlitePool,
}

/// A row of the table.
#[derive(Debug, sqlx::FromRow)]
struct Member {
    id: i64,
    mail: String,
    display_name: String,
    password_hash: Option<String>,
    plan: String,
    is_staff: bool,
    left_at: Option<String>,
}

fn failed(error: sqlx::Error) -> StoreError {
    StoreError(error.into())
}

/// Whether another member has the address.
fn is_taken(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

impl Member {
    /// Who somebody is to the rest of the application: by what never changes, and not by the address.
    fn account(self) -> Result<Account, StoreError> {
        let identity = Identity::builder("club", self.id.to_string()).plan(self.plan);
        let mut identity = identity.role("member");
        if self.is_staff {
            identity = identity.role("staff");
        }
        let name = [("name".to_owned(), self.display_name.into())].into_iter().collect();
        let wrong = || StoreError(format!("the address of member {} is none", self.id).into());
        let email = Email::parse(&self.mail).ok_or_else(wrong)?;
        let account = Account::new(identity.claims(name).build(), email);
        let account = account.disabled(self.left_at.is_some());
        Ok(match self.password_hash {
            Some(hash) => account.password(hash),
            None => account,
        })
    }
}

impl Members {
    /// The members in this database.
    pub fn new(pool: SqlitePool) -> Self {
        Self { pool }
    }
}

/// An id as the table has it; any other text is nobody's.
fn row_id(id: &str) -> Option<i64> {
    id.parse().ok()
}

#[async_trait]
impl Users for Members {
    async fn by_email(&self, email: &Email) -> Result<Option<Account>, StoreError> {
        let found = sqlx::query_as::<_, Member>("SELECT * FROM members WHERE mail_spelled = ?");
        let found = found.bind(email.spelled()).fetch_optional(&self.pool).await;
        found.map_err(failed)?.map(Member::account).transpose()
    }
    async fn by_id(&self, id: &str) -> Result<Option<Account>, StoreError> {
        let found = sqlx::query_as::<_, Member>("SELECT * FROM members WHERE id = ?");
        let found = found.bind(row_id(id)).fetch_optional(&self.pool).await;
        found.map_err(failed)?.map(Member::account).transpose()
    }
    async fn add(&self, email: &Email, password: &str) -> Result<Option<Account>, StoreError> {
        let added = sqlx::query_as::<_, Member>(
            "INSERT INTO members (mail, mail_spelled, password_hash) VALUES (?, ?, ?) RETURNING *",
        );
        let added = added.bind(email.as_str()).bind(email.spelled()).bind(password);
        match added.fetch_one(&self.pool).await {
            Ok(member) => member.account().map(Some),
            Err(error) if is_taken(&error) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }
    async fn set_password(
        &self,
        id: &str,
        before: Option<&str>,
        password: &str,
    ) -> Result<bool, StoreError> {
        // `IS` also where there was none.
        let put =
            sqlx::query("UPDATE members SET password_hash = ? WHERE id = ? AND password_hash IS ?");
        let put = put.bind(password).bind(row_id(id)).bind(before).execute(&self.pool).await;
        Ok(put.map_err(failed)?.rows_affected() == 1)
    }
    async fn set_email(&self, id: &str, email: &Email) -> Result<bool, StoreError> {
        let put = sqlx::query("UPDATE members SET mail = ?, mail_spelled = ? WHERE id = ?");
        let put = put.bind(email.as_str()).bind(email.spelled()).bind(row_id(id));
        match put.execute(&self.pool).await {
            Ok(done) => Ok(done.rows_affected() == 1),
            Err(error) if is_taken(&error) => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }
}
