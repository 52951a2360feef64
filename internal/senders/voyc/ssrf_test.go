package voyc

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ingestd/internal/call"
	"ingestd/internal/senders"
)

// addresses that an answer may name, and what is wrong with them for a
// destination that allows amazonaws.com and, written in its own way, one
// bucket elsewhere.
var allowed = []string{"amazonaws.com", "Kept.Store.Example.ORG."}

func addresses() map[string]string {
	const long = "https://s3.amazonaws.com/"
	return map[string]string{
		"https://bucket.s3.eu-west-1.amazonaws.com/k?X-Amz-Signature=1": "", "https://s3.amazonaws.com:443/b": "",
		"https://my_bucket.s3.amazonaws.com/": "", "https://S3.AmazonAWS.Com/b": "", "https://amazonaws.com/b": "",
		"https://kept.store.example.org/b": "", "https://a.b.KEPT.store.example.org/b": "",
		long + strings.Repeat("a", maxURL-1-len(long)): "", long + strings.Repeat("a", maxURL-len(long)): "",

		"http://bucket.s3.amazonaws.com/": notPlain, "https://bucket.s3.amazonaws.com:8443/": notPlain, "https://u:p@s3.amazonaws.com/": notPlain,
		"https://127.0.0.1/": notPlain, "http://169.254.169.254/": notPlain, "https://[::1]/": notPlain, "https://2130706433/": notPlain,
		"https://0x7f.1/": notPlain, "https://127.1/": notPlain, "https://localhost/": notPlain, "https://s3.amazonaws.com./": notPlain,
		"https://s3.amazonaws.com.:443/": notPlain, "https://s3.amazonaws.com..": notPlain, "https://.amazonaws.com/": notPlain,
		"https://s3.amazonaws.com@127.0.0.1/": notPlain, "https://s3.amazonaws.com@evil.example/": notPlain, "https://s3.amazonaws.com:22/": notPlain,
		"https://[::ffff:10.0.0.1]/": notPlain, "https://\u04553.amazonaws.com/": notPlain, "https://10.0.0.1/": notPlain,
		"https://\u212aept.store.example.org/": notPlain, "https://s3\u3002amazonaws.com/": notPlain,
		"https://s3.amazonaws.com/#f": notPlain, "https:///x": notPlain, "https:s3.amazonaws.com": notPlain, "file:///etc/passwd": notPlain, "": notPlain,
		long + strings.Repeat("a", maxURL+1-len(long)): notPlain, long + strings.Repeat("a", 100<<10): notPlain, "https://s3.ama%7aonaws.com/": notPlain,
		"https://" + strings.Repeat("a.", 127) + "amazonaws.com/": notPlain,

		"https://evilamazonaws.com/": notListed, "https://s3.amazonaws.com.evil.example/": notListed, "https://amazonaws.com.evil/": notListed,
		"https://amazonaws.co/": notListed, "https://azonaws.com/": notListed, "https://com.example/": notListed, "https://a.com/": notListed,
		"https://store.example.org/": notListed, "https://xkept.store.example.org/": notListed, "https://evil.example/s3.amazonaws.com/": notListed,
		"https://evil.example/?h=.amazonaws.com": notListed, "https://xn--amazonaws-9xd.com/": notListed,
	}
}

func TestAddresses(t *testing.T) {
	for url, want := range addresses() {
		tg := &target{URL: url}
		if got := tg.wrong(false, allowed); got != want {
			t.Errorf("%.60s: %q, want %q", url, got, want)
		}
		if got := tg.wrong(false, []string{"", "com", "."}); got == "" {
			t.Errorf("%.60s: taken where nothing is allowed", url)
		}
	}
	for url, want := range map[string]string{"http://127.0.0.1:1/k": "", "https://x/": "", "ftp://x/": notPlain, "http://u@x/": notPlain} {
		if got := (&target{URL: url}).wrong(true, nil); got != want {
			t.Errorf("in a rehearsal %s: %q, want %q", url, got, want)
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

// inland is a sender that step 1 answers with a signed URL, as if its base_url
// were not on loopback. Whatever the URL's host, connections to it end at a
// listener of this machine.
type inland struct {
	*Client
	journal          journal
	log              bytes.Buffer
	dialled, reached atomic.Int64
	data             []byte
}

func newInland(t *testing.T, url string, hosts []string) *inland {
	t.Helper()
	in := &inland{data: make([]byte, 5000)}
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
				in.reached.Add(1)
			}
			c.Close()
		}
	}()
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"upload_url": url})
	}))
	t.Cleanup(api.Close)
	c := DefaultConfig()
	c.Name, c.BaseURL, c.OrganisationID, c.ChannelID, c.UploadHosts = "voyc", api.URL, "1", "2", hosts
	if err := c.Token.UnmarshalText([]byte("plain:x")); err != nil {
		t.Fatal(err)
	}
	if in.Client, err = New(c, senders.Deps{Log: slog.New(slog.NewTextHandler(&in.log, &slog.HandlerOptions{Level: slog.LevelDebug}))}); err != nil {
		t.Fatal(err)
	}
	in.trusted = false // then New makes exactly this client
	in.storage = senders.NewClient(senders.Options{PublicOnly: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		in.dialled.Add(1)
		return new(net.Dialer).DialContext(ctx, network, inside.Addr().String())
	}})
	return in
}

// held makes an attempt, which must end in ssrf without a word about where.
func (in *inland) held(t *testing.T, ids map[string]string) {
	t.Helper()
	sum := sha256.Sum256(in.data)
	_, err := in.Send(t.Context(), senders.Attempt{
		Item: call.Item{
			Call: call.Record{AgentName: "a", StartedAt: time.Now()}, Delivery: call.DeliveryOf("k"),
			File: call.File{Bytes: int64(len(in.data)), SHA256: hex.EncodeToString(sum[:])},
		},
		IDs:  ids,
		Open: func() (senders.Media, error) { return silent{bytes.NewReader(in.data)}, nil },
	}, &in.journal)
	var e *senders.Error
	if !errors.As(err, &e) || e.Class != senders.Held || e.Code != "ssrf" {
		t.Fatalf("%v after %v", err, in.journal.steps)
	}
	if in.reached.Load() != 0 {
		t.Error("something was written to the inside")
	}
	for _, text := range []string{err.Error(), fmt.Sprintf("%+v %#v", e, e), in.log.String()} {
		if strings.Contains(text, "Signature") || strings.Contains(text, "canary") {
			t.Errorf("tells the address: %s", text)
		}
	}
}

func signed(host string) string {
	return "https://" + host + "/canary?X-Amz-Date=" + time.Now().UTC().Format(amzTime) + "&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=1"
}

// A name with a public look that leads to this machine: the connection is
// refused by the address that was dialled, and nothing is written to it.
func TestNameLeadsHome(t *testing.T) {
	in := newInland(t, signed("storage.canary.example"), []string{"canary.example"})
	in.held(t, nil)
	if in.dialled.Load() == 0 {
		t.Error("refused for another reason than the address that was dialled")
	}
}

// A host that is not on the list is not even looked up, and of the media no
// byte is announced.
func TestHostNotListed(t *testing.T) {
	for _, host := range []string{"storage.canary.example", "canary.example", "evilamazonaws.com", "amazonaws.com.canary.example", "u:p@s3.amazonaws.com", "s3.amazonaws.com:22"} {
		in := newInland(t, signed(host), DefaultConfig().UploadHosts)
		in.held(t, nil)
		if in.dialled.Load() != 0 || !slices.Equal(in.journal.steps, []string{"declaring"}) {
			t.Errorf("%s: dialled %d times, %v", host, in.dialled.Load(), in.journal.steps)
		}
	}
}

// A target that was kept while another list held is looked at again.
func TestKeptTargetNotListed(t *testing.T) {
	in := newInland(t, "", DefaultConfig().UploadHosts)
	kept := target{Method: http.MethodPut, URL: signed("storage.canary.example"), Expires: time.Now().Add(time.Hour)}
	in.held(t, map[string]string{idTarget: kept.store()})
	if in.dialled.Load() != 0 || len(in.journal.steps) != 0 {
		t.Errorf("dialled %d times, %v", in.dialled.Load(), in.journal.steps)
	}
}

func TestUploadHosts(t *testing.T) {
	for host, good := range map[string]bool{
		"amazonaws.com": true, "Bucket.S3.eu-west-1.AmazonAWS.com.": true, "xn--bcher-kva.example": true,
		"": false, "com": false, ".amazonaws.com": false, "*.amazonaws.com": false, "https://s3.amazonaws.com": false, "s3.amazonaws.com:443": false,
		"s3.amazonaws.com/bucket": false, "10.0.0.1": false, "[::1]": false, "b\u00fccher.example": false, "a b.example": false, "s3.amazonaws.com..": false,
	} {
		c := DefaultConfig()
		c.Name, c.BaseURL, c.OrganisationID, c.ChannelID = "voyc", "https://api.app.voyc.ai", "1", "2"
		_ = c.Token.UnmarshalText([]byte("plain:x"))
		c.UploadHosts = []string{"amazonaws.com", host}
		if errs := c.Validate(); (len(errs) == 0) != good {
			t.Errorf("%q: %v", host, errs)
		}
		if c.UploadHosts = nil; len(c.Validate()) != 1 {
			t.Error("an empty list is taken")
		}
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
