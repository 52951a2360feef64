package mapping_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ingestd/internal/call"
	"ingestd/internal/mapping"
)

func ptr[T any](v T) *T { return &v }

// fullItem has every field set.
func fullItem() call.Item {
	at := time.Date(2026, 11, 2, 14, 3, 17, 512e6, time.UTC)
	return call.Item{
		Call: call.Record{CallID: "c1", RecordingID: "r1", SegmentIndex: 2, SegmentCount: 3, Leg: "agent", StartedAt: at,
			CallStartedAt: at.Add(-26 * time.Second).Truncate(time.Second), EndedAt: at.Add(4 * time.Second), MetadataDurationSeconds: ptr(4.25),
			TimeZone: "America/Chicago", Direction: "inbound", AgentID: "a1", AgentName: "Dana Whitlock", AgentFirstName: "Dana", AgentLastName: "Whitlock",
			AgentExtension: "4101", AgentEmail: "dana@example.com", AgentTeam: "T1", CustomerPhone: "202-555-0143", CustomerPhoneE164: "+12025550143",
			CustomerName: "Doe", CustomerEmail: "doe@example.com", CustomerID: "k1", ANI: "202", DNIS: "800", Queue: "Sales", Campaign: "Autumn",
			Disposition: "Resolved", Language: "en-US", AgentChannel: ptr(0), CustomerChannel: ptr(1),
			Custom: map[string]any{"Department": "D", "score": 2.5, "vip": true, "big": int64(math.MaxInt64), "due": at}},
		Audio:    call.Audio{Container: "ogg", Codec: "opus", SampleRate: 48000, Channels: 2, DurationSeconds: 4.236, Ext: "ogg"},
		File:     call.File{Path: "a/b.opus", Name: "b.opus", Stem: "b", Ext: "opus", Bytes: 11463, SHA256: "f9d9", ModifiedAt: at},
		Delivery: call.Delivery{IdemKey: "k26", UUID: "u"},
	}
}

// TestEveryFieldIsVisible: each canonical name can be written in expressions,
// and prints as specified.
func TestEveryFieldIsVisible(t *testing.T) {
	want := map[string]string{
		"call.call_id": "c1", "call.recording_id": "r1", "call.segment_index": "2", "call.segment_count": "3", "call.leg": "agent",
		"call.started_at": "2026-11-02T14:03:17.512Z", "call.call_started_at": "2026-11-02T14:02:51Z", "call.ended_at": "2026-11-02T14:03:21.512Z",
		"call.metadata_duration_seconds": "4.25", "call.time_zone": "America/Chicago", "call.direction": "inbound",
		"call.agent_id": "a1", "call.agent_name": "Dana Whitlock", "call.agent_first_name": "Dana", "call.agent_last_name": "Whitlock",
		"call.agent_extension": "4101", "call.agent_email": "dana@example.com", "call.agent_team": "T1", "call.customer_phone": "202-555-0143",
		"call.customer_phone_e164": "+12025550143", "call.customer_name": "Doe", "call.customer_email": "doe@example.com", "call.customer_id": "k1",
		"call.ani": "202", "call.dnis": "800", "call.queue": "Sales", "call.campaign": "Autumn", "call.disposition": "Resolved", "call.language": "en-US",
		"call.agent_channel": "0", "call.customer_channel": "1", "call.custom.Department": "D", "call.custom.score": "2.5", "call.custom.vip": "true",
		"call.custom.big": "9223372036854775807", "call.custom.due": "2026-11-02T14:03:17.512Z",
		"audio.container": "ogg", "audio.codec": "opus", "audio.sample_rate": "48000", "audio.channels": "2", "audio.duration_seconds": "4.236", "audio.ext": "ogg",
		"file.path": "a/b.opus", "file.name": "b.opus", "file.stem": "b", "file.ext": "opus", "file.bytes": "11463", "file.sha256": "f9d9",
		"file.modified_at": "2026-11-02T14:03:17.512Z", "delivery.idem_key": "k26", "delivery.uuid": "u",
	}
	exprs := map[string]string{}
	for name := range want {
		exprs[name] = name
	}
	f, err := mapping.CompileFields(exprs)
	if err != nil {
		t.Fatal(err)
	}
	got, err := f.Eval(fullItem())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	// Of an empty item nothing is left but the texts that can be empty.
	got, err = f.Eval(call.Item{})
	if err != nil {
		t.Fatal(err)
	}
	empty := map[string]string{"file.path": "", "file.name": "", "file.stem": "", "file.ext": "", "file.bytes": "0", "file.sha256": "", "delivery.idem_key": "", "delivery.uuid": ""}
	if diff := cmp.Diff(empty, got); diff != "" {
		t.Errorf("empty item: -want +got:\n%s", diff)
	}
}

func TestFieldsEval(t *testing.T) {
	f, err := mapping.CompileFields(map[string]string{
		"Absent":   `call.agent_team`,
		"Off":      `""`,
		"Fallback": `call.agent_team ?? call.queue ?? "none"`,
		"Constant": `"x"`,
		"Choice":   `call.direction == "inbound" ? call.ani : call.dnis`,
		"Local":    `call.started_at.In(timezone("America/Chicago")).Format("01/02/2006 15:04:05")`,
		"Text":     `"at " + string(call.started_at)`,
		"Whole":    `call.metadata_duration_seconds * 1000`,
		"Kept":     ` "  spaces " `,
		"Phone":    `phone(call.customer_phone, "US")`,
		"Deep":     `call.custom.none.at.all`,
	})
	if err != nil {
		t.Fatal(err)
	}
	item := fullItem()
	item.Call.AgentTeam = ""
	got, err := f.Eval(item)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"Off": "", "Fallback": "Sales", "Constant": "x", "Choice": "202", "Local": "11/02/2026 08:03:17",
		"Text": "at 2026-11-02T14:03:17.512Z", "Whole": "4250", "Kept": "  spaces ", "Phone": "+12025550143"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestFieldsErrors(t *testing.T) {
	for expression, code := range map[string]string{
		`call.custom`:                     "bad_value",
		`[call.queue]`:                    "bad_value",
		`1 / 0`:                           "bad_number",
		`call.agent_team + "x"`:           "bad_expression",
		`call.started_at + "x"`:           "bad_expression",
		`join(map(1..70000, "x"))`:        "bad_value",
		`time("2026-11-02 10:00:00")`:     "bad_time", // destinations have no zone of their own
		`call.agent_team.Format("15:04")`: "bad_expression",
	} {
		f, err := mapping.CompileFields(map[string]string{"X": expression})
		if err != nil {
			t.Fatalf("%s: %v", expression, err)
		}
		item := fullItem()
		item.Call.AgentTeam = ""
		_, err = f.Eval(item)
		if err == nil {
			t.Fatalf("%s: no error", expression)
		}
		wantFieldError(t, err, "fields.X", code)
	}
}

func TestText(t *testing.T) {
	for expression, want := range map[string]string{
		`delivery.uuid`:                          "u",
		`call.agent_team`:                        "",
		`join([call.call_id, call.custom.none])`: "c1",
		`call.agent_channel`:                     "0",
	} {
		text, err := mapping.CompileText("correlation_id", expression)
		if err != nil {
			t.Fatal(err)
		}
		item := fullItem()
		item.Call.AgentTeam = ""
		if got, err := text.Eval(item); got != want || err != nil {
			t.Errorf("%s = %q, %v, want %q", expression, got, err, want)
		}
	}
	text, err := mapping.CompileText("correlation_id", `call.custom`)
	if err != nil {
		t.Fatal(err)
	}
	_, err = text.Eval(fullItem())
	fe := wantFieldError(t, err, "correlation_id", "bad_value")
	if !strings.HasSuffix(fe.Error(), "(bad_value)") {
		t.Errorf("message %q does not end with the code", fe.Error())
	}
}
