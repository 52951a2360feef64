package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"ingestd/internal/ledger"
)

func (a *app) showCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "show ID|PATH|CALL_ID|VENDOR_ID",
		Aliases: []string{"why"},
		Short:   "Show one recording: its deliveries, ids and whole history",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withReader(c.Context(), func(ctx context.Context, r *ledger.Reader) error {
				found, err := find(ctx, r, args[0])
				if err != nil {
					return err
				}
				for i, s := range found {
					if a.json {
						if err := a.printJSON(s); err != nil {
							return err
						}
						continue
					}
					if i > 0 {
						fmt.Fprintln(a.ui.out)
					}
					a.printShown(s)
				}
				return nil
			})
		},
	}
	a.jsonFlag(c)
	return c
}

// find looks a recording up by whatever an operator has in hand.
func find(ctx context.Context, r *ledger.Reader, arg string) ([]ledger.Shown, error) {
	found, err := r.Show(ctx, arg)
	if errors.Is(err, ledger.ErrNotFound) {
		found, err = findFile(ctx, r, arg)
	}
	if errors.Is(err, ledger.ErrNotFound) {
		return nil, &problem{code: exitFailed, what: fmt.Sprintf("the ledger knows nothing of %q", arg),
			hint: "give a ledger id, a path, a call id or a vendor's id; ingestd list shows them"}
	}
	return found, err
}

// findFile takes a name as source/path, as list prints it, or as a path from
// the working directory.
func findFile(ctx context.Context, r *ledger.Reader, arg string) ([]ledger.Shown, error) {
	source, rel, ok := strings.Cut(arg, "/")
	if !ok || filepath.IsAbs(arg) {
		return nil, ledger.ErrNotFound
	}
	found, err := r.Show(ctx, rel)
	found = slices.DeleteFunc(found, func(s ledger.Shown) bool { return s.Recording.Source != source })
	if err == nil && len(found) > 0 || err != nil && !errors.Is(err, ledger.ErrNotFound) {
		return found, err
	}
	abs, err := filepath.Abs(arg)
	if err != nil {
		return nil, err
	}
	return r.Show(ctx, abs)
}

func (a *app) printShown(s ledger.Shown) {
	r := s.Recording
	fmt.Fprintf(a.ui.out, "recording %d  %s  %s/%s\n", r.ID, r.State, r.Source, escape(r.Path))
	if t := deref(r.ReasonText); t != "" {
		fmt.Fprintf(a.ui.out, "  why         %s: %s\n", deref(r.Reason), escape(t))
	}
	fmt.Fprintf(a.ui.out, "  file        %s (%d bytes)  sha256 %s\n", size(r.Size), r.Size, cell(deref(r.SHA256)))
	fmt.Fprintf(a.ui.out, "  first seen  %s\n", local(r.FirstSeenAt))
	if r.Audio != nil {
		fmt.Fprintf(a.ui.out, "  audio       %s/%s, %d Hz, %d channel(s), %.3f s\n", r.Audio.Container, r.Audio.Codec, r.Audio.SampleRate, r.Audio.Channels, r.Audio.DurationSeconds)
	}
	if c := r.Call; c != nil {
		fmt.Fprintf(a.ui.out, "  call        %s  %s  started %s\n", cell(c.CallID), cell(c.Direction), local(c.StartedAt))
	}
	for _, d := range r.Sidecars {
		fmt.Fprintf(a.ui.out, "  sidecar     %s: %s row %d\n", d.Name, escape(d.Path), d.Row)
	}
	for channel, p := range r.Parts {
		where := ""
		if p.MovedTo != nil {
			where = "  now " + escape(*p.MovedTo)
		}
		fmt.Fprintf(a.ui.out, "  channel %d   %s (%d bytes)  sha256 %s%s\n", channel, escape(p.Path), p.Size, p.SHA256, where)
	}
	for _, d := range s.Deliveries {
		fmt.Fprintf(a.ui.out, "  delivery %d to %s: %s after %d attempt(s)\n", derefInt(d.DeliveryID), deref(d.Destination), d.State, d.Attempts)
		if t := deref(d.ReasonText); t != "" {
			fmt.Fprintf(a.ui.out, "    why       %s: %s\n", deref(d.Reason), escape(t))
		}
		printChoices(a.ui.out, d)
		if d.NextAttemptAt != nil {
			fmt.Fprintf(a.ui.out, "    next try  %s\n", local(*d.NextAttemptAt))
		}
		ids := tabwriter.NewWriter(a.ui.out, 0, 4, 2, ' ', 0)
		fmt.Fprintf(ids, "    key\t%s\n", deref(d.IdempotencyKey))
		for _, k := range sortedKeys(d.IDs) {
			fmt.Fprintf(ids, "    %s\t%s\n", k, escape(d.IDs[k]))
		}
		ids.Flush()
	}
	a.printHistory(s.History)
}

// printChoices spells out what a person may order about a delivery that waits
// for one.
func printChoices(out io.Writer, d ledger.Row) {
	if d.State != string(ledger.Held) && d.State != string(ledger.Rejected) {
		return
	}
	n := derefInt(d.DeliveryID)
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	label := "you can"
	for _, c := range []struct{ state, command, does string }{
		{string(ledger.Held), fmt.Sprintf("resolve --delivery %d --arrived --note WHY", n), "the vendor has it (--id NAME=VALUE: as what)"},
		{"", fmt.Sprintf("retry --delivery %d", n), "send it again under the same key"},
		{"", fmt.Sprintf("cancel --delivery %d --note WHY", n), "give it up"},
	} {
		if c.state == "" || c.state == d.State {
			fmt.Fprintf(w, "    %-8s\tingestd %s\t%s\n", label, c.command, c.does)
			label = ""
		}
	}
	w.Flush()
}

// printHistory names the destination of every line that is about one, as soon
// as there are several to confuse.
func (a *app) printHistory(history []ledger.Event) {
	destinations := map[string]bool{}
	for _, h := range history {
		if h.Destination != nil {
			destinations[*h.Destination] = true
		}
	}
	fmt.Fprintln(a.ui.out, "  history")
	w := tabwriter.NewWriter(a.ui.out, 0, 4, 2, ' ', 0)
	for _, h := range history {
		fmt.Fprintf(w, "    %s\t", local(h.At))
		if len(destinations) > 1 {
			fmt.Fprintf(w, "%s\t", cell(deref(h.Destination)))
		}
		status := ""
		if h.HTTPStatus != nil {
			status = fmt.Sprintf("HTTP %d", *h.HTTPStatus)
		}
		fmt.Fprintf(w, "%s -> %s\t%s\t%s\t%s\n", cell(deref(h.From)), cell(deref(h.To)), cell(deref(h.Class)), status, cell(deref(h.Text)))
	}
	w.Flush()
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func derefInt(n *int64) int64 {
	if n == nil {
		return 0
	}
	return *n
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
