package sidecar

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
)

func TestStandardLimits(t *testing.T) {
	want := limits{document: 1048576, list: 1073741824, row: 1048576, field: 65536, columns: 1000, rows: 2000000, depth: 32}
	if standard() != want {
		t.Fatalf("got %+v, want %+v", standard(), want)
	}
}

// Every cap one below, at, and one above it. The list's and the rows' caps are
// tried with smaller numbers, all others as they are.
func TestCaps(t *testing.T) {
	lim := standard()
	small := standard()
	small.list, small.rows = 200, 10
	fill := func(head, tail string, size int) string {
		return head + strings.Repeat("x", size-len(head)-len(tail)) + tail
	}
	manyColumns := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "c%d,", i)
		}
		return strings.TrimSuffix(b.String(), ",") + "\n" + strings.Repeat(",", n-1) + "\n"
	}
	// Values below the field cap, and a last one that fills the row up.
	longRow := func(size int) string {
		head := strings.Repeat(strings.Repeat("y", 60<<10)+",", 17)
		return "a" + strings.Repeat(",", 17) + "\n" + fill(head, "\n", size) + "a" + strings.Repeat(",", 17) + "\n"
	}
	unnamed := func(names string) string { // all columns need names
		var b strings.Builder
		for i := range strings.Count(names, ",") + 1 {
			fmt.Fprintf(&b, ",c%d", i)
		}
		return b.String()[1:]
	}
	row := func(size int) string {
		data := longRow(size)
		head, rest, _ := strings.Cut(data, "\n")
		return unnamed(head) + "\n" + rest
	}
	for _, test := range []struct {
		name   string
		config Config
		lim    limits
		cap    int
		data   func(n int) string
		want   [3]string // below, at, above
	}{
		{"csv document", oneCSV, lim, 1 << 20,
			func(n int) string {
				return "a\n" + strings.Repeat("xxxxxxxxxxxxxxx\n", n/16-1) + strings.Repeat("y", n%16+14)
			},
			[3]string{"", "", "too_large"}},
		{"json document", oneJSON, lim, 1 << 20, func(n int) string { return fill(`{"a":"`, `"}`, n) }, [3]string{"", "", "too_large"}},
		{"json object of a list", listJSON, lim, 1 << 20, func(n int) string { return fill(`{"a":"`, `"}`, n) }, [3]string{"", "", "too_large"}},
		{"json element", listJSON, lim, 1 << 20,
			func(n int) string { return `[{"a":1} , ` + fill(`{"a":"`, `"}`, n) + ` , {"a":2}]` }, [3]string{"", "", "too_large"}},
		{"csv list", listCSV, small, 200, func(n int) string { return fill("a\n", "\n", n) }, [3]string{"", "", "too_large"}},
		{"json list", listJSON, small, 200, func(n int) string { return fill(`[{"a":"`, `"}]`, n) }, [3]string{"", "", "too_large"}},
		{"csv row", listCSV, lim, 1 << 20, row, [3]string{"", "", "too_large"}},
		{"csv field", oneCSV, lim, 64 << 10, func(n int) string { return "a\n" + strings.Repeat("x", n) + "\n" }, [3]string{"", "", "too_large"}},
		{"csv quoted field", oneCSV, lim, 64 << 10, func(n int) string { return "a\n\"" + strings.Repeat("x", n) + "\"\n" }, [3]string{"", "", "too_large"}},
		{"csv columns", oneCSV, lim, 1000, manyColumns, [3]string{"", "", "limits"}},
		{"csv rows", listCSV, small, 10, func(n int) string { return "a\n" + strings.Repeat("x\n", n) }, [3]string{"", "", "limits"}},
		{"json rows", listJSON, small, 10, func(n int) string { return "[{}" + strings.Repeat(",{}", n-1) + "]" }, [3]string{"", "", "limits"}},
		{"json depth", oneJSON, lim, 32, func(n int) string { return `{"a":` + strings.Repeat("[", n-1) + strings.Repeat("]", n-1) + "}" }, [3]string{"", "", "depth"}},
		{"json depth of an element", oneJSON, lim, 32, func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }, [3]string{"", "", "depth"}},
	} {
		for i, want := range test.want {
			t.Run(fmt.Sprintf("%s/%+d", test.name, i-1), func(t *testing.T) {
				data := test.data(test.cap + i - 1)
				for size, r := range map[int64]io.Reader{int64(len(data)): strings.NewReader(data), -1: iotest.DataErrReader(strings.NewReader(data))} {
					if _, bad := rowsFrom(t, r, size, test.config, test.lim); codeOf(bad) != want {
						t.Fatalf("size %d: got %v, want %q", size, bad, want)
					}
				}
			})
		}
	}
}

// The stated size alone refuses, before a byte is read.
func TestStatedSize(t *testing.T) {
	lim := standard()
	for _, test := range []struct {
		config Config
		size   int64
		want   string
	}{
		{oneCSV, lim.document, ""}, {oneCSV, lim.document + 1, "too_large"},
		{oneJSON, lim.document, ""}, {oneJSON, lim.document + 1, "too_large"},
		{listCSV, lim.list, ""}, {listCSV, lim.list + 1, "too_large"},
		{listJSON, lim.list, ""}, {listJSON, lim.list + 1, "too_large"},
	} {
		data := "a\n1\n"
		if test.config.Format == "json" {
			data = `{"a":1}`
		}
		r := strings.NewReader(data)
		_, bad := rowsFrom(t, r, test.size, test.config, lim)
		if codeOf(bad) != test.want || (bad != nil && r.Len() != len(data)) {
			t.Errorf("%s %s size %d: %v, %d bytes left", test.config.Format, test.config.Pair, test.size, bad, r.Len())
		}
	}
}

// An error of the disk is not the document's fault, wherever it strikes.
func TestReaderFails(t *testing.T) {
	for _, test := range []struct {
		config Config
		data   string
	}{
		{oneCSV, ""}, {oneCSV, "id"}, {oneCSV, "id,a\n1,\""}, {oneCSV, "id,a\n1\"2"}, {listCSV, "id,a\n1,2\n"}, {listCSV, "id,a\n#"},
		{oneJSON, ""}, {oneJSON, `{"a":1`}, {oneJSON, `{"a":1}`}, {listJSON, `[`}, {listJSON, `[{"a":1},{"b`}, {listJSON, `[{"a":1}]`},
	} {
		for _, encoding := range []string{"", "windows-1252"} {
			c := with(test.config, encoded(encoding))
			c.Comment = "#"
			err := Read(io.MultiReader(strings.NewReader(test.data), iotest.ErrReader(os.ErrPermission)), -1, c, func(Row) error { return nil })
			var bad *Error
			if !errors.Is(err, os.ErrPermission) || errors.As(err, &bad) {
				t.Errorf("%s %q %s: got %v", c.Format, test.data, encoding, err)
			}
		}
	}
}

// What fn returns ends the reading and comes back as it is.
func TestStop(t *testing.T) {
	stop := errors.New("stop")
	for _, test := range []struct {
		config Config
		data   string
	}{{listCSV, "id\n1\n2\n"}, {listJSON, `[{"a":1},{"a":2}]`}, {oneJSON, `{"a":1}`}} {
		n := 0
		err := Read(strings.NewReader(test.data), -1, test.config, func(Row) error { n++; return stop })
		if err != stop || n != 1 {
			t.Errorf("%s: %v after %d rows", test.data, err, n)
		}
	}
}

// Whoever hashes what Read takes must have hashed the file.
func TestReadsToTheEnd(t *testing.T) {
	for _, test := range []struct {
		config Config
		data   string
	}{
		{oneCSV, "id\n1\n\n\n"}, {listCSV, "id\n1"}, {oneJSON, "{\"a\":1}\n\n"}, {listJSON, "[{\"a\":1}] \n"}, {listJSON, `{"a":1}`},
	} {
		r := strings.NewReader(test.data)
		err := Read(r, -1, test.config, func(Row) error { return nil })
		if err != nil || r.Len() != 0 {
			t.Errorf("%q: %v, %d bytes left", test.data, err, r.Len())
		}
	}
}

// generated is a file that exists nowhere: head, then rows times row, then tail.
type generated struct {
	head, row, tail string
	rows            int
	rest            string
}

func (g *generated) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if g.rest == "" {
			switch {
			case g.head != "":
				g.rest, g.head = g.head, ""
			case g.rows > 0:
				g.rest, g.rows = g.row, g.rows-1
			case g.tail != "":
				g.rest, g.tail = g.tail, ""
			case n == 0:
				return 0, io.EOF
			default:
				return n, nil
			}
		}
		k := copy(p[n:], g.rest)
		g.rest = g.rest[k:]
		n += k
	}
	return n, nil
}

// Lists are streamed: a million rows need no more memory than a few.
func TestMillionRows(t *testing.T) {
	for name, test := range map[string]struct {
		config Config
		r      *generated
		rows   int
	}{
		"csv": {listCSV, &generated{head: "id,started,agent,phone\n", row: "123456,2026-11-02 08:05:06,\"Lee, Sam\",2025550111\n", rows: 1_000_000}, 1_000_000},
		"json": {listJSON, &generated{head: "[", row: `{"id":123456,"agent":"Sam Lee"},` + "\n",
			rows: 100_000, tail: `{"id":1}]`}, 100_001},
	} {
		t.Run(name, func(t *testing.T) {
			rows, peak := 0, uint64(0)
			err := Read(test.r, -1, test.config, func(row Row) error {
				if rows++; rows%20_000 == 0 {
					peak = max(peak, liveHeap())
				}
				return row.errOrNil()
			})
			if err != nil || rows != test.rows {
				t.Fatalf("%d rows, %v", rows, err)
			}
			if peak > 8<<20 {
				t.Fatalf("%d bytes live while streaming", peak)
			}
		})
	}
}

// What one hostile document can take: the row or element cap, a few times.
func TestHostileMemory(t *testing.T) {
	for name, test := range map[string]struct {
		config Config
		r      *generated
	}{
		"open quote":   {listCSV, &generated{head: "id,a\n1,\"", row: "b\n", rows: 1 << 28}},
		"commas":       {listCSV, &generated{row: ",", rows: 1 << 28}},
		"blank lines":  {listCSV, &generated{row: "\n", rows: 1 << 28}},
		"comment":      {with(listCSV, func(c *Config) { c.Comment = "#" }), &generated{row: "#", rows: 1 << 28}},
		"json text":    {listJSON, &generated{head: `[{"a":"`, row: "x", rows: 1 << 28}},
		"json blanks":  {listJSON, &generated{head: `[{}`, row: " ", rows: 1 << 28}},
		"json start":   {oneJSON, &generated{row: " ", rows: 1 << 28}},
		"json object":  {listJSON, &generated{head: `{"a":"`, row: "x", rows: 1 << 28}},
		"json arrays":  {listJSON, &generated{row: "[", rows: 1 << 28}},
		"json numbers": {listJSON, &generated{head: `[`, row: "1", rows: 1 << 28}},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := Read(test.r, -1, test.config, func(Row) error { return nil })
			runtime.ReadMemStats(&after)
			var bad *Error
			if !errors.As(err, &bad) {
				t.Fatalf("got %v", err)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 64<<20 {
				t.Fatalf("%d bytes allocated before %v", used, bad)
			}
		})
	}
}

func liveHeap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func (r Row) errOrNil() error {
	if r.Err != nil {
		return r.Err
	}
	return nil
}
