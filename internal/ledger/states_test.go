package ledger

import (
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// docTable reads the table of one section of docs/states.md: state -> leads to.
func docTable(t *testing.T, section string) (order []string, leads map[string][]string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/states.md")
	check(t, err)
	_, part, found := strings.Cut(string(text), "\n## "+section+"\n")
	if !found {
		t.Fatalf("docs/states.md has no section %s", section)
	}
	part, _, _ = strings.Cut(part, "\n## ")
	leads = map[string][]string{}
	for line := range strings.Lines(part) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 5 || strings.HasPrefix(cells[1], "---") || strings.TrimSpace(cells[1]) == "state" {
			continue
		}
		state := strings.TrimSpace(cells[1])
		order = append(order, state)
		leads[state] = []string{}
		for to := range strings.SplitSeq(cells[3], ",") {
			if to = strings.TrimSpace(to); to != "" {
				leads[state] = append(leads[state], to)
			}
		}
	}
	return order, leads
}

// checked reads the CHECK list of a table's state out of the schema.
func checked(t *testing.T, l *Ledger, table string) []string {
	t.Helper()
	var ddl string
	check(t, l.reader.db.QueryRowContext(t.Context(), "SELECT sql FROM sqlite_schema WHERE name = ?", table).Scan(&ddl))
	m := regexp.MustCompile(`CHECK \((state = '\w+'(?: OR state = '\w+')+)\)`).FindStringSubmatch(ddl)
	if m == nil {
		t.Fatalf("table %s has no CHECK of its states", table)
	}
	var out []string
	for s := range strings.SplitSeq(m[1], " OR ") {
		out = append(out, strings.Trim(strings.TrimPrefix(s, "state = "), "'"))
	}
	return out
}

func asStrings[T ~string](in []T) []string {
	out := []string{}
	for _, s := range in {
		out = append(out, string(s))
	}
	return out
}

// The states are written down three times: in Go, in the schema and in
// docs/states.md. They must not drift apart.
func TestStatesAgree(t *testing.T) {
	l, _ := openTest(t)
	for _, c := range []struct {
		section, table string
		consts         []string
	}{
		{"Recordings", "recordings", asStrings(RecordingStates())},
		{"Documents", "documents", asStrings(DocumentStates())},
		{"Deliveries", "deliveries", asStrings(States())},
	} {
		order, _ := docTable(t, c.section)
		if diff := cmp.Diff(c.consts, order); diff != "" {
			t.Errorf("%s: constants and docs/states.md (-go +docs):\n%s", c.section, diff)
		}
		if diff := cmp.Diff(c.consts, checked(t, l, c.table)); diff != "" {
			t.Errorf("%s: constants and schema (-go +sql):\n%s", c.section, diff)
		}
	}
}

func TestMovesAgree(t *testing.T) {
	_, docs := docTable(t, "Deliveries")
	for _, from := range States() {
		for _, to := range States() {
			if in := slices.Contains(docs[string(from)], string(to)); in != CanMove(from, to) {
				t.Errorf("%s to %s: docs/states.md says %v, CanMove %v", from, to, in, !in)
			}
		}
	}
	_, docs = docTable(t, "Recordings")
	for _, from := range RecordingStates() {
		for _, to := range RecordingStates() {
			if in := slices.Contains(docs[string(from)], string(to)); in != canMoveRecording(from, to) {
				t.Errorf("%s to %s: docs/states.md says %v, the code %v", from, to, in, !in)
			}
		}
	}
}

// A tail that may be at the vendor must never be followed by another without
// a verdict: no way leads from committing or in_doubt to sending.
func TestNoShortWayBackFromTheGate(t *testing.T) {
	for _, from := range []State{Committing, InDoubt} {
		for _, to := range []State{Declaring, Sending, Committing} {
			if CanMove(from, to) {
				t.Errorf("%s leads to %s", from, to)
			}
		}
	}
	for _, s := range []State{Accepted, Confirmed, Duplicate} {
		for _, to := range []State{Planned, Declaring, Declared, Sending, Committing} {
			if CanMove(s, to) {
				t.Errorf("%s leads to %s", s, to)
			}
		}
	}
}

// goose does not notice when a migration that was released is edited, and
// says nothing when one forgets its version.
func TestPinnedMigrations(t *testing.T) {
	pins := map[string]string{
		"00001_init.sql":    "e796130699a3934f80d72681ce789ead047de048dc666b7436917503bb586083",
		"00002_restore.sql": "0351db8de41b5d3eacc50df591cc79388a88a19f06a7bb3fa9df9ff1329e3f54",
		"00003_confirm.sql": "84d5dd2542687e2e054799a87ad5c8211ccaadaf00f4dd85f3eeed9a73de4ee6",
		"00004_parts.sql":   "54c85debd6241a6f4229f67fb9d27950b758fc563473273bb4dacad17ac20906",
		"00005_changes.sql": "5429eba0526feed825ef69e54404a5c9fc9e396e27cfd974d1e0a0daaf135348",
	}
	s := must[schema](t)(programSchema())
	names := must[[]string](t)(fs.Glob(s.files, "*.sql"))
	if len(names) != len(pins) || s.version != len(names) {
		t.Errorf("%d migrations, %d pinned, the program knows version %d", len(names), len(pins), s.version)
	}
	for i, name := range names {
		text := string(must[[]byte](t)(fs.ReadFile(s.files, name)))
		if !strings.HasSuffix(strings.TrimSpace(text), fmt.Sprintf("PRAGMA user_version = %d;", i+1)) {
			t.Errorf("%s does not end with its user_version", name)
		}
		if sum := sumOf(text); sum != pins[name] {
			t.Errorf("%s has changed: ledgers that ran it would not notice; write a new migration (its hash is now %s)", name, sum)
		}
	}
}
