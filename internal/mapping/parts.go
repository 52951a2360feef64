package mapping

import (
	"slices"
	"strings"
)

// MaxParts is how many recordings may make up one call.
const MaxParts = 100

// Parts names the recordings that make up one call, in the order of the
// metadata and each once: names of files in the recording's own folder, with
// or without extension. None means that the recording stands alone. The error
// is a *FieldError.
func (s *Source) Parts(e Env) ([]string, error) {
	if s.parts == nil {
		return nil, nil
	}
	v, err := s.parts.run(s.values(e))
	if err != nil {
		return nil, err
	}
	list, ok := v.([]any)
	if !ok && v != nil {
		list = []any{v}
	}
	if len(list) > MaxParts {
		return nil, fieldError(s.parts.field, problemf(CodeValue, "%d recordings, more than the %d that may make up one call", len(list), MaxParts))
	}
	var out []string
	for _, v := range list {
		name, err := textOf(v, maxText)
		switch {
		case err != nil:
			return nil, fieldError(s.parts.field, err)
		case strings.Contains(name, "/") || name == "." || name == "..":
			return nil, fieldError(s.parts.field, problemf(CodeValue, "a part is named by a path; it must be the name of a file in the recording's folder"))
		case name != "" && !slices.Contains(out, name):
			out = append(out, name)
		}
	}
	return out, nil
}

// Groups reports whether recordings of the source are parts of calls.
func (s *Source) Groups() bool { return s.parts != nil }
