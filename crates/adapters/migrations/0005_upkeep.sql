-- What was deleted: nobody finds it any more, and its rows go piece by piece.
CREATE TABLE doomed (
    row  INTEGER PRIMARY KEY,
    -- app, group or webhook.
    kind TEXT NOT NULL,
    app  TEXT NOT NULL,
    -- The guid, or the webhook's id; empty for an app.
    id   TEXT NOT NULL,
    at   INTEGER NOT NULL,
    UNIQUE (kind, app, id)
) STRICT;

-- An app that was deleted stays until its rows are gone, and is found by nobody.
ALTER TABLE app ADD COLUMN deleted_at INTEGER;

CREATE INDEX webhook_off ON webhook (off_since) WHERE off_since IS NOT NULL;
CREATE INDEX test_delivery_app ON test_delivery (app, row);
CREATE INDEX replay_app ON replay (app, row);
