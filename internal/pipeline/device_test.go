package pipeline_test

import (
	"database/sql"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	_ "github.com/mattn/go-sqlite3" // the test changes what the ledger remembers

	"ingestd/internal/pipeline"
	"ingestd/internal/senders"
)

// A volume may have another device number after the machine was started
// again. That makes no recording another one: what waits to be sent is sent.
func TestAnotherDeviceNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refuse := true
		v := &vendor{traits: twoStep(), script: func(_ int, a senders.Attempt, j senders.Journal) (senders.Receipt, error) {
			if refuse {
				return senders.Receipt{}, &senders.Error{Class: senders.Refused, Code: "later", Text: "told by the test"}
			}
			return deliver(a, j)
		}}
		r := newRig(t, v, func(o *pipeline.Options) { o.Sources[0].After = pipeline.AfterKeep })
		r.drop("drop", "1", 1, meta("1"))
		r.start()
		time.Sleep(time.Minute)
		r.end()
		db, err := sql.Open("sqlite3", "file:"+filepath.Join(r.dir, "ledger.db"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec("UPDATE recordings SET dev = dev + 1; UPDATE documents SET dev = dev + 1"); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		refuse = false
		r.start()
		time.Sleep(10 * time.Minute)
		if rows := r.all(); len(rows) != 1 || r.state("1.wav") != "accepted" {
			t.Errorf("%d rows, %s", len(rows), r.state("1.wav"))
		}
		r.end()
	})
}
