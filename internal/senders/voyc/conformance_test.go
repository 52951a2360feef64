package voyc_test

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"time"

	"ingestd/internal/call"
	"ingestd/internal/senders"
	"ingestd/internal/senders/sendertest"
	"ingestd/internal/senders/voyc"
)

func TestConformance(t *testing.T) {
	for _, form := range []bool{true, false} {
		t.Run(map[bool]string{true: "POST", false: "PUT"}[form], func(t *testing.T) {
			sendertest.Run(t, func(t *testing.T) sendertest.Harness { return harness(form) })
		})
	}
}

func secret(t *testing.T, text string) senders.Secret {
	t.Helper()
	var s senders.Secret
	if err := s.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return s
}

func config(t *testing.T, base string) voyc.Config {
	c := voyc.DefaultConfig()
	c.Name, c.Type = "voyc", "voyc"
	c.BaseURL, c.OrganisationID, c.ChannelID = base, "4711", "12"
	c.Token = secret(t, "plain:"+sendertest.Secret)
	c.Rate = senders.Rate{Unlimited: true}
	return c
}

func item() call.Item {
	return call.Item{
		Call: call.Record{
			CallID: "c1", AgentName: sendertest.AgentName, Direction: call.Inbound, TimeZone: "+02:00",
			StartedAt: time.Date(2025, 11, 20, 22, 15, 2, 0, time.UTC), CustomerPhone: sendertest.Phone,
		},
		Audio:    call.Audio{Container: "wav", Codec: "pcm_s16le", DurationSeconds: 30, Ext: "wav"},
		File:     call.File{Path: "a/x.wav", Name: "x.wav", Bytes: 482316},
		Delivery: call.DeliveryOf("abcdefghijklmnopqrstuvwxyz"),
	}
}

func sender(t *testing.T, c voyc.Config, d senders.Deps) *voyc.Client {
	t.Helper()
	s, err := voyc.New(c, d)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func harness(form bool) sendertest.Harness {
	var base string
	answer := func(n int) string { return putAnswer(base, n, time.Hour) }
	success := http.StatusOK
	if form {
		answer = func(n int) string { return postAnswer(base, n, time.Hour) }
		success = http.StatusNoContent
	}
	return sendertest.Harness{
		Item: item(),
		New: func(t *testing.T, e sendertest.Env) senders.Sender {
			base = e.Base
			return sender(t, config(t, e.Base), senders.Deps{
				Fields: func(i call.Item) (map[string]string, error) {
					return map[string]string{"phone": i.Call.CustomerPhone, "note": "a < b & c > d 😀"}, nil
				},
				Log: e.Log, Now: e.Now, Dial: e.Dial,
			})
		},
		Steps: []sendertest.Step{
			{
				Name: "upload_data", Phase: sendertest.Declare,
				Match: func(r *http.Request) bool {
					return r.Method == "POST" && r.URL.Path == "/api/v2/workspace/4711/conversation/upload_data/"
				},
				OK: func(_ sendertest.Request, n int) sendertest.Reply { return sendertest.JSON(201, answer(n)) },
				// No answer may have had an effect, and nobody can be asked; a
				// success that is not understood had one.
				Status: map[int]senders.Class{
					0: senders.InDoubt, 408: senders.InDoubt, 425: senders.InDoubt, 499: senders.InDoubt,
					500: senders.InDoubt, 502: senders.InDoubt, 503: senders.InDoubt, 504: senders.InDoubt,
					200: senders.Held,
				},
				Foreign: hostile(func() string { return base }),
			},
			{
				Name: "upload", Phase: sendertest.Upload,
				Match: func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/s3/") },
				OK: func(r sendertest.Request, _ int) sendertest.Reply {
					return sendertest.Reply{Status: success, Header: map[string]string{"ETag": `"` + tag(r) + `"`}}
				},
				// Object storage: no credential to renew, no id to be unknown.
				Status: map[int]senders.Class{
					401: senders.Held, 403: senders.Held, 404: senders.Held, 409: senders.Refused,
				},
				Foreign: map[string]func(sendertest.Request) sendertest.Reply{
					"other bytes": func(sendertest.Request) sendertest.Reply {
						return sendertest.Reply{Status: success, Header: map[string]string{"ETag": `"` + strings.Repeat("0a", 16) + `"`}}
					},
					"hostile tag": func(sendertest.Request) sendertest.Reply {
						return sendertest.Reply{Status: success, Header: map[string]string{"ETag": "../<" + sendertest.Phone + ">"}}
					},
				},
				Unproven: map[string]func(sendertest.Request) sendertest.Reply{
					"no tag":       func(sendertest.Request) sendertest.Reply { return sendertest.Reply{Status: success} },
					"other status": func(sendertest.Request) sendertest.Reply { return sendertest.Reply{Status: 202} },
				},
			},
		},
	}
}

// tag is the MD5 of the recording in an upload.
func tag(r sendertest.Request) string {
	b := r.Body
	if kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err == nil && kind == "multipart/form-data" {
		for m := multipart.NewReader(bytes.NewReader(b), params["boundary"]); ; {
			p, err := m.NextPart()
			if err != nil {
				break
			}
			if p.FormName() == "file" {
				b, _ = io.ReadAll(p)
			}
		}
	}
	sum := md5.Sum(b)
	return hex.EncodeToString(sum[:])
}

func policy(end time.Time) string {
	return base64.StdEncoding.EncodeToString([]byte(`{"expiration":"` + end.UTC().Format("2006-01-02T15:04:05Z") + `","conditions":[]}`))
}

func postAnswer(base string, n int, life time.Duration) string {
	return fmt.Sprintf(`{"id":%d,"url":"https://app.example/c/%d","data":{"url":"%s/s3/bucket","fields":{"x-z-last":"1","key":"calls/%d-%s","AWSAccessKeyId":"AK","policy":"%s","X-Amz-Signature":"%s"}}}`,
		n, n, base, n, sendertest.Target, policy(time.Now().Add(life)), sendertest.Target)
}

func putURL(base string, n int, begin time.Time, life time.Duration) string {
	return fmt.Sprintf("%s/s3/bucket/calls/%d%%2Fx+y.wav?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=%s&X-Amz-Expires=%d&X-Amz-SignedHeaders=host&X-Amz-Signature=%s",
		base, n, begin.UTC().Format("20060102T150405Z"), int(life.Seconds()), sendertest.Target)
}

func putAnswer(base string, n int, life time.Duration) string {
	b, _ := json.Marshal(map[string]any{"conversation_id": fmt.Sprint("conv-", n), "upload_url": putURL(base, n, time.Now(), life)})
	return string(b)
}

// hostile are success answers that must not be followed.
func hostile(base func() string) map[string]func(sendertest.Request) sendertest.Reply {
	out := map[string]func(sendertest.Request) sendertest.Reply{}
	add := func(name string, body func() string) {
		out[name] = func(sendertest.Request) sendertest.Reply { return sendertest.JSON(200, body()) }
	}
	change := func(name string, answer func(string, int, time.Duration) string, from, to string) {
		add(name, func() string { return strings.ReplaceAll(answer(base(), 1, time.Hour), from, to) })
	}
	change("form: user in the URL", postAnswer, "://", "://user:pass@")
	change("form: ftp", postAnswer, `"http`, `"ftp`)
	change("form: line break in a name", postAnswer, "x-z-last", `x\r\nz`)
	change("form: a file of its own", postAnswer, "x-z-last", "file")
	change("form: wants a redirect", postAnswer, "x-z-last", "success_action_redirect")
	change("form: a field that is a list", postAnswer, `"x-z-last":"1"`, `"x-z-last":["1"]`)
	change("form: no policy", postAnswer, `"policy"`, `"polite"`)
	change("form: a key twice", postAnswer, "x-z-last", "key")
	change("form: two of them", postAnswer, `"data"`, `"other":{"url":"http://h/","fields":{"key":"k","policy":"`+policy(time.Now())+`"}},"data"`)
	change("url: not signed", putAnswer, "X-Amz-Signature", "X-Amz-Nothing")
	change("url: no end", putAnswer, "X-Amz-Expires", "X-Amz-Nothing")
	change("url: another method", putAnswer, `"conversation_id"`, `"method":"GET","conversation_id"`)
	change("url: a header that is not known", putAnswer, "SignedHeaders=host", "SignedHeaders=content-type%3Bhost")
	change("url: a credential header", putAnswer, `"conversation_id"`, `"headers":{"Authorization":"x"},"conversation_id"`)
	change("url: a line break", putAnswer, `/s3/bucket`, `/s3/bu\r\ncket`)
	add("ends too soon", func() string { return putAnswer(base(), 1, 59*time.Second) })
	add("has ended", func() string { return postAnswer(base(), 1, -time.Hour) })
	add("credentials", func() string {
		return `{"AccessKeyId":"AK","SecretAccessKey":"` + sendertest.Secret + `","SessionToken":"x","bucket":"b"}`
	})
	add("values as keys", func() string { return `{"` + sendertest.Phone + `":{"` + sendertest.AgentName + `":1}}` })
	add("deep", func() string { return strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000) })
	add("wide", func() string { return "[" + strings.Repeat("1,", 9000) + "1]" })
	add("two values", func() string { return `{} {}` })
	return out
}
