package callminer_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"ingestd/internal/call"
	"ingestd/internal/senders"
	"ingestd/internal/senders/callminer"
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

func config(t *testing.T, base string) callminer.Config {
	c := callminer.DefaultConfig()
	c.Name, c.Type = "callminer", "callminer"
	c.BaseURL, c.TokenURL = base+"/ingestion", base+"/idp/connect/token"
	c.ClientID, c.ClientSecret = "acme", secret(t, "plain:"+sendertest.Secret)
	c.SourceID = "AcmeRecorder"
	c.Rate = senders.Rate{Unlimited: true}
	return c
}

func item() call.Item {
	return call.Item{
		Call: call.Record{
			CallID: "c1", AgentName: sendertest.AgentName, Direction: call.Inbound, TimeZone: "+02:00",
			StartedAt: time.Date(2025, 11, 20, 7, 15, 2, 0, time.UTC), CustomerPhone: sendertest.Phone,
		},
		Audio:    call.Audio{Container: "wav", Codec: "pcm_s16le", DurationSeconds: 30},
		File:     call.File{Path: "a/x.wav", Name: "x.wav", Bytes: 482316},
		Delivery: call.DeliveryOf("abcdefghijklmnopqrstuvwxyz"),
	}
}

func harness(t *testing.T) sendertest.Harness {
	return sendertest.Harness{
		Item: item(),
		New: func(t *testing.T, e sendertest.Env) senders.Sender {
			c := config(t, e.Base)
			c.KeepAlive = e.KeepAlive
			s, err := callminer.New(c, senders.Deps{
				Fields: func(i call.Item) (map[string]string, error) {
					return map[string]string{"ANI": i.Call.CustomerPhone, "Note": "a < b & c > d 😀"}, nil
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
				Name: "token", Phase: sendertest.Token,
				Match: func(r *http.Request) bool { return r.Method == "POST" && r.URL.Path == "/idp/connect/token" },
				OK: func(r sendertest.Request, n int) sendertest.Reply {
					return sendertest.JSON(200, fmt.Sprintf(`{"access_token":"%s%d","expires_in":3600,"token_type":"Bearer"}`, sendertest.TokenPrefix, n))
				},
			},
			{
				Name: "session", Phase: sendertest.Declare,
				Match:   func(r *http.Request) bool { return r.URL.Path == "/ingestion/api/session/metadatamedia" },
				OK:      func(r sendertest.Request, n int) sendertest.Reply { return opened(correlation(r), fmt.Sprint(1000+n)) },
				Foreign: foreignSessions(),
			},
			{
				Name: "media", Phase: sendertest.Upload,
				Match: func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/ingestion/api/media/") },
				OK: func(r sendertest.Request, n int) sendertest.Reply {
					return stored(201, len(r.Body), len(r.Body), fmt.Sprintf(`"mining-%d"`, n))
				},
				Foreign:  foreignReceipts(),
				Unproven: unprovenReceipts(),
			},
		},
	}
}

func correlation(r sendertest.Request) string {
	var got struct{ CorrelationID string }
	_ = json.Unmarshal(r.Body, &got)
	return got.CorrelationID
}

func opened(correlationID, sessionID string) sendertest.Reply {
	b, _ := json.Marshal(map[string]string{"CorrelationId": correlationID, "SessionId": sessionID})
	return sendertest.JSON(200, string(b))
}

func stored(status, current, total int, miningID string) sendertest.Reply {
	return sendertest.JSON(status, fmt.Sprintf(`{"CurrentMediaLength":%d,"TotalMediaLength":%d,"MiningId":%s}`, current, total, miningID))
}

type replies = map[string]func(sendertest.Request) sendertest.Reply

func foreignSessions() replies {
	out := replies{
		"other contact": func(sendertest.Request) sendertest.Reply { return opened("somebody-else", "1") },
		"no contact":    func(sendertest.Request) sendertest.Reply { return opened("", "1") },
	}
	for _, id := range []string{"", "..", "a/b", "a?b", "a b", "a\r\nX: y", "%2e%2e", "é", strings.Repeat("x", 1000)} {
		out[fmt.Sprintf("session %.20q", id)] = func(r sendertest.Request) sendertest.Reply { return opened(correlation(r), id) }
	}
	return out
}

func foreignReceipts() replies {
	return replies{
		"empty mining id":   func(r sendertest.Request) sendertest.Reply { return stored(201, len(r.Body), len(r.Body), `""`) },
		"hostile mining id": func(r sendertest.Request) sendertest.Reply { return stored(201, len(r.Body), len(r.Body), `"../\r\n"`) },
		"other session": func(r sendertest.Request) sendertest.Reply {
			n := len(r.Body)
			return sendertest.JSON(201, fmt.Sprintf(`{"CurrentMediaLength":%d,"TotalMediaLength":%d,"MiningId":"m","SessionId":"7"}`, n, n))
		},
		"other contact": func(r sendertest.Request) sendertest.Reply {
			n := len(r.Body)
			return sendertest.JSON(201, fmt.Sprintf(`{"CurrentMediaLength":%d,"TotalMediaLength":%d,"MiningId":"m","CorrelationId":"x"}`, n, n))
		},
	}
}

func unprovenReceipts() replies {
	return replies{
		"short":        func(r sendertest.Request) sendertest.Reply { return stored(201, len(r.Body)-1, len(r.Body), `"m"`) },
		"both short":   func(r sendertest.Request) sendertest.Reply { return stored(201, len(r.Body)-1, len(r.Body)-1, `"m"`) },
		"longer":       func(r sendertest.Request) sendertest.Reply { return stored(201, len(r.Body)*2, len(r.Body)*2, `"m"`) },
		"null mining":  func(r sendertest.Request) sendertest.Reply { return stored(201, len(r.Body), len(r.Body), `null`) },
		"200, not 201": func(r sendertest.Request) sendertest.Reply { return stored(200, len(r.Body), len(r.Body), `"m"`) },
		"202":          func(r sendertest.Request) sendertest.Reply { return stored(202, len(r.Body), len(r.Body), `"m"`) },
		"no lengths":   func(sendertest.Request) sendertest.Reply { return sendertest.JSON(201, `{"MiningId":"m"}`) },
	}
}
