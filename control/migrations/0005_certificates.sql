-- The certificate in PEM, which is no secret; NULL of a credential that is older than this column.
ALTER TABLE credentials ADD COLUMN certificate TEXT;
