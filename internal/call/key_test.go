package call_test

import (
	"crypto/sha256"
	"regexp"
	"testing"

	"ingestd/internal/call"
)

func TestBusinessKey(t *testing.T) {
	tests := []struct {
		name  string
		r     call.Record
		key   string
		named bool
	}{
		{"recording id", call.Record{RecordingID: "r1", CallID: "c1", SegmentIndex: 2}, "recording:r1", true},
		{"recording id of a leg", call.Record{RecordingID: "r1", CallID: "c1", SegmentIndex: 2, Leg: call.LegAgent}, "recording:r1/agent", true},
		{"call id", call.Record{CallID: "c1"}, "call:c1/0/", true},
		{"segment and leg", call.Record{CallID: "c1", SegmentIndex: 2, Leg: call.LegCustomer}, "call:c1/2/customer", true},
		{"path", call.Record{AgentID: "a"}, "path:src/a/b.wav", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if key, named := tt.r.BusinessKey("src", "a/b.wav"); key != tt.key || named != tt.named {
				t.Errorf("got %q, %v, want %q, %v", key, named, tt.key, tt.named)
			}
		})
	}
}

// TestNewDeliveryIsForEver pins two keys. If this test fails, every recording
// that was ever delivered would be delivered again after an upgrade.
func TestNewDeliveryIsForEver(t *testing.T) {
	got := call.NewDelivery("callminer", "recording:r1", sha256.Sum256([]byte("content")))
	want := call.Delivery{IdemKey: "6b5t77uosaxampguqaj2ozk63i", UUID: "9752acd1-f640-5a7b-b5bd-0077c72ee222"}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if again := call.DeliveryOf(got.IdemKey); again != got {
		t.Errorf("restored %+v, want %+v", again, got)
	}
}

// TestNewDeliveryTellsApart: each part counts, and no two parts run together.
func TestNewDeliveryTellsApart(t *testing.T) {
	a, b := sha256.Sum256([]byte("a")), sha256.Sum256([]byte("b"))
	seen := map[string]string{}
	for name, d := range map[string]call.Delivery{
		"base":              call.NewDelivery("one", "recording:r", a),
		"other destination": call.NewDelivery("two", "recording:r", a),
		"other key":         call.NewDelivery("one", "recording:s", a),
		"other content":     call.NewDelivery("one", "recording:r", b),
		"shifted boundary":  call.NewDelivery("onerec", "ording:r", a),
		"shifted back":      call.NewDelivery("on", "erecording:r", a),
		"empty":             call.NewDelivery("", "", a),
	} {
		for _, id := range []string{d.IdemKey, d.UUID} {
			if other, dup := seen[id]; dup {
				t.Errorf("%s and %s share %s", name, other, id)
			}
			seen[id] = name
		}
		if !regexp.MustCompile(`^[a-z2-7]{26}$`).MatchString(d.IdemKey) {
			t.Errorf("%s: key %q", name, d.IdemKey)
		}
		if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(d.UUID) {
			t.Errorf("%s: uuid %q is no version 5", name, d.UUID)
		}
	}
}
