package media

import "strings"

// probeMPEG reads MP3 and AAC (ADTS): both are rows of frames, with or
// without tags before and behind.
func probeMPEG(s *source) (Info, *Error) {
	start, tagged := s.skipID3()
	if tagged && start >= s.size {
		return Info{Container: "mp3", Ext: "mp3", Missing: start - s.size}, refuse(HeaderOnly, "the file ends within the tags before its audio: it is cut off or still being written; fetch it again")
	}
	if text(s.at(start, 4), 0, 4) == "fLaC" {
		return probeFLAC(s, start)
	}
	to := s.trimTags()
	for _, f := range []framing{{4, mp3Frame, true}, {7, adtsFrame, true}} {
		at, ok := s.find(start, to, f, 0)
		if !ok {
			continue
		}
		head := s.at(at, f.head)
		first, _ := f.parse(head)
		if f.head == 4 {
			return probeMP3(s, at, to, first, f)
		}
		in := Info{Container: "aac", Codec: "aac", Ext: "aac", Channels: aacChannels(int(head[2]&1)<<2 | int(head[3]>>6)), SampleRate: aacRate(int(head[2] >> 2 & 15))}
		in.Duration = length(s.measure(&in, at, to, f, first.stream), int64(in.SampleRate))
		return in, nil
	}
	if tagged {
		return Info{}, refuse(Corrupt, "the file begins with an ID3 tag and no MP3 or AAC follows: fetch the recording again")
	}
	return Info{}, errNotMine
}

// skipID3 returns where the audio begins behind ID3v2 tags, maybe beyond the
// end of the file.
func (s *source) skipID3() (start int64, tagged bool) {
	for {
		b := s.at(start, 10)
		if text(b, 0, 3) != "ID3" || len(b) < 10 {
			return start, tagged
		}
		n := int64(b[6]&127)<<21 | int64(b[7]&127)<<14 | int64(b[8]&127)<<7 | int64(b[9]&127)
		start, tagged = start+n+10, true
	}
}

// trimTags returns where the audio ends before ID3v1 and APEv2 tags.
func (s *source) trimTags() int64 {
	to := s.size
	if text(s.at(to-128, 3), 0, 3) == "TAG" {
		to -= 128
	}
	if b := s.at(to-32, 32); text(b, 0, 8) == "APETAGEX" {
		n := le(b, 12, 4)
		if le(b, 20, 4)&(1<<31) != 0 {
			n += 32 // a header as well
		}
		if n < to {
			to -= n
		}
	}
	return to
}

// mp3Frame reads the header of an MPEG 1, 2 or 2.5 layer III frame
// (ISO 11172-3, 13818-3).
func mp3Frame(b []byte) (frame, bool) {
	if len(b) < 4 || b[0] != 0xFF || b[1]&0xE6 != 0xE2 || b[2]>>4 == 0 || b[2]>>4 == 15 || b[2]>>2&3 == 3 || b[1]>>3&3 == 1 {
		return frame{}, false
	}
	kbits := [15]int{0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160}
	samples := 576
	if b[1]>>3&3 == 3 {
		kbits = [15]int{0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320}
		samples = 1152
	}
	size := samples/8*kbits[b[2]>>4]*1000/mp3Rate(b) + int(b[2]>>1&1)
	// Version, layer and rate stay; the channel mode may go between stereo and joint stereo only.
	mono := uint32(0)
	if b[3]>>6 == 3 {
		mono = 1
	}
	return frame{size: size, samples: samples, stream: 1<<31 | uint32(b[1]&0x1E)<<8 | uint32(b[2]&0x0C)<<1 | mono}, true
}

func mp3Rate(b []byte) int {
	rate := [3]int{44100, 48000, 32000}[b[2]>>2&3]
	switch b[1] >> 3 & 3 {
	case 0: // MPEG 2.5
		rate /= 4
	case 2: // MPEG 2
		rate /= 2
	}
	return rate
}

// probeMP3 reads an MP3 file whose first frame is at at; the frame may hold
// no audio but a Xing, Info or VBRI table with the total.
func probeMP3(s *source, at, to int64, first frame, f framing) (Info, *Error) {
	b := s.at(at, min(first.size, 512))
	in := Info{Container: "mp3", Codec: "mp3", Ext: "mp3", Channels: 2, SampleRate: mp3Rate(b)}
	side := 17 // bytes of side information, by channels and version
	if first.samples == 1152 {
		side = 32
	}
	if b[3]>>6 == 3 {
		in.Channels, side = 1, side/2+1
	}
	total, stated, trim := xing(b, 4+side)
	if total == 0 && text(b, 36, 4) == "VBRI" {
		stated, total = be(b, 46, 4), be(b, 50, 4)
	}
	if have := to - at; total > 0 && (stated == 0 || have <= stated+max(stated/10, 4096)) {
		in.Exact = true
		in.Duration = length(total*int64(first.samples)-trim, int64(in.SampleRate))
		if short := stated - have; short > int64(first.size) { // tags were taken off by less
			in.Missing = short
			in.Exact = false
			in.Duration = length(int64(float64(total)*float64(have)/float64(stated)*float64(first.samples)), int64(in.SampleRate))
		}
		return in, nil
	}
	if kind := text(b, 4+side, 4); kind == "Xing" || kind == "Info" {
		at += int64(first.size) // a table without the total, or one that something was appended to
	}
	in.Duration = length(s.measure(&in, at, to, f, first.stream), int64(in.SampleRate))
	if in.Duration == 0 {
		return in, refuse(HeaderOnly, "the MP3 file has a header and no audio: the call was not recorded or the file is still being written")
	}
	return in, nil
}

// xing reads the table that encoders put into the first frame: frames and
// bytes of the file, and the samples that encoder and padding added.
func xing(b []byte, at int) (frames, size, trim int64) {
	kind := text(b, at, 4)
	if kind != "Xing" && kind != "Info" {
		return 0, 0, 0
	}
	flags := be(b, at+4, 4)
	at += 8
	if flags&1 != 0 {
		frames = be(b, at, 4)
		at += 4
	}
	if flags&2 != 0 {
		size = be(b, at, 4)
		at += 4
	}
	if flags&4 != 0 {
		at += 100
	}
	if flags&8 != 0 {
		at += 4
	}
	if coder := text(b, at, 4); strings.HasPrefix(coder, "LAME") || strings.HasPrefix(coder, "Lav") {
		if pad := be(b, at+20, 4) & 0xFFFFFF; len(b) >= at+24 {
			trim = pad>>12 + pad&0xFFF
		}
	}
	return frames, size, trim
}

// adtsFrame reads the header of an AAC frame (ISO 13818-7 section 6.2).
func adtsFrame(b []byte) (frame, bool) {
	if len(b) < 7 || b[0] != 0xFF || b[1]&0xF6 != 0xF0 || aacRate(int(b[2]>>2&15)) == 0 {
		return frame{}, false
	}
	size := int(b[3]&3)<<11 | int(b[4])<<3 | int(b[5])>>5
	if size < 7 {
		return frame{}, false
	}
	return frame{size: size, samples: 1024 * (1 + int(b[6]&3)), stream: 1<<31 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3]&0xC0)}, true
}

// aacRate is the sampling frequency of an index (ISO 14496-3), 0 = none.
func aacRate(index int) int {
	return [16]int{96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350}[index&15]
}

// aacChannels is the number of speakers of a channel configuration.
func aacChannels(config int) int {
	if config == 7 {
		return 8
	}
	return config
}
