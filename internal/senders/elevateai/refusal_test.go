package elevateai_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"ingestd/internal/senders"
)

// What a refusal of the upload means depends on the status of the interaction,
// on whether the tail was out, and on whether an earlier upload may have
// landed.
func TestRefusedUpload(t *testing.T) {
	const (
		waiting  = `{"status":"x","uploaded":null,"processed":null}`
		uploaded = `{"status":"x","uploaded":"2026-01-02T03:04:05.123Z","processed":null}`
		failed   = `{"status":"fileUploadFailed","uploaded":null,"processed":null}`
		twofold  = `{"status":"fileUploadFailed","uploaded":"2026-01-02T03:04:05.123Z"}`
		other    = `{"identifier":"other","status":"x"}`
		unknown  = "" // 404
	)
	for _, c := range []struct {
		answer      int
		state       string
		early, own  bool
		class       senders.Class // "": accepted as a duplicate of our own
		code        string
		voided, ask bool
	}{
		{409, waiting, true, false, senders.Refused, "conflict", false, true},
		{409, waiting, false, false, senders.InDoubt, "conflict", false, true},
		{409, waiting, true, true, senders.Refused, "conflict", false, true},
		{409, uploaded, true, true, "", "", false, true},
		{409, uploaded, false, false, "", "", false, true},
		{409, uploaded, true, false, senders.Held, "foreign_upload", true, true},
		{409, failed, true, false, senders.Refused, "upload_failed", true, true},
		{409, failed, false, true, senders.Refused, "upload_failed", true, true},
		{409, twofold, false, true, senders.Held, "contradictory_status", true, true},
		{409, other, false, true, senders.Held, "foreign_id", false, true},
		{409, unknown, true, false, senders.Refused, "not_found", true, true},
		{409, unknown, true, true, senders.Held, "interaction_gone", true, true},
		{409, unknown, false, true, senders.InDoubt, "conflict", false, true},
		{400, waiting, false, false, senders.Rejected, "vendor_refused", false, true},
		{400, failed, false, false, senders.Refused, "upload_failed", true, true},
		{400, uploaded, true, true, "", "", false, true},
		{404, "", true, false, senders.Refused, "not_found", true, false},
		{404, "", false, false, senders.Refused, "not_found", true, false},
		{404, "", true, true, senders.Held, "interaction_gone", true, false},
		{413, "", true, false, senders.Rejected, "too_large", false, false},
	} {
		t.Run(fmt.Sprintf("%d,early=%t,own=%t,%.25s", c.answer, c.early, c.own, c.state), func(t *testing.T) {
			asked := false
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case strings.HasSuffix(r.URL.Path, "/status") && c.state == unknown:
					asked = true
					w.WriteHeader(404)
				case strings.HasSuffix(r.URL.Path, "/status"):
					asked = true
					io.WriteString(w, c.state)
				default:
					if !c.early {
						io.Copy(io.Discard, r.Body)
					}
					w.WriteHeader(c.answer)
				}
			}))
			t.Cleanup(server.Close)
			s := sender(t, config(t, server.URL), nil)
			receipt, err := s.Send(t.Context(), attempt(c.own), &run{ids: map[string]string{}})
			var e *senders.Error
			switch {
			case c.class == "" && (err != nil || !receipt.Duplicate || receipt.IDs["interaction_identifier"] != "id-1"):
				t.Fatalf("%+v, %v, want the receipt of an earlier upload", receipt, err)
			case c.class == "":
			case !errors.As(err, &e) || e.Class != c.class || e.Code != c.code || e.HTTPStatus != c.answer:
				t.Fatalf("%+v, want %s %s", err, c.class, c.code)
			case c.voided != (e.IDs != nil) || c.voided && (e.IDs["interaction_identifier"] != "" || e.IDs["former_interaction_2"] != "id-1"):
				t.Fatalf("ids %v, void: %t", e.IDs, c.voided)
			}
			if asked != c.ask {
				t.Fatalf("asked for the status: %t", asked)
			}
		})
	}
}

// attempt with an identifier that is known, and one that came to nothing.
func attempt(own bool) senders.Attempt {
	data := bytes.Repeat([]byte("ingestd!"), 1000)
	sum := sha256.Sum256(data)
	i := item()
	i.File.Bytes, i.File.SHA256 = int64(len(data)), hex.EncodeToString(sum[:])
	return senders.Attempt{
		Item: i, Number: 2, Own: own, IDs: map[string]string{"interaction_identifier": "id-1", "former_interaction_1": "id-0"},
		Open: func() (senders.Media, error) { return still{bytes.NewReader(data)}, nil },
	}
}

// An identifier that a person's retry could do nothing with is given up, one
// that the vendor may yet explain stays; without one nobody can be asked.
func TestReconcileHeld(t *testing.T) {
	for state, want := range map[string]struct {
		code   string
		voided bool
	}{
		`{"status":"fileUploadFailed","processed":"x"}`: {"contradictory_status", true},
		`{"identifier":"other","status":"processed"}`:   {"foreign_id", false},
		"": {"interaction_gone", true},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if state == "" {
				w.WriteHeader(404)
			}
			io.WriteString(w, state)
		}))
		s := sender(t, config(t, server.URL), nil)
		_, err := s.Reconcile(t.Context(), attempt(true))
		var e *senders.Error
		if !errors.As(err, &e) || e.Class != senders.Held || e.Code != want.code || want.voided != (e.IDs["former_interaction_2"] == "id-1") {
			t.Errorf("%q: %+v, want %+v", state, err, want)
		}
		// Asked again within 30 s: no request, no verdict.
		if v, err := s.Reconcile(t.Context(), attempt(true)); err != nil || v.Outcome != senders.Unknown {
			t.Errorf("%q, at once again: %+v, %v", state, v, err)
		}
		server.Close()
	}
	a := attempt(true)
	a.IDs = nil
	_, err := sender(t, config(t, "http://127.0.0.1:1"), nil).Reconcile(t.Context(), a)
	if e := new(senders.Error); !errors.As(err, &e) || e.Class != senders.Held || e.Code != "no_identifier" {
		t.Errorf("without an identifier: %v", err)
	}
}
