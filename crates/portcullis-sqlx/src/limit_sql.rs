//! The statements of quotas, which say of each database how it counts time.

/// What differs.
pub(crate) struct Statements {
    /// After the rows: they are held, and as they were.
    pub(crate) lock: &'static str,
    /// Where that says nothing of them: what is asked then, up to the conditions.
    pub(crate) read: Option<&'static str>,
    /// After the rows: they are what is said.
    pub(crate) put: &'static str,
    /// Quota, who, and twice: by how much, and what may be owed by it. What is owed already may be more.
    pub(crate) settle: &'static str,
    pub(crate) sweep: &'static str,
}

/// The rows follow.
pub(crate) const PUT: &str = "INSERT INTO portcullis_quotas (quota, who, used_until) ";

/// The clock is looked at where it is needed, after the wait for a row.
#[cfg(feature = "postgres")]
macro_rules! postgres_now {
    () => {
        "(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::BIGINT"
    };
}

#[cfg(feature = "sqlite")]
macro_rules! sqlite_now {
    () => {
        "CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER) * 1000"
    };
}

#[cfg(feature = "mysql")]
macro_rules! mysql_now {
    () => {
        "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))"
    };
}

#[cfg(feature = "postgres")]
pub(crate) const POSTGRES: Statements = Statements {
    lock: concat!(
        " ON CONFLICT (quota, who) DO UPDATE SET used_until = portcullis_quotas.used_until RETURNING quota, who, used_until, ",
        postgres_now!()
    ),
    read: None,
    put: " ON CONFLICT (quota, who) DO UPDATE SET used_until = excluded.used_until",
    settle: concat!(
        "INSERT INTO portcullis_quotas AS kept (quota, who, used_until) VALUES ($1, $2, ",
        postgres_now!(),
        " + GREATEST(LEAST($3, $4), 0)) ON CONFLICT (quota, who) DO UPDATE SET used_until = ",
        postgres_now!(),
        " + GREATEST(LEAST(GREATEST(kept.used_until - ",
        postgres_now!(),
        ", 0) + $5, GREATEST(kept.used_until - ",
        postgres_now!(),
        ", $6)), 0)"
    ),
    sweep: concat!(
        "DELETE FROM portcullis_quotas WHERE (quota, who) IN (SELECT quota, who FROM portcullis_quotas WHERE used_until < ",
        postgres_now!(),
        " ORDER BY used_until LIMIT 1000 FOR UPDATE SKIP LOCKED)"
    ),
};

/// Quota, who, what the units take up, how far ahead the time may be taken up for that. Whether they were taken, and how far ahead it is.
#[cfg(feature = "postgres")]
pub(crate) const TAKE_POSTGRES: &str = concat!(
    "WITH done AS (INSERT INTO portcullis_quotas AS kept (quota, who, used_until) VALUES ($1, $2, ",
    postgres_now!(),
    " + $3) ON CONFLICT (quota, who) DO UPDATE SET used_until = GREATEST(kept.used_until, ",
    postgres_now!(),
    ") + $3 WHERE kept.used_until - ",
    postgres_now!(),
    " <= $4 RETURNING used_until - ",
    postgres_now!(),
    " AS ahead) SELECT TRUE, ahead FROM done UNION ALL SELECT FALSE, used_until - ",
    postgres_now!(),
    " FROM portcullis_quotas WHERE quota = $1 AND who = $2 AND NOT EXISTS (SELECT 1 FROM done)"
);

#[cfg(feature = "sqlite")]
pub(crate) const SQLITE: Statements = Statements {
    lock: concat!(
        " ON CONFLICT (quota, who) DO UPDATE SET used_until = portcullis_quotas.used_until RETURNING quota, who, used_until, ",
        sqlite_now!()
    ),
    read: None,
    put: " ON CONFLICT (quota, who) DO UPDATE SET used_until = excluded.used_until",
    settle: concat!(
        "INSERT INTO portcullis_quotas (quota, who, used_until) VALUES ($1, $2, ",
        sqlite_now!(),
        " + MAX(MIN($3, $4), 0)) ON CONFLICT (quota, who) DO UPDATE SET used_until = ",
        sqlite_now!(),
        " + MAX(MIN(MAX(used_until - ",
        sqlite_now!(),
        ", 0) + $5, MAX(used_until - ",
        sqlite_now!(),
        ", $6)), 0)"
    ),
    sweep: concat!(
        "DELETE FROM portcullis_quotas WHERE (quota, who) IN (SELECT quota, who FROM portcullis_quotas WHERE used_until < ",
        sqlite_now!(),
        " ORDER BY used_until LIMIT 1000)"
    ),
};

#[cfg(feature = "mysql")]
pub(crate) const MYSQL: Statements = Statements {
    lock: " ON DUPLICATE KEY UPDATE used_until = used_until",
    read: Some(concat!(
        "SELECT quota, who, used_until, ",
        mysql_now!(),
        " FROM portcullis_quotas WHERE "
    )),
    put: " ON DUPLICATE KEY UPDATE used_until = VALUES(used_until)",
    settle: concat!(
        "INSERT INTO portcullis_quotas (quota, who, used_until) VALUES (?, ?, ",
        mysql_now!(),
        " + GREATEST(LEAST(?, ?), 0)) ON DUPLICATE KEY UPDATE used_until = ",
        mysql_now!(),
        " + GREATEST(LEAST(GREATEST(used_until - ",
        mysql_now!(),
        ", 0) + ?, GREATEST(used_until - ",
        mysql_now!(),
        ", ?)), 0)"
    ),
    sweep: concat!(
        "DELETE FROM portcullis_quotas WHERE used_until < ",
        mysql_now!(),
        " ORDER BY used_until LIMIT 1000"
    ),
};
