package status_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ingestd/internal/ledger"
	"ingestd/internal/status"
)

const goldenMetrics = `
ingestd_last_progress_timestamp_seconds 1.7358156e+09
ingestd_ledger_up 1
ingestd_needs_person{reason="auth"} 1
ingestd_needs_person{reason="not_audio"} 2
ingestd_oldest_pending_age_seconds 3600
ingestd_source_last_scan_timestamp_seconds{source="genesys"} 1.735812e+09
ingestd_source_last_scan_timestamp_seconds{source="nice"} 1.735812e+09
ingestd_source_mode{mode="events",source="genesys"} 1
ingestd_source_mode{mode="events",source="lost"} 0
ingestd_source_mode{mode="events",source="nice"} 0
ingestd_source_mode{mode="poll",source="genesys"} 0
ingestd_source_mode{mode="poll",source="lost"} 0
ingestd_source_mode{mode="poll",source="nice"} 1
ingestd_source_up{source="genesys"} 1
ingestd_source_up{source="lost"} 0
ingestd_source_up{source="nice"} 1
`

// ours are the samples of ingestd whose value is not zero or whose name is not
// one of the two tables of states.
func ours(body string) (samples, table string) {
	for line := range strings.Lines(body) {
		switch {
		case strings.HasPrefix(line, "ingestd_build_info"):
		case strings.HasPrefix(line, "ingestd_recordings"), strings.HasPrefix(line, "ingestd_deliveries"):
			table += line
		case strings.HasPrefix(line, "ingestd_"):
			samples += line
		}
	}
	return "\n" + samples, table
}

func TestMetrics(t *testing.T) {
	s := newScene(t)
	a := get(t, status.New(s.options()), "/metrics")
	samples, table := ours(a.body)
	if diff := cmp.Diff(goldenMetrics, samples); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
	want := map[string]int{`recordings{source="genesys",state="ready"}`: 2, `recordings{source="nice",state="ready"}`: 1, `recordings{source="nice",state="quarantined"}`: 2,
		`deliveries{destination="alpha",state="accepted"}`: 1, `deliveries{destination="alpha",state="held"}`: 1, `deliveries{destination="alpha",state="in_doubt"}`: 1,
		`deliveries{destination="beta",state="planned"}`: 1}
	// Every state is there, also at zero: a rate needs a first sample.
	for _, source := range []string{"genesys", "nice"} {
		for _, state := range ledger.RecordingStates() {
			want[fmt.Sprintf("recordings{source=%q,state=%q}", source, state)] += 0
		}
	}
	for _, destination := range []string{"alpha", "beta"} {
		for _, state := range ledger.States() {
			want[fmt.Sprintf("deliveries{destination=%q,state=%q}", destination, state)] += 0
		}
	}
	if n := strings.Count(table, "\n"); n != len(want) {
		t.Errorf("%d series of states, want %d:\n%s", n, len(want), table)
	}
	for series, n := range want {
		if !strings.Contains(table, fmt.Sprintf("ingestd_%s %d\n", series, n)) {
			t.Errorf("no %s %d in\n%s", series, n, table)
		}
	}
	for _, part := range []string{`ingestd_build_info{goversion="go1.`, `version="1.2.3"} 1`, "go_goroutines ", "process_resident_memory_bytes "} {
		if !strings.Contains(a.body, part) {
			t.Errorf("no %s", part)
		}
	}
	for _, private := range []string{canary, phone, "call-1", ".wav", "<script", "not there", "nfs"} {
		if strings.Contains(a.body, private) {
			t.Errorf("metrics tell %q", private)
		}
	}
}

// A reason that is no code is counted, but its text makes no series, and the
// number of series has an end.
func TestMetricsAreBounded(t *testing.T) {
	s := newScene(t)
	s.quarantine(t, "nice", "a.wav", canary+" said so")
	s.quarantine(t, "nice", "b.wav", "Not A Code")
	for i := range 120 {
		s.quarantine(t, "nice", fmt.Sprintf("%d.wav", i), fmt.Sprintf("code_%03d", i))
	}
	body := get(t, status.New(s.options()), "/metrics").body
	// 124 reasons: 100 labels of which one is "other", or one more.
	n := strings.Count(body, "ingestd_needs_person{")
	if n < 100 || n > 101 || strings.Contains(body, canary) {
		t.Errorf("%d series of reasons", n)
	}
	total := 0
	for line := range strings.Lines(body) {
		var v int
		if _, after, ok := strings.Cut(line, "} "); ok && strings.HasPrefix(line, "ingestd_needs_person{") {
			if _, err := fmt.Sscan(after, &v); err != nil {
				t.Fatal(err)
			}
			total += v
		}
	}
	if total != 125 {
		t.Errorf("%d need a person, want 125", total)
	}
}
