package sandbox_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"ingestd/internal/sandbox"

	"github.com/google/go-cmp/cmp"
)

func TestColumns(t *testing.T) {
	l := newLab(t, sandbox.Options{})
	a := l.do("GET", "/ingestion/api/info/callmetadataconfig", map[string]string{"Authorization": "Bearer " + l.token}, nil, 0)
	var items []map[string]any
	if err := json.Unmarshal([]byte(a.body), &items); err != nil || a.status != 200 || len(items) < 5 {
		t.Fatalf("%+v: %v", a, err)
	}
	want := []string{"AttributeOrDimension", "BaseTypeName", "CoachingHierarchy", "ColumnName", "DW_Hierarchy",
		"Description", "DimensionBinRoundTo", "DimensionMax", "DimensionMin", "DisplayCoaching", "DisplayOrder",
		"FormatString", "FriendlyName", "IsAdvanced", "IsCoachAdvanced", "IsIndexed", "Max_Char_Length", "TypeName"}
	indexed := map[any]bool{}
	for _, it := range items {
		var got []string
		for k := range it {
			got = append(got, k)
		}
		slices.Sort(got)
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("fields of %v (-want +got):\n%s", it["ColumnName"], d)
		}
		indexed[it["IsIndexed"]] = true
	}
	if len(indexed) != 2 {
		t.Fatal("the columns must hold indexed and other ones")
	}
}

func TestOpenSessionRules(t *testing.T) {
	l := newLab(t, sandbox.Options{Sources: []string{"recorder-a"}, RatePerMinute: -1})
	good := sessionBody("c-1", 10)
	for name, tc := range map[string]struct {
		body   any
		status int
	}{
		"good":                    {good, 200},
		"same CorrelationId":      {good, 200},
		"unknown key":             {with(good, "Metadata", []object{{"Key": "Nope", "Value": "1"}}), 200},
		"wrongly typed value":     {with(good, "Metadata", []object{{"Key": "HoldCount", "Value": "one"}}), 200},
		"zone missing":            {with(good, "ClientCaptureDate", "2025-11-20T09:15:02"), 200},
		"seven digits":            {with(good, "ClientCaptureDate", "2025-11-20T09:15:02.1234567Z"), 200},
		"empty extras":            {with(with(good, "AdditionalMedia", []int{}), "AudioDecryptionKey", ""), 200},
		"one GiB":                 {with(good, "TotalMediaLength", 1<<30), 200},
		"mp4":                     {with(good, "MediaType", "video/mp4"), 200},
		"above one GiB":           {with(good, "TotalMediaLength", 1<<30+1), 400},
		"no length":               {without(good, "TotalMediaLength"), 400},
		"zero length":             {with(good, "TotalMediaLength", 0), 400},
		"length as text":          {with(good, "TotalMediaLength", "10"), 400},
		"length with a fraction":  {with(good, "TotalMediaLength", 1.5), 400},
		"no type":                 {without(good, "MediaType"), 400},
		"registered mp3 type":     {with(good, "MediaType", "audio/mpeg"), 415},
		"fbs":                     {with(good, "MediaType", "video/fbs"), 415},
		"no date":                 {without(good, "ClientCaptureDate"), 400},
		"date not padded":         {with(good, "ClientCaptureDate", "2019-04-1T14:10:00.000Z"), 400},
		"hour not padded":         {with(good, "ClientCaptureDate", "2019-04-01T4:10:00.000Z"), 400},
		"date alone":              {with(good, "ClientCaptureDate", "2019-04-01"), 400},
		"no source":               {without(good, "SourceId"), 400},
		"source of another field": {with(without(good, "SourceId"), "SourceName", "recorder-a"), 400},
		"other spelling":          {with(without(good, "SourceId"), "sourceId", "recorder-a"), 400},
		"unknown source":          {with(good, "SourceId", "recorder-b"), 400},
		"no metadata":             {without(good, "Metadata"), 400},
		"empty metadata":          {with(good, "Metadata", []object{}), 400},
		"metadata as object":      {with(good, "Metadata", object{"Agent": "A"}), 400},
		"number as value":         {with(good, "Metadata", []object{{"Key": "HoldCount", "Value": 1}}), 400},
		"item without value":      {with(good, "Metadata", []object{{"Key": "Agent"}}), 400},
		"item without key":        {with(good, "Metadata", []object{{"Value": "A"}}), 400},
		"number as CorrelationId": {with(good, "CorrelationId", 17), 400},
		"additional media":        {with(good, "AdditionalMedia", []object{{"MediaType": "video/fbs"}}), 400},
		"array":                   {"[]", 400},
		"null":                    {"null", 400},
		"half":                    {`{"Metadata":`, 400},
		"trailing text":           {`{} {}`, 400},
		"not UTF-8":               {"{\"SourceId\":\"\xff\"}", 400},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(l.c.Sessions())
			if a := l.json("session/metadatamedia", tc.body); a.status != tc.status {
				t.Fatalf("status = %d, want %d (%s)", a.status, tc.status, a.body)
			}
			if opened := len(l.c.Sessions()) > before; opened != (tc.status == 200) {
				t.Fatalf("opened a session: %v", opened)
			}
		})
	}
}

func TestJSONContentType(t *testing.T) {
	l := newLab(t, sandbox.Options{})
	body := `{}`
	for header, want := range map[string]int{
		"application/json":                     400, // read, and found empty
		"application/json; charset=UTF-8":      400,
		"application/json; charset=iso-8859-1": 415,
		"application/json; charset":            415,
		"text/json":                            415,
		"application/x-www-form-urlencoded":    415,
		"":                                     415,
	} {
		a := l.do("POST", "/ingestion/api/session/metadatamedia", map[string]string{
			"Authorization": "Bearer " + l.token, "Content-Type": header}, strings.NewReader(body), int64(len(body)))
		if a.status != want {
			t.Errorf("%q: status %d, want %d", header, a.status, want)
		}
	}
}

func TestMissingCorrelationIDIsInvented(t *testing.T) {
	l := newLab(t, sandbox.Options{})
	ids := map[string]bool{}
	for range 2 {
		a := l.json("session/metadatamedia", without(sessionBody("", 3), "CorrelationId"))
		l.media(a.field(t, "SessionId"), []byte("abc"))
		ids[a.field(t, "CorrelationId")] = true
	}
	if len(ids) != 2 || ids[""] {
		t.Fatalf("ids = %v, want two different ones", ids)
	}
	if got := l.c.Summary().Contacts[sandbox.Published]; got != 2 {
		t.Fatalf("published = %d, want 2: nothing dedupes without a CorrelationId", got)
	}
}

func TestSegments(t *testing.T) {
	l := newLab(t, sandbox.Options{RatePerMinute: -1})
	segment := func(start, end any) object {
		return object{"Start": start, "End": end, "Metadata": []object{{"Key": "Agent", "Value": "A"}}}
	}
	body := func(s ...object) object {
		return with(without(sessionBody("call", 4), "Metadata"), "SegmentData", s)
	}
	for name, tc := range map[string]struct {
		body   object
		status int
	}{
		"whole seconds":    {body(segment(0, 10)), 200},
		"limit":            {body(segment(0.5, 6300.5)), 200},
		"too long":         {body(segment(0, 6300.1)), 400},
		"two decimals":     {body(segment(0, 10.25)), 400},
		"backwards":        {body(segment(10, 10)), 400},
		"start missing":    {body(without(segment(0, 10), "Start")), 400},
		"text":             {body(segment("0", 10)), 400},
		"no metadata":      {body(without(segment(0, 10), "Metadata")), 400},
		"none":             {body(), 400},
		"m4a":              {with(body(segment(0, 10)), "MediaType", "audio/m4a"), 415},
		"mp4":              {with(body(segment(0, 10)), "MediaType", "video/mp4"), 415},
		"length is needed": {without(body(segment(0, 10)), "TotalMediaLength"), 400},
	} {
		t.Run(name, func(t *testing.T) {
			if a := l.json("session/metadatamedia/segments", tc.body); a.status != tc.status {
				t.Fatalf("status = %d, want %d (%s)", a.status, tc.status, a.body)
			}
		})
	}
	a := l.json("session/metadatamedia/segments", body(segment(0, 30.1), segment(30.1, 180.2)))
	if a := l.media(a.field(t, "SessionId"), []byte("1234")); a.status != 201 {
		t.Fatalf("media: %+v", a)
	}
	if d := cmp.Diff([]string{"call_1:published", "call_2:published"}, l.states()); d != "" {
		t.Fatalf("contacts (-want +got):\n%s", d)
	}
	if c := l.c.Contacts()[1]; c.SegmentStart != 30.1 || c.SegmentEnd != 180.2 {
		t.Fatalf("second segment = %v..%v", c.SegmentStart, c.SegmentEnd)
	}
}

func TestUpdateMetadata(t *testing.T) {
	l := newLab(t, sandbox.Options{})
	l.send("c-1", []byte("abc"))
	body := object{"CorrelationId": "c-1", "SourceId": "recorder-a", "Metadata": []object{
		{"Key": "Agent", "Value": "B. Agent"}, {"Key": "Nope", "Value": "1"}, {"Key": "HoldCount", "Value": "two"}}}
	before := l.c.Contacts()
	a := l.json("session/metadata", body)
	if a.status != 200 || a.field(t, "CorrelationId") != "c-1" || a.field(t, "MiningId") == "" {
		t.Fatalf("update: %+v", a)
	}
	got := l.c.Contacts()[0]
	if d := cmp.Diff(map[string]string{"Agent": "B. Agent"}, got.Metadata); d != "" {
		t.Fatalf("metadata (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"Nope", "HoldCount"}, got.Ignored); d != "" {
		t.Fatalf("ignored (-want +got):\n%s", d)
	}
	if before[0].Metadata["Agent"] != "A. Agent" {
		t.Fatal("an update changed a copy that was handed out earlier")
	}
	for name, tc := range map[string]struct {
		body   object
		status int
	}{
		"fixed key, list 1": {with(body, "Metadata", []object{{"Key": "ClientId", "Value": "1"}}), 400},
		"fixed key, list 2": {with(body, "Metadata", []object{{"Key": "MessageTotal", "Value": "1"}}), 400},
		"no id":             {without(body, "CorrelationId"), 400},
		"no source":         {without(body, "SourceId"), 400},
		"no items":          {without(body, "Metadata"), 400},
		"unknown contact":   {with(body, "CorrelationId", "c-2"), 404},
	} {
		if a := l.json("session/metadata", tc.body); a.status != tc.status {
			t.Errorf("%s: status %d, want %d", name, a.status, tc.status)
		}
	}
	lenient := newLab(t, sandbox.Options{Unknowns: sandbox.Unknowns{UpdateWithoutContact: true}})
	if a := lenient.json("session/metadata", body); a.status != 200 || len(lenient.c.Contacts()) != 0 {
		t.Fatalf("update without contact: %+v", a)
	}
}
