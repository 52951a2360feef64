package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"ingestd/internal/call"
	"ingestd/internal/ledger"
)

// knownRecording is what the configured ledger has at the path of a recording.
type knownRecording struct {
	Recording int64  `json:"recording"`
	State     string `json:"state"`
	Changed   bool   `json:"changed"` // the file has other content by now

	moved bool // its file was moved away, so this one came later
	stays bool // it was refused, and nothing but a person or a change makes the daemon look again
}

// knownDelivery is what the configured ledger says of the same recording at
// the same destination.
type knownDelivery struct {
	Recording int64  `json:"recording"`
	State     string `json:"state"`
	Changed   string `json:"changed,omitempty"` // call, identity: what has changed since; "": nothing
}

// What of a known delivery has changed since it was recorded.
const (
	changedCall     = "call"     // the call record: the metadata, or the mapping
	changedIdentity = "identity" // the id that the mapping gives it
)

// know marks what the real ledger says of a plan. It answers as the daemon
// would: a key that it has is not sent again, a file that it has neither, and
// other content under an id that it has is held.
func (pl *planner) know(ctx context.Context, one *planned, sum string, keys []string) error {
	if pl.known == nil {
		return nil
	}
	there, err := pl.led.RecordingsAt(ctx, one.Source, []string{one.Path})
	if err != nil {
		return err
	}
	look := there[one.Path].Look.Identity
	f := ledger.Foreseen{Source: one.Source, Path: one.Path, SHA256: sum, Size: look.Size, MtimeNS: look.MtimeNS, Call: one.Call, Copies: pl.copies[one.Source]}
	at, err := pl.known.KnownAt(ctx, f)
	switch {
	case errors.Is(err, ledger.ErrNotFound):
	case err != nil:
		return err
	default:
		one.Known = &knownRecording{Recording: at.ID, State: string(at.State), Changed: at.Changed, moved: at.Moved,
			stays: (at.State == ledger.Quarantined || at.State == ledger.Skipped) && one.State != string(at.State)}
	}
	conflict, err := pl.known.Conflict(ctx, f)
	if err != nil {
		return err
	}
	for i := range one.Deliveries {
		d := &one.Deliveries[i]
		if d.Known, err = pl.knownAs(ctx, d.Destination, keys[i], at, one.Call); err != nil {
			return err
		}
		if d.Known == nil && conflict != 0 && !d.Refused {
			reason, text := "conflict", fmt.Sprintf("recording %d of the ledger has the same id and other content: it would be held", conflict)
			if f.Copies {
				reason, text = "copy", fmt.Sprintf("recording %d of the ledger is another copy of it: this one would be skipped, unless it is the better one and nothing was sent", conflict)
			}
			d.Refused, d.Reason, d.ReasonText = true, &reason, &text
		}
	}
	return nil
}

// knownAs finds the delivery that would be this one: under its key, or, where
// the mapping has changed, of the same file under another.
func (pl *planner) knownAs(ctx context.Context, destination, key string, at ledger.AtPath, now *call.Record) (*knownDelivery, error) {
	id, state, err := pl.known.Carrier(ctx, destination, key)
	if err == nil {
		known := &knownDelivery{Recording: id, State: string(state)}
		if id == at.ID && !sameCall(at.Call, now) {
			known.Changed = changedCall
		}
		return known, nil
	}
	if !errors.Is(err, ledger.ErrNotFound) || at.ID == 0 || at.Changed {
		return nil, ignoreNotFound(err)
	}
	if state, err = pl.known.SentUnder(ctx, at.ID, destination); err != nil {
		return nil, ignoreNotFound(err)
	}
	return &knownDelivery{Recording: at.ID, State: string(state), Changed: changedIdentity}, nil
}

func ignoreNotFound(err error) error {
	if errors.Is(err, ledger.ErrNotFound) {
		return nil
	}
	return err
}

func sameCall(a, b *call.Record) bool {
	one, err1 := json.Marshal(a)
	other, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && slices.Equal(one, other)
}

// text is what the plan does not say of a known recording.
func (k *knownRecording) text() string {
	switch {
	case k == nil || !k.Changed && !k.stays:
		return ""
	case !k.Changed:
		return fmt.Sprintf("recording %[1]d, %[2]s until it or its metadata changes, or ingestd retry %[1]d", k.Recording, k.State)
	case k.moved:
		return fmt.Sprintf("another file than recording %d (%s), which was moved away", k.Recording, k.State)
	default:
		return fmt.Sprintf("changed since recording %d (%s)", k.Recording, k.State)
	}
}

// text is a known delivery in words.
func (k knownDelivery) text() string {
	text := fmt.Sprintf("%s already, recording %d", k.State, k.Recording)
	switch k.Changed {
	case changedCall:
		text += "; its call record has changed since"
	case changedIdentity:
		text += ", under another id: the mapping has changed since"
	}
	return text
}
