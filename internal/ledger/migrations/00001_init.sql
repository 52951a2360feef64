-- The ledger of ingestd.
--
-- Times are INTEGER milliseconds since 1970 unless the column says otherwise;
-- NULL is "not yet" or "never". Paths are BLOBs: the raw bytes that the file
-- system gave, which need not be UTF-8. `ver` counts the changes of a row;
-- every transition compares it first. The lists of states are those of
-- docs/states.md and of states.go; a test holds the three together.
--
-- Lists in CHECKs and in the WHERE of indexes are chains of OR: for an IN of
-- more than two values SQLite builds a temporary table, with a page cache of
-- its own, at every write of a row. That cost more than all else in a write.

-- +goose Up

-- One row about the ledger itself.
CREATE TABLE meta (
    id            INTEGER PRIMARY KEY CHECK (id = 1),
    uid           TEXT    NOT NULL, -- random name of this ledger; ledger.id beside it holds the same
    created_at    INTEGER NOT NULL,
    restore_epoch INTEGER NOT NULL DEFAULT 0, -- files that were there before this instant may have been sent under an earlier ledger; 0: there was none
    boot          TEXT    NOT NULL DEFAULT '', -- the last opening for writing
    pid           INTEGER NOT NULL DEFAULT 0, -- its process
    since         INTEGER NOT NULL DEFAULT 0, -- when it opened
    clean         INTEGER NOT NULL DEFAULT 1 CHECK (clean IN (0, 1)) -- it closed in order
) STRICT;

-- One row per file that was seen at a path. New content after the row was
-- settled makes a new row; the older one stays as history.
CREATE TABLE recordings (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    ver          INTEGER NOT NULL DEFAULT 1,
    source       TEXT    NOT NULL,
    path         BLOB    NOT NULL, -- relative to the source
    current      INTEGER NOT NULL DEFAULT 1 CHECK (current IN (0, 1)), -- the newest row of its path
    state        TEXT    NOT NULL CHECK (state = 'settling' OR state = 'waiting' OR state = 'ready' OR state = 'done' OR state = 'skipped' OR state = 'quarantined' OR state = 'vanished'),
    reason       TEXT    NOT NULL DEFAULT '', -- stable code
    reason_text  TEXT    NOT NULL DEFAULT '', -- a sentence for the operator
    dev          INTEGER NOT NULL, -- device and inode: the bits of an unsigned number
    ino          INTEGER NOT NULL,
    size         INTEGER NOT NULL CHECK (size >= 0), -- bytes
    mtime_ns     INTEGER NOT NULL, -- nanoseconds
    ctime_ns     INTEGER NOT NULL, -- nanoseconds
    quiet_since  INTEGER NOT NULL, -- first look with this identity
    looks        INTEGER NOT NULL, -- looks with this identity
    due_at       INTEGER, -- settling, waiting: next look, NULL: only its sidecar wakes it; ready: not disposed of earlier
    wait_until   INTEGER, -- end of the wait for a sidecar
    sha256       BLOB    CHECK (length(sha256) = 32),
    business_key TEXT,    -- the recorder's name for it, or one made of its path
    named        INTEGER NOT NULL DEFAULT 0 CHECK (named IN (0, 1)), -- the export gave business_key
    call_json    TEXT,    -- the call record
    audio_json   TEXT,    -- what the probe measured
    call_id      TEXT,    -- out of call_json, to be searched
    recorder_id  TEXT,    -- the recorder's id of the recording, out of call_json
    started_at   INTEGER, -- start of the recording, out of call_json
    settled      INTEGER NOT NULL DEFAULT 0 CHECK (settled IN (0, 1)), -- its deliveries let the file go: all accepted, cancelled or duplicates of accepted ones, one at least accepted
    move_to      BLOB,    -- absolute path: a move was begun
    moved_to     BLOB,    -- absolute path: where the file is now
    first_seen   INTEGER NOT NULL,
    updated      INTEGER NOT NULL,
    CHECK (state NOT IN ('ready', 'done') OR sha256 IS NOT NULL)
) STRICT;
CREATE UNIQUE INDEX recordings_current ON recordings (source, path) WHERE current = 1;
CREATE INDEX recordings_replaced ON recordings (source, path) WHERE current = 0;
CREATE INDEX recordings_due ON recordings (source, due_at) WHERE state IN ('settling', 'waiting') AND due_at IS NOT NULL;
CREATE INDEX recordings_open ON recordings (state) WHERE state = 'settling' OR state = 'waiting' OR state = 'quarantined';
CREATE INDEX recordings_late ON recordings (wait_until) WHERE state = 'waiting';
CREATE INDEX recordings_settled ON recordings (source, due_at) WHERE state = 'ready' AND settled = 1 AND move_to IS NULL;
CREATE INDEX recordings_moving ON recordings (source) WHERE state = 'ready' AND move_to IS NOT NULL;
CREATE INDEX recordings_business ON recordings (source, business_key) WHERE named = 1;
CREATE INDEX recordings_call ON recordings (call_id) WHERE call_id IS NOT NULL;
CREATE INDEX recordings_recorder ON recordings (recorder_id) WHERE recorder_id IS NOT NULL;
CREATE INDEX recordings_moved ON recordings (moved_to) WHERE moved_to IS NOT NULL;

-- One row per sidecar file: a document of one call, or a manifest of many.
CREATE TABLE documents (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    ver         INTEGER NOT NULL DEFAULT 1,
    source      TEXT    NOT NULL,
    path        BLOB    NOT NULL, -- relative to the source
    state       TEXT    NOT NULL CHECK (state = 'settling' OR state = 'indexed' OR state = 'bad' OR state = 'gone'),
    reason      TEXT    NOT NULL DEFAULT '',
    reason_text TEXT    NOT NULL DEFAULT '',
    dev         INTEGER NOT NULL, -- identity as in recordings
    ino         INTEGER NOT NULL,
    size        INTEGER NOT NULL CHECK (size >= 0),
    mtime_ns    INTEGER NOT NULL,
    ctime_ns    INTEGER NOT NULL,
    quiet_since INTEGER NOT NULL,
    looks       INTEGER NOT NULL,
    due_at      INTEGER, -- next look while settling
    sha256      BLOB    CHECK (length(sha256) = 32),
    rows        INTEGER NOT NULL DEFAULT 0, -- rows of the generation that lookups see
    gen         INTEGER NOT NULL DEFAULT 0, -- generation of document_rows that lookups see
    unfinished  INTEGER NOT NULL DEFAULT 0 CHECK (unfinished IN (0, 1)), -- recordings are still to be woken, old rows to be deleted
    first_seen  INTEGER NOT NULL,
    updated     INTEGER NOT NULL,
    UNIQUE (source, path)
) STRICT;
CREATE INDEX documents_due ON documents (source, due_at) WHERE state = 'settling';
CREATE INDEX documents_bad ON documents (state) WHERE state = 'bad';
CREATE INDEX documents_unfinished ON documents (unfinished) WHERE unfinished = 1;

-- The rows of documents, found by the name of the sidecar and a key. A new
-- version of a document is written beside the old one as a new generation and
-- becomes visible at once, when documents.gen names it.
CREATE TABLE document_rows (
    id          INTEGER PRIMARY KEY,
    document_id INTEGER NOT NULL REFERENCES documents (id),
    gen         INTEGER NOT NULL,
    sidecar     TEXT    NOT NULL,
    key         TEXT    NOT NULL, -- '': the row has none and is never found
    row         INTEGER NOT NULL, -- number within the document, from 1
    content     TEXT    NOT NULL, -- JSON object
    reason      TEXT    NOT NULL DEFAULT '', -- set: a bad row
    reason_text TEXT    NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX document_rows_key ON document_rows (sidecar, key) WHERE key <> '';
CREATE INDEX document_rows_document ON document_rows (document_id, gen);

-- The keys that a recording without its sidecar waits for.
CREATE TABLE recording_keys (
    recording_id INTEGER NOT NULL REFERENCES recordings (id),
    sidecar      TEXT    NOT NULL,
    key          TEXT    NOT NULL,
    PRIMARY KEY (recording_id, sidecar)
) STRICT, WITHOUT ROWID;
CREATE INDEX recording_keys_key ON recording_keys (sidecar, key);

-- The document rows that a recording was paired with, as they were then.
CREATE TABLE recording_documents (
    recording_id INTEGER NOT NULL REFERENCES recordings (id),
    sidecar      TEXT    NOT NULL,
    document_id  INTEGER NOT NULL REFERENCES documents (id),
    row_id       INTEGER NOT NULL, -- of document_rows then; a newer version of the document has other rows
    path         BLOB    NOT NULL, -- of the document
    row          INTEGER NOT NULL,
    key          TEXT    NOT NULL DEFAULT '',
    rule         TEXT    NOT NULL, -- the pairing rule
    sha256       BLOB    CHECK (length(sha256) = 32), -- of the document
    PRIMARY KEY (recording_id, sidecar)
) STRICT, WITHOUT ROWID;
CREATE INDEX recording_documents_key ON recording_documents (sidecar, key);

-- One row per recording and destination.
CREATE TABLE deliveries (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    ver           INTEGER NOT NULL DEFAULT 1,
    recording_id  INTEGER NOT NULL REFERENCES recordings (id),
    source        TEXT    NOT NULL, -- of the recording, for the due index
    destination   TEXT    NOT NULL,
    idem_key      TEXT    NOT NULL CHECK (idem_key <> ''), -- derived from destination, business key and content: the exactly-once key
    state         TEXT    NOT NULL CHECK (state = 'planned' OR state = 'declaring' OR state = 'declared' OR state = 'sending' OR state = 'committing' OR state = 'in_doubt' OR state = 'accepted' OR state = 'confirmed' OR state = 'rejected' OR state = 'held' OR state = 'duplicate' OR state = 'cancelled'),
    reason        TEXT    NOT NULL DEFAULT '',
    reason_text   TEXT    NOT NULL DEFAULT '',
    duplicate_of  INTEGER REFERENCES deliveries (id), -- the delivery that carries this identity
    attempts      INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    crashes       INTEGER NOT NULL DEFAULT 0 CHECK (crashes >= 0), -- starts that found it in mid-way
    next_attempt  INTEGER NOT NULL, -- planned, declared: not sent earlier; in_doubt: not asked earlier
    first_attempt INTEGER,
    doubt_since   INTEGER, -- set while in doubt
    accepted_at   INTEGER,
    created       INTEGER NOT NULL,
    updated       INTEGER NOT NULL,
    CHECK ((state = 'duplicate') = (duplicate_of IS NOT NULL))
) STRICT;
-- At most one live delivery per key. `duplicate_of IS NULL` says
-- `state <> 'duplicate'` (see the CHECK) in a column that transitions leave
-- alone, so that they need not rewrite this index.
CREATE UNIQUE INDEX deliveries_key ON deliveries (destination, idem_key) WHERE duplicate_of IS NULL;
CREATE INDEX deliveries_recording ON deliveries (recording_id);
CREATE INDEX deliveries_due ON deliveries (destination, source, next_attempt) WHERE state IN ('planned', 'declared');
CREATE INDEX deliveries_doubt ON deliveries (destination, next_attempt) WHERE state = 'in_doubt';
CREATE INDEX deliveries_open ON deliveries (state) WHERE state = 'planned' OR state = 'declaring' OR state = 'declared' OR state = 'sending' OR state = 'committing' OR state = 'in_doubt' OR state = 'rejected' OR state = 'held';
CREATE INDEX deliveries_duplicate ON deliveries (duplicate_of) WHERE duplicate_of IS NOT NULL;

-- What the vendor calls it. Names that begin with "_" are private: never
-- printed, and erased when the delivery reaches a final state.
CREATE TABLE vendor_ids (
    delivery_id INTEGER NOT NULL REFERENCES deliveries (id),
    name        TEXT    NOT NULL,
    value       TEXT    NOT NULL,
    PRIMARY KEY (delivery_id, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX vendor_ids_value ON vendor_ids (value) WHERE substr(name, 1, 1) <> '_';

-- The history: one row per transition, written in the transition's own
-- transaction and never changed.
CREATE TABLE events (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    at           INTEGER NOT NULL,
    boot         TEXT    NOT NULL, -- the opening that wrote it
    recording_id INTEGER NOT NULL REFERENCES recordings (id),
    delivery_id  INTEGER REFERENCES deliveries (id), -- NULL: about the recording itself
    from_state   TEXT, -- NULL: it begins here
    to_state     TEXT    NOT NULL,
    attempt      INTEGER, -- attempts begun so far
    class        TEXT    NOT NULL DEFAULT '', -- class of the outcome
    http_status  INTEGER,
    bytes        INTEGER, -- media bytes that left
    reason       TEXT    NOT NULL DEFAULT '',
    text         TEXT    NOT NULL DEFAULT '' -- one redacted sentence
) STRICT;
CREATE INDEX events_recording ON events (recording_id);
CREATE INDEX events_committing ON events (delivery_id) WHERE to_state = 'committing';
CREATE INDEX events_trouble ON events (class) WHERE class = 'not_sent' OR class = 'incomplete' OR class = 'auth' OR class = 'rate_limited' OR class = 'refused' OR class = 'rejected' OR class = 'held' OR class = 'in_doubt' OR class = 'changed' OR class = 'crash';

-- +goose StatementBegin
CREATE TRIGGER events_no_update BEFORE UPDATE ON events BEGIN
    SELECT RAISE(ABORT, 'events are append-only');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER events_no_delete BEFORE DELETE ON events BEGIN
    SELECT RAISE(ABORT, 'events are append-only');
END;
-- +goose StatementEnd

-- Orders of a person: appended by a command, applied by whoever holds the
-- lock. A kind that the program does not know is answered in `result`.
CREATE TABLE orders (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    at            INTEGER NOT NULL,
    kind          TEXT    NOT NULL CHECK (kind <> ''),
    delivery_ids  TEXT    NOT NULL, -- JSON list of numbers
    recording_ids TEXT    NOT NULL, -- JSON list of numbers
    ordered_by    TEXT    NOT NULL,
    note          TEXT    NOT NULL,
    applied_at    INTEGER, -- NULL: not yet
    result        TEXT    NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX orders_open ON orders (id) WHERE applied_at IS NULL;

-- How many recordings (scope: source) and deliveries (scope: destination)
-- stand where, kept by triggers: counting millions of rows for every status
-- page would be too slow. `ingestd ledger verify` counts anew and compares.
CREATE TABLE counts (
    kind   TEXT    NOT NULL CHECK (kind IN ('recording', 'delivery')),
    scope  TEXT    NOT NULL,
    state  TEXT    NOT NULL,
    reason TEXT    NOT NULL,
    n      INTEGER NOT NULL,
    PRIMARY KEY (kind, scope, state, reason)
) STRICT, WITHOUT ROWID;

-- +goose StatementBegin
CREATE TRIGGER recordings_counted_in AFTER INSERT ON recordings BEGIN
    INSERT INTO counts VALUES ('recording', NEW.source, NEW.state, NEW.reason, 1)
        ON CONFLICT DO UPDATE SET n = n + 1;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER recordings_counted_on AFTER UPDATE OF state, reason ON recordings
WHEN OLD.state <> NEW.state OR OLD.reason <> NEW.reason BEGIN
    UPDATE counts SET n = n - 1 WHERE kind = 'recording' AND scope = OLD.source AND state = OLD.state AND reason = OLD.reason;
    INSERT INTO counts VALUES ('recording', NEW.source, NEW.state, NEW.reason, 1)
        ON CONFLICT DO UPDATE SET n = n + 1;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER deliveries_counted_in AFTER INSERT ON deliveries BEGIN
    INSERT INTO counts VALUES ('delivery', NEW.destination, NEW.state, NEW.reason, 1)
        ON CONFLICT DO UPDATE SET n = n + 1;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER deliveries_counted_on AFTER UPDATE OF state, reason ON deliveries
WHEN OLD.state <> NEW.state OR OLD.reason <> NEW.reason BEGIN
    UPDATE counts SET n = n - 1 WHERE kind = 'delivery' AND scope = OLD.destination AND state = OLD.state AND reason = OLD.reason;
    INSERT INTO counts VALUES ('delivery', NEW.destination, NEW.state, NEW.reason, 1)
        ON CONFLICT DO UPDATE SET n = n + 1;
END;
-- +goose StatementEnd

PRAGMA application_id = 1768843108; -- "ingd"
PRAGMA user_version = 1;
