//go:build torture

package failpoint

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// order is what befalls one point.
type order struct {
	action string
	sleep  time.Duration
	at     int // the hit, from 1
	sticky bool
}

var nameForm = regexp.MustCompile(`^[a-z][a-z_-]*(\.[a-z][a-z_-]*)*$`)

// parse reads orders such as `accepted.before=error@3,gate.open=sleep:2s`.
func parse(spec string) (*set, error) {
	s := &set{hits: map[string]int{}, plan: map[string][]order{}}
	if spec == "" {
		return s, nil
	}
	for _, part := range strings.Split(spec, ",") {
		name, rest, found := strings.Cut(part, "=")
		if !found || !nameForm.MatchString(name) {
			return nil, fmt.Errorf("failpoint %q: want point=action", part)
		}
		o, err := parseOrder(rest)
		if err != nil {
			return nil, fmt.Errorf("failpoint %q: %w", part, err)
		}
		s.plan[name] = append(s.plan[name], o)
	}
	return s, nil
}

func parseOrder(text string) (o order, err error) {
	text, at, counted := strings.Cut(text, "@")
	o.at = 1
	if counted {
		at, o.sticky = strings.CutSuffix(at, "+")
		if o.at, err = strconv.Atoi(at); err != nil || o.at < 1 {
			return o, fmt.Errorf("@%s is not a number above 0", at)
		}
	}
	var pause string
	o.action, pause, counted = strings.Cut(text, ":")
	switch {
	case !slices.Contains([]string{"panic", "error", "sleep", "kill", "exit"}, o.action):
		return o, fmt.Errorf("%q is no action; there are panic, error, sleep:DURATION, kill and exit", o.action)
	case counted != (o.action == "sleep"):
		return o, fmt.Errorf("a duration belongs to sleep, and to it alone")
	case counted:
		if o.sleep, err = time.ParseDuration(pause); err != nil || o.sleep < 0 {
			return o, fmt.Errorf("%q is not a duration such as 2s", pause)
		}
	}
	return o, nil
}
