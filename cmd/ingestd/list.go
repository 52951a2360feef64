package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"ingestd/internal/ledger"
)

// filterFlags are the flags by which list and retry choose deliveries.
type filterFlags struct {
	states, sources, destinations []string
	since, until, callID, reason  string
}

func (f *filterFlags) register(c *cobra.Command) {
	fl := c.Flags()
	fl.StringSliceVar(&f.states, "state", nil, "only these `states` (comma-separated): of deliveries (planned, held, accepted, ...) or of recordings without one (waiting, quarantined, ...)")
	fl.StringSliceVar(&f.sources, "source", nil, "only these `sources`")
	fl.StringSliceVar(&f.destinations, "destination", nil, "only these `destinations`")
	fl.StringVar(&f.since, "since", "", "first seen at or after this `time`: 2026-11-02, 2026-11-02T15:04:05Z, or an age such as 36h")
	fl.StringVar(&f.until, "until", "", "first seen before this `time`")
	fl.StringVar(&f.callID, "call-id", "", "only this call `id`")
	fl.StringVar(&f.reason, "reason", "", "only this reason `code`")
}

func (f *filterFlags) filter(now time.Time) (ledger.Filter, error) {
	out := ledger.Filter{States: f.states, Sources: f.sources, Destinations: f.destinations, CallID: f.callID, Reason: f.reason}
	known := map[string]bool{}
	var names []string
	for _, s := range ledger.States() {
		known[string(s)], names = true, append(names, string(s))
	}
	for _, s := range ledger.RecordingStates() {
		known[string(s)], names = true, append(names, string(s))
	}
	for _, s := range f.states {
		if !known[s] {
			return out, usage(fmt.Sprintf("there is no state %q", s), "the states are "+strings.Join(names, ", "))
		}
	}
	var err error
	if out.Since, err = parseWhen(f.since, now); err != nil {
		return out, err
	}
	out.Until, err = parseWhen(f.until, now)
	return out, err
}

// parseWhen reads a day, an instant or an age. Days begin in the local zone.
func parseWhen(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if age, err := time.ParseDuration(s); err == nil {
		return now.Add(-age), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04", time.DateTime, time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usage(fmt.Sprintf("%q is no time", s), "write 2026-11-02, 2026-11-02T15:04:05Z, or an age such as 36h")
}

func (a *app) listCommand() *cobra.Command {
	var flags filterFlags
	var asCSV, wide bool
	var limit int
	c := &cobra.Command{
		Use:   "list",
		Short: "List deliveries, and recordings that have none yet",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			filter, err := flags.filter(a.now())
			if err != nil {
				return err
			}
			if limit < 0 {
				return usage(fmt.Sprintf("--limit %d", limit), "a number of rows, or 0 for all")
			}
			filter.Limit = limit
			if err := a.knownNames(filter); err != nil {
				return err
			}
			return a.withReader(c.Context(), func(ctx context.Context, r *ledger.Reader) error {
				switch {
				case a.json:
					return r.List(ctx, filter, func(row ledger.Row) error { return a.printJSON(row) })
				case asCSV:
					return listCSV(ctx, a.ui.out, r, filter)
				default:
					return a.listTable(ctx, r, filter, wide)
				}
			})
		},
	}
	flags.register(c)
	a.jsonFlag(c)
	c.Flags().BoolVar(&asCSV, "csv", false, "print CSV")
	c.Flags().BoolVar(&wide, "wide", false, "also the vendor's ids")
	c.Flags().IntVar(&limit, "limit", 0, "print at most so many `rows` (0: all)")
	c.MarkFlagsMutuallyExclusive("json", "csv")
	return c
}

// knownNames refuses a filter by a source or destination that is neither
// configured nor, under an earlier configuration, in the ledger.
func (a *app) knownNames(f ledger.Filter) error {
	cfg, err := a.loadConfig()
	if err != nil {
		return err
	}
	sources, destinations := sourceNames(cfg), destinationNames(cfg)
	for _, s := range f.Sources {
		if !slices.Contains(sources, s) {
			a.ui.say("note: no source is called %q; configured are %s", s, strings.Join(sources, ", "))
		}
	}
	for _, d := range f.Destinations {
		if !slices.Contains(destinations, d) {
			a.ui.say("note: no destination is called %q; configured are %s", d, strings.Join(destinations, ", "))
		}
	}
	return nil
}

func (a *app) listTable(ctx context.Context, r *ledger.Reader, f ledger.Filter, wide bool) error {
	w := tabwriter.NewWriter(a.ui.out, 0, 4, 2, ' ', 0)
	fmt.Fprint(w, "ID\tSTATE\tREASON\tDESTINATION\tFIRST SEEN\tCALL ID\tPATH")
	if wide {
		fmt.Fprint(w, "\tDELIVERY\tIDS")
	}
	fmt.Fprintln(w)
	rows := 0
	err := r.List(ctx, f, func(row ledger.Row) error {
		rows++
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s", row.ID, row.State, cell(deref(row.Reason)),
			cell(deref(row.Destination)), local(row.FirstSeenAt), cell(deref(row.CallID)), cell(row.Source+"/"+row.Path))
		if wide {
			delivery := "-"
			if row.DeliveryID != nil {
				delivery = strconv.FormatInt(*row.DeliveryID, 10)
			}
			fmt.Fprintf(w, "\t%s\t%s", delivery, cell(idText(row.IDs)))
		}
		fmt.Fprintln(w)
		if rows%1000 == 0 {
			return w.Flush()
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if rows == 0 {
		a.ui.say("nothing matches")
	}
	return nil
}

// listCSV writes every field of the JSON contract as a column. Cells that a
// spreadsheet would run as a formula are made text with a leading apostrophe.
func listCSV(ctx context.Context, out io.Writer, r *ledger.Reader, f ledger.Filter) error {
	w := csv.NewWriter(out)
	header := []string{"id", "delivery_id", "source", "path", "size", "sha256", "call_id", "recording_id", "started_at", "destination",
		"state", "reason", "reason_text", "attempts", "idempotency_key", "ids", "first_seen_at", "accepted_at", "next_attempt_at", "updated_at"}
	if err := w.Write(header); err != nil {
		return err
	}
	err := r.List(ctx, f, func(row ledger.Row) error {
		var flat map[string]any
		raw, err := json.Marshal(row)
		if err != nil {
			return err
		}
		dec := json.NewDecoder(strings.NewReader(string(raw)))
		dec.UseNumber()
		if err := dec.Decode(&flat); err != nil {
			return err
		}
		cells := make([]string, len(header))
		for i, name := range header {
			switch v := flat[name].(type) {
			case nil:
			case string:
				cells[i] = v
			case map[string]any:
				cells[i] = idText(row.IDs)
			default:
				cells[i] = fmt.Sprint(v)
			}
			if cells[i] != "" && strings.ContainsRune("=+-@\t\r", rune(cells[i][0])) {
				cells[i] = "'" + cells[i]
			}
		}
		return w.Write(cells)
	})
	w.Flush()
	if err != nil {
		return err
	}
	return w.Error()
}

// idText prints vendor ids in a fixed order.
func idText(ids map[string]string) string {
	parts := make([]string, 0, len(ids))
	for _, k := range sortedKeys(ids) {
		parts = append(parts, k+"="+ids[k])
	}
	return strings.Join(parts, " ")
}

func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.ui.out)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

func local(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05 MST")
}
