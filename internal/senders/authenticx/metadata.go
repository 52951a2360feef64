package authenticx

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"ingestd/internal/call"
)

// metadata is the form field of that name (reference page of POST
// /Media/Upload). ExtendedMetadata is deprecated and never sent.
type metadata struct {
	FileName               string
	UploadType             string
	CallDirection          string            `json:",omitempty"`
	Name                   string            `json:",omitempty"`
	Phone                  string            `json:",omitempty"`
	Email                  string            `json:",omitempty"`
	AgentFirstName         string            `json:",omitempty"`
	AgentLastName          string            `json:",omitempty"`
	AgentCode              string            `json:",omitempty"`
	InteractionDate        string            `json:",omitempty"`
	ExtendedMetadataValues map[string]string `json:",omitempty"`
	HierarchyID            string            `json:"HierarchyId,omitempty"`
	HierarchyCode          string            `json:",omitempty"`
	ApplyHierarchyToAgent  bool              `json:",omitempty"`
	LocaleID               int               `json:"LocaleId,omitempty"`
	ClientCallID           string            `json:"ClientCallId,omitempty"`
}

// extended before a name in [destination.fields] says that an extended value
// is meant; needed only for names that metadata has itself.
const extended = "ExtendedMetadataValues."

// The languages that the vendor transcribes, by locale id.
const (
	localeEnglish = 1033
	localeSpanish = 2058
)

// describe fills the metadata: defaults from the call, then what
// [destination.fields] says in their place.
func (c *Client) describe(item call.Item, ext string) (metadata, error) {
	fields, err := c.deps.Fields(item)
	if err != nil {
		return metadata{}, refused("bad_expression", "a field of [destination.fields] could not be computed", err)
	}
	r := item.Call
	m := metadata{
		FileName: item.Delivery.IdemKey + "." + ext, UploadType: "Audio",
		CallDirection: directionOf(r.Direction),
		Name:          r.CustomerName, Phone: first(r.CustomerPhoneE164, r.CustomerPhone), Email: r.CustomerEmail,
		AgentFirstName: r.AgentFirstName, AgentLastName: r.AgentLastName, AgentCode: first(r.AgentID, r.AgentExtension),
		ExtendedMetadataValues: extendedValues(item, fields),
		ClientCallID:           item.Delivery.IdemKey,
	}
	if p := c.config.FileNamePrefix; p != "" {
		m.FileName = p + "/" + m.FileName
	}
	if ext == "zip" || ext == "tar" {
		m.UploadType = "Chat"
	}
	if !r.StartedAt.IsZero() {
		m.InteractionDate = r.StartedAt.UTC().Format("2006-01-02T15:04:05.000Z")
	}
	for name, target := range m.texts() {
		if value, ok := fields[name]; ok {
			*target = value
		}
	}
	if err := m.check(); err != nil {
		return metadata{}, err
	}
	if m.LocaleID, err = localeID(fields, r.Language); err != nil {
		return metadata{}, err
	}
	m.ApplyHierarchyToAgent, err = m.applies(fields)
	return m, err
}

// texts are the members that [destination.fields] replaces word for word.
func (m *metadata) texts() map[string]*string {
	return map[string]*string{
		"CallDirection": &m.CallDirection, "Name": &m.Name, "Phone": &m.Phone, "Email": &m.Email,
		"AgentFirstName": &m.AgentFirstName, "AgentLastName": &m.AgentLastName, "AgentCode": &m.AgentCode,
		"InteractionDate": &m.InteractionDate, "HierarchyId": &m.HierarchyID, "HierarchyCode": &m.HierarchyCode,
		"ClientCallId": &m.ClientCallID,
	}
}

const (
	fieldLocale = "LocaleId"
	fieldApply  = "ApplyHierarchyToAgent"
)

// isMember tells the members of metadata from names of extended values.
func isMember(name string) bool {
	_, text := new(metadata).texts()[name]
	return text || name == fieldLocale || name == fieldApply
}

var guid = regexp.MustCompile(`^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$`)

// check refuses what the vendor would refuse, or could not be asked for.
func (m *metadata) check() error {
	switch {
	case m.CallDirection != "" && m.CallDirection != "Inbound" && m.CallDirection != "Outbound":
		return refused("bad_value", "CallDirection must be Inbound, Outbound or empty", nil)
	case m.InteractionDate != "" && !isDate(m.InteractionDate):
		return refused("bad_time", "InteractionDate must be ISO 8601, as in 2025-11-20T09:15:02.000Z", nil)
	case m.HierarchyID != "" && !guid.MatchString(m.HierarchyID):
		return refused("unknown_hierarchy", "HierarchyId must be a GUID; for a code there is HierarchyCode", nil)
	case strings.ContainsRune(m.ClientCallID, ',') || strings.ContainsFunc(m.ClientCallID, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return refused("bad_value", "ClientCallId must have no comma and no control character, or the vendor cannot be asked for it", nil)
	}
	return nil
}

func isDate(value string) bool {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", time.DateOnly} {
		if _, err := time.Parse(layout, value); err == nil {
			return true
		}
	}
	return false
}

// localeID is what the fields say, else the locale of the call's language;
// 0 is not sent, and means English to the vendor.
func localeID(fields map[string]string, language string) (int, error) {
	if value, ok := fields[fieldLocale]; ok {
		switch id, _ := strconv.Atoi(value); {
		case value == "":
			return 0, nil
		case id == localeEnglish, id == localeSpanish:
			return id, nil
		}
		return 0, refused("unsupported_language", "LocaleId must be 1033 (English) or 2058 (Spanish)", nil)
	}
	primary, _, _ := strings.Cut(language, "-")
	switch strings.ToLower(primary) {
	case "":
		return 0, nil
	case "en":
		return localeEnglish, nil
	case "es":
		return localeSpanish, nil
	}
	return 0, refused("unsupported_language", "AuthenticX takes English and Spanish; call.language is another one (fields.LocaleId decides for all)", nil)
}

// applies reads ApplyHierarchyToAgent, which means nothing without a hierarchy.
func (m *metadata) applies(fields map[string]string) (bool, error) {
	switch fields[fieldApply] {
	case "", "false":
		return false, nil
	case "true":
		return m.HierarchyID != "" || m.HierarchyCode != "", nil
	}
	return false, refused("bad_value", "ApplyHierarchyToAgent must be true or false", nil)
}

// extendedValues are what else is known about the recording, its human name
// included; "" takes a value away.
func extendedValues(item call.Item, fields map[string]string) map[string]string {
	r := item.Call
	values := map[string]string{
		"FileName": item.File.Name, "CallId": r.CallID, "RecordingId": r.RecordingID,
		"Queue": r.Queue, "Campaign": r.Campaign, "Team": r.AgentTeam, "Disposition": r.Disposition,
		"CustomerId": r.CustomerID, "Dnis": r.DNIS, "Language": r.Language,
	}
	if r.SegmentIndex > 0 {
		values["Segment"] = strconv.Itoa(r.SegmentIndex)
	}
	for name, value := range r.Custom {
		values[name] = textOf(value)
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if own, ok := strings.CutPrefix(name, extended); ok {
			values[own] = fields[name]
		} else if !isMember(name) {
			values[name] = fields[name]
		}
	}
	maps.DeleteFunc(values, func(_, value string) bool { return value == "" })
	return values
}

// textOf writes a custom value: the vendor reads extended values as texts.
func textOf(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case time.Time:
		return v.UTC().Format("2006-01-02T15:04:05.999Z")
	}
	return fmt.Sprint(value)
}

func directionOf(direction string) string {
	switch direction {
	case call.Inbound:
		return "Inbound"
	case call.Outbound:
		return "Outbound"
	}
	return ""
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
