package media

import "bytes"

// oggTail is how much of the end of the file is searched for the last page
// that states a position; a page has at most 65,307 bytes.
const oggTail = 160 << 10

// oggPage is the header of a page (RFC 3533 section 6).
type oggPage struct {
	first, last bool  // of a stream
	position    int64 // samples so far, by the codec's own clock; absurd = no packet ends here
	serial      int64 // of the logical stream
	body        int64 // where it begins in the file
	end         int64 // of the page, maybe beyond the end of the file
}

func (s *source) oggPage(at int64) (oggPage, bool) {
	b := s.at(at, 27+255)
	if text(b, 0, 5) != "OggS\x00" || len(b) < 27 || len(b) < 27+int(b[26]) {
		return oggPage{}, false
	}
	p := oggPage{first: b[5]&2 != 0, last: b[5]&4 != 0, position: le(b, 6, 8), serial: le(b, 14, 4)}
	p.body = at + 27 + int64(b[26])
	p.end = p.body
	for _, n := range b[27 : 27+int(b[26])] {
		p.end += int64(n)
	}
	return p, true
}

// probeOgg reads Opus (RFC 7845), Vorbis, Speex and FLAC in Ogg: the codec
// from the first pages, the length from the last one.
func probeOgg(s *source) (Info, *Error) {
	in := Info{Container: "ogg", Ext: "ogg"}
	var serial, skip, clock int64
	var at int64
	for {
		p, ok := s.oggPage(at)
		if !ok || !p.first {
			break
		}
		b := s.at(p.body, 80)
		if in.Codec == "" && in.oggCodec(b) {
			serial, clock = p.serial, int64(in.SampleRate)
			if in.Codec == "opus" {
				skip = le(b, 10, 2) // samples of the decoder's start-up
			}
		}
		in.Video = in.Video || text(b, 0, 7) == "\x80theora"
		at = p.end
	}
	switch {
	case at == 0 || at > s.size:
		in.Missing = max(0, at-s.size)
		return in, refuse(Corrupt, "the Ogg file ends within its first page or it is damaged: fetch the recording again")
	case in.Codec == "":
		return in, refuse(Unsupported, "the Ogg file holds no Opus, Vorbis, Speex or FLAC audio: have the recorder export one of these")
	}
	last, chain, closed := s.oggLast(&in, at, serial)
	if last <= skip && !chain {
		return in, refuse(HeaderOnly, "the Ogg file has headers and no audio: the call was not recorded or the file is still being written")
	}
	if chain {
		in.warn("several Ogg streams follow one another: the length is not known")
		return in, nil
	}
	if !closed && in.Missing == 0 {
		in.warn("the Ogg stream has no end mark: the recorder did not close it")
	}
	in.Duration, in.Exact = length(last-skip, clock), true
	return in, nil
}

// oggCodec reads the first packet of a stream.
func (in *Info) oggCodec(b []byte) bool {
	switch {
	case text(b, 0, 8) == "OpusHead" && len(b) >= 19:
		in.Codec, in.Channels, in.SampleRate = "opus", int(b[9]), 48000 // its clock, whatever the call had
	case text(b, 0, 7) == "\x01vorbis" && len(b) >= 16:
		in.Codec, in.Channels, in.SampleRate = "vorbis", int(b[11]), int(le(b, 12, 4))
	case text(b, 0, 8) == "Speex   " && len(b) >= 52:
		in.Codec, in.Channels, in.SampleRate = "speex", int(le(b, 48, 4)), int(le(b, 36, 4))
	case text(b, 0, 5) == "\x7fFLAC" && len(b) >= 13+4+18:
		in.Codec = "flac"
		in.SampleRate, in.Channels, _ = streamInfo(b[17:])
	}
	return in.Codec != "" && in.Channels > 0 && in.SampleRate > 0
}

// oggLast searches the tail of the file for the last position of a stream. It
// notes a page that is cut off, tells whether the file ends with another
// stream (chain), and whether the stream was closed.
func (s *source) oggLast(in *Info, from, serial int64) (position int64, chain, closed bool) {
	foreign := false
	for at := max(from, s.size-oggTail); at < s.size; {
		p, ok := s.oggPage(at)
		if !ok {
			next := s.index(at+1, "OggS")
			if next < 0 {
				break
			}
			at = next
			continue
		}
		if p.end > s.size {
			in.Missing = p.end - s.size
			break
		}
		if p.serial == serial {
			closed = p.last
			if p.position < absurd {
				position = max(position, p.position)
			}
		}
		foreign = foreign || p.serial != serial
		chain = chain || p.first
		at = p.end
	}
	return position, chain || foreign && position == 0, closed
}

// index returns where word next occurs, -1 = not any more or beyond the read limit.
func (s *source) index(at int64, word string) int64 {
	for at < s.size {
		b := s.at(at, int(min(firstFill, s.size-at)))
		if i := bytes.Index(b, []byte(word)); i >= 0 {
			return at + int64(i)
		}
		if len(b) < len(word) {
			return -1
		}
		at += int64(len(b) - len(word) + 1)
	}
	return -1
}
