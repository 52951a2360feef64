package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"

	"ingestd/internal/sandbox"
)

func (a *app) sandboxCommand() *cobra.Command {
	var vendor, listen, faults, keep string
	var rate int
	var tokenLife time.Duration
	c := &cobra.Command{
		Use:   "sandbox",
		Short: "A faithful fake vendor to rehearse against",
		Long: "Serve a strict fake of a vendor's API and print every contact it accepts.\n\n" +
			"Its own view is under /_sandbox/: contacts, sessions, requests, summary; faults can be\n" +
			"switched at run time with PUT /_sandbox/faults.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if vendor != "callminer" {
				return usage(fmt.Sprintf("there is no sandbox for %q", vendor), "the sandboxes are: callminer")
			}
			if rate < 1 && rate != unlimitedRate {
				return usage(fmt.Sprintf("--rate %d", rate), "requests per minute, at least 1; -1 for no limit")
			}
			o := sandbox.Options{Now: a.now, RatePerMinute: rate, TokenLife: tokenLife, KeepDir: keep}
			o.OnContact = func(ct sandbox.Contact) {
				if a.json {
					_ = a.printJSON(ct)
					return
				}
				fmt.Fprintf(a.ui.out, "%s  %s  %s  %s  sha256 %s  mining %s\n", local(ct.ReceivedAt), ct.State, ct.CorrelationID, size(ct.Bytes), ct.SHA256, ct.MiningID)
			}
			cm := sandbox.NewCallMiner(o)
			if faults != "" {
				if err := loadFaults(faults, cm); err != nil {
					return err
				}
			}
			return a.serveSandbox(c.Context(), listen, cm)
		},
	}
	f := c.Flags()
	f.StringVar(&vendor, "vendor", "callminer", "the vendor to play: callminer")
	f.StringVar(&listen, "listen", "127.0.0.1:8085", "`address` to listen on; loopback unless you say otherwise")
	f.StringVar(&faults, "faults", "", "JSON `file` with faults to begin with")
	f.StringVar(&keep, "keep", "", "keep received media in this `directory`")
	f.IntVar(&rate, "rate", 200, "requests per minute before it answers 429; -1: no limit")
	f.DurationVar(&tokenLife, "token-life", time.Hour, "how long a token is valid")
	a.jsonFlag(c)
	return c
}

const unlimitedRate = -1

func loadFaults(path string, cm *sandbox.CallMiner) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return &problem{code: exitUsage, err: err, hint: "name a readable JSON file"}
	}
	var list []sandbox.Fault
	if err := json.Unmarshal(raw, &list); err != nil {
		return &problem{code: exitUsage, what: path, err: err, hint: "a JSON array of faults; docs/sandbox.md shows them"}
	}
	return cm.SetFaults(list...)
}

func (a *app) serveSandbox(ctx context.Context, listen string, cm *sandbox.CallMiner) error {
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		return &problem{code: exitFailed, what: "listen on " + listen, err: err, hint: "choose another address with --listen"}
	}
	a.ui.say("sandbox for callminer on http://%s", ln.Addr())
	a.ui.say("  base_url  = \"http://%s/ingestion\"", ln.Addr())
	a.ui.say("  token_url = \"http://%s/connect/token\"", ln.Addr())
	a.ui.say("  view      = http://%s/_sandbox/summary", ln.Addr())
	return sandbox.Serve(ctx, ln, cm)
}
