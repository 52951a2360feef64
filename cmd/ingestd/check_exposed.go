package main

import (
	"fmt"
	"log/slog"
	"os"

	"ingestd/internal/config"
)

// exposed says what other users of this machine can read or replace although
// they should not.
func (a *app) exposed(cfg *config.Config) []finding {
	var out []finding
	warn := func(what, format string, args ...any) {
		out = append(out, finding{levelWarn, what, fmt.Sprintf(format, args...)})
	}
	for _, s := range cfg.Sources {
		if info, err := os.Stat(s.Path); err == nil && info.Mode().Perm()&0o002 != 0 && info.Mode()&os.ModeSticky == 0 {
			warn("source "+s.Name, "%s is world-writable without the sticky bit; anybody can replace recordings (chmod +t)", s.Path)
		}
	}
	own, err := os.Stat(a.configPath)
	readable := err == nil && own.Mode().Perm()&0o004 != 0
	for _, d := range cfg.Destinations {
		for _, s := range d.Vendor.Secrets() {
			if text := s.Warning(); text != "" {
				warn("destination "+d.Common.Name, "%s", text)
			}
			if s.Inline() && readable {
				warn("destination "+d.Common.Name, "its secret stands in %s, which every user can read; chmod o= it, or keep the secret in a file of its own", a.configPath)
			}
		}
	}
	return out
}

// warnExposed logs what check would warn of, once for a configuration.
func (a *app) warnExposed(cfg *config.Config, log *slog.Logger) {
	for _, f := range a.exposed(cfg) {
		log.Warn(f.Text, "where", f.What)
	}
}
