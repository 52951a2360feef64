package media

// Lengths of the work on a row of frames, in bytes. Together with the reads
// around them they stay below ReadLimit.
const (
	walkWhole  = 384 << 10 // frames are counted one by one up to here
	sampleSize = 16 << 10  // and beyond it in samples spread over the file
	sampleGaps = 15
	resyncIn   = 8 << 10 // the next frame is looked for this far
)

// frame is one frame of MP3, AAC or AMR.
type frame struct {
	size    int    // bytes with header
	samples int    // per channel
	stream  uint32 // equal in all frames of one stream
}

// framing is how to read a file that is nothing but frames.
type framing struct {
	head  int // bytes parse needs
	parse func([]byte) (frame, bool)
	sync  bool // a frame can be found from any place
}

// row is what was counted in a row of frames.
type row struct {
	samples int64 // per channel
	bytes   int64
	end     int64 // behind the last whole frame
	cut     int64 // bytes that the last frame lacks
}

// walk counts frames that begin in [from, from+limit) and end by to. It
// steps over short damage where frames can be found again.
func (s *source) walk(from, to, limit int64, f framing, stream uint32) row {
	r := row{end: from}
	for stop := min(to, from+limit); r.end < stop; {
		b := s.at(r.end, f.head)
		if rest := to - r.end; rest < int64(f.head) && len(b) > 0 && b[0] == 0xFF { // a header cut in two
			r.cut = int64(f.head) - rest
			return r
		}
		fr, ok := f.parse(b)
		if !ok || stream != 0 && fr.stream != stream {
			if !f.sync {
				return r
			}
			next, found := s.find(r.end, to, f, stream)
			if !found {
				return r
			}
			r.end = next
			continue
		}
		if int64(fr.size) > to-r.end {
			r.cut = int64(fr.size) - (to - r.end)
			return r
		}
		stream = fr.stream
		r.samples += int64(fr.samples)
		r.bytes += int64(fr.size)
		r.end += int64(fr.size)
	}
	return r
}

// find looks for the next place where frames follow one another. In a file
// that is not yet known to hold frames (stream 0) it takes three in a row
// anywhere but at the start: in random bytes one occurs by chance.
func (s *source) find(from, to int64, f framing, stream uint32) (int64, bool) {
	b := s.at(from, int(min(nextFill, to-from)))
	for i := 0; i < len(b) && i < resyncIn; i++ {
		last := from+int64(len(b)) == to && (i == 0 || stream != 0)
		if chained(b[i:], last, f, stream) {
			return from + int64(i), true
		}
	}
	return 0, false
}

// chained tells whether b begins with three frames in a row, or with one when
// only it and the end of the file (a tag, or the start of a frame cut off) remain.
func chained(b []byte, last bool, f framing, stream uint32) bool {
	for n := range 3 {
		fr, ok := f.parse(b)
		if !ok || stream != 0 && fr.stream != stream {
			return last && n > 0 && len(b) < f.head
		}
		if fr.size > len(b) {
			return last && n > 0
		}
		stream = fr.stream
		b = b[fr.size:]
	}
	return true
}

// measure returns the samples in the frames of [from, to): counted when the
// row is short, else estimated from samples spread over it.
func (s *source) measure(in *Info, from, to int64, f framing, stream uint32) (samples int64) {
	whole := s.walk(from, to, walkWhole, f, stream)
	sum := whole
	if whole.end < min(to, from+walkWhole) {
		in.Missing = whole.cut
		if in.Exact = whole.cut > 0; !in.Exact {
			in.warn("the frames of the audio end before the end of the file: the rest is damaged or something else")
		}
		return whole.samples
	}
	if whole.end >= to {
		in.Exact = true
		return whole.samples
	}
	if f.sync {
		for i := int64(1); i <= sampleGaps; i++ {
			at := from + (to-from)/sampleGaps*i - sampleSize // the last one ends where the file ends
			if at, ok := s.find(at, to, f, stream); ok {
				part := s.walk(at, to, sampleSize, f, stream)
				sum.samples += part.samples
				sum.bytes += part.bytes
				in.Missing = part.cut
			}
		}
	}
	in.warn("the length is an estimate: too many frames to count, and no total is stated")
	return int64(float64(sum.samples) / float64(sum.bytes) * float64(to-from))
}

// probeAMR reads AMR and AMR-WB of one channel as stored by RFC 4867 section
// 5: a magic line, then frames of 20 ms whose first byte tells their size.
func probeAMR(s *source) (Info, *Error) {
	in := Info{Container: "amr", Ext: "amr", Codec: "amr_nb", SampleRate: 8000, Channels: 1}
	sizes := [16]int{13, 14, 16, 18, 20, 21, 27, 32, 6, 7, 6, 6, 0, 0, 0, 1}
	start := int64(6)
	switch head := s.at(0, 9); {
	case text(head, 0, 6) == "#!AMR\n":
	case text(head, 0, 9) == "#!AMR-WB\n":
		in.Codec, in.SampleRate, start = "amr_wb", 16000, 9
		sizes = [16]int{18, 24, 33, 37, 41, 47, 51, 59, 61, 6, 0, 0, 0, 0, 1, 1}
	default:
		return in, errNotMine
	}
	if start >= s.size {
		return in, refuse(HeaderOnly, "the AMR file has a header and no frames: the call was not recorded or the file is still being written")
	}
	f := framing{head: 1, parse: func(b []byte) (frame, bool) {
		if len(b) == 0 || b[0]&0x83 != 0 {
			return frame{}, false
		}
		size := sizes[b[0]>>3&15]
		return frame{size: size, samples: in.SampleRate / 50, stream: 1}, size > 0
	}}
	samples := s.measure(&in, start, s.size, f, 1)
	if samples == 0 {
		return in, refuse(Corrupt, "the AMR file has no valid first frame: fetch the recording again")
	}
	in.Duration = length(samples, int64(in.SampleRate))
	return in, nil
}
