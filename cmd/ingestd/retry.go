package main

import (
	"github.com/spf13/cobra"

	"ingestd/internal/ledger"
)

func (a *app) retryCommand() *cobra.Command {
	var choice choiceFlags
	var note string
	c := &cobra.Command{
		Use:   "retry [ID|PATH|CALL_ID|VENDOR_ID...]",
		Short: "Try held, rejected or quarantined recordings again",
		Long: "Order another try, by argument or by filter. A held, rejected or doubtful delivery is sent\n" +
			"again under the same idempotency key, and so is one that a person cancelled, if it is named;\n" +
			"a quarantined, waiting or skipped recording is looked at anew; metadata that changed after it\n" +
			"was sent counts as seen. The order and who gave it become part of the history. Works while the\n" +
			"daemon runs.",
		RunE: func(c *cobra.Command, args []string) error {
			o := personOrder{
				NewOrder: ledger.NewOrder{Kind: ledger.OrderRetry, By: whoami(), Note: note},
				moves:    "a retry moves what is held, rejected, in doubt, quarantined, waiting or skipped",
			}
			chosen, err := choice.read(c, args, a.now(), o)
			if err != nil {
				return err
			}
			o.takes = retryTakes(chosen.named(ledger.Cancelled))
			return a.order(c.Context(), chosen, o)
		},
	}
	choice.register(c)
	a.jsonFlag(c)
	c.Flags().StringVar(&note, "note", "", "why, for the history")
	return c
}

// retryTakes puts what a retry moves into an order. What a person cancelled
// comes back only when it is named.
func retryTakes(cancelled bool) func(ledger.Row, *ledger.NewOrder) {
	return func(row ledger.Row, o *ledger.NewOrder) {
		switch {
		case deref(row.Reason) == ledger.MetadataChanged && row.State != string(ledger.Held):
			o.RecordingIDs = append(o.RecordingIDs, row.ID)
		case row.DeliveryID == nil:
			switch ledger.RecordingState(row.State) {
			case ledger.Quarantined, ledger.Waiting, ledger.Skipped:
				o.RecordingIDs = append(o.RecordingIDs, row.ID)
			}
		case row.State == string(ledger.Held), row.State == string(ledger.Rejected), row.State == string(ledger.InDoubt),
			row.State == string(ledger.Cancelled) && cancelled && deref(row.Reason) == ledger.ByPerson:
			o.DeliveryIDs = append(o.DeliveryIDs, *row.DeliveryID)
		}
	}
}
