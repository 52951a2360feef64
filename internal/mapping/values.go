package mapping

import (
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Longest texts, in bytes. An id beyond maxID is rubbish that would make a key.
const (
	maxID    = 512
	maxText  = 4 << 10
	maxValue = 64 << 10
)

// argText is a scalar as text: texts as they are, integers exactly, other
// numbers without exponent, times as formatTime. ok is false for absent.
func argText(v any) (text string, ok bool, err error) {
	switch v := v.(type) {
	case nil:
		return "", false, nil
	case string:
		return v, true, nil
	case bool:
		return strconv.FormatBool(v), true, nil
	case time.Time:
		return formatTime(v), true, nil
	case time.Duration:
		return formatFloat(v.Seconds()), true, nil
	}
	switch r := reflect.ValueOf(v); {
	case r.CanInt():
		return strconv.FormatInt(r.Int(), 10), true, nil
	case r.CanUint():
		return strconv.FormatUint(r.Uint(), 10), true, nil
	case r.CanFloat():
		f := r.Float()
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return "", false, problemf(CodeNumber, "the result is not a finite number (a division by zero?)")
		}
		return formatFloat(f), true, nil
	}
	return "", false, problemf(CodeValue, "the value is a list or an object; take one element, or join() a list")
}

func formatFloat(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

func isNumber(v any) bool {
	if _, ok := v.(time.Duration); ok {
		return false
	}
	r := reflect.ValueOf(v)
	return r.IsValid() && (r.CanInt() || r.CanUint() || r.CanFloat())
}

// textOf is the value of a text field: surrounding space and control
// characters gone, valid UTF-8, at most limit bytes; "" is absent.
func textOf(v any, limit int) (string, error) {
	if _, ok := v.(bool); ok {
		return "", problemf(CodeValue, "the value is true or false, not a text")
	}
	text, _, err := argText(v)
	if err != nil {
		return "", err
	}
	if len(text) > limit {
		return "", problemf(CodeValue, "the text has %d bytes, more than the %d that are allowed", len(text), limit)
	}
	if !utf8.ValidString(text) {
		return "", problemf(CodeValue, "the text is not valid UTF-8; set the sidecar's encoding")
	}
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)), nil
}

// placeholders stand for "nothing" in exports. As an id they would make one
// call out of thousands.
var placeholders = regexp.MustCompile(`(?i)^(null|nil|none|\[none\]|undefined|nan|n/?a|unknown|\\n|-+|[0-]+)$`)

// idOf is the value of a field that becomes a business key.
func idOf(v any) (string, error) {
	text, err := textOf(v, maxID)
	if err != nil || text == "" {
		return "", err
	}
	if placeholders.MatchString(text) {
		return "", problemf(CodeValue, "the value %q is a placeholder, not an id; list it under the sidecar's null values", text)
	}
	if raw, ok := v.(string); ok && strings.ContainsFunc(strings.TrimSpace(raw), unicode.IsControl) {
		return "", problemf(CodeValue, "the id contains control characters")
	}
	return text, nil
}

// numberOf is the value of a number field. Texts are read as by number().
func numberOf(v any) (float64, error) {
	switch v := v.(type) {
	case time.Duration:
		return v.Seconds(), nil
	case string:
		n, err := parseNumber(strings.TrimSpace(v))
		if err != nil {
			return 0, err
		}
		return numberOf(n)
	}
	r := reflect.ValueOf(v)
	var f float64
	switch {
	case r.CanInt():
		f = float64(r.Int())
	case r.CanUint():
		f = float64(r.Uint())
	case r.CanFloat():
		f = r.Float()
	default:
		return 0, problemf(CodeNumber, "the value is no number")
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0, problemf(CodeNumber, "the result is not a finite number (a division by zero?)")
	}
	return f, nil
}

// integerOf is the value of an integer field, at least least.
func integerOf(v any, least int) (int, error) {
	f, err := numberOf(v)
	if err != nil {
		return 0, err
	}
	if f != math.Trunc(f) || f < float64(least) || f > 1e6 {
		return 0, problemf(CodeNumber, "the number is not a whole one from %d to 1000000", least)
	}
	return int(f), nil
}

var (
	plainNumber = regexp.MustCompile(`^[+-]?\d{1,18}([.,]\d{1,18})?$`)
	thousands   = regexp.MustCompile(`^[+-]?[1-9]\d{0,2},\d{3}$`)
	clockLength = regexp.MustCompile(`^(?:(\d{1,4}):)?(\d{1,5}):(\d{2}(?:[.,]\d{1,9})?)$`)
)

// parseNumber reads a decimal number with point or comma: an int64 if whole.
// Exponents, hexadecimal and words (NaN) are refused, and so is a comma that
// might group thousands.
func parseNumber(text string) (any, error) {
	switch {
	case !plainNumber.MatchString(text):
		return nil, problemf(CodeNumber, "the text %s is no plain number", shapeOf(text))
	case thousands.MatchString(text):
		return nil, problemf(CodeNumber, "a comma before three digits may be a decimal comma or group thousands; say which with replace()")
	}
	if whole, err := strconv.ParseInt(text, 10, 64); err == nil {
		return whole, nil
	}
	f, err := strconv.ParseFloat(strings.Replace(text, ",", ".", 1), 64)
	return orNumber(f, err)
}

// parseDuration reads seconds (12, 2.5, 2,5), M:SS and HH:MM:SS into seconds.
func parseDuration(text string) (any, error) {
	text = strings.Replace(text, ",", ".", 1)
	if plainNumber.MatchString(text) {
		f, err := strconv.ParseFloat(text, 64)
		return orNumber(f, err)
	}
	m := clockLength.FindStringSubmatch(text)
	if m == nil {
		return nil, problemf(CodeNumber, "the text %s is no duration; known are seconds, M:SS and HH:MM:SS", shapeOf(text))
	}
	hours, _ := strconv.Atoi("0" + m[1]) // digits by the pattern
	minutes, _ := strconv.Atoi(m[2])
	seconds, err := strconv.ParseFloat(m[3], 64)
	if err != nil || seconds >= 60 || m[1] != "" && (len(m[2]) != 2 || minutes > 59) {
		return nil, problemf(CodeNumber, "the duration has more than 59 minutes or seconds after a colon")
	}
	return float64(hours*3600+minutes*60) + seconds, nil
}

func orNumber(f float64, err error) (any, error) {
	if err != nil {
		return nil, problemf(CodeNumber, "the number is out of range")
	}
	return f, nil
}
