//go:build !torture

package failpoint

// Enabled tells whether points can fail.
const Enabled = false

// Hit does nothing.
func Hit(string) error { return nil }
