// Package archtest holds the tests that look at the source of all rooms: the
// walls between them, and a few rules that no linter run can be relied on to
// enforce. It promises that the table below and the code agree. It has no
// production code.
package archtest

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "ingestd"

// mayImport says which of our rooms a room may use in production code. "*" is
// every room but the test helpers, "x/*" every room in a folder. A room that is not in the table may use
// nothing.
var mayImport = map[string][]string{
	"cmd/ingestd":                 {"*"},
	"internal/call":               {},
	"internal/config":             {"internal/mapping", "internal/senders", "internal/senders/*", "internal/sidecar", "internal/watcher"},
	"internal/failpoint":          {},
	"internal/ledger":             {"internal/call", "internal/failpoint"},
	"internal/mapping":            {"internal/call"},
	"internal/media":              {},
	"internal/pipeline":           {"internal/call", "internal/failpoint", "internal/ledger", "internal/mapping", "internal/media", "internal/senders", "internal/sidecar", "internal/watcher"},
	"internal/sandbox":            {}, // a fake that shares code with a sender cannot catch its mistakes
	"internal/senders":            {"internal/call", "internal/failpoint"},
	"internal/senders/*":          {"internal/call", "internal/senders"}, // every vendor
	"internal/sidecar":            {"internal/call"},
	"internal/status":             {"internal/ledger"},
	"internal/watcher":            {"internal/failpoint"},
	"internal/ledger/ledgertest":  {"internal/call", "internal/ledger", "internal/sandbox"},
	"internal/senders/sendertest": {"internal/call", "internal/senders", "internal/sandbox"},
}

// owners says where a library may be imported in production code. One that is
// not in the table may be imported nowhere: adding a library is a decision
// that is written down here and in docs/dependencies.md.
var owners = map[string][]string{
	"github.com/BurntSushi/toml":          {"internal/config"},
	"github.com/bmatcuk/doublestar/v4":    {"internal/config", "internal/pipeline", "internal/sidecar"},
	"github.com/cenkalti/backoff/v4":      {"internal/senders"},
	"github.com/coreos/go-systemd/v22":    {"cmd/ingestd"},
	"github.com/expr-lang/expr":           {"internal/mapping"},
	"github.com/fsnotify/fsnotify":        {"internal/watcher"},
	"github.com/google/uuid":              {"internal/call", "internal/ledger", "internal/sandbox", "internal/senders"},
	"github.com/mattn/go-sqlite3":         {"internal/ledger"},
	"github.com/nyaruka/phonenumbers":     {"internal/mapping"},
	"github.com/pressly/goose/v3":         {"internal/ledger"},
	"github.com/prometheus/client_golang": {"internal/status"},
	"github.com/spf13/cobra":              {"cmd/ingestd"},
	"github.com/spf13/pflag":              {"cmd/ingestd"},
	"golang.org/x/oauth2":                 {"internal/senders"},
	"golang.org/x/sync":                   {"cmd/ingestd", "internal/ledger", "internal/pipeline", "internal/senders"},
	"golang.org/x/sys":                    {"cmd/ingestd", "internal/ledger", "internal/watcher"},
	"golang.org/x/term":                   {"cmd/ingestd"},
	"golang.org/x/text/encoding":          {"internal/sidecar"},
	"golang.org/x/text/transform":         {"internal/sidecar"},
	"golang.org/x/text/unicode/norm":      {"internal/mapping", "internal/sidecar"},
	"golang.org/x/time/rate":              {"internal/senders"},
	"github.com/google/go-cmp":            {},
	"github.com/rogpeppe/go-internal":     {},
	"go.uber.org/goleak":                  {},
	"pgregory.net/rapid":                  {},
	"testing":                             {},
	"net/http/pprof":                      {}, // opens itself to whoever reaches the page
	"expvar":                              {}, // the same
}

// pkg is what `go list` knows about one of our packages.
type pkg struct {
	ImportPath, Dir           string
	GoFiles, CgoFiles         []string
	Imports                   []string
	TestImports, XTestImports []string
}

// room is the path of a package below the module.
func (p pkg) room() string { return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/") }

// helper reports whether a package only serves tests.
func (p pkg) helper() bool { return strings.HasSuffix(path.Base(p.ImportPath), "test") }

// packages lists every package of the module.
func packages(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-tags=torture", "-json=ImportPath,Dir,GoFiles,CgoFiles,Imports,TestImports,XTestImports", module+"/...").Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatalf("go list: %v", err)
	}
	var list []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		list = append(list, p)
	}
	if len(list) < 3 {
		t.Fatalf("go list found only %d packages", len(list))
	}
	return list
}

// walls finds a room's row; its own before one for all rooms of a folder.
func walls(room string) (allowed []string, known bool) {
	if allowed, known = mayImport[room]; !known {
		allowed, known = mayImport[path.Dir(room)+"/*"]
	}
	return allowed, known
}

func covers(pattern, room string) bool {
	return pattern == "*" || pattern == room || pattern == path.Dir(room)+"/*"
}

func TestRoomsImportOnlyWhatTheTableAllows(t *testing.T) {
	for _, p := range packages(t) {
		for _, imported := range p.Imports {
			room, ours := strings.CutPrefix(imported, module+"/")
			if !ours {
				continue
			}
			allowed, known := walls(p.room())
			switch {
			case !known:
				t.Errorf("%s has no row in the table of walls", p.room())
			case strings.HasSuffix(room, "test") && !p.helper():
				t.Errorf("%s imports the test helper %s", p.room(), room)
			case !slices.ContainsFunc(allowed, func(pattern string) bool { return covers(pattern, room) }):
				t.Errorf("%s imports %s, but may only import %v", p.room(), room, allowed)
			}
		}
	}
}

func TestLibrariesHaveOwners(t *testing.T) {
	for _, p := range packages(t) {
		if p.helper() {
			continue
		}
		for _, imported := range p.Imports {
			owner, listed := ownersOf(imported)
			third := strings.Contains(strings.Split(imported, "/")[0], ".")
			switch {
			case listed && !slices.Contains(owner, p.room()):
				t.Errorf("%s imports %s, which belongs to %v", p.room(), imported, owner)
			case third && !listed:
				t.Errorf("%s imports %s, which has no owner in the table", p.room(), imported)
			}
		}
	}
}

// ownersOf finds the longest row of the table that covers an import path.
func ownersOf(imported string) ([]string, bool) {
	for p := imported; p != "." && p != "/"; p = path.Dir(p) {
		if rooms, ok := owners[p]; ok {
			return rooms, true
		}
	}
	return nil, false
}

func TestOwnersOf(t *testing.T) {
	for imported, want := range map[string]string{
		"github.com/expr-lang/expr/vm":            "internal/mapping",
		"golang.org/x/text/encoding/htmlindex":    "internal/sidecar",
		"github.com/coreos/go-systemd/v22/daemon": "cmd/ingestd",
		"golang.org/x/oauth2/clientcredentials":   "internal/senders",
	} {
		if got, ok := ownersOf(imported); !ok || !slices.Contains(got, want) {
			t.Errorf("ownersOf(%q) = %v, %v; want %s", imported, got, ok, want)
		}
	}
	for _, imported := range []string{"fmt", "net/http", "github.com/other/thing"} {
		if got, ok := ownersOf(imported); ok {
			t.Errorf("ownersOf(%q) = %v, want none", imported, got)
		}
	}
}
