package status

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"ingestd/internal/ledger"
)

const (
	defaultLimit = 1000  // rows
	maxLimit     = 10000 // rows
)

// parseFilter reads the parameters of /api/v1/list. state, source and
// destination may be repeated or comma-separated. A parameter that nobody
// knows is an error: a mistyped filter must not silently select everything.
// Errors are sentences for the caller.
func parseFilter(query url.Values, now time.Time) (ledger.Filter, error) {
	f := ledger.Filter{Limit: defaultLimit}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		values := words(query[name])
		switch name {
		case "state", "source", "destination":
		case "since", "until", "call_id", "reason", "limit":
			if values = query[name]; len(values) > 1 {
				return f, fmt.Errorf("%s is given twice", name)
			}
			values = slices.DeleteFunc(slices.Clone(values), func(v string) bool { return v == "" })
		default:
			return f, fmt.Errorf("%q is no parameter; there are state, source, destination, since, until, call_id, reason and limit", name)
		}
		if len(values) == 0 {
			continue // an empty field of a form
		}
		var err error
		switch name {
		case "state":
			f.States, err = values, knownStates(values)
		case "source":
			f.Sources = values
		case "destination":
			f.Destinations = values
		case "since":
			f.Since, err = parseWhen(values[0], now)
		case "until":
			f.Until, err = parseWhen(values[0], now)
		case "call_id":
			f.CallID = values[0]
		case "reason":
			f.Reason = values[0]
		case "limit":
			f.Limit, err = strconv.Atoi(values[0])
			if err != nil || f.Limit < 1 || f.Limit > maxLimit {
				err = fmt.Errorf("limit must be 1 to %d", maxLimit)
			}
		}
		if err != nil {
			return f, err
		}
	}
	return f, nil
}

// words splits at commas and drops what is empty.
func words(values []string) []string {
	var out []string
	for _, v := range values {
		for word := range strings.SplitSeq(v, ",") {
			if word != "" {
				out = append(out, word)
			}
		}
	}
	return out
}

func knownStates(values []string) error {
	known := slices.Concat(deliveryStates(), recordingStates())
	for _, v := range values {
		if !slices.Contains(known, v) {
			return fmt.Errorf("there is no state %q; the states are %s", v, strings.Join(known, ", "))
		}
	}
	return nil
}

func deliveryStates() []string  { return texts(ledger.States()) }
func recordingStates() []string { return texts(ledger.RecordingStates()) }

func texts[S ~string](states []S) []string {
	out := make([]string, len(states))
	for i, s := range states {
		out[i] = string(s)
	}
	return out
}

// parseWhen reads an age, an instant or a day; days begin in the zone of now.
func parseWhen(s string, now time.Time) (time.Time, error) {
	if age, err := time.ParseDuration(s); err == nil {
		return now.Add(-age), nil
	}
	s = strings.ReplaceAll(s, " ", "+") // an unescaped + of a zone arrives as a space
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return t, nil
		}
	}
	return time.Time{}, errors.New("a time is 2026-11-02, 2026-11-02T15:04:05Z, or an age such as 36h")
}
