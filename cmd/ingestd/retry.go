package main

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ingestd/internal/ledger"
)

// orderWait is how long a command waits for the running daemon to carry an
// order out before it says that it will.
const orderWait = 10 * time.Second

func (a *app) retryCommand() *cobra.Command {
	var flags filterFlags
	var note string
	var all bool
	c := &cobra.Command{
		Use:   "retry [ID|PATH|CALL_ID|VENDOR_ID...]",
		Short: "Try held, rejected or quarantined recordings again",
		Long: "Order another try, by argument or by filter. A held, rejected or doubtful delivery is sent\n" +
			"again under the same idempotency key; a quarantined, waiting or skipped recording is looked\n" +
			"at anew; metadata that changed after it was sent counts as seen. The order and who gave it become part of the history. Works while the daemon runs.",
		RunE: func(c *cobra.Command, args []string) error {
			filter, err := flags.filter(a.now())
			if err != nil {
				return err
			}
			if len(args) == 0 && !all && !c.Flags().Changed("state") && !c.Flags().Changed("reason") && !c.Flags().Changed("call-id") &&
				!c.Flags().Changed("source") && !c.Flags().Changed("destination") && !c.Flags().Changed("since") && !c.Flags().Changed("until") {
				return usage("retry what?", "name recordings, or choose by --state, --reason, --source, --destination, --since, or --all")
			}
			return a.retry(c.Context(), args, filter, note)
		},
	}
	flags.register(c)
	a.jsonFlag(c)
	c.Flags().StringVar(&note, "note", "", "why, for the history")
	c.Flags().BoolVar(&all, "all", false, "everything that a retry can move")
	return c
}

func (a *app) retry(ctx context.Context, args []string, filter ledger.Filter, note string) error {
	cfg, err := a.loadConfig()
	if err != nil {
		return err
	}
	order := ledger.NewOrder{Kind: "retry", By: whoami(), Note: note}
	err = a.readLedger(ctx, cfg.Ledger.Path, func(ctx context.Context, r *ledger.Reader) error {
		return chooseForRetry(ctx, r, args, filter, &order)
	})
	if err != nil {
		return err
	}
	n := len(order.DeliveryIDs) + len(order.RecordingIDs)
	if n == 0 && len(args) > 0 {
		return &problem{code: exitFailed, what: "nothing of that can be tried again",
			hint: "a retry moves what is held, rejected, in doubt, quarantined, waiting or skipped; ingestd show says where it stands"}
	}
	if n == 0 {
		if a.json {
			return a.printJSON(map[string]any{"ordered": 0, "applied": true})
		}
		a.ui.say("nothing matches that a retry could move")
		return nil
	}
	result, applied, err := a.giveOrder(ctx, cfg.Ledger.Path, order)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(map[string]any{"ordered": n, "applied": applied, "result": result})
	}
	if !applied {
		fmt.Fprintf(a.ui.out, "ordered for %d; the daemon has not carried it out yet and will\n", n)
		return nil
	}
	fmt.Fprintf(a.ui.out, "ordered for %d: %s\n", n, result)
	if strings.HasPrefix(result, "applied to 0") {
		return &problem{code: exitFailed, what: "nothing was moved", hint: "ingestd show says where it stands"}
	}
	return nil
}

// chooseForRetry turns arguments and filter into the rows of an order.
func chooseForRetry(ctx context.Context, r *ledger.Reader, args []string, filter ledger.Filter, o *ledger.NewOrder) error {
	add := func(row ledger.Row) error {
		switch {
		case row.Reason != nil && *row.Reason == ledger.MetadataChanged && row.State != string(ledger.Held):
			if !slices.Contains(o.RecordingIDs, row.ID) {
				o.RecordingIDs = append(o.RecordingIDs, row.ID)
			}
		case row.DeliveryID == nil:
			switch ledger.RecordingState(row.State) {
			case ledger.Quarantined, ledger.Waiting, ledger.Skipped:
				o.RecordingIDs = append(o.RecordingIDs, row.ID)
			}
		case row.State == string(ledger.Held), row.State == string(ledger.Rejected), row.State == string(ledger.InDoubt):
			o.DeliveryIDs = append(o.DeliveryIDs, *row.DeliveryID)
		}
		return nil
	}
	if len(args) == 0 {
		return r.List(ctx, filter, add)
	}
	for _, arg := range args {
		found, err := find(ctx, r, arg)
		if err != nil {
			return err
		}
		for _, s := range found {
			rows := s.Deliveries
			if len(rows) == 0 {
				rows = []ledger.Row{{ID: s.Recording.ID, State: s.Recording.State}}
			}
			for _, row := range rows {
				if err := add(row); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// giveOrder writes the order down and sees to it that it is carried out: by
// the running daemon, or here when none runs.
func (a *app) giveOrder(ctx context.Context, path string, o ledger.NewOrder) (result string, applied bool, err error) {
	id, _, err := ledger.Order(ctx, path, o)
	if err != nil {
		return "", false, err
	}
	if led, err := ledger.Open(ctx, ledger.Options{Path: path, Now: a.now, Log: quietLogger()}); err == nil {
		_, err := led.ApplyOrders(ctx)
		if cerr := led.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return "", false, err
		}
	}
	deadline := a.now().Add(orderWait)
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
