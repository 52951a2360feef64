package sidecar

import (
	"fmt"
	"io"
)

// Row is one document: a whole JSON object or XML file, one element of a list,
// or one line of a CSV file.
type Row struct {
	Number int // from 1, bad rows counted
	// Value holds string, bool, nil, map[string]any and []any; a JSON number
	// is an int64 if it is an integer that fits, a float64 if it is a fraction
	// and keeps all its digits, and else its text. CSV values are strings; a null
	// literal leaves its key out.
	Value map[string]any
	// Err says why this row cannot be used; Value is then nil. It is set only
	// with pair = "key", where the rows after a bad one still count.
	Err *Error
}

// Error says why a document, or one row of it, cannot be used. Neither Text
// nor Code contains anything that was written in the document.
//
// Codes: encoding, too_large, limits, no_record, format (kind of file not
// known); csv_syntax, control_char, header, duplicate_header, fields;
// json_syntax, xml_syntax, doctype, duplicate_key, trailing, depth, type.
type Error struct {
	Code string // stable
	Text string // what is wrong and what the operator can do
	Line int    // from 1; 0 when not known
}

func (e *Error) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("%s: line %d: %s", e.Code, e.Line, e.Text)
	}
	return e.Code + ": " + e.Text
}

// limits bound what one document may cost. Sizes are bytes.
type limits struct {
	document int64 // a file that describes one recording; an element of a JSON list
	list     int64 // a file that describes many
	row      int64 // a CSV row with its line end
	field    int   // a CSV value
	columns  int
	rows     int
	depth    int // nested JSON objects and arrays, the outermost included
}

func standard() limits {
	return limits{document: 1 << 20, list: 1 << 30, row: 1 << 20, field: 64 << 10, columns: 1000, rows: 2_000_000, depth: 32}
}

// Read reads one document and hands its rows to fn, in order. Rows come as
// they are read, so that a list of any length needs little memory; rows given
// before an error are to be forgotten. size is the length of the file, -1 if
// not known. An auto format must have been settled by [Config.For]. Without
// an error r was read to its end.
//
// The error is an *[Error] when the document is at fault, what fn returned
// when that was an error, and otherwise a wrapped error of r.
func Read(r io.Reader, size int64, c Config, fn func(Row) error) error {
	return read(r, size, c, standard(), fn)
}

func read(r io.Reader, size int64, c Config, lim limits, fn func(Row) error) error {
	most := lim.document
	if c.isList() {
		most = lim.list
	}
	whole := &guard{r: r, max: most, full: tooLarge("the file", most)}
	whole.full.Text += `; look whether it is the right file, and whether a list of recordings has pair = "key"`
	if size > most {
		return whole.full
	}
	return parse(whole, c, lim, &output{fn: fn, list: c.isList(), max: lim.rows})
}

// parse reads the text of r; out holds what was read before.
func parse(r io.Reader, c Config, lim limits, out *output) error {
	src, err := decode(r, c)
	if err != nil {
		return err
	}
	out.place.Head, out.place.End, out.placeless = src.mark, src.mark, src.decoded
	switch c.Format {
	case formatCSV:
		err = readCSV(src, c, lim, out)
	case formatJSON:
		err = readJSON(src, c, lim, out)
	case formatXML:
		err = readXML(src, c, lim, out)
	default:
		return &Error{Code: "format", Text: "the name does not tell what kind of file this is; set format to json, csv or xml"}
	}
	if err == nil && out.n == 0 && !c.Growing {
		return &Error{Code: "no_record", Text: "the file has no record in it; look whether the recorder finished writing it"}
	}
	return err
}

// output numbers the rows and decides what a bad one means.
type output struct {
	fn   func(Row) error
	list bool
	n    int
	max  int
	// place is where the reading stands, counted in the text that the parser
	// sees; only in a growing list, see ReadOn.
	place     Place
	placeless bool // no place can be told: the text is not the bytes of the file, or one list in brackets
}

func (o *output) row(value map[string]any, bad *Error) error {
	if o.n++; o.n > o.max {
		return &Error{Code: "limits", Text: fmt.Sprintf("there are more than %d rows; export shorter lists", o.max)}
	}
	if bad != nil && !o.list {
		return bad
	}
	return o.fn(Row{Number: o.n, Value: value, Err: bad})
}

// guard ends a reading that has taken more than max bytes since mark. Both
// parsers ask for more only while the record at hand is incomplete, so with
// mark at its begin the guard bounds what they buffer. Its error stays, since
// encoding/csv may prefer one of its own the first time.
type guard struct {
	r    io.Reader
	max  int64
	full *Error
	mark int64
	n    int64
	err  error
}

func (g *guard) Read(p []byte) (int, error) {
	if g.err != nil {
		return 0, g.err
	}
	if g.n-g.mark > g.max {
		g.err = g.full
		return 0, g.err
	}
	n, err := g.r.Read(p)
	g.n += int64(n)
	if n > 0 && err == io.EOF {
		err = nil // comes again, after the size was looked at
	}
	g.err = err
	return n, err
}

func tooLarge(what string, max int64) *Error {
	return &Error{Code: "too_large", Text: fmt.Sprintf("%s is larger than %d bytes", what, max)}
}
