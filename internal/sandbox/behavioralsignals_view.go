package sandbox

import (
	"cmp"
	"iter"
	"strconv"
)

// BehavioralSummary counts everything since the start.
type BehavioralSummary struct {
	Processes int   `json:"processes"` // also of other clients
	Uploads   int64 `json:"uploads"`   // whole ones
	Credits   int64 `json:"credits"`   // spent on them: one each
	Counters
}

// Processes returns all processes in order of insertion.
func (v *BehavioralSignals) Processes() []Process {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := make([]Process, len(v.processes))
	for i, p := range v.processes {
		out[i] = *p
	}
	return out
}

// Summary returns the counters.
func (v *BehavioralSignals) Summary() BehavioralSummary {
	s := BehavioralSummary{Counters: v.Counters()}
	v.mu.Lock()
	defer v.mu.Unlock()
	s.Processes, s.Uploads, s.Credits = len(v.processes), v.uploads, v.uploads
	return s
}

// Stored returns the uploads as every vendor's recordings are shown. Each has
// an effect: nothing is compared, and each is charged.
func (v *BehavioralSignals) Stored() []Stored {
	out := []Stored{}
	for _, p := range v.Processes() {
		if !p.Others {
			out = append(out, v.stored(&p))
		}
	}
	return out
}

func (v *BehavioralSignals) stored(p *Process) Stored {
	s := Stored{
		ID: strconv.FormatInt(p.PID, 10), Effect: true, State: "process",
		Bytes: p.Bytes, SHA256: p.SHA256, ReceivedAt: p.InsertedAt,
	}
	if p.Name != nil {
		s.Key = *p.Name
	}
	return s
}

// Settings are the lines of a destination that reaches this fake.
func (v *BehavioralSignals) Settings(base, secret string) []string {
	lines := []string{
		`type = "behavioralsignals"`,
		`api = "v5"`,
		`base_url = "` + base + v.base + `"`,
		`client = "` + cmp.Or(v.o.ClientID, "4711") + `"`,
		`token = "` + secret + `"`,
	}
	if v.legacy {
		lines[1] = `api = "legacy"`
		// The older API has no value for internal calls.
		lines = append(lines, `fields.calldirection = '{"inbound": "1", "outbound": "2"}[call.direction] ?? "1"'`)
	}
	return lines
}

// lists are the line-per-object lists of the view.
func (v *BehavioralSignals) lists() map[string]iter.Seq[any] {
	return map[string]iter.Seq[any]{
		"processes": anySeq(v.Processes),
		"stored":    anySeq(v.Stored),
		"requests":  anySeq(v.Requests),
	}
}
