// Package failpoint names the moments at which a test may let the daemon fail:
// before and after the commit of every transition, around the gate, the
// answer, the disposal and the recovery.
//
// It promises that a daemon built without the tag torture holds none of it:
// Hit is then an empty function, and Enabled a constant that the compiler
// cuts the rest away by. It decides nothing and never tells a room to behave
// differently; a point only fails, waits, or ends the process.
//
// With the tag, INGESTD_FAILPOINTS says what befalls which point:
//
//	committing.after=panic
//	accepted.before=error@3,sending.after=sleep:2s@2+
//
// The actions are panic, error (Hit returns one), sleep:DURATION, kill
// (SIGKILL to itself) and exit (status 1). @n is the n-th hit of the point,
// @n+ the n-th and all later ones; without it the first. A daemon that cannot
// read the variable refuses to start. INGESTD_FAILPOINTS_TRACE names a file
// that gets one line for every point that is hit, so that tests need no list
// of them.
package failpoint
