-- What was counted of an app, or of one of its webhooks, step by step, and how webhooks' circuits turned.

CREATE TABLE tally (
    app     TEXT NOT NULL REFERENCES app (id) ON DELETE CASCADE,
    -- Empty for the app itself, with all that its webhooks did.
    webhook TEXT NOT NULL,
    -- The step's length in seconds: 60 or 600.
    step    INTEGER NOT NULL,
    -- The step's beginning, in milliseconds.
    at      INTEGER NOT NULL,
    -- Cells that are not zero: pairs of the cell's distance from the one before and its value, each in
    -- groups of seven bits, the lowest first, all but the last with the eighth bit set.
    cells   BLOB NOT NULL,
    PRIMARY KEY (app, webhook, step, at)
) STRICT, WITHOUT ROWID;

CREATE TABLE turn (
    row     INTEGER PRIMARY KEY AUTOINCREMENT,
    app     TEXT NOT NULL REFERENCES app (id) ON DELETE CASCADE,
    webhook TEXT NOT NULL,
    -- Whose circuit: deliveries or before_message.
    party   TEXT NOT NULL,
    -- opened, probe_failed, closed, paused or switched_off.
    kind    TEXT NOT NULL,
    cause   TEXT NOT NULL,
    at      INTEGER NOT NULL
) STRICT;
CREATE INDEX turn_webhook ON turn (app, webhook, row);
