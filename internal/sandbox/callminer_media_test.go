package sandbox_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"ingestd/internal/sandbox"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestContact(t *testing.T) {
	var n atomic.Int64
	var told []sandbox.Stored
	l := newLab(t, sandbox.Options{
		ID: func(kind string) string {
			return fmt.Sprintf("%s-%d", kind, n.Add(1))
		},
		KeepDir:  filepath.Join(t.TempDir(), "kept"),
		OnStored: func(c sandbox.Stored) { told = append(told, c) },
	})
	body := sound(100_000)
	open := with(sessionBody("c-1", len(body)), "Metadata", []object{
		{"Key": "Agent", "Value": "A. Agent"}, {"Key": "agent", "Value": "x"}, {"Key": "HoldCount", "Value": "2"}})
	open["VoicePrintIdentifier"] = "A. Agent"
	session := l.json("session/metadatamedia", open).field(t, "SessionId")
	a := l.media(session, body)
	if a.status != 201 || a.field(t, "CurrentMediaLength") != "100000" || a.field(t, "TotalMediaLength") != "100000" {
		t.Fatalf("media: %+v", a)
	}
	sum := sha256.Sum256(body)
	want := sandbox.Contact{
		CorrelationID: "c-1", SessionID: "session-1", MiningID: "mining-2", State: sandbox.Published,
		Bytes: 100_000, SHA256: hex.EncodeToString(sum[:]), MediaType: "audio/wav", SourceID: "recorder-a",
		ClientCaptureDate: "2025-11-20T09:15:02.000+02:00", VoicePrint: "A. Agent",
		Metadata: map[string]string{"Agent": "A. Agent", "HoldCount": "2"}, Ignored: []string{"agent"},
	}
	got := l.c.Contacts()
	if d := cmp.Diff([]sandbox.Contact{want}, got, cmpopts.IgnoreFields(sandbox.Contact{}, "ReceivedAt", "File")); d != "" {
		t.Fatalf("contact (-want +got):\n%s", d)
	}
	stored := []sandbox.Stored{{
		Key: "c-1", ID: "mining-2", Effect: true, State: "published",
		Bytes: 100_000, SHA256: want.SHA256, ReceivedAt: got[0].ReceivedAt,
	}}
	if d := cmp.Diff(stored, told); d != "" {
		t.Fatalf("OnStored (-want +got):\n%s", d)
	}
	if d := cmp.Diff(stored, l.c.Stored()); d != "" {
		t.Fatalf("Stored (-want +got):\n%s", d)
	}
	if a.field(t, "MiningId") != "mining-2" || got[0].ReceivedAt.IsZero() {
		t.Fatalf("reply %s, received %v", a.body, got[0].ReceivedAt)
	}
	kept, err := os.ReadFile(got[0].File)
	if err != nil || !bytes.Equal(kept, body) {
		t.Fatalf("kept file: %v, %d bytes", err, len(kept))
	}
	if s := l.lastSession(); s.State != sandbox.SessionComplete || s.Bytes != 100_000 || s.Posts != 1 || s.MiningID != "mining-2" {
		t.Fatalf("session = %+v", s)
	}
}

func TestMediaRules(t *testing.T) {
	l := newLab(t, sandbox.Options{})
	body := sound(1000)
	try := func(change func(h map[string]string), r io.Reader, length int64) answer {
		h := l.mediaHeader()
		if change != nil {
			change(h)
		}
		return l.do("POST", "/ingestion/api/media/"+l.open("c", len(body)), h, r, length)
	}
	typ := func(v string) func(map[string]string) {
		return func(h map[string]string) { h["Content-Type"] = v }
	}
	for name, tc := range map[string]struct {
		got  answer
		want int
	}{
		"unknown session": {l.media("101491", body), 404},
		"climbing id":     {l.media("../x", body), 404},
		"other type":      {try(typ("audio/mp3"), bytes.NewReader(body), 1000), 415},
		"type with more":  {try(typ("audio/wav; charset=utf-8"), bytes.NewReader(body), 1000), 415},
		"no type":         {try(typ(""), bytes.NewReader(body), 1000), 415},
		"chunked":         {try(nil, bytes.NewReader(body), -1), 411},
		"shorter":         {try(nil, bytes.NewReader(body[:999]), 999), 400},
		"longer":          {try(nil, bytes.NewReader(append(body, 0)), 1001), 400},
		"empty":           {try(nil, nil, 0), 400},
		"PUT":             {l.do("PUT", "/ingestion/api/media/1", l.mediaHeader(), nil, 0), 405},
		"multiple":        {l.do("POST", "/ingestion/api/media/multiple/1", l.mediaHeader(), nil, 0), 404},
		"no id":           {l.do("POST", "/ingestion/api/media/", l.mediaHeader(), nil, 0), 404},
		"transcript":      {l.json("transcript", object{}), 404},
		"no prefix":       {l.do("POST", "/api/media/1", l.mediaHeader(), nil, 0), 404},
	} {
		if tc.got.status != tc.want {
			t.Errorf("%s: status %d, want %d (%s %v)", name, tc.got.status, tc.want, tc.got.body, tc.got.err)
		}
	}
	sum := l.c.Summary()
	if len(l.c.Contacts()) != 0 || sum.Sessions[sandbox.SessionOpen] != int64(len(l.c.Sessions())) {
		t.Fatalf("a refused request left something: %+v", sum)
	}
	if a := l.media(l.lastSession().SessionID, body); a.status != 201 {
		t.Fatalf("a session whose requests were refused before the body must still be good: %+v", a)
	}
}

func TestBasePath(t *testing.T) {
	l := newLab(t, sandbox.Options{BasePath: "/"})
	h := map[string]string{"Authorization": "Bearer " + l.token}
	if a := l.do("GET", "/api/info/callmetadataconfig", h, nil, 0); a.status != 200 {
		t.Fatalf("status %d", a.status)
	}
}

func TestDuplicateFailsToPublish(t *testing.T) {
	l := newLab(t, sandbox.Options{})
	for range 3 {
		if a := l.send("c-1", []byte("abc")); a.status != 201 || a.field(t, "CurrentMediaLength") != "3" {
			t.Fatalf("HTTP must not tell: %+v", a)
		}
	}
	l.send("c-2", []byte("abc"))
	want := []string{"c-1:published", "c-1:failed_to_publish", "c-1:failed_to_publish", "c-2:published"}
	if d := cmp.Diff(want, l.states()); d != "" {
		t.Fatalf("contacts (-want +got):\n%s", d)
	}
}

func TestSecondPostCorrupts(t *testing.T) {
	l := newLab(t, sandbox.Options{})
	s := l.open("c-1", 3)
	l.media(s, []byte("abc"))
	if a := l.media(s, []byte("abc")); a.status != 201 || a.field(t, "CurrentMediaLength") != "6" {
		t.Fatalf("second post: %+v", a)
	}
	if d := cmp.Diff([]string{"c-1:corrupt"}, l.states()); d != "" {
		t.Fatalf("contacts (-want +got):\n%s", d)
	}
	got, c := l.lastSession(), l.c.Contacts()[0]
	if got.State != sandbox.SessionCorrupt || got.Posts != 2 || len(got.Errors) != 1 || c.Bytes != 6 {
		t.Fatalf("session %+v, contact %+v", got, c)
	}
	if n := l.c.Summary().SecondPosts; n != 1 {
		t.Fatalf("second posts = %d, want 1", n)
	}
}

func TestPostAfterCutCorrupts(t *testing.T) {
	l := newLab(t, sandbox.Options{Faults: []sandbox.Fault{{Kind: sandbox.DropMid, Route: sandbox.RouteMedia, AfterBytes: 2, First: 1}}})
	s := l.open("c-1", 3)
	if a := l.media(s, []byte("abc")); a.err == nil {
		t.Fatalf("not dropped: %+v", a)
	}
	if got := l.lastSession(); got.State != sandbox.SessionIncomplete || got.Bytes != 2 || len(l.c.Contacts()) != 0 {
		t.Fatalf("session = %+v", got)
	}
	l.media(s, []byte("abc"))
	if d := cmp.Diff([]string{"c-1:corrupt"}, l.states()); d != "" {
		t.Fatalf("contacts (-want +got):\n%s", d)
	}
	if c := l.c.Contacts()[0]; c.Bytes != 5 {
		t.Fatalf("bytes = %d, want 5: the vendor may append", c.Bytes)
	}
}

func TestMiningFailure(t *testing.T) {
	long := strings.Repeat("x", 50) // Agent takes fewer than 50
	for name, meta := range map[string]object{
		"word for a number": {"Key": "HoldCount", "Value": "one"},
		"fraction for int":  {"Key": "HoldCount", "Value": "1.5"},
		"no date":           {"Key": "FollowUpDate", "Value": "tomorrow"},
		"too long":          {"Key": "Agent", "Value": long},
	} {
		t.Run(name, func(t *testing.T) {
			for _, burn := range []bool{false, true} {
				l := newLab(t, sandbox.Options{Unknowns: sandbox.Unknowns{FailedMiningBurnsID: burn}})
				bad := l.json("session/metadatamedia", with(sessionBody("c", 3), "Metadata", []object{meta}))
				if a := l.media(bad.field(t, "SessionId"), []byte("abc")); a.status != 201 {
					t.Fatalf("HTTP must not tell: %+v", a)
				}
				l.send("c", []byte("abc"))
				want := []string{"c:mining_failed", "c:published"}
				if burn {
					want[1] = "c:failed_to_publish"
				}
				if d := cmp.Diff(want, l.states()); d != "" {
					t.Fatalf("burn %v (-want +got):\n%s", burn, d)
				}
			}
		})
	}
	l := newLab(t, sandbox.Options{Sources: []string{"other"}, Unknowns: sandbox.Unknowns{SourceCheckedInMining: true}})
	l.send("c", []byte("abc"))
	if d := cmp.Diff([]string{"c:mining_failed"}, l.states()); d != "" {
		t.Fatalf("unknown source (-want +got):\n%s", d)
	}
}

// wavHeader is the head of an 8 kHz, 8 bit, mono WAV whose data chunk claims
// size bytes, behind an odd-sized chunk.
func wavHeader(size uint32) []byte {
	b := []byte("RIFF\x00\x00\x00\x00WAVEJUNK\x03\x00\x00\x00abc\x00fmt \x10\x00\x00\x00")
	b = binary.LittleEndian.AppendUint16(b, 1)
	b = binary.LittleEndian.AppendUint16(b, 1)
	b = binary.LittleEndian.AppendUint32(b, 8000)
	b = binary.LittleEndian.AppendUint32(b, 8000)
	b = binary.LittleEndian.AppendUint16(b, 1)
	b = binary.LittleEndian.AppendUint16(b, 8)
	b = append(b, "data"...)
	return binary.LittleEndian.AppendUint32(b, size)
}

// zeros reads n zero bytes.
type zeros struct{ n int64 }

func (z *zeros) Read(p []byte) (int, error) {
	if z.n == 0 {
		return 0, io.EOF
	}
	k := int(min(z.n, int64(len(p))))
	clear(p[:k])
	z.n -= int64(k)
	return k, nil
}

func TestRecordingTooLong(t *testing.T) {
	l := newLab(t, sandbox.Options{})
	const limit = 6300 * 8000
	for name, tc := range map[string]struct {
		claim  uint32
		data   int64
		status int
	}{
		"at the limit":                 {limit, limit, 201},
		"above":                        {limit + 8, limit + 8, 400},
		"above, streamed head":         {0xffffffff, limit + 8, 400},
		"above, unfinished head":       {0, limit + 8, 400},
		"head promises more than came": {0xfffffff0, 100, 201},
	} {
		t.Run(name, func(t *testing.T) {
			head := wavHeader(tc.claim)
			total := int64(len(head)) + tc.data
			s := l.open(name, int(total))
			a := l.do("POST", "/ingestion/api/media/"+s, l.mediaHeader(), io.MultiReader(bytes.NewReader(head), &zeros{tc.data}), total)
			if a.status != tc.status {
				t.Fatalf("status %d, want %d (%s)", a.status, tc.status, a.body)
			}
			state := l.lastSession().State
			if (state == sandbox.SessionRefused) != (tc.status == 400) || (state == sandbox.SessionComplete) != (tc.status == 201) {
				t.Fatalf("session %s", state)
			}
		})
	}
	segments := with(without(sessionBody("long", len(wavHeader(0))+limit+8), "Metadata"), "SegmentData",
		[]object{{"Start": 0, "End": 100, "Metadata": []object{{"Key": "Agent", "Value": "A"}}}})
	s := l.json("session/metadatamedia/segments", segments).field(t, "SessionId")
	body := io.MultiReader(bytes.NewReader(wavHeader(limit+8)), &zeros{limit + 8})
	if a := l.do("POST", "/ingestion/api/media/"+s, l.mediaHeader(), body, int64(len(wavHeader(0))+limit+8)); a.status != 201 {
		t.Fatalf("segments of a long recording: %+v", a)
	}
}

func TestClientCutsBody(t *testing.T) {
	dir := t.TempDir()
	l := newLab(t, sandbox.Options{KeepDir: dir})
	s := l.open("c-1", 1000)
	conn := l.raw(s, 1000, sound(600))
	conn.CloseWrite()
	if got, err := io.ReadAll(conn); err != nil || len(got) > 0 {
		t.Fatalf("a cut body was answered: %q %v", got, err)
	}
	l.quiet()
	got := l.lastSession()
	if got.State != sandbox.SessionIncomplete || got.Bytes != 600 {
		t.Fatalf("session = %+v", got)
	}
	if len(l.c.Contacts()) != 0 {
		t.Fatal("a cut body became a contact")
	}
	r := l.c.Requests()
	if last := r[len(r)-1]; last.Status != 0 || last.Bytes != 600 || last.Note == "" {
		t.Fatalf("request = %+v", last)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 1 || !strings.HasSuffix(files[0], ".media.part") {
		t.Fatalf("kept %v, %v; want one .part", files, err)
	}
}

func TestRate(t *testing.T) {
	for _, retryAfter := range []string{"", "17"} {
		now := newClock()
		l := newLab(t, sandbox.Options{Now: now.Now, RetryAfter: retryAfter})
		h := map[string]string{"Authorization": "Bearer wrong"} // every request counts, also a refused one
		get := func() answer { return l.do("GET", "/ingestion/api/info/callmetadataconfig", h, nil, 0) }
		for i := range 200 {
			if a := get(); a.status != 401 {
				t.Fatalf("request %d: status %d", i+1, a.status)
			}
		}
		a := get()
		if _, sent := a.header["Retry-After"]; a.status != 429 || a.header.Get("Retry-After") != retryAfter || sent != (retryAfter != "") {
			t.Fatalf("request 201: %+v", a)
		}
		if l.newToken() == "" {
			t.Fatal("the identity provider is another host and has no part in the rate")
		}
		now.Add(59)
		if a := get(); a.status != 429 {
			t.Fatalf("in the same minute: status %d", a.status)
		}
		now.Add(1)
		if a := get(); a.status != 401 {
			t.Fatalf("in the next minute: status %d", a.status)
		}
		if s := l.c.Summary(); s.RateLimited != 2 || s.PeakPerMinute != 202 {
			t.Fatalf("summary %+v", s)
		}
	}
}

func TestBodyIsNotHeld(t *testing.T) {
	const size = 256 << 20
	l := newLab(t, sandbox.Options{})
	s := l.open("big", size)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	a := l.do("POST", "/ingestion/api/media/"+s, l.mediaHeader(), &zeros{size}, size)
	runtime.ReadMemStats(&after)
	if a.status != 201 {
		t.Fatalf("media: %+v", a)
	}
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 8<<20 {
		t.Fatalf("%d MiB allocated for a body of 256 MiB", grown>>20)
	}
	if got := l.c.Contacts()[0].SHA256; got != "a6d72ac7690f53be6ae46ba88506bd97302a093f7108472bd9efc3cefda06484" {
		t.Fatalf("sha256 of 256 MiB of zeros = %s", got)
	}
}

func TestConcurrent(t *testing.T) {
	l := newLab(t, sandbox.Options{RatePerMinute: -1, RequestLog: 10})
	const workers, each = 8, 25
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				id := fmt.Sprintf("c-%d", (w*each+i)/2) // every id twice
				a := l.json("session/metadatamedia", sessionBody(id, 5000))
				s := a.field(t, "SessionId")
				if a := l.media(s, sound(5000)); a.status != 201 {
					t.Errorf("media: %+v", a)
				}
				l.c.Summary()
				l.c.Contacts()
				l.c.Sessions()
				l.c.Requests()
			}
		})
	}
	wg.Wait()
	l.quiet()
	s := l.c.Summary()
	if s.Contacts[sandbox.Published] != workers*each/2 || s.Contacts[sandbox.FailedToPublish] != workers*each/2 {
		t.Fatalf("contacts = %v", s.Contacts)
	}
	if s.Routes["media"]["201"] != workers*each || s.Requests != 2*workers*each+1 || len(l.c.Requests()) != 10 {
		t.Fatalf("summary %+v, %d remembered", s, len(l.c.Requests()))
	}
}
