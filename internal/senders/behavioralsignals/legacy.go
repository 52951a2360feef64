package behavioralsignals

import (
	"encoding/json"
	"ingestd/internal/call"
	"ingestd/internal/senders"
	"net/url"
	"strconv"
)

// calltimeLayout is that of the vendor's command line; the documentation says
// "datetime".
const calltimeLayout = "01/02/2006 15:04:05"

// legacyFields are the query parameters of the upload: those of the vendor's
// page, and behind them those that only its newer command lines send.
func legacyFields() []string {
	return []string{
		"channels", "calldirection", "agentId", "agentTeam", "campaignId", "customerId", "customerInd",
		fieldName, "ANI", "calltype", "calltime", "timezone", "tag", "meta", "predictionmode", "tasks",
	}
}

// legacyRequest builds POST {base_url}/client/{cid}/process/audio. Everything
// but the file travels in the query.
func (c *client) legacyRequest(item call.Item) (*request, error) {
	r, err := newRequest(item)
	if err != nil {
		return nil, err
	}
	fields, err := c.fields(item)
	if err != nil {
		return nil, err
	}
	values, err := legacyValues(item)
	if err != nil {
		return nil, err
	}
	for key, own := range fields {
		values[key] = own
	}
	if values[fieldName], err = label(fields, item.Delivery.IdemKey); err != nil {
		return nil, err
	}
	if err := legacyRules(values, item.Call.Direction); err != nil {
		return nil, err
	}
	query := url.Values{}
	for key, value := range values {
		if value != "" {
			query.Set(key, value)
		}
	}
	r.url = c.clientURL() + "/process/audio?" + query.Encode()
	return r, nil
}

func (c *client) clientURL() string { return c.base + "/client/" + url.PathEscape(c.config.Client) }

// legacyValues are the defaults.
func legacyValues(item call.Item) (map[string]string, error) {
	r := item.Call
	values := map[string]string{
		// The page asks for the direction without its values; 1 and 2 are the
		// command line's, and that 1 is incoming is likely, not proven.
		"calldirection": map[string]string{call.Inbound: "1", call.Outbound: "2"}[r.Direction],
		"agentId":       first(r.AgentID, r.AgentExtension),
		"agentTeam":     r.AgentTeam,
		"campaignId":    first(r.Campaign, r.Queue),
		"customerId":    r.CustomerID,
		"ANI":           r.ANI,
	}
	if item.Audio.Channels > 0 {
		values["channels"] = strconv.Itoa(item.Audio.Channels)
	}
	if r.StartedAt.IsZero() {
		return values, nil
	}
	zone, err := r.Location()
	if err != nil {
		return nil, rejected("bad_time_zone", "call.time_zone is neither an IANA name nor an offset such as +02:00", err)
	}
	local := r.StartedAt.In(zone)
	values["calltime"] = local.Format(calltimeLayout)
	if _, offset := local.Zone(); offset%3600 == 0 {
		values["timezone"] = strconv.Itoa(offset / 3600)
	}
	return values, nil
}

// legacyRules refuses what the vendor would not take, or not understand.
func legacyRules(values map[string]string, direction string) error {
	switch values["channels"] {
	case "1", "2":
	case "":
		return missing("channels")
	default:
		return rejected("unsupported_channels", "Behavioral Signals takes recordings of one or two channels", nil)
	}
	if values["calldirection"] == "" {
		return &senders.Error{
			Class: senders.Held, Code: "unmapped_direction",
			Text: "the legacy API has no value for a call that is " + first(direction, call.DirectionUnknown) + `; give one in fields.calldirection, then "ingestd retry"`,
		}
	}
	for _, key := range []string{"meta", "tasks"} {
		if v := values[key]; v != "" && !json.Valid([]byte(v)) {
			return rejected("bad_value", key+" must be JSON", nil)
		}
	}
	for _, key := range sortedKeys(values) {
		if !printable(values[key]) {
			return rejected("bad_value", key+" holds a control character", nil)
		}
	}
	return nil
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
