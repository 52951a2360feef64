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

	"ingestd/internal/config"
	"ingestd/internal/ledger"
)

func (a *app) showCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "show ID|PATH|CALL_ID|VENDOR_ID",
		Aliases: []string{"why"},
		Short:   "Show one recording: its deliveries, ids and whole history",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := a.loadConfig()
			if err != nil {
				return err
			}
			return a.readLedger(c.Context(), cfg.Ledger.Path, func(ctx context.Context, r *ledger.Reader) error {
				found, err := find(ctx, r, cfg.Sources, args[0])
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

// find looks a recording up by whatever an operator has in hand. A path below
// a source means that source's file alone: what a person orders about it must
// not befall another source's file of the same name.
func find(ctx context.Context, r *ledger.Reader, sources []config.Source, arg string) ([]ledger.Shown, error) {
	found, err := r.Show(ctx, arg)
	switch {
	case err != nil && !errors.Is(err, ledger.ErrNotFound):
	case filepath.IsAbs(arg):
		below, inside, belowErr := findBelow(ctx, r, sources, arg)
		if inside {
			found = slices.DeleteFunc(found, func(s ledger.Shown) bool { return deref(s.Recording.MovedTo) != arg })
			found, err = append(found, below...), belowErr
		}
	case err != nil:
		found, err = findFile(ctx, r, sources, arg)
	}
	if err == nil && len(found) == 0 || errors.Is(err, ledger.ErrNotFound) {
		return nil, &problem{code: exitFailed, what: fmt.Sprintf("the ledger knows nothing of %q", arg),
			hint: "give a ledger id, a path, a call id or a vendor's id; of recordings that settle, or wait for their metadata, the call id is not known yet: ingestd list --state settling,waiting,quarantined"}
	}
	return found, err
}

// findFile takes a name as source/path, as list prints it, or as a path from
// the working directory.
func findFile(ctx context.Context, r *ledger.Reader, sources []config.Source, arg string) ([]ledger.Shown, error) {
	source, rel, ok := strings.Cut(arg, "/")
	if !ok {
		return nil, ledger.ErrNotFound
	}
	found, err := showIn(ctx, r, source, rel)
	if err != nil || len(found) > 0 {
		return found, err
	}
	abs, err := filepath.Abs(arg)
	if err != nil {
		return nil, err
	}
	found, _, err = findBelow(ctx, r, sources, abs)
	return found, err
}

// findBelow takes an absolute path; inside tells that it lies below a source.
func findBelow(ctx context.Context, r *ledger.Reader, sources []config.Source, abs string) (found []ledger.Shown, inside bool, err error) {
	for _, s := range sources {
		rel, err := filepath.Rel(s.Path, abs)
		if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
			continue
		}
		inside = true
		more, err := showIn(ctx, r, s.Name, rel)
		if err != nil {
			return nil, inside, err
		}
		found = append(found, more...)
	}
	return found, inside, nil
}

// showIn is what a source has at a path.
func showIn(ctx context.Context, r *ledger.Reader, source, rel string) ([]ledger.Shown, error) {
	found, err := r.Show(ctx, rel)
	if errors.Is(err, ledger.ErrNotFound) {
		return nil, nil
	}
	return slices.DeleteFunc(found, func(s ledger.Shown) bool { return s.Recording.Source != source }), err
}

func (a *app) printShown(s ledger.Shown) {
	r := s.Recording
	fmt.Fprintf(a.ui.out, "recording %d  %s  %s/%s\n", r.ID, r.State, r.Source, escape(r.Path))
	if t := deref(r.ReasonText); t != "" {
		fmt.Fprintf(a.ui.out, "  why         %s: %s\n", deref(r.Reason), escape(t))
	}
	fmt.Fprintf(a.ui.out, "  file        %s (%d bytes)  sha256 %s\n", size(r.Size), r.Size, cell(deref(r.SHA256)))
	if r.MovedTo != nil && len(r.Parts) == 0 {
		fmt.Fprintf(a.ui.out, "  now at      %s\n", escape(*r.MovedTo))
	}
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
