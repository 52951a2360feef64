package voyc_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"ingestd/internal/call"
	"ingestd/internal/senders"
)

// targets makes the answers of step 1, in both shapes.
func (s s3Server) targets() map[string]func(key string, at time.Time, life time.Duration) string {
	return map[string]func(string, time.Time, time.Duration) string{
		"POST": func(key string, at time.Time, life time.Duration) string { return s.signForm(key, at, life, nil) },
		"PUT": func(key string, at time.Time, life time.Duration) string {
			b, _ := json.Marshal(map[string]string{"presigned_url": s.signURL(http.MethodPut, "/"+s3Bucket+"/"+key, at, life, nil)})
			return string(b)
		},
	}
}

// stepOne answers every declaration with one text. skew is how far its clock
// is behind.
func stepOne(t *testing.T, answer string, skew time.Duration) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().Add(-skew).UTC().Format(http.TimeFormat))
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// still is a recording in memory.
type still struct{ *bytes.Reader }

func (still) Close() error  { return nil }
func (still) Verify() error { return nil }

// kept is a journal that keeps ids as the ledger does.
type kept map[string]string

func (k kept) put(ids map[string]string) error    { maps.Copy(k, ids); return nil }
func (k kept) Declaring() error                   { return nil }
func (k kept) Declared(m map[string]string) error { return k.put(m) }
func (k kept) Sending(m map[string]string) error  { return k.put(m) }
func (k kept) Committing() error                  { return nil }

func send(t *testing.T, s senders.Sender, i call.Item, data []byte, j kept, own bool) (senders.Receipt, *senders.Error) {
	t.Helper()
	sum := sha256.Sum256(data)
	i.File.Bytes, i.File.SHA256 = int64(len(data)), hex.EncodeToString(sum[:])
	r, err := s.Send(t.Context(), senders.Attempt{Item: i, Number: 1, IDs: maps.Clone(j), Own: own,
		Open: func() (senders.Media, error) { return still{bytes.NewReader(data)}, nil }}, j)
	var e *senders.Error
	if err != nil && !errors.As(err, &e) {
		t.Fatal(err)
	}
	return r, e
}

func recording(n int) []byte { return bytes.Repeat([]byte("ingestd\r\n--x\x00\xff"), n/13+1)[:n] }

func TestS3(t *testing.T) {
	s3 := startS3(t)
	n := 0
	newKey := func() string { n++; return fmt.Sprintf("2025/11/call-%d.wav", n) }
	for shape, make := range s3.targets() {
		t.Run(shape, func(t *testing.T) {
			for _, size := range []int{1, 1024, 1025, 3<<20 + 7} {
				key, data := newKey(), recording(size)
				s := sender(t, config(t, stepOne(t, make(key, time.Now(), time.Hour), 0)), senders.Deps{})
				r, e := send(t, s, item(), data, kept{}, false)
				sum := md5.Sum(data)
				if e != nil || r.IDs["etag"] != hex.EncodeToString(sum[:]) || !bytes.Equal(s3.stored(t, key), data) {
					t.Fatalf("%d bytes: %+v, %v; %d are stored", size, r, e, len(s3.stored(t, key)))
				}
			}
			t.Run("wrong signature", func(t *testing.T) {
				key := newKey()
				answer := spoil(make(key, time.Now(), time.Hour))
				if answer == "" {
					t.Fatal("no signature to spoil")
				}
				_, e := send(t, sender(t, config(t, stepOne(t, answer, 0)), senders.Deps{}), item(), recording(5000), kept{}, false)
				if e == nil || e.Class != senders.Held || e.Code != "target_refused" || e.HTTPStatus != 403 || s3.stored(t, key) != nil {
					t.Fatalf("%v; %d bytes are stored", e, len(s3.stored(t, key)))
				}
			})
			t.Run("expired", func(t *testing.T) {
				// Step 1's clock is behind, so that the end seems far away.
				key, data := newKey(), recording(5000)
				ended := func() string { return make(key, time.Now().Add(-30*time.Minute), 29*time.Minute) }
				s := sender(t, config(t, stepOne(t, ended(), 2*time.Hour)), senders.Deps{})
				j := kept{}
				_, e := send(t, s, item(), data, j, false)
				if e == nil || e.Class != senders.Refused || e.Code != senders.CodeOrphanDeclare || e.IDs["_target"] != "" || e.IDs["_expired"] == "" {
					t.Fatalf("unused: %v", e)
				}
				if _, e = send(t, s, item(), data, j, true); e == nil || e.Class != senders.Held || e.Code != "target_expired" {
					t.Fatalf("in doubt: %v", e)
				}
				if s3.stored(t, key) != nil {
					t.Fatal("stored after its end")
				}
			})
			t.Run("answer lost, then overwritten", func(t *testing.T) {
				key, data := newKey(), recording(200_000)
				lose := true
				s := sender(t, config(t, stepOne(t, make(key, time.Now(), time.Hour), 0)), senders.Deps{
					Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
						c, err := new(net.Dialer).DialContext(ctx, network, addr)
						if err == nil && lose && addr == strings.TrimPrefix(s3.base, "http://") {
							return &deaf{c}, nil
						}
						return c, err
					},
				})
				j := kept{}
				if _, e := send(t, s, item(), data, j, false); e == nil || e.Class != senders.InDoubt {
					t.Fatalf("lost answer: %v", e)
				}
				if !bytes.Equal(s3.stored(t, key), data) {
					t.Fatal("the upload whose answer was lost is not there")
				}
				lose = false
				if _, e := send(t, s, item(), data, j, true); e != nil || !bytes.Equal(s3.stored(t, key), data) {
					t.Fatalf("second upload: %v", e)
				}
			})
		})
	}
	t.Run("answers that a form asks for", func(t *testing.T) {
		for _, status := range []string{"200", "201", "204"} {
			key, data := newKey(), recording(3000)
			s := sender(t, config(t, stepOne(t, s3.signForm(key, time.Now(), time.Hour, [][2]string{{"success_action_status", status}}), 0)), senders.Deps{})
			if r, e := send(t, s, item(), data, kept{}, false); e != nil || fmt.Sprint(r.HTTPStatus) != status || !bytes.Equal(s3.stored(t, key), data) {
				t.Errorf("%s: %+v, %v", status, r, e)
			}
		}
	})
	t.Run("written only once", func(t *testing.T) {
		key, data := newKey(), recording(3000)
		answer, _ := json.Marshal(map[string]string{"upload_url": s3.signURL(http.MethodPut, "/"+s3Bucket+"/"+key, time.Now(), time.Hour, map[string]string{"if-none-match": "*"})})
		base := stepOne(t, string(answer), 0)
		j := kept{}
		if _, e := send(t, sender(t, config(t, base), senders.Deps{}), item(), data, j, false); e != nil {
			t.Fatal(e)
		}
		r, e := send(t, sender(t, config(t, base), senders.Deps{}), item(), data, j, true)
		if e != nil || !r.Duplicate || r.HTTPStatus != http.StatusPreconditionFailed {
			t.Errorf("our own: %+v, %v", r, e)
		}
		_, e = send(t, sender(t, config(t, base), senders.Deps{}), item(), recording(99), kept{}, false)
		if e == nil || e.Class != senders.Held || e.Code != "duplicate_foreign" || !bytes.Equal(s3.stored(t, key), data) {
			t.Errorf("another's: %v", e)
		}
	})
	t.Run("too large for the form", func(t *testing.T) {
		key := newKey()
		s := sender(t, config(t, stepOne(t, s3.signForm(key, time.Now(), time.Hour, nil), 0)), senders.Deps{})
		if _, e := send(t, s, item(), recording(11<<20), kept{}, false); e == nil || e.Class != senders.Rejected || e.Code != "too_large" {
			t.Errorf("%v", e)
		}
	})
}

// spoil changes one digit of the signature.
func spoil(answer string) string {
	for _, name := range []string{`"x-amz-signature":"`, `X-Amz-Signature=`} {
		if head, tail, ok := strings.Cut(answer, name); ok {
			digit := "0"
			if tail[0] == '0' {
				digit = "1"
			}
			return head + name + digit + tail[1:]
		}
	}
	return ""
}

// deaf is a connection whose final answer never arrives.
type deaf struct{ net.Conn }

func (d *deaf) Read(p []byte) (int, error) {
	n, err := d.Conn.Read(p)
	if bytes.HasPrefix(p[:n], []byte("HTTP/1.1 20")) {
		return 0, io.ErrUnexpectedEOF
	}
	return n, err
}
