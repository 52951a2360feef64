package sandbox

import (
	"encoding/binary"
	"math"
	"time"
)

// wavMeter reads the length of a RIFF/WAVE (also RF64) recording from bytes
// that stream through its Write. It keeps at most one chunk head and decides
// nothing about bytes that are no WAV.
type wavMeter struct {
	want  int    // bytes the next step needs
	buf   []byte // collected for it
	skip  int64  // bytes to pass over before that
	step  wavStep
	pos   int64 // bytes seen
	chunk [4]byte
	size  int64 // of the chunk at hand

	rate     uint32 // bytes per second, from fmt
	ds64     int64  // data size, from RF64
	dataAt   int64
	dataSize int64
}

type wavStep uint8

const (
	wavRIFF wavStep = iota
	wavChunk
	wavFmt
	wavDS64
	wavDone // found, or not a WAV
)

func newWAVMeter() *wavMeter { return &wavMeter{want: 12, ds64: -1} }

// Write consumes the next bytes; it never fails.
func (m *wavMeter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 && m.step != wavDone {
		if m.skip > 0 {
			k := min(m.skip, int64(len(p)))
			m.skip -= k
			m.pos += k
			p = p[k:]
			continue
		}
		k := min(m.want-len(m.buf), len(p))
		m.buf = append(m.buf, p[:k]...)
		m.pos += int64(k)
		p = p[k:]
		if len(m.buf) == m.want {
			m.next(m.buf)
			m.buf = m.buf[:0]
		}
	}
	return n, nil
}

// next takes the bytes of one step and sets up the one after it.
func (m *wavMeter) next(b []byte) {
	switch m.step {
	case wavRIFF:
		riff := string(b[:4])
		if (riff != "RIFF" && riff != "RF64") || string(b[8:12]) != "WAVE" {
			m.step = wavDone
			return
		}
		m.expect(wavChunk, 8)
	case wavChunk:
		copy(m.chunk[:], b)
		m.size = int64(binary.LittleEndian.Uint32(b[4:8]))
		m.enter()
	case wavFmt:
		m.rate = binary.LittleEndian.Uint32(b[8:12])
		m.leave(16)
	case wavDS64:
		m.ds64 = int64(min(binary.LittleEndian.Uint64(b[8:16]), math.MaxInt64))
		m.leave(16)
	}
}

// enter decides what to do with the chunk whose head was read.
func (m *wavMeter) enter() {
	switch id := string(m.chunk[:]); {
	case id == "fmt " && m.size >= 16:
		m.expect(wavFmt, 16)
	case id == "ds64" && m.size >= 16:
		m.expect(wavDS64, 16)
	case id == "data":
		m.dataAt, m.dataSize = m.pos, m.size
		if m.size == math.MaxUint32 && m.ds64 >= 0 {
			m.dataSize = m.ds64
		}
		m.step = wavDone
	default:
		m.leave(0)
	}
}

// leave skips what is left of the chunk, with its padding byte.
func (m *wavMeter) leave(read int64) {
	m.skip = m.size + m.size&1 - read
	m.expect(wavChunk, 8)
}

func (m *wavMeter) expect(s wavStep, n int) { m.step, m.want = s, n }

// duration of the recording in a body of total bytes; known is false when the
// header did not say. A header that promises more than the body holds (as
// recorders write that never finish their header) is cut to the body.
func (m *wavMeter) duration(total int64) (d time.Duration, known bool) {
	if m.dataAt == 0 || m.rate == 0 {
		return 0, false
	}
	size := min(m.dataSize, total-m.dataAt)
	if m.dataSize == 0 {
		size = total - m.dataAt
	}
	seconds := float64(size) / float64(m.rate)
	return time.Duration(seconds * float64(time.Second)), true
}
