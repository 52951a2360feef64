package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/csv"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// The ways in which a tree is dropped.
const (
	inOrder   = "in arrival order"
	inReverse = "in reverse"
	atOnce    = "all at once"
	restarted = "restart after every step"
	renamed   = "rewritten by rename"
)

// replayCase is one tree with one configuration, dropped in one way.
type replayCase struct {
	system, config, way string
	files               map[string][]byte
	want                expected
}

// dropStep is one change of one file.
type dropStep struct {
	at      time.Time
	path    string
	content []byte
	append  bool // to what is there
	rename  bool // comes under another name and takes this one
}

// steps is the arrival as the daemon sees it. Where the order is not that of
// the recorder, a file comes once, with its last content.
func (c replayCase) steps(t *testing.T) []dropStep {
	t.Helper()
	if c.way == inReverse || c.way == atOnce {
		return c.onceEach()
	}
	var out []dropStep
	for i, s := range c.want.Arrival {
		content := c.files[s.Path]
		switch {
		case content == nil:
			t.Fatalf("the archive has no %q", s.Path)
		case s.Op == "append":
			out = append(out, c.rows(t, s)...)
		case s.Op == "growing":
			for n := range 3 { // the last piece at the time that the step says
				out = append(out, dropStep{at: s.At.Add(time.Duration(n-2) * time.Second), path: s.Path,
					content: content[n*len(content)/3 : (n+1)*len(content)/3], append: true})
			}
		case s.Op == "create" && slices.ContainsFunc(c.want.Arrival[i:], func(o arrival) bool { return o.Path == s.Path && o.Op == "rewrite" }):
			out = append(out, dropStep{at: s.At, path: s.Path, content: partial(t, content)})
		case s.Op == "create" || s.Op == "rewrite":
			out = append(out, dropStep{at: s.At, path: s.Path, content: content, rename: s.Op == "rewrite" && c.way == renamed})
		default:
			t.Fatalf("operation %q is not known to this test", s.Op)
		}
	}
	slices.SortStableFunc(out, func(a, b dropStep) int { return a.at.Compare(b.at) })
	return out
}

func (c replayCase) onceEach() []dropStep {
	order := slices.Clone(c.want.Arrival)
	if c.way == inReverse {
		slices.Reverse(order)
	}
	var out []dropStep
	at := c.want.Arrival[0].At
	for _, s := range order {
		if slices.ContainsFunc(out, func(o dropStep) bool { return o.path == s.Path }) {
			continue
		}
		out = append(out, dropStep{at: at, path: s.Path, content: c.files[s.Path]})
		if c.way == inReverse {
			at = at.Add(time.Second)
		}
	}
	return out
}

// partial is a SIPREC document as it is written when a call begins.
func partial(t *testing.T, complete []byte) []byte {
	t.Helper()
	text := string(complete)
	for _, cut := range []string{`<stop-time>[^<]*</stop-time>`, `<disassociate-time>[^<]*</disassociate-time>`, `(?s)<ac:data>.*</ac:data>`} {
		shorter := regexp.MustCompile(cut).ReplaceAllString(text, "")
		if shorter == text {
			t.Fatalf("nothing matches %s", cut)
		}
		text = shorter
	}
	return []byte(strings.Replace(text, "<datamode>complete", "<datamode>partial", 1))
}

// rows appends a log of Asterisk row by row: each a second after its audio
// came, or when its call ended if there is none; the half-written last line
// at the step's own time.
func (c replayCase) rows(t *testing.T, s arrival) []dropStep {
	t.Helper()
	zone, err := time.LoadLocation(c.want.Defaults.TimeZone)
	if err != nil {
		t.Fatal(err)
	}
	var out []dropStep
	last := time.Time{}
	for line := range bytes.Lines(c.files[s.Path]) {
		at := s.At
		if bytes.HasSuffix(line, []byte("\n")) {
			row, err := csv.NewReader(bytes.NewReader(line)).Read()
			if err != nil || len(row) < 17 {
				t.Fatalf("%s: %d columns, %v", s.Path, len(row), err)
			}
			if at, err = time.ParseInLocation(time.DateTime, row[11], zone); err != nil {
				t.Fatal(err)
			}
			for _, audio := range c.want.Arrival {
				if strings.Contains(audio.Path, "-"+row[16]+".") {
					at = audio.At.Add(time.Second)
				}
			}
		}
		if at.Before(last) {
			t.Fatalf("%s: the rows are not in the order of their calls", s.Path)
		}
		last = at
		out = append(out, dropStep{at: at, path: s.Path, content: line, append: true})
	}
	return out
}

// put makes one change; the modification time is the fake now.
func (r *replayRig) put(t *testing.T, s dropStep) {
	t.Helper()
	name := filepath.Join(r.root, filepath.FromSlash(s.path))
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	to, flags := name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC
	if s.rename {
		to = name + ".tmp"
	}
	if s.append {
		flags = os.O_WRONLY | os.O_CREATE | os.O_APPEND
	}
	f, err := os.OpenFile(to, flags, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(s.content); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(to, time.Now(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if s.rename {
		if err := os.Rename(to, name); err != nil {
			t.Fatal(err)
		}
	}
}

// merged is one call of which the legs are sent as one file.
type merged struct {
	CallID     string            `json:"call_id"`
	Parts      []string          `json:"parts"`
	Channels   int               `json:"channels"`
	ChannelMap map[string]string `json:"channel_map"`
	Duration   float64           `json:"duration_seconds"`
}

// mergedUploads is what is to be sent when legs are merged: the record of the
// first leg, without its leg, and a stereo file that is made here by hand.
func mergedUploads(t *testing.T, c replayCase) []upload {
	t.Helper()
	var out []upload
	for _, m := range c.want.Merged {
		byChannel := make([][]byte, 2)
		var first upload
		for _, u := range c.want.Uploads {
			if !slices.Contains(m.Parts, u.Audio) {
				continue
			}
			if u.Audio == m.Parts[0] {
				first = u
			}
			for channel, who := range m.ChannelMap {
				if who == deref(u.Leg) {
					byChannel[int(channel[0]-'0')] = c.files[u.Audio]
				}
			}
		}
		if first.Audio == "" || byChannel[0] == nil || byChannel[1] == nil {
			t.Fatalf("the legs of call %s are not in the list", m.CallID)
		}
		first.Leg, first.Channels, first.ChannelMap, first.Duration = nil, m.Channels, m.ChannelMap, m.Duration
		whole := stereo(byChannel[0], byChannel[1], first.Format.Codec)
		first.Bytes, first.SHA256 = int64(len(whole)), hexSum(whole)
		out = append(out, first)
	}
	return out
}

// stereo interleaves two G.711 files of 8 kHz.
func stereo(left, right []byte, codec string) []byte {
	samples := func(b []byte) []byte {
		at := bytes.Index(b, []byte("data"))
		n := int(binary.LittleEndian.Uint32(b[at+4:]))
		return b[at+8 : at+8+n]
	}
	l, r := samples(left), samples(right)
	frames := max(len(l), len(r))
	tag, silence := "\x07", byte(0xFF)
	if codec == "pcm_alaw" {
		tag, silence = "\x06", 0xD5
	}
	number := func(n int) string { return string(binary.LittleEndian.AppendUint32(nil, uint32(n))) }
	out := []byte("RIFF" + number(50+2*frames) + "WAVEfmt " + number(18) + tag + "\x00\x02\x00" + number(8000) + number(16000) +
		"\x02\x00\x08\x00\x00\x00fact" + number(4) + number(frames) + "data" + number(2*frames))
	for i := range frames {
		for _, side := range [][]byte{l, r} {
			if i < len(side) {
				out = append(out, side[i])
			} else {
				out = append(out, silence)
			}
		}
	}
	return out
}

// compareSegments holds segment numbers against the list, where they can be
// known: counted by start, they need the earlier recordings first.
func (r *replayRig) compareSegments(t *testing.T, c replayCase) {
	t.Helper()
	if c.way == inReverse && c.system != "puzzel" {
		return
	}
	shown := r.shown(t)
	for _, u := range c.want.Uploads {
		if record := shown[u.Audio].Recording.Call; u.Segment != nil && record != nil && record.SegmentIndex != u.Segment.Index {
			t.Errorf("%s: segment %d, want %d", u.Audio, record.SegmentIndex, u.Segment.Index)
		}
	}
}

// compareParts looks that a merged recording names its parts and that every
// part that is sent with another one says so.
func (r *replayRig) compareParts(t *testing.T, c replayCase) {
	t.Helper()
	if c.config != "siprec_merged" {
		return
	}
	shown := r.shown(t)
	for _, m := range c.want.Merged {
		carrier := shown[m.Parts[0]].Recording
		parts := map[string]string{}
		for _, p := range carrier.Parts {
			parts[p.Path] = p.SHA256
		}
		want := map[string]string{}
		for _, p := range m.Parts {
			want[p] = hexSum(c.files[p])
		}
		if !maps.Equal(parts, want) {
			t.Errorf("%s: parts %v, want %v", carrier.Path, parts, want)
		}
		other := shown[m.Parts[1]].Recording
		if other.State != "skipped" || deref(other.Reason) != "merged" || !strings.Contains(deref(other.ReasonText), fmt.Sprintf("recording %d", carrier.ID)) {
			t.Errorf("%s: %s (%s: %s)", other.Path, other.State, deref(other.Reason), deref(other.ReasonText))
		}
	}
}

func hexSum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
