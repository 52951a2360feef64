package media_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ingestd/internal/media"
)

// The files of testdata are real audio, made with ffmpeg 5.1 and sox 14.4
// from 2.345 s (small formats) or 0.345 s (large ones) of tone and noise, or
// taken from the example exports (ex_*). wb.amr has real framing around
// random bits. ffprobe is what ffprobe 5.1 says in seconds, -1 = nothing.
// seconds is the truth where ffprobe is not within 0.05 s of it, and why says
// how it is known; -1 = not known to the probe.
var audio = []struct {
	file     string
	want     media.Info // without Duration, Warning
	ffprobe  float64
	seconds  float64
	why      string
	warnings string // part of Warning; "" = none
}{
	{file: "alaw.wav", want: wav("pcm_alaw", 8000, 1), ffprobe: 0.345},
	{file: "mulaw_stereo.wav", want: wav("pcm_mulaw", 8000, 2), ffprobe: 0.345},
	{file: "pcm_u8.wav", want: wav("pcm_u8", 8000, 1), ffprobe: 0.345},
	{file: "pcm_s16_stereo.wav", want: wav("pcm_s16le", 8000, 2), ffprobe: 0.345},
	{file: "pcm_s24_extensible.wav", want: wav("pcm_s24le", 8000, 1), ffprobe: 0.345},
	{file: "pcm_s32.wav", want: wav("pcm_s32le", 8000, 1), ffprobe: 0.345},
	{file: "pcm_f32.wav", want: wav("pcm_f32le", 8000, 1), ffprobe: 0.345},
	{file: "pcm.rf64.wav", want: wav("pcm_s16le", 8000, 1), ffprobe: 0.345},
	{file: "streamed_ffmpeg.wav", want: wav("pcm_s16le", 8000, 1), ffprobe: 0.345, warnings: "states no length"},
	{file: "streamed_sox.wav", want: wav("pcm_s16le", 8000, 1), ffprobe: 0.345, warnings: "states no length"},
	{file: "ex_growing.wav", want: wav("pcm_s16le", 8000, 1), ffprobe: 0.25, warnings: "states no length"},
	{file: "gsm_sox.wav", want: wav("gsm_ms", 8000, 1), ffprobe: 2.345},
	{file: "ex_gsm.WAV", want: wav("gsm_ms", 8000, 1), ffprobe: 2.3985},
	{file: "ima.wav", want: wav("adpcm_ima", 8000, 1), ffprobe: 2.39875},
	{file: "ima_stereo.wav", want: wav("adpcm_ima", 8000, 2), ffprobe: 0.384},
	{file: "ms.wav", want: wav("adpcm_ms", 8000, 1), ffprobe: 2.375},
	{file: "g723_1.wav", want: wav("g723_1", 8000, 1), ffprobe: 2.37},
	{file: "ex_g723.wav", want: wav("g723_1", 8000, 1), ffprobe: 1.98},
	{file: "g726.wav", want: wav("adpcm_g726", 8000, 1), ffprobe: 2.345},
	{file: "mp3.wav", want: wav("mp3", 8000, 1), ffprobe: 2.52},
	{
		file: "ex_cut_alaw.wav", want: with(wav("pcm_alaw", 8000, 1), func(in *media.Info) { in.Missing = 10828 }),
		ffprobe: 2.52125, seconds: 1.16775, why: "ffprobe repeats the header; 9,342 of its bytes are there", warnings: "10828 more bytes",
	},
	{file: "pcm.w64", want: in("w64", "pcm_s16le", 8000, 1), ffprobe: 0.345},
	{file: "streamed.w64", want: in("w64", "pcm_s16le", 8000, 1), ffprobe: -1, seconds: 0.345, why: "the source", warnings: "states no length"},

	{file: "cbr_info.mp3", want: in("mp3", "mp3", 8000, 1), ffprobe: 2.52, seconds: 2.345, why: "less what the encoder added, as the Info table says"},
	{file: "vbr_xing.mp3", want: in("mp3", "mp3", 16000, 1), ffprobe: 2.448, seconds: 2.345, why: "as above"},
	{file: "ex_stereo.mp3", want: in("mp3", "mp3", 8000, 2), ffprobe: 2.808, seconds: 2.635, why: "as above, and as the export's makers state"},
	{file: "vbr_bare.mp3", want: in("mp3", "mp3", 16000, 1), ffprobe: 2.40273, seconds: 2.448, why: "ffprobe estimates; 68 frames of 36 ms"},
	{file: "tags_44k_stereo.mp3", want: in("mp3", "mp3", 44100, 2), ffprobe: 2.40925},
	{file: "raw.aac", want: in("aac", "aac", 16000, 1), ffprobe: 2.430721},

	{file: "opus_mono.ogg", want: in("ogg", "opus", 48000, 1), ffprobe: 2.3515},
	{file: "ex_opus.ogg", want: in("ogg", "opus", 48000, 2), ffprobe: 2.319875},
	{file: "vorbis.ogg", want: in("ogg", "vorbis", 8000, 1), ffprobe: 2.345},
	{file: "speex.ogg", want: in("ogg", "speex", 8000, 1), ffprobe: 2.36},
	{file: "flac.ogg", want: in("ogg", "flac", 8000, 1), ffprobe: 0.345},
	{file: "mono.flac", want: in("flac", "flac", 8000, 1), ffprobe: 0.345},
	{file: "streamed.flac", want: guess(in("flac", "flac", 8000, 1)), ffprobe: -1, seconds: -1, why: "no total in the header", warnings: "states no length"},

	{file: "end.m4a", want: in("m4a", "aac", 16000, 1), ffprobe: 2.345},
	{file: "front_mono.m4a", want: in("m4a", "aac", 16000, 1), ffprobe: 2.345},
	{file: "audio_only_8k.mp4", want: in("m4a", "aac", 8000, 1), ffprobe: 2.345},
	{file: "audio.mov", want: in("mov", "aac", 8000, 1), ffprobe: 2.345},
	{file: "video.mp4", want: video(in("mp4", "aac", 8000, 1)), ffprobe: 2.345},
	{file: "ex_screen.mp4", want: video(in("mp4", "mpeg4", 0, 0)), ffprobe: 2.0},
	{file: "fragmented.mp4", want: guess(in("m4a", "aac", 8000, 1)), ffprobe: 2.473, seconds: -1, why: "no total in the header", warnings: "fragments"},

	{file: "nb.amr", want: in("amr", "amr_nb", 8000, 1), ffprobe: 2.36},
	{file: "ex_dtx.amr", want: in("amr", "amr_nb", 8000, 1), ffprobe: 2.147125, seconds: 2.08, why: "ffprobe divides by the bit rate; 104 frames of 20 ms"},
	{file: "wb.amr", want: in("amr", "amr_wb", 16000, 1), ffprobe: 2.45275, seconds: 2.36, why: "as above; 118 frames"},
	{file: "voice.wma", want: in("wma", "wmav2", 8000, 1), ffprobe: 2.368},
}

func in(container, codec string, rate, channels int) media.Info {
	return media.Info{Container: container, Codec: codec, SampleRate: rate, Channels: channels, Exact: true, Ext: container}
}

func wav(codec string, rate, channels int) media.Info { return in("wav", codec, rate, channels) }

func with(i media.Info, change func(*media.Info)) media.Info { change(&i); return i }

func video(i media.Info) media.Info { i.Video = true; return i }

func guess(i media.Info) media.Info { i.Exact = false; return i }

func load(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func probe(b []byte) (media.Info, error) {
	return media.Probe(bytes.NewReader(b), int64(len(b)))
}

func TestProbeRealAudio(t *testing.T) {
	for _, tt := range audio {
		t.Run(tt.file, func(t *testing.T) {
			got, err := probe(load(t, tt.file))
			if err != nil {
				t.Fatal(err)
			}
			want := tt.ffprobe
			if tt.why != "" {
				want = tt.seconds
			}
			if want = max(want, 0); math.Abs(got.Duration.Seconds()-want) > 0.05 {
				t.Errorf("duration %v, want %.3f s", got.Duration, want)
			}
			if !strings.Contains(got.Warning, tt.warnings) || tt.warnings == "" && got.Warning != "" {
				t.Errorf("warning %q, want %q", got.Warning, tt.warnings)
			}
			got.Duration, got.Warning = 0, ""
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestTestdataIsUsed keeps the folder and the tables in step.
func TestTestdataIsUsed(t *testing.T) {
	known := map[string]bool{}
	for _, tt := range audio {
		known[tt.file] = true
	}
	for _, tt := range refused {
		known[tt.file] = true
	}
	files, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !f.IsDir() && !known[f.Name()] {
			t.Errorf("no test reads testdata/%s", f.Name())
		}
	}
}

// TestMissing cuts files whose container states how long they are: the probe
// must tell that bytes lack, so that nobody sends half a call.
func TestMissing(t *testing.T) {
	for file, exactly := range map[string]bool{
		"alaw.wav": true, "pcm_s32.wav": true, "pcm.rf64.wav": true, "pcm.w64": true, "ima.wav": true, "gsm_sox.wav": true,
		"front_mono.m4a": true, "end.m4a": false, "cbr_info.mp3": true, "vbr_xing.mp3": true, "voice.wma": true,
		"vbr_bare.mp3": false, "raw.aac": false, "nb.amr": false, "opus_mono.ogg": false, "vorbis.ogg": false,
	} {
		b := load(t, file)
		whole, _ := probe(b)
		cut := len(b) * 2 / 3
		got, err := probe(b[:cut])
		if err != nil && file != "end.m4a" {
			t.Errorf("%s cut: %v", file, err)
		}
		if got.Missing <= 0 || exactly && got.Missing != int64(len(b)-cut) {
			t.Errorf("%s: %d bytes were cut off, missing %d", file, len(b)-cut, got.Missing)
		}
		if strings.HasSuffix(file, ".wav") && math.Abs(float64(got.Duration)/float64(whole.Duration)-2./3) > 0.07 {
			t.Errorf("%s: %v of %v after the cut", file, got.Duration, whole.Duration)
		}
		if err == nil && !strings.Contains(got.Warning, "cut off") {
			t.Errorf("%s: warning %q", file, got.Warning)
		}
	}
}

// TestTrailingChunkCut: the audio is whole, yet the copy is not.
func TestTrailingChunkCut(t *testing.T) {
	b := append(load(t, "alaw.wav"), "LIST\x40\x00\x00\x00INFO"...)
	b[4], b[5] = byte(len(b)-8+60), byte((len(b)-8+60)>>8)
	if got, err := probe(b); err != nil || got.Missing != 60 || got.Duration != 345*time.Millisecond {
		t.Fatalf("got %+v, %v", got, err)
	}
}

// TestTagsBehind: what taggers append is no audio and nothing is missing.
func TestTagsBehind(t *testing.T) {
	b := load(t, "vbr_bare.mp3")
	want, _ := probe(b)
	ape := "APETAGEX\xd0\x07\x00\x00\x40\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x80" + strings.Repeat("\x00", 8)
	for name, tags := range map[string]string{
		"id3v1":         "TAG" + strings.Repeat(" ", 125),
		"ape":           "APETAGEX" + strings.Repeat("x", 24+32) + ape,
		"ape and id3v1": "APETAGEX" + strings.Repeat("x", 24+32) + ape + "TAG" + strings.Repeat(" ", 125),
	} {
		got, err := probe(append(bytes.Clone(b), tags...))
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
	}
	for name, tt := range map[string]struct{ head, tail string }{
		"junk before": {head: strings.Repeat("\xff\xfa junk", 100)},
		"junk behind": {tail: strings.Repeat("\x00", 5000)},
	} {
		got, err := probe([]byte(tt.head + string(b) + tt.tail))
		if err != nil || got.Duration != want.Duration || got.Missing != 0 || got.Exact != (tt.tail == "") {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	got, err := probe(append(append(bytes.Clone(b[:3000]), make([]byte, 700)...), b[3000:]...))
	if err != nil || want.Duration-got.Duration > 150*time.Millisecond || !got.Exact {
		t.Errorf("damage between: %+v, %v", got, err)
	}
}

// TestEveryCut probes beginnings of every file, of every length at first: a file on its way must
// never cause a panic, nor an error without a sentence.
func TestEveryCut(t *testing.T) {
	for _, tt := range audio {
		b := load(t, tt.file)
		for n := 0; n < len(b); n += 1 + n/30 {
			check(t, b[:n], int64(n))
		}
	}
}

type broken struct{ err error }

func (b broken) ReadAt([]byte, int64) (int, error) { return 0, b.err }

func TestReadErrors(t *testing.T) {
	disk := errors.New("disk on fire")
	if _, err := media.Probe(broken{disk}, 100); !errors.Is(err, disk) {
		t.Errorf("got %v", err)
	}
	b := load(t, "alaw.wav")
	var bad *media.Error
	if _, err := media.Probe(bytes.NewReader(b[:20]), int64(len(b))); !errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &bad) {
		t.Errorf("file that shrank: got %v", err)
	}
}
