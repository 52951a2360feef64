package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"unicode"

	"golang.org/x/term"

	"ingestd/internal/config"
	"ingestd/internal/ledger"
)

// Output rules. Data goes to stdout, words about the work to stderr. An error
// is two lines: what went wrong, what to do. JSON never looks at the
// terminal. Text that came from files is escaped before a terminal sees it.
// NO_COLOR and a missing terminal switch colour and progress off.

// Exit codes; docs/operations.md promises them.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNeedsPerson = 3
	exitTemporary   = 75
	exitConfig      = 78
)

// problem is an error an operator can act on.
type problem struct {
	code int
	what string
	hint string
	err  error
}

func (p *problem) Error() string {
	if p.err != nil && p.what != "" {
		return p.what + ": " + p.err.Error()
	}
	if p.err != nil {
		return p.err.Error()
	}
	return p.what
}

func (p *problem) Unwrap() error { return p.err }

func usage(what, hint string) error { return &problem{code: exitUsage, what: what, hint: hint} }

type ui struct {
	out, err io.Writer
	terminal bool // stdout is a terminal
	live     bool // stderr is a terminal: progress may be drawn
	width    int
}

func newUI(out, err io.Writer) *ui {
	u := &ui{out: out, err: err, width: 100}
	if f, ok := out.(*os.File); ok {
		u.terminal = term.IsTerminal(int(f.Fd()))
	}
	if f, ok := err.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		u.live = os.Getenv("TERM") != "dumb"
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 20 {
			u.width = w
		}
	}
	return u
}

// exit prints the error and gives the process its code.
func (u *ui) exit(err error) int {
	if err == nil {
		return exitOK
	}
	var cfg *config.Error
	if errors.As(err, &cfg) {
		for _, d := range cfg.Defects {
			u.complain(cfg.File+": "+config.Defect{Line: d.Line, Key: d.Key, Text: d.Text}.String(), d.Hint)
		}
		return exitConfig
	}
	var open *ledger.OpenError
	if errors.As(err, &open) {
		u.complain(open.Text, open.Hint)
		if errors.Is(err, ledger.ErrLocked) {
			return exitTemporary
		}
		return exitConfig
	}
	var p *problem
	if errors.Is(err, ledger.ErrLocked) {
		err = &problem{code: exitTemporary, err: err, hint: "a daemon runs on this ledger: stop it first, or use the commands that work beside it (status, list, show, retry, ledger backup)"}
	}
	if errors.Is(err, ledger.ErrMissing) {
		err = &problem{code: exitFailed, err: err, hint: "the first `ingestd run` or `ingestd once` creates it; is [ledger] path right, and may you read its directory?"}
	}
	if !errors.As(err, &p) {
		// Cobra's own errors are about the command line.
		p = &problem{code: exitFailed, err: err}
		if s := err.Error(); strings.HasPrefix(s, "unknown ") || strings.HasPrefix(s, "if any flags in the group") || strings.Contains(s, "arg(s)") || strings.HasPrefix(s, "invalid argument") || strings.HasPrefix(s, "flag needs") {
			p.code, p.hint = exitUsage, "ingestd --help lists the commands; ingestd COMMAND --help their flags"
		}
	}
	if p.hint == "" {
		p.hint = lastHint(err)
	}
	if p.what != "" || p.err != nil {
		u.complain(p.Error(), p.hint)
	}
	return p.code
}

// lastHint is for errors that nobody said more about.
func lastHint(err error) string {
	switch {
	case errors.Is(err, fs.ErrPermission), strings.Contains(err.Error(), "unable to open database file"):
		return "run it as the service user: sudo -u ingestd ingestd ..."
	case errors.Is(err, fs.ErrExist):
		return "choose a name that does not exist yet"
	case errors.Is(err, fs.ErrNotExist):
		return "is the path right?"
	case strings.Contains(err.Error(), "not a database"), strings.Contains(err.Error(), "malformed"):
		return "the ledger is damaged: stop the daemon, keep the file, restore the last good backup (ingestd ledger restore FILE)"
	default:
		return ""
	}
}

func (u *ui) complain(what, hint string) {
	fmt.Fprintf(u.err, "ingestd: error: %s\n", escape(what))
	if hint != "" {
		fmt.Fprintf(u.err, "ingestd: hint: %s\n", escape(hint))
	}
}

func (u *ui) say(format string, args ...any) {
	fmt.Fprintf(u.err, format+"\n", args...)
}

// escape makes control and bidirectional characters visible, line by line:
// file names are written by others.
func escape(s string) string {
	clean := func(r rune) bool {
		return r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == unicode.ReplacementChar)
	}
	if strings.IndexFunc(s, clean) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if clean(r) {
			fmt.Fprintf(&b, "\\u%04x", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// cell is escape for tables: one line, never empty.
func cell(s string) string {
	if s == "" {
		return "-"
	}
	return strings.ReplaceAll(escape(s), "\n", " ")
}

// size prints bytes for people.
func size(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	div, exp := int64(unit), 0
	for m := n / unit; m >= unit; m /= unit {
		div *= unit
		exp++
	}
	return fmt.Sprintf("%.1f %ciB", float64(n)/float64(div), "KMGTPE"[exp])
}
