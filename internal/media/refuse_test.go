package media_test

import (
	"errors"
	"strings"
	"testing"

	"ingestd/internal/media"
)

var refused = []struct {
	file string // or
	data string
	code string
	text string
}{
	{file: "ex_html.wav", code: media.NotAudio, text: "an HTML page"},
	{file: "ex_openpgp.wav", code: media.Encrypted, text: "OpenPGP"},
	{file: "ex_header_only.wav", code: media.HeaderOnly, text: "no audio"},
	{file: "ex_reserved.wav", code: media.Corrupt, text: "zeros"},
	{file: "ex_zeros.wma", code: media.Corrupt, text: "no complete header"},
	{file: "ex_vendor.nmf", code: media.Unsupported, text: "NICE"},
	{file: "ex_random.siprec", code: media.Unsupported, text: "no audio container known"},

	{data: "", code: media.Empty, text: "no bytes"},
	{data: strings.Repeat("\x00", 4096), code: media.Corrupt, text: "begins with zeros"},
	{data: "not a recording\n", code: media.NotAudio, text: "is a text"},
	{data: "\xff\xfen\x00o\x00t\x00e\x00", code: media.NotAudio, text: "is a text"},
	{data: "Gespr\xe4ch abgebrochen, bitte wiederholen", code: media.NotAudio, text: "is a text"},
	{data: strings.Repeat("x", 511) + "\u00e9" + "yz", code: media.NotAudio, text: "is a text"},
	{data: "x" + strings.Repeat("\u044f", 300), code: media.NotAudio, text: "is a text"},
	{data: "\ufeff\r\n {\"error\": \"expired\"}", code: media.NotAudio, text: "JSON"},
	{data: "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>", code: media.NotAudio, text: "XML"},
	{data: "the free form text that has free at 4", code: media.NotAudio, text: "is a text"},
	{data: "%PDF-1.7\n", code: media.NotAudio, text: "PDF"},
	{data: "\x7fELF\x02\x01\x01", code: media.NotAudio, text: "program"},

	{data: "-----BEGIN PGP MESSAGE-----\n\njA0ECQMC", code: media.Encrypted, text: "OpenPGP"},
	{data: "-----BEGIN PKCS7-----\nMIIB", code: media.Encrypted, text: "PKCS #7"},
	{data: "-----BEGIN CMS-----\nMIIB", code: media.Encrypted, text: "CMS"},
	{data: "\x85\x01\x0c\x03\x12\x34\x56\x78\x9a\xbc\xde\xf0\x01" + strings.Repeat("\xa5", 300), code: media.Encrypted, text: "OpenPGP"},
	{data: "\xc1\xc0\x4c\x03\x12\x34\x56\x78\x9a\xbc\xde\xf0\x12" + strings.Repeat("\xa5", 300), code: media.Encrypted, text: "OpenPGP"},
	{data: "\x30\x82\x01\x00\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03\xa0", code: media.Encrypted, text: "CMS"},
	{data: "\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03\xa0\x80", code: media.Encrypted, text: "CMS"},
	{data: "\x30\x82\x01\x00\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x17\xa0", code: media.Encrypted, text: "CMS"},
	{data: "MIME-Version: 1.0\r\nContent-Type: application/x-pkcs7-mime; name=smime.p7m\r\n", code: media.Encrypted, text: "S/MIME"},
	{data: "Salted__\x01\x02\x03\x04\x05\x06\x07\x08\x90", code: media.Encrypted, text: "openssl"},

	{data: "PK\x03\x04\x14\x00", code: media.Archive, text: "zip"},
	{data: "\x1f\x8b\x08\x00", code: media.Archive, text: "gzip"},
	{data: "7z\xbc\xaf\x27\x1c\x00\x04", code: media.Archive, text: "7z"},
	{data: "Rar!\x1a\x07\x01\x00", code: media.Archive, text: "RAR"},
	{data: "call.wav" + strings.Repeat("\x00", 249) + "ustar\x0000", code: media.Archive, text: "tar"},

	{data: "RIFF\x24\x00\x00\x00AVI LIST", code: media.Unsupported, text: "AVI"},
	{data: "RIFF\x24\x00\x00\x00RMID", code: media.Unsupported, text: "not WAV"},
	{data: "\x1a\x45\xdf\xa3\x01\x00\x00\x00", code: media.Unsupported, text: "WebM"},
	{data: "FORM\x00\x00\x10\x00AIFFCOMM", code: media.Unsupported, text: "AIFF"},
	{data: "RIFF\x00\x00\x00\x00WAVEdata\x04\x00\x00\x00abcd", code: media.Corrupt, text: "how its audio is coded"},
	{data: "\x01\x02 one frame by chance\xff\xfb\x10\x00" + strings.Repeat("\x01", 100), code: media.Unsupported, text: "no audio container known"},
	{data: "#!AMR\n", code: media.HeaderOnly, text: "no frames"},
	{data: "#!AMR\n\xff\xff\xff", code: media.Corrupt, text: "no valid first frame"},
	{data: "ID3\x04\x00\x00\x00\x00\x10\x00", code: media.HeaderOnly, text: "within the tags"},
	{data: "ID3\x04\x00\x00\x00\x00\x00\x02\x00\x00 no frames here", code: media.Corrupt, text: "no MP3 or AAC follows"},
	{data: "\x00\x00\x00\x14ftypM4A \x00\x00\x00\x00isom", code: media.Corrupt, text: "no index"},
	{data: "\x00\x00\x00\x10ftypisom\x00\x00\x00\x00\x00\x00\x00\x08moov", code: media.Unsupported, text: "describes neither"},
}

func TestRefused(t *testing.T) {
	for _, tt := range refused {
		b := []byte(tt.data)
		name := tt.code + ": " + tt.text
		if tt.file != "" {
			b, name = load(t, tt.file), tt.file
		}
		t.Run(name, func(t *testing.T) {
			in, err := probe(b)
			var bad *media.Error
			if !errors.As(err, &bad) {
				t.Fatalf("got %+v, %v, want an *Error", in, err)
			}
			if bad.Code != tt.code || !strings.Contains(bad.Text, tt.text) {
				t.Errorf("got %v, want %s ... %s", err, tt.code, tt.text)
			}
		})
	}
}

// TestRefusedButGrowing: what there is so far is no recording, and Missing
// tells that more is to come.
func TestRefusedButGrowing(t *testing.T) {
	for file, cut := range map[string]int{"alaw.wav": 30, "front_mono.m4a": 500, "end.m4a": 2000, "voice.wma": 100, "tags_44k_stereo.mp3": 20, "mono.flac": 50} {
		in, err := probe(load(t, file)[:cut])
		var bad *media.Error
		if !errors.As(err, &bad) || in.Missing <= 0 {
			t.Errorf("%s cut at %d: missing %d, %v", file, cut, in.Missing, err)
		}
	}
}

// TestErrorsQuoteNothing: texts go to the ledger, the content may be a customer's.
func TestErrorsQuoteNothing(t *testing.T) {
	for _, data := range []string{"Jane Roe called", "{\"name\":\"Jane Roe\"}", "<html>Jane Roe", "ID3\x03\x00\x00\x00\x00\x00\x08Jane Roe", "RIFF\x40\x00\x00\x00Jane Roe"} {
		if _, err := probe([]byte(data)); err == nil || strings.Contains(err.Error(), "Jane") {
			t.Errorf("got %v", err)
		}
	}
}
