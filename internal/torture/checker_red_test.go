package torture

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"
)

// The checker is worth what it finds: every row breaks a sound end in one way
// that it must name.
func TestCheckerFindsWhatIsBroken(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, want string
		spoil      func(t *testing.T, s *site)
	}{
		{"nothing", "", func(*testing.T, *site) {}},
		{"the archived file is gone", "is gone", func(t *testing.T, s *site) {
			must(t, os.Remove(s.path("archive", "call0000.wav")))
		}},
		{"the archived file has other bytes", "in the archive with other bytes", func(t *testing.T, s *site) {
			must(t, os.WriteFile(s.path("archive", "call0000.wav"), []byte("other"), 0o600))
		}},
		{"a moved file is not where its row says", "not where it was moved to", func(t *testing.T, s *site) {
			must(t, os.Rename(s.path("archive", "call0000.wav"), s.path("archive", "other.wav")))
		}},
		{"an accepted file is still in the drop directory", "accepted and not in the archive", func(t *testing.T, s *site) {
			must(t, os.Rename(s.path("archive", "call0000.wav"), s.path("drop", "call0000.wav")))
		}},
		{"a recording was archived and never sent", "the vendor never got it", func(t *testing.T, s *site) {
			must(t, s.drop(rand.New(rand.NewPCG(9, 9))))
			must(t, os.Rename(s.path("drop", "call0003.wav"), s.path("archive", "call0003.wav")))
		}},
		{"a recording was overlooked", "neither accepted nor kept", func(t *testing.T, s *site) {
			must(t, s.drop(rand.New(rand.NewPCG(9, 9))))
		}},
		{"the vendor has bytes of nobody", "bytes that no recording had", func(_ *testing.T, s *site) {
			s.all[0].sha256 = strings.Repeat("0", 64)
		}},
		{"another correlation id", "must always be", func(_ *testing.T, s *site) {
			s.all[0].correlation = "other"
		}},
		{"media was posted twice", "got 2 media posts", postAgain},
		{"the history is of another ledger", "sessions, the ledger has 0 events declaring", func(t *testing.T, s *site) {
			other := newSite(t, t.TempDir(), rand.New(rand.NewPCG(1, 1)))
			other.once(t)
			must(t, os.RemoveAll(s.path("state")))
			must(t, os.Rename(other.path("state"), s.path("state")))
		}},
		{"the ledger is damaged", "ledger", func(t *testing.T, s *site) {
			raw, err := os.ReadFile(s.path("state", "ledger.db"))
			must(t, err)
			for i := 4096; i < len(raw); i += 512 {
				raw[i] ^= 0xff
			}
			must(t, os.WriteFile(s.path("state", "ledger.db"), raw, 0o600))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(5, 5))
			s := newSite(t, t.TempDir(), rnd)
			for range dropped {
				must(t, s.drop(rnd))
			}
			if out := s.once(t); out.code != 0 {
				t.Fatalf("exit %d\n%s", out.code, out.output)
			}
			tt.spoil(t, s)
			found := strings.Join(s.checkEnd(t.Context(), exempt{}).violations, "\n")
			if tt.want == "" && found != "" || !strings.Contains(found, tt.want) {
				t.Errorf("it finds %q, want %q", found, tt.want)
			}
		})
	}
}

// What was dropped after the power went may be lost, and only that.
func TestExempt(t *testing.T) {
	cut := time.Now()
	e := exempt{from: cut, to: cut.Add(time.Second)}
	for _, tt := range []struct {
		name    string
		durable time.Time
		want    bool
	}{
		{"never", time.Time{}, false},
		{"before", cut.Add(-1), true},
		{"after", cut.Add(1), false},
	} {
		if got := e.mustSurvive(&recording{durable: tt.durable}); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
	if (exempt{}).holds(cut) || !e.holds(cut) || e.holds(cut.Add(-1)) {
		t.Error("holds is wrong")
	}
}

// postAgain is the mistake that spoils a contact at this vendor.
func postAgain(t *testing.T, s *site) {
	srv := httptest.NewServer(s.vendor)
	defer srv.Close()
	res, err := http.PostForm(srv.URL+"/connect/token", url.Values{
		"grant_type": {"client_credentials"}, "scope": {"https://callminer.net/auth/platform-ingestion"}, "client_id": {"id"}, "client_secret": {"secret"},
	})
	must(t, err)
	defer res.Body.Close()
	var token struct {
		Value string `json:"access_token"`
	}
	must(t, json.NewDecoder(res.Body).Decode(&token))
	raw, err := os.ReadFile(s.path("archive", "call0000.wav"))
	must(t, err)
	for _, session := range s.vendor.Sessions() {
		if session.CorrelationID != s.all[0].correlation {
			continue
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+"/ingestion/api/media/"+session.SessionID, bytes.NewReader(raw))
		must(t, err)
		req.Header.Set("Authorization", "Bearer "+token.Value)
		req.Header.Set("Content-Type", session.MediaType)
		again, err := http.DefaultClient.Do(req)
		must(t, err)
		again.Body.Close()
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
