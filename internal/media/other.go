package media

import (
	"time"
)

// probeFLAC reads STREAMINFO, which every FLAC file (RFC 9639) has first; the
// total of samples is 0 when the encoder could not seek back.
func probeFLAC(s *source, at int64) (Info, *Error) {
	in := Info{Container: "flac", Codec: "flac", Ext: "flac"}
	b := s.at(at, 42)
	if len(b) < 42 || b[4]&127 != 0 {
		return in, refuse(Corrupt, "the FLAC file is cut off or has no stream information: fetch the recording again")
	}
	var total int64
	in.SampleRate, in.Channels, total = streamInfo(b[8:])
	if in.SampleRate == 0 {
		return in, refuse(Corrupt, "the FLAC file states no sample rate: fetch the recording again")
	}
	last := b[4]&0x80 != 0
	for at += 42; !last; { // the other blocks: tags, pictures, padding
		b := s.at(at, 4)
		if len(b) < 4 {
			at = max(at, s.size)
			break
		}
		last = b[0]&0x80 != 0
		at += 4 + be(b, 1, 3)
	}
	if at >= s.size {
		in.Missing = at - s.size
		return in, refuse(HeaderOnly, "the FLAC file has a header and no audio: the call was not recorded or the file is still being written")
	}
	if in.Duration, in.Exact = length(total, int64(in.SampleRate)), total > 0; !in.Exact {
		in.warn("the FLAC header states no length: it was written as a stream")
	}
	return in, nil
}

// streamInfo reads 20 bits of rate in Hz, 3 of channels less one, 5 of sample
// size, and 36 of total samples.
func streamInfo(b []byte) (rate, channels int, total int64) {
	return int(be(b, 10, 4) >> 12), int(be(b, 12, 1)>>1&7) + 1, be(b, 13, 5) & (1<<36 - 1)
}

// The 16-byte names of ASF (WMA, WMV) objects and stream types that matter here.
const (
	asfHeader = "\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c"
	asfFile   = "\xa1\xdc\xab\x8c\x47\xa9\xcf\x11\x8e\xe4\x00\xc0\x0c\x20\x53\x65"
	asfStream = "\x91\x07\xdc\xb7\xb7\xa9\xcf\x11\x8e\xe6\x00\xc0\x0c\x20\x53\x65"
	asfAudio  = "\x40\x9e\x69\xf8\x4d\x5b\xcf\x11\xa8\xfd\x00\x80\x5f\x5c\x44\x2b"
	asfVideo  = "\xc0\xef\x19\xbc\x4d\x5b\xcf\x11\xa8\xfd\x00\x80\x5f\x5c\x44\x2b"
)

// probeASF reads the header object of ASF: objects of a 16-byte name and a
// 64-bit length that counts the name and itself.
func probeASF(s *source) (Info, *Error) {
	in := Info{Container: "wma", Ext: "wma"}
	size := le(s.at(0, 24), 16, 8)
	if in.Missing = s.beyond(0, size); size < 30 || in.Missing > 0 {
		return in, refuse(Corrupt, "the WMA file has no complete header: it is cut off or still being written; fetch the recording again")
	}
	var states bool
	for at, end := int64(30), size; at+24 <= end; {
		b := s.at(at, 104)
		n := le(b, 16, 8)
		if n < 24 || n > end-at {
			break
		}
		switch name := text(b, 0, 16); {
		case name == asfFile && len(b) >= 92:
			preroll := time.Duration(min(le(b, 80, 8), 60_000)) * time.Millisecond
			in.Duration = max(0, time.Duration(min(le(b, 64, 8), 1<<56))*100-preroll)
			states = b[88]&1 == 0 // not a broadcast, so the figures were filled in
			if states {
				in.Missing = s.beyond(0, le(b, 40, 8))
			}
		case name == asfStream && text(b, 24, 16) == asfAudio && in.Codec == "":
			if f, ok := readWaveFormat(b[min(78, len(b)):]); ok {
				in.Codec, in.SampleRate, in.Channels = f.codec(), f.rate, f.channels
			}
		case name == asfStream && text(b, 24, 16) == asfVideo:
			in.Video, in.Container, in.Ext = true, "wmv", "wmv"
		}
		at += n
	}
	switch {
	case in.Codec == "" && !in.Video:
		return in, refuse(Corrupt, "the WMA file describes no audio: its header is damaged; fetch the recording again")
	case !states:
		in.Duration = 0
		in.warn("the WMA header states no length: it was written as a stream")
	}
	in.Exact = in.Duration > 0 && in.Missing == 0
	return in, nil
}
