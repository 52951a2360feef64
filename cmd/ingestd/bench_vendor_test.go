//go:build bench

package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// wire is how the two sides reach the sandbox: plain, or over TLS with a
// certificate that both trust.
type wire struct {
	scheme    string
	cert, key string         // PEM files, over https
	roots     *x509.CertPool // nil over http
}

// newWire makes a certificate for the loopback address if the scheme needs
// one: ECDSA P-256, the kind that costs both sides least.
func newWire(t *testing.T, scheme string) wire {
	t.Helper()
	w := wire{scheme: scheme}
	if scheme == "http" {
		return w
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	w.cert, w.key, w.roots = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), x509.NewCertPool()
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	w.roots.AppendCertsFromPEM(certPEM)
	for path, content := range map[string][]byte{w.cert: certPEM, w.key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("SSL_CERT_FILE", w.cert) // for the daemon
	return w
}

// vendor is a sandbox in a process of its own.
type vendor struct {
	base string
	cmd  *exec.Cmd
	view *http.Client
}

func startVendor(t *testing.T, w wire, listen string) *vendor {
	t.Helper()
	path, err := exec.LookPath("ingestd")
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"sandbox", "--listen", listen, "--rate", "-1", "--json"}
	if w.cert != "" {
		args = append(args, "--tls-cert", w.cert, "--tls-key", w.key)
	}
	v := &vendor{
		cmd:  exec.Command(path, args...),
		view: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: w.roots}}},
	}
	stderr, err := v.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := v.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		if m := regexp.MustCompile(`https?://[^\s;]+`).FindString(lines.Text()); m != "" {
			go func() { _, _ = io.Copy(io.Discard, stderr) }()
			v.base = m
			return v
		}
	}
	v.stop()
	t.Fatal("the sandbox did not say where it listens")
	return nil
}

func (v *vendor) stop() {
	_ = v.cmd.Process.Kill()
	_ = v.cmd.Wait()
}

// freeAddress is a loopback address where nobody listens now.
func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// look calls fn with every line of one of the sandbox's lists.
func (v *vendor) look(t *testing.T, list string, fn func(json.RawMessage)) {
	t.Helper()
	resp, err := v.view.Get(v.base + "/_sandbox/" + list)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for dec := json.NewDecoder(resp.Body); dec.More(); {
		var line json.RawMessage
		if err := dec.Decode(&line); err != nil {
			t.Fatal(err)
		}
		fn(line)
	}
}

// span is the time from the first request after the token to the last
// accepted recording, as the sandbox saw it: the same clock for both sides.
func (v *vendor) span(t *testing.T, files int) time.Duration {
	t.Helper()
	var first, last time.Time
	n := 0
	v.look(t, "contacts", func(line json.RawMessage) {
		var c struct {
			ReceivedAt time.Time `json:"received_at"`
		}
		if err := json.Unmarshal(line, &c); err != nil {
			t.Fatal(err)
		}
		n++
		if c.ReceivedAt.After(last) {
			last = c.ReceivedAt
		}
	})
	if n != files {
		t.Fatalf("%d contacts, want %d", n, files)
	}
	v.look(t, "requests", func(line json.RawMessage) {
		var r struct {
			Path      string    `json:"path"`
			StartedAt time.Time `json:"started_at"`
		}
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(r.Path, "/api/") && (first.IsZero() || r.StartedAt.Before(first)) {
			first = r.StartedAt
		}
	})
	return last.Sub(first)
}
