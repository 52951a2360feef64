package elevateai_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"ingestd/internal/call"
	"ingestd/internal/senders"
	"ingestd/internal/senders/elevateai"
	"ingestd/internal/senders/sendertest"
)

func TestConformance(t *testing.T) {
	sendertest.Run(t, harness)
}

func secret(t *testing.T, text string) senders.Secret {
	t.Helper()
	var s senders.Secret
	if err := s.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return s
}

func config(t *testing.T, base string) elevateai.Config {
	c := elevateai.DefaultConfig()
	c.Name, c.Type = "elevateai", "elevateai"
	c.BaseURL, c.Token = base+"/v1", secret(t, "plain:"+sendertest.Secret)
	c.Rate = senders.Rate{Unlimited: true}
	return c
}

func item() call.Item {
	return call.Item{
		Call: call.Record{
			CallID: "c1", AgentName: sendertest.AgentName, AgentID: "a7", Direction: call.Inbound, DNIS: "4711",
			StartedAt: time.Date(2025, 11, 20, 7, 15, 2, 0, time.UTC), CustomerPhone: sendertest.Phone,
		},
		Audio:    call.Audio{Container: "wav", Codec: "pcm_s16le", DurationSeconds: 30, Ext: "wav"},
		File:     call.File{Path: "a/" + sendertest.Phone + ".wave", Name: sendertest.Phone + ".wave", Ext: "wave", Bytes: 482316},
		Delivery: call.DeliveryOf("abcdefghijklmnopqrstuvwxyz"),
	}
}

func guid(n int) string { return fmt.Sprintf("7c0e5a4e-3f0b-4a51-8000-%012d", n) }

const declared = `"declared":"2026-01-02T03:04:05.123Z","downloaded":null,"errorMessage":null`

// state is the answer to a status question: times are JSON values.
func state(status, uploaded, processed string) func(sendertest.Request) sendertest.Reply {
	return func(r sendertest.Request) sendertest.Reply {
		id := strings.Split(r.Path, "/")[3]
		return sendertest.JSON(200, fmt.Sprintf(`{"identifier":%q,"status":%q,"uploaded":%s,"processed":%s,%s}`, id, status, uploaded, processed, declared))
	}
}

const (
	never = "null"
	at    = `"2026-01-02T03:04:06.1234567Z"`
)

func harness(t *testing.T) sendertest.Harness {
	return sendertest.Harness{
		Item: item(),
		New: func(t *testing.T, e sendertest.Env) senders.Sender {
			c := config(t, e.Base)
			c.SendMetadata = true
			s, err := elevateai.New(c, senders.Deps{
				Fields: func(i call.Item) (map[string]string, error) {
					return map[string]string{"metadata.custom.texts.text1": i.Call.CustomerPhone, "metadata.category": "a < b & c > d 😀"}, nil
				},
				Log: e.Log, Now: e.Now, Dial: e.Dial,
			})
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
		Steps: []sendertest.Step{
			{
				Name: "declare", Phase: sendertest.Declare,
				Match: func(r *http.Request) bool { return r.Method == "POST" && r.URL.Path == "/v1/interactions" },
				OK:    func(_ sendertest.Request, n int) sendertest.Reply { return declaredAs(201, guid(n)) },
				Foreign: func() replies {
					out := replies{}
					for _, id := range []string{"", "..", "a/b", "a?b", "a b", "a\\r\\nX: y", "%2e%2e", "é", strings.Repeat("x", 1000)} {
						out[fmt.Sprintf("%.20q", id)] = func(sendertest.Request) sendertest.Reply { return declaredAs(201, id) }
					}
					return out
				}(),
				Unproven: replies{
					"a number": func(sendertest.Request) sendertest.Reply { return sendertest.JSON(201, `{"interactionIdentifier":7}`) },
					"202":      func(sendertest.Request) sendertest.Reply { return declaredAs(202, guid(1)) },
				},
			},
			{
				Name: "status", Phase: sendertest.Ask,
				Match: func(r *http.Request) bool { return r.Method == "GET" && strings.HasSuffix(r.URL.Path, "/status") },
				OK: func(r sendertest.Request, _ int) sendertest.Reply {
					return state("fileUploadAwaiting", never, never)(r)
				},
			},
			{
				Name: "upload", Phase: sendertest.Upload, NoBody: true,
				Match:  func(r *http.Request) bool { return r.Method == "POST" && strings.HasSuffix(r.URL.Path, "/upload") },
				OK:     func(sendertest.Request, int) sendertest.Reply { return sendertest.Reply{Status: 201} },
				Status: map[int]senders.Class{409: senders.InDoubt},
				Early:  map[int]senders.Class{409: senders.Refused},
				Foreign: replies{
					"another interaction": func(sendertest.Request) sendertest.Reply { return declaredAs(201, guid(99)) },
				},
				Unproven: replies{
					"202":      func(sendertest.Request) sendertest.Reply { return sendertest.Reply{Status: 202} },
					"an error": func(sendertest.Request) sendertest.Reply { return sendertest.JSON(200, `{"errorMessage":"no"}`) },
				},
			},
		},
		Questions: questions(),
	}
}

type replies = map[string]func(sendertest.Request) sendertest.Reply

func declaredAs(status int, id string) sendertest.Reply {
	return sendertest.JSON(status, `{"interactionIdentifier":"`+id+`"}`)
}

func questions() []sendertest.Question {
	unknown := func(sendertest.Request) sendertest.Reply { return sendertest.JSON(404, `{"errorMessage":"?"}`) }
	other := func(r sendertest.Request) sendertest.Reply {
		return sendertest.JSON(200, `{"identifier":"`+guid(77)+`","status":"processed","uploaded":"x","processed":"x"}`)
	}
	return []sendertest.Question{
		{Name: "uploaded", Reply: state("processing", at, never), Want: senders.Present},
		{Name: "processed", Reply: state("processed", never, at), Want: senders.Present},
		{Name: "processing failed: it landed", Reply: state("processingFailed", never, at), Want: senders.Present},
		{Name: "processing failed without a time", Reply: state("processingFailed", never, never), Want: senders.Present},
		{Name: "upload failed", Reply: state("fileUploadFailed", never, never), Want: senders.Void},
		{Name: "another failure, oddly spelled", Reply: state("SomethingFAILED", never, never), Want: senders.Void},
		{Name: "an unknown word", Reply: state("teleporting", never, never), Want: senders.Absent},
		{Name: "the word says processed, no time does", Reply: state("processed", never, never), Want: senders.Absent},
		{Name: "failed and complete", Reply: state("fileUploadFailed", at, never), Class: senders.Held},
		{Name: "unknown identifier", Reply: unknown, Class: senders.Held},
		{Name: "another interaction", Reply: other, Class: senders.Held},

		{Name: "confirm: processed", Confirm: true, Reply: state("processed", at, at), Want: senders.Present},
		{Name: "confirm: not yet", Confirm: true, Reply: state("processing", at, never), Want: senders.Unknown},
		{Name: "confirm: not even uploaded yet", Confirm: true, Reply: state("declared", never, never), Want: senders.Unknown},
		{Name: "confirm: failed", Confirm: true, Reply: state("processingFailed", at, at), Want: senders.Void},
		{Name: "confirm: forgotten", Confirm: true, Reply: unknown, Class: senders.Held},
		{Name: "confirm: another interaction", Confirm: true, Reply: other, Class: senders.Held},
	}
}
