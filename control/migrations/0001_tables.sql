-- One text for SQLite and PostgreSQL. {name} is text that is compared byte by byte; whole numbers are BIGINT, times milliseconds since 1970.

-- Of the database itself: one row. Whoever changes something updates it first, so that changes have one order.
CREATE TABLE state (
    one BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
    id TEXT NOT NULL,
    mark TEXT NOT NULL,
    previous_mark TEXT NOT NULL,
    revision BIGINT NOT NULL,
    generation_floor BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE clients (
    id {name} NOT NULL PRIMARY KEY,
    collision_key {name} NOT NULL UNIQUE,
    topic {name} NOT NULL UNIQUE,
    settings TEXT NOT NULL,
    leaving_since BIGINT,
    delete_after BIGINT,
    deleting_since BIGINT,
    topic_id TEXT,
    -- What tel-control has set on it, or was about to: {"retention.ms": ["3600000"]}.
    topic_settings TEXT NOT NULL DEFAULT '{}',
    listed_topic_id TEXT,
    listed_offset BIGINT,
    created_at BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    CHECK ((leaving_since IS NULL) = (delete_after IS NULL)),
    CHECK (deleting_since IS NULL OR leaving_since IS NOT NULL)
);
CREATE INDEX clients_leaving ON clients (id) WHERE leaving_since IS NOT NULL;

CREATE TABLE steps (
    client_id {name} NOT NULL REFERENCES clients (id),
    name TEXT NOT NULL,
    place BIGINT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'done', 'failed')),
    detail TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    next_try BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    PRIMARY KEY (client_id, name)
);
CREATE INDEX steps_due ON steps (next_try, client_id) WHERE state <> 'done';

-- Outlives its client: a generation's name is never given to a second key.
CREATE TABLE generations (
    client_id {name} NOT NULL PRIMARY KEY,
    last BIGINT NOT NULL
);

CREATE TABLE credentials (
    client_id {name} NOT NULL REFERENCES clients (id),
    generation BIGINT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('issued', 'active', 'revoked')),
    fingerprint TEXT,
    not_after BIGINT,
    created_at BIGINT NOT NULL,
    first_used BIGINT,
    last_used BIGINT,
    revoked_at BIGINT,
    PRIMARY KEY (client_id, generation)
);
CREATE INDEX credentials_unused ON credentials (created_at) WHERE state = 'issued';
CREATE INDEX credentials_expiring ON credentials (not_after) WHERE state <> 'revoked';

CREATE TABLE edges (
    name {name} NOT NULL PRIMARY KEY,
    generation BIGINT NOT NULL,
    fingerprint TEXT,
    not_after BIGINT,
    created_at BIGINT NOT NULL,
    retired_at BIGINT,
    heard_at BIGINT,
    ack_topic_id TEXT,
    ack_offset BIGINT,
    applied_topic_id TEXT,
    applied_offset BIGINT,
    rejected TEXT NOT NULL,
    started_at BIGINT NOT NULL
);

-- What an edge said last of its own counters.
CREATE TABLE edge_counters (
    edge {name} NOT NULL,
    client_id {name} NOT NULL,
    delivered BIGINT NOT NULL,
    dropped BIGINT NOT NULL,
    PRIMARY KEY (edge, client_id)
);

-- What was added to them; day = days since 1970, edge '' = all edges, of days long past.
CREATE TABLE usage_days (
    client_id {name} NOT NULL,
    day BIGINT NOT NULL,
    edge {name} NOT NULL,
    delivered BIGINT NOT NULL,
    dropped BIGINT NOT NULL,
    PRIMARY KEY (client_id, day, edge)
);
CREATE INDEX usage_days_day ON usage_days (day);

-- Tokens and cookies as SHA-256 only.
CREATE TABLE tokens (
    id {name} NOT NULL PRIMARY KEY,
    hash {name} NOT NULL UNIQUE,
    label TEXT NOT NULL,
    client_id {name},
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    last_used BIGINT,
    revoked_at BIGINT
);

CREATE TABLE sessions (
    hash {name} NOT NULL PRIMARY KEY,
    token_id {name} REFERENCES tokens (id),
    label TEXT NOT NULL,
    client_id {name},
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX sessions_expiring ON sessions (expires_at);

CREATE TABLE requests (
    scope {name} NOT NULL,
    idempotency_key {name} NOT NULL,
    request_hash TEXT NOT NULL,
    status BIGINT,
    body TEXT,
    taken_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (scope, idempotency_key)
);
CREATE INDEX requests_expiring ON requests (expires_at);

CREATE TABLE used_links (
    hash {name} NOT NULL PRIMARY KEY,
    expires_at BIGINT NOT NULL
);

CREATE TABLE settings (
    name {name} NOT NULL PRIMARY KEY,
    value TEXT NOT NULL,
    changed_at BIGINT NOT NULL
);

CREATE TABLE audit (
    id BIGINT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    who TEXT NOT NULL,
    what TEXT NOT NULL,
    subject {name} NOT NULL,
    details TEXT NOT NULL
);
CREATE INDEX audit_subject ON audit (subject, id);
