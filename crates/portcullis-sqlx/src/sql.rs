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
    USER_BY_EMAIL:
        "SELECT id, email, password, disabled, roles, tenant, plan FROM portcullis_users WHERE spelled = $1",
        "SELECT id, email, password, disabled, roles, tenant, plan FROM portcullis_users WHERE spelled = ?";
    USER_BY_ID:
        "SELECT id, email, password, disabled, roles, tenant, plan FROM portcullis_users WHERE id = $1",
        "SELECT id, email, password, disabled, roles, tenant, plan FROM portcullis_users WHERE id = ?";
    USERS:
        "SELECT id, email, password, disabled, roles, tenant, plan FROM portcullis_users ORDER BY spelled",
        "SELECT id, email, password, disabled, roles, tenant, plan FROM portcullis_users ORDER BY spelled";
    ADD_USER:
        "INSERT INTO portcullis_users (id, email, spelled, password, disabled, roles, created) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        "INSERT INTO portcullis_users (id, email, spelled, password, disabled, roles, created) VALUES (?, ?, ?, ?, ?, ?, ?)";
    SET_PASSWORD:
        "UPDATE portcullis_users SET password = $1 WHERE id = $2 AND password = $3",
        "UPDATE portcullis_users SET password = ? WHERE id = ? AND password = ?";
    SET_FIRST_PASSWORD:
        "UPDATE portcullis_users SET password = $1 WHERE id = $2 AND password IS NULL",
        "UPDATE portcullis_users SET password = ? WHERE id = ? AND password IS NULL";
    SET_EMAIL:
        "UPDATE portcullis_users SET email = $1, spelled = $2 WHERE id = $3",
        "UPDATE portcullis_users SET email = ?, spelled = ? WHERE id = ?";
    SET_ROLES:
        "UPDATE portcullis_users SET roles = $1, tenant = $2, plan = $3 WHERE id = $4",
        "UPDATE portcullis_users SET roles = ?, tenant = ?, plan = ? WHERE id = ?";
    SET_DISABLED:
        "UPDATE portcullis_users SET disabled = $1 WHERE id = $2",
        "UPDATE portcullis_users SET disabled = ? WHERE id = ?";
    PUT_TOKEN:
        "INSERT INTO portcullis_tokens (digest, purpose, owner, owner_digest, data, expires) VALUES ($1, $2, $3, $4, $5, $6)",
        "INSERT INTO portcullis_tokens (digest, purpose, owner, owner_digest, data, expires) VALUES (?, ?, ?, ?, ?, ?)";
    LOOK_TOKEN:
        "SELECT digest, purpose, owner, data, expires FROM portcullis_tokens WHERE digest = $1 AND expires > $2",
        "SELECT digest, purpose, owner, data, expires FROM portcullis_tokens WHERE digest = ? AND expires > ?";
    TAKE_TOKEN:
        "DELETE FROM portcullis_tokens WHERE digest = $1 AND expires > $2",
        "DELETE FROM portcullis_tokens WHERE digest = ? AND expires > ?";
    FORGET_TOKENS:
        "DELETE FROM portcullis_tokens WHERE owner_digest = $1",
        "DELETE FROM portcullis_tokens WHERE owner_digest = ?";
    SWEEP_TOKENS:
        "DELETE FROM portcullis_tokens WHERE expires <= $1",
        "DELETE FROM portcullis_tokens WHERE expires <= ?";
    KEY_BY_DIGEST:
        "SELECT id, digest, previous, previous_until, user_id, identity, label, created, expires, used FROM portcullis_keys WHERE digest = $1 OR previous = $2",
        "SELECT id, digest, previous, previous_until, user_id, identity, label, created, expires, used FROM portcullis_keys WHERE digest = ? OR previous = ?";
    KEY_BY_ID:
        "SELECT id, digest, previous, previous_until, user_id, identity, label, created, expires, used FROM portcullis_keys WHERE id = $1",
        "SELECT id, digest, previous, previous_until, user_id, identity, label, created, expires, used FROM portcullis_keys WHERE id = ?";
    KEYS:
        "SELECT id, digest, previous, previous_until, user_id, identity, label, created, expires, used FROM portcullis_keys ORDER BY created, id",
        "SELECT id, digest, previous, previous_until, user_id, identity, label, created, expires, used FROM portcullis_keys ORDER BY created, id";
    KEYS_OF:
        "SELECT id, digest, previous, previous_until, user_id, identity, label, created, expires, used FROM portcullis_keys WHERE user_id = $1 ORDER BY created, id",
        "SELECT id, digest, previous, previous_until, user_id, identity, label, created, expires, used FROM portcullis_keys WHERE user_id = ? ORDER BY created, id";
    ADD_KEY:
        "INSERT INTO portcullis_keys (id, digest, user_id, identity, label, created, expires) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        "INSERT INTO portcullis_keys (id, digest, user_id, identity, label, created, expires) VALUES (?, ?, ?, ?, ?, ?, ?)";
    ROTATE_KEY:
        "UPDATE portcullis_keys SET digest = $1, previous = $2, previous_until = $3 WHERE id = $4 AND digest = $5",
        "UPDATE portcullis_keys SET digest = ?, previous = ?, previous_until = ? WHERE id = ? AND digest = ?";
    END_KEY:
        "DELETE FROM portcullis_keys WHERE id = $1",
        "DELETE FROM portcullis_keys WHERE id = ?";
    MARK_KEY:
        "UPDATE portcullis_keys SET used = $1 WHERE id = $2",
        "UPDATE portcullis_keys SET used = ? WHERE id = ?";
    ROLES_VERSION:
        "SELECT version FROM portcullis_roles_version WHERE id = 1",
        "SELECT version FROM portcullis_roles_version WHERE id = 1";
    NEXT_ROLES_VERSION:
        "UPDATE portcullis_roles_version SET version = version + 1 WHERE id = 1",
        "UPDATE portcullis_roles_version SET version = version + 1 WHERE id = 1";
    ROLES:
        "SELECT name, document FROM portcullis_roles",
        "SELECT name, document FROM portcullis_roles";
    PUT_ROLE:
        "INSERT INTO portcullis_roles (digest, name, document) VALUES ($1, $2, $3)",
        "INSERT INTO portcullis_roles (digest, name, document) VALUES (?, ?, ?)";
    END_ROLE:
        "DELETE FROM portcullis_roles WHERE digest = $1",
        "DELETE FROM portcullis_roles WHERE digest = ?";
    SEPARATIONS:
        "SELECT name, document FROM portcullis_separations",
        "SELECT name, document FROM portcullis_separations";
    PUT_SEPARATION:
        "INSERT INTO portcullis_separations (digest, name, document) VALUES ($1, $2, $3)",
        "INSERT INTO portcullis_separations (digest, name, document) VALUES (?, ?, ?)";
    END_SEPARATION:
        "DELETE FROM portcullis_separations WHERE digest = $1",
        "DELETE FROM portcullis_separations WHERE digest = ?";
    BINDINGS:
        "SELECT issuer, tenant, subject, role, scope, place FROM portcullis_bindings",
        "SELECT issuer, tenant, subject, role, scope, place FROM portcullis_bindings";
    BINDINGS_OF:
        "SELECT issuer, tenant, subject, role, scope, place FROM portcullis_bindings WHERE holder IN (",
        "SELECT issuer, tenant, subject, role, scope, place FROM portcullis_bindings WHERE holder IN (";
    PUT_BINDINGS:
        "INSERT INTO portcullis_bindings (digest, holder, issuer, tenant, subject, role, scope, place) ",
        "INSERT INTO portcullis_bindings (digest, holder, issuer, tenant, subject, role, scope, place) ";
    END_BINDINGS:
        "DELETE FROM portcullis_bindings WHERE digest IN (",
        "DELETE FROM portcullis_bindings WHERE digest IN (";
    PUT_DECISIONS:
        "INSERT INTO portcullis_decisions (time, verdict, subject, document) ",
        "INSERT INTO portcullis_decisions (time, verdict, subject, document) ";
    DECISIONS:
        "SELECT id, time, document FROM portcullis_decisions WHERE time > $1 OR (time = $2 AND id > $3) ORDER BY time, id LIMIT 1000",
        "SELECT id, time, document FROM portcullis_decisions WHERE time > ? OR (time = ? AND id > ?) ORDER BY time, id LIMIT 1000";
    FORGET_DECISIONS:
        "DELETE FROM portcullis_decisions WHERE time < $1",
        "DELETE FROM portcullis_decisions WHERE time < ?";
}

/// The tables, one statement each; making them again changes nothing.
#[cfg(feature = "postgres")]
pub(crate) const POSTGRES: &str = "CREATE TABLE IF NOT EXISTS portcullis_migrations (version BIGINT PRIMARY KEY, made BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS portcullis_sessions (digest BYTEA PRIMARY KEY, owner BYTEA, identity TEXT, created BIGINT NOT NULL, used BIGINT NOT NULL, expires BIGINT NOT NULL, data TEXT NOT NULL, version BIGINT NOT NULL, agent TEXT);
CREATE INDEX IF NOT EXISTS portcullis_sessions_owner ON portcullis_sessions (owner);
CREATE INDEX IF NOT EXISTS portcullis_sessions_expires ON portcullis_sessions (expires);
INSERT INTO portcullis_migrations (version, made) SELECT 1, 0 WHERE NOT EXISTS (SELECT 1 FROM portcullis_migrations WHERE version = 1);
CREATE TABLE IF NOT EXISTS portcullis_users (id TEXT PRIMARY KEY, email TEXT NOT NULL, spelled TEXT NOT NULL UNIQUE, password TEXT, disabled BOOLEAN NOT NULL, roles TEXT NOT NULL, tenant TEXT, plan TEXT, created BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS portcullis_tokens (digest BYTEA PRIMARY KEY, purpose TEXT NOT NULL, owner TEXT NOT NULL, owner_digest BYTEA NOT NULL, data TEXT NOT NULL, expires BIGINT NOT NULL);
CREATE INDEX IF NOT EXISTS portcullis_tokens_owner ON portcullis_tokens (owner_digest);
CREATE INDEX IF NOT EXISTS portcullis_tokens_expires ON portcullis_tokens (expires);
CREATE TABLE IF NOT EXISTS portcullis_keys (id TEXT PRIMARY KEY, digest BYTEA NOT NULL UNIQUE, previous BYTEA, previous_until BIGINT, user_id TEXT, identity TEXT NOT NULL, label TEXT NOT NULL, created BIGINT NOT NULL, expires BIGINT, used BIGINT);
CREATE INDEX IF NOT EXISTS portcullis_keys_previous ON portcullis_keys (previous);
CREATE INDEX IF NOT EXISTS portcullis_keys_user ON portcullis_keys (user_id);
INSERT INTO portcullis_migrations (version, made) SELECT 2, 0 WHERE NOT EXISTS (SELECT 1 FROM portcullis_migrations WHERE version = 2);
CREATE TABLE IF NOT EXISTS portcullis_roles (digest BYTEA PRIMARY KEY, name TEXT NOT NULL, document TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS portcullis_separations (digest BYTEA PRIMARY KEY, name TEXT NOT NULL, document TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS portcullis_bindings (digest BYTEA PRIMARY KEY, holder BYTEA NOT NULL, issuer TEXT NOT NULL, tenant TEXT, subject TEXT NOT NULL, role TEXT NOT NULL, scope TEXT NOT NULL, place TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS portcullis_bindings_holder ON portcullis_bindings (holder);
CREATE TABLE IF NOT EXISTS portcullis_roles_version (id BIGINT PRIMARY KEY, version BIGINT NOT NULL);
INSERT INTO portcullis_roles_version (id, version) SELECT 1, 1 WHERE NOT EXISTS (SELECT 1 FROM portcullis_roles_version WHERE id = 1);
CREATE TABLE IF NOT EXISTS portcullis_decisions (id BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, time BIGINT NOT NULL, verdict TEXT NOT NULL, subject TEXT, document TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS portcullis_decisions_time ON portcullis_decisions (time, id);
INSERT INTO portcullis_migrations (version, made) SELECT 3, 0 WHERE NOT EXISTS (SELECT 1 FROM portcullis_migrations WHERE version = 3);
CREATE UNLOGGED TABLE IF NOT EXISTS portcullis_quotas (quota TEXT NOT NULL, who BYTEA NOT NULL, used_until BIGINT NOT NULL, PRIMARY KEY (quota, who));
CREATE INDEX IF NOT EXISTS portcullis_quotas_used_until ON portcullis_quotas (used_until);
INSERT INTO portcullis_migrations (version, made) SELECT 4, 0 WHERE NOT EXISTS (SELECT 1 FROM portcullis_migrations WHERE version = 4)";

/// The same.
#[cfg(feature = "sqlite")]
pub(crate) const SQLITE: &str = "CREATE TABLE IF NOT EXISTS portcullis_migrations (version INTEGER PRIMARY KEY, made INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS portcullis_sessions (digest BLOB PRIMARY KEY, owner BLOB, identity TEXT, created INTEGER NOT NULL, used INTEGER NOT NULL, expires INTEGER NOT NULL, data TEXT NOT NULL, version INTEGER NOT NULL, agent TEXT) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS portcullis_sessions_owner ON portcullis_sessions (owner);
CREATE INDEX IF NOT EXISTS portcullis_sessions_expires ON portcullis_sessions (expires);
INSERT INTO portcullis_migrations (version, made) SELECT 1, 0 WHERE NOT EXISTS (SELECT 1 FROM portcullis_migrations WHERE version = 1);
CREATE TABLE IF NOT EXISTS portcullis_users (id TEXT PRIMARY KEY, email TEXT NOT NULL, spelled TEXT NOT NULL UNIQUE, password TEXT, disabled BOOLEAN NOT NULL, roles TEXT NOT NULL, tenant TEXT, plan TEXT, created INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS portcullis_tokens (digest BLOB PRIMARY KEY, purpose TEXT NOT NULL, owner TEXT NOT NULL, owner_digest BLOB NOT NULL, data TEXT NOT NULL, expires INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS portcullis_tokens_owner ON portcullis_tokens (owner_digest);
CREATE INDEX IF NOT EXISTS portcullis_tokens_expires ON portcullis_tokens (expires);
CREATE TABLE IF NOT EXISTS portcullis_keys (id TEXT PRIMARY KEY, digest BLOB NOT NULL UNIQUE, previous BLOB, previous_until INTEGER, user_id TEXT, identity TEXT NOT NULL, label TEXT NOT NULL, created INTEGER NOT NULL, expires INTEGER, used INTEGER) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS portcullis_keys_previous ON portcullis_keys (previous);
CREATE INDEX IF NOT EXISTS portcullis_keys_user ON portcullis_keys (user_id);
INSERT INTO portcullis_migrations (version, made) SELECT 2, 0 WHERE NOT EXISTS (SELECT 1 FROM portcullis_migrations WHERE version = 2);
CREATE TABLE IF NOT EXISTS portcullis_roles (digest BLOB PRIMARY KEY, name TEXT NOT NULL, document TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS portcullis_separations (digest BLOB PRIMARY KEY, name TEXT NOT NULL, document TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS portcullis_bindings (digest BLOB PRIMARY KEY, holder BLOB NOT NULL, issuer TEXT NOT NULL, tenant TEXT, subject TEXT NOT NULL, role TEXT NOT NULL, scope TEXT NOT NULL, place TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS portcullis_bindings_holder ON portcullis_bindings (holder);
CREATE TABLE IF NOT EXISTS portcullis_roles_version (id INTEGER PRIMARY KEY, version INTEGER NOT NULL);
INSERT INTO portcullis_roles_version (id, version) SELECT 1, 1 WHERE NOT EXISTS (SELECT 1 FROM portcullis_roles_version WHERE id = 1);
CREATE TABLE IF NOT EXISTS portcullis_decisions (id INTEGER PRIMARY KEY, time INTEGER NOT NULL, verdict TEXT NOT NULL, subject TEXT, document TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS portcullis_decisions_time ON portcullis_decisions (time, id);
INSERT INTO portcullis_migrations (version, made) SELECT 3, 0 WHERE NOT EXISTS (SELECT 1 FROM portcullis_migrations WHERE version = 3);
CREATE TABLE IF NOT EXISTS portcullis_quotas (quota TEXT NOT NULL, who BLOB NOT NULL, used_until INTEGER NOT NULL, PRIMARY KEY (quota, who)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS portcullis_quotas_used_until ON portcullis_quotas (used_until);
INSERT INTO portcullis_migrations (version, made) SELECT 4, 0 WHERE NOT EXISTS (SELECT 1 FROM portcullis_migrations WHERE version = 4)";

/// The same.
#[cfg(feature = "mysql")]
pub(crate) const MYSQL: &str = "CREATE TABLE IF NOT EXISTS portcullis_migrations (version BIGINT PRIMARY KEY, made BIGINT NOT NULL) ENGINE = InnoDB;
CREATE TABLE IF NOT EXISTS portcullis_sessions (digest BINARY(32) PRIMARY KEY, owner BINARY(32), identity LONGTEXT, created BIGINT NOT NULL, used BIGINT NOT NULL, expires BIGINT NOT NULL, data LONGTEXT NOT NULL, version BIGINT NOT NULL, agent TEXT, INDEX portcullis_sessions_owner (owner), INDEX portcullis_sessions_expires (expires)) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
INSERT IGNORE INTO portcullis_migrations (version, made) VALUES (1, 0);
CREATE TABLE IF NOT EXISTS portcullis_users (id VARCHAR(64) PRIMARY KEY, email TEXT NOT NULL, spelled VARCHAR(512) NOT NULL UNIQUE, password TEXT, disabled BOOLEAN NOT NULL, roles TEXT NOT NULL, tenant TEXT, plan TEXT, created BIGINT NOT NULL) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TABLE IF NOT EXISTS portcullis_tokens (digest BINARY(32) PRIMARY KEY, purpose VARCHAR(32) NOT NULL, owner TEXT NOT NULL, owner_digest BINARY(32) NOT NULL, data LONGTEXT NOT NULL, expires BIGINT NOT NULL, INDEX portcullis_tokens_owner (owner_digest), INDEX portcullis_tokens_expires (expires)) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TABLE IF NOT EXISTS portcullis_keys (id VARCHAR(64) PRIMARY KEY, digest BINARY(32) NOT NULL UNIQUE, previous BINARY(32), previous_until BIGINT, user_id VARCHAR(255), identity LONGTEXT NOT NULL, label TEXT NOT NULL, created BIGINT NOT NULL, expires BIGINT, used BIGINT, INDEX portcullis_keys_previous (previous), INDEX portcullis_keys_user (user_id)) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
INSERT IGNORE INTO portcullis_migrations (version, made) VALUES (2, 0);
CREATE TABLE IF NOT EXISTS portcullis_roles (digest BINARY(32) PRIMARY KEY, name TEXT NOT NULL, document LONGTEXT NOT NULL) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TABLE IF NOT EXISTS portcullis_separations (digest BINARY(32) PRIMARY KEY, name TEXT NOT NULL, document LONGTEXT NOT NULL) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TABLE IF NOT EXISTS portcullis_bindings (digest BINARY(32) PRIMARY KEY, holder BINARY(32) NOT NULL, issuer TEXT NOT NULL, tenant TEXT, subject TEXT NOT NULL, role TEXT NOT NULL, scope VARCHAR(32) NOT NULL, place TEXT NOT NULL, INDEX portcullis_bindings_holder (holder)) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TABLE IF NOT EXISTS portcullis_roles_version (id BIGINT PRIMARY KEY, version BIGINT NOT NULL) ENGINE = InnoDB;
INSERT IGNORE INTO portcullis_roles_version (id, version) VALUES (1, 1);
CREATE TABLE IF NOT EXISTS portcullis_decisions (id BIGINT AUTO_INCREMENT PRIMARY KEY, time BIGINT NOT NULL, verdict VARCHAR(32) NOT NULL, subject TEXT, document LONGTEXT NOT NULL, INDEX portcullis_decisions_time (time, id)) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
INSERT IGNORE INTO portcullis_migrations (version, made) VALUES (3, 0);
CREATE TABLE IF NOT EXISTS portcullis_quotas (quota VARCHAR(255) NOT NULL, who BINARY(16) NOT NULL, used_until BIGINT NOT NULL, PRIMARY KEY (quota, who), INDEX portcullis_quotas_used_until (used_until)) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
INSERT IGNORE INTO portcullis_migrations (version, made) VALUES (4, 0)";
