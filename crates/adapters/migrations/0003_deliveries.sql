-- Deliveries in two tables: what waits (small, indexed by lane and by due time) and what ended (only
-- ever appended to). Numbers belong to a stream: the run of numbers of one webhook id.

-- Outlives its webhook: one made again under the same id goes on from its last number.
-- Its row is never given again: an attempt that comes back late names the delivery by it.
CREATE TABLE stream (
    row           INTEGER PRIMARY KEY AUTOINCREMENT,
    app           TEXT NOT NULL REFERENCES app (id) ON DELETE CASCADE,
    webhook       TEXT NOT NULL,
    -- The last number given.
    last          INTEGER NOT NULL DEFAULT 0,
    -- Every number up to this one is answered, ended or cancelled.
    settled       INTEGER NOT NULL DEFAULT 0,
    -- Bytes of the bodies that wait.
    waiting_bytes INTEGER NOT NULL DEFAULT 0,
    UNIQUE (app, webhook)
) STRICT;
INSERT INTO stream (app, webhook, last, settled) SELECT app, id, last, settled FROM webhook_sequence;

ALTER TABLE webhook ADD COLUMN stream INTEGER NOT NULL DEFAULT 0;
UPDATE webhook SET stream = (SELECT s.row FROM stream s WHERE s.app = webhook.app AND s.webhook = webhook.id);
DROP TABLE webhook_sequence;
-- Seconds that a failing delivery holds its lane; -1 is without end.
ALTER TABLE webhook ADD COLUMN patience_s INTEGER NOT NULL DEFAULT 60;
-- The secret before the last rotation, which signs as well until its time is over.
ALTER TABLE webhook ADD COLUMN previous_secret BLOB;
ALTER TABLE webhook ADD COLUMN previous_secret_until INTEGER;
-- Since when nothing has succeeded, where something has failed.
ALTER TABLE webhook ADD COLUMN failing_since INTEGER;
-- When it was disabled or switched off: what waits then expires some time later.
ALTER TABLE webhook ADD COLUMN off_since INTEGER;

-- A start's row is its age: the newest is the one that may write settlements.
CREATE TABLE start_numbered (
    row      INTEGER PRIMARY KEY,
    id       TEXT NOT NULL UNIQUE,
    began_at INTEGER NOT NULL
) STRICT;
INSERT INTO start_numbered (id, began_at) SELECT id, began_at FROM start ORDER BY began_at;
DROP TABLE start;
ALTER TABLE start_numbered RENAME TO start;

CREATE TABLE event_kept (
    row         INTEGER PRIMARY KEY,
    app         TEXT NOT NULL REFERENCES app (id) ON DELETE CASCADE,
    id          TEXT NOT NULL,
    trigger     TEXT NOT NULL,
    key         TEXT NOT NULL,
    -- The payload without its last member, `webhook`.
    body        TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    -- The deliveries made of it: "stream:sequence", blank-separated; grows when it is replayed.
    owed        TEXT NOT NULL DEFAULT '',
    -- The app's webhooks that were owed nothing, and why: "webhook id:reason", blank-separated;
    -- the reason is no_trigger, disabled or switched_off.
    passed_over TEXT NOT NULL DEFAULT ''
) STRICT;
INSERT INTO event_kept (row, app, id, trigger, key, body, created_at)
    SELECT row, app, id, trigger, key, body, created_at FROM event;

-- The lane's name is the key of the event; lanes of replays are apart, as "~" and the key.
CREATE TABLE waiting (
    stream          INTEGER NOT NULL,
    sequence        INTEGER NOT NULL,
    lane            TEXT NOT NULL,
    event           INTEGER NOT NULL,
    bytes           INTEGER NOT NULL,
    attempts        INTEGER NOT NULL DEFAULT 0,
    -- How many waits of the schedule are used; attempts made while the circuit is open use none.
    steps           INTEGER NOT NULL DEFAULT 0,
    -- 0 until an attempt has failed.
    due             INTEGER NOT NULL DEFAULT 0,
    first_failed_at INTEGER,
    -- 1 when it has stepped aside from its lane and is tried by itself.
    is_aside        INTEGER NOT NULL DEFAULT 0,
    -- The replay job that made it.
    replay          INTEGER,
    created_at      INTEGER NOT NULL,
    PRIMARY KEY (stream, sequence)
) STRICT, WITHOUT ROWID;
CREATE INDEX waiting_lane ON waiting (stream, lane, sequence) WHERE is_aside = 0;
CREATE INDEX waiting_aside ON waiting (stream, due) WHERE is_aside = 1;

CREATE TABLE ended (
    stream     INTEGER NOT NULL,
    sequence   INTEGER NOT NULL,
    lane       TEXT NOT NULL,
    event      INTEGER NOT NULL,
    -- delivered, failed, cancelled or expired.
    status     TEXT NOT NULL,
    attempts   INTEGER NOT NULL,
    replay     INTEGER,
    created_at INTEGER NOT NULL,
    ended_at   INTEGER NOT NULL,
    PRIMARY KEY (stream, sequence)
) STRICT, WITHOUT ROWID;

CREATE TABLE attempt_kept (
    stream        INTEGER NOT NULL,
    sequence      INTEGER NOT NULL,
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
    start         INTEGER NOT NULL,
    PRIMARY KEY (stream, sequence, attempt)
) STRICT, WITHOUT ROWID;

INSERT INTO waiting (stream, sequence, lane, event, bytes, attempts, steps, due, first_failed_at, created_at)
    SELECT s.row, d.sequence, d.key, d.event, octet_length(e.body), d.attempts, d.attempts,
           CASE WHEN d.attempts > 0 THEN d.due ELSE 0 END,
           CASE WHEN d.attempts > 0 THEN
               coalesce((SELECT min(a.started_at) FROM attempt a WHERE a.delivery = d.id), d.created_at)
           END,
           d.created_at
    FROM delivery d JOIN stream s ON s.app = d.app AND s.webhook = d.webhook JOIN event e ON e.row = d.event
    WHERE d.status = 'waiting';
INSERT INTO ended (stream, sequence, lane, event, status, attempts, created_at, ended_at)
    SELECT s.row, d.sequence, d.key, d.event, d.status, d.attempts, d.created_at, coalesce(d.ended_at, d.created_at)
    FROM delivery d JOIN stream s ON s.app = d.app AND s.webhook = d.webhook WHERE d.status <> 'waiting';
INSERT OR IGNORE INTO attempt_kept
    SELECT s.row, d.sequence, a.attempt, a.outcome, a.detail, a.address, a.resolve_us, a.connect_us, a.tls_us,
           a.first_byte_us, a.total_us, a.kept, a.started_at, coalesce((SELECT row FROM start WHERE id = a.start), 0)
    FROM attempt a JOIN delivery d ON d.id = a.delivery JOIN stream s ON s.app = d.app AND s.webhook = d.webhook;
UPDATE stream SET waiting_bytes = (SELECT coalesce(sum(bytes), 0) FROM waiting WHERE waiting.stream = stream.row);
UPDATE event_kept SET owed = o.owed
    FROM (SELECT d.event, group_concat(s.row || ':' || d.sequence, ' ') AS owed
          FROM delivery d JOIN stream s ON s.app = d.app AND s.webhook = d.webhook GROUP BY d.event) o
    WHERE event_kept.row = o.event;
DROP TABLE attempt;
DROP TABLE delivery;
DROP TABLE event;
ALTER TABLE event_kept RENAME TO event;
ALTER TABLE attempt_kept RENAME TO attempt;

-- The event that a message caused.
ALTER TABLE message ADD COLUMN event INTEGER;

-- The event that a message would cause, asked for before there is one.
ALTER TABLE asked ADD COLUMN event TEXT;
CREATE INDEX asked_at ON asked (app, at);

-- Jobs that owe again, or for the first time, what happened in a span of time.
CREATE TABLE replay (
    row        INTEGER PRIMARY KEY AUTOINCREMENT,
    app        TEXT NOT NULL REFERENCES app (id) ON DELETE CASCADE,
    webhook    TEXT NOT NULL,
    -- What was asked for, as JSON.
    wanted     TEXT NOT NULL,
    -- running, done or cancelled.
    status     TEXT NOT NULL,
    -- The event row up to which it has looked, and the last it will look at.
    done_up_to INTEGER NOT NULL,
    last       INTEGER NOT NULL,
    -- Events looked at, and deliveries made of them.
    seen       INTEGER NOT NULL DEFAULT 0,
    made       INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    ended_at   INTEGER
) STRICT;

-- Sample events sent by hand: one attempt each, without a number.
CREATE TABLE test_delivery (
    row        INTEGER PRIMARY KEY AUTOINCREMENT,
    app        TEXT NOT NULL REFERENCES app (id) ON DELETE CASCADE,
    webhook    TEXT NOT NULL,
    trigger    TEXT NOT NULL,
    event_id   TEXT NOT NULL,
    body       TEXT NOT NULL,
    outcome    TEXT NOT NULL,
    -- The attempt's detail, address, phases and kept body, as JSON.
    attempt    TEXT NOT NULL,
    started_at INTEGER NOT NULL
) STRICT;

-- What a person should know of a webhook.
CREATE TABLE notice (
    row        INTEGER PRIMARY KEY AUTOINCREMENT,
    app        TEXT NOT NULL REFERENCES app (id) ON DELETE CASCADE,
    webhook    TEXT NOT NULL,
    -- failing, switching_off_soon, switched_off or recovered.
    kind       TEXT NOT NULL,
    text       TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX notice_app ON notice (app, row);
