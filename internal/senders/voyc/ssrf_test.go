package voyc

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ingestd/internal/call"
	"ingestd/internal/senders"
)

func TestAcceptable(t *testing.T) {
	for url, want := range map[string]bool{
		"https://bucket.s3.eu-west-1.amazonaws.com/k?X-Amz-Signature=1": true, "https://s3.amazonaws.com:443/b": true,
		"https://my_bucket.s3.amazonaws.com/": true,

		"http://bucket.s3.amazonaws.com/": false, "https://bucket.s3.amazonaws.com:8443/": false, "https://u:p@s3.amazonaws.com/": false,
		"https://127.0.0.1/": false, "https://169.254.169.254/": false, "https://[::1]/": false, "https://2130706433/": false,
		"https://0x7f.1/": false, "https://127.1/": false, "https://localhost/": false, "https://s3.amazonaws.com./": false,
		"https://s3.amazonaws.com@127.0.0.1/": false, "https://s3.amazonaws.com@evil.example/": false, "https://s3.amazonaws.com:22/": false,
		"https://[::ffff:10.0.0.1]/": false, "https://\u04553.amazonaws.com/": false, "https://10.0.0.1/": false,
		"https://s3.amazonaws.com/#f": false, "https:///x": false, "https:s3.amazonaws.com": false, "file:///etc/passwd": false, "": false,
		"https://s3.amazonaws.com/" + strings.Repeat("a", maxURL): false, "https://s3.ama%7aonaws.com/": false,
	} {
		tg := &target{URL: url}
		if got := tg.acceptable(false); got != want {
			t.Errorf("%.60s: %t, want %t", url, got, want)
		}
	}
}

type silent struct{ *bytes.Reader }

func (silent) Close() error  { return nil }
func (silent) Verify() error { return nil }

type journal struct{ steps []string }

func (j *journal) Declaring() error { j.steps = append(j.steps, "declaring"); return nil }
func (j *journal) Declared(map[string]string) error {
	j.steps = append(j.steps, "declared")
	return nil
}
func (j *journal) Sending(map[string]string) error { j.steps = append(j.steps, "sending"); return nil }
func (j *journal) Committing() error               { j.steps = append(j.steps, "committing"); return nil }

// A name with a public look that leads to this machine: the connection is
// refused by the address that was dialled, and nothing is written to it.
func TestNameLeadsHome(t *testing.T) {
	var reached atomic.Int64
	inside, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { inside.Close() })
	go func() {
		for {
			c, err := inside.Accept()
			if err != nil {
				return
			}
			b := make([]byte, 1)
			if n, _ := c.Read(b); n > 0 {
				reached.Add(1)
			}
			c.Close()
		}
	}()
	at := time.Now().UTC().Format(amzTime)
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"upload_url":"https://storage.example.com/k?X-Amz-Date=%s&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=1"}`, at)
	}))
	t.Cleanup(api.Close)
	c := DefaultConfig()
	c.Name, c.BaseURL, c.OrganisationID, c.ChannelID = "voyc", api.URL, "1", "2"
	if err := c.Token.UnmarshalText([]byte("plain:x")); err != nil {
		t.Fatal(err)
	}
	s, err := New(c, senders.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	// As if base_url were not on loopback: then New makes exactly this client.
	s.trusted = false
	s.storage = senders.NewClient(senders.Options{PublicOnly: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, inside.Addr().String())
	}})
	data := make([]byte, 5000)
	sum := sha256.Sum256(data)
	j := &journal{}
	_, err = s.Send(t.Context(), senders.Attempt{
		Item: call.Item{
			Call: call.Record{AgentName: "a", StartedAt: time.Now()}, Delivery: call.DeliveryOf("k"),
			File: call.File{Bytes: int64(len(data)), SHA256: hex.EncodeToString(sum[:])},
		},
		Open: func() (senders.Media, error) { return silent{bytes.NewReader(data)}, nil },
	}, j)
	var e *senders.Error
	if !errors.As(err, &e) || e.Class != senders.Held || e.Code != "ssrf" {
		t.Fatalf("%v after %v", err, j.steps)
	}
	if reached.Load() != 0 || strings.Contains(err.Error(), "Signature") {
		t.Errorf("%d bytes reached the inside; %v", reached.Load(), err)
	}
}

func TestNewTrustsOnlyRehearsals(t *testing.T) {
	for base, want := range map[string]bool{"https://api.app.voyc.ai": false, "http://127.0.0.1:1": true, "http://localhost:1": true} {
		c := DefaultConfig()
		c.Name, c.BaseURL, c.OrganisationID, c.ChannelID = "voyc", base, "1", "2"
		_ = c.Token.UnmarshalText([]byte("plain:x"))
		s, err := New(c, senders.Deps{})
		if err != nil || s.trusted != want {
			t.Errorf("%s: %v, %v", base, s, err)
		}
	}
}
