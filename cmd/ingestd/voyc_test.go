package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ingestd/internal/sandbox"
)

// A presigned target lies in the ledger while it is needed, so that an upload
// that was cut goes on at the same conversation. Nothing shows it, and when
// the recording is accepted it is gone from the ledger's files.
func TestPresignedTargetIsSecret(t *testing.T) {
	for name, fault := range map[string]sandbox.Fault{
		"cut":         {Kind: sandbox.DropMid, Route: sandbox.RouteMedia, AfterBytes: 1000},
		"answer lost": {Kind: sandbox.DropStored, Route: sandbox.RouteMedia},
	} {
		t.Run(name, func(t *testing.T) {
			vendor := sandbox.NewVoyc(sandbox.Options{})
			if err := vendor.SetFaults(fault); err != nil {
				t.Fatal(err)
			}
			dir := voycSite(t, vendor)
			said := runSelf(t, dir, "once", "--timeout", "6s")
			if !bytes.Contains(ledgerFiles(t, dir), []byte("x-amz-signature")) {
				t.Fatalf("the ledger does not hold the target:\n%s", said)
			}
			for _, command := range [][]string{
				{"list", "--json"}, {"list", "--csv"}, {"list", "--wide"}, {"show", "1"}, {"show", "1", "--json"}, {"status", "--json"}, {"plan"}, {"plan", "--json"},
			} {
				said += runSelf(t, dir, command...)
			}
			if !strings.Contains(said, "conversation_id") {
				t.Errorf("the conversation is not shown:\n%s", said)
			}
			for _, secret := range []string{"amz", "Amz", "/storage/"} {
				if strings.Contains(said, secret) {
					t.Errorf("%q is shown:\n%s", secret, said)
				}
			}
			if err := vendor.SetFaults(); err != nil {
				t.Fatal(err)
			}
			done := startSelf(t, dir, "once", "--timeout", "1m")
			if err := done.Wait(); err != nil {
				t.Fatalf("%v\n%s", err, done.Stderr)
			}
			if s := vendor.Summary(); s.Conversations != 1 || s.WithAudio != 1 {
				t.Errorf("%+v", s)
			}
			if bytes.Contains(ledgerFiles(t, dir), []byte("x-amz-signature")) {
				t.Error("the target is still in the ledger's files")
			}
		})
	}
}

func ledgerFiles(t *testing.T, dir string) []byte {
	t.Helper()
	var all []byte
	for _, name := range []string{"ledger.db", "ledger.db-wal"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	return all
}

// runSelf returns what a command said, however it ended.
func runSelf(t *testing.T, dir string, args ...string) string {
	t.Helper()
	c := startSelf(t, dir, args...)
	_ = c.Wait()
	return fmt.Sprint(c.Stderr)
}

func voycSite(t *testing.T, vendor *sandbox.Voyc) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- sandbox.Serve(ctx, ln, vendor) }()
	t.Cleanup(func() { cancel(); <-served })
	dir := t.TempDir()
	settings := strings.Join(vendor.Settings("http://"+ln.Addr().String(), "plain:secret"), "\n")
	for name, content := range map[string]string{
		"drop/call.wav":  string(makeWAV(60_000, rand.New(rand.NewPCG(1, 1)))),
		"drop/call.json": `{"call_id": "c1", "started_at": "2026-11-02T14:05:06Z", "direction": "inbound", "agent_name": "Dana Reyes"}`,
		"ingestd.toml": `[ledger]
path = "ledger.db"
[http]
listen = ""
[log]
level = "debug"
[[source]]
name = "drop"
path = "drop"
destinations = ["voyc"]
settle = "20ms"
[[destination]]
name = "voyc"
` + settings + "\n[destination.retry]\ninitial = \"1s\"\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
