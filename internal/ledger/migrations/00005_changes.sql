-- Documents that change after they were read: what each row said, which
-- recordings are to be compared with it, and where the reading of a list that
-- only grows has ended.

-- +goose Up

ALTER TABLE document_rows ADD COLUMN digest INTEGER; -- of what the row says; NULL: written by an earlier version
ALTER TABLE recording_documents ADD COLUMN digest INTEGER; -- of the row as it was taken, or of its newest change that was noted
ALTER TABLE documents ADD COLUMN place TEXT NOT NULL DEFAULT ''; -- a growing list: where its reading ended, as the reader wrote it; else ''

-- Recordings that were paired with a row which may say something else by now.
CREATE TABLE recording_changes (
    recording_id INTEGER PRIMARY KEY REFERENCES recordings (id),
    source       TEXT    NOT NULL, -- of the recording, for the due index
    n            INTEGER NOT NULL DEFAULT 1, -- times it was marked: what comes while one is compared is not lost
    due_at       INTEGER NOT NULL
) STRICT;
CREATE INDEX recording_changes_due ON recording_changes (source, due_at);

PRAGMA user_version = 5;
