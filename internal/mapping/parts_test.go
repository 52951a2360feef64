package mapping_test

import (
	"errors"
	"slices"
	"testing"

	"ingestd/internal/call"
	"ingestd/internal/mapping"
)

func TestParts(t *testing.T) {
	many := make([]any, mapping.MaxParts+1)
	for i := range many {
		many[i] = "x"
	}
	for name, test := range map[string]struct {
		expr string
		doc  map[string]any
		want []string
		code string
	}{
		"a list of objects": {"map(list(doc.stream), .label)", map[string]any{"stream": []any{map[string]any{"label": "1"}, map[string]any{"label": "2"}}}, []string{"1", "2"}, ""},
		"one object":        {"map(list(doc.stream), .label)", map[string]any{"stream": map[string]any{"label": "1"}}, []string{"1"}, ""},
		"none":              {"map(list(doc.stream), .label)", map[string]any{}, nil, ""},
		"one text":          {"doc.name", map[string]any{"name": "a.wav"}, []string{"a.wav"}, ""},
		"each once":         {"doc.names", map[string]any{"names": []any{"b", "a", "b", ""}}, []string{"b", "a"}, ""},
		"a path":            {"doc.names", map[string]any{"names": []any{"x/b"}}, nil, mapping.CodeValue},
		"a folder":          {"doc.names", map[string]any{"names": []any{".."}}, nil, mapping.CodeValue},
		"too many":          {"doc.names", map[string]any{"names": many}, nil, mapping.CodeValue},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := mapping.CompileSource(mapping.SourceConfig{Sidecars: []mapping.SidecarExprs{{Name: "doc"}}, Parts: test.expr})
			if err != nil {
				t.Fatal(err)
			}
			got, err := s.Parts(mapping.Env{Docs: map[string]map[string]any{"doc": test.doc}})
			var fe *mapping.FieldError
			if errors.As(err, &fe); (fe != nil) != (test.code != "") || fe != nil && fe.Code != test.code {
				t.Fatalf("%v", err)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

// The speaker of a mono leg is alone on its channel; of a stereo file a leg
// says nothing.
func TestChannelOfLeg(t *testing.T) {
	s, err := mapping.CompileSource(mapping.SourceConfig{TimeZone: "UTC", Call: map[string]string{
		"started_at": `time("2026-11-02T14:05:06Z")`, "direction": `"inbound"`, "leg": "file.stem"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		leg             string
		channels        int
		agent, customer bool
	}{{"agent", 1, true, false}, {"customer", 1, false, true}, {"agent", 2, false, false}} {
		r, err := s.Call(mapping.Env{File: call.File{Stem: test.leg}, Audio: call.Audio{Channels: test.channels}})
		if err != nil {
			t.Fatal(err)
		}
		if (r.AgentChannel != nil) != test.agent || (r.CustomerChannel != nil) != test.customer {
			t.Errorf("%+v: %v, %v", test, r.AgentChannel, r.CustomerChannel)
		}
	}
}
