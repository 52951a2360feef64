package mapping

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"ingestd/internal/call"
)

// field is one canonical field: how a value gets in, and how it is seen by
// expressions of destinations (nil when absent).
type field struct {
	name   string
	parsed bool // the raw text is kept beside the value
	set    func(*call.Record, any, *Source) error
	get    func(*call.Record) any
}

func textField(name string, at func(*call.Record) *string) field {
	return field{name: name,
		set: func(r *call.Record, v any, _ *Source) (err error) { *at(r), err = textOf(v, maxText); return },
		get: func(r *call.Record) any { return orNil(*at(r)) }}
}

func idField(name string, at func(*call.Record) *string) field {
	f := textField(name, at)
	f.set = func(r *call.Record, v any, _ *Source) (err error) { *at(r), err = idOf(v); return }
	return f
}

// numberField is a phone number as exported: text without URI scheme and host.
func numberField(name string, at func(*call.Record) *string) field {
	f := textField(name, at)
	f.set = func(r *call.Record, v any, _ *Source) error {
		text, err := textOf(v, maxText)
		*at(r) = userPart(text)
		if *at(r) != text {
			keepRaw(r, name, text)
		}
		return err
	}
	return f
}

func enumField(name string, at func(*call.Record) *string, words ...string) field {
	f := textField(name, at)
	f.set = func(r *call.Record, v any, _ *Source) error {
		text, err := textOf(v, maxText)
		if err != nil {
			return err
		}
		if word := strings.ToLower(text); word == "" || slices.Contains(words, word) {
			*at(r) = word
			return nil
		}
		return problemf(CodeValue, "the value %s is none of %s; map it, like {\"In\": \"inbound\"}[...]", shown(text, codeLike), strings.Join(words, ", "))
	}
	return f
}

func timeField(name string, at func(*call.Record) *time.Time) field {
	return field{name: name, parsed: true,
		set: func(r *call.Record, v any, s *Source) error {
			t, err := s.defaults.time(&trace{}, v)
			if err == nil && t != nil {
				*at(r) = t.(time.Time).UTC()
			}
			return err
		},
		get: func(r *call.Record) any {
			if at(r).IsZero() {
				return nil
			}
			return *at(r)
		}}
}

func countField(name string, at func(*call.Record) *int) field {
	return field{name: name, parsed: true,
		set: func(r *call.Record, v any, _ *Source) (err error) { *at(r), err = integerOf(v, 1); return },
		get: func(r *call.Record) any { return orNil(*at(r)) }}
}

func channelField(name string, at func(*call.Record) **int) field {
	return field{name: name, parsed: true,
		set: func(r *call.Record, v any, _ *Source) error {
			n, err := integerOf(v, 0)
			*at(r) = &n
			return err
		},
		get: func(r *call.Record) any {
			if *at(r) == nil {
				return nil
			}
			return **at(r)
		}}
}

var e164Text = regexp.MustCompile(`^\+[1-9]\d{6,14}$`)

// fields is the canonical record in the order in which it is filled and in
// which mistakes are reported: required ones first.
var fields = []field{
	timeField("started_at", func(r *call.Record) *time.Time { return &r.StartedAt }),
	enumField("direction", func(r *call.Record) *string { return &r.Direction },
		call.Inbound, call.Outbound, call.Internal, call.DirectionUnknown),
	idField("call_id", func(r *call.Record) *string { return &r.CallID }),
	idField("recording_id", func(r *call.Record) *string { return &r.RecordingID }),
	countField("segment_index", func(r *call.Record) *int { return &r.SegmentIndex }),
	countField("segment_count", func(r *call.Record) *int { return &r.SegmentCount }),
	enumField("leg", func(r *call.Record) *string { return &r.Leg }, call.LegAgent, call.LegCustomer),
	timeField("call_started_at", func(r *call.Record) *time.Time { return &r.CallStartedAt }),
	timeField("ended_at", func(r *call.Record) *time.Time { return &r.EndedAt }),
	{name: "metadata_duration_seconds", parsed: true,
		set: func(r *call.Record, v any, _ *Source) error {
			f, err := numberOf(v)
			if err == nil && f < 0 {
				err = problemf(CodeNumber, "the duration is negative")
			}
			r.MetadataDurationSeconds = &f
			return err
		},
		get: func(r *call.Record) any {
			if r.MetadataDurationSeconds == nil {
				return nil
			}
			return *r.MetadataDurationSeconds
		}},
	{name: "time_zone",
		set: func(r *call.Record, v any, _ *Source) error {
			text, err := textOf(v, maxText)
			if err != nil || text == "" {
				return err
			}
			zone, err := loadZone(text)
			if err == nil {
				r.TimeZone = zone.String()
			}
			return err
		},
		get: func(r *call.Record) any { return orNil(r.TimeZone) }},
	textField("agent_id", func(r *call.Record) *string { return &r.AgentID }),
	textField("agent_name", func(r *call.Record) *string { return &r.AgentName }),
	textField("agent_first_name", func(r *call.Record) *string { return &r.AgentFirstName }),
	textField("agent_last_name", func(r *call.Record) *string { return &r.AgentLastName }),
	textField("agent_extension", func(r *call.Record) *string { return &r.AgentExtension }),
	textField("agent_email", func(r *call.Record) *string { return &r.AgentEmail }),
	textField("agent_team", func(r *call.Record) *string { return &r.AgentTeam }),
	numberField("customer_phone", func(r *call.Record) *string { return &r.CustomerPhone }),
	{name: "customer_phone_e164",
		set: func(r *call.Record, v any, _ *Source) error {
			text, err := textOf(v, maxText)
			if err == nil && text != "" && !e164Text.MatchString(text) {
				err = problemf(CodeValue, "the value is no E.164 number; use phone(...), or leave the field out: it is derived from customer_phone")
			}
			r.CustomerPhoneE164 = text
			return err
		},
		get: func(r *call.Record) any { return orNil(r.CustomerPhoneE164) }},
	textField("customer_name", func(r *call.Record) *string { return &r.CustomerName }),
	textField("customer_email", func(r *call.Record) *string { return &r.CustomerEmail }),
	textField("customer_id", func(r *call.Record) *string { return &r.CustomerID }),
	numberField("ani", func(r *call.Record) *string { return &r.ANI }),
	numberField("dnis", func(r *call.Record) *string { return &r.DNIS }),
	textField("queue", func(r *call.Record) *string { return &r.Queue }),
	textField("campaign", func(r *call.Record) *string { return &r.Campaign }),
	textField("disposition", func(r *call.Record) *string { return &r.Disposition }),
	textField("language", func(r *call.Record) *string { return &r.Language }),
	channelField("agent_channel", func(r *call.Record) **int { return &r.AgentChannel }),
	channelField("customer_channel", func(r *call.Record) **int { return &r.CustomerChannel }),
}

func fieldNames() []string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	return names
}

func isField(name string) bool {
	return slices.ContainsFunc(fields, func(f field) bool { return f.name == name })
}

// orNil is a value as expressions see it: the zero value is absent.
func orNil[T comparable](v T) any {
	var zero T
	if v == zero {
		return nil
	}
	return v
}

func keepRaw(r *call.Record, name, text string) {
	if r.Raw == nil {
		r.Raw = map[string]string{}
	}
	r.Raw[name] = text
}

// customOf is the value of a custom field: text, number, boolean or time; nil
// when absent.
func customOf(v any) (any, error) {
	switch v := v.(type) {
	case nil, bool:
		return v, nil
	case time.Time:
		return v.UTC(), nil
	case string:
		if len(v) > maxValue {
			return nil, problemf(CodeValue, "the text has %d bytes, more than the %d that are allowed", len(v), maxValue)
		}
		if strings.TrimSpace(v) == "" {
			return nil, nil
		}
		return strings.ToValidUTF8(v, "\uFFFD"), nil
	}
	if isNumber(v) {
		if _, err := numberOf(v); err != nil {
			return nil, err
		}
		return v, nil
	}
	if d, ok := v.(time.Duration); ok {
		return d.Seconds(), nil
	}
	return nil, problemf(CodeValue, "the value is a list or an object; take one element, or join() a list")
}

// derive fills what follows from other fields and from the measured audio.
func derive(r *call.Record, a call.Audio, d defaults) error {
	if r.EndedAt.IsZero() && a.DurationSeconds > 0 {
		r.EndedAt = r.StartedAt.Add(time.Duration(a.DurationSeconds * float64(time.Second)).Round(time.Millisecond))
	}
	if r.TimeZone == "" && d.zone != nil {
		r.TimeZone = d.zone.String()
	}
	if r.CustomerPhoneE164 == "" {
		r.CustomerPhoneE164 = e164(r.CustomerPhone, d.region)
	}
	if r.AgentFirstName == "" && r.AgentLastName == "" {
		r.AgentFirstName, r.AgentLastName = splitName(r.AgentName)
	}
	return deriveChannels(r, a.Channels)
}

// deriveChannels lets the measured number of channels overrule the stated
// ones: in a mono mix nobody has a channel, in a stereo file who is not the
// agent is the customer.
func deriveChannels(r *call.Record, channels int) error {
	if channels == 1 { // one leg: its speaker is alone on the only channel
		var first int
		switch {
		case r.Leg == call.LegAgent && r.AgentChannel == nil:
			r.AgentChannel = &first
		case r.Leg == call.LegCustomer && r.CustomerChannel == nil:
			r.CustomerChannel = &first
		}
	}
	for _, at := range []**int{&r.AgentChannel, &r.CustomerChannel} {
		if *at != nil && channels > 0 && **at >= channels {
			*at = nil
		}
	}
	if r.AgentChannel == nil || channels != 2 && r.CustomerChannel == nil {
		return nil
	}
	if r.CustomerChannel == nil {
		other := 1 - *r.AgentChannel
		r.CustomerChannel = &other
	}
	if *r.AgentChannel == *r.CustomerChannel {
		return fieldError("customer_channel", problemf(CodeValue, "agent and customer are on the same channel"))
	}
	return nil
}

// splitName follows the rule of the canonical record: "Last, First" at the
// comma, otherwise the last word is the last name. One word is a first name.
func splitName(name string) (first, last string) {
	if last, first, ok := strings.Cut(name, ","); ok {
		return strings.TrimSpace(first), strings.TrimSpace(last)
	}
	words := strings.Fields(name)
	if len(words) < 2 {
		return strings.TrimSpace(name), ""
	}
	return strings.Join(words[:len(words)-1], " "), words[len(words)-1]
}
