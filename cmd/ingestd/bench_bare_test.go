//go:build bench

package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// bare is the client that the daemon is compared with: it reads every byte of
// a file, makes the same two requests with the same headers over connections
// of the same policy, reads the answers, and keeps no record.
type bare struct {
	base, token string
	api, media  *http.Client
}

func newBare(t *testing.T, w wire, base string) *bare {
	t.Helper()
	b := &bare{base: base}
	for _, c := range []**http.Client{&b.api, &b.media} {
		*c = &http.Client{Transport: &http.Transport{
			DisableKeepAlives: true, DisableCompression: true,
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: w.roots},
		}}
	}
	media := b.media.Transport.(*http.Transport)
	media.ExpectContinueTimeout = time.Second
	resp, err := b.api.PostForm(base+"/connect/token", url.Values{
		"client_id": {"id"}, "client_secret": {"secret"}, "grant_type": {"client_credentials"},
		"scope": {"https://callminer.net/auth/platform-ingestion"}})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var tok struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&tok); err != nil || tok.AccessToken == "" {
		t.Fatalf("no token: %v", err)
	}
	b.token = tok.AccessToken
	return b
}

// bareRun lets the bare client deliver new files.
func (c benchCase) bareRun(t *testing.T) outcome {
	t.Helper()
	v := startVendor(t, c.wire, "127.0.0.1:0")
	defer v.stop()
	dir := t.TempDir()
	defer os.RemoveAll(dir)
	benchFiles(t, dir, c.bytes, c.files, false)
	client := newBare(t, c.wire, v.base)
	names := make(chan string)
	var wg sync.WaitGroup
	before := ownCPU(t)
	for range c.workers {
		wg.Go(func() {
			for name := range names {
				if err := client.send(filepath.Join(dir, name)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range c.files {
		names <- fmt.Sprintf("call%06d.wav", i)
	}
	close(names)
	wg.Wait()
	cpu := ownCPU(t) - before
	return outcome{v.span(t, c.files), cpu}
}

// ownCPU is the processor time that this process has used.
func ownCPU(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func (b *bare) send(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]any{
		"Metadata":         []map[string]string{{"Key": "Agent", "Value": "Dana Reyes"}},
		"TotalMediaLength": info.Size(), "MediaType": "audio/wav", "ClientCaptureDate": "2026-11-02T14:05:06.000Z",
		"SourceId": "Recorder", "CorrelationId": filepath.Base(path),
	})
	if err != nil {
		return err
	}
	var session struct {
		SessionID string `json:"SessionId"`
	}
	header := http.Header{"Content-Type": {"application/json; charset=utf-8"}, "Accept": {"application/json"}}
	if err := b.do(b.api, "/ingestion/api/session/metadatamedia", header, bytes.NewReader(body), int64(len(body)), http.StatusOK, &session); err != nil {
		return err
	}
	// The file is wrapped so that it is copied, not handed to sendfile: the
	// daemon must read every byte, and so does the client it is compared with.
	header = http.Header{"Content-Type": {"audio/wav"}, "Expect": {"100-continue"}}
	return b.do(b.media, "/ingestion/api/media/"+session.SessionID, header, struct{ io.Reader }{f}, info.Size(), http.StatusCreated, &struct{}{})
}

func (b *bare) do(client *http.Client, path string, header http.Header, body io.Reader, length int64, want int, into any) error {
	req, err := http.NewRequest(http.MethodPost, b.base+path, body)
	if err != nil {
		return err
	}
	req.ContentLength, req.Header = length, header
	header.Set("Authorization", "Bearer "+b.token)
	header.Set("User-Agent", "bare")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != want {
		return fmt.Errorf("%s: %s", path, resp.Status)
	}
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	return json.Unmarshal(answer, into)
}
