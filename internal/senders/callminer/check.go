package callminer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	"ingestd/internal/call"
	"ingestd/internal/senders"
)

// column is one metadata column of the tenant, from callmetadataconfig.
type column struct {
	ColumnName    string
	MaxCharLength int `json:"Max_Char_Length"`
	BaseTypeName  string
	TypeName      string
}

// Check asks for a token and for the tenant's metadata columns, and compares
// the columns with [destination.fields]. The vendor drops an unknown column
// and fails later on a wrong value, both without an HTTP error, so this is
// the only warning. It blocks nothing. Values that need a call are compared
// when the call is sent, and warned of in the log.
func (c *Client) Check(ctx context.Context) ([]senders.Finding, error) {
	if _, err := c.token.Get(ctx, 0); err != nil {
		findings, err := refusedFinding("credentials", err)
		for i := range findings {
			findings[i].Stop = true
		}
		return findings, err
	}
	findings := []senders.Finding{{OK: true, Text: "credentials: the identity provider gave a token"}}
	answer, err := c.call(ctx, http.MethodGet, c.configURL(), nil, func() error { return nil })
	if err == nil && answer.Status != http.StatusOK {
		err = c.failed(answer)
	}
	if err != nil {
		f, err := refusedFinding("metadata columns", err)
		return append(findings, f...), err
	}
	var list []column
	if answer.BodyErr != nil || json.Unmarshal(answer.Body, &list) != nil {
		return findings, fmt.Errorf("metadata columns: %w", c.failed(answer))
	}
	known := make(map[string]column, len(list))
	for _, col := range list {
		known[col.ColumnName] = col
	}
	c.columns.Store(&known)
	return append(findings, c.compare(known)...), nil
}

// refusedFinding tells a refusal, which is a result, from a check that could
// not be made.
func refusedFinding(what string, err error) ([]senders.Finding, error) {
	var e *senders.Error
	if errors.As(err, &e) && (e.Class == senders.Auth || e.Class == senders.Rejected || e.Class == senders.Held) {
		return []senders.Finding{{Text: what + ": " + e.Error()}}, nil
	}
	return nil, fmt.Errorf("%s: %w", what, err)
}

// compare looks at the configured columns. An item without a call yields the
// values that are constants.
func (c *Client) compare(known map[string]column) []senders.Finding {
	keys := map[string]bool{columnAgent: true}
	for key := range c.config.Fields {
		keys[key] = !isMember(key)
	}
	constants, err := c.deps.Fields(call.Item{})
	if err != nil {
		constants = nil // expressions that need a call
	}
	var findings []senders.Finding
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if !keys[key] {
			continue
		}
		col, ok := known[key]
		if !ok {
			findings = append(findings, senders.Finding{Text: fmt.Sprintf("fields.%s: the tenant has no such column, CallMiner would drop it silently%s", key, near(key, known))})
			continue
		}
		if why := col.refuses(constants[key]); why != "" {
			findings = append(findings, senders.Finding{Text: "fields." + key + ": " + why})
			continue
		}
		findings = append(findings, senders.Finding{OK: true, Text: fmt.Sprintf("fields.%s: a column of type %s", key, col.BaseTypeName)})
	}
	return findings
}

// near names a column that differs in case only.
func near(key string, known map[string]column) string {
	for name := range known {
		if strings.EqualFold(name, key) {
			return fmt.Sprintf("; it has %q", name)
		}
	}
	return ""
}

// refuses says why a value does not fit, without repeating it; "" fits. The
// limit is exclusive and in UTF-16 units: the guide says "fewer than", and the
// columns are nvarchar.
func (col column) refuses(value string) string {
	if value == "" {
		return ""
	}
	units := 0
	for _, r := range value {
		units += max(utf16.RuneLen(r), 1)
	}
	switch {
	case col.MaxCharLength > 0 && units >= col.MaxCharLength:
		return fmt.Sprintf("the value has %d characters, the column takes fewer than %d", units, col.MaxCharLength)
	case col.BaseTypeName == "Numeric" && !col.number(value):
		return fmt.Sprintf("the value is no number of type %s", col.TypeName)
	case col.BaseTypeName == "Date" && !isDate(value):
		return "the value is no ISO 8601 time such as 2025-11-20T09:15:02.000Z"
	}
	return ""
}

func (col column) number(value string) bool {
	if strings.HasSuffix(strings.ToLower(col.TypeName), "int") {
		_, err := strconv.ParseInt(value, 10, 64)
		return err == nil
	}
	// Only digits, sign and point: what ParseFloat also takes (hexadecimal,
	// inf) means nothing to a database.
	_, err := strconv.ParseFloat(value, 64)
	return err == nil && strings.Trim(value, "+-.0123456789") == ""
}

func isDate(value string) bool {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", time.DateOnly} {
		if _, err := time.Parse(layout, value); err == nil {
			return true
		}
	}
	return false
}

// warnColumns logs values that the tenant's columns do not take. Keys only:
// the values are personal data.
func (c *Client) warnColumns(ctx context.Context, items []metadata) {
	known := c.columns.Load()
	if known == nil {
		return
	}
	for _, m := range items {
		if col, ok := (*known)[m.Key]; ok {
			if why := col.refuses(m.Value); why != "" {
				c.deps.Log.WarnContext(ctx, "metadata value does not fit its column", "column", m.Key, "why", why)
			}
		}
	}
}
