package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Kinds of orders.
const (
	OrderRetry  = "retry"  // try again: a delivery is sent again, a recording looked at anew
	OrderAccept = "accept" // a person found the recording at the vendor
	OrderCancel = "cancel" // it will not be sent
)

// ByPerson is the reason of a delivery that a person declared accepted or
// cancelled, so that an auditor finds those that no vendor answered.
const ByPerson = "by_person"

// target is one delivery of an order, as it is written down: its id, or an
// object with what the person knows of it.
type target struct {
	ID  int64             `json:"id"`
	IDs map[string]string `json:"ids"` // the vendor's
}

func (t target) MarshalJSON() ([]byte, error) {
	if len(t.IDs) == 0 {
		return json.Marshal(t.ID)
	}
	type whole target
	return json.Marshal(whole(t))
}

func (t *target) UnmarshalJSON(raw []byte) error {
	if err := json.Unmarshal(raw, &t.ID); err == nil {
		return nil
	}
	type whole target
	return json.Unmarshal(raw, (*whole)(t))
}

// targets are the deliveries of an order.
func (o NewOrder) targets() ([]target, error) {
	for name := range o.IDs {
		if name == "" || strings.HasPrefix(name, "_") {
			return nil, fmt.Errorf("order: %q is no name of a vendor's id", name)
		}
	}
	if len(o.IDs) > 0 && (o.Kind != OrderAccept || len(o.DeliveryIDs) != 1) {
		return nil, errors.New("order: a vendor's ids belong to one accepted delivery")
	}
	out := make([]target, len(o.DeliveryIDs))
	for i, id := range o.DeliveryIDs {
		out[i] = target{ID: id, IDs: o.IDs}
	}
	return out, nil
}

// acceptDelivery takes a person's word for the vendor's answer. What is under
// way has its answer still to come, and what was refused was not taken.
func (t *tx) acceptDelivery(g target, why string, result *outcome) error {
	d, err := t.ordered(g.ID, result)
	if err != nil || d.ID == 0 {
		return err
	}
	if d.State != Held && d.State != InDoubt {
		result.refuse("delivery %d is %s", d.ID, d.State)
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(g.IDs)) {
		why += fmt.Sprintf("; %s %s", name, g.IDs[name])
	}
	result.done++
	return t.move(d, Step{From: d.State, To: Accepted, Class: "operator", Reason: ByPerson, Text: "accepted as " + why, IDs: g.IDs})
}

// cancelDelivery ends a delivery that a person gives up. This identity stays
// cancelled when the recording is decided again or its file comes again. What
// a crash left in mid-way is given up too where no attempt can run.
func (t *tx) cancelDelivery(id int64, why string, runs func(destination string) bool, result *outcome) error {
	d, err := t.ordered(id, result)
	if err != nil || d.ID == 0 {
		return err
	}
	var steps []Step
	from := d.State
	switch d.State {
	case Planned, Declared, InDoubt, Held, Rejected:
	case Declaring, Sending, Committing:
		if runs(d.Destination) {
			result.refuse("delivery %d is under way (%s): order it again when that has ended", id, d.State)
			return nil
		}
		if from = InDoubt; d.State == Sending {
			from = Planned
		}
		steps = append(steps, Step{From: d.State, To: from, Class: "crash", Reason: "crash", Text: whatStopped(d.State)})
	default:
		result.refuse("delivery %d is %s", id, d.State)
		return nil
	}
	result.done++
	return t.move(d, append(steps, Step{From: from, To: Cancelled, Class: "operator", Reason: ByPerson, Text: "given up as " + why})...)
}

// uncancel takes a person's own cancellation back, while a file of the
// recording is there.
func (t *tx) uncancel(d shortDelivery, r shortRecording, why string, result *outcome) error {
	var moving bool
	if err := t.row("SELECT move_to IS NOT NULL FROM recordings WHERE id = ?", []any{r.ID}, []any{&moving}); err != nil {
		return err
	}
	if r.State != Ready || !r.Current || moving {
		// Another file of the same content may be there, as a duplicate.
		handed, err := t.handOver(d)
		if err != nil {
			return err
		}
		if !handed {
			result.refuse("the file of delivery %d was disposed of, or has changed", d.ID)
			return nil
		}
		if d, err = t.delivery(d.ID); err != nil {
			return err
		}
	}
	result.done++
	return t.sendAgain(d, why)
}

// sendAgain plans a delivery that a person wants sent: its patience and its
// crashes count anew.
func (t *tx) sendAgain(d shortDelivery, why string) error {
	if err := t.exec("UPDATE deliveries SET crashes = 0, first_attempt = NULL WHERE id = ?", d.ID); err != nil {
		return err
	}
	return t.move(d, Step{From: d.State, To: Planned, Class: "operator", Text: why})
}

// ordered is a delivery that an order names; none is refused, with the id 0.
func (t *tx) ordered(id int64, result *outcome) (shortDelivery, error) {
	d, err := t.delivery(id)
	if errors.Is(err, ErrNotFound) {
		result.refuse("there is no delivery %d", id)
		return shortDelivery{}, nil
	}
	return d, err
}
