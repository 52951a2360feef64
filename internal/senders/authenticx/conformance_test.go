package authenticx_test

import (
	"encoding/json"
	"fmt"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"ingestd/internal/call"
	"ingestd/internal/senders"
	"ingestd/internal/senders/authenticx"
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

func config(t *testing.T, base string) authenticx.Config {
	c := authenticx.DefaultConfig()
	c.Name, c.Type = "authenticx", "authenticx"
	c.BaseURL, c.TokenURL = base, base+"/connect/token"
	c.ClientID, c.ClientSecret = "acme", secret(t, "plain:"+sendertest.Secret)
	return c
}

const key = "abcdefghijklmnopqrstuvwxyz"

func item() call.Item {
	return call.Item{
		Call: call.Record{
			CallID: "c1", RecordingID: "r1", AgentName: sendertest.AgentName, AgentFirstName: "Canary", AgentLastName: "Quill",
			Direction: call.Inbound, StartedAt: time.Date(2025, 11, 20, 7, 15, 2, 0, time.UTC), CustomerPhone: sendertest.Phone,
		},
		Audio:    call.Audio{Container: "wav", Ext: "wav", Codec: "pcm_s16le", DurationSeconds: 30},
		File:     call.File{Path: "a/x.wav", Name: "x.wav", Bytes: 482316},
		Delivery: call.DeliveryOf(key),
	}
}

func harness(t *testing.T) sendertest.Harness {
	i := item()
	return sendertest.Harness{
		Item: i,
		New: func(t *testing.T, e sendertest.Env) senders.Sender {
			return sender(t, config(t, e.Base), senders.Deps{Now: e.Now, Dial: e.Dial})
		},
		Steps: []sendertest.Step{
			{
				Name: "token", Phase: sendertest.Token,
				Match: func(r *http.Request) bool { return r.URL.Path == "/connect/token" },
				OK: func(_ sendertest.Request, n int) sendertest.Reply {
					return sendertest.JSON(200, fmt.Sprintf(`{"access_token":"%s%d","expires_in":3600,"token_type":"Bearer"}`, sendertest.TokenPrefix, n))
				},
			},
			{
				Name: "upload", Phase: sendertest.Upload,
				Match: func(r *http.Request) bool { return r.Method == http.MethodPost && r.URL.Path == "/Media/Upload" },
				OK: func(r sendertest.Request, n int) sendertest.Reply {
					return stored(interactionID(n), "/extmedia/"+nameIn(r)+".acxMedia")
				},
				Status: map[int]senders.Class{
					400: senders.Held, // its text is none that is documented
					404: senders.Auth, // a fixed address: the destination waits
				},
				Foreign: foreignAnswers(), Unproven: unprovenAnswers(),
				Duplicate: func(sendertest.Request) sendertest.Reply {
					return sendertest.Reply{Status: 400, Body: []byte(`"An interaction with this file name already exists."`)}
				},
			},
		},
		List: &sendertest.Listing{
			Match:  func(r *http.Request) bool { return r.Method == http.MethodGet && r.URL.Path == "/Metadata" },
			Page:   listPage,
			Unique: true,
		},
	}
}

// listPage is GET /Metadata at a vendor that does not look at ClientCallId, so
// that the sender has to. A LastId that it no longer holds is refused.
func listPage(r sendertest.Request, held []sendertest.Held, most int) sendertest.Reply {
	q, _ := url.ParseQuery(r.Query)
	size, err := strconv.Atoi(q.Get("PageSize"))
	if err != nil || size < 1 || size > 1000 || q.Get("StartDate") == "" || q.Get("EndDate") == "" || q.Get("ClientCallId") == "" {
		return sendertest.JSON(400, `"Invalid query."`)
	}
	if most > 0 {
		size = min(size, most)
	}
	after := q.Get("LastId") == ""
	page := []map[string]any{}
	for _, h := range held {
		switch id := interactionID(h.N); {
		case !after:
			after = id == q.Get("LastId")
		case len(page) < size:
			name := h.Key + ".wav"
			if h.Upload.Step != "" {
				name = nameIn(h.Upload)
			}
			page = append(page, map[string]any{"id": id, "fileName": name + ".acxMedia", "origFileName": name})
		}
	}
	if !after {
		return sendertest.JSON(400, `"Invalid LastId."`)
	}
	b, _ := json.Marshal(page)
	return sendertest.JSON(200, string(b))
}

func interactionID(n int) string { return fmt.Sprintf("%08d-0000-4000-8000-000000000000", n) }

// nameIn is the FileName of an upload, "" when there is none.
func nameIn(r sendertest.Request) string {
	_, params, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	form, err := multipart.NewReader(strings.NewReader(string(r.Body)), params["boundary"]).ReadForm(1 << 20)
	if err != nil || len(form.Value["metadata"]) != 1 {
		return ""
	}
	var got struct{ FileName string }
	_ = json.Unmarshal([]byte(form.Value["metadata"][0]), &got)
	return got.FileName
}

const anID = "000f78b0-4720-467e-854a-d245549f928d"

func stored(id, name string) sendertest.Reply {
	b, _ := json.Marshal(map[string]any{"Id": id, "FileName": name, "FileSizeKb": 471})
	return sendertest.JSON(200, string(b))
}

type replies = map[string]func(sendertest.Request) sendertest.Reply

func foreignAnswers() replies {
	out := replies{
		"other name":       func(sendertest.Request) sendertest.Reply { return stored(anID, "/extmedia/other.wav.acxMedia") },
		"name inside":      func(r sendertest.Request) sendertest.Reply { return stored(anID, "/extmedia/x"+nameIn(r)) },
		"name as a folder": func(r sendertest.Request) sendertest.Reply { return stored(anID, nameIn(r)+"/other.wav") },
		"empty name":       func(sendertest.Request) sendertest.Reply { return stored(anID, "") },
	}
	for _, id := range []string{"", "..", "a/b", "1", "a\r\nX: y", anID + "0", "00000000-0000-0000-0000-000000000000", strings.Repeat("x", 1000)} {
		out[fmt.Sprintf("id %.20q", id)] = func(r sendertest.Request) sendertest.Reply { return stored(id, nameIn(r)) }
	}
	return out
}

func unprovenAnswers() replies {
	return replies{
		"no id": func(r sendertest.Request) sendertest.Reply {
			return sendertest.JSON(200, `{"FileName":"`+nameIn(r)+`"}`)
		},
		"null id": func(r sendertest.Request) sendertest.Reply {
			return sendertest.JSON(200, `{"Id":null,"FileName":"`+nameIn(r)+`"}`)
		},
		"no name": func(sendertest.Request) sendertest.Reply { return sendertest.JSON(200, `{"Id":"`+anID+`"}`) },
		"id a number": func(r sendertest.Request) sendertest.Reply {
			return sendertest.JSON(200, `{"Id":7,"FileName":"`+nameIn(r)+`"}`)
		},
		"201": func(r sendertest.Request) sendertest.Reply {
			reply := stored(anID, nameIn(r))
			reply.Status = 201
			return reply
		},
	}
}
