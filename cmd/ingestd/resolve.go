package main

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"ingestd/internal/ledger"
)

func (a *app) resolveCommand() *cobra.Command {
	var choice choiceFlags
	var note string
	var arrived, again bool
	var ids []string
	c := &cobra.Command{
		Use:   "resolve [ID|PATH|CALL_ID|VENDOR_ID...]",
		Short: "Say what became of a delivery that nobody could ask about",
		Long: "End a doubt by a person's word. A delivery that is held or in doubt is accepted (--arrived: it\n" +
			"was found at the vendor, --id NAME=VALUE says under which id) or sent again under the same\n" +
			"idempotency key (--send-again: it is not there). Who said so, and why, becomes part of the\n" +
			"history. When every delivery of a recording is accepted, its file goes where the source's `after`\n" +
			"says. Works while the daemon runs.",
		Example: "  ingestd resolve 12345 --arrived --id mining_id=6931a0d5 --note \"seen in Mining Summary\"\n" +
			"  ingestd resolve --delivery 17 --send-again --note \"not in the portal after a day\"",
		RunE: func(c *cobra.Command, args []string) error {
			o := personOrder{
				NewOrder: ledger.NewOrder{Kind: ledger.OrderAccept, By: whoami(), Note: note},
				takes:    takesStates(ledger.Held, ledger.InDoubt), moves: "resolve moves what is held or in doubt", one: true,
			}
			chosen, err := choice.read(c, args, a.now(), o)
			if err != nil {
				return err
			}
			if o.IDs, err = vendorIDFlags(ids); err != nil {
				return err
			}
			switch {
			case arrived == again:
				return usage("what became of it?", "say --arrived if the vendor has it, or --send-again if it has it not")
			case again && len(ids) > 0:
				return usage("--id is about a recording that arrived", "leave it out, or say --arrived")
			case strings.TrimSpace(note) == "":
				return usage("how do you know?", "say it for the history: --note \"seen in the vendor's portal\"")
			case len(ids) > 0 && len(args)+len(chosen.deliveries) != 1:
				return usage("--id is about one delivery", "name one, as in --delivery 17")
			case again:
				o.Kind = ledger.OrderRetry
			}
			return a.order(c.Context(), chosen, o)
		},
	}
	choice.register(c)
	a.jsonFlag(c)
	f := c.Flags()
	f.BoolVar(&arrived, "arrived", false, "the vendor has it: it counts as accepted")
	f.BoolVar(&again, "send-again", false, "the vendor has it not: it is sent again")
	f.StringArrayVar(&ids, "id", nil, "what the vendor calls it, as `name=value`; may be repeated")
	f.StringVar(&note, "note", "", "how you know, for the history (required)")
	return c
}

func (a *app) cancelCommand() *cobra.Command {
	var choice choiceFlags
	var note string
	c := &cobra.Command{
		Use:   "cancel [ID|PATH|CALL_ID|VENDOR_ID...]",
		Short: "Give deliveries up: they are not sent, or not any more",
		Long: "Order that a delivery is not sent: one that is planned, held, rejected or in doubt. Nothing is\n" +
			"taken back at the vendor. The file stays where it is unless another destination accepted it.\n" +
			"`ingestd retry ID` takes the order back while the file is there. Who ordered it, and why,\n" +
			"becomes part of the history. Works while the daemon runs.",
		Example: "  ingestd cancel 12345 --note \"a test call\"\n  ingestd cancel --state held --reason conflict --destination voyc --note \"exported twice\"",
		RunE: func(c *cobra.Command, args []string) error {
			o := personOrder{
				NewOrder: ledger.NewOrder{Kind: ledger.OrderCancel, By: whoami(), Note: note},
				takes: takesStates(ledger.Planned, ledger.Declaring, ledger.Declared, ledger.Sending, ledger.Committing,
					ledger.InDoubt, ledger.Held, ledger.Rejected),
				moves: "cancel moves what is planned, declared, in doubt, held or rejected", one: true,
			}
			chosen, err := choice.read(c, args, a.now(), o)
			switch {
			case err != nil:
				return err
			case strings.TrimSpace(note) == "":
				return usage("why?", "say it for the history: --note \"a test call\"")
			}
			return a.order(c.Context(), chosen, o)
		},
	}
	choice.register(c)
	a.jsonFlag(c)
	c.Flags().StringVar(&note, "note", "", "why, for the history (required)")
	return c
}

// takesStates puts the deliveries in these states into an order.
func takesStates(states ...ledger.State) func(ledger.Row, *ledger.NewOrder) {
	return func(row ledger.Row, o *ledger.NewOrder) {
		for _, s := range states {
			if row.DeliveryID != nil && row.State == string(s) {
				o.DeliveryIDs = append(o.DeliveryIDs, *row.DeliveryID)
			}
		}
	}
}

var vendorIDName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// vendorIDFlags reads name=value pairs as show prints them.
func vendorIDFlags(pairs []string) (map[string]string, error) {
	ids := make(map[string]string, len(pairs))
	for _, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		if !vendorIDName.MatchString(name) || value == "" || escape(value) != value || len(value) > 256 {
			return nil, usage(fmt.Sprintf("%q is no vendor id", pair), "write --id mining_id=6931a0d5, with the names that ingestd show prints")
		}
		ids[name] = value
	}
	return ids, nil
}
