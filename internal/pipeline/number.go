package pipeline

import (
	"context"

	"ingestd/internal/call"
	"ingestd/internal/ledger"
)

// numbering is the reason of a recording that is numbered one settle time
// later, when all that became complete with it are known.
const numbering = "numbering"

// number gives a recording its place among those of its call that the source
// knows of, by their start.
func (f *feed) number(ctx context.Context, r ledger.Recording, record *call.Record) (*ledger.Decision, error) {
	if !f.src.NumberSegments || record.SegmentIndex != 0 || record.CallID == "" {
		return nil, nil
	}
	if r.Reason != numbering {
		return &ledger.Decision{State: ledger.Waiting, Reason: numbering, ReasonText: "the recordings of its call are being counted", Due: f.p.now().Add(f.rule().Quiet), Call: record}, nil
	}
	before, err := f.p.ledger.SegmentsBefore(ctx, f.src.Name, record.CallID, record.StartedAt)
	if err != nil {
		return nil, err
	}
	record.SegmentIndex = before + 1
	return nil, nil
}
