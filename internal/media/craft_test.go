package media_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ingestd/internal/media"
)

// TestExactLengths: what an encoder adds before and behind is taken off; the
// sources are 2.345 s. ffprobe adds it, so its figures cannot show this.
func TestExactLengths(t *testing.T) {
	for _, file := range []string{"opus_mono.ogg", "cbr_info.mp3", "vbr_xing.mp3", "gsm_sox.wav", "end.m4a", "audio_only_8k.mp4", "vorbis.ogg", "video.mp4"} {
		got, err := probe(load(t, file))
		if off := got.Duration - 2345*time.Millisecond; err != nil || off.Abs() > time.Millisecond || !got.Exact {
			t.Errorf("%s: %+v, %v", file, got, err)
		}
	}
}

// box is an MP4 box.
func box(name string, body ...[]byte) []byte {
	b := slices.Concat(body...)
	return slices.Concat(binary.BigEndian.AppendUint32(nil, uint32(len(b)+8)), []byte(name), b)
}

func u32(vs ...uint32) (b []byte) {
	for _, v := range vs {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}

// mp4 is a file of one audio track of 8 kHz, its times in 64 bits.
func mp4(brand, entry string, ticks uint32, more ...[]byte) []byte {
	const wide = 1 << 24
	mdia := box("mdia",
		box("mdhd", u32(wide, 0, 0, 0, 0, 8000, 0, ticks, 0)),
		box("hdlr", u32(0, 0), []byte("soun"), u32(0, 0, 0, 0)),
		box("minf", box("stbl", box("stsd", u32(0, 1), box(entry, u32(0, 1, 0, 0, 1<<16|16, 0, 8000<<16))))))
	moov := box("moov", append([][]byte{
		box("mvhd", u32(wide, 0, 0, 0, 0, 1000, 0, 0, 0)),
		box("trak", box("tkhd", u32(wide, 0, 0, 0, 0, 1, 0, 0, 0)), mdia),
	}, more...)...)
	return slices.Concat(box("ftyp", []byte(brand), u32(0)), moov, box("mdat", make([]byte, 64)))
}

func TestMP4ByHeader(t *testing.T) {
	for name, tt := range map[string]struct {
		file []byte
		want media.Info
	}{
		"wide times": {mp4("M4A ", "alac", 24000), media.Info{Container: "m4a", Codec: "alac", Exact: true, Duration: 3 * time.Second}},
		"3gp":        {mp4("3gp4", "samr", 16000), media.Info{Container: "3gp", Codec: "amr_nb", Exact: true, Duration: 2 * time.Second}},
		"quicktime":  {mp4("qt  ", "ulaw", 16000), media.Info{Container: "mov", Codec: "pcm_mulaw", Exact: true, Duration: 2 * time.Second}},
		"fragments with a total": {
			mp4("iso5", "Opus", 0, box("mvex", box("mehd", u32(0, 4500)))),
			media.Info{Container: "m4a", Codec: "opus", Exact: true, Duration: 4500 * time.Millisecond},
		},
		"a codec without a name": {mp4("M4A ", "zzzz", 8000), media.Info{Container: "m4a", Codec: "unknown", Exact: true, Duration: time.Second}},
	} {
		got, err := probe(tt.file)
		tt.want.SampleRate, tt.want.Channels, tt.want.Ext = 8000, 1, tt.want.Container
		if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
	}
	var bad *media.Error
	if _, err := probe(mp4("M4A ", "mp4a", 0)); !errors.As(err, &bad) || bad.Code != media.HeaderOnly {
		t.Errorf("no ticks: %v", err)
	}
}

// TestPatched changes one place of a real file.
func TestPatched(t *testing.T) {
	for _, tt := range []struct {
		name, file, old, new string
		change               func(*media.Info)
	}{
		{
			"mp3 in m4a", "front_mono.m4a", "\x04\x80\x80\x80\x17\x40", "\x04\x80\x80\x80\x17\x6b",
			func(in *media.Info) { in.Codec, in.Channels = "mp3", 2 }, // of the entry: the rest of the descriptor is AAC's
		},
		{
			"wmv", "voice.wma", "\x40\x9e\x69\xf8\x4d\x5b\xcf\x11", "\xc0\xef\x19\xbc\x4d\x5b\xcf\x11",
			func(in *media.Info) {
				in.Container, in.Ext, in.Video, in.Codec, in.SampleRate, in.Channels = "wmv", "wmv", true, "", 0, 0
			},
		},
		{
			"ogg without its end mark", "opus_mono.ogg", "OggS\x00\x04", "OggS\x00\x00",
			func(in *media.Info) { in.Warning = "the Ogg stream has no end mark: the recorder did not close it" },
		},
		{
			"ogg with a second stream behind", "opus_mono.ogg", "OggS\x00\x04", "OggS\x00\x06",
			func(in *media.Info) {
				in.Duration, in.Exact = 0, false
				in.Warning = "several Ogg streams follow one another: the length is not known"
			},
		},
		{
			"a wrong total in a flac", "mono.flac", "\x00\x00\x0a\xc8", "\x00\x00\x00\x00",
			func(in *media.Info) {
				in.Duration, in.Exact, in.Warning = 0, false, "the FLAC header states no length: it was written as a stream"
			},
		},
	} {
		b := load(t, tt.file)
		want, err := probe(b)
		if err != nil || bytes.Count(b, []byte(tt.old)) != 1 && tt.file != "voice.wma" {
			t.Fatalf("%s: %v, %d places", tt.name, err, bytes.Count(b, []byte(tt.old)))
		}
		tt.change(&want)
		got, err := probe(bytes.Replace(b, []byte(tt.old), []byte(tt.new), 1))
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", tt.name, err, diff)
		}
	}
}

// TestAppendedMP3: the table of the first part does not speak for the second.
func TestAppendedMP3(t *testing.T) {
	b := load(t, "cbr_info.mp3")
	got, err := probe(slices.Concat(b, b))
	if err != nil || got.Duration < 4690*time.Millisecond || got.Duration > 5200*time.Millisecond || got.Missing != 0 {
		t.Fatalf("got %+v, %v", got, err)
	}
}
