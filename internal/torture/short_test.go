//go:build !torture

package torture

// everything tells whether slow cells run too.
const everything = false
