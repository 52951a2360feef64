package senders

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{"10s": 10 * time.Second, "72h": 72 * time.Hour, "1h30m": 90 * time.Minute, "250ms": 250 * time.Millisecond, "0s": 0} {
		var d Duration
		if err := d.UnmarshalText([]byte(text)); err != nil || time.Duration(d) != want {
			t.Errorf("%q: %v, %v", text, d, err)
		}
	}
	for _, text := range []string{"5", "0", "", "5 s", "-1s", "ten seconds", "1d", "9999999999h"} {
		var d Duration
		if err := d.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was taken as %v", text, d)
		}
	}
}

func TestRate(t *testing.T) {
	for text, want := range map[string]Rate{
		"200/min": {Count: 200, Per: time.Minute}, "10/s": {Count: 10, Per: time.Second},
		"5000/h": {Count: 5000, Per: time.Hour}, "unlimited": {Unlimited: true},
	} {
		var r Rate
		if err := r.UnmarshalText([]byte(text)); err != nil || r != want || r.String() != text {
			t.Errorf("%q: %+v, %v", text, r, err)
		}
	}
	for _, text := range []string{"", "200", "0/s", "-1/s", "1/day", "1.5/s", "99999999/s", "/s", "Unlimited"} {
		var r Rate
		if err := r.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was taken as %v", text, r)
		}
	}
}

func texts(errs []error) string {
	if len(errs) == 0 {
		return ""
	}
	return errors.Join(errs...).Error()
}

func TestCommonValidate(t *testing.T) {
	good := DefaultCommon(Rate{Unlimited: true})
	good.Name = "callminer"
	if errs := good.Validate(); len(errs) != 0 {
		t.Fatalf("defaults: %v", errs)
	}
	for want, spoil := range map[string]func(*Common){
		"name:":          func(c *Common) { c.Name = "two words" },
		"rate:":          func(c *Common) { c.Rate = Rate{} },
		"workers:":       func(c *Common) { c.Workers = 0 },
		"on_doubt:":      func(c *Common) { c.OnDoubt = "maybe" },
		"doubt_settle:":  func(c *Common) { c.DoubtSettle = 0 },
		"retry.initial:": func(c *Common) { c.Retry.Initial = c.Retry.Max + 1 },
		"retry.max:":     func(c *Common) { c.Retry.Initial, c.Retry.Max = 0, -1 },
		"retry.give_up:": func(c *Common) { c.Retry.GiveUp = 0 },
	} {
		c := good
		spoil(&c)
		if got := texts(c.Validate()); !strings.Contains(got, want) {
			t.Errorf("want a defect of %s, got %q", want, got)
		}
	}
	if n := len((&Common{}).Validate()); n != 8 {
		t.Errorf("an empty table has %d defects, want all 8 at once: %v", n, (&Common{}).Validate())
	}
}

func TestCheckURL(t *testing.T) {
	for _, c := range []struct {
		raw   string
		allow bool
		ok    bool
	}{
		{"https://api.callminer.net/ingestion", false, true},
		{"http://127.0.0.1:8085", false, true},
		{"http://[::1]:8085/x", false, true},
		{"http://localhost:8085", false, true},
		{"http://vendor.example", false, false},
		{"http://vendor.example", true, true},
		{"http://127.0.0.1.vendor.example", false, false},
		{"ftp://vendor.example", true, false},
		{"https://user:pw@vendor.example", false, false},
		{"https://vendor.example/?key=1", false, false},
		{"https://vendor.example/#x", false, false},
		{"vendor.example/path", false, false},
		{"https://", false, false},
		{"https:vendor.example", false, false},
		{"", false, false},
	} {
		_, err := CheckURL("base_url", c.raw, c.allow)
		if (err == nil) != c.ok {
			t.Errorf("%q, allow_http %t: %v", c.raw, c.allow, err)
		}
		if err != nil && (!strings.HasPrefix(err.Error(), "base_url: ") || strings.Contains(err.Error(), "pw")) {
			t.Errorf("%q: %v", c.raw, err)
		}
	}
}

func TestDelay(t *testing.T) {
	r := RetryConfig{Initial: Duration(2 * time.Second), Max: Duration(15 * time.Minute), GiveUp: 1}
	never := func() float64 { return 0 }
	var got []string
	for _, attempt := range []int{0, 1, 2, 3, 8, 9, 10, 11, 1000, 1 << 40} {
		got = append(got, fmt.Sprint(attempt, " ", r.Delay(attempt, never)))
	}
	want := []string{"0 2s", "1 2s", "2 4s", "3 8s", "8 4m16s", "9 8m32s", "10 15m0s", "11 15m0s", "1000 15m0s", "1099511627776 15m0s"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
	if d := r.Delay(3, func() float64 { return 0.999999 }); d < 4*time.Second || d > 4100*time.Millisecond {
		t.Errorf("most jitter leaves %v, want half", d)
	}
	if d := (RetryConfig{Initial: Duration(time.Hour), Max: Duration(time.Minute)}).Delay(1, never); d != time.Minute {
		t.Errorf("initial above max gives %v", d)
	}
}

func TestParseRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	for h, want := range map[string]time.Duration{
		"7": 7 * time.Second, " 30 ": 30 * time.Second, "0": time.Second, "-1": time.Second, "1e12": time.Hour,
		"99999999999999999999999": time.Hour, "1e999": time.Hour, "1.5": 1500 * time.Millisecond,
		"Fri, 20 Nov 2026 10:05:00 GMT": 5 * time.Minute, "Fri, 20 Nov 2020 10:05:00 GMT": time.Second,
		"Fri, 20 Nov 2099 10:05:00 GMT": time.Hour, "Friday, 20-Nov-26 10:05:00 GMT": 5 * time.Minute,
	} {
		if got, ok := ParseRetryAfter(h, now); !ok || got != want {
			t.Errorf("%q: %v, %t, want %v", h, got, ok, want)
		}
	}
	for _, h := range []string{"", "soon", "NaN", "5s", "\x00", "1,2"} {
		if got, ok := ParseRetryAfter(h, now); ok {
			t.Errorf("%q was taken as %v", h, got)
		}
	}
}
