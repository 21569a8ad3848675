-- Looks at all consumer groups: when the last one was, and since when no two of them were far apart. NULL: there was none.
ALTER TABLE state ADD COLUMN looked_at BIGINT;
ALTER TABLE state ADD COLUMN looked_since BIGINT;

-- Until when it cannot be told which of the client's credentials are in use.
ALTER TABLE clients ADD COLUMN use_unknown_until BIGINT;
