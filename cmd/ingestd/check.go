package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"ingestd/internal/config"
	"ingestd/internal/ledger"
	"ingestd/internal/pipeline"
	"ingestd/internal/senders"
	"ingestd/internal/watcher"
)

// finding is one line of `check`.
type finding struct {
	Level string `json:"level"` // ok, warn, fail
	What  string `json:"what"`
	Text  string `json:"text"`
}

const (
	levelOK   = "ok"
	levelWarn = "warn"
	levelFail = "fail"
)

func (a *app) checkCommand() *cobra.Command {
	var online bool
	c := &cobra.Command{
		Use:   "check",
		Short: "Check configuration, directories, limits and (--online) credentials",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := a.loadConfig()
			if err != nil {
				return err
			}
			findings := []finding{{levelOK, "configuration", fmt.Sprintf("%s: %d source(s), %d destination(s)", a.configPath, len(cfg.Sources), len(cfg.Destinations))}}
			findings = append(findings, checkMachine(cfg, a.now())...)
			findings = append(findings, checkLedger(c.Context(), cfg)...)
			findings = append(findings, checkSecrets(cfg, levelWarn)...)
			findings = append(findings, a.exposed(cfg)...)
			if online {
				findings = append(findings, a.checkOnline(c.Context(), cfg)...)
			}
			return a.printFindings(findings)
		},
	}
	c.Flags().BoolVar(&online, "online", false, "also ask the vendors: credentials and metadata configuration")
	a.jsonFlag(c)
	return c
}

func (a *app) printFindings(findings []finding) error {
	failed := 0
	for _, f := range findings {
		if f.Level == levelFail {
			failed++
		}
		if a.json {
			if err := a.printJSON(f); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(a.ui.out, "%-5s %-24s %s\n", f.Level, f.What, escape(f.Text))
	}
	if failed > 0 {
		return &problem{code: exitFailed, what: fmt.Sprintf("%d check(s) failed", failed), hint: "mend what the lines marked fail name, then run ingestd check again"}
	}
	return nil
}

func checkMachine(cfg *config.Config, now time.Time) []finding {
	var out []finding
	add := func(level, what, format string, args ...any) {
		out = append(out, finding{level, what, fmt.Sprintf(format, args...)})
	}
	stateDir := filepath.Dir(cfg.Ledger.Path)
	switch kind, network, err := watcher.FSKind(stateDir); {
	case errors.Is(err, fs.ErrNotExist):
		add(levelWarn, "ledger", "%s does not exist yet; systemd's StateDirectory creates it", stateDir)
	case err != nil:
		add(levelFail, "ledger", "%s cannot be looked at: %v", stateDir, cause(err))
	case network:
		add(levelFail, "ledger", "%s is on %s; the ledger must be on a local file system", stateDir, kind)
	default:
		if err := unix.Access(stateDir, unix.W_OK); err != nil {
			add(levelFail, "ledger", "%s may not be written: %v", stateDir, err)
		} else {
			add(levelOK, "ledger", "%s on %s, %s free", stateDir, kind, freeSpace(stateDir))
			if need, err := ledger.SpaceMissing(stateDir); err == nil && need > 0 {
				add(levelWarn, "ledger", "little space on the file system of %s: ingestd takes in nothing new until %s more are free", stateDir, size(int64(need)))
			}
		}
	}
	watches := 0
	for _, s := range cfg.Sources {
		watches += checkSource(s, add)
	}
	checkInotify(watches, add)
	checkClock(now, add)
	if host, _, err := net.SplitHostPort(cfg.HTTP.Listen); err == nil && !senders.IsLoopback(host) {
		add(levelWarn, "http", "%s can be reached from other hosts: the page shows call ids and file names without a login", cfg.HTTP.Listen)
	}
	return out
}

// checkSource returns how many directories of the source would be watched.
func checkSource(s config.Source, add func(level, what, format string, args ...any)) int {
	what := "source " + s.Name
	info, err := os.Stat(s.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		add(levelFail, what, "%s does not exist; create the directory or correct its path", s.Path)
		return 0
	case err != nil:
		add(levelFail, what, "%s cannot be looked at: %v", s.Path, cause(err))
		return 0
	case !info.IsDir():
		add(levelFail, what, "%s is not a directory", s.Path)
		return 0
	}
	kind, network, err := watcher.FSKind(s.Path)
	if err != nil {
		add(levelFail, what, "%s cannot be looked at: %v", s.Path, cause(err))
		return 0
	}
	mode := "events and a scan every " + s.ScanEvery.String()
	if network {
		mode = "scans only, every " + s.ScanEvery.String() + " (" + kind + " gives no events)"
	}
	add(levelOK, what, "%s on %s: %s", s.Path, kind, mode)
	if len(s.Call.Fields) > 0 && s.Call.Fields["agent_channel"] == "" && s.Call.Fields["leg"] == "" {
		add(levelWarn, what, "agent_channel is not mapped: of recordings with two channels no vendor learns which is the agent; mono recordings need nothing")
	}
	dirs, unmovable := 0, 0
	_ = filepath.WalkDir(s.Path, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			add(levelFail, what, "%s cannot be read: %v", path, cause(err))
			return filepath.SkipDir
		}
		if !d.IsDir() {
			return nil
		}
		dirs++
		if s.After != pipeline.AfterKeep && unix.Access(path, unix.W_OK|unix.X_OK) != nil {
			if unmovable++; unmovable <= 5 {
				add(levelFail, what, "files cannot be moved out of %s; give the service user write access to the directory", path)
			}
		}
		return nil
	})
	if s.After == pipeline.AfterMove {
		base, _, _ := strings.Cut(s.Archive, "{")
		for base != "/" && base != "." {
			if _, err := os.Stat(base); err == nil {
				break
			}
			base = filepath.Dir(strings.TrimSuffix(base, "/"))
		}
		if err := unix.Access(base, unix.W_OK); err != nil {
			add(levelFail, what, "the archive below %s may not be written: %v", base, err)
		} else {
			add(levelOK, what, "archive below %s, %s free", base, freeSpace(base))
		}
	}
	return dirs
}

func checkInotify(needed int, add func(level, what, format string, args ...any)) {
	limit := readNumber("/proc/sys/fs/inotify/max_user_watches")
	if limit > 0 && needed*2 > limit {
		add(levelWarn, "inotify", "%d directories to watch and a limit of %d; raise fs.inotify.max_user_watches with sysctl, or new files wait for the scan", needed, limit)
		return
	}
	add(levelOK, "inotify", "%d directories to watch, the limit is %d", needed, limit)
}

func checkClock(now time.Time, add func(level, what, format string, args ...any)) {
	var tx unix.Timex
	state, err := unix.Adjtimex(&tx)
	switch {
	case now.Year() < 2026:
		add(levelFail, "clock", "the clock says %s; set it before recordings are judged by it", now.Format(time.RFC3339))
	case err == nil && (state == unix.TIME_ERROR || tx.Status&unix.STA_UNSYNC != 0):
		add(levelWarn, "clock", "not synchronised (%s); run chrony or systemd-timesyncd", now.Format(time.RFC3339))
	default:
		add(levelOK, "clock", "%s", now.Format(time.RFC3339))
	}
}

// checkSecrets reads every secret. Those that only the service gets are not
// wrong because they cannot be read beside it: beside is their level.
func checkSecrets(cfg *config.Config, beside string) []finding {
	var out []finding
	for _, d := range cfg.Destinations {
		for _, s := range d.Vendor.Secrets() {
			if _, err := s.Resolve(); errors.Is(err, senders.ErrNoCredentials) {
				out = append(out, finding{beside, "destination " + d.Common.Name, err.Error()})
			} else if err != nil {
				out = append(out, finding{levelFail, "destination " + d.Common.Name, err.Error()})
			} else {
				out = append(out, finding{levelOK, "destination " + d.Common.Name, "its secret can be read"})
			}
		}
	}
	return out
}

// readableSecrets fails at the start what would otherwise fail every attempt.
func readableSecrets(cfg *config.Config) error {
	for _, f := range checkSecrets(cfg, levelFail) {
		if f.Level == levelFail {
			return &problem{code: exitConfig, what: f.What + ": " + f.Text, hint: "docs/operations.md (Credentials) says how each kind is read, also by a command that is run by hand"}
		}
	}
	return nil
}

func (a *app) checkOnline(ctx context.Context, cfg *config.Config) []finding {
	var out []finding
	for _, d := range cfg.Destinations {
		what := "destination " + d.Common.Name
		dest, err := a.destination(d, quietLogger())
		if err != nil {
			out = append(out, finding{levelFail, what, err.Error()})
			continue
		}
		checker, ok := dest.Sender.(senders.Checker)
		if !ok {
			out = append(out, finding{levelWarn, what, "this vendor offers nothing that could be checked without sending"})
			continue
		}
		results, err := checker.Check(ctx)
		if err != nil {
			out = append(out, finding{levelFail, what, err.Error()})
		}
		for _, r := range results {
			level := levelOK
			switch {
			case r.Stop:
				level = levelFail
			case !r.OK:
				level = levelWarn
			}
			out = append(out, finding{level, what, r.Text})
		}
	}
	return out
}

// cause is what the system said, without the name of its call.
func cause(err error) error {
	var said unix.Errno
	if errors.As(err, &said) {
		return said
	}
	return err
}

func freeSpace(dir string) string {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return "unknown"
	}
	return size(int64(st.Bavail) * st.Bsize)
}

func readNumber(path string) int {
	raw, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(raw)))
	return n
}
