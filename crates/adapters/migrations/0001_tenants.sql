-- Tenants, their people and their webhooks. Times are milliseconds since 1970, UTC.
-- "sealed" columns are encrypted under the master key, with the row's name bound in.

CREATE TABLE vault_check (sealed BLOB NOT NULL) STRICT;

CREATE TABLE app (
    id TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL,
    region TEXT NOT NULL,
    settings TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE api_key (
    hash BLOB PRIMARY KEY NOT NULL,
    app TEXT NOT NULL,
    sealed BLOB NOT NULL,
    name TEXT NOT NULL,
    scope TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX api_key_of_app ON api_key (app);

CREATE TABLE user (
    app TEXT NOT NULL,
    uid TEXT NOT NULL,
    name TEXT NOT NULL,
    avatar TEXT,
    link TEXT,
    role TEXT,
    status_message TEXT,
    metadata TEXT,
    tags TEXT NOT NULL DEFAULT '[]',
    created_at INTEGER NOT NULL,
    updated_at INTEGER,
    last_active_at INTEGER,
    deactivated_at INTEGER,
    PRIMARY KEY (app, uid)
) STRICT;

CREATE TABLE auth_token (
    hash BLOB PRIMARY KEY NOT NULL,
    app TEXT NOT NULL,
    uid TEXT NOT NULL,
    sealed BLOB NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX auth_token_of_user ON auth_token (app, uid);

CREATE TABLE grp (
    app TEXT NOT NULL,
    guid TEXT NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    password BLOB,
    icon TEXT,
    description TEXT,
    metadata TEXT,
    tags TEXT NOT NULL DEFAULT '[]',
    owner TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER,
    PRIMARY KEY (app, guid)
) STRICT;

CREATE TABLE member (
    app TEXT NOT NULL,
    guid TEXT NOT NULL,
    uid TEXT NOT NULL,
    scope TEXT NOT NULL,
    joined_at INTEGER NOT NULL,
    PRIMARY KEY (app, guid, uid)
) STRICT;
CREATE INDEX member_of_user ON member (app, uid);

CREATE TABLE webhook (
    row INTEGER PRIMARY KEY AUTOINCREMENT,
    app TEXT NOT NULL,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    url TEXT NOT NULL,
    use_basic_auth INTEGER NOT NULL,
    username TEXT,
    password BLOB,
    enabled INTEGER NOT NULL,
    retry_on_failure INTEGER NOT NULL,
    on_failure TEXT NOT NULL,
    timeout_ms INTEGER NOT NULL,
    signing_secret BLOB NOT NULL,
    switched_off TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE (app, id)
) STRICT;

CREATE TABLE webhook_trigger (
    webhook_row INTEGER NOT NULL REFERENCES webhook (row) ON DELETE CASCADE,
    trigger TEXT NOT NULL,
    PRIMARY KEY (webhook_row, trigger)
) STRICT;

-- Outlives its webhook: one made again under the same id goes on from its last number.
CREATE TABLE webhook_sequence (
    app TEXT NOT NULL,
    id TEXT NOT NULL,
    last INTEGER NOT NULL DEFAULT 0,
    settled INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (app, id)
) STRICT;
