package authenticx_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"net/http/httptest"
	"testing"

	"ingestd/internal/call"
	"ingestd/internal/sandbox"
	"ingestd/internal/senders"
	"ingestd/internal/senders/authenticx"
	"ingestd/internal/senders/sendertest"
)

// journal keeps what the ledger would: the ids, and whether the gate opened.
type journal struct {
	notes
	ids map[string]string
	own bool
}

func (j *journal) Sending(ids map[string]string) error { maps.Copy(j.ids, ids); return nil }
func (j *journal) Committing() error                   { j.own = true; return nil }

func play(t *testing.T, o sandbox.Options) (*sandbox.AuthenticX, authenticx.Config) {
	t.Helper()
	o.ClientID, o.ClientSecret = "acme", sendertest.Secret
	vendor := sandbox.NewAuthenticX(o)
	server := httptest.NewServer(vendor)
	t.Cleanup(server.Close)
	t.Cleanup(vendor.Close)
	return vendor, config(t, server.URL)
}

// TestSandbox repeats attempts as the pipeline would, against a fake vendor
// that knows what really arrived: one interaction with the recording's bytes
// each time, in every reading of the documents.
func TestSandbox(t *testing.T) {
	data := bytes.Repeat([]byte("ingestd!"), 20_000)
	sum := sha256.Sum256(data)
	media := func(f sandbox.Fault) []sandbox.Fault {
		f.Route, f.First = sandbox.RouteMedia, 1
		return []sandbox.Fault{f}
	}
	for name, c := range map[string]struct {
		faults    []sandbox.Fault
		first     senders.Class   // of the first attempt; "" succeeds
		asked     senders.Outcome // after a doubt
		duplicate bool            // the second attempt is refused as our own
	}{
		"plain":             {nil, "", 0, false},
		"stored, no answer": {media(sandbox.Fault{Kind: sandbox.DropStored}), senders.InDoubt, senders.Present, true},
		"lost, no answer":   {media(sandbox.Fault{Kind: sandbox.DropLost}), senders.InDoubt, senders.Absent, false},
		"stored, then 504":  {media(sandbox.Fault{Kind: sandbox.StatusStored, Status: 504}), senders.InDoubt, senders.Present, true},
		"lost, then 500":    {media(sandbox.Fault{Kind: sandbox.Status, Status: 500}), senders.InDoubt, senders.Absent, false},
		"a login page":      {media(sandbox.Fault{Kind: sandbox.HTML}), senders.InDoubt, senders.Present, true},
		"half an answer":    {media(sandbox.Fault{Kind: sandbox.Truncated}), senders.InDoubt, senders.Present, true},
		"a hostile id":      {media(sandbox.Fault{Kind: sandbox.IDPath}), senders.Held, senders.Present, true},
		"429":               {media(sandbox.Fault{Kind: sandbox.Early, Status: 429, RetryAfter: "1"}), senders.RateLimited, 0, false},
		"401":               {media(sandbox.Fault{Kind: sandbox.Early, Status: 401}), senders.Auth, 0, false},
		"closed before it":  {media(sandbox.Fault{Kind: sandbox.Refuse}), senders.Incomplete, 0, false},
	} {
		for _, other := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				o := sandbox.Options{Faults: c.faults, AuthenticX: sandbox.AuthenticXOptions{QuotedErrors: other, CamelCase: other, TakenAtStart: other}}
				vendor, cfg := play(t, o)
				cfg.FileNamePrefix = "acme/calls"
				s := sender(t, cfg, senders.Deps{Fields: constant(map[string]string{"HierarchyCode": "Billing", "LocaleId": "2058"})})
				i := item()
				i.File.Bytes, i.File.SHA256 = int64(len(data)), hex.EncodeToString(sum[:])
				j := &journal{ids: map[string]string{}}
				attempt := func(n int) (senders.Receipt, error) {
					return s.Send(t.Context(), senders.Attempt{Item: i, Number: n, IDs: maps.Clone(j.ids), Own: j.own, Open: func() (senders.Media, error) {
						return still{bytes.NewReader(data)}, nil
					}}, j)
				}
				receipt, err := attempt(1)
				if c.first != "" {
					if e := new(senders.Error); !errors.As(err, &e) || e.Class != c.first {
						t.Fatalf("first attempt: %v, want %s", err, c.first)
					}
					if j.own {
						v, err := s.Reconcile(t.Context(), senders.Attempt{Item: i, IDs: j.ids, Own: true})
						if err != nil || v.Outcome != c.asked {
							t.Fatalf("asked: %+v, %v", v, err)
						}
						if got := vendor.Interactions(); v.Outcome == senders.Present && v.IDs["authenticx_id"] != got[0].ID {
							t.Fatalf("asked: %+v, stored %+v", v, got)
						}
					}
					receipt, err = attempt(2)
				}
				if other && j.own && c.asked == senders.Absent && c.first != "" {
					// The name is used up and nothing is stored: not in silence.
					if e := new(senders.Error); !errors.As(err, &e) || e.Class != senders.Held || e.Code != "duplicate_unlisted" || len(vendor.Interactions()) != 0 {
						t.Fatalf("%+v, %v", receipt, err)
					}
					return
				}
				if err != nil || receipt.Duplicate != c.duplicate {
					t.Fatalf("%+v, %v", receipt, err)
				}
				all := vendor.Interactions()
				if len(all) != 1 || all[0].SHA256 != i.File.SHA256 || all[0].Bytes != i.File.Bytes || all[0].FileName != "acme/calls/"+key+".wav" {
					t.Fatalf("stored %+v", all)
				}
				if receipt.IDs["authenticx_id"] != all[0].ID || receipt.IDs["file_name"] != all[0].FileName || receipt.IDs["client_call_id"] != all[0].ClientCallID {
					t.Errorf("receipt %v, stored %+v", receipt.IDs, all[0])
				}
			})
		}
	}
}

// A chat archive, every allowed container, and a second client's name.
func TestSandboxFormats(t *testing.T) {
	vendor, cfg := play(t, sandbox.Options{})
	s := sender(t, cfg, senders.Deps{})
	for _, ext := range []string{"wav", "mp3", "mp4", "m4a", "ogg", "opus", "zip", "tar"} {
		i := new(tenant).item()
		i.Audio, i.Delivery = call.Audio{Container: ext, Ext: ext}, call.DeliveryOf(key[:20]+ext)
		if _, err := (&tenant{}).send(t, s, senders.Attempt{Item: i}); err != nil {
			t.Errorf("%s: %v", ext, err)
		}
		// The same name again, and this ledger never sent it.
		_, err := (&tenant{}).send(t, s, senders.Attempt{Item: i})
		if e := new(senders.Error); !errors.As(err, &e) || e.Class != senders.Held || e.Code != "duplicate_foreign" {
			t.Errorf("%s, a second client: %v", ext, err)
		}
	}
	if sum := vendor.Summary(); sum.Interactions["Audio"] != 6 || sum.Interactions["Chat"] != 2 || sum.Refused != 8 {
		t.Errorf("%+v", sum)
	}
}

func TestSandboxCheck(t *testing.T) {
	_, cfg := play(t, sandbox.Options{})
	findings, err := sender(t, cfg, senders.Deps{Fields: constant(map[string]string{"HierarchyCode": "Nope"})}).Check(t.Context())
	bad := 0
	for _, f := range findings {
		if !f.OK {
			bad++
		}
	}
	if err != nil || bad != 1 || len(findings) != 3 {
		t.Fatalf("%+v, %v", findings, err)
	}
}
