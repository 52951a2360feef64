package sidecar

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf16"
)

// readJSON reads one object, or, where one file describes many recordings, an
// array of objects or objects back to back. encoding/json takes the last of two equal keys, ignores
// what follows the document and replaces damaged characters, all silently;
// here each of these is an error.
func readJSON(src text, c Config, lim limits, out *output) error {
	br := bufio.NewReader(src)
	first, blanks, err := firstByte(br)
	if err != nil {
		return ignoreEOF(err)
	}
	if first == '[' && c.isList() {
		out.placeless = true
		return readList(br, src, lim, out)
	}
	if c.isList() {
		out.place.End = src.mark + blanks
		return readStream(br, src, c.Growing, lim, out)
	}
	data, err := io.ReadAll(io.LimitReader(br, lim.document+1))
	if err != nil {
		return readError(err)
	}
	if int64(len(data)) > lim.document {
		return documentTooLarge(lim)
	}
	value, bad := document(data, src, lim)
	if bad == nil {
		return out.row(value, nil)
	}
	if bad.Code == "type" && first == '[' {
		bad.Text = `the document is a list; a list needs pair = "key"`
	}
	return bad // also of a list: what was lost may have been all of its rows
}

// readList streams an array: one element in memory at a time.
func readList(r io.Reader, src text, lim limits, out *output) error {
	const blanks = 64 << 10 // between two elements; they count towards the guard
	g := &guard{r: r, max: lim.document + blanks, full: documentTooLarge(lim)}
	dec := json.NewDecoder(g)
	if _, err := dec.Token(); err != nil {
		return listError(dec, src, lim, out.n, err)
	}
	for dec.More() {
		g.mark = dec.InputOffset()
		var element json.RawMessage
		if err := dec.Decode(&element); err != nil {
			return listError(dec, src, lim, out.n, err)
		}
		if int64(len(element)) > lim.document {
			return g.full
		}
		value, bad := document(element, src, lim)
		if bad != nil {
			bad.Line = 0 // it counts from the element's begin
		}
		if err := out.row(value, bad); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil {
		return listError(dec, src, lim, out.n, err)
	}
	_, err := dec.Token()
	var syntax *json.SyntaxError
	switch {
	case err == io.EOF:
		return nil
	case err == nil || errors.As(err, &syntax) || errors.Is(err, io.ErrUnexpectedEOF):
		return trailing()
	}
	return readError(err)
}

// readStream reads objects back to back, with or without line ends between
// them: what stream deliveries and JSON lines look like, and a lone object.
func readStream(r io.Reader, src text, growing bool, lim limits, out *output) error {
	const blanks = 64 << 10
	g := &guard{r: r, max: lim.document + blanks, full: documentTooLarge(lim)}
	dec := json.NewDecoder(g)
	begin := out.place.End
	for {
		g.mark = dec.InputOffset()
		var element json.RawMessage
		err := dec.Decode(&element)
		if err == io.EOF || growing && errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return listError(dec, src, lim, out.n, err)
		}
		if int64(len(element)) > lim.document {
			return g.full
		}
		value, bad := document(element, src, lim)
		if bad != nil {
			bad.Line = 0
		}
		out.place.End = begin + dec.InputOffset()
		if err := out.row(value, bad); err != nil {
			return err
		}
	}
}

// listError names why the decoder stopped inside a list, after n elements.
func listError(dec *json.Decoder, src text, lim limits, n int, err error) error {
	var bad *Error
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		bad = broken()
		// The decoder has a depth limit of its own, far above ours, and tells
		// it apart only in words: look again at what it stopped at.
		rest, readErr := io.ReadAll(dec.Buffered())
		if _, deep := document(rest, src, lim); readErr == nil && deep != nil && deep.Code == "depth" {
			bad = deep
			bad.Line = 0
		}
	case err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF):
		bad = truncated()
	default:
		return readError(err)
	}
	bad.Text += fmt.Sprintf(" (after element %d of the list)", n)
	return bad
}

// document reads one whole object.
func document(data []byte, src text, lim limits) (map[string]any, *Error) {
	if !src.intact(string(data)) {
		return nil, src.damage()
	}
	p := parser{dec: json.NewDecoder(bytes.NewReader(data)), max: lim.depth}
	p.dec.UseNumber()
	value, bad := p.value()
	if bad == nil {
		if _, err := p.dec.Token(); err != io.EOF {
			bad = trailing()
		}
	}
	if bad != nil {
		bad.Line = 1 + bytes.Count(data[:p.dec.InputOffset()], []byte("\n"))
		return nil, bad
	}
	if at := loneSurrogate(data); at >= 0 {
		return nil, &Error{Code: "encoding", Line: 1 + bytes.Count(data[:at], []byte("\n")),
			Text: `a \u escape is half of a character; the recorder cut a text in the middle of it`}
	}
	object, ok := value.(map[string]any)
	if !ok {
		return nil, &Error{Code: "type", Text: "the document must be an object: { ... }"}
	}
	return object, nil
}

// parser builds a value from tokens, because only tokens show equal keys.
type parser struct {
	dec        *json.Decoder
	depth, max int
}

func (p *parser) value() (any, *Error) {
	token, err := p.dec.Token()
	if err != nil {
		return nil, tokenError(err)
	}
	switch token := token.(type) {
	case json.Number:
		return number(token.String()), nil
	case json.Delim:
		if p.depth++; p.depth > p.max {
			return nil, &Error{Code: "depth", Text: fmt.Sprintf("objects and lists are nested more than %d deep", p.max)}
		}
		var value any
		var bad *Error
		if token == '{' {
			value, bad = p.object()
		} else {
			value, bad = p.array()
		}
		p.depth--
		return value, bad
	}
	return token, nil
}

func (p *parser) object() (any, *Error) {
	object := map[string]any{}
	seen := map[string]bool{}
	for p.dec.More() {
		token, err := p.dec.Token()
		if err != nil {
			return nil, tokenError(err)
		}
		key, ok := token.(string)
		if !ok {
			return nil, broken()
		}
		if seen[fold(key)] {
			return nil, &Error{Code: "duplicate_key", Text: "an object has the same key twice (case does not count), so one value would be lost"}
		}
		seen[fold(key)] = true
		value, bad := p.value()
		if bad != nil {
			return nil, bad
		}
		object[key] = value
	}
	return object, p.end()
}

func (p *parser) array() (any, *Error) {
	array := []any{}
	for p.dec.More() {
		value, bad := p.value()
		if bad != nil {
			return nil, bad
		}
		array = append(array, value)
	}
	return array, p.end()
}

// end takes the closing bracket.
func (p *parser) end() *Error {
	if _, err := p.dec.Token(); err != nil {
		return tokenError(err)
	}
	return nil
}

func tokenError(err error) *Error {
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return truncated()
	}
	return broken()
}

func truncated() *Error {
	return &Error{Code: "json_syntax", Text: "the document ends in the middle; it is still being written, or was cut off"}
}

func documentTooLarge(lim limits) *Error {
	bad := tooLarge("one document", lim.document)
	bad.Text += "; look whether it is the right file"
	return bad
}

func broken() *Error {
	return &Error{Code: "json_syntax", Text: "this is not JSON; look whether it is the right file"}
}

func trailing() *Error {
	return &Error{Code: "trailing", Text: "something follows the end of the document; a file must hold one object, or one list of objects"}
}

// loneSurrogate returns where a \u escape stands for half of a UTF-16 pair,
// or -1. Backslashes occur in strings only, as data is valid JSON.
func loneSurrogate(data []byte) int {
	for i := 0; i < len(data); i++ {
		if data[i] != '\\' {
			continue
		}
		r := escaped(data[i:])
		if !utf16.IsSurrogate(r) {
			i++ // the escaped character, which may be a backslash
			continue
		}
		if utf16.DecodeRune(r, escaped(data[i+6:])) == '\uFFFD' {
			return i
		}
		i += 11
	}
	return -1
}

// escaped is the code unit of a \uXXXX at the begin of b, or -1.
func escaped(b []byte) rune {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return -1
	}
	n, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return rune(n)
}

// firstByte skips blanks, counts them and shows what follows them.
func firstByte(br *bufio.Reader) (b byte, blanks int64, err error) {
	for ; ; blanks++ {
		b, err := br.ReadByte()
		if err == io.EOF {
			return 0, blanks, err
		}
		if err != nil {
			return 0, blanks, readError(err)
		}
		if b != ' ' && b != '\t' && b != '\r' && b != '\n' {
			return b, blanks, br.UnreadByte()
		}
	}
}
