// Package ledgertest opens real ledgers for the tests of other rooms. Only
// test files import it.
package ledgertest

import (
	"path/filepath"
	"testing"

	"ingestd/internal/ledger"
)

// Open opens a new ledger in a directory of the test and closes it at its end.
func Open(t testing.TB) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Open(t.Context(), ledger.Options{Path: filepath.Join(t.TempDir(), "ledger.db")})
	if err != nil {
		t.Fatalf("open ledger: %v", err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("close ledger: %v", err)
		}
	})
	return l
}
