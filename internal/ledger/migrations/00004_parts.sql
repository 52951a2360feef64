-- Recordings that are sent merged from several files.

-- +goose Up

ALTER TABLE recordings ADD COLUMN merged_size INTEGER CHECK (merged_size >= 0); -- bytes that are sent; NULL: the file as it is. sha256 is then of the merged bytes

-- The files that a merged recording is made of, as they were pinned; the
-- recording's own file is one of them.
CREATE TABLE recording_parts (
    recording_id INTEGER NOT NULL REFERENCES recordings (id), -- that carries the deliveries
    channel      INTEGER NOT NULL, -- in the merged file, from 0
    part_id      INTEGER REFERENCES recordings (id), -- the part's own row then
    path         BLOB    NOT NULL, -- relative to the source
    dev          INTEGER NOT NULL, -- identity as in recordings
    ino          INTEGER NOT NULL,
    size         INTEGER NOT NULL CHECK (size >= 0),
    mtime_ns     INTEGER NOT NULL,
    ctime_ns     INTEGER NOT NULL,
    sha256       BLOB    NOT NULL CHECK (length(sha256) = 32),
    moved_to     BLOB, -- absolute path: where the file is now
    PRIMARY KEY (recording_id, channel)
) STRICT, WITHOUT ROWID;

PRAGMA user_version = 4;
