package pipeline_test

import (
	"archive/zip"
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/internal/ledger"
	"ingestd/internal/pipeline"
	"ingestd/internal/senders"
)

func zipped(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	if _, err := z.Create("chat.json"); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// An archive of chats reaches the destinations that take archives, and is
// refused with a reason everywhere else.
func TestArchives(t *testing.T) {
	for name, c := range map[string]struct {
		takes     bool   // the first destination
		want, two string // states at the two destinations
	}{
		"taken by one of two":  {true, "accepted", "rejected(archive)"},
		"taken by none of two": {false, "quarantined(archive)", "quarantined(archive)"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				chats, audio := wellBehaved(), wellBehaved()
				chats.traits.Archives = c.takes
				r := newRig(t, chats, func(o *pipeline.Options) {
					other := o.Destinations[0]
					other.Name, other.Sender = "audio", audio
					other.Lane = senders.NewLane(senders.Rate{Unlimited: true}, time.Now)
					o.Destinations = append(o.Destinations, other)
					o.Sources[0].Destinations = []string{"vendor", "audio"}
					o.Sources[0].Include = []string{"**/*.zip", "**/*.wav"}
				})
				r.write("drop/chat.zip", zipped(t))
				r.write("drop/chat.json", []byte(meta("1")))
				r.write("drop/cut.zip", zipped(t)[:60])
				r.write("drop/cut.json", []byte(meta("2")))
				r.drop("drop", "call", 1, meta("3"))
				r.start()
				time.Sleep(5 * time.Minute)
				synctest.Wait()
				for destination, want := range map[string]string{"vendor": c.want, "audio": c.two} {
					if got := r.at("chat.zip", destination); got != want {
						t.Errorf("%s: %s, want %s", destination, got, want)
					}
					if got := r.at("call.wav", destination); got != "accepted" {
						t.Errorf("%s: the call beside it is %s", destination, got)
					}
				}
				if got := r.state("cut.zip"); got != "quarantined(archive)" {
					t.Errorf("the cut archive: %s", got)
				}
				if len(audio.sent()) != 1 {
					t.Errorf("%d attempts at the destination for audio, want 1", len(audio.sent()))
				}
				r.end()
			})
		})
	}
}

// at is the state at one destination; a recording without deliveries has the
// same everywhere.
func (r *rig) at(path, destination string) string {
	r.t.Helper()
	got := ""
	err := r.led.Reader().List(r.t.Context(), ledger.Filter{}, func(row ledger.Row) error {
		if row.Path != path || row.Destination != nil && *row.Destination != destination {
			return nil
		}
		if got = row.State; row.Reason != nil {
			got += "(" + *row.Reason + ")"
		}
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return got
}
