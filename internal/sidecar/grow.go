package sidecar

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
)

// proof is how many bytes at each end of what was read vouch for it.
const proof = 16 << 10

// Place is where the reading of a growing list ended: behind its last whole
// record. The zero Place is the begin. It is kept as the text of [Place.String].
type Place struct {
	Head  int64  `json:"head"`  // bytes of the byte-order mark and the header
	End   int64  `json:"end"`   // bytes read, the head included
	Rows  int    `json:"rows"`  // rows read
	Lines int    `json:"lines"` // lines read; csv only
	Proof string `json:"proof"` // of what stands before End; see [Place.Vouch]
}

// String is what [ParsePlace] reads.
func (p Place) String() string {
	text, err := json.Marshal(p)
	if err != nil {
		return "" // numbers and a text: cannot be
	}
	return string(text)
}

// ParsePlace reads a place. One that cannot be read is the begin: then the
// list is read anew.
func ParsePlace(text string) Place {
	var p Place
	if json.Unmarshal([]byte(text), &p) != nil {
		return Place{}
	}
	return p
}

// Vouch returns the place with a proof of what stands before it: a digest of
// the first and the last 16 KiB. The error is that of file.
func (p Place) Vouch(file io.ReaderAt) (Place, error) {
	h := sha256.New()
	for _, part := range [][2]int64{{0, min(p.End, proof)}, {max(0, p.End-proof), p.End}} {
		if _, err := io.Copy(h, io.NewSectionReader(file, part[0], part[1]-part[0])); err != nil {
			return p, fmt.Errorf("read document: %w", err)
		}
	}
	p.Proof = hex.EncodeToString(h.Sum(nil))
	return p, nil
}

// Holds reports whether file still begins with what was read up to the place,
// as far as the proof tells. The error is that of file.
func (p Place) Holds(file io.ReaderAt, size int64) (bool, error) {
	if p.End == 0 || p.Proof == "" || size < p.End {
		return false, nil
	}
	now, err := p.Vouch(file)
	return err == nil && now.Proof == p.Proof, err
}

// ReadOn is [Read] for a growing list of which the part before from was read
// already. Rows go on with the number and line that they have in the file,
// and each comes with the place behind it; that place has no proof yet. Where
// the place cannot be told, because the text is in another encoding than
// UTF-8, it is the zero Place: such a list is read anew every time.
//
// size is that of the whole file; what is behind it is not read.
func ReadOn(file io.ReaderAt, size int64, from Place, c Config, fn func(Row, Place) error) error {
	lim := standard()
	if size > lim.list {
		return tooLarge("the file", lim.list)
	}
	skipped := max(from.End-from.Head, 0) // bytes that the parser does not see
	out := &output{list: c.isList(), max: lim.rows, n: from.Rows, place: Place{Lines: from.Lines}}
	out.fn = func(row Row) error {
		if out.placeless {
			return fn(row, Place{})
		}
		return fn(row, Place{Head: out.place.Head, End: out.place.End + skipped, Rows: row.Number, Lines: out.place.Lines})
	}
	if from.End == 0 {
		return parse(io.NewSectionReader(file, 0, size), c, lim, out)
	}
	head := io.NewSectionReader(file, 0, from.Head)
	return parse(io.MultiReader(head, io.NewSectionReader(file, from.End, size-from.End)), c, lim, out)
}
