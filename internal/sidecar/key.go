package sidecar

import (
	"path"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// Matches reports whether the file at rel is a document of this kind. Case
// does not count, because recorders write .XML and .xml alike.
func (c Config) Matches(rel string) bool {
	rel = strings.ToLower(rel)
	for _, pattern := range c.Files {
		if ok, err := doublestar.Match(strings.ToLower(pattern), rel); ok && err == nil {
			return true
		}
	}
	return false
}

// DocumentKey is the key under which the document at rel is found; a
// recording whose [Config.MediaKey] is equal belongs to it. It is "" when the
// name gives no key: with pair = "key", where each row has its own, and for a
// file without the suffix.
//
// Names are compared as strings, never as patterns. Extension and suffix are
// compared without case; everything before them with case, since A.wav and
// a.wav can be two calls.
func (c Config) DocumentKey(rel string) string {
	switch c.Pair {
	case "", PairStem:
		return stem(rel)
	case PairSuffix:
		cut := len(rel) - len(c.Suffix)
		if cut <= 0 || rel[cut-1] == '/' || !strings.EqualFold(rel[cut:], c.Suffix) {
			return ""
		}
		return rel[:cut]
	case PairFolder:
		return path.Dir(rel)
	}
	return ""
}

// MediaKey is the key under which the recording at rel looks for its
// document; "" with pair = "key", where an expression says it.
func (c Config) MediaKey(rel string) string {
	switch c.Pair {
	case "", PairStem:
		return stem(rel)
	case PairSuffix:
		return rel
	case PairFolder:
		return path.Dir(rel)
	}
	return ""
}

// stem drops the last extension: a.wav and a.CSV have the stem a, a.wav.csv
// has a.wav and so does not belong to a.wav.
func stem(rel string) string {
	base := path.Base(rel)
	if ext := path.Ext(base); ext != base {
		return strings.TrimSuffix(rel, ext)
	}
	return rel
}
