package pipeline_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/internal/mapping"
	"ingestd/internal/pipeline"
)

// withCopies is a source that keeps a recording as WAV, MP3 and OGG, best
// first, and names it in its sidecar.
func withCopies(t *testing.T, wait time.Duration) func(*pipeline.Options) {
	return func(o *pipeline.Options) {
		s := &o.Sources[0]
		s.Copies = []string{"**/*.wav", "**/*.mp3", "**/*.ogg"}
		s.Include, s.WaitForCopy = s.Copies, wait
		var err error
		s.Mapping, err = mapping.CompileSource(mapping.SourceConfig{Sidecars: []mapping.SidecarExprs{{Name: "sidecar"}},
			Call: map[string]string{"started_at": `time("2026-11-02T10:00:00Z")`, "direction": `"inbound"`,
				"call_id": "sidecar.call_id", "recording_id": "sidecar.call_id"}})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// dropAs drops a recording under a name with another extension.
func (r *rig) dropAs(name string, seed byte) {
	r.t.Helper()
	r.drop("drop", "x", seed, "")
	r.rename("drop/x.wav", "drop/"+name)
}

// Which of several copies is sent does not depend on when they, their metadata
// or the program come, as long as none was sent.
func TestCopies(t *testing.T) {
	const wait = 10 * time.Minute
	best := map[string]string{"c.wav": "accepted", "c.mp3": "skipped(copy)", "c.ogg": "skipped(copy)"}
	for name, c := range map[string]struct {
		wait time.Duration
		play func(r *rig)
		want map[string]string // the best of them all, if nil
	}{
		"the metadata comes long after the files": {wait, func(r *rig) {
			r.dropAs("c.ogg", 3)
			r.dropAs("c.mp3", 2)
			r.dropAs("c.wav", 1)
			time.Sleep(2 * time.Hour)
			r.write("drop/c.json", []byte(meta("1")))
		}, nil},
		"nobody waits for copies": {0, func(r *rig) {
			r.opt.Destinations[0].Lane.Pause(time.Now().Add(time.Hour), "later")
			r.dropAs("c.ogg", 3)
			r.dropAs("c.mp3", 2)
			r.dropAs("c.wav", 1)
			r.write("drop/c.json", []byte(meta("1")))
		}, nil},
		"the best one comes within the wait": {wait, func(r *rig) {
			r.write("drop/c.json", []byte(meta("1")))
			r.dropAs("c.ogg", 3)
			r.dropAs("c.mp3", 2)
			time.Sleep(4 * time.Minute)
			r.dropAs("c.wav", 1)
		}, nil},
		"the waits of two end while the program is away": {wait, func(r *rig) {
			r.write("drop/c.json", []byte(meta("1")))
			r.dropAs("c.ogg", 3)
			r.dropAs("c.mp3", 2)
			time.Sleep(5 * time.Minute)
			r.end()
			time.Sleep(time.Hour)
			r.start()
		}, map[string]string{"c.mp3": "accepted", "c.ogg": "skipped(copy)"}},
		"the best one comes while the program is away": {wait, func(r *rig) {
			r.write("drop/c.json", []byte(meta("1")))
			r.dropAs("c.ogg", 3)
			r.dropAs("c.mp3", 2)
			time.Sleep(5 * time.Minute)
			r.end()
			r.dropAs("c.wav", 1)
			time.Sleep(time.Hour)
			r.start()
		}, nil},
		"the best one comes too late, and nothing was sent": {wait, func(r *rig) {
			r.opt.Destinations[0].Lane.Pause(time.Now().Add(2*time.Hour), "later")
			r.write("drop/c.json", []byte(meta("1")))
			r.dropAs("c.ogg", 3)
			time.Sleep(30 * time.Minute)
			r.dropAs("c.mp3", 2)
			time.Sleep(30 * time.Minute)
			r.dropAs("c.wav", 1)
		}, nil},
		"the recordings are numbered": {wait, func(r *rig) {
			r.end()
			r.opt.Sources[0].NumberSegments = true
			r.start()
			r.dropAs("c.ogg", 3)
			r.dropAs("c.mp3", 2)
			time.Sleep(2 * time.Hour)
			r.write("drop/c.json", []byte(meta("1")))
		}, map[string]string{"c.mp3": "accepted", "c.ogg": "skipped(copy)"}},
		"the best one comes when another was sent": {wait, func(r *rig) {
			r.write("drop/c.json", []byte(meta("1")))
			r.dropAs("c.mp3", 2)
			time.Sleep(30 * time.Minute)
			r.dropAs("c.wav", 1)
		}, map[string]string{"c.mp3": "accepted", "c.wav": "skipped(copy)"}},
		"a lesser one comes later": {wait, func(r *rig) {
			r.opt.Destinations[0].Lane.Pause(time.Now().Add(2*time.Hour), "later")
			r.write("drop/c.json", []byte(meta("1")))
			r.dropAs("c.mp3", 2)
			time.Sleep(30 * time.Minute)
			r.dropAs("c.ogg", 3)
		}, map[string]string{"c.mp3": "accepted", "c.ogg": "skipped(copy)"}},
		"the best one goes away before it is sent": {wait, func(r *rig) {
			r.opt.Destinations[0].Lane.Pause(time.Now().Add(2*time.Hour), "later")
			r.write("drop/c.json", []byte(meta("1")))
			r.dropAs("c.mp3", 2)
			time.Sleep(30 * time.Minute)
			r.dropAs("c.wav", 1)
			time.Sleep(30 * time.Minute)
			r.remove("drop/c.wav")
			time.Sleep(2 * time.Hour)
			r.order("retry", r.rows()["c.mp3"].ID)
		}, map[string]string{"c.mp3": "accepted", "c.wav": "vanished(replaced)"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v, sent := rememberingVendor()
				r := newRig(t, v, withCopies(t, c.wait))
				r.start()
				c.play(r)
				time.Sleep(3 * time.Hour)
				synctest.Wait()
				want := c.want
				if want == nil {
					want = best
				}
				for path, state := range want {
					if got := r.stands(path); got != state {
						t.Errorf("%s: %s, want %s", path, got, state)
					}
				}
				if len(sent.by) != 1 {
					t.Errorf("sent %v", sent.by)
				}
				r.verify()
				r.end()
			})
		})
	}
}

// stands is where the delivery of a recording stands, or the recording where
// that is not to be sent.
func (r *rig) stands(path string) string {
	r.t.Helper()
	switch rec := r.show(path).Recording; rec.State {
	case "ready", "done":
		return r.state(path)
	default:
		return fmt.Sprintf("%s(%s)", rec.State, *rec.Reason)
	}
}
