package torture

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"sync/atomic"
	"time"

	"ingestd/internal/sandbox"
)

// Cells of credentials, certificates and proxies.

// The credential is revoked while the daemon runs; then the file holds the
// new one.
func credentialRotated(c *trial) {
	set := quickly()
	set.destination = map[string]string{"client_secret": `"file:secret.txt"`}
	c.begin(set)
	secret := func(value string) {
		c.must(os.WriteFile(c.path("secret.txt.new"), []byte(value), 0o600))
		c.must(os.Rename(c.path("secret.txt.new"), c.path("secret.txt")))
	}
	set.destination["client_secret"] = `"file:` + c.path("secret.txt") + `"`
	c.configure(c.T, set)
	secret("secret")
	daemon := startDaemon(c.T, c.site)
	c.dropped(1)
	c.until("the first is accepted", func() bool { return c.standing("call0000") == "accepted" })
	secret("revoked")
	c.vendor.ExpireTokens()
	c.dropped(2)
	c.says(daemon, "class=auth")
	select {
	case <-daemon.ended:
		c.Errorf("it ended:\n%s", &daemon.log)
	default:
	}
	c.arrived(1)
	secret("secret")
	c.delivers(daemon)
	c.arrived(3)
}

// issue makes a certificate, signed by the issuer or, without one, by itself.
func (c *trial) issue(change func(*x509.Certificate), issuer *tls.Certificate) tls.Certificate {
	c.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	c.must(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, BasicConstraintsValid: true,
	}
	change(template)
	parent, signer := template, any(key)
	if issuer != nil {
		parent, signer = issuer.Leaf, issuer.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	c.must(err)
	leaf, err := x509.ParseCertificate(der)
	c.must(err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// badCertificate shows a certificate that must not be believed, and then a
// good one. The authority is known to the daemon; stranger is another one.
func badCertificate(spoil func(*x509.Certificate), stranger bool) func(*trial) {
	return func(c *trial) {
		c.begin(settings{})
		authority := func(t *x509.Certificate) { t.IsCA, t.KeyUsage = true, x509.KeyUsageCertSign }
		known, other := c.issue(authority, nil), c.issue(authority, nil)
		issuer := &known
		if stranger {
			issuer = &other
		}
		var shown atomic.Pointer[tls.Certificate]
		bad, good := c.issue(spoil, issuer), c.issue(func(*x509.Certificate) {}, &known)
		shown.Store(&bad)
		addr := serve(c.T, c.vendor, &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return shown.Load(), nil }})
		roots := c.path("roots.pem")
		c.must(os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: known.Leaf.Raw}), 0o600))
		set := quickly()
		set.destination = map[string]string{"base_url": `"https://` + addr + `/ingestion"`, "token_url": `"https://` + addr + `/connect/token"`}
		c.configure(c.T, set)
		c.dropped(1)
		daemon := c.start(c.T, nil, func(cmd *exec.Cmd) {
			cmd.Env = append(cmd.Env, "SSL_CERT_FILE="+roots, "SSL_CERT_DIR=/nonexistent")
		}, "run", "--allow-root")
		c.says(daemon, "class=not_sent")
		c.arrived(0)
		if n := c.vendor.Summary().Requests; n != 0 {
			c.Errorf("%d requests went over a connection that must not be believed", n)
		}
		shown.Store(&good)
		c.until("it is moved", func() bool { _, err := os.Stat(c.path("archive", "call0000.wav")); return err == nil })
		c.stops(daemon)
		c.ended(exempt{}, 1, daemon.log.String())
	}
}

// A proxy of the environment that asks for a password is never used.
func proxyRefuses(c *trial) {
	c.begin(settings{})
	var asked atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusProxyAuthRequired)
	}))
	defer proxy.Close()
	c.dropped(1)
	l := c.start(c.T, nil, func(cmd *exec.Cmd) {
		for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"} {
			cmd.Env = append(cmd.Env, name+"="+proxy.URL)
		}
	}, once()...)
	out := l.wait(c.T)
	c.ended(exempt{}, 1, out.output)
	if asked.Load() != 0 {
		c.Errorf("the proxy was asked %d times", asked.Load())
	}
}

func trustCells() []cell {
	return []cell{
		{n: 84, what: "credential revoked and rotated", want: "401, reload, retry; no crash loop", run: credentialRotated},
		{n: 85, what: "certificate expired", want: "NOT_SENT; n=1 when healed", run: badCertificate(func(t *x509.Certificate) { t.NotAfter = time.Now().Add(-time.Minute) }, false)},
		{n: 85, what: "certificate of another host", want: "NOT_SENT; n=1 when healed", run: badCertificate(func(t *x509.Certificate) { t.IPAddresses = []net.IP{net.IPv4(127, 9, 9, 9)} }, false)},
		{n: 85, what: "certificate of an unknown authority", want: "NOT_SENT; n=1 when healed", run: badCertificate(func(*x509.Certificate) {}, true)},
		{n: 86, what: "proxy of the environment answers 407", want: "never asked; n=1", run: proxyRefuses},
		{n: 86, what: "captive portal: 200 HTML to the token", want: "NOT_SENT; n=1", run: vendorThen(1, 1, first(sandbox.HTML, sandbox.RouteToken))},
		{n: 86, what: "captive portal: 200 HTML to the media", want: "IN_DOUBT, never ACCEPTED; n=1", run: vendorThen(2, 2, first(sandbox.HTML, sandbox.RouteMedia))},
	}
}
