package sandbox

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// acxMetadata is the metadata of one upload, as far as the vendor acts on it.
type acxMetadata struct {
	FileName, UploadType, ClientCallID string
	HierarchyID, HierarchyCode         string
	LocaleID                           int
}

// readAcx reads the metadata field, or says which sentence it deserves. Names
// are taken in any case, unknown ones are ignored; a null counts as absent.
func readAcx(text string) (acxMetadata, string) {
	var raw map[string]json.RawMessage
	var m acxMetadata
	if json.Unmarshal([]byte(text), &raw) != nil {
		return m, acxUnparsed
	}
	if len(raw) == 0 {
		return m, acxNoObject
	}
	values := map[string]json.RawMessage{}
	for name, value := range raw {
		if string(value) != "null" {
			values[strings.ToLower(name)] = value
		}
	}
	var direction, date string
	texts := map[string]*string{
		"filename": &m.FileName, "uploadtype": &m.UploadType, "clientcallid": &m.ClientCallID,
		"hierarchyid": &m.HierarchyID, "hierarchycode": &m.HierarchyCode,
		"calldirection": &direction, "interactiondate": &date,
		"name": new(string), "phone": new(string), "email": new(string),
		"agentfirstname": new(string), "agentlastname": new(string), "agentcode": new(string),
	}
	for name, target := range texts {
		if value, ok := values[name]; ok && json.Unmarshal(value, target) != nil {
			return m, acxBadData
		}
	}
	for name, target := range map[string]any{
		"localeid": &m.LocaleID, "applyhierarchytoagent": new(bool),
		"extendedmetadatavalues": new(map[string]string), "extendedmetadata": new([]map[string]any),
	} {
		if value, ok := values[name]; ok && json.Unmarshal(value, target) != nil {
			return m, acxBadData
		}
	}
	switch {
	case m.UploadType != "Audio" && m.UploadType != "Chat":
		return m, acxUnparsed
	case m.FileName == "":
		return m, acxBadName
	case !slices.Contains([]string{"", "Inbound", "Outbound"}, direction), date != "" && !acxDate(date, new(time.Time)):
		return m, acxBadData
	}
	return m, ""
}

// acxDate reads a time in one of the documented forms; without an offset it
// is UTC.
func acxDate(text string, to *time.Time) bool {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			*to = t
			return true
		}
	}
	return false
}
