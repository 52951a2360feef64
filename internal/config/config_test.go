package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ingestd/internal/config"
	"ingestd/internal/senders/callminer"
	"ingestd/internal/watcher"
)

// Each file in testdata/bad begins with "# want: " lines: all that Load must
// say about it, and nothing else. A line that ends in "..." leaves the rest to
// the room whose words it is.
func TestBad(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.toml")
	if err != nil || len(files) < 25 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".toml"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for line := range strings.Lines(string(text)) {
				if said, ok := strings.CutPrefix(line, "# want: "); ok {
					want = append(want, strings.TrimSuffix(said, "\n"))
				}
			}
			if len(want) == 0 {
				t.Fatal("the file wants nothing")
			}
			_, err = config.Load(strings.NewReader(string(text)), "/etc/ingestd/"+filepath.Base(file))
			var defects *config.Error
			if !errors.As(err, &defects) {
				t.Fatalf("error %v, want *config.Error", err)
			}
			var got []string
			for _, d := range defects.Defects {
				got = append(got, strings.Split(d.String(), "\n")...)
			}
			for i, w := range want {
				if begin, open := strings.CutSuffix(w, "..."); open && i < len(got) && strings.HasPrefix(got[i], begin) {
					got[i] = w
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("defects (-want +got):\n%s", diff)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Error("the error repeats a secret")
			}
		})
	}
}

func TestGood(t *testing.T) {
	files, err := filepath.Glob("testdata/good/*.toml")
	if err != nil || len(files) < 3 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		if _, err := config.LoadFile(file); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestSmallestFileGetsDefaults(t *testing.T) {
	c := load(t, smallest)
	s, d := c.Sources[0], c.Destinations[0]
	for _, check := range []struct {
		what      string
		got, want any
	}{
		{"ledger", c.Ledger.Path, "/var/lib/ingestd/ledger.db"},
		{"listen", c.HTTP.Listen, "127.0.0.1:9780"},
		{"rule", s.Rule, watcher.Rule{Quiet: 10 * time.Second, Complete: watcher.Complete{Kind: watcher.Settle}}},
		{"scan", time.Duration(s.ScanEvery), time.Minute},
		{"wait", time.Duration(s.WaitForSidecar), 15 * time.Minute},
		{"missing", s.OnMissingSidecar, "hold"},
		{"after", s.After, "keep"},
		{"zone", s.Zone.String(), "UTC"},
		{"sidecars", len(s.Sidecars), 1},
		{"sidecar json", s.Sidecars[0].Matches("A/B.JSON"), true},
		{"sidecar csv", s.Sidecars[0].Matches("b.csv"), true},
		{"mapping", s.Mapping != nil, true},
		{"rate", d.Common.Rate.String(), "200/min"},
		{"retry", d.Common.Retry.GiveUp.String(), "72h0m0s"},
		{"vendor", d.Vendor.(*callminer.Config).SourceID, "AcmeRecorder"},
		{"fields", d.Fields == nil, true},
	} {
		if !cmp.Equal(check.got, check.want) {
			t.Errorf("%s is %v, want %v", check.what, check.got, check.want)
		}
	}
}

func TestRelativePathsBeginAtTheFile(t *testing.T) {
	text := strings.Replace(smallest, `path = "/srv/drop/genesys"`, "path = \"../drop/\"\nafter = \"move\"\narchive = \"archive/{source}\"", 1)
	c := load(t, "[ledger]\npath = \"ledger.db\"\n"+text)
	got := []string{c.Ledger.Path, c.Sources[0].Path, c.Sources[0].Archive}
	want := []string{"/etc/ingestd/ledger.db", "/etc/drop", "/etc/ingestd/archive/{source}"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestZones(t *testing.T) {
	at := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	for name, want := range map[string]string{"": "12:00", "America/Chicago": "07:00", "+05:30": "17:30", "-03:00": "09:00"} {
		c := load(t, strings.Replace(smallest, "[[destination]]", "time_zone = \""+name+"\"\n[[destination]]", 1))
		if got := at.In(c.Sources[0].Zone).Format("15:04"); got != want {
			t.Errorf("zone %q shows %s, want %s", name, got, want)
		}
	}
}

func TestLoadFileThatIsNotThere(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ingestd.toml")
	_, err := config.LoadFile(file)
	var defects *config.Error
	if !errors.As(err, &defects) || len(defects.Defects) != 1 {
		t.Fatalf("error %v", err)
	}
	if d := defects.Defects[0]; defects.File != file || !strings.Contains(d.Text, "no such file") || !strings.Contains(d.Hint, "--config") {
		t.Errorf("%s: defect %+v", defects.File, d)
	}
}

func TestHugeFileIsNotParsed(t *testing.T) {
	endless := strings.NewReader(strings.Repeat("# comment\n", 1<<20))
	_, err := config.Load(endless, "big.toml")
	if err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("error %v", err)
	}
	if left := endless.Len(); left < 8<<20 {
		t.Errorf("read on to the last %d bytes", left)
	}
}

func TestByteOrderMarkAndCRLF(t *testing.T) {
	load(t, "\ufeff"+strings.ReplaceAll(smallest, "\n", "\r\n"))
}

func TestErrorText(t *testing.T) {
	_, err := config.Load(strings.NewReader("[log]\nlevel = \"loud\"\n[http]\nlisten = \"x\"\n"+smallest), "/etc/ingestd/ingestd.toml")
	want := `ingestd.toml: 2 defects
  line 2: log.level: "loud" is unknown (one of debug, info, warn, error)
  line 4: http.listen: "x" is not an address (write "127.0.0.1:9780", or "" to switch it off)`
	if err == nil || err.Error() != want {
		t.Errorf("error:\n%v\nwant:\n%s", err, want)
	}
}

// A megabyte of brackets is refused like any other mistake: neither the
// reading of values nor that of tables may go as deep as the file says.
func TestDeepNesting(t *testing.T) {
	for name, text := range map[string]string{
		"lists":       "x = " + strings.Repeat("[", 900_000),
		"tables":      "x = " + strings.Repeat("{a=", 300_000),
		"dotted keys": strings.Repeat("a.", 400_000) + "b = 1",
		"header":      "[" + strings.Repeat("a.", 400_000) + "b]",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := config.Load(strings.NewReader(text), "deep.toml"); err == nil {
				t.Error("no error")
			}
		})
	}
}
