-- The id of the topic in which the list was written last. NULL: it never was.
ALTER TABLE state ADD COLUMN list_topic_id TEXT;
UPDATE state SET list_topic_id = (SELECT MAX(listed_topic_id) FROM clients WHERE leaving_since IS NULL);
