package voyc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// node is one value of a JSON answer. Unlike a map it keeps the order of the
// keys: a presigned form must send its fields as they came.
type node struct {
	kind   kind
	text   string // of a text or a number
	keys   []string
	values []*node // of an object or a list
}

type kind int

const (
	null kind = iota
	boolean
	number
	text
	list
	object
)

// What an answer may have at most; real ones have a few dozen values.
const (
	maxDepth  = 16
	maxValues = 2000
)

var errTree = errors.New("not one JSON value of a sensible size")

// parse reads one JSON value. A key that comes twice is an error: nobody can
// tell which of the two is meant.
func parse(raw []byte) (*node, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	left := maxValues
	n, err := next(d, maxDepth, &left)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errTree
	}
	return n, nil
}

func next(d *json.Decoder, depth int, left *int) (*node, error) {
	if *left--; depth == 0 || *left < 0 {
		return nil, errTree
	}
	token, err := d.Token()
	if err != nil {
		return nil, errTree
	}
	switch v := token.(type) {
	case string:
		return &node{kind: text, text: v}, nil
	case json.Number:
		return &node{kind: number, text: v.String()}, nil
	case bool:
		return &node{kind: boolean}, nil
	case json.Delim:
		return inside(d, v, depth, left)
	}
	return &node{}, nil
}

func inside(d *json.Decoder, open json.Delim, depth int, left *int) (*node, error) {
	n := &node{kind: list}
	if open == '{' {
		n.kind = object
	}
	for d.More() {
		if n.kind == object {
			key, err := d.Token()
			name, ok := key.(string)
			if err != nil || !ok || n.get(name) != nil {
				return nil, errTree
			}
			n.keys = append(n.keys, name)
		}
		v, err := next(d, depth-1, left)
		if err != nil {
			return nil, err
		}
		n.values = append(n.values, v)
	}
	if _, err := d.Token(); err != nil {
		return nil, errTree
	}
	return n, nil
}

// get returns the value of a key of an object, or nil.
func (n *node) get(key string) *node {
	for i, k := range n.keys {
		if k == key && i < len(n.values) {
			return n.values[i]
		}
	}
	return nil
}

// scalar is the text of a text or number.
func (n *node) scalar() (string, bool) {
	if n == nil || n.kind != text && n.kind != number {
		return "", false
	}
	return n.text, true
}

// objects returns n and every object below it, nearest first.
func (n *node) objects() []*node {
	var out []*node
	for queue := []*node{n}; len(queue) > 0; queue = queue[1:] {
		if queue[0].kind == object {
			out = append(out, queue[0])
		}
		queue = append(queue, queue[0].values...)
	}
	return out
}

// shown is a key that may be repeated: the name of a field. Anything else
// could be a value that the vendor made a key of.
var shown = regexp.MustCompile(`^[A-Za-z][A-Za-z_-]{0,31}[0-9]?$`)

// maxShape bounds what a shape takes in the ledger and on a screen.
const maxShape = 600

// shape is the structure of the value without any of its contents: names of
// fields, kinds and lengths.
func (n *node) shape() string {
	var b strings.Builder
	n.write(&b)
	if b.Len() > maxShape {
		return b.String()[:maxShape] + "..."
	}
	return b.String()
}

func (n *node) write(b *strings.Builder) {
	if b.Len() > maxShape {
		return
	}
	switch n.kind {
	case object:
		b.WriteByte('{')
		for i, v := range n.values {
			if i > 0 {
				b.WriteString(", ")
			}
			key := n.keys[i]
			if !shown.MatchString(key) {
				key = "(a key)"
			}
			b.WriteString(key + ": ")
			v.write(b)
		}
		b.WriteByte('}')
	case list:
		b.WriteByte('[')
		if len(n.values) > 0 {
			n.values[0].write(b)
		}
		fmt.Fprintf(b, "] of %d", len(n.values))
	case text:
		what := "text"
		if strings.HasPrefix(n.text, "https://") {
			what = "URL"
		}
		fmt.Fprintf(b, "(%s of %d)", what, len(n.text))
	default:
		b.WriteString([]string{"null", "(bool)", "(number)"}[n.kind])
	}
}
