package callminer_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"ingestd/internal/call"
	"ingestd/internal/sandbox"
	"ingestd/internal/senders"
	"ingestd/internal/senders/sendertest"
)

type still struct{ *bytes.Reader }

func (still) Close() error  { return nil }
func (still) Verify() error { return nil }

// notes is a journal that takes everything down.
type notes struct{ steps []string }

func (n *notes) Declaring() error                 { n.steps = append(n.steps, "declaring"); return nil }
func (n *notes) Declared(map[string]string) error { n.steps = append(n.steps, "declared"); return nil }
func (n *notes) Sending(map[string]string) error  { n.steps = append(n.steps, "sending"); return nil }
func (n *notes) Committing() error                { n.steps = append(n.steps, "committing"); return nil }

// TestSandbox repeats attempts as the pipeline would, against a fake vendor
// that knows what really arrived: exactly one published contact each time.
func TestSandbox(t *testing.T) {
	data := bytes.Repeat([]byte("ingestd!"), 20_000)
	sum := sha256.Sum256(data)
	for name, c := range map[string]struct {
		faults   []sandbox.Fault
		first    senders.Class // of the first attempt; "" succeeds
		contacts int           // in all, of which one is published
	}{
		"plain":             {nil, "", 1},
		"stored, no answer": {[]sandbox.Fault{{Kind: sandbox.DropStored, Route: sandbox.RouteMedia, First: 1}}, senders.InDoubt, 2},
		"lost, no answer":   {[]sandbox.Fault{{Kind: sandbox.DropLost, Route: sandbox.RouteMedia, First: 1}}, senders.InDoubt, 1},
		"429":               {[]sandbox.Fault{{Kind: sandbox.Early, Route: sandbox.RouteMedia, Status: 429, RetryAfter: "1", First: 1}}, senders.RateLimited, 1},
		"cut":               {[]sandbox.Fault{{Kind: sandbox.ShortLength, Route: sandbox.RouteMedia, First: 1}}, senders.InDoubt, 2},
	} {
		t.Run(name, func(t *testing.T) {
			vendor := sandbox.NewCallMiner(sandbox.Options{
				ClientID: "acme", ClientSecret: sendertest.Secret, Sources: []string{"AcmeRecorder"}, RatePerMinute: -1, Faults: c.faults,
			})
			server := httptest.NewServer(vendor)
			t.Cleanup(server.Close)
			t.Cleanup(vendor.Close)
			cfg := config(t, server.URL)
			cfg.TokenURL = server.URL + "/connect/token"
			s := sender(t, cfg, senders.Deps{})

			i := item()
			i.File.Bytes, i.File.SHA256 = int64(len(data)), hex.EncodeToString(sum[:])
			receipt, err := deliver(t, s, i, data)
			if c.first != "" {
				if e := new(senders.Error); !errors.As(err, &e) || e.Class != c.first {
					t.Fatalf("first attempt: %v, want %s", err, c.first)
				}
				receipt, err = deliver(t, s, i, data)
			}
			if err != nil {
				t.Fatal(err)
			}
			published := 0
			all := vendor.Contacts()
			for _, contact := range all {
				if contact.State == sandbox.Published {
					published++
				}
				if contact.CorrelationID != i.Delivery.UUID || contact.SHA256 != i.File.SHA256 || contact.Bytes != i.File.Bytes || contact.State == sandbox.Corrupt {
					t.Errorf("contact %+v", contact)
				}
			}
			if published != 1 || len(all) != c.contacts {
				t.Errorf("%d contacts, %d published, want %d and 1", len(all), published, c.contacts)
			}
			if last := all[len(all)-1]; receipt.IDs["mining_id"] != last.MiningID || receipt.IDs["session_id"] != last.SessionID || receipt.IDs["correlation_id"] != last.CorrelationID {
				t.Errorf("receipt %v, contact %+v", receipt.IDs, last)
			}
		})
	}
}

func deliver(t *testing.T, s senders.Sender, i call.Item, data []byte) (senders.Receipt, error) {
	t.Helper()
	n := &notes{}
	return s.Send(t.Context(), senders.Attempt{Item: i, Number: 1, Open: func() (senders.Media, error) {
		return still{bytes.NewReader(data)}, nil
	}}, n)
}

func TestSandboxCheck(t *testing.T) {
	vendor := sandbox.NewCallMiner(sandbox.Options{ClientID: "acme", ClientSecret: sendertest.Secret, Now: time.Now})
	server := httptest.NewServer(vendor)
	t.Cleanup(server.Close)
	t.Cleanup(vendor.Close)
	cfg := config(t, server.URL)
	cfg.TokenURL = server.URL + "/connect/token"
	cfg.Fields = map[string]string{"NoSuchColumn": "call.queue"}
	findings, err := sender(t, cfg, senders.Deps{}).Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	bad := 0
	for _, f := range findings {
		if !f.OK {
			bad++
		}
	}
	if bad != 1 || len(findings) < 3 {
		t.Fatalf("%+v", findings)
	}
}
