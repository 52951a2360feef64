package main

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"ingestd/internal/ledger"
)

func (a *app) statusCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "status",
		Short: "One screen: what is waiting, what was sent, what needs a person",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := a.loadConfig()
			if err != nil {
				return err
			}
			return a.readLedger(c.Context(), cfg.Ledger.Path, func(ctx context.Context, r *ledger.Reader) error {
				s, err := r.Status(ctx)
				if err != nil {
					return err
				}
				if a.json {
					return a.printJSON(s)
				}
				a.printStatus(s, destinationNames(cfg))
				return nil
			})
		},
	}
	a.jsonFlag(c)
	return c
}

func (a *app) printStatus(s ledger.Status, configured []string) {
	out := a.ui.out
	switch {
	case s.Daemon.Running && s.Daemon.PID != nil && s.Daemon.Since != nil:
		fmt.Fprintf(out, "daemon   running, pid %d, since %s\n", *s.Daemon.PID, local(*s.Daemon.Since))
	case s.Daemon.Running:
		fmt.Fprintln(out, "daemon   running")
	default:
		fmt.Fprintln(out, "daemon   not running")
	}
	if t := s.Daemon.Trouble; t != nil {
		fmt.Fprintf(out, "trouble  %s\n         %s\n", t.Text, t.Hint)
	}
	if s.OldestPendingAt != nil {
		fmt.Fprintf(out, "oldest   waiting or unsent since %s\n", local(*s.OldestPendingAt))
	}
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "source\t")
	for _, state := range ledger.RecordingStates() {
		fmt.Fprintf(w, "%s\t", state)
	}
	fmt.Fprintln(w)
	for _, name := range sortedKeys(s.Sources) {
		fmt.Fprintf(w, "%s\t", name)
		for _, state := range ledger.RecordingStates() {
			fmt.Fprintf(w, "%d\t", s.Sources[name][string(state)])
		}
		fmt.Fprintln(w)
	}
	w.Flush()
	fmt.Fprintln(out)
	for _, name := range sortedKeys(s.Destinations) {
		fmt.Fprintf(out, "destination %s:", name)
		for _, state := range ledger.States() {
			if n := s.Destinations[name][string(state)]; n > 0 {
				fmt.Fprintf(out, "  %d %s", n, state)
			}
		}
		fmt.Fprintln(out)
		if !slices.Contains(configured, name) {
			fmt.Fprintln(out, "  it is not configured: nothing is sent to it, and nobody is asked")
		}
		if n := s.ProcessingFailed[name]; n > 0 {
			fmt.Fprintf(out, "  %d of them the vendor could not process: ingestd list --reason %s\n", n, ledger.ProcessingFailed)
		}
		if n := s.OrphanDeclares[name]; n > 0 {
			fmt.Fprintf(out, "  %d declares whose answer was lost since ever; each may count towards the vendor's quota\n", n)
		}
	}
	if len(s.LastErrors) > 0 {
		fmt.Fprintln(out)
		for _, e := range s.LastErrors {
			fmt.Fprintf(out, "last error of %s, recording %d, %s: %s\n", e.Destination, e.RecordingID, local(e.At), escape(e.Text))
		}
	}
	fmt.Fprintln(out)
	if len(s.NeedsPerson) == 0 {
		fmt.Fprintln(out, "nothing needs a person")
		return
	}
	reasons := sortedKeys(s.NeedsPerson)
	sort.SliceStable(reasons, func(i, j int) bool { return s.NeedsPerson[reasons[i]] > s.NeedsPerson[reasons[j]] })
	fmt.Fprintln(out, "needs a person:")
	for _, r := range reasons {
		fmt.Fprintf(out, "  %6d  %-20s  ingestd list --reason %s\n", s.NeedsPerson[r], r, r)
	}
}

func (a *app) orphansCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "orphans",
		Short: "Recordings without sidecar, sidecars and rows without recording",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withReader(c.Context(), func(ctx context.Context, r *ledger.Reader) error {
				if a.json {
					return r.Orphans(ctx, func(o ledger.Orphan) error { return a.printJSON(o) })
				}
				n := 0
				w := tabwriter.NewWriter(a.ui.out, 0, 4, 2, ' ', 0)
				fmt.Fprintln(w, "KIND\tSINCE\tPATH\tROW\tWHY")
				err := r.Orphans(ctx, func(o ledger.Orphan) error {
					n++
					row := "-"
					if o.Row != nil {
						row = strconv.Itoa(*o.Row)
					}
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", o.Kind, local(o.Since), cell(o.Source+"/"+o.Path), row, cell(o.Text))
					if n%1000 == 0 {
						return w.Flush()
					}
					return nil
				})
				if err != nil {
					return err
				}
				if n == 0 {
					a.ui.say("no orphans: every recording has its documents, and every document its recording")
					return nil
				}
				return w.Flush()
			})
		},
	}
	a.jsonFlag(c)
	return c
}
