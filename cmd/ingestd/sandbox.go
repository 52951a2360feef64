package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ingestd/internal/sandbox"
)

func (a *app) sandboxCommand() *cobra.Command {
	var vendor, listen, faults, keep, cert, key string
	var rate int
	var tokenLife time.Duration
	c := &cobra.Command{
		Use:   "sandbox",
		Short: "A faithful fake vendor to rehearse against",
		Long: "Serve a strict fake of a vendor's API and print every contact it accepts.\n\n" +
			"Its own view is under /_sandbox/: contacts, sessions, requests, summary; faults can be\n" +
			"switched at run time with PUT /_sandbox/faults. The kinds of faults:\n" +
			wrapped("  ", sandbox.KindNames(), 90) + "\n" +
			"docs/sandbox.md says what each does, and shows a file of faults.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if rate < 1 && rate != unlimitedRate {
				return usage(fmt.Sprintf("--rate %d", rate), "requests per minute, at least 1; -1 for no limit")
			}
			o := sandbox.Options{Now: a.now, RatePerMinute: rate, TokenLife: tokenLife, KeepDir: keep}
			o.OnStored = func(s sandbox.Stored) {
				if a.json {
					_ = a.printJSON(s)
					return
				}
				fmt.Fprintf(a.ui.out, "%s  %s  %s  %s  sha256 %s  id %s\n", local(s.ReceivedAt), s.State, s.Key, size(s.Bytes), s.SHA256, s.ID)
			}
			v, err := sandbox.New(vendor, o)
			if err != nil {
				return usage(fmt.Sprintf("there is no sandbox for %q", vendor), "the sandboxes are: "+vendorNames())
			}
			if faults != "" {
				if err := loadFaults(faults, v); err != nil {
					return err
				}
			}
			return a.serveSandbox(c.Context(), listen, cert, key, vendor, v)
		},
	}
	f := c.Flags()
	f.StringVar(&vendor, "vendor", "callminer", "the vendor to play: "+vendorNames())
	f.StringVar(&listen, "listen", "127.0.0.1:8085", "`address` to listen on; loopback unless you say otherwise")
	f.StringVar(&faults, "faults", "", "JSON `file` with faults to begin with")
	f.StringVar(&keep, "keep", "", "keep received media in this `directory`")
	f.IntVar(&rate, "rate", 200, "requests per minute before it answers 429; -1: no limit")
	f.StringVar(&cert, "tls-cert", "", "speak https with this PEM `file`: the certificate, then its chain")
	f.StringVar(&key, "tls-key", "", "PEM `file` with the private key of --tls-cert")
	f.DurationVar(&tokenLife, "token-life", time.Hour, "how long a token is valid")
	a.jsonFlag(c)
	return c
}

const unlimitedRate = -1

func vendorNames() string { return strings.Join(sandbox.Vendors(), ", ") }

// wrapped breaks a text of words into lines of at most width bytes.
func wrapped(indent, text string, width int) string {
	out, line := "", indent
	for _, word := range strings.Fields(text) {
		if len(line)+1+len(word) > width && line != indent {
			out, line = out+line+"\n", indent
		}
		if line != indent {
			line += " "
		}
		line += word
	}
	return out + line
}

func loadFaults(path string, v sandbox.Vendor) error {
	f, err := os.Open(path)
	if err != nil {
		return &problem{code: exitUsage, err: err, hint: "name a readable JSON file"}
	}
	defer f.Close()
	list, err := sandbox.ReadFaults(f)
	if err == nil {
		err = v.SetFaults(list...)
	}
	if err != nil {
		return &problem{code: exitUsage, what: path + ": " + strings.ReplaceAll(err.Error(), "\n", "; "), hint: "a JSON array of faults; ingestd sandbox --help lists the kinds, docs/sandbox.md shows all"}
	}
	return nil
}

func (a *app) serveSandbox(ctx context.Context, listen, cert, key, vendor string, v sandbox.Vendor) error {
	secure, err := sandboxTLS(cert, key)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		return &problem{code: exitFailed, what: "listen on " + listen, err: err, hint: "choose another address with --listen"}
	}
	base := "http://" + ln.Addr().String()
	if secure != nil {
		base = "https://" + ln.Addr().String()
		ln = tls.NewListener(ln, secure)
	}
	a.ui.say("sandbox for %s on %s; a destination that reaches it:", vendor, base)
	for _, line := range v.Settings(base, "plain:any") {
		a.ui.say("  %s", line)
	}
	a.ui.say("what it holds: %s/_sandbox/summary", base)
	return sandbox.Serve(ctx, ln, v)
}

// sandboxTLS is the server's side of https; nil: plain http. It speaks
// HTTP/1.1 alone, because faults take connections over.
func sandboxTLS(cert, key string) (*tls.Config, error) {
	if cert == "" && key == "" {
		return nil, nil
	}
	if cert == "" || key == "" {
		return nil, usage("--tls-cert and --tls-key belong together", "name both files, or neither for plain http")
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, &problem{code: exitUsage, what: "read --tls-cert and --tls-key", err: err, hint: "name a PEM certificate and its PEM private key"}
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}}, nil
}
