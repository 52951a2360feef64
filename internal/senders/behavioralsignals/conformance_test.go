package behavioralsignals_test

import (
	"bytes"
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
	"ingestd/internal/senders/behavioralsignals"
	"ingestd/internal/senders/sendertest"
)

func TestConformanceV5(t *testing.T) { sendertest.Run(t, v5Harness) }

func TestConformanceLegacy(t *testing.T) { sendertest.Run(t, legacyHarness) }

func secret(t *testing.T, text string) senders.Secret {
	t.Helper()
	var s senders.Secret
	if err := s.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return s
}

func config(t *testing.T, api, base string) behavioralsignals.Config {
	c := behavioralsignals.DefaultConfig()
	c.Name, c.Type = "bsig", "behavioralsignals"
	c.API, c.Client, c.Token = api, "4711", secret(t, "plain:"+sendertest.Secret)
	c.BaseURL = base + map[string]string{"v5": "/v5", "legacy": ""}[api]
	c.Rate = senders.Rate{Unlimited: true}
	return c
}

const key = "abcdefghijklmnopqrstuvwxyz"

func item() call.Item {
	return call.Item{
		Call: call.Record{
			CallID: "c1", AgentID: "a7", AgentName: sendertest.AgentName, Direction: call.Inbound, TimeZone: "+02:00",
			StartedAt: time.Date(2025, 11, 20, 7, 15, 2, 0, time.UTC), CustomerPhone: sendertest.Phone, ANI: sendertest.Phone,
		},
		Audio:    call.Audio{Container: "wav", Codec: "pcm_s16le", DurationSeconds: 30, Channels: 2, Ext: "wav"},
		File:     call.File{Path: "a/x.wav", Name: "x.wav", Bytes: 482316},
		Delivery: call.DeliveryOf(key),
	}
}

func harness(t *testing.T, api string, upload sendertest.Step) sendertest.Harness {
	upload.Name, upload.Phase = "upload", sendertest.Upload
	upload.Status = map[int]senders.Class{404: senders.Auth} // a fixed path: the configuration is wrong
	upload.Refusals = map[string]func(sendertest.Request) sendertest.Reply{
		"the vendor's own 503": func(sendertest.Request) sendertest.Reply {
			return sendertest.JSON(503, `{"code":503,"message":"The service is not available at the moment. Please try again later."}`)
		},
	}
	return sendertest.Harness{
		Item: item(),
		New: func(t *testing.T, e sendertest.Env) senders.Sender {
			s, err := behavioralsignals.New(config(t, api, e.Base), senders.Deps{
				Fields: func(i call.Item) (map[string]string, error) {
					return map[string]string{"tag": i.Call.AgentName + " a < b & c 😀"}, nil
				},
				Now: e.Now, Dial: e.Dial,
			})
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
		Steps: []sendertest.Step{upload},
	}
}

func v5Harness(t *testing.T) sendertest.Harness {
	h := harness(t, "v5", sendertest.Step{
		Match: func(r *http.Request) bool {
			return r.Method == "POST" && r.URL.Path == "/v5/clients/4711/processes/audio"
		},
		OK: func(r sendertest.Request, n int) sendertest.Reply { return process(r, n, `4711`) },
		Foreign: replies{
			"another project":   func(r sendertest.Request) sendertest.Reply { return process(r, 1, `4712`) },
			"no number":         answer(`{"pid":0}`),
			"a negative number": answer(`{"pid":-3}`),
			"a fraction":        answer(`{"pid":1.5}`),
			"a path":            answer(`{"pid":"../1\r\n"}`),
			"another's meta":    answer(`{"pid":7,"meta":"{\"ingestd_key\":\"another\"}"}`),
			"another's name":    answer(`{"pid":7,"meta":"","name":"another"}`),
		},
		Unproven: replies{
			"null":         answer(`{"pid":null}`),
			"only an id":   answer(`{"id":7}`),
			"pid a list":   answer(`{"pid":[7]}`),
			"201, not 200": func(r sendertest.Request) sendertest.Reply { return sendertest.JSON(201, `{"pid":7}`) },
			"202":          func(r sendertest.Request) sendertest.Reply { return sendertest.JSON(202, `{"pid":7}`) },
		},
	})
	h.List = &sendertest.Listing{
		Match: func(r *http.Request) bool { return r.Method == "GET" && r.URL.Path == "/v5/clients/4711/processes" },
		Page:  listPage,
	}
	return h
}

func legacyHarness(t *testing.T) sendertest.Harness {
	return harness(t, "legacy", sendertest.Step{
		Match: func(r *http.Request) bool {
			return r.Method == "POST" && r.URL.Path == "/client/4711/process/audio"
		},
		OK: func(r sendertest.Request, n int) sendertest.Reply {
			q, _ := url.ParseQuery(r.Query)
			return sendertest.JSON(200, fmt.Sprintf(`{"id":%d,"cid":"4711","name":%q,"status":0}`, 5000+n, q.Get("name")))
		},
		Foreign: replies{
			"another project": answer(`{"id":7,"cid":4712}`),
			"no number":       answer(`{"id":0}`),
			"another's name":  answer(`{"pid":7,"name":"another"}`),
			"a path":          answer(`{"pid":"../1\r\n"}`),
		},
		Unproven: replies{
			"null": answer(`{"pid":null,"id":null}`),
			"201":  func(r sendertest.Request) sendertest.Reply { return sendertest.JSON(201, `{"pid":7}`) },
		},
	})
}

type replies = map[string]func(sendertest.Request) sendertest.Reply

func answer(body string) func(sendertest.Request) sendertest.Reply {
	return func(sendertest.Request) sendertest.Reply { return sendertest.JSON(200, body) }
}

// form reads what was uploaded, with a parser that is not the sender's.
func form(r sendertest.Request) map[string]string {
	_, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return nil
	}
	got, err := multipart.NewReader(bytes.NewReader(r.Body), params["boundary"]).ReadForm(1 << 30)
	if err != nil {
		return nil
	}
	out := map[string]string{}
	for name, values := range got.Value {
		out[name] = values[0]
	}
	for name, files := range got.File {
		out[name] = files[0].Filename
	}
	return out
}

func process(r sendertest.Request, n int, cid string) sendertest.Reply {
	f := form(r)
	return sendertest.JSON(200, object(n, cid, f["name"], f["meta"]))
}

func object(n int, cid, name, meta string) string {
	m, _ := json.Marshal(meta)
	return fmt.Sprintf(`{"pid":%d,"cid":%s,"name":%q,"status":0,"statusmsg":"","duration":0,"datetime":"2025-07-29T09:14:18.261564618","meta":%s}`, 5000+n, cid, name, m)
}

// listPage is GET processes over what the vendor holds.
func listPage(r sendertest.Request, held []sendertest.Held, most int) sendertest.Reply {
	q, _ := url.ParseQuery(r.Query)
	page, errPage := strconv.Atoi(q.Get("page"))
	size, errSize := strconv.Atoi(q.Get("pageSize"))
	if errPage != nil || errSize != nil || size < 1 || size > 1000 || q.Get("sort") == "desc" {
		return sendertest.JSON(400, `{"code":400,"message":"bad query"}`)
	}
	if most > 0 {
		size = min(size, most)
	}
	var list []string
	for i := page * size; i < min((page+1)*size, len(held)); i++ {
		h := held[i]
		f := form(h.Upload)
		switch {
		case h.Upload.Step == "" && i%3 == 0: // somebody who leaves meta alone
			f = map[string]string{"name": h.Key}
		case h.Upload.Step == "":
			meta, _ := json.Marshal(map[string]string{"a": "b", "ingestd_key": h.Key})
			f = map[string]string{"name": "job", "meta": string(meta)}
		}
		list = append(list, object(h.N, `"4711"`, f["name"], f["meta"]))
	}
	return sendertest.JSON(200, "["+strings.Join(list, ",")+"]")
}
