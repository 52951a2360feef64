package media_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"testing"
	"testing/iotest"

	"ingestd/internal/media"
)

// exported returns a file of the archive of real exports.
func exported(t *testing.T, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile("../../cmd/ingestd/testdata/exports/exports.tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	gz, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	for tr := tar.NewReader(gz); ; {
		h, err := tr.Next()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if path.Clean(h.Name) != name {
			continue
		}
		b, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
}

func leg(b []byte) media.Leg { return media.Leg{R: bytes.NewReader(b), Size: int64(len(b))} }

// crafted is a WAV file of one codec; samples are bytes as they stand in it.
func crafted(tag, channels, rate, bits int, samples []byte) []byte {
	b := []byte("RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00")
	for _, v := range []int{tag, channels} {
		b = binary.LittleEndian.AppendUint16(b, uint16(v))
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(rate))
	b = binary.LittleEndian.AppendUint32(b, uint32(rate*channels*bits/8))
	b = binary.LittleEndian.AppendUint16(b, uint16(channels*bits/8))
	b = binary.LittleEndian.AppendUint16(b, uint16(bits))
	b = binary.LittleEndian.AppendUint32(append(b, "data"...), uint32(len(samples)))
	b = append(b, samples...)
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)-8))
	return b
}

func words(values ...int16) []byte {
	var b []byte
	for _, v := range values {
		b = binary.LittleEndian.AppendUint16(b, uint16(v))
	}
	return b
}

// The legs of the SIPREC example are G.711 of different lengths; the agent
// speaks first, so the first sound must be in the agent's channel.
func TestMergeRealLegs(t *testing.T) {
	for _, test := range []struct {
		customer, agent, codec string
		seconds                float64
	}{
		{"siprec/sessions/20261102/46107997-46f7-5a69-80c9-1aab0c04f2a9/1.wav", "siprec/sessions/20261102/46107997-46f7-5a69-80c9-1aab0c04f2a9/2.wav", "pcm_mulaw", 2.672},
		{"siprec/sessions/20261102/5da72158-e20c-526e-bb24-a6b88c492e04/caller.wav", "siprec/sessions/20261102/5da72158-e20c-526e-bb24-a6b88c492e04/callee.wav", "pcm_alaw", 2.622},
		{"siprec/sessions/20261102/46107997-46f7-5a69-80c9-1aab0c04f2a9/1.wav", "siprec/sessions/20261102/5da72158-e20c-526e-bb24-a6b88c492e04/callee.wav", "pcm_s16le", 2.622},
	} {
		t.Run(test.codec, func(t *testing.T) {
			m, err := media.Merge(leg(exported(t, test.customer)), leg(exported(t, test.agent)))
			if err != nil {
				t.Fatal(err)
			}
			out, err := io.ReadAll(m.NewReader())
			if err != nil {
				t.Fatal(err)
			}
			again, _ := io.ReadAll(iotest.OneByteReader(m.NewReader()))
			if !bytes.Equal(out, again) {
				t.Error("another reading gives other bytes")
			}
			info, err := media.Probe(bytes.NewReader(out), int64(len(out)))
			if err != nil || int64(len(out)) != m.Size {
				t.Fatalf("%d bytes, promised %d; %v", len(out), m.Size, err)
			}
			if info != m.Info || info.Channels != 2 || info.Codec != test.codec || info.SampleRate != 8000 || info.Missing != 0 {
				t.Errorf("probed %+v, promised %+v", info, m.Info)
			}
			if d := info.Duration.Seconds() - test.seconds; d > 0.15 || d < -0.15 {
				t.Errorf("lasts %s, want %.3f s", info.Duration, test.seconds)
			}
			left, right := firstSound(t, out, info.Codec)
			if right >= left {
				t.Errorf("sound begins at frame %d left (customer) and %d right (agent); the agent speaks first", left, right)
			}
		})
	}
}

// firstSound returns the first loud frame of either channel.
func firstSound(t *testing.T, wav []byte, codec string) (left, right int) {
	t.Helper()
	at := bytes.Index(wav, []byte("data")) + 8
	loud := func(frame, channel int) bool {
		switch codec {
		case "pcm_s16le":
			v := int16(binary.LittleEndian.Uint16(wav[at+4*frame+2*channel:]))
			return v > 1000 || v < -1000
		case "pcm_alaw":
			return (wav[at+2*frame+channel]^0x55)>>4&7 >= 4
		default:
			return ^wav[at+2*frame+channel]>>4&7 >= 4
		}
	}
	width := 2
	if codec == "pcm_s16le" {
		width = 4
	}
	first := [2]int{-1, -1}
	for frame := range (len(wav) - at) / width {
		for c := range first {
			if first[c] < 0 && loud(frame, c) {
				first[c] = frame
			}
		}
	}
	if first[0] < 0 || first[1] < 0 {
		t.Fatalf("a channel is silent: %v", first)
	}
	return first[0], first[1]
}

func TestMergeSamples(t *testing.T) {
	mulaw := func(rate int, codes ...byte) []byte { return crafted(7, 1, rate, 8, codes) }
	alaw := func(codes ...byte) []byte { return crafted(6, 1, 8000, 8, codes) }
	pcm := func(values ...int16) []byte { return crafted(1, 1, 8000, 16, words(values...)) }
	for name, test := range map[string]struct {
		left, right []byte
		want        []byte // samples
	}{
		"pcm, right shorter":    {pcm(1, 2, 3), pcm(-4), words(1, -4, 2, 0, 3, 0)},
		"pcm, left shorter":     {pcm(1), pcm(4, 5), words(1, 4, 0, 5)},
		"mu-law keeps its code": {mulaw(8000, 0x12, 0x34), mulaw(8000, 0x56), []byte{0x12, 0x56, 0x34, 0xFF}},
		"a-law keeps its code":  {alaw(0x12), alaw(0x56, 0x57), []byte{0x12, 0x56, 0xD5, 0x57}},
		// ITU-T G.711: the extremes, the zeros, and one in between.
		"mu-law decoded": {mulaw(8000, 0x00, 0x80, 0xFF, 0x7F, 0xCE), pcm(0, 0, 0, 0, 0), words(-32124, 0, 32124, 0, 0, 0, 0, 0, 988, 0)},
		"a-law decoded":  {alaw(0x2A, 0xAA, 0xD5, 0x55, 0x80), pcm(0, 0, 0, 0, 0), words(-32256, 0, 32256, 0, 8, 0, -8, 0, 5504, 0)},
		"the two laws":   {mulaw(8000, 0x80), alaw(0xAA), words(32124, 32256)},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := media.Merge(leg(test.left), leg(test.right))
			if err != nil {
				t.Fatal(err)
			}
			out, err := io.ReadAll(m.NewReader())
			if err != nil {
				t.Fatal(err)
			}
			if got := out[bytes.Index(out, []byte("data"))+8:]; !bytes.Equal(got, test.want) {
				t.Errorf("samples % x, want % x", got, test.want)
			}
		})
	}
}

func TestMergeRefuses(t *testing.T) {
	mono := crafted(1, 1, 8000, 16, words(1, 2))
	for name, test := range map[string]struct {
		other []byte
		code  string
	}{
		"another rate":    {crafted(1, 1, 16000, 16, words(1, 2)), media.MergeRate},
		"stereo":          {crafted(1, 2, 8000, 16, words(1, 2)), media.MergeFormat},
		"24 bits":         {crafted(1, 1, 8000, 24, make([]byte, 6)), media.MergeFormat},
		"GSM":             {crafted(0x31, 1, 8000, 0, make([]byte, 65)), media.MergeFormat},
		"no audio at all": {[]byte("<html><body>Not found</body></html>"), media.NotAudio},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := media.Merge(leg(mono), leg(test.other))
			var bad *media.Error
			if !errors.As(err, &bad) || bad.Code != test.code || bad.Text == "" {
				t.Errorf("%v, want code %s", err, test.code)
			}
		})
	}
}

// A leg that is cut off under way ends the stream early: the gate compares
// length and hash and lets nothing through.
func TestMergeCutShort(t *testing.T) {
	whole := crafted(1, 1, 8000, 16, make([]byte, 100_000))
	r := &cuttable{b: whole}
	m, err := media.Merge(media.Leg{R: r, Size: int64(len(whole))}, leg(whole))
	if err != nil {
		t.Fatal(err)
	}
	stream := m.NewReader()
	if _, err := io.CopyN(io.Discard, stream, 1000); err != nil {
		t.Fatal(err)
	}
	r.b = whole[:60_000]
	n, err := io.Copy(io.Discard, stream)
	if err != nil || n+1000 >= m.Size {
		t.Errorf("%d bytes of %d, %v", n+1000, m.Size, err)
	}
}

type cuttable struct{ b []byte }

func (c *cuttable) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(c.b).ReadAt(p, off)
}

// Legs of 2 GiB each are described without being read, and what would not fit
// into the header's 32 bits is refused.
func TestMergeLarge(t *testing.T) {
	head := crafted(7, 1, 8000, 8, nil)
	for _, test := range []struct {
		bytes int64
		code  string
	}{{1 << 30, ""}, {1<<31 - 100, ""}, {1 << 31, media.MergeSize}} {
		b := bytes.Clone(head)
		binary.LittleEndian.PutUint32(b[4:], uint32(test.bytes+36))
		binary.LittleEndian.PutUint32(b[40:], uint32(test.bytes+1))
		l := media.Leg{R: &headed{b}, Size: test.bytes + 45}
		m, err := media.Merge(l, l)
		var bad *media.Error
		if errors.As(err, &bad); (bad == nil) != (test.code == "") || bad != nil && bad.Code != test.code {
			t.Fatalf("%d bytes: %v", test.bytes, err)
		}
		if bad == nil && m.Size <= 2*test.bytes {
			t.Errorf("%d bytes: %d merged", test.bytes, m.Size)
		}
	}
}

// headed is a file of zeros behind its head.
type headed struct{ head []byte }

func (s *headed) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	if off < int64(len(s.head)) {
		copy(p, s.head[off:])
	}
	return len(p), nil
}

// The bytes are part of the promise: the ledger's hash of a merged recording
// must not change with a version of the program.
func TestMergePinned(t *testing.T) {
	dir := "siprec/sessions/20261102/46107997-46f7-5a69-80c9-1aab0c04f2a9/"
	m, err := media.Merge(leg(exported(t, dir+"1.wav")), leg(exported(t, dir+"2.wav")))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, m.NewReader()); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%x", sum.Sum(nil)); got != "561d66e8f35e7728c66ef3166f2a4d21c56fe4f2c01785d6556aaf9b179183dc" {
		t.Errorf("SHA-256 %s", got)
	}
}
