package mapping_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"ingestd/internal/mapping"
)

func TestTime(t *testing.T) {
	tests := []struct{ expr, want string }{
		// RFC 3339 and its neighbours.
		{`time("2026-11-02T14:05:06Z")`, "2026-11-02T14:05:06Z"},
		{`time("2026-11-02T14:05:06.090Z")`, "2026-11-02T14:05:06.09Z"},
		{`time("2026-11-02T14:05:06.123456789Z")`, "2026-11-02T14:05:06.123456789Z"},
		{`time("2026-11-02T14:05:06,5Z")`, "2026-11-02T14:05:06.5Z"},
		{`time("2026-11-02T08:05:06-06:00")`, "2026-11-02T14:05:06Z"},
		{`time("2015-09-10T16:58:22.000+0000")`, "2015-09-10T16:58:22Z"},
		{`time("2026-11-02 19:35:06+05:30")`, "2026-11-02T14:05:06Z"},
		{`time("2026-11-02 19:35:06 +0530")`, "2026-11-02T14:05:06Z"},
		{`time("2026-11-02 15:05:06+01")`, "2026-11-02T14:05:06Z"},
		{`time("20261102T140506Z")`, "2026-11-02T14:05:06Z"},
		{`time(" 2026-11-02T14:05:06Z ")`, "2026-11-02T14:05:06Z"},
		// RFC 2822.
		{`time("Mon, 02 Nov 2026 14:05:06 +0000")`, "2026-11-02T14:05:06Z"},
		{`time("Mon, 2 Nov 2026 14:05:06 GMT")`, "2026-11-02T14:05:06Z"},
		{`time("2 Nov 2026 09:05:06 -0500")`, "2026-11-02T14:05:06Z"},
		{`time("Mon, 02 Nov 2026 08:05:06")`, "2026-11-02T14:05:06Z"},
		// Without offset: the source's zone (America/Chicago), winter and summer.
		{`time("2026-11-02 08:05:06")`, "2026-11-02T14:05:06Z"},
		{`time("2026-07-02T09:05:06.25")`, "2026-07-02T14:05:06.25Z"},
		{`time("2026/07/02 09:05:06")`, "2026-07-02T14:05:06Z"},
		{`time("20260702090506")`, "2026-07-02T14:05:06Z"},
		{`time("20260702-090506")`, "2026-07-02T14:05:06Z"},
		// Another zone, by name, by offset, and with layout.
		{`time("2026-11-02 15:05:06", "Europe/Berlin")`, "2026-11-02T14:05:06Z"},
		{`time("2026-07-02 09:05:06", "-05:00")`, "2026-07-02T14:05:06Z"},
		{`time("2026-07-02 09:05:06", "-0500")`, "2026-07-02T14:05:06Z"},
		{`time("2026-07-02 14:05:06", "UTC")`, "2026-07-02T14:05:06Z"},
		{`time("2026-07-02 09:05:06", doc.zone)`, "2026-07-02T14:05:06Z"},
		{`time("2026-11-02 15:05:06", doc.berlin)`, "2026-11-02T14:05:06Z"},
		{`time("02/11/2026 09:15:37", "02/01/2006 15:04:05", "Europe/Paris")`, "2026-11-02T08:15:37Z"},
		{`time("02/11/2026 09:15:37", doc.layout, "Europe/Paris")`, "2026-11-02T08:15:37Z"},
		{`time("10-30-2026 9:02:50 AM", "1-2-2006 3:04:05 PM", "-05:00")`, "2026-10-30T14:02:50Z"},
		{`time("2026-11-02 08-05-06", "2006-01-02 15-04-05")`, "2026-11-02T14:05:06Z"},
		{`time("021126080506", "020106150405")`, "2026-11-02T14:05:06Z"},
		{`time("2026-11-02 08:05", "2006-01-02 15:04:05", "2006-01-02 15:04")`, "2026-11-02T14:05:00Z"},
		{`time("2026-11-02 08:05 +0100", "2006-01-02 15:04 -0700", "Asia/Tokyo")`, "2026-11-02T07:05:00Z"},
		// Two layouts that agree on this text.
		{`time("03/03/2026 08:00", "02/01/2006 15:04", "01/02/2006 15:04")`, "2026-03-03T14:00:00Z"},
		// The hour that is repeated is fine with an offset, or in a zone that does not repeat it.
		{`time("2026-11-01 01:30:00 -0500")`, "2026-11-01T06:30:00Z"},
		{`time("2026-11-01 01:30:00", "-06:00")`, "2026-11-01T07:30:00Z"},
	}
	doc := map[string]any{"zone": "-05:00", "berlin": "Europe/Berlin", "layout": "02/01/2006 15:04:05"}
	for _, tt := range tests {
		t.Run(tt.expr, func(t *testing.T) {
			got, err := eval(t, tt.expr, doc)
			if err != nil {
				t.Fatal(err)
			}
			if want := instant(t, tt.want); got != want {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

func TestTimeAbsent(t *testing.T) {
	for _, expression := range []string{`time(doc.missing)`, `time("")`, `time("  ")`, `time(doc.missing, "Europe/Berlin")`} {
		if got, err := eval(t, expression, nil); got != nil || err != nil {
			t.Errorf("%s = %v, %v; want absent", expression, got, err)
		}
	}
}

func TestTimeRefused(t *testing.T) {
	tests := []struct{ expr, text string }{
		{`time("02/11/2026 09:45:00")`, "fits none"},
		{`time("02/11/2026 9:45", "2006-01-02 15-04-05")`, `"02/11/2026 9:45"`},
		{`time("02/11/2026 09:45", "02/01/2006 15:04", "01/02/2006 15:04")`, "two of the layouts"},
		{`time("2026-11-02")`, "fits none"},
		{`time("tomorrow")`, "fits none"},
		{`time("2026-02-30 10:00:00")`, "fits none"},
		{`time("2026-11-02 24:00:00")`, "fits none"},
		{`time("2026-12-31T23:59:60Z")`, "fits none"},
		{`time("2026-11-02 08:05:06 EST")`, "fits none"},
		{`time("Mon, 02 Nov 2026 08:05:06 CST")`, "fits none"},
		{`time("Tue, 02 Nov 2026 08:05:06 +0000")`, "fits none"}, // it was a Monday
		{`time("2026-11-02T08:05:06+23:00")`, "offset"},
		{`time("0001-01-01T00:00:00Z")`, "year 1;"},
		{`time("1970-01-01 12:00:00")`, "year 1970"},
		{`time("2100-01-01T00:00:00Z")`, "year 2100"},
		{`time(1793606410)`, "epoch()"},
		{`time(doc.list)`, "epoch()"},
		{`time(doc.long)`, "too long"},
		{`time("2026-11-02 08:05:06", doc.est)`, "ambiguous"},
		{`time("2026-11-02 08:05:06", doc.number)`, "as texts"},
		{`time("15:04", doc.clock)`, "date and time of day"},
		{`time("2026-11-02 08:05:06", doc.person)`, "neither"},
	}
	doc := map[string]any{"list": []any{}, "long": strings.Repeat("2026", 50), "est": "EST", "number": int64(5), "clock": "15:04", "person": "Sam Lee"}
	for _, tt := range tests {
		t.Run(tt.expr, func(t *testing.T) {
			got, err := eval(t, tt.expr, doc)
			if err == nil {
				t.Fatalf("got %v, want an error", got)
			}
			fe := wantFieldError(t, err, "custom.x", "bad_time")
			if !strings.Contains(fe.Text, tt.text) {
				t.Errorf("text %q does not say %q", fe.Text, tt.text)
			}
		})
	}
}

func TestTimeNeedsAZone(t *testing.T) {
	s := compileSource(t, mapping.SourceConfig{Sidecars: []mapping.SidecarExprs{{Name: "doc"}}})
	_, err := s.Call(mapping.Env{Docs: map[string]map[string]any{"doc": {"started_at": "2026-11-02 08:05:06", "direction": "inbound"}}})
	fe := wantFieldError(t, err, "started_at", "bad_time")
	if !strings.Contains(fe.Text, "time_zone") {
		t.Errorf("text %q does not name the setting", fe.Text)
	}
}

func TestDaylightSaving(t *testing.T) {
	const gap, twice = "does not exist", "happens twice"
	tests := []struct{ zone, wall, want string }{
		{"America/Chicago", "2026-03-08 01:59:59", "2026-03-08T07:59:59Z"},
		{"America/Chicago", "2026-03-08 02:00:00", gap},
		{"America/Chicago", "2026-03-08 02:30:00", gap},
		{"America/Chicago", "2026-03-08 02:59:59", gap},
		{"America/Chicago", "2026-03-08 03:00:00", "2026-03-08T08:00:00Z"},
		{"America/Chicago", "2026-11-01 00:59:59", "2026-11-01T05:59:59Z"},
		{"America/Chicago", "2026-11-01 01:00:00", twice},
		{"America/Chicago", "2026-11-01 01:30:00", twice},
		{"America/Chicago", "2026-11-01 01:59:59", twice},
		{"America/Chicago", "2026-11-01 02:00:00", "2026-11-01T08:00:00Z"},
		{"Europe/Berlin", "2026-03-29 01:59:59", "2026-03-29T00:59:59Z"},
		{"Europe/Berlin", "2026-03-29 02:00:00", gap},
		{"Europe/Berlin", "2026-03-29 02:59:59", gap},
		{"Europe/Berlin", "2026-03-29 03:00:00", "2026-03-29T01:00:00Z"},
		{"Europe/Berlin", "2026-10-25 01:59:59", "2026-10-24T23:59:59Z"},
		{"Europe/Berlin", "2026-10-25 02:00:00", twice},
		{"Europe/Berlin", "2026-10-25 02:59:59", twice},
		{"Europe/Berlin", "2026-10-25 03:00:00", "2026-10-25T02:00:00Z"},
		{"Australia/Lord_Howe", "2026-04-05 01:45:00", twice}, // half an hour only
		{"Australia/Lord_Howe", "2026-10-04 02:15:00", gap},
		{"Europe/Moscow", "2014-10-26 01:30:00", twice}, // for good, not for a winter
		{"Pacific/Apia", "2011-12-30 12:00:00", gap},    // a whole day was skipped
	}
	for _, tt := range tests {
		t.Run(tt.zone+" "+tt.wall, func(t *testing.T) {
			got, err := eval(t, `time("`+tt.wall+`", "`+tt.zone+`")`, nil)
			if tt.want != gap && tt.want != twice {
				if err != nil || got != instant(t, tt.want) {
					t.Fatalf("got %v, %v, want %s", got, err, tt.want)
				}
				return
			}
			if err == nil {
				t.Fatalf("got %v, want refused", got)
			}
			fe := wantFieldError(t, err, "custom.x", "bad_time")
			if !strings.Contains(fe.Text, tt.want) || !strings.Contains(fe.Text, tt.wall) || !strings.Contains(fe.Text, tt.zone) {
				t.Errorf("text %q, want %q with time and zone", fe.Text, tt.want)
			}
		})
	}
}

// TestZonesByCounting compares with the only definition there is: for every
// quarter of an hour of a year, list what the clock shows.
func TestZonesByCounting(t *testing.T) {
	const layout = "2006-01-02 15:04:05"
	for _, name := range []string{"America/Chicago", "Europe/Berlin", "Europe/London", "Australia/Lord_Howe", "Asia/Kolkata", "Africa/Casablanca"} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		s := compileSource(t, mapping.SourceConfig{TimeZone: name, Sidecars: []mapping.SidecarExprs{{Name: "doc"}}})
		from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		shows := map[string][]time.Time{}
		for at := from.AddDate(0, 0, -2); at.Before(from.AddDate(1, 0, 2)); at = at.Add(30 * time.Minute) {
			wall := at.In(zone).Format(layout)
			shows[wall] = append(shows[wall], at)
		}
		for wall := from; wall.Before(from.AddDate(1, 0, 0)); wall = wall.Add(30 * time.Minute) {
			text := wall.Format(layout)
			r, err := s.Call(mapping.Env{Docs: map[string]map[string]any{"doc": {"started_at": text, "direction": "inbound"}}})
			if want := shows[text]; len(want) == 1 {
				if err != nil || !r.StartedAt.Equal(want[0]) {
					t.Fatalf("%s in %s = %v, %v, want %v", text, name, r.StartedAt, err, want[0])
				}
			} else if err == nil {
				t.Fatalf("%s in %s = %v, but %d instants show it", text, name, r.StartedAt, len(want))
			}
		}
	}
}

// FuzzTime: whatever a document, a layout and a zone hold, the answer is an
// instant of a plausible year that reads back as itself, or a FieldError that
// shows the text only when it is a date.
func FuzzTime(f *testing.F) {
	for _, seed := range []string{"2026-11-02T14:05:06Z", "2026-11-02 08:05:06", "02/11/2026 9:45", "Mon, 2 Nov 2026 14:05:06 GMT", "20261102080506", "2026-03-08 02:30:00", "+12025550143", "\xff"} {
		f.Add(seed, "2006-01-02 15:04:05", "America/Chicago")
		f.Add(seed, "02/01/2006 15:04", "-05:00")
	}
	s, err := mapping.CompileSource(mapping.SourceConfig{TimeZone: "Europe/Berlin", Sidecars: []mapping.SidecarExprs{{Name: "doc"}},
		Call: map[string]string{"started_at": `time(doc.text)`, "direction": `"unknown"`, "ended_at": `time(doc.text, doc.layout, doc.zone)`}})
	if err != nil {
		f.Fatal(err)
	}
	isDate := regexp.MustCompile(`^\d{1,4}[/.-]\d{1,2}[/.-]\d{2,4}`)
	f.Fuzz(func(t *testing.T, text, layout, zone string) {
		for _, doc := range []map[string]any{
			{"text": text},
			{"text": text, "layout": layout, "zone": zone},
		} {
			r, err := s.Call(mapping.Env{Docs: map[string]map[string]any{"doc": doc}})
			if err != nil {
				var fe *mapping.FieldError
				if !errors.As(err, &fe) {
					t.Fatalf("error %v is no FieldError", err)
				}
				if len(text) > 6 && strings.ContainsAny(text, "012345678") && strings.Contains(fe.Text, text) && !isDate.MatchString(strings.TrimSpace(text)) {
					t.Fatalf("text %q leaks into %q", text, fe.Text)
				}
				continue
			}
			for _, at := range []time.Time{r.StartedAt, r.EndedAt} {
				if at.IsZero() {
					continue
				}
				if at.Location() != time.UTC || at.Year() < 1971 || at.Year() > 2099 {
					t.Fatalf("%q became %v", text, at)
				}
			}
			back, err := s.Call(mapping.Env{Docs: map[string]map[string]any{"doc": {"text": r.StartedAt.Format(time.RFC3339Nano)}}})
			if err != nil || !back.StartedAt.Equal(r.StartedAt) {
				t.Fatalf("%v reads back as %v, %v", r.StartedAt, back.StartedAt, err)
			}
		}
	})
}
