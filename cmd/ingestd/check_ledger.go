package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"ingestd/internal/config"
	"ingestd/internal/ledger"
)

// checkLedger looks at the ledger as it lies there; it changes nothing.
func checkLedger(ctx context.Context, cfg *config.Config) []finding {
	path := cfg.Ledger.Path
	if _, err := os.Stat(filepath.Dir(path)); err != nil {
		return nil // told already
	}
	out := func(level, format string, args ...any) []finding {
		return []finding{{level, "ledger", fmt.Sprintf(format, args...)}}
	}
	in, err := ledger.Inspect(ctx, path)
	var open *ledger.OpenError
	switch {
	case errors.Is(err, ledger.ErrMissing):
		return append(out(levelOK, "%s will be created at the first start", path), checkedByRoot(path)...)
	case errors.As(err, &open):
		return out(levelFail, "%v; %s", open, open.Hint)
	case err != nil:
		return out(levelFail, "%s cannot be looked at: %v", path, cause(err))
	}
	how := "closed in order"
	switch {
	case in.Running:
		how = "an ingestd has it open"
	case !in.Clean:
		how = "not closed in order: the next start checks it and carries on"
	}
	found := out(levelOK, "%s can be read: schema version %d, the one that belongs here, %s", path, in.Version, how)
	if in.Version < in.Newest {
		found = out(levelWarn, "%s has schema version %d and this program works with %d: the next start brings it up to date, after a backup", path, in.Version, in.Newest)
	}
	for _, name := range sortedKeys(in.Open) {
		if !slices.ContainsFunc(cfg.Destinations, func(d config.Destination) bool { return d.Common.Name == name }) {
			found = append(found, out(levelWarn, "%d deliveries wait for the destination %q, which is not configured: configure it, or ingestd cancel --destination %s --note WHY", in.Open[name], name, name)...)
		}
	}
	return append(found, checkedByRoot(path)...)
}

// checkedByRoot says what a check by root cannot tell.
func checkedByRoot(path string) []finding {
	owner, foreign := foreignOwner(os.Geteuid(), filepath.Dir(path))
	if !foreign {
		return nil
	}
	return []finding{{levelWarn, "user", fmt.Sprintf("root may do everything, and ingestd runs as %s: sudo -u %s ingestd check tells what that user may do", owner, owner)}}
}
