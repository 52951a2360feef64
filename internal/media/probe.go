// Package media says what an audio file is: container, codec, sample rate,
// channels and length, from the content and never from the name.
//
// It promises to read at most [ReadLimit] bytes of a file of any size, never
// to panic, and never to allocate by a number found in the file. It decides
// nothing: whether a format is wanted is the destination's business. It never
// decodes audio beyond G.711 samples of a [Merged] file, unpacks an archive,
// decrypts, or repeats content of the file in its texts.
package media

import (
	"fmt"
	"io"
	"math"
	"time"
)

// ReadLimit is the most that one Probe reads, in bytes.
const ReadLimit = 1 << 20

// Info is what the headers say, corrected by what is really there.
//
// Duration 0 with Exact false means that the length is not known.
type Info struct {
	Container  string        // zip and tar only beside an Archive error; wav w64 mp3 aac ogg flac amr m4a mp4 mov 3gp wma wmv
	Codec      string        // pcm_s16le pcm_mulaw gsm_ms opus mp3 ...; wav_0x1234 or unknown for one without a name here
	SampleRate int           // Hz
	Channels   int           // 1 = mono
	Duration   time.Duration // of the audio that is there; as promised if Missing > 0 and not Exact
	Exact      bool          // counted or stated; false: estimated from a part of the file
	Ext        string        // extension that belongs to the container, without dot
	Video      bool          // there is a video track as well
	Missing    int64         // bytes the container promises beyond the end of the file; 0 = whole, or promises nothing
	Warning    string        // for the operator; "" when all is well
}

// Codes of an Error. They are stable: reasons in the ledger are made of them.
const (
	Empty       = "empty"              // no bytes at all
	HeaderOnly  = "header_only"        // a container without a single sample
	NotAudio    = "not_audio"          // a text, page, picture or program
	Encrypted   = "encrypted"          // OpenPGP, CMS and the like
	Archive     = "archive"            // zip, gzip, tar and the like
	Unsupported = "unsupported_format" // something else, perhaps audio
	Corrupt     = "corrupt"            // a known container that contradicts itself or is cut off
)

// Error says why a file is no usable recording. Text is a sentence for the
// operator: what was found and what can be done.
type Error struct{ Code, Text string }

func (e *Error) Error() string { return e.Code + ": " + e.Text }

func refuse(code, format string, args ...any) *Error {
	return &Error{Code: code, Text: fmt.Sprintf(format, args...)}
}

// Probe reads the headers of an audio file of size bytes.
//
// A file that is no usable recording gives an [*Error]; Info then holds what
// was found until there, and a Missing above 0 tells that the file may still
// be on its way. Any other error is one of reading, io.ErrUnexpectedEOF for a
// file that became shorter than size meanwhile: look again later.
func Probe(r io.ReaderAt, size int64) (Info, error) {
	if size <= 0 {
		return Info{}, refuse(Empty, "the file has no bytes; the recorder or the transfer stopped before writing: fetch the recording again")
	}
	s := &source{r: r, size: size, left: ReadLimit}
	in, bad := s.probe()
	switch {
	case s.err != nil:
		return Info{}, fmt.Errorf("probe audio: %w", s.err)
	case bad != nil:
		return in, bad
	}
	if in.Duration == 0 {
		in.Exact = false // also a length that no recording has
	}
	if in.Missing > 0 {
		in.warn(fmt.Sprintf("the container promises %d more bytes than the file has: it is cut off or still being written", in.Missing))
	}
	return in, nil
}

// probe asks the formats with a signature first, then the rows of frames,
// whose short sync words occur by chance, and last what is no audio.
func (s *source) probe() (Info, *Error) {
	head := string(s.at(0, 16))
	for _, f := range []struct {
		at    int
		magic string
		parse func(*source) (Info, *Error)
	}{
		{0, "RIFF", probeRIFF}, {0, "RF64", probeRIFF}, {0, "BW64", probeRIFF}, {0, w64Riff, probeW64},
		{0, "OggS", probeOgg}, {0, "fLaC", func(s *source) (Info, *Error) { return probeFLAC(s, 0) }},
		{0, "#!AMR", probeAMR}, {0, asfHeader, probeASF}, {0, "ID3", probeMPEG},
		{4, "ftyp", probeMP4}, {4, "moov", probeMP4}, {4, "mdat", probeMP4},
		{4, "wide", probeMP4}, {4, "free", probeMP4}, {4, "skip", probeMP4}, {4, "styp", probeMP4},
	} {
		if len(head) < f.at+len(f.magic) || head[f.at:f.at+len(f.magic)] != f.magic {
			continue
		}
		if in, bad := f.parse(s); bad != errNotMine {
			return in, bad
		}
	}
	if bad := s.foreign(); bad != nil {
		return s.archive(bad)
	}
	// MP3 and AAC, also when they begin after a few other bytes, as in a stream cut by a recorder.
	if in, bad := probeMPEG(s); bad != errNotMine {
		return in, bad
	}
	return Info{}, refuse(Unsupported, "the content is no audio container known here (headerless audio, encrypted, or a vendor's own format): have the recorder export WAV, or convert it first")
}

// errNotMine is a parser's answer to a file that only looked like its format.
var errNotMine = &Error{Code: Unsupported, Text: "not this format"}

// warn adds a sentence to what the operator should know.
func (in *Info) warn(text string) {
	if in.Warning != "" {
		in.Warning += "; "
	}
	in.Warning += text
}

// length turns samples per channel at a rate in Hz into time; 0 when that
// cannot be (no rate, or longer than a time.Duration holds: garbage).
func length(samples, rate int64) time.Duration {
	if samples <= 0 || rate <= 0 || samples/rate >= math.MaxInt64/int64(time.Second) {
		return 0
	}
	return time.Duration(samples/rate)*time.Second + time.Duration(float64(samples%rate)/float64(rate)*float64(time.Second))
}
