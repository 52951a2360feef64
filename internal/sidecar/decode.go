package sidecar

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/unicode"
)

// text is a document as UTF-8, without a byte-order mark.
type text struct {
	io.Reader
	decoded bool
	mark    int64 // bytes of the byte-order mark before it
}

// intact reports whether s is text without a damaged character. A decoder
// turns what it cannot read into U+FFFD, so there that character means damage;
// in a UTF-8 file it is what the recorder wrote.
func (t text) intact(s string) bool {
	if t.decoded {
		return !strings.ContainsRune(s, utf8.RuneError)
	}
	return utf8.ValidString(s)
}

func (t text) damage() *Error {
	if t.decoded {
		return &Error{Code: "encoding", Text: "there are bytes that do not exist in the file's encoding; set encoding to the one the recorder writes"}
	}
	return &Error{Code: "encoding", Text: "the text is not UTF-8; set encoding to the one the recorder writes, for example windows-1252"}
}

// decode gives the text of r. A byte-order mark decides; else the configured
// encoding; else what an XML file declares; else it must be UTF-8, which the parsers check value by value.
// Nothing is ever guessed: a wrong guess sends wrong names.
func decode(r io.Reader, c Config) (text, error) {
	br, name := bufio.NewReader(r), c.Encoding
	head, err := br.Peek(4)
	if err != nil && err != io.EOF {
		return text{}, readError(err)
	}
	for _, mark := range []struct {
		bytes string
		enc   encoding.Encoding
	}{
		{"\xef\xbb\xbf", nil},
		{"\xff\xfe", unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM)},
		{"\xfe\xff", unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM)},
	} {
		if bytes.HasPrefix(head, []byte(mark.bytes)) {
			if _, err := br.Discard(len(mark.bytes)); err != nil {
				return text{}, readError(err)
			}
			src := decoded(br, mark.enc)
			src.mark = int64(len(mark.bytes))
			return src, nil
		}
	}
	if name == "" && c.Format == formatXML {
		start, err := br.Peek(256)
		if err != nil && err != io.EOF {
			return text{}, readError(err)
		}
		name = declared(start)
	}
	enc, err := lookupEncoding(name)
	if err != nil {
		return text{}, &Error{Code: "encoding", Text: err.Error()}
	}
	if isUTF16(name) && len(head) > 0 {
		return text{}, &Error{Code: "encoding", Text: "there is no byte-order mark; set encoding to utf-16le or utf-16be"}
	}
	if enc == nil && looksUTF16(head) {
		return text{}, &Error{Code: "encoding", Text: "this is UTF-16 without a byte-order mark; set encoding to utf-16le or utf-16be"}
	}
	return decoded(br, enc), nil
}

func decoded(r io.Reader, enc encoding.Encoding) text {
	if enc == nil {
		return text{Reader: r}
	}
	return text{Reader: enc.NewDecoder().Reader(r), decoded: true}
}

// lookupEncoding finds an encoding by its usual names; nil is UTF-8.
func lookupEncoding(name string) (encoding.Encoding, error) {
	name = strings.ToLower(strings.TrimSpace(name))
	switch name {
	case "", "utf-8", "utf8":
		return nil, nil
	case "utf-16be":
		return unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM), nil
	}
	enc, err := htmlindex.Get(name)
	if err != nil || enc == encoding.Replacement || name == "x-user-defined" {
		return nil, fmt.Errorf("%q is unknown; allowed: utf-8, utf-16, utf-16le, utf-16be, windows-1252, iso-8859-1 "+
			"and other names of the WHATWG list such as windows-1250, shift_jis, gb18030", name)
	}
	// The web reads Latin-1 as Windows-1252. Here the difference counts: bytes
	// 0x80 to 0x9f in a Latin-1 file are control characters and are refused.
	if enc == charmap.Windows1252 && !strings.Contains(name, "1252") {
		return charmap.ISO8859_1, nil
	}
	return enc, nil
}

// isUTF16 reports a name that leaves the byte order to the mark.
func isUTF16(name string) bool {
	return strings.EqualFold(strings.TrimSpace(name), "utf-16")
}

// looksUTF16 recognises two ASCII characters in UTF-16, only to refuse them
// with a better sentence than "control character".
func looksUTF16(b []byte) bool {
	if len(b) < 4 {
		return false
	}
	little := b[0] != 0 && b[1] == 0 && b[2] != 0 && b[3] == 0
	big := b[0] == 0 && b[1] != 0 && b[2] == 0 && b[3] != 0
	return little || big
}

// readError keeps an *Error that a guard put into the stream and wraps what
// the file system said.
func readError(err error) error {
	var bad *Error
	if errors.As(err, &bad) {
		return bad
	}
	return fmt.Errorf("read document: %w", err)
}
