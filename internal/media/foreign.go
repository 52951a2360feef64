package media

import (
	"strings"
	"unicode/utf8"
)

// foreign recognises what is no recording, so that the operator reads what
// arrived instead of it. It returns nil for what it does not know.
func (s *source) foreign() *Error {
	b := s.at(0, 512)
	head := string(b)
	for _, f := range []struct {
		at                int
		magic, code, what string
	}{
		{0, "PK\x03\x04", Archive, "a zip archive"}, {0, "PK\x05\x06", Archive, "an empty zip archive"},
		{0, "\x1f\x8b", Archive, "gzip data"}, {0, "7z\xbc\xaf\x27\x1c", Archive, "a 7z archive"},
		{0, "Rar!\x1a\x07", Archive, "a RAR archive"}, {257, "ustar", Archive, "a tar archive"},
		{0, "BZh", Archive, "bzip2 data"}, {0, "\xfd7zXZ\x00", Archive, "xz data"},
		{0, "\x28\xb5\x2f\xfd", Archive, "zstd data"}, {0, "MSCF\x00\x00\x00\x00", Archive, "a cabinet archive"},

		{0, "-----BEGIN PGP SIGNED", NotAudio, "a signed text"}, {0, "-----BEGIN PGP", Encrypted, "an OpenPGP message"},
		{0, "-----BEGIN CMS", Encrypted, "a CMS message"}, {0, "-----BEGIN PKCS7", Encrypted, "a PKCS #7 message"},
		{0, "-----BEGIN AGE ENCRYPTED", Encrypted, "an age file"}, {0, "age-encryption.org/", Encrypted, "an age file"},
		{0, "Salted__", Encrypted, "a file encrypted with openssl"},

		{0, "%PDF-", NotAudio, "a PDF document"}, {0, "\x89PNG\r\n", NotAudio, "a picture"},
		{0, "\xff\xd8\xff", NotAudio, "a picture"}, {0, "GIF8", NotAudio, "a picture"},
		{0, "\x7fELF", NotAudio, "a program"}, {0, "MZ\x90\x00", NotAudio, "a program"},
		{0, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", NotAudio, "an Office document"}, {0, "SQLite format 3\x00", NotAudio, "a database"},

		{0, "NMF", Unsupported, "a NICE media file, which only its vendor's converter reads"},
		{0, "\x1a\x45\xdf\xa3", Unsupported, "Matroska or WebM"}, {0, "FLV\x01", Unsupported, "Flash video"},
		{0, "FORM", Unsupported, "AIFF"}, {0, "caff", Unsupported, "Core Audio"}, {0, ".snd", Unsupported, "Sun audio"},
		{0, "RIFX", Unsupported, "big-endian WAV"}, {0, "Creative Voice File", Unsupported, "Creative Voice"},
	} {
		if text(b, f.at, len(f.magic)) == f.magic {
			return found(f.code, f.what)
		}
	}
	switch {
	case openPGP(b):
		return found(Encrypted, "an OpenPGP message")
	case cms(b):
		return found(Encrypted, "a CMS (PKCS #7) message")
	case strings.Trim(head, "\x00") == "":
		return refuse(Corrupt, "the content begins with zeros: a transfer that reserved the space has not finished, or a disk lost the data; fetch the recording again")
	}
	if plain, ok := plainText(b, s.size > int64(len(b))); ok {
		return found(textKind(plain))
	}
	return nil
}

// found words a refusal: what is there, and what helps.
func found(code, what string) *Error {
	help := map[string]string{
		Archive:     "unpack it before it is dropped here",
		Encrypted:   "decrypt it before it is dropped here, or have the recorder export it unencrypted",
		NotAudio:    "look at it for an error message of the recorder or the transfer, and fetch the recording again",
		Unsupported: "have the recorder export WAV, or convert it first",
	}
	return refuse(code, "the content is %s: %s", what, help[code])
}

// openPGP tells whether b begins with a packet that an encrypted message
// begins with (RFC 9580 sections 4.2 and 5): a session key.
func openPGP(b []byte) bool {
	if len(b) < 6 || b[0]&0x80 == 0 {
		return false
	}
	tag, body := b[0]&0x3F, 2
	switch {
	case b[0]&0x40 == 0: // the older form: its length takes 1, 2 or 4 bytes, or is open
		tag, body = tag>>2, []int{2, 3, 5, 1}[b[0]&3]
	case b[1] >= 192 && b[1] < 224:
		body = 3
	case b[1] == 255:
		body = 6
	}
	if len(b) < body+4 {
		return false
	}
	version, next := b[body], b[body+1]
	switch tag {
	case 1: // a session key for a public key: an 8-byte key id and an algorithm follow
		return version == 3 && len(b) > body+9 && strings.IndexByte("\x01\x02\x10\x12\x19\x1a", b[body+9]) >= 0 || version == 6 && next >= 21
	case 3: // a session key for a passphrase: a cipher, then how the key is made
		return version == 4 && next >= 1 && next <= 13 && strings.IndexByte("\x00\x01\x03\x04", b[body+2]) >= 0 || version == 6 && next >= 7
	}
	return false
}

// cms tells whether b begins with the DER or BER of enveloped, encrypted or
// authenticated-enveloped data (RFC 5652): SEQUENCE, then the content's id.
func cms(b []byte) bool {
	if len(b) < 2 || b[0] != 0x30 {
		return false
	}
	at := 2
	if b[1] > 0x80 {
		at += int(b[1] & 0x7F)
	}
	for _, id := range []string{
		"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03", "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x06",
		"\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x17",
	} {
		if text(b, at, len(id)) == id {
			return true
		}
	}
	return false
}

// plainText tells whether b is text, and returns it as ASCII as far as
// textKind needs it. cut says that the file goes on.
func plainText(b []byte, cut bool) (string, bool) {
	t := strings.TrimPrefix(string(b), "\ufeff")
	if bom := text(b, 0, 2); len(b) >= 4 && (bom == "\xff\xfe" && b[3] == 0 || bom == "\xfe\xff" && b[2] == 0) {
		return strings.ReplaceAll(t[2:], "\x00", ""), true // UTF-16
	}
	if strings.ContainsFunc(t, func(r rune) bool { return r < ' ' && !strings.ContainsRune("\t\n\r\f", r) || r == 0x7F }) {
		return "", false
	}
	if cut { // a character may be cut in two
		for i := 0; i < 3 && !utf8.ValidString(t) && len(t) > 0; i++ {
			t = t[:len(t)-1]
		}
	}
	high := 0
	for i := range len(t) {
		if t[i] >= 0x80 {
			high++
		}
	}
	// A Windows code page has a letter with an accent here and there.
	return t, utf8.ValidString(t) || high*8 < len(t)
}

// textKind names a text by its beginning.
func textKind(t string) (code, what string) {
	t = strings.ToLower(strings.TrimSpace(t))
	switch {
	case strings.HasPrefix(t, "mime-version:"), strings.HasPrefix(t, "content-type: application/pkcs7-mime"), strings.HasPrefix(t, "content-type: application/x-pkcs7-mime"):
		if strings.Contains(t, "pkcs7-mime") {
			return Encrypted, "an S/MIME message"
		}
	case strings.HasPrefix(t, "<!doctype html"), strings.HasPrefix(t, "<html"):
		return NotAudio, "an HTML page"
	case strings.HasPrefix(t, "<"):
		return NotAudio, "an XML or HTML document"
	case strings.HasPrefix(t, "{"), strings.HasPrefix(t, "["):
		return NotAudio, "a JSON document"
	}
	return NotAudio, "a text"
}
