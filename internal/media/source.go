package media

import (
	"errors"
	"fmt"
	"io"
)

const (
	firstFill = 4 << 10  // read after a jump: most headers are small
	nextFill  = 32 << 10 // read when going on where the last read ended
)

// source is the file seen through one small window. It counts what it reads
// and stops at the limit, so that no parser needs a limit of its own: a loop
// that moves forward by at least one byte per step ends.
type source struct {
	r    io.ReaderAt
	size int64
	left int64 // bytes that may still be read
	off  int64 // of win in the file
	win  []byte
	buf  [nextFill]byte
	err  error // the first read error; nothing is read after it

	audio audioChunk // of a WAV file: where its samples lie
}

// at returns n bytes (at most 32 KiB) at off: fewer at the end of the file,
// none outside of it, after a read error or beyond the read limit. The bytes
// are valid until the next call.
func (s *source) at(off int64, n int) []byte {
	if s.err != nil || n <= 0 || off < 0 || off >= s.size {
		return nil
	}
	n = int(min(int64(n), s.size-off))
	if from := off - s.off; from >= 0 && from+int64(n) <= int64(len(s.win)) {
		return s.win[from : from+int64(n)]
	}
	fill := int64(firstFill)
	if off >= s.off && off <= s.off+int64(len(s.win)) && len(s.win) > 0 {
		fill = nextFill
	}
	fill = min(max(fill, int64(n)), s.size-off, s.left, nextFill)
	if fill < int64(n) {
		return nil
	}
	got, err := s.r.ReadAt(s.buf[:fill], off)
	s.left -= int64(got)
	s.off, s.win = off, s.buf[:got]
	if int64(got) < fill {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF // the file had size bytes a moment ago
		}
		s.err = fmt.Errorf("read at %d: %w", off, err)
		s.win = nil
		return nil
	}
	return s.win[:n]
}

// beyond returns how many bytes past the end of the file a part of n bytes at
// off would reach.
func (s *source) beyond(off, n int64) int64 {
	return max(0, n-max(0, s.size-off))
}

// absurd is a length that no file has; sums with it do not overflow.
const absurd = 1 << 62

// le and be return the unsigned number of n bytes at b[at:], least or most
// significant byte first: 0 outside of b, at most absurd.

func le(b []byte, at, n int) (v int64) {
	if at < 0 || at+n > len(b) {
		return 0
	}
	for i := n - 1; i >= 0; i-- {
		v = v<<8 | int64(b[at+i])
	}
	return clip(v)
}

func be(b []byte, at, n int) (v int64) {
	if at < 0 || at+n > len(b) {
		return 0
	}
	for _, c := range b[at : at+n] {
		v = v<<8 | int64(c)
	}
	return clip(v)
}

func clip(v int64) int64 {
	if v < 0 || v > absurd {
		return absurd
	}
	return v
}

// text returns b[at:at+n] as a string, "" when b is too short.
func text(b []byte, at, n int) string {
	if at < 0 || at+n > len(b) {
		return ""
	}
	return string(b[at : at+n])
}
