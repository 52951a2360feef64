package mapping

// Stated is what the metadata says of the file itself, as text; "" is nothing.
// In a [SourceConfig] the same fields hold the expressions.
type Stated struct{ Bytes, SHA256, MD5 string }

// Integrity evaluates what the metadata states of the file. The error is a
// *FieldError.
func (s *Source) Integrity(e Env) (Stated, error) {
	var out Stated
	if len(s.stated) == 0 {
		return out, nil
	}
	env := s.values(e)
	for key, to := range map[string]*string{"integrity.bytes": &out.Bytes, "integrity.sha256": &out.SHA256, "integrity.md5": &out.MD5} {
		p := s.stated[key]
		if p == nil {
			continue
		}
		v, err := p.run(env)
		if err != nil {
			return Stated{}, err
		}
		if *to, err = textOf(v, maxText); err != nil {
			return Stated{}, fieldError(key, err)
		}
	}
	return out, nil
}
