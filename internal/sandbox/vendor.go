package sandbox

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Vendor is a fake vendor: what every one of them can do.
type Vendor interface {
	// ServeHTTP answers as the vendor, or as the test view under /_sandbox/.
	http.Handler
	// SetFaults replaces the faults that are switched on.
	SetFaults(...Fault) error
	// Faults returns the switched-on faults with their counts.
	Faults() []FaultState
	// Requests returns the most recent requests, oldest first.
	Requests() []Request
	// Counters counts everything since the start.
	Counters() Counters
	// Stored returns every complete recording the vendor holds, in the order
	// of arrival.
	Stored() []Stored
	// Settings are the lines of a [[destination]] table, type included and
	// name left out, that reach this fake at base ("http://127.0.0.1:8085").
	// Secret is a reference to any secret text.
	Settings(base, secret string) []string
	// Close lets go of every request that a fault holds back.
	Close()
}

// Stored is one recording that arrived whole, whatever its client was told.
type Stored struct {
	// Key is what the client calls it: a CorrelationId, a file name, ...
	Key string `json:"key"`
	// ID is the vendor's own id.
	ID string `json:"id"`
	// Effect: the vendor will analyse it. Two effects of one recording are
	// what must never happen.
	Effect bool `json:"effect"`
	// State is the vendor's word for it, Reason why it has no effect.
	State      string    `json:"state"`
	Reason     string    `json:"reason,omitempty"`
	Bytes      int64     `json:"bytes"`
	SHA256     string    `json:"sha256"` // hex, of the media
	ReceivedAt time.Time `json:"received_at"`
}

// vendor is one entry of the list of fakes.
type vendor struct {
	name  string
	build func(Options) Vendor
}

// vendors lists the fakes: the place where a further one is added.
func vendors() []vendor {
	return []vendor{
		{"callminer", func(o Options) Vendor { return NewCallMiner(o) }},
		{"authenticx", func(o Options) Vendor { return NewAuthenticX(o) }},
		{"behavioralsignals", func(o Options) Vendor { return NewBehavioralSignals(o) }},
		{"behavioralsignals-legacy", func(o Options) Vendor { return NewBehavioralSignalsLegacy(o) }},
		{"elevateai", func(o Options) Vendor { return NewElevateAI(o) }},
		{"voyc", func(o Options) Vendor { return NewVoyc(o) }},
	}
}

// Vendors returns the names New knows.
func Vendors() []string {
	var names []string
	for _, v := range vendors() {
		names = append(names, v.name)
	}
	return names
}

// New makes the fake of a vendor by its name. Like the vendors' own
// constructors it panics when Options.Faults holds a fault that SetFaults
// would refuse.
func New(name string, o Options) (Vendor, error) {
	i := slices.IndexFunc(vendors(), func(v vendor) bool { return v.name == name })
	if i < 0 {
		return nil, fmt.Errorf("there is no fake %q; there are %s", name, strings.Join(Vendors(), ", "))
	}
	return vendors()[i].build(o), nil
}

// Counters counts everything since the start.
type Counters struct {
	Requests      int64                       `json:"requests"`
	InFlight      int64                       `json:"in_flight"`
	Routes        map[string]map[string]int64 `json:"routes"` // route -> status ("none": dropped) -> ended requests
	Bytes         int64                       `json:"bytes"`  // of request bodies
	RateLimited   int64                       `json:"rate_limited"`
	PeakPerMinute int                         `json:"peak_per_minute"`
	FaultsApplied int64                       `json:"faults_applied"`
}
