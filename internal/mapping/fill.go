package mapping

import (
	"slices"
	"strings"

	"ingestd/internal/call"
)

// Call fills the record: by the expressions of [source.call], or, without any,
// from the fields of the first document that carry canonical names, and from
// the fields of its object custom. Expressions for custom fields apply in both
// cases. The error is a *FieldError; then the record holds no more than the
// ids under which a person looks the call up.
func (s *Source) Call(e Env) (call.Record, error) {
	env, tr := s.values(e), &trace{}
	env[traceName] = tr
	doc := s.document(e)
	r, err := s.fill(e, env, tr, doc)
	if err == nil {
		return r, nil
	}
	var ids call.Record
	for _, f := range fields {
		if f.name != "call_id" && f.name != "recording_id" {
			continue
		}
		if v, bad := s.value(f.name, env, doc); bad == nil && v != nil && f.set(&ids, v, s) != nil {
			return call.Record{}, err
		}
	}
	return ids, err
}

func (s *Source) fill(e Env, env map[string]any, tr *trace, doc map[string]any) (call.Record, error) {
	var r call.Record
	for _, f := range fields {
		tr.texts = nil
		v, err := s.value(f.name, env, doc)
		if err != nil {
			return call.Record{}, err
		}
		if text, isText := v.(string); v == nil || isText && strings.TrimSpace(text) == "" {
			continue
		}
		if err := f.set(&r, v, s); err != nil {
			return call.Record{}, fieldError(f.name, err)
		}
		if raw := rawText(v, tr); f.parsed && raw != "" {
			keepRaw(&r, f.name, raw)
		}
	}
	if err := s.required(&r); err != nil {
		return call.Record{}, err
	}
	if err := s.customs(&r, env, tr, doc); err != nil {
		return call.Record{}, err
	}
	if err := derive(&r, e.Audio, s.defaults); err != nil {
		return call.Record{}, err
	}
	return r, nil
}

// required names the first field that every record must have and r has not.
func (s *Source) required(r *call.Record) error {
	text := "every record needs one, and no document of this recording has it under that name; map it in [source.call]"
	if len(s.call) > 0 {
		text = "every record needs one, and its expression gives none here: a value is missing in the documents, or not in the map"
	}
	switch {
	case r.StartedAt.IsZero():
		return fieldError("started_at", problemf(CodeMissing, "%s", text))
	case r.Direction == "":
		return fieldError("direction", problemf(CodeMissing, "%s", text))
	}
	return nil
}

// value of a field before conversion; nil is absent.
func (s *Source) value(name string, env, doc map[string]any) (any, error) {
	if len(s.call) == 0 {
		return doc[name], nil
	}
	p := s.call[name]
	if p == nil {
		return nil, nil
	}
	return p.run(env)
}

// document is the one that may carry canonical names; nil when fields are
// mapped.
func (s *Source) document(e Env) map[string]any {
	if len(s.call) > 0 {
		return nil
	}
	for _, name := range s.sidecars {
		if doc := e.Docs[name]; doc != nil {
			return doc
		}
	}
	return nil
}

func (s *Source) customs(r *call.Record, env map[string]any, tr *trace, doc map[string]any) error {
	keep := func(name string, v any) error {
		v, err := customOf(v)
		if err != nil {
			return fieldError("custom."+name, err)
		}
		if v == nil {
			return nil
		}
		if r.Custom == nil {
			r.Custom = map[string]any{}
		}
		r.Custom[name] = v
		return nil
	}
	object, _ := doc["custom"].(map[string]any)
	for _, name := range sortedKeys(object) {
		if err := keep(name, object[name]); err != nil {
			return err
		}
	}
	for _, name := range s.names {
		tr.texts = nil
		v, err := s.custom[name].run(env)
		if err != nil {
			return err
		}
		if err := keep(name, v); err != nil {
			return err
		}
		if raw := rawText(nil, tr); raw != "" {
			keepRaw(r, "custom."+name, raw)
		}
	}
	return nil
}

// rawText is what was parsed into a value: the texts that parse functions saw,
// else the value itself when it is a text.
func rawText(v any, tr *trace) string {
	if len(tr.texts) > 0 {
		return strings.Join(slices.Compact(tr.texts), "; ")
	}
	text, _ := v.(string)
	return text
}
