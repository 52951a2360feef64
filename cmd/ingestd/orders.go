package main

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ingestd/internal/config"
	"ingestd/internal/ledger"
)

// orderWait is how long a command waits for the running daemon to carry an
// order out before it says that it will.
const orderWait = 10 * time.Second

// choiceFlags are the flags by which a person says what an order is about.
type choiceFlags struct {
	filterFlags
	deliveries []int64
	all        bool
}

func (f *choiceFlags) register(c *cobra.Command) {
	f.filterFlags.register(c)
	c.Flags().Int64SliceVar(&f.deliveries, "delivery", nil, "the deliveries with these `numbers`, as ingestd show prints them")
	c.Flags().Lookup("delivery").DefValue = "" // the library's help would say (default [])
	c.Flags().BoolVar(&f.all, "all", false, "everything that the order can move")
}

// choice is what an order is about: recordings by name, within the filter;
// deliveries by number; or else all that the filter selects.
type choice struct {
	args       []string
	deliveries []int64
	filter     ledger.Filter
	all        bool // a name may stand for several deliveries
	sources    []config.Source
}

// read makes the choice of an order. One that cannot be taken back is never
// about everything there is: there --all only says that a name may stand for
// several deliveries.
func (f *choiceFlags) read(c *cobra.Command, args []string, now time.Time, o personOrder) (choice, error) {
	filter, err := f.filter(now)
	if err != nil {
		return choice{}, err
	}
	chosen := len(args) > 0 || f.all && !o.one
	for _, name := range []string{"delivery", "state", "reason", "call-id", "source", "destination", "since", "until"} {
		chosen = chosen || c.Flags().Changed(name)
	}
	if !chosen {
		hint := "name recordings, or choose by --delivery, --state, --reason, --source, --destination or --since"
		if !o.one {
			hint += ", or --all"
		}
		return choice{}, usage(c.Name()+" what?", hint)
	}
	return choice{args: args, deliveries: f.deliveries, filter: filter, all: f.all}, nil
}

// named tells that rows in this state were asked for by name.
func (ch choice) named(state ledger.State) bool {
	return len(ch.args) > 0 || slices.Contains(ch.filter.States, string(state))
}

// each calls f for every row that was chosen.
func (ch choice) each(ctx context.Context, r *ledger.Reader, f func(arg string, row ledger.Row) error) error {
	if len(ch.args) == 0 {
		if len(ch.deliveries) > 0 {
			return nil
		}
		return r.List(ctx, ch.filter, func(row ledger.Row) error { return f("", row) })
	}
	for _, arg := range ch.args {
		found, err := find(ctx, r, ch.sources, arg)
		if err != nil {
			return err
		}
		for _, s := range found {
			rows := s.Deliveries
			if len(rows) == 0 {
				rows = []ledger.Row{{ID: s.Recording.ID, Source: s.Recording.Source, Path: s.Recording.Path,
					State: s.Recording.State, Reason: s.Recording.Reason, FirstSeenAt: s.Recording.FirstSeenAt}}
			}
			for _, row := range rows {
				if !matches(ch.filter, row) {
					continue
				}
				if err := f(arg, row); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// matches is the filter of list, for rows that were found by name.
func matches(f ledger.Filter, row ledger.Row) bool {
	in := func(list []string, s string) bool { return len(list) == 0 || slices.Contains(list, s) }
	return in(f.States, row.State) && in(f.Sources, row.Source) && in(f.Destinations, deref(row.Destination)) &&
		(f.Reason == "" || f.Reason == deref(row.Reason)) && (f.CallID == "" || f.CallID == deref(row.CallID) || f.CallID == deref(row.RecordingID)) &&
		(f.Since.IsZero() || !row.FirstSeenAt.Before(f.Since)) && (f.Until.IsZero() || row.FirstSeenAt.Before(f.Until))
}

// personOrder is an order that is still to find its rows.
type personOrder struct {
	ledger.NewOrder
	takes func(ledger.Row, *ledger.NewOrder)
	moves string // what the order moves, in words
	// one wants a name to stand for one delivery: what is said of it cannot
	// be taken back, or is true of it alone.
	one bool
}

func (a *app) order(ctx context.Context, chosen choice, o personOrder) error {
	cfg, err := a.loadConfig()
	if err != nil {
		return err
	}
	chosen.sources = cfg.Sources
	err = a.readLedger(ctx, cfg.Ledger.Path, func(ctx context.Context, r *ledger.Reader) error {
		return o.collect(ctx, r, chosen)
	})
	if err != nil {
		return err
	}
	n := len(o.DeliveryIDs) + len(o.RecordingIDs)
	if n == 0 && len(chosen.args) > 0 {
		return &problem{code: exitFailed, what: "nothing of that can be moved by this order", hint: o.moves + "; ingestd show says where it stands"}
	}
	if n == 0 {
		if a.json {
			return a.printJSON(map[string]any{"ordered": 0, "applied": true})
		}
		a.ui.say("nothing matches: %s", o.moves)
		return nil
	}
	result, applied, err := a.giveOrder(ctx, cfg.Ledger.Path, o.NewOrder)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(map[string]any{"ordered": n, "applied": applied, "result": result})
	}
	if !applied {
		fmt.Fprintf(a.ui.out, "ordered for %d; ingestd has not carried it out yet, and will when it runs\n", n)
		return nil
	}
	fmt.Fprintf(a.ui.out, "ordered for %d: %s\n", n, result)
	if strings.HasPrefix(result, "applied to 0") {
		return &problem{code: exitFailed, what: "nothing was moved", hint: "ingestd show says where it stands"}
	}
	return nil
}

// collect turns what was chosen into the rows of the order.
func (o *personOrder) collect(ctx context.Context, r *ledger.Reader, chosen choice) error {
	o.DeliveryIDs = slices.Clone(chosen.deliveries)
	by := map[string][]ledger.Row{} // argument -> what it moves; a filter may choose millions, and is not asked
	err := chosen.each(ctx, r, func(arg string, row ledger.Row) error {
		before := len(o.DeliveryIDs) + len(o.RecordingIDs)
		o.takes(row, &o.NewOrder)
		if arg != "" && len(o.DeliveryIDs)+len(o.RecordingIDs) > before {
			by[arg] = append(by[arg], row)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, arg := range chosen.args {
		if rows := by[arg]; !chosen.all && (o.one && len(rows) > 1 || twoMeanings(arg, rows)) {
			return severalMeant(arg, rows)
		}
	}
	o.DeliveryIDs, o.RecordingIDs = distinct(o.DeliveryIDs), distinct(o.RecordingIDs)
	return nil
}

func distinct(ids []int64) []int64 {
	slices.Sort(ids)
	return slices.Compact(ids)
}

// twoMeanings tells that a number is the ledger's for one recording, and the
// recorder's or a vendor's for another.
func twoMeanings(arg string, rows []ledger.Row) bool {
	id, err := strconv.ParseInt(arg, 10, 64)
	is := func(row ledger.Row) bool { return row.ID == id }
	return err == nil && slices.ContainsFunc(rows, is) && slices.ContainsFunc(rows, func(row ledger.Row) bool { return !is(row) })
}

// severalMeant lists what a name stands for.
func severalMeant(arg string, rows []ledger.Row) error {
	var list []string
	for _, row := range rows[:min(len(rows), 5)] {
		if row.DeliveryID == nil {
			list = append(list, fmt.Sprintf("recording %d (%s/%s)", row.ID, row.Source, row.Path))
			continue
		}
		list = append(list, fmt.Sprintf("%d (%s/%s to %s)", *row.DeliveryID, row.Source, row.Path, deref(row.Destination)))
	}
	if len(rows) > len(list) {
		list = append(list, "...")
	}
	return usage(fmt.Sprintf("%q stands for %d deliveries: %s", arg, len(rows), strings.Join(list, ", ")), "say which with --delivery NUMBER or --destination NAME, or --all")
}

// giveOrder writes the order down and sees to it that it is carried out: by
// the running daemon, or here when none runs. Root only writes it down where
// the ledger is the service user's: an opening would leave files of root.
func (a *app) giveOrder(ctx context.Context, path string, o ledger.NewOrder) (result string, applied bool, err error) {
	id, _, err := ledger.Order(ctx, path, o)
	if err != nil {
		return "", false, err
	}
	deadline := a.now().Add(orderWait)
	if _, foreign := foreignOwner(os.Geteuid(), filepath.Dir(path)); foreign {
		if in, err := ledger.Inspect(ctx, path); err == nil && !in.Running {
			deadline = a.now()
		}
	} else if led, err := ledger.Open(ctx, ledger.Options{Path: path, Now: a.now, Log: quietLogger()}); err == nil {
		_, err := led.ApplyOrders(ctx, func(string) bool { return false }) // the ledger is ours: nothing runs
		if cerr := led.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return "", false, err
		}
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		applied, result, err = ledger.OrderState(ctx, path, id)
		if err != nil || applied || !a.now().Before(deadline) {
			return result, applied, err
		}
		select {
		case <-ctx.Done():
			return "", false, nil
		case <-tick.C:
		}
	}
}

// whoami names the person behind an order: the one who called sudo, if any.
func whoami() string {
	if s := os.Getenv("SUDO_USER"); s != "" {
		return s
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "uid " + strconv.Itoa(os.Getuid())
}
