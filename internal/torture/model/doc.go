// Package model holds the model test of the whole way from drop directory to
// vendor (level L1). A random state machine drops recordings, scripts vendors,
// kills and restarts the program and lets time pass, over the real pipeline,
// the real ledger in SQLite files and real files, in fake time.
//
// It promises that every violated invariant fails with the history that led
// to it, that what the machine does is drawn from one seed, and that the
// vendors keep the truth: the checks compare the ledger with what the vendors
// really hold, never with what the program says it sent. It has no production
// code. It never touches a network, never reads the wall clock inside a
// history, and models no power cut: what a kill leaves is exactly what was
// committed, so a file system without fsync serves as well.
//
// # What is checked
//
// At the instant of every request: the durable row that must come before it
// (I1, I3), one attempt per delivery (I9), one key per identity for ever (I6),
// the bytes (I8), and that no second tail leaves while an earlier one is
// unresolved (P2). After every step: the history since the last look (I4, I5,
// I10), that nothing committed was lost, one effect per key (P3), and that
// every file is in its place unless every vendor has it (I7). After every
// kill: that recovery can be repeated (I14). At every start and at the end:
// SQLite's integrity and the counting rule (P1, I11, I13). At the end, with
// healed vendors: everything comes to rest, nothing is lost (P1), and what
// was refused or held goes through after a person's order.
//
// Not modelled here: errors of the disk and the fence that follows (I2), and
// jumps of the wall clock (I12).
//
// # A kill
//
// A kill stops the ledger's writer inside a transaction: the files are copied
// while it holds SQLite's write lock, its goroutine ends, and every later
// write of that run fails. From then on the vendors ignore the run, which can
// only do what its last commits already allowed. The next run starts from the
// copy. Kills come at a random commit (intake, recovery, disposal) or at a
// named step of an attempt.
//
// # Seeds
//
// All draws are made by one goroutine, so a seed gives the same files,
// scripts and kills again:
//
//	go test ./internal/torture/model -run TestModel -rapid.seed=N
//	go test ./internal/torture/model -run TestModel -rapid.failfile=testdata/rapid/...
//	go test ./internal/torture/model -run TestModel -rapid.checks=5000 -timeout 2h
//
// A failure that is found is written to testdata/rapid and tried first from
// then on. How the program's own goroutines interleave is not drawn: a
// violation that needs a rare interleaving may need its seed several times
// (-count), and rapid then calls it flaky; the history is printed all the same.
// -rapid.steps sets the length of a history, MODEL_TRACE=1 in the environment
// prints every history. Put TMPDIR on a memory file system for long runs.
package model
