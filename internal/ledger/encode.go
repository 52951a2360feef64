package ledger

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"ingestd/internal/call"
)

// instantKey marks a time among the free values of a call record, so that it
// comes back as a time and not as text.
const instantKey = "$time"

// encodeValue prepares a free value for JSON so that decodeValue gives the
// same Go value: whole floats keep their point, times their mark.
func encodeValue(v any) any {
	switch v := v.(type) {
	case float64:
		if v == math.Trunc(v) && !math.IsInf(v, 0) {
			s := strconv.FormatFloat(v, 'g', -1, 64)
			if !strings.ContainsAny(s, ".e") {
				s += ".0"
			}
			return json.Number(s)
		}
		return v
	case time.Time:
		return map[string]any{instantKey: v.Format(time.RFC3339Nano)}
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = encodeValue(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = encodeValue(e)
		}
		return out
	default:
		return v
	}
}

// decodeValue undoes encodeValue on what a decoder with UseNumber gave.
func decodeValue(v any) any {
	switch v := v.(type) {
	case json.Number:
		if !strings.ContainsAny(v.String(), ".eE") {
			if n, err := v.Int64(); err == nil {
				return n
			}
		}
		f, _ := v.Float64() // out of range: an infinity, which JSON cannot hold in the first place
		return f
	case map[string]any:
		if s, ok := v[instantKey].(string); ok && len(v) == 1 {
			if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
				return t
			}
		}
		for k, e := range v {
			v[k] = decodeValue(e)
		}
		return v
	case []any:
		for i, e := range v {
			v[i] = decodeValue(e)
		}
		return v
	default:
		return v
	}
}

func encodeMap(m map[string]any) (string, error) {
	if len(m) == 0 {
		return "{}", nil
	}
	b, err := json.Marshal(encodeValue(m))
	if err != nil {
		return "", fmt.Errorf("encode document row: %w", err)
	}
	return string(b), nil
}

func decodeMap(s []byte) (map[string]any, error) {
	m := map[string]any{}
	d := json.NewDecoder(bytes.NewReader(s))
	d.UseNumber()
	if err := d.Decode(&m); err != nil {
		return nil, fmt.Errorf("decode document row: %w", err)
	}
	for k, v := range m {
		m[k] = decodeValue(v)
	}
	return m, nil
}

// encodeCall returns nil, so that the column stays as it is, for no record.
func encodeCall(r *call.Record) (any, error) {
	if r == nil {
		return nil, nil
	}
	c := *r
	if c.Custom != nil {
		c.Custom = encodeValue(r.Custom).(map[string]any)
	}
	return encodeJSON("call record", &c)
}

func decodeCall(b []byte) (*call.Record, error) {
	if b == nil {
		return nil, nil
	}
	var r call.Record
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&r); err != nil {
		return nil, fmt.Errorf("decode call record: %w", err)
	}
	for k, v := range r.Custom {
		r.Custom[k] = decodeValue(v)
	}
	return &r, nil
}

func encodeAudio(a *call.Audio) (any, error) {
	if a == nil {
		return nil, nil
	}
	return encodeJSON("audio facts", a)
}

func decodeAudio(b []byte) (*call.Audio, error) {
	if b == nil {
		return nil, nil
	}
	var a call.Audio
	if err := json.Unmarshal(b, &a); err != nil {
		return nil, fmt.Errorf("decode audio facts: %w", err)
	}
	return &a, nil
}

func encodeJSON(what string, v any) (any, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", what, err)
	}
	return string(b), nil
}

// digest is a hex SHA-256 as its column stores it; "" is NULL.
func digest(s string) (any, error) {
	if s == "" {
		return nil, nil
	}
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 32 {
		return nil, fmt.Errorf("%q is not a SHA-256 in hex", s)
	}
	return b, nil
}
