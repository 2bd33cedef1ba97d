-- Deliveries that wait, so that nobody has to count their rows.
ALTER TABLE stream ADD COLUMN waiting_count INTEGER NOT NULL DEFAULT 0;
UPDATE stream SET waiting_count = (SELECT count(*) FROM waiting w WHERE w.stream = stream.row);
-- Probes that fail one after the other are one turn: how many they are, and when the last of them failed.
ALTER TABLE turn ADD COLUMN times INTEGER NOT NULL DEFAULT 1;
ALTER TABLE turn ADD COLUMN last_at INTEGER;
-- The calls about one message.
CREATE INDEX asked_event ON asked (app, event) WHERE event IS NOT NULL;
-- An app's events by age: what is old is found without a look at what is not.
CREATE INDEX event_age ON event (app, created_at);
