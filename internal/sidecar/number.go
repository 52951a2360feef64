package sidecar

import (
	"strconv"
	"strings"
)

// number keeps every digit of a JSON number: an integer that fits is an int64,
// however it is written (2.0, 1e3), a fraction whose float64 prints the same
// digits is a float64, and anything else (a 20-digit id, 1e309) stays text. So
// a value that is stored as JSON and read again has the same type.
func number(s string) any {
	digits, exponent, ok := decimal(s)
	if !ok {
		return s
	}
	if exponent >= len(digits) {
		if n, ok := integer(s, digits, exponent); ok {
			return n
		}
		return s
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		shortest, shortestExponent, _ := decimal(strconv.FormatFloat(f, 'e', -1, 64))
		if digits == shortest && exponent == shortestExponent {
			return f
		}
	}
	return s
}

// integer is digits followed by zeros, with the sign of s. It never goes
// through a float64, which holds 53 bits only.
func integer(s, digits string, exponent int) (int64, bool) {
	if exponent > len("9223372036854775807") {
		return 0, false
	}
	text := "0" + digits + strings.Repeat("0", exponent-len(digits))
	if strings.HasPrefix(s, "-") {
		text = "-" + text
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil
}

// decimal writes a number as 0.digits times ten to the exponent, with no zero
// at either end of digits, so that equal numbers look equal.
func decimal(s string) (digits string, exponent int, ok bool) {
	s = strings.TrimPrefix(strings.ToLower(s), "-")
	mantissa, e, scientific := strings.Cut(s, "e")
	if scientific {
		n, err := strconv.Atoi(e)
		if err != nil {
			return "", 0, false
		}
		exponent = n
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits = strings.TrimLeft(whole+fraction, "0")
	exponent += len(whole) - (len(whole+fraction) - len(digits))
	if digits = strings.TrimRight(digits, "0"); digits == "" {
		exponent = 0
	}
	return digits, exponent, true
}
