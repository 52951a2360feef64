// Package call is the vendor-neutral call record and the three objects that
// stand beside it in expressions: plain types, shared on purpose by every room.
//
// What comes out of sidecars is a [Record]; what a sender consumes is an
// [Item]: the record with the measured [Audio], the [File] and the
// [Delivery] key. N recorders and M vendors so need N + M mappings.
//
// The package promises stable JSON names (operators script against them) and
// deterministic keys. It never does I/O, never parses an export and never
// names a vendor.
package call

import (
	"strings"
	"time"
)

// Direction of a call, seen from the contact centre.
const (
	Inbound          = "inbound"
	Outbound         = "outbound"
	Internal         = "internal"
	DirectionUnknown = "unknown"
)

// Legs of a split recording.
const (
	LegAgent    = "agent"
	LegCustomer = "customer"
)

// Record is one recording's call as every export is mapped to and every vendor
// request is filled from. A zero value means absent: absent fields are left
// out of JSON and of requests, never sent as "" or "null".
type Record struct {
	CallID                  string            `json:"call_id,omitempty"`
	RecordingID             string            `json:"recording_id,omitempty"`  // the recorder's id, not the ledger's
	SegmentIndex            int               `json:"segment_index,omitempty"` // from 1
	SegmentCount            int               `json:"segment_count,omitempty"` // only if the export states it
	Leg                     string            `json:"leg,omitempty"`           // LegAgent, LegCustomer
	StartedAt               time.Time         `json:"started_at,omitzero"`     // UTC, precision of the export
	CallStartedAt           time.Time         `json:"call_started_at,omitzero"`
	EndedAt                 time.Time         `json:"ended_at,omitzero"`
	MetadataDurationSeconds *float64          `json:"metadata_duration_seconds,omitempty"` // as the export states it
	TimeZone                string            `json:"time_zone,omitempty"`                 // IANA name or +hh:mm
	Direction               string            `json:"direction,omitempty"`
	AgentID                 string            `json:"agent_id,omitempty"`
	AgentName               string            `json:"agent_name,omitempty"`
	AgentFirstName          string            `json:"agent_first_name,omitempty"`
	AgentLastName           string            `json:"agent_last_name,omitempty"`
	AgentExtension          string            `json:"agent_extension,omitempty"`
	AgentEmail              string            `json:"agent_email,omitempty"`
	AgentTeam               string            `json:"agent_team,omitempty"`
	CustomerPhone           string            `json:"customer_phone,omitempty"`
	CustomerPhoneE164       string            `json:"customer_phone_e164,omitempty"`
	CustomerName            string            `json:"customer_name,omitempty"`
	CustomerEmail           string            `json:"customer_email,omitempty"`
	CustomerID              string            `json:"customer_id,omitempty"`
	ANI                     string            `json:"ani,omitempty"`
	DNIS                    string            `json:"dnis,omitempty"`
	Queue                   string            `json:"queue,omitempty"`
	Campaign                string            `json:"campaign,omitempty"`
	Disposition             string            `json:"disposition,omitempty"`
	Language                string            `json:"language,omitempty"`         // BCP 47
	AgentChannel            *int              `json:"agent_channel,omitempty"`    // from 0
	CustomerChannel         *int              `json:"customer_channel,omitempty"` // from 0
	Custom                  map[string]any    `json:"custom,omitempty"`           // text, number, boolean, time.Time
	Raw                     map[string]string `json:"raw,omitempty"`              // field -> text as exported, for parsed fields
}

// Location is the zone that TimeZone names; absent is UTC. The error is that
// of a text that is neither an IANA name nor an offset.
func (r Record) Location() (*time.Location, error) {
	if strings.HasPrefix(r.TimeZone, "+") || strings.HasPrefix(r.TimeZone, "-") {
		t, err := time.Parse("-07:00", r.TimeZone)
		if err != nil {
			return nil, err
		}
		_, offset := t.Zone()
		return time.FixedZone("", offset), nil
	}
	return time.LoadLocation(r.TimeZone)
}

// Audio is what the media probe measured. It never comes from an export.
type Audio struct {
	Container       string  `json:"container,omitempty"` // wav, mp3, ogg, m4a, mp4, ...
	Codec           string  `json:"codec,omitempty"`     // pcm_s16le, pcm_mulaw, opus, ...
	SampleRate      int     `json:"sample_rate,omitempty"`
	Channels        int     `json:"channels,omitempty"`
	DurationSeconds float64 `json:"duration_seconds,omitempty"`
	Ext             string  `json:"ext,omitempty"` // the extension that belongs to the container, without dot
	Video           bool    `json:"video,omitempty"`
}

// File is the recording's file as dropped.
type File struct {
	Path       string    `json:"path"` // relative to the source's root, '/' as separator
	Name       string    `json:"name"`
	Stem       string    `json:"stem"`
	Ext        string    `json:"ext"` // without dot, lower case
	Bytes      int64     `json:"bytes"`
	SHA256     string    `json:"sha256,omitempty"` // lower-case hex
	ModifiedAt time.Time `json:"modified_at,omitzero"`
}

// Delivery is the identity of one recording on its way to one destination:
// the same two values for ever, also after a lost ledger.
type Delivery struct {
	IdemKey string `json:"idem_key"` // 26 characters a-z2-7
	UUID    string `json:"uuid"`     // the same key in UUID form
}

// Item is everything a sender may build a request from.
type Item struct {
	Call     Record
	Audio    Audio
	File     File
	Delivery Delivery
}
