package mapping

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // a minimal host has no zone database, and a zone must not depend on it
)

// Times outside of these years are null values of some system, or an epoch in
// the wrong unit.
const firstYear, lastYear = 1971, 2099

// defaultLayouts are tried when time() gets none: year first, or month by name,
// so that no two of them read one text differently. A fraction of seconds is
// accepted by all.
var defaultLayouts = []string{
	"2006-01-02T15:04:05Z07:00",
	"2006-01-02T15:04:05Z0700",
	"2006-01-02T15:04:05Z07",
	"2006-01-02 15:04:05Z07:00",
	"2006-01-02 15:04:05Z0700",
	"2006-01-02 15:04:05Z07",
	"2006-01-02 15:04:05 -07:00",
	"2006-01-02 15:04:05 -0700",
	"20060102T150405Z0700",
	"Mon, 2 Jan 2006 15:04:05 -0700",
	"2 Jan 2006 15:04:05 -0700",
	"2006-01-02T15:04:05",
	"2006-01-02 15:04:05",
	"2006/01/02 15:04:05",
	"20060102T150405",
	"20060102-150405",
	"20060102150405",
	"Mon, 2 Jan 2006 15:04:05",
	"2 Jan 2006 15:04:05",
}

// parseTime reads one instant. Every layout is tried: a text that fits two of
// them with different meanings is refused like one that fits none. A layout
// without offset is read in zone; nil means that there is none.
func parseTime(text string, layouts []string, zone *time.Location) (time.Time, error) {
	if len(text) > 64 {
		return time.Time{}, problemf(CodeTime, "the text is too long for a time (%d bytes)", len(text))
	}
	if len(layouts) == 0 {
		layouts = defaultLayouts
	}
	numeric := numericZone(text)
	var found, wall time.Time
	var matched bool
	for _, layout := range layouts {
		t, err := time.Parse(layout, numeric)
		if err != nil || !weekdayFits(layout, numeric, t) {
			continue
		}
		if matched && !t.Equal(wall) {
			return time.Time{}, problemf(CodeTime, "the time %s fits two of the layouts with different meanings; keep the layout that the export uses", shown(text, dateLike))
		}
		if matched {
			continue
		}
		matched, wall, found = true, t, t.UTC()
		if !hasOffset(layout) {
			if found, err = inZone(t, zone); err != nil {
				return time.Time{}, err
			}
		} else if _, offset := t.Zone(); offset < -14*3600 || offset > 14*3600 {
			return time.Time{}, problemf(CodeTime, "the time %q has an offset that no zone has", text)
		}
	}
	if !matched {
		return time.Time{}, problemf(CodeTime, "the text %s fits none of the layouts of time(); name its layout, or have the export corrected", shown(text, dateLike))
	}
	return plausible(found)
}

// numericZone writes the three names of UTC that RFC 2822 knows as an offset.
// Every other letter zone stays, and so fits no layout.
func numericZone(text string) string {
	for _, suffix := range []string{" GMT", " UTC", " UT"} {
		if base, ok := strings.CutSuffix(text, suffix); ok {
			return base + " +0000"
		}
	}
	return text
}

// weekdayFits compares a stated day of the week, which time.Parse ignores.
func weekdayFits(layout, text string, t time.Time) bool {
	return !strings.Contains(layout, "Mon") ||
		strings.Contains(strings.ToLower(text), strings.ToLower(t.Weekday().String()[:3]))
}

func hasOffset(layout string) bool {
	return strings.Contains(layout, "-07") || strings.Contains(layout, "Z07")
}

// inZone finds the one instant at which a clock in zone shows wall (given as
// if it were UTC). An hour that summer time skips has none, and one that is
// repeated in autumn has two: both are refused. time.ParseInLocation would
// silently pick a reading.
func inZone(wall time.Time, zone *time.Location) (time.Time, error) {
	const clock = "2006-01-02 15:04:05"
	if zone == nil {
		return time.Time{}, problemf(CodeTime, "the time %s has no zone; set time_zone for the source, or give the zone to time()", wall.Format(clock))
	}
	// Offsets in force around that time: that of any reading, and those before
	// and after the changes of clocks next to it. Each is tried; one that is not
	// in force at the instant it leads to gives no reading.
	near := wall.Add(-offsetAt(wall, zone))
	from, to := near.In(zone).ZoneBounds()
	var found []time.Time
	for _, around := range []time.Time{near, from.Add(-time.Nanosecond), to} {
		offset := offsetAt(around, zone)
		t := wall.Add(-offset)
		if offsetAt(t, zone) == offset && !slices.ContainsFunc(found, t.Equal) {
			found = append(found, t)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return time.Time{}, problemf(CodeTime, "the local time %s does not exist in %s: clocks skip it when summer time begins; check the recorder's zone", wall.Format(clock), zone)
	default:
		return time.Time{}, problemf(CodeTime, "the local time %s happens twice in %s: clocks go back over it; use a field with offset or an epoch", wall.Format(clock), zone)
	}
}

func offsetAt(t time.Time, zone *time.Location) time.Duration {
	_, seconds := t.In(zone).Zone()
	return time.Duration(seconds) * time.Second
}

func plausible(t time.Time) (time.Time, error) {
	if y := t.UTC().Year(); y < firstYear || y > lastYear {
		return time.Time{}, problemf(CodeTime, "the time lies in the year %d; expected %d to %d (is it a null value, or an epoch in another unit?)", y, firstYear, lastYear)
	}
	return t.UTC(), nil
}

// zoneLike texts may be shown in errors: offsets, names with a slash, capitals.
var zoneLike = regexp.MustCompile(`^([+-][0-9:]{2,6}|[A-Z]{1,5}|[A-Za-z_]+(/[A-Za-z0-9_+-]+){1,2})$`)

var fixedOffset = regexp.MustCompile(`^([+-])(\d\d):?([0-5]\d)$`)

// loadZone accepts IANA names (with a slash), UTC and fixed offsets +hh:mm.
// Letter zones are refused: EST, CST or IST mean different things in different
// places, and Go reads unknown ones as UTC.
func loadZone(name string) (*time.Location, error) {
	if name == "UTC" || name == "Z" {
		return time.UTC, nil
	}
	if m := fixedOffset.FindStringSubmatch(name); m != nil {
		h, _ := strconv.Atoi(m[2]) // two digits by the pattern
		min, _ := strconv.Atoi(m[3])
		seconds := h*3600 + min*60
		if seconds > 14*3600 {
			return nil, problemf(CodeTime, "the offset %s is beyond 14 hours", name)
		}
		if m[1] == "-" {
			seconds = -seconds
		}
		return time.FixedZone(m[1]+m[2]+":"+m[3], seconds), nil
	}
	if !strings.Contains(name, "/") {
		return nil, problemf(CodeTime, "the text %s is no time zone; use an IANA name like America/Chicago, UTC, or a fixed offset like -05:00 (letter zones like EST are ambiguous)", shown(name, zoneLike))
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, problemf(CodeTime, "the time zone %s is unknown; use an IANA name like America/Chicago", shown(name, zoneLike))
	}
	return zone, nil
}

// layoutOrZone tells what an argument of time() is. A layout holds digits and
// yields a whole date and clock time; everything else must be a zone.
func layoutOrZone(text string) (zone *time.Location, isZone bool, err error) {
	zone, zoneErr := loadZone(text)
	if zoneErr == nil {
		return zone, true, nil
	}
	sample := time.Date(2031, time.November, 27, 17, 38, 49, 0, time.UTC)
	written := sample.Format(text)
	if written == text {
		return nil, true, zoneErr
	}
	rest := strings.NewReplacer("Z07:00", "", "Z0700", "", "Z07", "").Replace(text)
	for _, letters := range []string{"MST", "UTC", "GMT", "Z"} {
		if strings.Contains(rest, letters) {
			return nil, false, problemf(CodeTime, "layout %q: %q is no offset; write -0700 or Z07:00 where the text has one", text, letters)
		}
	}
	read, err := time.Parse(text, written)
	if err != nil || !read.Truncate(time.Minute).Equal(sample.Truncate(time.Minute)) {
		return nil, false, problemf(CodeTime, "layout %q does not give date and time of day; write the text of Mon Jan 2 15:04:05 2006 in the export's way", text)
	}
	return nil, false, nil
}

var decimalText = regexp.MustCompile(`^(\d{1,18})(?:\.(\d{1,18}))?$`)

// parseEpoch reads a count of units since 1970. Zero is absent: it is how call
// systems write "did not happen".
func parseEpoch(text string, unit time.Duration) (t time.Time, ok bool, err error) {
	m := decimalText.FindStringSubmatch(text)
	if m == nil {
		return time.Time{}, false, problemf(CodeTime, "the text %s is no epoch time", shapeOf(text))
	}
	whole, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		return time.Time{}, false, problemf(CodeTime, "the epoch time is out of range")
	}
	part, _ := strconv.ParseInt((m[2] + "000000000")[:9], 10, 64) // billionths of a unit; digits by the pattern
	if whole == 0 && part == 0 {
		return time.Time{}, false, nil
	}
	perSecond := int64(time.Second / unit)
	nanos := whole%perSecond*int64(unit) + part*int64(unit)/1e9
	t, err = plausible(time.Unix(whole/perSecond, nanos))
	return t, err == nil, err
}

// formatTime is how an instant prints as text: RFC 3339 in UTC, with
// milliseconds only if it has any.
func formatTime(t time.Time) string {
	t = t.UTC()
	if t.Truncate(time.Second).Equal(t.Truncate(time.Millisecond)) {
		return t.Format("2006-01-02T15:04:05Z")
	}
	return t.Format("2006-01-02T15:04:05.000Z")
}
