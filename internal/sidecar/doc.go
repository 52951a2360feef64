// Package sidecar reads the documents that lie beside recordings and says
// which recording each belongs to: JSON documents, per-call CSV files, and
// lists with a row for each of thousands of recordings.
//
// It promises that whatever is in a file, reading it ends with rows or with an
// [Error] that has a stable code: never a crash, never more than a few
// megabytes of memory, never a value that was guessed, repaired or silently
// dropped. An error names lines and columns, never what is written in them,
// so it may be logged and shown.
//
// It never opens a file by itself, never evaluates an expression, never looks
// at a clock and stores nothing; package mapping turns rows into calls, the
// ledger remembers them.
package sidecar
