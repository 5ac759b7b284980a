-- As it was before anybody heard of portcullis.
CREATE TABLE members (
    id INTEGER PRIMARY KEY,
    mail TEXT NOT NULL,
    display_name TEXT NOT NULL DEFAULT '',
    password_hash TEXT,
    plan TEXT NOT NULL DEFAULT 'free',
    is_staff BOOLEAN NOT NULL DEFAULT FALSE,
    left_at TEXT
);
