package media

import "strings"

// movie is an MP4 file as read so far.
type movie struct {
	Info
	brand     string
	index     bool  // moov was found
	parts     bool  // the file may be cut into fragments
	clock     int64 // ticks per second of the movie
	ticks     int64 // of the movie
	fragments int64 // ticks of all fragments, where stated
	cur       track
	audio     track
	video     track
}

// track is one trak box.
type track struct {
	kind     string // soun, vide, ...
	codec    string
	channels int
	rate     int   // Hz
	clock    int64 // ticks per second
	ticks    int64 // of the media
	shown    int64 // ticks of the movie's clock, after edits
}

// probeMP4 reads ISO base media files (ISO 14496-12): MP4, M4A, 3GP and
// QuickTime. The index, moov, may stand before or behind the audio.
func probeMP4(s *source) (Info, *Error) {
	m := movie{Info: Info{Container: "mp4", Ext: "mp4"}}
	m.boxes(s, 0, s.size, 0)
	if !m.index {
		if m.brand == "" && m.Missing > 0 {
			return Info{}, errNotMine // four letters by chance
		}
		return m.Info, refuse(Corrupt, "the MP4 file has no index (moov): the recorder did not close it or it is still being written; fetch the recording again")
	}
	t := m.audio
	m.Video = m.video.kind != ""
	if t.kind == "" {
		t = m.video
	}
	if t.codec == "" {
		return m.Info, refuse(Unsupported, "the MP4 file describes neither an audio nor a video track: have the recorder export audio")
	}
	name := "mp4"
	switch {
	case strings.HasPrefix(m.brand, "3g"):
		name = "3gp"
	case m.brand == "qt  " || m.brand == "": // before brands, all was QuickTime
		name = "mov"
	case !m.Video:
		name = "m4a"
	}
	m.Container, m.Ext, m.Codec, m.Channels = name, name, t.codec, t.channels
	if m.SampleRate = t.rate; t.kind == "soun" && t.rate == 0 {
		m.SampleRate = int(t.clock)
	}
	m.Duration, m.Exact = length(t.ticks, t.clock), m.Missing == 0
	// Edits hide what the encoder put before the first sample: at most some frames.
	if shown := length(t.shown, m.clock); shown > 0 && shown < m.Duration && m.Duration-shown < length(1, 2) {
		m.Duration = shown
	}
	if m.Duration == 0 && m.parts {
		m.Duration = max(length(m.fragments, m.clock), length(m.ticks, m.clock))
	}
	if m.Duration == 0 {
		if !m.parts {
			return m.Info, refuse(HeaderOnly, "the MP4 file has an index and no audio: the call was not recorded or the file is still being written")
		}
		m.Exact = false
		m.warn("the MP4 file is cut into fragments and states no length")
	}
	return m.Info, nil
}

// boxes walks the boxes in [at, end). The deepest that matters is
// moov/trak/mdia/minf/stbl/stsd.
func (m *movie) boxes(s *source, at, end int64, depth int) {
	for at+8 <= end && depth < 8 {
		b := s.at(at, 16)
		if len(b) < 8 {
			return
		}
		name, size, head := text(b, 4, 4), be(b, 0, 4), int64(8)
		switch {
		case size == 1 && len(b) == 16:
			size, head = be(b, 8, 8), 16
		case size == 0:
			size = end - at
		}
		if size < head {
			return
		}
		if short := s.beyond(at, size); short > 0 && depth == 0 {
			m.Missing = short
		}
		next := at + min(size, end-at)
		m.box(s, name, at+head, next, depth)
		at = next
	}
}

// box takes what is wanted from one box, whose body is [at, end).
func (m *movie) box(s *source, name string, at, end int64, depth int) {
	b := s.at(at, int(min(end-at, 256)))
	switch name {
	case "ftyp":
		m.brand = text(b, 0, 4)
	case "moov":
		m.index = m.Missing == 0
		m.boxes(s, at, end, depth+1)
	case "mdia", "minf", "stbl":
		m.boxes(s, at, end, depth+1)
	case "mvex":
		m.parts = true
		m.boxes(s, at, end, depth+1)
	case "trak":
		m.cur = track{}
		m.boxes(s, at, end, depth+1)
		if m.cur.kind == "soun" && m.audio.kind == "" {
			m.audio = m.cur
		}
		if m.cur.kind == "vide" && m.video.kind == "" {
			m.video = m.cur
		}
	case "mvhd":
		m.clock, m.ticks = clock(b)
	case "mdhd":
		m.cur.clock, m.cur.ticks = clock(b)
	case "tkhd":
		m.cur.shown = stated(b, 20, 28)
	case "mehd":
		m.fragments = stated(b, 4, 4)
	case "hdlr":
		if m.cur.kind == "" {
			m.cur.kind = text(b, 8, 4)
		}
	case "stsd":
		m.cur.entry(b)
	}
}

// stated reads a length in ticks: 32 bits, or 64 in version 1 of a box; all
// ones mean unknown.
func stated(b []byte, at32, at64 int) int64 {
	n, unknown := be(b, at32, 4), int64(0xFFFFFFFF)
	if wide(b) {
		n, unknown = be(b, at64, 8), absurd
	}
	if n == unknown {
		return 0
	}
	return n
}

// wide tells version 1 of a box, whose times have 64 bits.
func wide(b []byte) bool { return len(b) > 0 && b[0] == 1 }

// clock reads ticks per second and length of mvhd and mdhd.
func clock(b []byte) (perSecond, ticks int64) {
	perSecond = be(b, 12, 4)
	if wide(b) {
		perSecond = be(b, 20, 4)
	}
	return perSecond, stated(b, 16, 24)
}

// entry reads the first sample entry of stsd.
func (t *track) entry(b []byte) {
	tag := text(b, 12, 4)
	names := map[string]string{
		"mp4a": "aac", "samr": "amr_nb", "sawb": "amr_wb", "Opus": "opus", "fLaC": "flac", "alac": "alac",
		".mp3": "mp3", "ulaw": "pcm_mulaw", "alaw": "pcm_alaw", "sowt": "pcm_s16le", "twos": "pcm_s16be",
		"avc1": "h264", "avc3": "h264", "hvc1": "hevc", "hev1": "hevc", "mp4v": "mpeg4", "vp09": "vp9", "av01": "av1", "s263": "h263",
	}
	if t.codec = names[tag]; t.codec == "" {
		t.codec = "unknown"
	}
	if t.kind != "soun" {
		return
	}
	t.channels, t.rate = int(be(b, 32, 2)), int(be(b, 40, 2))
	if tag == "mp4a" {
		if i := strings.Index(string(b), "esds"); i >= 0 {
			t.esds(b[min(i+8, len(b)):]) // behind version and flags
		}
	}
}

// esds reads the descriptors of an MPEG-4 stream (ISO 14496-1): which codec,
// and the channels, for which the sample entry often says 2 regardless.
func (t *track) esds(b []byte) {
	for len(b) > 2 {
		kind, n := b[0], 0
		b = b[1:]
		for i := 0; i < 4 && len(b) > 0; i++ { // a length of 7 bits per byte
			more := b[0]&0x80 != 0
			n = n<<7 | int(b[0]&0x7F)
			if b = b[1:]; !more {
				break
			}
		}
		switch kind {
		case 3: // the stream: an id and flags, which are 0 in a file
			b = b[min(3, len(b)):]
		case 4: // the decoder: 0x40 and 0x66..0x68 are AAC, 0x69 and 0x6B are MP3
			if len(b) > 0 && (b[0] == 0x69 || b[0] == 0x6B) {
				t.codec = "mp3"
			}
			b = b[min(13, len(b)):]
		case 5: // AudioSpecificConfig: 5 bits of type, 4 of rate, 4 of channels
			if config := int(be(b, 0, 2)) >> 3 & 15; t.codec == "aac" && config > 0 {
				t.channels = aacChannels(config)
			}
			return
		default:
			b = b[min(n, len(b)):]
		}
	}
}
