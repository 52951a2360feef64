-- A ledger that is older than what ran here.

-- +goose Up

-- 1: deliveries that were open in an older ledger are still to be put in
-- doubt. A crash half-way through goes on at the next opening.
ALTER TABLE meta ADD COLUMN restoring INTEGER NOT NULL DEFAULT 0 CHECK (restoring IN (0, 1));

-- A delivery with such an event may have been sent under events that are
-- lost, so a vendor's duplicate answer means our own recording.
CREATE INDEX events_restored ON events (delivery_id) WHERE reason = 'restored';

PRAGMA user_version = 2;
