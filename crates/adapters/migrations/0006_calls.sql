-- What the answer to `before_message` did to the message, by names, as JSON.
ALTER TABLE asked ADD COLUMN effect TEXT;
-- A webhook's calls, newest first.
CREATE INDEX asked_webhook ON asked (app, webhook);
