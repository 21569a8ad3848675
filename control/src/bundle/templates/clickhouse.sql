-- After clickhouse/tel.xml is in place: clickhouse-client -n < clickhouse/tel.sql
-- Then: SELECT * FROM tel.`@SQL_ID@` ORDER BY received DESC LIMIT 10
CREATE DATABASE IF NOT EXISTS tel;

-- The stream. Reading it by hand takes the lines away from the table below.
CREATE TABLE IF NOT EXISTS tel.`@SQL_ID@_stream` (line String) ENGINE = Kafka(tel_@SQL_ID@);

CREATE TABLE IF NOT EXISTS tel.`@SQL_ID@`
(
    received DateTime64(3),
    line String
)
ENGINE = MergeTree
ORDER BY received
-- Lines hold addresses of people: keep them no longer than needed.
TTL toDateTime(received) + INTERVAL 30 DAY;

CREATE MATERIALIZED VIEW IF NOT EXISTS tel.`@SQL_ID@_reader` TO tel.`@SQL_ID@`
AS SELECT ifNull(_timestamp_ms, now64(3)) AS received, line FROM tel.`@SQL_ID@_stream`;
