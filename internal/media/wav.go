package media

// The 16-byte chunk names of Wave64 that matter here; all of its names but
// the first end like w64Wave, and begin with the four letters RIFF uses.
const (
	w64Riff = "riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
	w64Wave = "wave\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
)

// wave is a WAV file as read so far.
type wave struct {
	Info
	format  waveFormat
	known   bool  // format was read
	fact    int64 // samples per channel by the fact chunk, 0 = not stated
	outer   int64 // bytes of the whole behind the first 8, as the header states
	long    int64 // RF64: bytes of the data chunk, from ds64
	longAll int64 // RF64: as outer
}

// probeRIFF reads RIFF, RF64 and BW64: chunks of a 4-byte name, a 32-bit
// length and a body padded to an even length.
func probeRIFF(s *source) (Info, *Error) {
	head := s.at(0, 12)
	switch form := text(head, 8, 4); form {
	case "WAVE":
	case "AVI ":
		return Info{}, refuse(Unsupported, "the content is an AVI video: extract its audio track first")
	case "\x00\x00\x00\x00":
		return Info{Container: "wav", Ext: "wav"}, refuse(Corrupt, "the content begins like WAV and goes on with zeros: a transfer that reserved the space has not finished; let it finish or fetch the recording again")
	default:
		return Info{}, refuse(Unsupported, "the content is a RIFF file that is not WAV: have the recorder export WAV")
	}
	w := wave{Info: Info{Container: "wav", Ext: "wav"}, outer: le(head, 4, 4)}
	riff := text(head, 0, 4) == "RIFF"
	for at := int64(12); ; {
		b := s.at(at, 8)
		if len(b) < 8 {
			return w.noData(s)
		}
		name, size := text(b, 0, 4), le(b, 4, 4)
		at += 8
		if name == "data" {
			switch {
			case !riff && size == 0xFFFFFFFF && w.long != 0:
				size, w.outer = w.long, w.longAll
			case unstated(size), riff && s.size > 1<<32, // 32 bits cannot hold it
				size == 0 && (w.outer == 0 || unstated(w.outer) || s.beyond(8, w.outer) == 0 && s.size > 9+w.outer):
				size, w.outer = 0, 0
			}
			return w.finish(s, at, size)
		}
		w.chunk(s, name, at, size)
		if s.beyond(at, size) > 0 {
			return w.noData(s)
		}
		at += size + size&1
	}
}

// unstated tells a length that a writer left open because it could not seek
// back: all ones, or a round limit (0x7FFFF000 is what sox writes). A 0 is
// open as well, but a data chunk may be empty indeed: it is if the outer
// length is filled in and the file has not grown beyond it.
func unstated(size int64) bool {
	switch size {
	case 0x7FFFF000, 0x7FFFF024, 0x7FFFFFFF, 0x80000000:
		return true
	}
	return size >= 0xFFFFFF00 && size <= 0xFFFFFFFF
}

// probeW64 reads Sony Wave64: chunks of a 16-byte name, a 64-bit length that
// counts the 24 bytes of name and length, and a body padded to 8 bytes.
func probeW64(s *source) (Info, *Error) {
	head := s.at(0, 40)
	if text(head, 24, 16) != w64Wave {
		return Info{}, errNotMine
	}
	w := wave{Info: Info{Container: "w64", Ext: "w64"}, outer: max(0, le(head, 16, 8)-8)}
	for at := int64(40); ; {
		b := s.at(at, 24)
		size := le(b, 16, 8)
		if len(b) < 24 || size < 24 {
			return w.noData(s)
		}
		name, body := text(b, 0, 4), size-24
		if name == "data" {
			if body == 0 || body >= absurd-24 {
				body, w.outer = 0, 0
			}
			return w.finish(s, at+24, body)
		}
		w.chunk(s, name, at+24, body)
		if s.beyond(at, size) > 7 {
			return w.noData(s)
		}
		at += (size + 7) &^ 7
	}
}

// chunk takes what is wanted from a chunk before the audio.
func (w *wave) chunk(s *source, name string, at, size int64) {
	b := s.at(at, int(min(size, 64)))
	switch name {
	case "fmt ":
		if !w.known {
			w.format, w.known = readWaveFormat(b)
			w.Codec = w.format.codec()
			w.SampleRate, w.Channels = w.format.rate, w.format.channels
		}
	case "fact":
		if n := le(b, 0, 4); n < 0x7FFFF000 {
			w.fact = n
		}
	case "ds64":
		w.longAll, w.long = le(b, 0, 8), le(b, 8, 8)
	}
}

// noData is the end of a file in which no audio was found.
func (w *wave) noData(s *source) (Info, *Error) {
	if !unstated(w.outer) {
		w.Missing = s.beyond(8, w.outer)
	}
	if s.left < 24 {
		return w.Info, refuse(Corrupt, "the WAV file has no audio in its first MiB: its chunks are damaged; fetch the recording again")
	}
	return w.Info, refuse(HeaderOnly, "the WAV file ends before its audio begins: the call was not recorded or the file is still being written; fetch it again or remove it")
}

// finish works out the length; the audio begins at at and should have size
// bytes, 0 = up to the end of the file.
func (w *wave) finish(s *source, at, size int64) (Info, *Error) {
	if !w.known {
		return w.Info, refuse(Corrupt, "the WAV file does not say how its audio is coded (no usable fmt chunk): fetch the recording again")
	}
	have := max(s.size-at, 0)
	switch {
	case size > 0:
		have = min(have, size)
		w.Missing = s.beyond(at, size)
	case w.outer > 0:
		have = 0 // the outer length is filled in, so empty means empty
	default:
		w.fact = 0 // as open as the rest
		w.warn("the WAV header states no length: measured by the size of the file")
	}
	// Some writers count the first 8 bytes in; more than that is a chunk cut off.
	if w.Missing == 0 && !unstated(w.outer) {
		if short := s.beyond(8, w.outer); short > 8 {
			w.Missing = short
		}
	}
	samples, exact := w.format.samples(have, w.fact)
	if have == 0 || exact && samples == 0 {
		return w.Info, refuse(HeaderOnly, "the WAV file has a header and no audio: the call was not recorded, or the file is still being written; remove it or fetch it again")
	}
	s.audio = audioChunk{at: at, size: have, format: w.format}
	w.Duration, w.Exact = length(samples, int64(w.format.rate)), exact
	if !exact {
		w.warn("the length of " + w.Codec + " audio is an estimate by its mean bit rate")
	}
	return w.Info, nil
}
