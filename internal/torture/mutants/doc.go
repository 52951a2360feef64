// Package mutants proves that the harness can fail: a table of deliberate
// defects, each of which is built into the program through an overlay, and
// must turn a torture, model or conformance test red.
//
// It promises that the table cannot rot: an ordinary test demands that every
// defect still has its place, once, in the file that it names. The defects
// themselves are run behind the build tag torture (`make mutants`). A unit
// test that pins a line does not count as a catch. It has no production code
// and never changes the tree.
package mutants
