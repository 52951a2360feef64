package sidecar

import "testing"

// A log that is still written: every whole line counts, what follows the last
// line end does not exist yet.
func TestGrowingCSV(t *testing.T) {
	growing := with(listCSV, func(c *Config) { noHeader("id", "a")(c); c.Growing = true })
	for _, test := range []struct{ name, data, want string }{
		{"nothing yet", "", ""},
		{"no whole line", "1,b", ""},
		{"whole", "1,b\n2,c\n", "ok ok"},
		{"half a line", "1,b\n2,c", "ok"},
		{"half a line in quotes", "1,b\n2,\"c", "ok"},
		{"half a line with a line end in quotes", "1,b\n2,\"c\nd", "ok"},
		{"a bad line before", "1,b\n2\n3,c\n", "ok fields ok"},
		{"a bad last line", "1,b\n2\n", "ok fields"},
		{"a quote never closed swallows what follows", "1,\"b\n2,c\n", ""},
	} {
		t.Run(test.name, func(t *testing.T) { checkOutcome(t, growing, test.data, test.want, nil) })
	}
}
