package sidecar

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// Names of an XML element's value that are not its own: its text beside
// attributes or child elements, and an attribute that has the name of a child
// element.
const (
	xmlText      = "text"
	xmlAttribute = "@"
)

// readXML reads one document, or, where one file describes many recordings,
// every element named Config.Record.
//
// An element without attributes and children is its text. Any other is an
// object: attributes and child elements by their local names (name spaces are
// left away), a name that occurs several times as a list, and the element's own
// text, if it has any, as "text". An attribute with the name of a child element
// is found as "@name". Declarations of name spaces and the attributes of the
// xml name space (xml:lang) say nothing about a call and are left out.
//
// Entities are never expanded beyond XML's five, and a document that declares
// its own is refused (XML 1.0 section 4.2; the billion-laughs attack).
func readXML(src text, c Config, lim limits, out *output) error {
	max := lim.document
	if c.Record != "" {
		max += 64 << 10 // blanks and the like between two records
	}
	g := &guard{r: src, max: max, full: documentTooLarge(lim)}
	dec := xml.NewDecoder(g)
	// decode has made it UTF-8 already, whatever the declaration says.
	dec.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil }
	r := &xmlReader{dec: dec, src: src, guard: g, max: lim.depth}
	return r.document(c.Record, out)
}

type xmlReader struct {
	dec   *xml.Decoder
	src   text
	guard *guard
	depth int
	max   int
}

// document walks the file. Without a record name its root is the document.
func (r *xmlReader) document(record string, out *output) error {
	seen := false
	for {
		token, err := r.dec.Token()
		if err == io.EOF && r.depth == 0 {
			return nil // no element at all: reported as no_record
		}
		if err != nil {
			return r.broken(err)
		}
		switch token := token.(type) {
		case xml.Directive:
			if strings.Contains(string(token), "[") {
				return &Error{Code: "doctype", Line: r.line(), Text: "the document declares its own entities; such a document is not read"}
			}
		case xml.CharData:
			if r.depth == 0 && strings.TrimSpace(string(token)) != "" {
				return r.broken(nil)
			}
		case xml.StartElement:
			if r.depth == 0 && seen {
				return trailing()
			}
			seen = true
			if record != "" && token.Name.Local != record {
				if r.depth++; r.depth > r.max {
					return tooDeep(r.max)
				}
				continue
			}
			if err := r.record(token, out); err != nil {
				return err
			}
		case xml.EndElement:
			r.depth--
		}
	}
}

// record reads one element as a row.
func (r *xmlReader) record(start xml.StartElement, out *output) error {
	value, err := r.element(start)
	if err != nil {
		return err
	}
	r.guard.mark = r.dec.InputOffset()
	object, ok := value.(map[string]any)
	if !ok {
		return out.row(nil, &Error{Code: "type", Line: r.line(), Text: "the element that stands for a call holds only text; look whether it is the right file"})
	}
	return out.row(object, nil)
}

// element reads up to the end of an element that has begun.
func (r *xmlReader) element(start xml.StartElement) (any, error) {
	if r.depth++; r.depth > r.max {
		return nil, tooDeep(r.max)
	}
	defer func() { r.depth-- }()
	attributes, err := r.attributes(start)
	if err != nil {
		return nil, err
	}
	children := map[string]any{}
	var own strings.Builder
	for {
		token, err := r.dec.Token()
		if err != nil {
			return nil, r.broken(err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			value, err := r.element(token)
			if err != nil {
				return nil, err
			}
			add(children, token.Name.Local, value)
		case xml.CharData:
			own.Write(token)
		case xml.EndElement:
			return r.value(attributes, children, strings.TrimSpace(own.String()))
		}
	}
}

// attributes are those that say something, by local name.
func (r *xmlReader) attributes(start xml.StartElement) (map[string]string, error) {
	out := map[string]string{}
	for _, a := range start.Attr {
		if a.Name.Space == "xmlns" || a.Name.Local == "xmlns" || a.Name.Space == "xml" || a.Name.Space == "http://www.w3.org/XML/1998/namespace" {
			continue
		}
		if _, twice := out[a.Name.Local]; twice {
			return nil, &Error{Code: "duplicate_key", Line: r.line(), Text: "an element has the same attribute twice, so one value would be lost"}
		}
		if !r.src.intact(a.Value) {
			return nil, r.damaged()
		}
		out[a.Name.Local] = a.Value
	}
	return out, nil
}

func (r *xmlReader) value(attributes map[string]string, children map[string]any, own string) (any, error) {
	if !r.src.intact(own) {
		return nil, r.damaged()
	}
	if len(attributes) == 0 && len(children) == 0 {
		return own, nil
	}
	for name, value := range attributes {
		if _, taken := children[name]; taken {
			name = xmlAttribute + name
		}
		children[name] = value
	}
	if own != "" {
		add(children, xmlText, own)
	}
	return children, nil
}

// add keeps every value of a name: the second makes a list.
func add(object map[string]any, name string, value any) {
	switch before := object[name].(type) {
	case nil:
		object[name] = value
	case []any:
		object[name] = append(before, value)
	default:
		object[name] = []any{before, value}
	}
}

// broken names why the decoder stopped, without what stands in the file.
func (r *xmlReader) broken(err error) error {
	if r.guard.err != nil && r.guard.err != io.EOF {
		return readError(r.guard.err)
	}
	var syntax *xml.SyntaxError
	switch {
	case err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &syntax) && strings.Contains(syntax.Msg, "unexpected EOF"):
		return &Error{Code: "xml_syntax", Line: r.line(), Text: "the document ends in the middle; it is still being written, or was cut off"}
	case errors.As(err, &syntax) && strings.Contains(syntax.Msg, "UTF-8"):
		return r.damaged()
	}
	return &Error{Code: "xml_syntax", Line: r.line(), Text: "this is not XML; look whether it is the right file"}
}

func (r *xmlReader) damaged() *Error {
	bad := r.src.damage()
	bad.Line = r.line()
	return bad
}

func (r *xmlReader) line() int {
	line, _ := r.dec.InputPos()
	return line
}

func tooDeep(max int) *Error {
	return &Error{Code: "depth", Text: fmt.Sprintf("elements are nested more than %d deep", max)}
}

var xmlDeclaration = regexp.MustCompile(`^\s*<\?xml[^>]*\bencoding\s*=\s*["']([A-Za-z0-9._-]+)["']`)

// declared is the encoding that an XML declaration names; "" if it names none.
// Only a file in an encoding that contains ASCII can be read so far.
func declared(head []byte) string {
	if m := xmlDeclaration.FindSubmatch(head); m != nil {
		return string(m[1])
	}
	return ""
}
