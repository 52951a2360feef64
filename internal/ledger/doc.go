// Package ledger remembers every file that was seen, every document that
// belongs to it, every delivery and every step of every attempt, in one SQLite
// file. It is the sole user of SQLite.
//
// It promises:
//
//   - a write that returned nil is durable (WAL, synchronous=FULL), also when
//     the caller's context was cancelled meanwhile: cancelling must never
//     erase the record of something that happened outside;
//   - every transition is a compare-and-set on the row's version, moves only
//     along [CanMove], and leaves an event in the same transaction; events are
//     never changed or deleted;
//   - one idempotency key per destination has at most one live delivery;
//   - one process writes transitions at a time (an flock beside the ledger),
//     while any number of readers look on;
//   - after an I/O error or corruption it fences: [Ledger.Fenced] closes and
//     no later write succeeds.
//
// It never sends, never opens a recording, never deletes a row of a recording
// or a delivery, and never logs a path, a name or a number: those are data of
// the ledger, shown only by its [Reader].
package ledger
