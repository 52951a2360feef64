package pipeline_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"ingestd/internal/pipeline"
	"ingestd/internal/watcher"
)

// bad is one case of the bad-input list: what lies in the drop directory and
// where it stands once everything has come to rest. The names begin with the
// line of the list that they prove.
type bad struct {
	name   string
	make   func(*rig)
	change func(*pipeline.Options)
	want   map[string]string // the path's state; "" for one nobody looks at
	sent   int
}

// whole drops a recording with its sidecar under a stem.
func whole(stems ...string) func(*rig) {
	return func(r *rig) {
		for i, stem := range stems {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(r.dir, "drop", stem)), 0o700); err != nil {
				r.t.Fatal(err)
			}
			r.drop("drop", stem, byte(i+1), meta(fmt.Sprint(i)))
		}
	}
}

func accepted(stems ...string) map[string]string {
	out := map[string]string{}
	for _, stem := range stems {
		out[stem+".wav"] = "accepted"
	}
	return out
}

func (b bad) run(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := wellBehaved()
		var log bytes.Buffer
		r := newRig(t, v, b.change)
		r.opt.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		b.make(r)
		r.start()
		time.Sleep(5 * time.Minute)
		rows := r.rows()
		for path, want := range b.want {
			if got := r.state(path); got != want {
				t.Errorf("%q: %s, want %s (%s)", path, got, want, text(rows[path].ReasonText))
			}
		}
		r.end()
		if got := len(v.sent()); got != b.sent {
			t.Errorf("%d attempts, want %d", got, b.sent)
		}
		for path := range b.want {
			if stem := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)); len(stem) > 4 && strings.Contains(log.String(), stem) {
				t.Errorf("the log names %q", path)
			}
		}
		if strings.ContainsAny(log.String(), "\x1b\x07\x7f\u202e") {
			t.Error("control characters reached the log")
		}
	})
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func TestBadNames(t *testing.T) {
	control := []string{"new\nline", "tab\there", "cr\rhere", "\x1b]0;title\x07", "gone\x7f"}
	hidden := []string{"\u202egpj.exe", "zero\u200bwidth", "c\u0430ll"}
	shell := []string{"-rf", ";rm x", "$(touch x)", "`id`", `'"\`, "%s%n%x", "*?[a]"}
	device := []string{"NUL", "aux", "COM1"}
	long := strings.Repeat("n", 250) // its sidecar has 255 bytes
	deep := strings.Repeat(strings.Repeat("d", 200)+"/", 17) + "deep"
	var same []string
	for i := range 40 {
		same = append(same, fmt.Sprintf("d%02d/call", i))
	}
	for _, b := range []bad{
		{name: "1 unfinished", make: whole(".hidden", "~$x", ".~lock"), want: map[string]string{".hidden.wav": "", "~$x.wav": "", ".~lock.wav": ""}},
		{name: "2 control characters", make: whole(control...), want: accepted(control...), sent: len(control)},
		{name: "3 no UTF-8", make: whole("\xff\xfe", "caf\xe9"), want: accepted("\xff\xfe", "caf\xe9"), sent: 2},
		{name: "4 invisible and look-alike", make: whole(hidden...), want: accepted(hidden...), sent: len(hidden)},
		{name: "5 composed and decomposed", make: whole("caf\u00e9", "cafe\u0301"), want: accepted("caf\u00e9", "cafe\u0301"), sent: 2},
		{name: "6 case of the extension", make: func(r *rig) {
			r.drop("drop", "CALL", 1, meta("1"))
			r.rename("drop/CALL.wav", "drop/CALL.WAV")
		}, want: map[string]string{"CALL.WAV": "accepted"}, sent: 1},
		{name: "6 case of the stem", make: func(r *rig) {
			r.drop("drop", "CALL", 1, "")
			r.write("drop/call.json", []byte(meta("1")))
		}, want: map[string]string{"CALL.wav": "waiting(waiting_for_sidecar)"}},
		{name: "7 long name", make: whole(long), want: accepted(long), sent: 1},
		{name: "7 long path", make: whole(deep), want: accepted(deep), sent: 1},
		{name: "8 shell and format", make: whole(shell...), want: accepted(shell...), sent: len(shell)},
		{name: "10 extensions", make: func(r *rig) {
			whole("a.wav", "b ", "c.")(r) // a.wav.wav with a.wav.json, and so on
			for _, name := range []string{"noextension", "d.", "e.wav ", "f.wav."} {
				r.write("drop/"+name, []byte("x"))
			}
		}, want: map[string]string{"a.wav.wav": "accepted", "b .wav": "accepted", "c..wav": "accepted", "noextension": "", "d.": "", "e.wav ": "", "f.wav.": ""}, sent: 3},
		{name: "11 device names", make: whole(device...), want: accepted(device...), sent: len(device)},
		{name: "12 one base name in many directories", make: whole(same...), want: accepted(same...), sent: len(same)},
	} {
		t.Run(b.name, b.run)
	}
}

func (r *rig) rename(from, to string) {
	r.t.Helper()
	if err := os.Rename(filepath.Join(r.dir, from), filepath.Join(r.dir, to)); err != nil {
		r.t.Fatal(err)
	}
}

func TestBadObjects(t *testing.T) {
	for _, b := range []bad{
		{name: "19 directory named like media", make: whole("call.wav/inside"), want: map[string]string{"call.wav": "", "call.wav/inside.wav": "accepted"}, sent: 1},
		{name: "22 empty", make: func(r *rig) {
			r.write("drop/c.wav", nil)
			r.write("drop/c.json", []byte(meta("1")))
		}, want: map[string]string{"c.wav": "quarantined(empty)"}},
		{name: "26 modes and attributes", make: func(r *rig) {
			whole("c")(r)
			path := filepath.Join(r.dir, "drop/c.wav")
			if err := os.Chmod(path, 0o755|os.ModeSetuid); err != nil {
				r.t.Fatal(err)
			}
			if err := unix.Setxattr(path, "user.note", []byte("x"), 0); err != nil {
				r.t.Logf("without an attribute here: %v", err)
			}
		}, want: accepted("c"), sent: 1},
		{name: "76 sidecar that is the media", make: func(r *rig) {
			r.drop("drop", "c", 1, "")
			wav, err := os.ReadFile(filepath.Join(r.dir, "drop/c.wav"))
			if err != nil {
				r.t.Fatal(err)
			}
			r.write("drop/c.json", wav)
		}, want: map[string]string{"c.wav": "quarantined(encoding)"}},
		{name: "76 media that is the sidecar", make: func(r *rig) {
			r.write("drop/c.wav", []byte(meta("1")))
			r.write("drop/c.json", []byte(meta("1")))
		}, want: map[string]string{"c.wav": "quarantined(not_audio)"}},
		{name: "35 one content under two keys", make: func(r *rig) {
			r.drop("drop", "a", 1, meta("1"))
			r.drop("drop", "b", 1, meta("2"))
		}, want: accepted("a", "b"), sent: 2},
		{name: "33 one call under two names", make: func(r *rig) {
			r.drop("drop", "a", 1, meta("1"))
			r.drop("drop", "b", 1, meta("1"))
		}, sent: 1},
		{name: "41 marker that never comes", make: whole("c"), change: func(o *pipeline.Options) {
			o.Sources[0].Rule.Complete = watcher.Complete{Kind: watcher.Marker, Suffix: ".done"}
			o.Sources[0].WaitForSidecar = 2 * time.Minute
		}, want: map[string]string{"c.wav": "quarantined(no_marker)"}},
	} {
		t.Run(b.name, b.run)
	}
}

// Row 39: a file that is deleted before it is sent is told once, and its
// deletion is not tried again.
func TestDeletedBeforeSending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := wellBehaved()
		r := newRig(t, v, nil)
		r.drop("drop", "c", 1, "")
		r.start()
		time.Sleep(time.Minute)
		r.remove("drop/c.wav")
		time.Sleep(time.Hour)
		if got := r.rows()["c.wav"].State; got != "vanished" || len(v.sent()) != 0 {
			t.Errorf("%s after %d attempts", got, len(v.sent()))
		}
		r.end()
	})
}

// Row 38: a program that writes through a mapping makes no events, and its
// file is not taken while the mapping lives.
func TestMappedWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := wellBehaved()
		r := newRig(t, v, nil)
		r.drop("drop", "c", 1, meta("1"))
		f, err := os.OpenFile(filepath.Join(r.dir, "drop/c.wav"), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		mapped, err := unix.Mmap(int(f.Fd()), 0, 1644, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		r.start()
		for i := range 20 {
			mapped[100+i] ^= 0xff
			time.Sleep(7 * time.Second)
		}
		if got := r.state("c.wav"); !strings.HasPrefix(got, "settling(") || len(v.sent()) > 0 {
			t.Errorf("while it is mapped: %s, %d attempts", got, len(v.sent()))
		}
		if err := unix.Munmap(mapped); err != nil {
			t.Fatal(err)
		}
		r.touch("drop/c.wav") // the kernel's clock is not the bubble's
		time.Sleep(5 * time.Minute)
		if got := r.state("c.wav"); got != "accepted" {
			t.Errorf("afterwards: %s", got)
		}
		r.end()
	})
}

// Row 36: a recording that is moved from one source to another is the same
// recording: it is not sent to the same destination twice.
func TestMovedBetweenSources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := wellBehaved()
		r := newRig(t, v, nil)
		r.addSource("other")
		r.drop("drop", "c", 1, meta("1"))
		r.start()
		time.Sleep(2 * time.Minute)
		for _, name := range []string{"c.wav", "c.json"} {
			r.rename("drop/"+name, "other/"+name)
		}
		time.Sleep(5 * time.Minute)
		r.want("c.wav", map[string]string{"vendor": "duplicate(duplicate)"})
		for _, name := range []string{"c.wav", "c.json"} { // out and in again
			r.rename("other/"+name, name)
		}
		time.Sleep(5 * time.Minute)
		for _, name := range []string{"c.wav", "c.json"} {
			r.rename(name, "drop/"+name)
		}
		time.Sleep(5 * time.Minute)
		r.want("c.wav", map[string]string{"vendor": "duplicate(duplicate)"})
		if n := len(v.sent()); n != 1 {
			t.Errorf("%d attempts for one recording", n)
		}
		r.end()
	})
}

// Row 98: what was accepted is not owed to a destination that is called
// otherwise after a restart.
func TestDestinationRenamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := wellBehaved()
		r := newRig(t, v, nil)
		r.drop("drop", "c", 1, meta("1"))
		r.start()
		time.Sleep(2 * time.Minute)
		r.end()
		r.opt.Destinations[0].Name = "renamed"
		r.opt.Sources[0].Destinations = []string{"renamed"}
		r.start()
		time.Sleep(10 * time.Minute)
		if got := len(v.sent()); got != 1 {
			t.Errorf("%d attempts for one recording", got)
		}
		r.end()
	})
}
