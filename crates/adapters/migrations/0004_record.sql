-- Messages, actions and receipts of an app are counted in one row of numbers: a message's id is its
-- place in the record, and only receipts need lines of their own.

CREATE TABLE counter_kept (
    app   TEXT PRIMARY KEY REFERENCES app (id) ON DELETE CASCADE,
    -- The last number given.
    last  INTEGER NOT NULL,
    -- A cursor below this one is of a time when messages were counted apart from the record.
    first INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
INSERT INTO counter_kept (app, last, first) SELECT app, max(message, record), max(message, record) FROM counter;
DROP TABLE counter;
ALTER TABLE counter_kept RENAME TO counter;

-- Receipts that sockets are told of and may have missed.
DROP TABLE record;
CREATE TABLE record (
    app          TEXT NOT NULL REFERENCES app (id) ON DELETE CASCADE,
    conversation TEXT NOT NULL,
    n            INTEGER NOT NULL,
    receipt      TEXT NOT NULL,
    PRIMARY KEY (app, conversation, n)
) STRICT, WITHOUT ROWID;
