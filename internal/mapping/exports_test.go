package mapping_test

import (
	"encoding/json"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ingestd/internal/call"
	"ingestd/internal/mapping"
)

// export is one recorder's configuration with recordings of its example tree.
type export struct {
	name   string
	config mapping.SourceConfig
	cases  []exportCase
}

type exportCase struct {
	file  call.File
	audio call.Audio
	docs  map[string]string // sidecar -> document as JSON
	want  string            // the fields of EXPECTED.json
}

// asExpected writes a record under the names of EXPECTED.json. The segment is
// left to the case: some exports know it only by order.
func asExpected(r call.Record, a call.Audio) map[string]any {
	text := func(s string) any {
		if s == "" {
			return nil
		}
		return s
	}
	at := func(t time.Time) any {
		switch {
		case t.IsZero():
			return nil
		case t.Nanosecond() == 0:
			return t.Format("2006-01-02T15:04:05Z")
		}
		return t.Format("2006-01-02T15:04:05.000Z")
	}
	out := map[string]any{
		"call_id": text(r.CallID), "recording_id": text(r.RecordingID), "leg": text(r.Leg),
		"agent":     map[string]any{"id": text(r.AgentID), "name": text(r.AgentName), "extension": text(r.AgentExtension), "email": text(r.AgentEmail)},
		"direction": text(r.Direction), "start_time_utc": at(r.StartedAt), "call_start_time_utc": at(r.CallStartedAt), "metadata_duration_seconds": nil,
		"customer_phone": text(r.CustomerPhone), "customer_phone_e164": text(r.CustomerPhoneE164), "dialed_number": text(r.DNIS), "queue": text(r.Queue),
		"channels": float64(a.Channels), "channel_map": nil,
	}
	if r.MetadataDurationSeconds != nil {
		out["metadata_duration_seconds"] = *r.MetadataDurationSeconds
	}
	channels := map[string]any{}
	for who, n := range map[string]*int{"agent": r.AgentChannel, "customer": r.CustomerChannel} {
		if n != nil {
			channels[strconv.Itoa(*n)] = who
		}
	}
	if len(channels) > 0 {
		out["channel_map"] = channels
	}
	if r.SegmentIndex > 0 {
		out["segment_index"] = float64(r.SegmentIndex)
	}
	return out
}

func TestExports(t *testing.T) {
	for _, ex := range append([]export{perCallCSV(), genesysCloud()}, laterExports()...) {
		t.Run(ex.name, func(t *testing.T) {
			s := compileSource(t, ex.config)
			for _, c := range ex.cases {
				names, err := s.Names(c.file.Path)
				if err != nil {
					t.Fatal(err)
				}
				env := mapping.Env{Names: names, File: c.file, Audio: c.audio, Docs: map[string]map[string]any{}}
				for name, text := range c.docs {
					env.Docs[name] = parseDoc(t, text)
				}
				r, err := s.Call(env)
				if err != nil {
					t.Fatalf("%s: %v", c.file.Path, err)
				}
				var want map[string]any
				if err := json.Unmarshal([]byte(c.want), &want); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, asExpected(r, c.audio)); diff != "" {
					t.Errorf("%s: -want +got:\n%s", c.file.Path, diff)
				}
			}
		})
	}
}

func perCallCSV() export {
	mono := call.Audio{Channels: 1, DurationSeconds: 2.5}
	return export{
		name: "percall_csv",
		config: mapping.SourceConfig{TimeZone: "America/Chicago", Region: "US", Sidecars: []mapping.SidecarExprs{{Name: "csv"}},
			Call: map[string]string{
				"started_at":                `time(csv.call_date + " " + csv.call_time, "2006-01-02 15-04-05")`,
				"direction":                 `{"IN": "inbound", "OUT": "outbound"}[csv.direction]`,
				"call_id":                   `csv.call_id`,
				"agent_name":                `csv.agent`,
				"queue":                     `csv.campaign`,
				"customer_phone":            `csv.phone`,
				"metadata_duration_seconds": `number(csv.duration)`,
			}},
		cases: []exportCase{{
			file: call.File{Path: "2026/11/02/08/call_123456.wav"}, audio: mono,
			docs: map[string]string{"csv": `{"call_date": "2026-11-02", "call_time": "08-05-06", "agent": "José Núñez", "campaign": "Facilities", "direction": "IN", "phone": "(202) 555-0111", "call_id": "123456", "duration": "2.5"}`},
			want: `{"call_id": "123456", "recording_id": null, "leg": null, "agent": {"id": null, "name": "José Núñez", "extension": null, "email": null},
				"direction": "inbound", "start_time_utc": "2026-11-02T14:05:06Z", "call_start_time_utc": null, "metadata_duration_seconds": 2.5,
				"customer_phone": "(202) 555-0111", "customer_phone_e164": "+12025550111", "dialed_number": null, "queue": "Facilities", "channels": 1, "channel_map": null}`,
		}, {
			file: call.File{Path: "2026/11/02/08/call_123457.amr"}, audio: mono,
			docs: map[string]string{"csv": `{"call_date": "2026-11-02", "call_time": "08-22-00", "agent": "Erin “Bee” O’Dell", "campaign": "Field", "direction": "OUT", "phone": "202.555.0112", "call_id": "123457", "duration": "2.1"}`},
			want: `{"call_id": "123457", "recording_id": null, "leg": null, "agent": {"id": null, "name": "Erin “Bee” O’Dell", "extension": null, "email": null},
				"direction": "outbound", "start_time_utc": "2026-11-02T14:22:00Z", "call_start_time_utc": null, "metadata_duration_seconds": 2.1,
				"customer_phone": "202.555.0112", "customer_phone_e164": "+12025550112", "dialed_number": null, "queue": "Field", "channels": 1, "channel_map": null}`,
		}, {
			file: call.File{Path: "2026/11/02/09/radio_123458.wav"}, audio: mono,
			docs: map[string]string{"csv": `{"call_date": "2026-11-02", "call_time": "09-00-01", "agent": "Sam Lee", "campaign": "Radio", "direction": "IN", "phone": "1-202-555-0113", "call_id": "123458", "duration": "2.0"}`},
			want: `{"call_id": "123458", "recording_id": null, "leg": null, "agent": {"id": null, "name": "Sam Lee", "extension": null, "email": null},
				"direction": "inbound", "start_time_utc": "2026-11-02T15:00:01Z", "call_start_time_utc": null, "metadata_duration_seconds": 2.0,
				"customer_phone": "1-202-555-0113", "customer_phone_e164": "+12025550113", "dialed_number": null, "queue": "Radio", "channels": 1, "channel_map": null}`,
		}},
	}
}

// TestAmbiguousDate is the recording of percall_csv that must be held: a date
// whose order of day and month nobody stated.
func TestAmbiguousDate(t *testing.T) {
	s := compileSource(t, perCallCSV().config)
	_, err := s.Call(mapping.Env{Docs: map[string]map[string]any{"csv": {"call_date": "02/11/2026", "call_time": "9:45", "agent": "Sam Lee"}}})
	wantFieldError(t, err, "started_at", "bad_time")
}

func genesysCloud() export {
	const folder = "ffb0c7ee-b67b-516b-8ed0-355850ed3b65/year=2026/month=11/day=2/hour=14/conversation_id=0b618ad9-a19f-53d1-9440-77c9212c2c1f/"
	const dana = `{"id": "ff44705a-75e7-5641-8112-2a5955c1524d", "name": "Dana Whitlock", "email": "dana.whitlock@example.com", "extension": "4101"}`
	const omar = `{"id": "044b3843-515d-53a6-afd3-4062ee0f8e62", "name": "Omar Haddad", "email": "omar.haddad@example.com", "extension": "4102"}`
	stereo := call.Audio{Container: "ogg", Codec: "opus", SampleRate: 48000, Channels: 2, DurationSeconds: 4.236, Ext: "ogg"}
	return export{
		name: "genesys_cloud",
		config: mapping.SourceConfig{TimeZone: "UTC", Region: "US", Accept: `sidecar.mediaType == "Call"`,
			Sidecars: []mapping.SidecarExprs{{Name: "sidecar"}, {Name: "users", Key: `row.id`, MediaKey: `sidecar.userIds[0]`}},
			Call: map[string]string{
				"call_id":                   `sidecar.conversationId`,
				"recording_id":              `sidecar.recordingId`,
				"started_at":                `time(sidecar.startTime)`,
				"call_started_at":           `time(sidecar.conversationStartTime)`,
				"ended_at":                  `time(sidecar.endTime)`,
				"metadata_duration_seconds": `sidecar.durationMs / 1000`,
				"direction":                 `sidecar.initialDirection`,
				"agent_id":                  `sidecar.userIds[0]`,
				"agent_name":                `users.name`,
				"agent_email":               `users.email`,
				"agent_extension":           `users.extension`,
				"customer_phone":            `sidecar.initialDirection == "outbound" ? sidecar.dnis : sidecar.ani`,
				"ani":                       `sidecar.ani`,
				"dnis":                      `sidecar.dnis`,
				"agent_channel":             `1`,
			}},
		cases: []exportCase{{
			file: call.File{Path: folder + "63c5c1c6-8378-536a-8691-57d50f4c7224.opus"}, audio: stereo,
			docs: map[string]string{"users": dana, "sidecar": `{"mediaType": "Call", "provider": "Edge", "userIds": ["ff44705a-75e7-5641-8112-2a5955c1524d"],
				"conversationId": "0b618ad9-a19f-53d1-9440-77c9212c2c1f", "recordingId": "63c5c1c6-8378-536a-8691-57d50f4c7224",
				"conversationStartTime": "2026-11-02T14:02:51.204Z", "startTime": "2026-11-02T14:03:17.512Z", "endTime": "2026-11-02T14:03:21.748Z",
				"durationMs": 4236, "initialDirection": "inbound", "ani": "tel:+12025550143", "dnis": "tel:+18005550199",
				"queueIds": ["7dc76f34-4b01-59c6-a38e-6f0fcd62aca3"], "wrapUpCodes": [], "flaggedReason": null, "screenRecording": false}`},
			want: `{"call_id": "0b618ad9-a19f-53d1-9440-77c9212c2c1f", "recording_id": "63c5c1c6-8378-536a-8691-57d50f4c7224", "leg": null,
				"agent": {"id": "ff44705a-75e7-5641-8112-2a5955c1524d", "name": "Dana Whitlock", "extension": "4101", "email": "dana.whitlock@example.com"},
				"direction": "inbound", "start_time_utc": "2026-11-02T14:03:17.512Z", "call_start_time_utc": "2026-11-02T14:02:51.204Z", "metadata_duration_seconds": 4.236,
				"customer_phone": "+12025550143", "customer_phone_e164": "+12025550143", "dialed_number": "+18005550199", "queue": null,
				"channels": 2, "channel_map": {"0": "customer", "1": "agent"}}`,
		}, {
			file: call.File{Path: folder + "c710d47d-52d9-512a-9be9-a82fa1694e91.opus"}, audio: stereo,
			docs: map[string]string{"users": omar, "sidecar": `{"mediaType": "Call", "userIds": ["044b3843-515d-53a6-afd3-4062ee0f8e62"],
				"conversationId": "0b618ad9-a19f-53d1-9440-77c9212c2c1f", "recordingId": "c710d47d-52d9-512a-9be9-a82fa1694e91",
				"conversationStartTime": "2026-11-02T14:02:51.204Z", "startTime": "2026-11-02T14:06:02.090Z", "endTime": "2026-11-02T14:06:05.403Z",
				"durationMs": 3313, "initialDirection": "inbound", "ani": "tel:+12025550143", "dnis": "tel:+18005550199"}`},
			want: `{"call_id": "0b618ad9-a19f-53d1-9440-77c9212c2c1f", "recording_id": "c710d47d-52d9-512a-9be9-a82fa1694e91", "leg": null,
				"agent": {"id": "044b3843-515d-53a6-afd3-4062ee0f8e62", "name": "Omar Haddad", "extension": "4102", "email": "omar.haddad@example.com"},
				"direction": "inbound", "start_time_utc": "2026-11-02T14:06:02.090Z", "call_start_time_utc": "2026-11-02T14:02:51.204Z", "metadata_duration_seconds": 3.313,
				"customer_phone": "+12025550143", "customer_phone_e164": "+12025550143", "dialed_number": "+18005550199", "queue": null,
				"channels": 2, "channel_map": {"0": "customer", "1": "agent"}}`,
		}, {
			file: call.File{Path: "ffb0c7ee-b67b-516b-8ed0-355850ed3b65/year=2026/month=11/day=2/hour=23/conversation_id=8ea8770a-5015-5c83-8bc8-52450b21ad4d/376fcf46-03bb-5e20-a070-91f30c75d891.opus"}, audio: stereo,
			docs: map[string]string{"users": dana, "sidecar": `{"mediaType": "Call", "userIds": ["ff44705a-75e7-5641-8112-2a5955c1524d"],
				"conversationId": "8ea8770a-5015-5c83-8bc8-52450b21ad4d", "recordingId": "376fcf46-03bb-5e20-a070-91f30c75d891",
				"conversationStartTime": "2026-11-02T23:58:40.000Z", "startTime": "2026-11-03T00:00:05.331Z", "endTime": "2026-11-03T00:00:08.438Z",
				"durationMs": 3107, "initialDirection": "outbound", "ani": "tel:+18005550199", "dnis": "tel:+12025550177"}`},
			want: `{"call_id": "8ea8770a-5015-5c83-8bc8-52450b21ad4d", "recording_id": "376fcf46-03bb-5e20-a070-91f30c75d891", "leg": null,
				"agent": {"id": "ff44705a-75e7-5641-8112-2a5955c1524d", "name": "Dana Whitlock", "extension": "4101", "email": "dana.whitlock@example.com"},
				"direction": "outbound", "start_time_utc": "2026-11-03T00:00:05.331Z", "call_start_time_utc": "2026-11-02T23:58:40Z", "metadata_duration_seconds": 3.107,
				"customer_phone": "+12025550177", "customer_phone_e164": "+12025550177", "dialed_number": "+12025550177", "queue": null,
				"channels": 2, "channel_map": {"0": "customer", "1": "agent"}}`,
		}},
	}
}

// TestGenesysAccept: the filter keeps screens and chats out, and the user table
// is asked for the first user.
func TestGenesysAccept(t *testing.T) {
	s := compileSource(t, genesysCloud().config)
	for media, want := range map[string]bool{"Call": true, "Screen": false, "Chat": false} {
		env := mapping.Env{Docs: map[string]map[string]any{"sidecar": {"mediaType": media, "userIds": []any{"ff44"}}}}
		if got, err := s.Accept(env); got != want || err != nil {
			t.Errorf("%s: accepted %v, %v", media, got, err)
		}
		if key, err := s.MediaKey("users", env); key != "ff44" || err != nil {
			t.Errorf("%s: key %q, %v", media, key, err)
		}
	}
	if key, err := rowKey(s, "users", map[string]any{"id": "ff44"}); key != "ff44" || err != nil {
		t.Errorf("row key %q, %v", key, err)
	}
}
