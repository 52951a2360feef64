package sidecar

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"
)

// keysOf are the keys that the defects of c are about.
func keysOf(c Config) string {
	var keys []string
	for _, err := range c.Validate() {
		key, text, _ := strings.Cut(err.Error(), ": ")
		if text == "" {
			key = "no text: " + key
		}
		keys = append(keys, key)
	}
	return strings.Join(keys, " ")
}

func TestValidate(t *testing.T) {
	yes, no := true, false
	for _, test := range []struct {
		name   string
		config Config
		want   string
	}{
		{"smallest", Config{Name: "s", Files: []string{"**/*.{json,CSV}"}}, ""},
		{"csv list", listCSV, ""},
		{"json document", oneJSON, ""},
		{"nothing", Config{}, "name files"},
		{"name with a dash", with(oneCSV, func(c *Config) { c.Name = "side-car" }), "name"},
		{"name with a digit first", with(oneCSV, func(c *Config) { c.Name = "1s" }), "name"},
		{"name with a digit", with(oneCSV, func(c *Config) { c.Name = "s_1" }), ""},
		{"reserved name", with(oneCSV, func(c *Config) { c.Name = "row" }), "name"},
		{"bad pattern", with(oneCSV, func(c *Config) { c.Files = []string{"[", "", "ok.csv"} }), "files files"},
		{"pattern out of the source", with(oneCSV, func(c *Config) { c.Files = []string{"/a/*.csv", "../*.csv", "a..b/*.csv"} }), "files files"},
		{"auto without extension", with(oneCSV, func(c *Config) { c.Format, c.Files = "", []string{"**/*.txt"} }), "format"},
		{"auto with a pattern for the extension", with(oneCSV, func(c *Config) { c.Format, c.Files = "auto", []string{"**/*.*", "ctr/**"} }), ""},
		{"stated format, any extension", with(oneCSV, func(c *Config) { c.Files = []string{"**/*.txt"} }), ""},
		{"format", with(oneCSV, func(c *Config) { c.Format = "yaml" }), "format"},
		{"xml", with(oneCSV, func(c *Config) { c.Format = "xml" }), ""},
		{"csv keys for xml", with(oneCSV, func(c *Config) { c.Format, c.Delimiter = "xml", ";" }), "delimiter"},
		{"record", with(listJSON, func(c *Config) { c.Format, c.Record = "xml", "call" }), ""},
		{"record of json", with(listJSON, func(c *Config) { c.Record = "call" }), "record"},
		{"record of one document", with(oneJSON, func(c *Config) { c.Format, c.Record = "xml", "call" }), "record"},
		{"growing", with(listCSV, func(c *Config) { c.Growing = true }), ""},
		{"growing document", with(oneCSV, func(c *Config) { c.Growing = true }), "growing"},
		{"growing xml", with(listJSON, func(c *Config) { c.Format, c.Growing = "xml", true }), "growing"},
		{"pair", with(oneCSV, func(c *Config) { c.Pair = "name" }), "pair"},
		{"folder", with(oneCSV, func(c *Config) { c.Pair = "folder" }), ""},
		{"suffix without suffix", with(oneJSON, func(c *Config) { c.Pair = "suffix" }), "suffix"},
		{"suffix with a folder", with(oneJSON, func(c *Config) { c.Pair, c.Suffix = "suffix", "/x.json" }), "suffix"},
		{"suffix", with(oneJSON, func(c *Config) { c.Pair, c.Suffix = "suffix", "_metadata.json" }), ""},
		{"suffix with stem", with(oneJSON, func(c *Config) { c.Suffix = "_metadata.json" }), "suffix"},
		{"key without keys", with(oneJSON, func(c *Config) { c.Pair = "key" }), "key media_key"},
		{"key without media_key", with(oneJSON, func(c *Config) { c.Pair, c.Key = "key", "row.id" }), "media_key"},
		{"keys with stem", with(oneJSON, func(c *Config) { c.Key, c.MediaKeyExpr = "row.id", "file.stem" }), "key media_key"},
		{"prefer", with(listCSV, func(c *Config) { c.Prefer = "row.n" }), ""},
		{"prefer without key", with(oneCSV, func(c *Config) { c.Prefer = "row.n" }), "prefer"},
		{"where", with(oneCSV, func(c *Config) { c.Where = "row.n == 1" }), ""},
		{"nearest", with(listCSV, func(c *Config) { c.At, c.MediaAt, c.Window = "row.t", "name.t", "3m" }), ""},
		{"nearest without window", with(listCSV, func(c *Config) { c.At, c.MediaAt = "row.t", "name.t" }), "window"},
		{"nearest without times", with(listCSV, func(c *Config) { c.Window = "3m" }), "at media_at"},
		{"window without unit", with(listCSV, func(c *Config) { c.At, c.MediaAt, c.Window = "row.t", "name.t", "3" }), "window"},
		{"window of nothing", with(listCSV, func(c *Config) { c.At, c.MediaAt, c.Window = "row.t", "name.t", "0s" }), "window"},
		{"encoding", with(oneCSV, encoded("klingon")), "encoding"},
		{"encoding that is a trap", with(oneCSV, encoded("iso-2022-kr")), "encoding"},
		{"encoding of private characters", with(oneCSV, encoded("x-user-defined")), "encoding"},
		{"encoding in capitals", with(oneCSV, encoded("UTF-16LE")), ""},
		{"encoding utf-16", with(oneCSV, encoded("utf-16")), ""},
		{"encoding of json", with(oneJSON, encoded("windows-1252")), ""},
		{"delimiter of two", with(oneCSV, func(c *Config) { c.Delimiter = ";;" }), "delimiter"},
		{"delimiter quote", with(oneCSV, func(c *Config) { c.Delimiter = `"` }), "delimiter"},
		{"delimiter line end", with(oneCSV, func(c *Config) { c.Delimiter = "\n" }), "delimiter"},
		{"delimiter NUL", with(oneCSV, func(c *Config) { c.Delimiter = "\x00" }), "delimiter"},
		{"delimiter tab", with(oneCSV, func(c *Config) { c.Delimiter = "tab" }), ""},
		{"delimiter of two bytes", with(oneCSV, func(c *Config) { c.Delimiter = "§" }), ""},
		{"comment", with(oneCSV, func(c *Config) { c.Comment = "#" }), ""},
		{"comment of two", with(oneCSV, func(c *Config) { c.Comment = "//" }), "comment"},
		{"comment as delimiter", with(oneCSV, func(c *Config) { c.Comment = "," }), "comment"},
		{"comment as tab", with(oneCSV, func(c *Config) { c.Delimiter, c.Comment = "tab", "\t" }), "comment"},
		{"no header, no columns", with(oneCSV, func(c *Config) { c.Header = &no }), "columns"},
		{"no header, columns", with(oneCSV, func(c *Config) { c.Header, c.Columns = &no, []string{"a", "", "b"} }), ""},
		{"no header, one column twice", with(oneCSV, func(c *Config) { c.Header, c.Columns = &no, []string{"a", "A"} }), "columns"},
		{"no header, no names", with(oneCSV, func(c *Config) { c.Header, c.Columns = &no, []string{" "} }), "columns"},
		{"header and columns", with(oneCSV, func(c *Config) { c.Header, c.Columns = &yes, []string{"a"} }), "columns"},
		{"csv keys for json", with(oneJSON, func(c *Config) {
			c.Delimiter, c.Header, c.Columns, c.Null, c.Comment = ";", &yes, []string{"a"}, []string{""}, "#"
		}), "delimiter header columns null comment"},
		{"all at once", Config{Name: "a b", Files: []string{"["}, Format: "x", Pair: "y", Encoding: "z", Delimiter: "ab", Comment: "cd", Header: &no},
			"name files format pair encoding delimiter comment columns"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := keysOf(test.config); got != test.want {
				t.Fatalf("got %q, want %q: %v", got, test.want, test.config.Validate())
			}
		})
	}
}

func TestAllowedListsAreShown(t *testing.T) {
	c := with(oneCSV, func(c *Config) { c.Format, c.Pair, c.Encoding = "yaml", "name", "klingon" })
	for i, want := range []string{"json, csv, xml, auto", "stem, suffix, key, folder", "utf-16le"} {
		if got := c.Validate()[i].Error(); !strings.Contains(got, want) {
			t.Errorf("%q does not show %q", got, want)
		}
	}
}

func TestDefaults(t *testing.T) {
	c := Config{}.WithDefaults()
	if c.Format != "auto" || c.Pair != PairStem || !c.IsRequired() {
		t.Errorf("got %+v", c)
	}
	kept := Config{Format: "csv", Pair: PairKey, Required: new(bool)}.WithDefaults()
	if kept.Format != "csv" || kept.Pair != PairKey || kept.IsRequired() {
		t.Errorf("got %+v", kept)
	}
}

func TestFor(t *testing.T) {
	for rel, want := range map[string]string{"a/b.json": "json", "a/b.CSV": "csv", "a/b.txt": "auto", "a/json": "auto"} {
		if got := (Config{Format: "auto"}).For(rel).Format; got != want {
			t.Errorf("%s: got %q, want %q", rel, got, want)
		}
	}
	if got := (Config{Format: "csv"}).For("a.json").Format; got != "csv" {
		t.Errorf("a stated format became %q", got)
	}
	if _, bad := rowsOf(t, Config{Format: "auto"}.For("x.txt"), "a\n1\n"); codeOf(bad) != "format" {
		t.Errorf("unknown extension: %v", bad)
	}
}

// Every example of the operators' page is a valid [[source.sidecar]] and says
// nothing that Config does not know.
func TestOperatorsPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/pairing.md")
	if err != nil {
		t.Fatal(err)
	}
	var pairs []string
	for _, block := range strings.Split(string(page), "```toml\n")[1:] {
		example, _, _ := strings.Cut(block, "```")
		var file struct {
			Source []struct {
				Sidecar []Config `toml:"sidecar"`
				// Other rooms'.
				Legs   map[string]any `toml:"legs"`
				Copies []string       `toml:"copies"`
				Wait   string         `toml:"wait_for_copy"`
			} `toml:"source"`
		}
		meta, err := toml.Decode("[[source]]\n"+example, &file)
		if err != nil || len(meta.Undecoded()) > 0 || len(file.Source) != 1 || len(file.Source[0].Sidecar) == 0 && len(file.Source[0].Copies) == 0 {
			t.Fatalf("%v %v in:\n%s", err, meta.Undecoded(), example)
		}
		for _, c := range file.Source[0].Sidecar {
			if defects := c.Validate(); len(defects) > 0 {
				t.Errorf("%v in:\n%s", defects, example)
			}
			pairs = append(pairs, c.WithDefaults().Pair)
		}
	}
	slices.Sort(pairs)
	if diff := cmp.Diff([]string{PairFolder, PairKey, PairStem, PairSuffix}, slices.Compact(pairs)); diff != "" {
		t.Errorf("pair modes with an example (-want +got):\n%s", diff)
	}
}

// Every code that a document can be refused with is explained to operators.
func TestOperatorsPageExplainsCodes(t *testing.T) {
	page, err := os.ReadFile("../../docs/pairing.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range []string{"encoding", "too_large", "limits", "no_record", "format", "csv_syntax", "control_char", "header",
		"duplicate_header", "fields", "json_syntax", "duplicate_key", "trailing", "depth", "type"} {
		if !strings.Contains(string(page), "`"+code+"`") {
			t.Errorf("docs/pairing.md does not explain %s", code)
		}
	}
}
