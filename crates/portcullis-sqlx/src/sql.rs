//! What is asked and changed, in the two spellings of what is bound: `$1`, and `?` in the order of the text.

/// A statement with `$1` and so on.
macro_rules! statements {
    ($($name:ident: $dollar:literal, $question:literal;)*) => {
        #[cfg(any(feature = "postgres", feature = "sqlite"))]
        pub(crate) mod dollar {
            $(pub(crate) const $name: &str = $dollar;)*
        }
        #[cfg(feature = "mysql")]
        pub(crate) mod question {
            $(pub(crate) const $name: &str = $question;)*
        }
    };
}

statements! {
    SCHEMA_VERSION:
        "SELECT COALESCE(MAX(version), 0) FROM portcullis_migrations",
        "SELECT COALESCE(MAX(version), 0) FROM portcullis_migrations";
    OPEN:
        "SELECT digest, identity, created, used, expires, data, version, agent FROM portcullis_sessions WHERE digest = $1 AND expires > $2",
        "SELECT digest, identity, created, used, expires, data, version, agent FROM portcullis_sessions WHERE digest = ? AND expires > ?";
    TOUCH:
        "UPDATE portcullis_sessions SET used = $1 WHERE digest = $2 AND used < $3",
        "UPDATE portcullis_sessions SET used = ? WHERE digest = ? AND used < ?";
    CREATE:
        "INSERT INTO portcullis_sessions (digest, owner, identity, created, used, expires, data, version, agent) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        "INSERT INTO portcullis_sessions (digest, owner, identity, created, used, expires, data, version, agent) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
    REPLACE:
        "UPDATE portcullis_sessions SET digest = $1, owner = $2, identity = $3, created = $4, used = $5, expires = $6, \
         data = CASE WHEN $7 THEN data ELSE $8 END, version = CASE WHEN $9 THEN version ELSE $10 END, agent = $11 WHERE digest = $12",
        "UPDATE portcullis_sessions SET digest = ?, owner = ?, identity = ?, created = ?, used = ?, expires = ?, \
         data = CASE WHEN ? THEN data ELSE ? END, version = CASE WHEN ? THEN version ELSE ? END, agent = ? WHERE digest = ?";
    WRITE:
        "UPDATE portcullis_sessions SET data = $1, version = version + 1 WHERE digest = $2 AND version = $3",
        "UPDATE portcullis_sessions SET data = ?, version = version + 1 WHERE digest = ? AND version = ?";
    END:
        "DELETE FROM portcullis_sessions WHERE digest = $1",
        "DELETE FROM portcullis_sessions WHERE digest = ?";
    LIST:
        "SELECT digest, identity, created, used, expires, data, version, agent FROM portcullis_sessions WHERE owner = $1 ORDER BY used DESC, digest",
        "SELECT digest, identity, created, used, expires, data, version, agent FROM portcullis_sessions WHERE owner = ? ORDER BY used DESC, digest";
    // Of the second spelling only what is chosen for deletion.
    END_ALL:
        "DELETE FROM portcullis_sessions WHERE owner = $1 AND digest <> $2 RETURNING digest",
        "SELECT digest FROM portcullis_sessions WHERE owner = ? AND digest <> ? FOR UPDATE";
    MISSING:
        "SELECT digest FROM portcullis_sessions WHERE digest IN (",
        "SELECT digest FROM portcullis_sessions WHERE digest IN (";
    SWEEP:
        "DELETE FROM portcullis_sessions WHERE expires <= $1 OR used <= $2",
        "DELETE FROM portcullis_sessions WHERE expires <= ? OR used <= ?";
}

/// The tables, one statement each; making them again changes nothing.
#[cfg(feature = "postgres")]
pub(crate) const POSTGRES: &str = "CREATE TABLE IF NOT EXISTS portcullis_migrations (version BIGINT PRIMARY KEY, made BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS portcullis_sessions (digest BYTEA PRIMARY KEY, owner BYTEA, identity TEXT, created BIGINT NOT NULL, used BIGINT NOT NULL, expires BIGINT NOT NULL, data TEXT NOT NULL, version BIGINT NOT NULL, agent TEXT);
CREATE INDEX IF NOT EXISTS portcullis_sessions_owner ON portcullis_sessions (owner);
CREATE INDEX IF NOT EXISTS portcullis_sessions_expires ON portcullis_sessions (expires);
INSERT INTO portcullis_migrations (version, made) SELECT 1, 0 WHERE NOT EXISTS (SELECT 1 FROM portcullis_migrations WHERE version = 1)";

/// The same.
#[cfg(feature = "sqlite")]
pub(crate) const SQLITE: &str = "CREATE TABLE IF NOT EXISTS portcullis_migrations (version INTEGER PRIMARY KEY, made INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS portcullis_sessions (digest BLOB PRIMARY KEY, owner BLOB, identity TEXT, created INTEGER NOT NULL, used INTEGER NOT NULL, expires INTEGER NOT NULL, data TEXT NOT NULL, version INTEGER NOT NULL, agent TEXT) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS portcullis_sessions_owner ON portcullis_sessions (owner);
CREATE INDEX IF NOT EXISTS portcullis_sessions_expires ON portcullis_sessions (expires);
INSERT INTO portcullis_migrations (version, made) SELECT 1, 0 WHERE NOT EXISTS (SELECT 1 FROM portcullis_migrations WHERE version = 1)";

/// The same.
#[cfg(feature = "mysql")]
pub(crate) const MYSQL: &str = "CREATE TABLE IF NOT EXISTS portcullis_migrations (version BIGINT PRIMARY KEY, made BIGINT NOT NULL) ENGINE = InnoDB;
CREATE TABLE IF NOT EXISTS portcullis_sessions (digest BINARY(32) PRIMARY KEY, owner BINARY(32), identity LONGTEXT, created BIGINT NOT NULL, used BIGINT NOT NULL, expires BIGINT NOT NULL, data LONGTEXT NOT NULL, version BIGINT NOT NULL, agent TEXT, INDEX portcullis_sessions_owner (owner), INDEX portcullis_sessions_expires (expires)) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
INSERT IGNORE INTO portcullis_migrations (version, made) VALUES (1, 0)";
