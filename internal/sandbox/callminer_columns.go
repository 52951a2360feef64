package sandbox

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
)

// Column is one metadata column of the tenant as callmetadataconfig lists it:
// 18 fields, flags as 0 or 1.
type Column struct {
	ColumnName           string  `json:"ColumnName"` // the Key of metadata items
	AttributeOrDimension string  `json:"AttributeOrDimension"`
	FriendlyName         string  `json:"FriendlyName"`
	Description          string  `json:"Description"`
	DisplayOrder         int     `json:"DisplayOrder"`
	DimensionBinRoundTo  int     `json:"DimensionBinRoundTo"`
	IsAdvanced           int     `json:"IsAdvanced"`
	FormatString         string  `json:"FormatString"`
	DimensionMin         float64 `json:"DimensionMin"`
	DimensionMax         float64 `json:"DimensionMax"`
	IsIndexed            int     `json:"IsIndexed"`
	MaxCharLength        int     `json:"Max_Char_Length"`
	BaseTypeName         string  `json:"BaseTypeName"` // String, Numeric, Date
	DisplayCoaching      int     `json:"DisplayCoaching"`
	IsCoachAdvanced      int     `json:"IsCoachAdvanced"`
	CoachingHierarchy    int     `json:"CoachingHierarchy"`
	DWHierarchy          int     `json:"DW_Hierarchy"`
	TypeName             string  `json:"TypeName"`
}

// DefaultColumns is the metadata configuration of the sandbox tenant: the keys
// that the guide's samples use, and a few of every type.
func DefaultColumns() []Column {
	rows := []struct {
		name, friendly, base, kind string
		length, indexed            int
	}{
		{"Agent", "Agent", "String", "nvarchar", 50, 1},
		{"AgentGroup", "Agent Group", "String", "nvarchar", 50, 1},
		{"ANI", "Caller Number", "String", "nvarchar", 50, 0},
		{"DNS", "Dialled Number", "String", "nvarchar", 50, 0},
		{"Department", "Department", "String", "nvarchar", 100, 1},
		{"Direction", "Direction", "String", "nvarchar", 20, 1},
		{"Location", "Location", "String", "nvarchar", 100, 1},
		{"Queue", "Queue", "String", "nvarchar", 100, 1},
		{"CallId", "Call Id", "String", "nvarchar", 128, 1},
		{"CustomerId", "Customer Id", "String", "nvarchar", 64, 0},
		{"HoldCount", "Holds", "Numeric", "int", 0, 0},
		{"HandleTime", "Handle Time", "Numeric", "decimal", 0, 0},
		{"FollowUpDate", "Follow-up Date", "Date", "smalldatetime", 0, 0},
	}
	columns := make([]Column, 0, len(rows)+1)
	for i, r := range rows {
		columns = append(columns, Column{
			ColumnName: r.name, AttributeOrDimension: "Attribute", FriendlyName: r.friendly,
			Description: "Sandbox column " + r.name, DisplayOrder: i, IsAdvanced: 1,
			IsIndexed: r.indexed, MaxCharLength: r.length, BaseTypeName: r.base, TypeName: r.kind,
		})
	}
	return append(columns, Column{
		ColumnName: "WAVLength", AttributeOrDimension: "Dimension", FriendlyName: "Duration",
		Description: "Length of the recording in seconds", DisplayOrder: len(rows),
		FormatString: "time", DimensionMax: callMinerMaxAudio.Seconds(), IsIndexed: 1,
		BaseTypeName: "Numeric", TypeName: "int",
	})
}

// fits reports whether mining can take the value. Max_Char_Length is exclusive,
// as the guide's example reads, and counts UTF-16 units; 0 is no limit.
func (c Column) fits(value string) bool {
	if c.MaxCharLength > 0 && len(utf16.Encode([]rune(value))) >= c.MaxCharLength {
		return false
	}
	switch c.BaseTypeName {
	case "Numeric":
		if strings.HasSuffix(c.TypeName, "int") {
			_, err := strconv.ParseInt(value, 10, 64)
			return err == nil
		}
		_, err := strconv.ParseFloat(value, 64)
		return err == nil
	case "Date":
		return isoTime(value)
	}
	return true
}

// isoTime reports whether s is a date and time as Appendix E of the guide
// writes them, with any number of fractional digits; the zone may be missing.
func isoTime(s string) bool {
	if len(s) < 19 || s[13] != ':' || strings.Contains(s, ",") {
		return false // package time would take 9:05 and a decimal comma
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05"} {
		if _, err := time.Parse(layout, s); err == nil {
			return true
		}
	}
	return false
}

// sortItems divides the items of a request into what the tenant knows, the keys it does not
// know (ignored without a word), and the first key whose value does not fit.
func (c *CallMiner) sortItems(items []item) (known map[string]string, ignored []string, misfit string) {
	known = map[string]string{}
	for _, it := range items {
		col, ok := c.columns[it.Key]
		if !ok {
			ignored = append(ignored, it.Key)
			continue
		}
		known[it.Key] = it.Value
		if misfit == "" && !col.fits(it.Value) {
			misfit = it.Key
		}
	}
	return known, ignored, misfit
}
