package sidecar

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
)

// table reads a CSV file row by row.
type table struct {
	cr    *csv.Reader
	br    *bufio.Reader
	guard *guard
	src   text
	lim   limits
	end   int // line on which the row before the current one ends
}

// readCSV is strict where encoding/csv is generous: it refuses rows of another
// width, control characters, bare carriage returns and headers that would make
// a value disappear. Values are kept exactly as written.
func readCSV(src text, c Config, lim limits, out *output) error {
	g := &guard{r: src, max: lim.row, full: tooLarge("a row", lim.row)}
	g.full.Text += "; look whether lines end in LF or CR LF, and for a quote that is never closed"
	var lines io.Reader = g
	if c.Growing {
		lines = &wholeLines{r: g}
	}
	br := bufio.NewReaderSize(lines, 64<<10)
	if tooWide(br, c, lim) {
		return tooManyColumns(lim.columns)
	}
	t := table{cr: csv.NewReader(br), br: br, guard: g, src: src, lim: lim}
	t.cr.Comma = c.delimiter()
	if c.Comment != "" {
		t.cr.Comment, _ = oneRune(c.Comment)
	}
	t.cr.FieldsPerRecord = -1 // a wrong width is reported with numbers below
	t.cr.ReuseRecord = true

	names, err := t.names(c)
	if err != nil {
		return ignoreEOF(err)
	}
	out.place.Head = src.mark + t.cr.InputOffset()
	shift := 0 // between the lines of the file and those that are read
	if out.place.Lines > 0 {
		shift = out.place.Lines - t.end
	}
	for {
		cells, bad, err := t.next()
		if err != nil {
			return ignoreEOF(err)
		}
		if c.Growing && bad != nil && bad.Code == "csv_syntax" && t.atEnd() {
			return nil // a line end inside quotes: the last row is half written
		}
		var value map[string]any
		if bad == nil {
			if value, bad = record(names, cells, c.Null); bad != nil {
				bad.Line = t.line()
			}
		}
		if bad != nil && bad.Line > 0 {
			bad.Line += shift
		}
		out.place.End, out.place.Lines = src.mark+t.cr.InputOffset(), t.end+shift
		if err := out.row(value, bad); err != nil {
			return err
		}
	}
}

// atEnd reports whether nothing follows the row just read.
func (t *table) atEnd() bool {
	_, err := t.br.Peek(1)
	return err == io.EOF
}

// wholeLines withholds what follows the last line end: the line that is being
// written.
type wholeLines struct {
	r    io.Reader
	held []byte // after the last line end so far
	out  []byte // to be given
	err  error
}

func (w *wholeLines) Read(p []byte) (int, error) {
	for len(w.out) == 0 {
		if w.err != nil {
			return 0, w.err
		}
		var n int
		n, w.err = w.r.Read(p)
		w.held = append(w.held, p[:n]...)
		if end := bytes.LastIndexByte(w.held, '\n'); end >= 0 {
			w.out = append(w.out[:0:0], w.held[:end+1]...)
			w.held = append(w.held[:0], w.held[end+1:]...)
		}
	}
	n := copy(p, w.out)
	w.out = w.out[n:]
	return n, nil
}

// names returns the column names: configured, or the first row. A header that
// cannot be used makes every row unusable.
func (t *table) names(c Config) ([]string, error) {
	if !c.hasHeader() {
		return trimmed(c.Columns), nil
	}
	cells, bad, err := t.next()
	if err != nil {
		return nil, err
	}
	if bad != nil {
		return nil, bad
	}
	names := trimmed(cells)
	if len(names) == 1 && strings.ContainsAny(names[0], ",;|\t") {
		return nil, &Error{Code: "header", Line: t.line(),
			Text: "the header is one column that contains another delimiter; set delimiter to the one the file uses"}
	}
	if bad := checkNames(names, t.lim.columns); bad != nil {
		bad.Line = t.line()
		return nil, bad
	}
	return names, nil
}

// next reads one row. bad concerns this row only; err is io.EOF, an *Error
// that ends the document, or what the file system said.
func (t *table) next() (cells []string, bad *Error, err error) {
	cells, err = t.cr.Read()
	begin := t.guard.mark
	t.guard.mark = t.cr.InputOffset()
	var parse *csv.ParseError
	switch {
	case errors.As(err, &parse) && (t.guard.err == nil || t.guard.err == io.EOF):
		t.end = parse.Line
		return nil, syntaxError(parse), nil
	case parse != nil: // of half a line: what cut it off counts
		return nil, nil, t.fatal(t.guard.err)
	case err == io.EOF:
		return nil, nil, err
	case err != nil:
		return nil, nil, t.fatal(err)
	case t.guard.mark-begin > t.lim.row:
		return nil, nil, t.fatal(t.guard.full)
	}
	last, _ := t.cr.FieldPos(len(cells) - 1)
	t.end = last + strings.Count(cells[len(cells)-1], "\n")
	if bad := t.check(cells); bad != nil {
		bad.Line = t.line()
		return nil, bad, nil
	}
	return cells, nil, nil
}

// fatal adds to the error of an endless row where it begins.
func (t *table) fatal(err error) error {
	if err == t.guard.full {
		t.guard.full.Line = t.end + 1
	}
	return readError(err)
}

// line is where the row that was just read begins.
func (t *table) line() int {
	line, _ := t.cr.FieldPos(0)
	return line
}

func (t *table) check(cells []string) *Error {
	for i, cell := range cells {
		switch {
		case len(cell) > t.lim.field:
			bad := tooLarge("a value", int64(t.lim.field))
			bad.Text += "; look for a quote that is never closed"
			return bad
		case !t.src.intact(cell):
			return t.src.damage()
		case strings.ContainsRune(cell, '\r'):
			return &Error{Code: "csv_syntax", Text: "there is a carriage return without a line feed; lines must end in LF or CR LF"}
		case strings.ContainsFunc(cell, isForbidden):
			return &Error{Code: "control_char", Text: fmt.Sprintf("column %d has a control character; "+
				"look whether the file is damaged, or in another encoding than configured", i+1)}
		}
	}
	return nil
}

// isForbidden allows the control characters that people type into notes.
func isForbidden(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }

// record names the cells of one row.
func record(names, cells, null []string) (map[string]any, *Error) {
	if len(cells) != len(names) {
		return nil, &Error{Code: "fields", Text: fmt.Sprintf("the row has %s, expected %d", count(len(cells), "value"), len(names))}
	}
	value := make(map[string]any, len(names))
	for i, name := range names {
		switch {
		case name != "":
			if !slices.Contains(null, cells[i]) {
				value[name] = cells[i]
			}
		case cells[i] != "":
			return nil, &Error{Code: "fields", Text: fmt.Sprintf("column %d has a value but no name in the header", i+1)}
		}
	}
	return value, nil
}

// checkNames refuses names under which a value could not be found again. A
// column without a name (a delimiter at the line's end) is fine while empty.
// Names are not quoted: without a header they would be somebody's data.
func checkNames(names []string, max int) *Error {
	if len(names) > max {
		return tooManyColumns(max)
	}
	seen := make(map[string]int, len(names))
	for i, name := range names {
		if name == "" {
			continue
		}
		if strings.ContainsAny(name, "\n\t\ufeff") {
			return &Error{Code: "header", Text: fmt.Sprintf("the name of column %d has a line end, a tab or an invisible mark in it; "+
				"look whether the delimiter is right and the first row is the header", i+1)}
		}
		if first, ok := seen[fold(name)]; ok {
			return &Error{Code: "duplicate_header", Text: fmt.Sprintf("columns %d and %d have the same name (case does not count); "+
				"rename one in the export", first, i+1)}
		}
		seen[fold(name)] = i + 1
	}
	if len(seen) == 0 {
		return &Error{Code: "header", Text: "the first row names no column; set header = false and columns if the file has no header"}
	}
	return nil
}

// tooWide looks ahead for a first line with a million columns, which
// encoding/csv would give tens of megabytes of bookkeeping. A line with quotes
// or carriage returns is left to the checks that know what they mean.
func tooWide(br *bufio.Reader, c Config, lim limits) bool {
	head, _ := br.Peek(br.Size()) // an error comes again when the rows are read
	line, _, _ := bytes.Cut(head, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	if c.Comment != "" && bytes.HasPrefix(line, []byte(c.Comment)) || bytes.ContainsAny(line, "\"\r") {
		return false
	}
	return bytes.Count(line, []byte(string(c.delimiter()))) >= lim.columns
}

func tooManyColumns(max int) *Error {
	return &Error{Code: "limits", Text: fmt.Sprintf("there are more than %d columns; look whether the delimiter is right", max)}
}

func syntaxError(e *csv.ParseError) *Error {
	bad := &Error{Code: "csv_syntax", Line: e.StartLine}
	if errors.Is(e.Err, csv.ErrBareQuote) {
		bad.Text = "a value that is not quoted contains a quote; such values must be quoted and their quotes doubled"
		return bad
	}
	bad.Text = "a quoted value is not closed before the delimiter or line end"
	if e.Line > e.StartLine {
		bad.Text += fmt.Sprintf("; the lines up to %d could not be read", e.Line)
	}
	return bad
}

// trimmed copies the names without the blanks around them.
func trimmed(names []string) []string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = strings.Clone(strings.TrimSpace(name))
	}
	return out
}

// fold makes names equal that differ only in case, as encoding/json sees it.
func fold(s string) string { return strings.ToLower(strings.ToUpper(s)) }

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func ignoreEOF(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}
