// Package torture holds the tests that break the machine under the real
// daemon: it is killed at every system call that changes something outside of
// it, its disk fails or is full from any call on, and the power goes at random
// moments. After each fault an ordinary run must end right: every recording
// published exactly once with the right bytes, or visibly kept with a reason.
// The points of internal/failpoint fail one after the other; the program
// itself says which there are.
//
// # Cells
//
// The cells of the fault matrix are the rows of the cells_*_test.go files:
// number, moment and fault, outcome, and a function that drives the real
// binary on real files against a vendor in the test process, or for faults of
// minutes to hours the same rooms in fake time (bubble_test.go). A tracer
// strikes at the very system call that a row names: it kills the program
// there, fails the call, or holds it while the test changes the world. Then
// the program runs until nothing moves, and the checker compares the vendor,
// the ledger and the directories. TestMatrixIsWhole demands that no number is
// missing; TestCells ends with how many ran and passed, and why others did not.
//
//	INGESTD_CELLS=40,98 go test -run TestCells -v ./internal/torture
//
// The first vendor of the matrix is CallMiner. TestShapes drives all vendors
// through the cells that make sense for them (shape_cells_test.go), each to the
// ending that its shape allows: accepted once where the vendor can be asked,
// refuses or replaces a second copy, held where nothing settles a doubt. It
// ends with a line of figures for each vendor.
//
//	INGESTD_SHAPES=voyc,elevateai go test -run TestShapes -v ./internal/torture
//
// # What runs when
//
// `make test` runs the quick cells, and of the rest the tests whose names end
// in Sample. What needs root, loop mounts or ptrace says so where it cannot
// run. With the build tag torture everything runs, for hours:
//
//	make torture                          # all cells, all sweeps, 1,000 power cuts, the model
//	make torture CUTS=100 SWEEP_STEP=10   # less of it
//
// The package has no production code.
package torture
