-- Why an edge keeps its list from before; empty if it does not say so.
ALTER TABLE edges ADD COLUMN refused TEXT NOT NULL DEFAULT '';
