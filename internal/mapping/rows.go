package mapping

import (
	"cmp"
	"path"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/expr-lang/expr/types"
)

// rowPrograms are the expressions of one sidecar: those over its rows, and
// those over a recording that looks for one.
type rowPrograms struct {
	key, where, prefer, at *program
	mediaKey, mediaAt      *program
}

// rowText is an expression over a sidecar's rows as configured.
type rowText struct{ sidecar, text string }

// rowTypes declares what expressions over rows see: the row, and the names of
// the file it stands in.
func rowTypes() types.Map {
	return types.Map{"row": document, "file": types.Map{"path": types.String, "name": types.String, "stem": types.String, "ext": types.String}}
}

// rowValues are what rowTypes declares; file is the document's path below the
// source.
func rowValues(file string, row map[string]any) map[string]any {
	name := path.Base(file)
	ext := path.Ext(name)
	return map[string]any{"row": row, traceName: &trace{}, "file": map[string]any{
		"path": file, "name": name, "stem": strings.TrimSuffix(name, ext), "ext": strings.TrimPrefix(ext, ".")}}
}

// compileRows compiles a sidecar's expressions over its own rows, and those
// over the recording and the other sidecars.
func (s *Source) compileRows(sc SidecarExprs) []error {
	rows := newCompiler(rowTypes(), s.defaults)
	others := slices.DeleteFunc(slices.Clone(s.sidecars), func(name string) bool { return name == sc.Name })
	media := newCompiler(sourceTypes(others, s.pattern), s.defaults)
	compile := func(c *compiler, key, text string) *program {
		if text == "" {
			return nil
		}
		field := "sidecar." + sc.Name + "." + key
		if c == media {
			s.texts[field] = text
		} else {
			s.rowTexts[field] = rowText{sc.Name, text}
		}
		return c.compile(field, field, text)
	}
	p := rowPrograms{
		key: compile(rows, "key", sc.Key), where: compile(rows, "where", sc.Where),
		prefer: compile(rows, "prefer", sc.Prefer), at: compile(rows, "at", sc.At),
		mediaKey: compile(media, "media_key", sc.MediaKey), mediaAt: compile(media, "media_at", sc.MediaAt),
	}
	if p.where != nil && p.where.kind != reflect.Bool && p.where.kind != reflect.Interface {
		rows.fail(p.where.field, sc.Where, 1, 1, "the rule must give true or false; compare the value with something")
	}
	s.rows[sc.Name] = p
	return append(rows.errs, media.errs...)
}

// MaxKeys is how many keys a row may have.
const MaxKeys = 16

// RowKeys are the keys under which a row of a sidecar is found: one, or each of
// a list; none when the row has no key or the sidecar is not paired by key.
// file is the path of the document. The error is a *FieldError.
func (s *Source) RowKeys(sidecar, file string, row map[string]any) ([]string, error) {
	p := s.rows[sidecar].key
	if p == nil {
		return nil, nil
	}
	v, err := p.run(rowValues(file, row))
	if err != nil {
		return nil, err
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	if len(list) > MaxKeys {
		return nil, fieldError(p.field, problemf(CodeValue, "the row has %d keys, more than the %d that are allowed", len(list), MaxKeys))
	}
	var keys []string
	for _, v := range list {
		key, err := textOf(v, maxText)
		if err != nil {
			return nil, fieldError(p.field, err)
		}
		if key != "" && !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// RowWanted is the sidecar's where: false for a row that counts as not there.
// The error is a *FieldError.
func (s *Source) RowWanted(sidecar, file string, row map[string]any) (bool, error) {
	return decide(s.rows[sidecar].where, rowValues(file, row))
}

// MediaKey is the key under which a recording looks for its row; "" when it is
// not known, for example because it comes from a document that is not there
// yet. The error is a *FieldError.
func (s *Source) MediaKey(sidecar string, e Env) (string, error) {
	p := s.rows[sidecar].mediaKey
	if p == nil {
		return "", nil
	}
	v, err := p.run(s.values(e))
	if err != nil {
		return "", err
	}
	key, err := textOf(v, maxText)
	if err != nil {
		return "", fieldError(p.field, err)
	}
	return key, nil
}

// Rank orders the rows that share a key by the sidecar's prefer. The zero Rank
// is the lowest: of a row without the value.
type Rank struct{ value any } // float64, string or time.Time

// Compare orders two ranks of one sidecar; ok is false when the one is a text
// and the other a number or a time.
func (r Rank) Compare(o Rank) (order int, ok bool) {
	switch v := r.value.(type) {
	case nil:
		if o.value == nil {
			return 0, true
		}
		return -1, true
	case float64:
		if w, same := o.value.(float64); same {
			return cmp.Compare(v, w), true
		}
	case string:
		if w, same := o.value.(string); same {
			return cmp.Compare(v, w), true
		}
	case time.Time:
		if w, same := o.value.(time.Time); same {
			return v.Compare(w), true
		}
	}
	return 1, o.value == nil
}

// Prefers reports whether the sidecar chooses among rows that share a key.
func (s *Source) Prefers(sidecar string) bool { return s.rows[sidecar].prefer != nil }

// Rank is the value of the sidecar's prefer for a row. The error is a
// *FieldError.
func (s *Source) Rank(sidecar, file string, row map[string]any) (Rank, error) {
	p := s.rows[sidecar].prefer
	if p == nil {
		return Rank{}, nil
	}
	v, err := p.run(rowValues(file, row))
	if err != nil {
		return Rank{}, err
	}
	switch v := v.(type) {
	case nil, string, time.Time:
		return Rank{v}, nil
	case bool:
		if v {
			return Rank{1.0}, nil
		}
		return Rank{0.0}, nil
	}
	if n := reflect.ValueOf(v); n.CanInt() {
		return Rank{float64(n.Int())}, nil
	} else if n.CanFloat() {
		return Rank{n.Float()}, nil
	}
	return Rank{}, fieldError(p.field, problemf(CodeValue, "the value is no number, text or time, so rows cannot be ordered by it"))
}

// RowTime is the instant of a row by which the nearest one is found; zero when
// it has none. The error is a *FieldError.
func (s *Source) RowTime(sidecar, file string, row map[string]any) (time.Time, error) {
	return instant(s.rows[sidecar].at, rowValues(file, row))
}

// MediaTime is the recording's side of [Source.RowTime].
func (s *Source) MediaTime(sidecar string, e Env) (time.Time, error) {
	return instant(s.rows[sidecar].mediaAt, s.values(e))
}

func instant(p *program, env map[string]any) (time.Time, error) {
	if p == nil {
		return time.Time{}, nil
	}
	v, err := p.run(env)
	if err != nil {
		return time.Time{}, err
	}
	switch v := v.(type) {
	case nil:
		return time.Time{}, nil
	case time.Time:
		return v, nil
	}
	return time.Time{}, fieldError(p.field, problemf(CodeTime, "the value is no time; use time(), epoch() or epoch_ms()"))
}

// decide runs a rule; without one everything is wanted.
func decide(p *program, env map[string]any) (bool, error) {
	if p == nil {
		return true, nil
	}
	v, err := p.run(env)
	if err != nil {
		return false, err
	}
	yes, ok := v.(bool)
	if !ok {
		return false, fieldError(p.field, problemf(CodeValue, "the rule gives neither true nor false on this value; compare it with something"))
	}
	return yes, nil
}
