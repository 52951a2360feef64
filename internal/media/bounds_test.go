package media_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ingestd/internal/media"
)

// sparse is a file that is mostly not there: body gives the bytes of a place,
// read counts what was asked for.
type sparse struct {
	size int64
	body func(p []byte, off int64)
	read int64
}

func (s *sparse) ReadAt(p []byte, off int64) (int, error) {
	n := int(min(int64(len(p)), s.size-off))
	clear(p[:n])
	s.body(p[:n], off)
	s.read += int64(n)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// parts places byte strings at offsets, zeros around them.
func parts(at map[int64][]byte) func([]byte, int64) {
	return func(p []byte, off int64) {
		for from, b := range at {
			if from < off+int64(len(p)) && off < from+int64(len(b)) {
				copy(p[max(from-off, 0):], b[max(off-from, 0):])
			}
		}
	}
}

// repeat is b again and again behind head.
func repeat(head, b []byte) func([]byte, int64) {
	return func(p []byte, off int64) {
		n := 0
		if off < int64(len(head)) {
			n = copy(p, head[off:])
		}
		for n < len(p) {
			n += copy(p[n:], b[(off+int64(n)-int64(len(head)))%int64(len(b)):])
		}
	}
}

const gib = 1 << 30

// TestReadsLittle: no file of 1 GiB costs more than the promised limit,
// whatever its format, and whether it is good or all wrong.
func TestReadsLittle(t *testing.T) {
	files := map[string]func([]byte, int64){
		"wav of empty chunks":   repeat([]byte("RIFF\xff\xff\xff\x3fWAVE"), []byte("JUNK\x00\x00\x00\x00")),
		"w64 of empty chunks":   repeat(load(t, "pcm.w64")[:40], append([]byte("junk0123456789ab"), 24, 0, 0, 0, 0, 0, 0, 0)),
		"mp4 of empty boxes":    repeat([]byte("\x00\x00\x00\x08ftyp"), []byte("\x00\x00\x00\x08free")),
		"mp4 of nested boxes":   repeat(nil, []byte("\x40\x00\x00\x00moov\x3f\xff\xff\x00trak")),
		"ogg of empty pages":    repeat(nil, append([]byte("OggS\x00\x02"), make([]byte, 21)...)),
		"ogg without pages":     repeat(load(t, "opus_mono.ogg")[:200], []byte("OggS\x01")),
		"flac of empty blocks":  repeat([]byte("fLaC\x00\x00\x00\x22"+strings.Repeat("\x11", 34)), []byte{1, 0, 0, 0}),
		"id3 of empty tags":     repeat(nil, []byte("ID3\x03\x00\x00\x00\x00\x00\x00")),
		"mp3 of lost frames":    repeat(load(t, "vbr_bare.mp3")[:2000], load(t, "vbr_bare.mp3")[100:300]),
		"false starts of mp3":   repeat(nil, []byte{0xff, 0xfb, 0x90}),
		"amr of smallest frame": repeat([]byte("#!AMR\n"), []byte{0x7c}),
		"text":                  repeat(nil, []byte("no news is good news\n")),
	}
	for _, tt := range audio {
		files[tt.file+" and zeros"] = parts(map[int64][]byte{0: load(t, tt.file)})
		files[tt.file+" repeated"] = repeat(nil, load(t, tt.file))
	}
	for name, body := range files {
		f := &sparse{size: gib, body: body}
		in, err := media.Probe(f, f.size)
		var bad *media.Error
		if err != nil && !errors.As(err, &bad) {
			t.Errorf("%s: %v", name, err)
		}
		if f.read > media.ReadLimit || f.read == 0 {
			t.Errorf("%s: %d bytes read: %+v, %v", name, f.read, in, err)
		}
	}
}

// TestLongRows: the length of MP3, AAC and AMR without a total is counted
// while that is cheap, and else estimated and said to be.
func TestLongRows(t *testing.T) {
	for _, tt := range []struct {
		file       string
		head, skip int // bytes before the frames; of them to be repeated with the frames
		copies     int64
		exact      bool
	}{
		{file: "vbr_bare.mp3", copies: 50, exact: true},
		{file: "vbr_bare.mp3", copies: 5000},
		{file: "raw.aac", copies: 90, exact: true},
		{file: "raw.aac", copies: 9000},
		{file: "nb.amr", head: 6, copies: 200, exact: true},
		{file: "nb.amr", head: 6, copies: 20000},
	} {
		b := load(t, tt.file)
		one, err := probe(b)
		if err != nil {
			t.Fatal(err)
		}
		f := &sparse{size: int64(tt.head) + tt.copies*int64(len(b)-tt.head), body: repeat(b[:tt.head], b[tt.head:])}
		got, err := media.Probe(f, f.size)
		if err != nil {
			t.Fatal(err)
		}
		off := math.Abs(got.Duration.Seconds()/(one.Duration.Seconds()*float64(tt.copies)) - 1)
		if got.Exact != tt.exact || off > 0.01 || tt.exact && off > 1e-9 || got.Missing != 0 {
			t.Errorf("%s x %d: %+v, off by %.3f %%", tt.file, tt.copies, got, off*100)
		}
		if got.Exact == strings.Contains(got.Warning, "estimate") {
			t.Errorf("%s x %d: warning %q", tt.file, tt.copies, got.Warning)
		}
		f.size -= 3
		if got, err = media.Probe(f, f.size); err != nil || got.Missing != 3 && tt.file != "nb.amr" {
			t.Errorf("%s x %d less 3 bytes: %+v, %v", tt.file, tt.copies, got, err)
		}
	}
}

// TestBigFiles: what stands at the far end is found without reading the middle.
func TestBigFiles(t *testing.T) {
	m4a, opus := load(t, "end.m4a"), load(t, "opus_mono.ogg")
	moov := bytes.Index(m4a, []byte("moov")) - 4
	mdat := bytes.Index(m4a, []byte("mdat")) - 4
	box := binary.BigEndian.AppendUint64([]byte("\x00\x00\x00\x01mdat"), 5*gib)
	last := bytes.LastIndex(opus, []byte("OggS"))
	rf64 := load(t, "pcm.rf64.wav")
	binary.LittleEndian.PutUint64(rf64[20:], 6*gib+80)
	binary.LittleEndian.PutUint64(rf64[28:], 6*gib)
	data := int64(bytes.Index(rf64, []byte("data")) + 8)
	for name, tt := range map[string]struct {
		file sparse
		want time.Duration
	}{
		"m4a with its index behind 5 GiB":     {sparse{size: int64(mdat) + 5*gib + int64(len(m4a)-moov), body: parts(map[int64][]byte{0: m4a[:mdat], int64(mdat): box, int64(mdat) + 5*gib: m4a[moov:]})}, 2345 * time.Millisecond},
		"ogg with its last page behind 3 GiB": {sparse{size: 3*gib + int64(len(opus)-last), body: parts(map[int64][]byte{0: opus[:last], 3 * gib: opus[last:]})}, 2345 * time.Millisecond},
		"rf64 of 6 GiB":                       {sparse{size: data + 6*gib, body: parts(map[int64][]byte{0: rf64})}, 3 * gib / 8000 * time.Second},
		"wav of 5 GiB in 32 bits":             {sparse{size: 44 + 5*gib, body: parts(map[int64][]byte{0: riff(1, 1, 8000, 2, 16, gib)})}, 5 * gib / 16000 * time.Second},
	} {
		got, err := media.Probe(&tt.file, tt.file.size)
		if off := got.Duration - tt.want; err != nil || off.Abs() > time.Second || got.Missing != 0 || tt.file.read > 400<<10 {
			t.Errorf("%s: %+v, %v, %d bytes read", name, got, err, tt.file.read)
		}
	}
}

// riff is a WAV header with a plain fmt chunk.
func riff(tag, channels, rate, block, bits, data int) []byte {
	b := append([]byte("RIFF"), binary.LittleEndian.AppendUint32(nil, uint32(36+data))...)
	b = append(b, "WAVEfmt \x10\x00\x00\x00"...)
	for _, v := range []struct{ n, bytes int }{{tag, 2}, {channels, 2}, {rate, 4}, {rate * block, 4}, {block, 2}, {bits, 2}} {
		b = append(b, binary.LittleEndian.AppendUint32(nil, uint32(v.n))[:v.bytes]...)
	}
	return append(append(b, "data"...), binary.LittleEndian.AppendUint32(nil, uint32(data))...)
}

// TestWavByHeader: codecs that no tool at hand writes, and headers that recorders get wrong.
func TestWavByHeader(t *testing.T) {
	fact := func(h []byte, samples uint32) []byte {
		h = append(append(bytes.Clone(h[:36]), "fact\x04\x00\x00\x00"...), append(binary.LittleEndian.AppendUint32(nil, samples), h[36:]...)...)
		h[4] += 12
		return h
	}
	edit := func(h []byte, at int, v uint32) []byte {
		h = bytes.Clone(h)
		binary.LittleEndian.PutUint32(h[at:], v)
		return h
	}
	perBlock := func(h []byte, samples uint16) []byte { // the fmt chunk with 2 + 2 bytes more
		h = slices.Concat(h[:36], []byte{2, 0, byte(samples), byte(samples >> 8)}, h[36:])
		h[4] += 4
		h[16] = 20
		return h
	}
	for _, tt := range []struct {
		name     string
		head     []byte
		data     int
		codec    string
		seconds  float64
		guess    bool
		missing  int64
		warnings string
	}{
		{name: "g729", head: riff(0x83, 1, 8000, 10, 0, 2000), data: 2000, codec: "g729", seconds: 2},
		{name: "g729 stereo", head: riff(0x83, 2, 8000, 20, 0, 2000), data: 2000, codec: "g729", seconds: 1},
		{name: "g723.1 of another maker", head: riff(0xA100, 1, 8000, 24, 0, 2400), data: 2400, codec: "g723_1", seconds: 3},
		{name: "g723.1 at the lower rate", head: riff(0x111, 1, 8000, 20, 0, 2000), data: 2000, codec: "g723_1", seconds: 3},
		{name: "gsm with a wrong mean rate", head: edit(riff(0x31, 1, 8000, 65, 0, 6500), 28, 16000), data: 6500, codec: "gsm_ms", seconds: 4},
		{name: "fact trims the last block", head: fact(riff(0x31, 1, 8000, 65, 0, 6500), 31900), data: 6500, codec: "gsm_ms", seconds: 3.9875},
		{name: "fact in bytes", head: fact(riff(0x31, 1, 8000, 65, 0, 6500), 6500), data: 6500, codec: "gsm_ms", seconds: 4},
		{name: "fact of pcm is not needed", head: fact(riff(1, 1, 8000, 2, 16, 16000), 77), data: 16000, codec: "pcm_s16le", seconds: 1},
		{name: "ima by its block", head: riff(0x11, 1, 8000, 256, 4, 2560), data: 2560, codec: "adpcm_ima", seconds: 0.63125},
		{name: "ima by stated samples", head: perBlock(riff(0x11, 1, 8000, 256, 4, 2560), 400), data: 2560, codec: "adpcm_ima", seconds: 0.5},
		{name: "ima that states too many", head: perBlock(riff(0x11, 1, 8000, 256, 4, 2560), 9999), data: 2560, codec: "adpcm_ima", seconds: 0.63125},
		{name: "ima with a block too small", head: riff(0x11, 2, 8000, 4, 4, 8000), data: 8000, codec: "adpcm_ima", seconds: 0.25, guess: true, warnings: "estimate"},
		{name: "a chunk of odd length", head: slices.Concat(edit(riff(1, 1, 8000, 2, 16, 16000), 4, 16048)[:36], []byte("note\x03\x00\x00\x00abc\x00"), riff(1, 1, 8000, 2, 16, 16000)[36:]), data: 16000, codec: "pcm_s16le", seconds: 1},
		{name: "only the inner length is filled in", head: edit(riff(1, 1, 8000, 2, 16, 32000), 4, 0), data: 16000, codec: "pcm_s16le", seconds: 1, missing: 16000, warnings: "16000 more bytes"},
		{name: "float 64", head: riff(3, 1, 8000, 8, 64, 6400), data: 6400, codec: "pcm_f64le", seconds: 0.1},
		{name: "block align 0", head: edit(riff(7, 2, 8000, 2, 8, 1600), 32, 8<<16), data: 1600, codec: "pcm_mulaw", seconds: 0.1},
		{name: "oki", head: edit(riff(0x17, 1, 8000, 1, 4, 4000), 28, 4000), data: 4000, codec: "adpcm_oki", seconds: 1, guess: true, warnings: "estimate"},
		{name: "a tag without a name", head: edit(riff(0x1234, 1, 8000, 1, 0, 4000), 28, 1000), data: 4000, codec: "wav_0x1234", seconds: 4, guess: true, warnings: "estimate"},
		{name: "no mean rate either", head: edit(riff(0x1234, 1, 8000, 1, 0, 4000), 28, 0), data: 4000, codec: "wav_0x1234", seconds: 0, guess: true, warnings: "estimate"},
		{name: "data 0, outer 36, and grown", head: riff(1, 1, 8000, 2, 16, 0), data: 16000, codec: "pcm_s16le", seconds: 1, warnings: "states no length"},
		{name: "outer counts 8 too many", head: edit(riff(1, 1, 8000, 2, 16, 16000), 4, 16044), data: 16000, codec: "pcm_s16le", seconds: 1},
		{name: "data goes on beyond the file", head: riff(1, 1, 8000, 2, 16, 32000), data: 16000, codec: "pcm_s16le", seconds: 1, missing: 16000, warnings: "16000 more bytes"},
		{name: "rf64 without ds64", head: append([]byte("RF64"), edit(riff(1, 1, 8000, 2, 16, 0), 40, 0xFFFFFFFF)[4:]...), data: 16000, codec: "pcm_s16le", seconds: 1, warnings: "states no length"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := probe(append(tt.head, make([]byte, tt.data)...))
			if err != nil {
				t.Fatal(err)
			}
			if got.Codec != tt.codec || math.Abs(got.Duration.Seconds()-tt.seconds) > 0.0001 || got.Exact == tt.guess || got.Missing != tt.missing {
				t.Errorf("got %+v", got)
			}
			if !strings.Contains(got.Warning, tt.warnings) || tt.warnings == "" && got.Warning != "" {
				t.Errorf("warning %q, want %q", got.Warning, tt.warnings)
			}
		})
	}
}

// check probes b as a file of size bytes, zeros behind b, and asks for what
// holds of any answer.
func check(t *testing.T, b []byte, size int64) {
	t.Helper()
	f := &sparse{size: size, body: parts(map[int64][]byte{0: b})}
	in, err := media.Probe(f, size)
	var bad *media.Error
	switch {
	case f.read > media.ReadLimit:
		t.Fatalf("%d bytes read", f.read)
	case in.Duration < 0 || in.Missing < 0 || in.SampleRate < 0 || in.Channels < 0:
		t.Fatalf("below zero: %+v", in)
	case err != nil && (!errors.As(err, &bad) || bad.Code == "" || len(bad.Text) < 20 || bad.Text == "not this format"):
		t.Fatalf("no answer: %v", err)
	case err == nil && (in.Container == "" || in.Ext == "" || in.Codec == "" && !in.Video):
		t.Fatalf("no error and no answer: %+v", in)
	case err == nil && in.Missing > 0 && in.Warning == "":
		t.Fatalf("silent about %d bytes: %+v", in.Missing, in)
	case err == nil && in.Exact && in.Duration == 0:
		t.Fatalf("exactly nothing: %+v", in)
	}
}

func FuzzProbe(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.*"))
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[:min(len(b), 8<<10)], uint32(0)) // headers and some frames: short inputs mutate faster
		f.Add(b[:min(len(b), 1<<10)], uint32(1<<20))
	}
	for _, tt := range refused {
		f.Add([]byte(tt.data), uint32(0))
	}
	f.Fuzz(func(t *testing.T, b []byte, zeros uint32) {
		check(t, b, int64(len(b))+int64(zeros))
	})
}
