package voyc_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// s3Server is a real S3 server (versitygw) over a directory. The tests sign
// for it by hand, as AWS documents signature version 4, and so share no code
// with it or with the sender.
type s3Server struct {
	base, root string // http://127.0.0.1:port, and the directory of its buckets
}

const (
	s3Access, s3Secret, s3Region, s3Bucket = "AKTEST", "secret-of-the-test", "us-east-1", "calls"
	amzTime                                = "20060102T150405Z"
)

// startS3 builds the server from its own module (the build cache keeps it) and
// runs it on loopback until the test ends.
func startS3(t *testing.T) s3Server {
	t.Helper()
	dir := t.TempDir()
	bin := filepath.Join(dir, "versitygw")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "github.com/versity/versitygw/cmd/versitygw")
	build.Dir = filepath.Join("..", "..", "..", "tools", "s3")
	if out, err := build.CombinedOutput(); err != nil {
		if os.Getenv("INGESTD_S3") == "must" {
			t.Fatalf("build the S3 server: %v\n%s", err, out)
		}
		t.Skipf("the S3 server cannot be built here, `make s3` insists: %v\n%s", err, out)
	}
	root, meta := filepath.Join(dir, "root"), filepath.Join(dir, "meta")
	for _, d := range []string{root, meta} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, bin, "--port", addr, "--access", s3Access, "--secret", s3Secret, "--region", s3Region, "--quiet",
		"posix", "--sidecar", meta, root)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // killed
		if t.Failed() {
			t.Logf("the S3 server said:\n%s", said.Bytes())
		}
	})
	s := s3Server{base: "http://" + addr, root: root}
	for until := time.Now().Add(30 * time.Second); ; {
		req, _ := http.NewRequest(http.MethodPut, s.signURL(http.MethodPut, "/"+s3Bucket, time.Now(), time.Minute, nil), nil)
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				t.Fatalf("create the bucket: %d %s", resp.StatusCode, body)
			}
			return s
		}
		if time.Now().After(until) {
			t.Fatalf("the S3 server does not answer: %v\n%s", err, said.Bytes())
		}
		<-time.After(50 * time.Millisecond) // another process: nothing to wait on
	}
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func scope(at time.Time) string {
	return at.UTC().Format("20060102") + "/" + s3Region + "/s3/aws4_request"
}

func sign(at time.Time, text string) string {
	key := []byte("AWS4" + s3Secret)
	for part := range strings.SplitSeq(scope(at), "/") {
		key = mac(key, part)
	}
	return hex.EncodeToString(mac(key, text))
}

// signURL is a presigned URL (AWS, "Authenticating Requests: Using Query
// Parameters"). headers are signed beside the host.
func (s s3Server) signURL(method, path string, at time.Time, life time.Duration, headers map[string]string) string {
	u, _ := url.Parse(s.base + path)
	signed := map[string]string{"host": u.Host}
	maps.Copy(signed, headers)
	names := slices.Sorted(maps.Keys(signed))
	q := url.Values{
		"X-Amz-Algorithm": {"AWS4-HMAC-SHA256"}, "X-Amz-Credential": {s3Access + "/" + scope(at)},
		"X-Amz-Date": {at.UTC().Format(amzTime)}, "X-Amz-Expires": {fmt.Sprint(int(life.Seconds()))},
		"X-Amz-SignedHeaders": {strings.Join(names, ";")},
	}
	canonical := method + "\n" + u.EscapedPath() + "\n" + strings.ReplaceAll(q.Encode(), "+", "%20") + "\n"
	for _, n := range names {
		canonical += n + ":" + signed[n] + "\n"
	}
	canonical += "\n" + strings.Join(names, ";") + "\nUNSIGNED-PAYLOAD"
	sum := sha256.Sum256([]byte(canonical))
	text := "AWS4-HMAC-SHA256\n" + at.UTC().Format(amzTime) + "\n" + scope(at) + "\n" + hex.EncodeToString(sum[:])
	return u.String() + "?" + q.Encode() + "&X-Amz-Signature=" + sign(at, text)
}

// signForm is a presigned form (AWS, "Creating a POST Policy"), as JSON with
// its fields in no order that an encoder would choose.
func (s s3Server) signForm(key string, at time.Time, life time.Duration, extra [][2]string) string {
	fields := [][2]string{
		{"x-amz-date", at.UTC().Format(amzTime)}, {"key", key}, {"x-amz-algorithm", "AWS4-HMAC-SHA256"},
		{"x-amz-credential", s3Access + "/" + scope(at)},
	}
	fields = append(fields, extra...)
	conditions := []any{map[string]string{"bucket": s3Bucket}, []any{"content-length-range", 1, 10 << 20}}
	for _, f := range fields {
		conditions = append(conditions, map[string]string{f[0]: f[1]})
	}
	raw, _ := json.Marshal(map[string]any{"expiration": at.Add(life).UTC().Format("2006-01-02T15:04:05.000Z"), "conditions": conditions})
	policy := base64.StdEncoding.EncodeToString(raw)
	fields = append(fields, [2]string{"policy", policy}, [2]string{"x-amz-signature", sign(at, policy)})
	var b strings.Builder
	for i, f := range fields {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%q:%q", f[0], f[1])
	}
	return fmt.Sprintf(`{"upload":{"url":"%s/%s","fields":{%s}},"id":7}`, s.base, s3Bucket, b.String())
}

func (s s3Server) stored(t *testing.T, key string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.root, s3Bucket, filepath.FromSlash(key)))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return b
}
