package pipeline_test

import (
	"maps"
	"os"
	"path/filepath"
	"testing/synctest"
	"time"

	"ingestd/internal/ledger"
	"ingestd/internal/pipeline"
	"ingestd/internal/senders"
)

// twoDestinations adds a destination "b" beside "vendor".
func twoDestinations(b *vendor) func(*pipeline.Options) {
	return func(o *pipeline.Options) {
		d := o.Destinations[0]
		d.Name, d.Sender = "b", b
		d.Lane = senders.NewLane(senders.Rate{Unlimited: true}, time.Now)
		o.Destinations = append(o.Destinations, d)
		o.Sources[0].Destinations = []string{"vendor", "b"}
	}
}

// touch changes the modification time alone, as `rsync -t` does.
func (r *rig) touch(rel string) {
	now := time.Now()
	if err := os.Chtimes(filepath.Join(r.dir, rel), now, now); err != nil {
		r.t.Error(err)
	}
}

func (r *rig) remove(rel string) {
	r.t.Helper()
	if err := os.Remove(filepath.Join(r.dir, rel)); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) all() (out []ledger.Row) {
	r.t.Helper()
	err := r.led.Reader().List(r.t.Context(), ledger.Filter{}, func(row ledger.Row) error {
		out = append(out, row)
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

// last is where the newest recording of a path stands, by destination; one
// without deliveries stands under "".
func (r *rig) last(path string) map[string]string {
	r.t.Helper()
	out, newest := map[string]string{}, int64(0)
	for _, row := range r.all() {
		if row.Path != path {
			continue
		}
		if row.ID != newest {
			newest = row.ID
			clear(out)
		}
		destination, state := "", row.State
		if row.Destination != nil {
			destination = *row.Destination
		}
		if row.Reason != nil {
			state += "(" + *row.Reason + ")"
		}
		out[destination] = state
	}
	return out
}

func (r *rig) want(path string, want map[string]string) {
	r.t.Helper()
	synctest.Wait()
	if got := r.last(path); !maps.Equal(got, want) {
		r.t.Errorf("%s: %v, want %v", path, got, want)
	}
}

// contents counts the different files that recordings of a path were.
func (r *rig) contents(path string) int {
	r.t.Helper()
	sums := map[string]struct{}{}
	for _, row := range r.all() {
		if row.Path == path && row.SHA256 != nil {
			sums[*row.SHA256] = struct{}{}
		}
	}
	return len(sums)
}

// retry orders what is held or refused, one delivery, to be sent again.
func (r *rig) retry() {
	r.t.Helper()
	var ids []int64
	for _, row := range r.all() {
		if row.State == "held" || row.State == "rejected" {
			ids = append(ids, *row.DeliveryID)
		}
	}
	path := filepath.Join(r.dir, "ledger.db")
	id, _, err := ledger.Order(r.t.Context(), path, ledger.NewOrder{Kind: "retry", DeliveryIDs: ids, By: "the test"})
	if err != nil {
		r.t.Fatal(err)
	}
	time.Sleep(5 * time.Second)
	applied, result, err := ledger.OrderState(r.t.Context(), path, id)
	if err != nil || !applied || result != "applied to 1" {
		r.t.Errorf("retry: applied %v, %q, %v", applied, result, err)
	}
}

// noneStranded: what a recording whose file is gone still owes could neither
// be sent nor retried.
func (r *rig) noneStranded() {
	r.t.Helper()
	shown, err := r.led.Reader().Show(r.t.Context(), "x.wav")
	if err != nil {
		r.t.Fatal(err)
	}
	for _, s := range shown {
		for _, d := range s.Deliveries {
			switch ledger.State(d.State) {
			case ledger.Accepted, ledger.Confirmed, ledger.Duplicate, ledger.Cancelled:
			default:
				if s.Recording.State == string(ledger.Vanished) {
					r.t.Errorf("recording %d is gone and its delivery to %s is %s", s.Recording.ID, *d.Destination, d.State)
				}
			}
		}
	}
}
