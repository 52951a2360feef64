// Package torture holds the tests that break the machine under the real
// daemon: it is killed at every system call that changes something outside of
// it, its disk fails or is full from any call on, and the power goes at random
// moments. After each fault an ordinary run must end right: every recording
// published exactly once with the right bytes, or visibly kept with a reason.
// The points of internal/failpoint fail one after the other; the program
// itself says which there are.
//
// All of it is behind the build tag torture (`make torture`): it takes hours,
// and root for the loop mounts. The tests whose names end in Sample are short
// slices. The package has no production code.
package torture
