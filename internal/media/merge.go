package media

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Codes of an Error of Merge.
const (
	MergeFormat = "merge_format" // a leg is no mono WAV of PCM, mu-law or A-law
	MergeRate   = "merge_rate"   // the legs' sample rates differ
	MergeSize   = "merge_size"   // the result does not fit into a WAV file
)

// Leg is one mono file of a call whose sides were recorded apart.
type Leg struct {
	R    io.ReaderAt
	Size int64 // bytes
}

// Merged is two mono legs as one stereo WAV file that exists nowhere: its
// bytes are made while they are read, and are the same at every reading.
type Merged struct {
	Info Info
	Size int64 // bytes of the whole file

	legs   [2]legTrack
	frames int64 // samples per channel
	wide   bool  // 16-bit samples, else 8
	header []byte
}

// audioChunk is where the samples of a WAV file lie.
type audioChunk struct {
	at, size int64 // bytes
	format   waveFormat
}

// legTrack is one leg on its way into the merged file.
type legTrack struct {
	r       io.ReaderAt
	at      int64 // of the first sample
	samples int64
	codec   string
}

// Merge lays two legs side by side, the first on the left channel. Two legs of
// one codec keep it, other pairs become PCM of 16 bits; the shorter leg is
// followed by silence. Legs that cannot be merged give an [*Error], any other
// error is one of reading.
func Merge(left, right Leg) (*Merged, error) {
	m := &Merged{}
	var rates [2]int
	for i, leg := range []Leg{left, right} {
		s := &source{r: leg.R, size: leg.Size, left: ReadLimit}
		info, bad := s.probe()
		side := [2]string{"left", "right"}[i]
		switch {
		case s.err != nil:
			return nil, fmt.Errorf("probe a leg: %w", s.err)
		case bad != nil:
			return nil, bad
		case info.Container != "wav" || info.Channels != 1 || sampleBytes(info.Codec) == 0:
			return nil, refuse(MergeFormat, "the leg of the %s channel is %s/%s with %d channel(s); only mono WAV files of 16-bit PCM, mu-law or A-law are merged",
				side, info.Container, info.Codec, info.Channels)
		}
		rates[i] = info.SampleRate
		m.legs[i] = legTrack{r: leg.R, at: s.audio.at, codec: info.Codec, samples: s.audio.size / sampleBytes(info.Codec)}
		m.frames = max(m.frames, m.legs[i].samples)
	}
	if rates[0] != rates[1] {
		return nil, refuse(MergeRate, "the legs have different sample rates, %d and %d Hz; have the recorder export one", rates[0], rates[1])
	}
	codec := m.legs[0].codec
	if codec != m.legs[1].codec {
		codec = "pcm_s16le"
	}
	m.wide = codec == "pcm_s16le"
	m.header = stereoHeader(codec, rates[0], m.frames)
	m.Size = int64(len(m.header)) + m.frames*m.block()
	if m.Size > 1<<32-1 {
		return nil, refuse(MergeSize, "merged, the legs would be larger than the 4 GiB that a WAV file can hold; send them apart")
	}
	m.Info = Info{Container: "wav", Ext: "wav", Codec: codec, SampleRate: rates[0], Channels: 2,
		Duration: length(m.frames, int64(rates[0])), Exact: true}
	return m, nil
}

// sampleBytes of the codecs that can be merged; 0 for any other.
func sampleBytes(codec string) int64 {
	switch codec {
	case "pcm_s16le":
		return 2
	case "pcm_mulaw", "pcm_alaw":
		return 1
	default:
		return 0
	}
}

// block is the bytes of one frame: a sample of either side.
func (m *Merged) block() int64 {
	if m.wide {
		return 4
	}
	return 2
}

// stereoHeader is everything in front of the samples. What is not PCM has
// the longer format and a fact chunk, as the WAVE format wants it.
func stereoHeader(codec string, rate int, frames int64) []byte {
	tag, bytes := 1, 2
	switch codec {
	case "pcm_alaw":
		tag, bytes = 6, 1
	case "pcm_mulaw":
		tag, bytes = 7, 1
	}
	format := []byte{}
	format = binary.LittleEndian.AppendUint16(format, uint16(tag))
	format = binary.LittleEndian.AppendUint16(format, 2)
	format = binary.LittleEndian.AppendUint32(format, uint32(rate))
	format = binary.LittleEndian.AppendUint32(format, uint32(rate*2*bytes))
	format = binary.LittleEndian.AppendUint16(format, uint16(2*bytes))
	format = binary.LittleEndian.AppendUint16(format, uint16(8*bytes))
	chunk := func(to []byte, name string, size int64) []byte {
		return binary.LittleEndian.AppendUint32(append(to, name...), uint32(size))
	}
	rest := []byte("WAVE")
	if tag == 1 {
		rest = append(chunk(rest, "fmt ", 16), format...)
	} else {
		rest = append(chunk(rest, "fmt ", 18), append(format, 0, 0)...)
		rest = binary.LittleEndian.AppendUint32(chunk(rest, "fact", 4), uint32(frames))
	}
	data := frames * int64(2*bytes)
	rest = chunk(rest, "data", data)
	return append(chunk(nil, "RIFF", int64(len(rest))+data), rest...)
}

// mergeFrames is how many frames are made at once.
const mergeFrames = 8 << 10

// NewReader returns the file from its beginning. The reader holds a few tens
// of KiB, and ends early, without an error of its own, when a leg has become
// shorter than it was.
func (m *Merged) NewReader() io.Reader {
	return &mergedReader{m: m, out: m.header}
}

type mergedReader struct {
	m    *Merged
	out  []byte // made and not yet handed out
	next int64  // the first frame that is not made yet
	err  error

	side [2 * mergeFrames]byte
	made [4 * mergeFrames]byte
}

func (r *mergedReader) Read(p []byte) (int, error) {
	if len(r.out) == 0 && r.err == nil {
		r.err = r.fill()
	}
	if len(r.out) == 0 {
		return 0, r.err
	}
	n := copy(p, r.out)
	r.out = r.out[n:]
	return n, nil
}

// fill makes the next frames.
func (r *mergedReader) fill() error {
	n := min(r.m.frames-r.next, mergeFrames)
	if n <= 0 {
		return io.EOF
	}
	for i := range r.m.legs {
		if err := r.lay(i, n); err != nil {
			return err
		}
	}
	r.next += n
	r.out = r.made[:n*r.m.block()]
	return nil
}

// lay puts n samples of one leg, then silence, into its channel.
func (r *mergedReader) lay(channel int, n int64) error {
	t := &r.m.legs[channel]
	each := sampleBytes(t.codec)
	have := min(max(t.samples-r.next, 0), n)
	in := r.side[:have*each]
	if got, err := t.r.ReadAt(in, t.at+r.next*each); got < len(in) {
		return err // io.EOF: the leg was cut off
	}
	for i := range n {
		switch {
		case !r.m.wide && i < have:
			r.made[2*i+int64(channel)] = in[i]
		case !r.m.wide:
			r.made[2*i+int64(channel)] = silence(t.codec)
		default:
			var sample int16
			if i < have {
				sample = linear(t.codec, in[i*each:])
			}
			binary.LittleEndian.PutUint16(r.made[4*i+2*int64(channel):], uint16(sample))
		}
	}
	return nil
}

// silence is the G.711 code of the level zero.
func silence(codec string) byte {
	if codec == "pcm_alaw" {
		return 0xD5
	}
	return 0xFF
}

// linear is the first sample of b as PCM of 16 bits (ITU-T G.711, tables 1a
// to 2b).
func linear(codec string, b []byte) int16 {
	switch codec {
	case "pcm_mulaw":
		code := ^b[0]
		level := (int16(code&0x0F)<<3+0x84)<<(code>>4&7) - 0x84
		if code&0x80 != 0 {
			return -level
		}
		return level
	case "pcm_alaw":
		code := b[0] ^ 0x55
		level := int16(code&0x0F)<<4 + 8
		if segment := code >> 4 & 7; segment > 0 {
			level = (level + 0x100) << (segment - 1)
		}
		if code&0x80 == 0 {
			return -level
		}
		return level
	default:
		return int16(binary.LittleEndian.Uint16(b))
	}
}
