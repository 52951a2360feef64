package sidecar

import "testing"

func TestPairs(t *testing.T) {
	stem, folder := Config{}, Config{Pair: PairFolder}
	suffix := Config{Pair: PairSuffix, Suffix: "_metadata.json"}
	for _, test := range []struct {
		config          Config
		media, document string
		want            bool
	}{
		{stem, "2026/a.wav", "2026/a.csv", true},
		{stem, "2026/a.WAV", "2026/a.CSV", true},
		{stem, "a.wav", "a.json", true},
		{stem, "2026/a.wav", "2027/a.csv", false},
		{stem, "A.wav", "a.csv", false}, // case counts before the extension
		{stem, "a.wav", "a.wav.csv", false},
		{stem, "a.wav.gpg", "a.wav.csv", true},
		{stem, "a.b/c", "a.b/c.csv", true},
		{stem, "a.b/c", "a.csv", false},
		{stem, "IMG[1].wav", "IMG1.csv", false}, // names are no patterns
		{stem, "IMG[1].wav", "IMG[1].csv", true},
		{stem, "\xff*.wav", "\xff*.csv", true},
		{stem, "d/.wav", "d/.csv", false},
		{suffix, "d/x.opus", "d/x.opus_metadata.json", true},
		{suffix, "d/x.opus", "d/x.opus_METADATA.JSON", true},
		{suffix, "d/x.opus", "d/x_metadata.json", false},
		{suffix, "d/X.opus", "d/x.opus_metadata.json", false},
		{folder, "s/1/a.wav", "s/1/metadata.xml", true},
		{folder, "s/1/a.wav", "s/2/metadata.xml", false},
		{folder, "s/1/a.wav", "s/metadata.xml", false},
		{folder, "a.wav", "metadata.xml", true},
	} {
		media, document := test.config.MediaKey(test.media), test.config.DocumentKey(test.document)
		if media == "" || document == "" || (media == document) != test.want {
			t.Errorf("%s %s: keys %q and %q, want equal: %t", test.media, test.document, media, document, test.want)
		}
	}
}

func TestNoKey(t *testing.T) {
	suffix := Config{Pair: PairSuffix, Suffix: "_metadata.json"}
	for _, rel := range []string{"d/x.json", "d/_metadata.json", "_metadata.json", "x", "metadata.json"} {
		if got := suffix.DocumentKey(rel); got != "" {
			t.Errorf("%s: got %q, want none", rel, got)
		}
	}
	if doc, media := listCSV.DocumentKey("d/x.csv"), listCSV.MediaKey("d/x.wav"); doc != "" || media != "" {
		t.Errorf("pair = key: got %q and %q, want none", doc, media)
	}
}

func TestMatches(t *testing.T) {
	c := Config{Files: []string{"**/*_Metadata.json", "lists/*.{csv,TXT}"}}
	for rel, want := range map[string]bool{
		"a/b/x.opus_metadata.json": true,
		"x.opus_METADATA.JSON":     true,
		"lists/a.CSV":              true,
		"Lists/a.txt":              true,
		"lists/b/a.csv":            false,
		"a.csv":                    false,
		"a/x.json":                 false,
	} {
		if got := c.Matches(rel); got != want {
			t.Errorf("%s: got %t, want %t", rel, got, want)
		}
	}
}
