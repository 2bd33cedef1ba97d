-- Messages, receipts, connections, and the events and deliveries that they cause. Times are
-- milliseconds since 1970, UTC; rows are ordered by number, never by time.

-- The last numbers given in an app.
CREATE TABLE counter (
    app     TEXT PRIMARY KEY REFERENCES app (id) ON DELETE CASCADE,
    message INTEGER NOT NULL DEFAULT 0,
    record  INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE TABLE conversation (
    app    TEXT NOT NULL REFERENCES app (id) ON DELETE CASCADE,
    id     TEXT NOT NULL,
    -- Both users of a 1:1 conversation, or the group.
    user_a TEXT,
    user_b TEXT,
    guid   TEXT,
    PRIMARY KEY (app, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX conversation_user_a ON conversation (app, user_a) WHERE user_a IS NOT NULL;
CREATE INDEX conversation_user_b ON conversation (app, user_b) WHERE user_b IS NOT NULL;
CREATE INDEX conversation_guid ON conversation (app, guid) WHERE guid IS NOT NULL;

CREATE TABLE message (
    row           INTEGER PRIMARY KEY,
    app           TEXT NOT NULL REFERENCES app (id) ON DELETE CASCADE,
    id            INTEGER NOT NULL,
    conversation  TEXT NOT NULL,
    sender        TEXT NOT NULL,
    receiver_type TEXT NOT NULL,
    receiver      TEXT NOT NULL,
    category      TEXT NOT NULL,
    kind          TEXT NOT NULL,
    data          TEXT NOT NULL,
    muid          TEXT,
    tags          TEXT NOT NULL,
    sent_at       INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    edited_at     INTEGER,
    edited_by     TEXT,
    deleted_at    INTEGER,
    deleted_by    TEXT,
    delivered_at  INTEGER,
    read_at       INTEGER,
    UNIQUE (app, id)
) STRICT;
CREATE INDEX message_conversation ON message (app, conversation, id);
CREATE INDEX message_muid ON message (app, sender, conversation, muid) WHERE muid IS NOT NULL;

-- What sockets are told of and may have missed: a cursor is an `n`.
CREATE TABLE record (
    app          TEXT NOT NULL REFERENCES app (id) ON DELETE CASCADE,
    n            INTEGER NOT NULL,
    conversation TEXT NOT NULL,
    method       TEXT NOT NULL,
    params       TEXT NOT NULL,
    PRIMARY KEY (app, n)
) STRICT;
CREATE INDEX record_conversation ON record (app, conversation, n);

CREATE TABLE mark (
    app             TEXT NOT NULL REFERENCES app (id) ON DELETE CASCADE,
    conversation    TEXT NOT NULL,
    uid             TEXT NOT NULL,
    delivered_up_to INTEGER NOT NULL DEFAULT 0,
    delivered_at    INTEGER,
    read_up_to      INTEGER NOT NULL DEFAULT 0,
    read_at         INTEGER,
    PRIMARY KEY (app, conversation, uid)
) STRICT, WITHOUT ROWID;

-- Calls of `before_message`.
CREATE TABLE asked (
    row          INTEGER PRIMARY KEY AUTOINCREMENT,
    app          TEXT NOT NULL REFERENCES app (id) ON DELETE CASCADE,
    webhook      TEXT NOT NULL,
    conversation TEXT NOT NULL,
    sender       TEXT NOT NULL,
    verdict      TEXT NOT NULL,
    silence      TEXT,
    took_us      INTEGER NOT NULL,
    at           INTEGER NOT NULL
) STRICT;

CREATE TABLE start (
    id       TEXT PRIMARY KEY,
    began_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE connection (
    app          TEXT NOT NULL REFERENCES app (id) ON DELETE CASCADE,
    session      TEXT NOT NULL,
    uid          TEXT NOT NULL,
    device       TEXT NOT NULL,
    platform     TEXT NOT NULL,
    connected_at INTEGER NOT NULL,
    start        TEXT NOT NULL,
    token_hash   BLOB NOT NULL,
    PRIMARY KEY (app, session)
) STRICT, WITHOUT ROWID;
CREATE INDEX connection_uid ON connection (app, uid);
CREATE INDEX connection_token ON connection (app, token_hash);
CREATE INDEX connection_start ON connection (start);

-- When a user last came online or went offline.
CREATE TABLE presence (
    app   TEXT NOT NULL REFERENCES app (id) ON DELETE CASCADE,
    uid   TEXT NOT NULL,
    since INTEGER NOT NULL,
    PRIMARY KEY (app, uid)
) STRICT, WITHOUT ROWID;

CREATE TABLE event (
    row        INTEGER PRIMARY KEY AUTOINCREMENT,
    app        TEXT NOT NULL REFERENCES app (id) ON DELETE CASCADE,
    id         TEXT NOT NULL,
    trigger    TEXT NOT NULL,
    key        TEXT NOT NULL,
    -- The payload without its last member, `webhook`.
    body       TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (app, id)
) STRICT;

CREATE TABLE delivery (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    app         TEXT NOT NULL REFERENCES app (id) ON DELETE CASCADE,
    -- Webhooks come and go; their deliveries and numbers stay, so this references none.
    webhook_row INTEGER NOT NULL,
    webhook     TEXT NOT NULL,
    sequence    INTEGER NOT NULL,
    event       INTEGER NOT NULL,
    key         TEXT NOT NULL,
    status      TEXT NOT NULL DEFAULT 'waiting',
    attempts    INTEGER NOT NULL DEFAULT 0,
    due         INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    ended_at    INTEGER
) STRICT;
CREATE INDEX delivery_lane ON delivery (webhook_row, key, sequence) WHERE status = 'waiting';
CREATE INDEX delivery_unsettled ON delivery (webhook_row, sequence) WHERE status = 'waiting';

CREATE TABLE attempt (
    row           INTEGER PRIMARY KEY AUTOINCREMENT,
    delivery      INTEGER NOT NULL REFERENCES delivery (id) ON DELETE CASCADE,
    attempt       INTEGER NOT NULL,
    outcome       TEXT NOT NULL,
    detail        TEXT,
    address       TEXT,
    resolve_us    INTEGER,
    connect_us    INTEGER,
    tls_us        INTEGER,
    first_byte_us INTEGER,
    total_us      INTEGER NOT NULL,
    kept          TEXT,
    started_at    INTEGER NOT NULL,
    start         TEXT NOT NULL
) STRICT;
CREATE INDEX attempt_delivery ON attempt (delivery);

-- One row that is written to see whether writing works.
CREATE TABLE probe (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    n  INTEGER NOT NULL
) STRICT;
INSERT INTO probe (id, n) VALUES (1, 0);
