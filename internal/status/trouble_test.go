package status_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"ingestd/internal/ledger"
	"ingestd/internal/status"
)

// A ledger that takes no new work is not ready, but alive; metrics name the
// reason.
func TestLedgerTrouble(t *testing.T) {
	health := ledger.Health{FreeBytes: 1 << 20, WALBytes: 2 << 20, CheckedAt: epoch}
	h := status.New(status.Options{Reader: emptyReader(t), Now: func() time.Time { return epoch }, Ledger: func() ledger.Health { return health }})
	get := func(path string) (int, string) {
		t.Helper()
		r := httptest.NewRequest("GET", "http://localhost"+path, nil)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	for _, tt := range []struct {
		trouble *ledger.Trouble
		ready   int
		metric  string
	}{
		{nil, 200, `ingestd_ledger_trouble{code="full"} 0`},
		{&ledger.Trouble{Code: ledger.TroubleFull, Text: "the disk is full", Hint: "make room"}, 503, `ingestd_ledger_trouble{code="full"} 1`},
	} {
		health.Trouble = tt.trouble
		if code, body := get("/readyz"); code != tt.ready || tt.trouble != nil && (!strings.Contains(body, "degraded: the disk is full") || !strings.Contains(body, "make room")) {
			t.Errorf("%+v: readyz %d %q", tt.trouble, code, body)
		}
		if code, _ := get("/healthz"); code != 200 {
			t.Errorf("%+v: healthz %d", tt.trouble, code)
		}
		_, body := get("/metrics")
		for _, want := range []string{tt.metric, "ingestd_ledger_free_bytes 1.048576e+06", "ingestd_ledger_wal_bytes 2.097152e+06", "ingestd_ledger_checked_timestamp_seconds 1.7358"} {
			if !strings.Contains(body, want) {
				t.Errorf("%+v: no %s", tt.trouble, want)
			}
		}
	}
}
