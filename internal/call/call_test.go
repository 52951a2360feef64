package call_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ingestd/internal/call"
)

// TestNames pins the JSON names: operators script against them, and they are
// the names of [source.call].
func TestNames(t *testing.T) {
	want := map[string]string{
		"Record": "call_id recording_id segment_index segment_count leg started_at call_started_at ended_at metadata_duration_seconds time_zone direction " +
			"agent_id agent_name agent_first_name agent_last_name agent_extension agent_email agent_team customer_phone customer_phone_e164 " +
			"customer_name customer_email customer_id ani dnis queue campaign disposition language agent_channel customer_channel custom raw",
		"Audio":    "container codec sample_rate channels duration_seconds ext video",
		"File":     "path name stem ext bytes sha256 modified_at",
		"Delivery": "idem_key uuid",
	}
	for _, v := range []any{call.Record{}, call.Audio{}, call.File{}, call.Delivery{}} {
		typ := reflect.TypeOf(v)
		var names []string
		for i := range typ.NumField() {
			name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			names = append(names, name)
		}
		if diff := cmp.Diff(want[typ.Name()], strings.Join(names, " ")); diff != "" {
			t.Errorf("%s: -want +got:\n%s", typ.Name(), diff)
		}
	}
}

// TestAbsent: unset is left out, a stated zero is not.
func TestAbsent(t *testing.T) {
	for name, v := range map[string]any{"record": call.Record{}, "audio": call.Audio{}} {
		if text, err := json.Marshal(v); err != nil || string(text) != "{}" {
			t.Errorf("empty %s = %s, %v", name, text, err)
		}
	}
	zero, seconds := 0, 0.0
	text, err := json.Marshal(call.Record{AgentChannel: &zero, MetadataDurationSeconds: &seconds})
	if want := `{"metadata_duration_seconds":0,"agent_channel":0}`; err != nil || string(text) != want {
		t.Errorf("zeros = %s, %v, want %s", text, err, want)
	}
}

// TestRoundTrip: a stored record comes back as it was.
func TestRoundTrip(t *testing.T) {
	one, length := 1, 4.236
	at := time.Date(2026, 11, 2, 14, 3, 17, 512e6, time.UTC)
	in := call.Record{CallID: "c", RecordingID: "r", SegmentIndex: 1, StartedAt: at, EndedAt: at.Add(time.Second), Direction: call.Inbound,
		MetadataDurationSeconds: &length, AgentChannel: &one, AgentName: "José Núñez", Custom: map[string]any{"Dept": "D", "vip": true, "score": 2.5},
		Raw: map[string]string{"started_at": "2026-11-02T14:03:17.512Z"}}
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out call.Record
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(in, out); diff != "" {
		t.Errorf("-in +out:\n%s", diff)
	}
}
