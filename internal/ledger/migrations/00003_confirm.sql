-- What comes after an acceptance, and what a lost step 1 left behind.

-- +goose Up

-- Accepted deliveries whose destination is still asked whether the recording
-- was processed, by the time of the next question (next_attempt).
CREATE INDEX deliveries_unconfirmed ON deliveries (destination, next_attempt) WHERE state = 'accepted' AND reason = 'unconfirmed';

-- How often step 1 may have had an effect that nobody uses, kept by a trigger:
-- its answer was lost, or the program died while it waited.
CREATE TABLE orphan_declares (
    destination TEXT    PRIMARY KEY,
    n           INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- +goose StatementBegin
CREATE TRIGGER events_orphan_declare AFTER INSERT ON events
WHEN NEW.reason = 'orphan_declare' OR NEW.class = 'crash' AND NEW.from_state = 'declaring' BEGIN
    INSERT INTO orphan_declares SELECT destination, 1 FROM deliveries WHERE id = NEW.delivery_id
        ON CONFLICT DO UPDATE SET n = n + 1;
END;
-- +goose StatementEnd

PRAGMA user_version = 3;
