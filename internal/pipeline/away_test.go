package pipeline_test

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/internal/senders"
)

// While a drop directory is away for hours, what waits to be sent from it is
// left alone: no attempt, no line of history. It goes on when it is back.
func TestNothingIsTriedWhileTheSourceIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vendor{}
		v.script = func(n int, a senders.Attempt, j senders.Journal) (senders.Receipt, error) {
			if err := j.Sending(nil); err != nil {
				return senders.Receipt{}, err
			}
			if n == 1 {
				return senders.Receipt{}, &senders.Error{Class: senders.Incomplete, Code: "cut", Text: "cut"}
			}
			m, err := a.Open()
			if err != nil {
				return senders.Receipt{}, err
			}
			defer m.Close()
			if err := j.Committing(); err != nil {
				return senders.Receipt{}, err
			}
			return senders.Receipt{Text: "taken"}, nil
		}
		r := newRig(t, v, nil)
		r.drop("drop", "c", 1, meta("1"))
		r.start()
		for r.state("c.wav") != "planned(cut)" {
			time.Sleep(100 * time.Millisecond)
		}
		aside := filepath.Join(r.dir, "aside")
		if err := os.Rename(filepath.Join(r.dir, "drop"), aside); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Hour)
		if got := r.state("c.wav"); got != "planned(cut)" {
			t.Errorf("the delivery is %s", got)
		}
		found, err := r.led.Reader().Show(t.Context(), "c.wav")
		if err != nil || len(found) != 1 || len(found[0].History) > 10 {
			t.Errorf("%d lines of history, %v", len(found[0].History), err)
		}
		if err := os.Rename(aside, filepath.Join(r.dir, "drop")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		if got := r.state("c.wav"); got != "accepted" {
			t.Errorf("back, and the delivery is %s", got)
		}
		r.end()
	})
}
