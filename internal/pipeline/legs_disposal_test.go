package pipeline_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/internal/pipeline"
)

// Nothing is disposed of before everything is, and a part that could not be
// moved is moved later; also when a crash came between the two.
func TestDisposalOfParts(t *testing.T) {
	for _, after := range []string{pipeline.AfterMove, pipeline.AfterDelete} {
		for _, trouble := range []string{"", "archive is no directory", "half done by a crash"} {
			if after == pipeline.AfterDelete && trouble != "" {
				continue
			}
			t.Run(after+" "+trouble, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := newListener()
					r := legsRig(t, l, func(s *pipeline.Source) { s.After = after })
					archive := filepath.Join(r.dir, "archive")
					r.opt.Sources[0].Archive = archive
					if trouble != "" {
						r.write("archive", []byte("in the way"))
					}
					r.put("call.json", []byte(twoParts))
					r.put("a.wav", legFile(8000, 30_000, 1000))
					r.put("b.wav", legFile(8000, 20_000, -1000))
					r.start()
					time.Sleep(5 * time.Minute)
					if trouble != "" {
						for _, name := range []string{"a.wav", "b.wav"} {
							if _, err := os.Stat(filepath.Join(r.dir, "drop", "c", name)); err != nil {
								t.Fatal("gone although the archive is not there: ", err)
							}
						}
						r.end()
						must(t, os.Remove(archive))
						for _, name := range []string{"a.wav", "b.wav"} { // another ctime: now the content must tell that they are the same
							must(t, os.Chmod(filepath.Join(r.dir, "drop", "c", name), 0o640))
						}
						if trouble == "half done by a crash" {
							must(t, os.Mkdir(archive, 0o700))
							must(t, os.Rename(filepath.Join(r.dir, "drop", "c", "b.wav"), filepath.Join(archive, "b.wav")))
						}
						r.start()
						time.Sleep(5 * time.Minute)
					}
					left, _ := filepath.Glob(filepath.Join(r.dir, "drop", "c", "*"))
					if len(left) != 1 || !strings.HasSuffix(left[0], "call.json") {
						t.Errorf("left: %v", left)
					}
					moved, _ := filepath.Glob(filepath.Join(archive, "*"))
					if want := map[string]int{pipeline.AfterMove: 2, pipeline.AfterDelete: 0}[after]; len(moved) != want {
						t.Errorf("archived: %v", moved)
					}
					if len(l.uploads()) != 1 {
						t.Errorf("%d uploads", len(l.uploads()))
					}
					found, err := r.led.Reader().Show(t.Context(), "c/a.wav")
					must(t, err)
					if s := found[0].Recording; s.State != "done" || len(s.Parts) != 2 || s.Parts[0].MovedTo == nil {
						t.Errorf("%+v", s)
					}
					r.end()
				})
			})
		}
	}
}

// A part that was written in place after it was sent, its times restored, is
// told by its content and stays.
func TestDisposalLeavesRewrittenPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newListener()
		r := legsRig(t, l, func(s *pipeline.Source) { s.After = pipeline.AfterMove })
		archive, part := filepath.Join(r.dir, "archive"), filepath.Join(r.dir, "drop", "c", "b.wav")
		r.opt.Sources[0].Archive = archive
		r.write("archive", []byte("in the way"))
		r.put("call.json", []byte(twoParts))
		r.put("a.wav", legFile(8000, 30_000, 1000))
		r.put("b.wav", legFile(8000, 20_000, -1000))
		r.start()
		time.Sleep(5 * time.Minute)
		r.end()
		was, err := os.Stat(part)
		must(t, err)
		other := legFile(8000, 20_000, 7)
		r.write("drop/c/b.wav", other)
		must(t, os.Chtimes(part, was.ModTime(), was.ModTime()))
		must(t, os.Remove(archive))
		r.start()
		time.Sleep(5 * time.Minute)
		if b, err := os.ReadFile(part); err != nil || !bytes.Equal(b, other) {
			t.Errorf("the new content is gone from the drop directory: %v", err)
		}
		if _, err := os.Stat(filepath.Join(archive, "a.wav")); err != nil || len(l.uploads()) != 1 {
			t.Errorf("%v, %d uploads", err, len(l.uploads()))
		}
		r.end()
	})
}

// A part that was exchanged after it was sent stays where it is.
func TestDisposalLeavesAnotherFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newListener()
		r := legsRig(t, l, func(s *pipeline.Source) { s.After = pipeline.AfterDelete })
		other := legFile(8000, 9000, 7)
		l.meddle = func(int) { // b.wav is open already: it is sent as it was
			r.write("drop/c/b.new", other)
			must(t, os.Rename(filepath.Join(r.dir, "drop/c/b.new"), filepath.Join(r.dir, "drop/c/b.wav")))
		}
		r.put("call.json", []byte(twoParts))
		r.put("a.wav", legFile(8000, 30_000, 1000))
		r.put("b.wav", legFile(8000, 20_000, -1000))
		r.start()
		time.Sleep(20 * time.Minute)
		if b, err := os.ReadFile(filepath.Join(r.dir, "drop/c/b.wav")); err != nil || !bytes.Equal(b, other) {
			t.Errorf("the new file was touched: %v", err)
		}
		if len(l.uploads()) != 1 {
			t.Errorf("%d uploads", len(l.uploads()))
		}
		t.Logf("b.wav is %s", r.state("c/b.wav"))
		r.end()
	})
}
