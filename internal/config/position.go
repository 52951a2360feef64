package config

import (
	"fmt"
	"strings"
)

// positions maps a key path ("source[1].sidecar[0].files") to the line where
// it stands. The TOML library has the positions but not per array element, so
// this is a second, forgiving look at a text that it already accepted: it
// needs to know headers, keys, and where a value of several lines ends.
type positions map[string]int

// unmarked takes the byte-order marks off a text: the library reads over one
// of any kind, and the first line would begin with it here.
func unmarked(text string) string {
	for before := ""; before != text; {
		before = text
		for _, mark := range []string{"\ufeff", "\xff\xfe", "\xfe\xff"} {
			text = strings.TrimPrefix(text, mark)
		}
	}
	return text
}

// index reads the lines of an accepted TOML text without marks.
func index(text string) positions {
	p := positions{}
	tables := map[string]int{} // array of tables -> elements so far
	prefix := ""
	var v value
	for i, line := range strings.Split(text, "\n") {
		if v.open() {
			v.scan(line)
			continue
		}
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
		case strings.HasPrefix(line, "[["):
			keys, _ := dotted(line[2:])
			array := join(tables, keys)
			tables[array]++
			prefix = fmt.Sprintf("%s[%d]", array, tables[array]-1)
			p.set(prefix, i+1)
		case line[0] == '[':
			keys, _ := dotted(line[1:])
			prefix = element(tables, join(tables, keys))
			p.set(prefix, i+1)
		default:
			keys, rest := dotted(line)
			path := prefix
			for _, k := range keys {
				path = under(path, k)
			}
			p.set(path, i+1)
			v.scan(strings.TrimPrefix(strings.TrimSpace(rest), "="))
		}
	}
	return p
}

// set keeps the first line of a path.
func (p positions) set(path string, line int) {
	if _, known := p[path]; !known {
		p[path] = line
	}
}

// line finds a path, or the nearest table around it; 0 if neither is known.
func (p positions) line(path string) int {
	for path != "" {
		if n, ok := p[path]; ok {
			return n
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			return 0
		}
		path = path[:cut]
	}
	return 0
}

// join makes a path of header keys, where every array of tables on the way
// means its newest element.
func join(tables map[string]int, keys []string) string {
	path := ""
	for i, k := range keys {
		path = under(path, k)
		if i < len(keys)-1 {
			path = element(tables, path)
		}
	}
	return path
}

// element is the newest element of path if it is an array of tables.
func element(tables map[string]int, path string) string {
	if n := tables[path]; n > 0 {
		return fmt.Sprintf("%s[%d]", path, n-1)
	}
	return path
}

// under joins a table's path and a key.
func under(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// dotted reads the dotted key at the start of s (bare and quoted parts) and
// returns what follows it.
func dotted(s string) (keys []string, rest string) {
	for {
		s = strings.TrimLeft(s, " \t")
		var key string
		switch {
		case s == "":
			return keys, ""
		case s[0] == '"' || s[0] == '\'':
			end := closing(s, s[:1], 1)
			key, s = s[1:end], s[min(end+1, len(s)):]
		default:
			end := strings.IndexAny(s, ".=] \t")
			if end < 0 {
				end = len(s)
			}
			key, s = s[:end], s[end:]
		}
		keys = append(keys, key)
		s = strings.TrimLeft(s, " \t")
		if !strings.HasPrefix(s, ".") {
			return keys, s
		}
		s = s[1:]
	}
}

// value follows a value over its lines: inside a multi-line string, or inside
// brackets that are still open.
type value struct {
	quote string // """ or ''' while inside one
	depth int
}

func (v *value) open() bool { return v.quote != "" || v.depth > 0 }

// scan consumes one line of a value.
func (v *value) scan(s string) {
	for i := 0; i < len(s); {
		if v.quote != "" {
			end := closing(s, v.quote, i)
			if end == len(s) {
				return
			}
			i, v.quote = end+3, ""
			continue
		}
		switch c := s[i]; {
		case c == '#':
			return
		case strings.HasPrefix(s[i:], `"""`), strings.HasPrefix(s[i:], "'''"):
			v.quote = s[i : i+3]
			i += 3
		case c == '"' || c == '\'':
			i = closing(s, s[i:i+1], i+1) + 1
		case c == '[' || c == '{':
			v.depth++
			i++
		case c == ']' || c == '}':
			v.depth--
			i++
		default:
			i++
		}
	}
}

// closing finds the quote that ends a string begun before from; len(s) when it
// does not end on this line. Only double quotes know escapes.
func closing(s, quote string, from int) int {
	for i := from; i < len(s); i++ {
		if s[i] == '\\' && quote[0] == '"' {
			i++
			continue
		}
		if strings.HasPrefix(s[i:], quote) {
			return i
		}
	}
	return len(s)
}

// tooDeep is the line on which a file is nested deeper than any
// configuration, or 0. The parser needs minutes for what is nested 100,000
// deep. Strings and comments are counted like the rest: theirs are balanced or
// few.
func tooDeep(text string) int {
	const brackets, dots = 100, 1000
	depth, n := 0, 0
	for line := range strings.Lines(text) {
		n++
		for _, c := range []byte(line) {
			switch c {
			case '[', '{':
				depth++
			case ']', '}':
				depth = max(depth-1, 0)
			}
			if depth > brackets {
				return n
			}
		}
		if strings.Count(line, ".") > dots {
			return n
		}
	}
	return 0
}
