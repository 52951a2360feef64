package status_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ingestd/internal/call"
	"ingestd/internal/ledger"
	"ingestd/internal/ledger/ledgertest"
	"ingestd/internal/status"
)

var epoch = time.Date(2025, 1, 2, 10, 0, 0, 0, time.UTC)

// What others may write into a path, a call or an answer. None of it may run,
// deceive or leak.
const (
	hostile = "<script>document.title='owned'</script>\u202e\x1b[31m\u009b31m"
	canary  = "Zebedee"
	phone   = "+13125550188"
)

// scene is a ledger in which something needs a person and something failed.
// Its clock stands at epoch; the handler's is an hour later.
type scene struct {
	*ledger.Ledger
	path string
	ids  []int64 // recordings
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{path: filepath.Join(t.TempDir(), "ledger.db")}
	s.Ledger = ledgertest.OpenAt(t, s.path, func() time.Time { return epoch })
	s.ids = ledgertest.Seed(t, s.Ledger,
		ledgertest.Recording{Source: "genesys", Path: canary + "_" + phone + ".wav", Call: call.Record{CallID: "call-1", AgentName: canary, CustomerPhone: phone},
			States: map[string]ledger.State{"alpha": ledger.Accepted, "beta": ledger.Planned}},
		ledgertest.Recording{Source: "genesys", Path: hostile + ".wav", Call: call.Record{CallID: "call-2"}, States: map[string]ledger.State{"alpha": ledger.Planned}},
		ledgertest.Recording{Source: "nice", Path: "doubt.wav", Call: call.Record{CallID: "call-3"}, States: map[string]ledger.State{"alpha": ledger.InDoubt}},
	)
	s.move(t, "beta", s.ids[0], ledger.Step{From: ledger.Planned, To: ledger.Planned, Class: "not_sent", Reason: "no_network", Text: hostile, NextAttempt: epoch.Add(time.Minute)})
	s.move(t, "alpha", s.ids[1], ledger.Step{From: ledger.Planned, To: ledger.Held, Class: "auth", HTTPStatus: 403, Reason: "auth", Text: "the vendor refused the secret"})
	s.quarantine(t, "nice", "text.wav", "not_audio")
	s.quarantine(t, "nice", "more.wav", "not_audio")
	return s
}

func (s *scene) move(t *testing.T, destination string, recording int64, step ledger.Step) {
	t.Helper()
	for _, source := range []string{"genesys", "nice"} {
		due, err := s.DueDeliveries(t.Context(), destination, source, epoch.Add(time.Hour), 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range due {
			if d.RecordingID == recording {
				if _, err := s.Move(t.Context(), d.ID, d.Ver, step); err != nil {
					t.Fatal(err)
				}
				return
			}
		}
	}
	t.Fatalf("recording %d has nothing due at %s", recording, destination)
}

func (s *scene) quarantine(t *testing.T, source, path, reason string) {
	t.Helper()
	look := ledger.Look{Since: epoch, Looks: 1, Identity: ledger.Identity{Dev: 1, Ino: uint64(len(path)), Size: 10}}
	seen := ledger.Seen{Source: source, Path: path, Look: look, State: ledger.Quarantined, Reason: reason, ReasonText: "it is text"}
	if err := s.SeeRecordings(t.Context(), []ledger.Seen{seen}); err != nil {
		t.Fatal(err)
	}
}

// reader opens a reader that the test may close.
func (s *scene) reader(t *testing.T) *ledger.Reader {
	t.Helper()
	r, err := ledger.OpenReader(t.Context(), s.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func (s *scene) options() status.Options {
	now := func() time.Time { return epoch.Add(time.Hour) }
	return status.Options{Reader: s.Reader(), Version: "1.2.3", Now: now, LastBeat: now, StuckAfter: time.Minute,
		Health: func() []status.SourceHealth {
			return []status.SourceHealth{
				{Name: "genesys", Mode: "events", LastScan: epoch},
				{Name: "nice", Mode: "poll", Why: "nfs gives no events", LastScan: epoch},
				{Name: "lost", Lost: "/mnt/drop is not there <b>"},
			}
		}}
}

// rows is what the ledger itself lists.
func (s *scene) rows(t *testing.T, f ledger.Filter) []ledger.Row {
	t.Helper()
	var out []ledger.Row
	if err := s.Reader().List(t.Context(), f, func(r ledger.Row) error { out = append(out, r); return nil }); err != nil {
		t.Fatal(err)
	}
	return out
}

// answer is one answer of the handler, whole.
type answer struct {
	code   int
	header http.Header
	body   string
}

// get asks the handler without a network.
func get(t *testing.T, h http.Handler, target string, headers ...string) answer {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	r.Host = "localhost:9780"
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return answer{w.Code, w.Result().Header, w.Body.String()}
}

// fetch asks over the network.
func fetch(ctx context.Context, method, address string) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return answer{}, err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(body)}, err
}

func wantCode(t *testing.T, what string, a answer, code int, part string) {
	t.Helper()
	if a.code != code || !strings.Contains(a.body, part) {
		t.Errorf("%s: %d %q, want %d with %q", what, a.code, a.body, code, part)
	}
}
