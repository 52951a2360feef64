package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"

	"ingestd/internal/call"
	"ingestd/internal/ledger"
	"ingestd/internal/mapping"
	"ingestd/internal/media"
	"ingestd/internal/watcher"
)

// What becomes of the mono legs of a call.
const (
	MergeNone       = "none"        // each is sent on its own
	MergeAgentLeft  = "agent_left"  // one stereo file
	MergeAgentRight = "agent_right" // one stereo file, customer left
)

func (f *feed) merges(g *group) bool {
	return (f.src.Merge == MergeAgentLeft || f.src.Merge == MergeAgentRight) && len(g.members) > 1
}

// merge takes the legs of a call as one file. The first member of the group
// carries the deliveries; the others end as merged with its decision.
func (f *feed) merge(ctx context.Context, r ledger.Recording, env *mapping.Env, g *group, file *os.File, entry watcher.Entry) (content, *ledger.Decision, error) {
	if g.own != 0 {
		d, err := f.follow(ctx, r, g, file, entry)
		return content{}, &d, err
	}
	if len(g.members) != 2 {
		d := quarantine("merge_parts", fmt.Sprintf("the call has %d parts; only two legs can be merged", len(g.members)))
		return content{}, &d, nil
	}
	other, d, err := f.openLeg(ctx, r, g)
	if d != nil || err != nil {
		return content{}, d, err
	}
	defer other.file.Close()
	legs := []leg{{path: r.Path, id: r.ID, file: file, entry: entry}, other}
	if d, err := f.unfit(legs[0], legs[1]); d != nil || err != nil {
		return content{}, d, err
	}
	if d, err := f.inspect(ctx, *env, legs); d != nil || err != nil {
		return content{}, d, err
	}
	agent := slices.IndexFunc(legs, func(l leg) bool { return l.who == call.LegAgent })
	if agent < 0 || legs[1-agent].who != call.LegCustomer {
		d := quarantine("merge_legs", fmt.Sprintf("call.leg is %q of the one part and %q of the other; it must be \"agent\" of one and \"customer\" of the other", legs[0].who, legs[1].who))
		return content{}, &d, nil
	}
	left := agent
	if f.src.Merge == MergeAgentRight {
		left = 1 - agent
	}
	return f.lay(ctx, env, legs[left], legs[1-left], agent != left)
}

// leg is one file that is to be merged.
type leg struct {
	path   string
	id     int64 // its row; 0: not known
	file   *os.File
	entry  watcher.Entry
	who    string // call.LegAgent, call.LegCustomer
	sha256 string
}

func (l leg) media() media.Leg { return media.Leg{R: l.file, Size: l.entry.Identity.Size} }

func (l leg) part() ledger.Part {
	return ledger.Part{RecordingID: l.id, Path: l.path, Identity: identity(l.entry.Identity), SHA256: l.sha256}
}

// follow decides about a part that another recording carries.
func (f *feed) follow(ctx context.Context, r ledger.Recording, g *group, file *os.File, entry watcher.Entry) (ledger.Decision, error) {
	carrier := g.members[0]
	c := carrier.row
	wait := func(why string) (ledger.Decision, error) {
		return *f.awaits(r, g, carrier, why), nil
	}
	switch {
	case c.ID == 0: // a dry run that was not asked for it
		return ledger.Decision{State: ledger.Skipped, Reason: ledger.Merged, ReasonText: "it is sent as a part of " + carrier.path}, nil
	case c.State != ledger.Ready && c.State != ledger.Done:
		return wait(fmt.Sprintf("it is sent as a part of recording %d, which is %s", c.ID, c.State))
	}
	parts, err := f.p.ledger.PartsOf(ctx, c.ID)
	if err != nil {
		return ledger.Decision{}, err
	}
	i := slices.IndexFunc(parts, func(p ledger.Part) bool { return p.Path == r.Path })
	if i >= 0 {
		same := sameFile(parts[i].Identity, entry.Identity)
		if !same && parts[i].Identity.Size == entry.Identity.Size { // perhaps the same content, copied again
			sum, err := f.hash(ctx, file, entry)
			if err != nil {
				return ledger.Decision{}, err
			}
			same = hex.EncodeToString(sum[:]) == parts[i].SHA256
		}
		if same {
			return ledger.Decision{State: ledger.Skipped, Reason: ledger.Merged, ReasonText: ledger.MergedInto(c.ID)}, nil
		}
	}
	if c.State == ledger.Ready {
		again, err := f.p.ledger.Supersede(ctx, c.ID)
		if err != nil && !errors.Is(err, ledger.ErrStale) {
			return ledger.Decision{}, err
		}
		if again {
			return ledger.Decision{}, ledger.ErrStale // look at its new row
		}
		// It is under way with what lay there before: the gate finds the
		// change, or it is accepted.
		d, _ := wait(fmt.Sprintf("recording %d is being sent with an earlier version of this file", c.ID))
		d.Due = f.p.now().Add(idleBeat)
		return d, nil
	}
	return quarantine("part_sent", fmt.Sprintf("recording %d was sent without this version of the file; if this one is right, drop all parts of the call anew", c.ID)), nil
}

// openLeg opens the other part, if it is the file that settled.
func (f *feed) openLeg(ctx context.Context, r ledger.Recording, g *group) (leg, *ledger.Decision, error) {
	m := g.members[1]
	l := leg{path: m.path, id: m.row.ID}
	if s := m.row; !f.p.opt.DryRun && s.State != ledger.Waiting && (s.State != ledger.Skipped || s.Reason != ledger.Merged) {
		return l, f.awaits(r, g, m, fmt.Sprintf("the part %q of its call, recording %d, is %s and cannot be merged", path.Base(m.name), s.ID, s.State)), nil
	}
	root := f.watch.Root()
	if root == nil {
		return l, nil, watcher.ErrRootLost
	}
	var err error
	l.file, l.entry, err = root.Open(m.path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && root.Check() == nil && l.id != 0:
		if err := f.p.ledger.Vanish(ctx, l.id, m.row.Ver, "the file is no longer in the drop directory"); err != nil {
			return l, nil, err
		}
		return l, nil, ledger.ErrStale // the group is another now
	case err != nil:
		d := f.awaits(r, g, m, fmt.Sprintf("the part %q of its call cannot be opened", path.Base(m.name)))
		d.Due = f.p.now().Add(idleBeat)
		return l, d, nil
	case !f.p.opt.DryRun && !sameFile(m.row.Look.Identity, l.entry.Identity):
		l.file.Close()
		return l, f.awaits(r, g, m, fmt.Sprintf("the part %q of its call has changed and settles anew", path.Base(m.name))), nil
	}
	return l, nil, nil
}

// unfit refuses, before the legs are read, those that cannot be merged or whose
// merged file no destination would take. Which is left does not matter yet.
func (f *feed) unfit(a, b leg) (*ledger.Decision, error) {
	if d := f.oversized(max(a.entry.Identity.Size, b.entry.Identity.Size)); d != nil {
		return d, nil
	}
	m, err := media.Merge(a.media(), b.media())
	var bad *media.Error
	if errors.As(err, &bad) {
		d := quarantine(bad.Code, bad.Text)
		return &d, nil
	} else if err != nil {
		return nil, err
	}
	return f.oversized(m.Size), nil
}

// inspect says who is in each leg and holds each against its metadata.
func (f *feed) inspect(ctx context.Context, env mapping.Env, legs []leg) (*ledger.Decision, error) {
	for i := range legs {
		l := &legs[i]
		info, err := media.Probe(l.file, l.entry.Identity.Size)
		var bad *media.Error
		if errors.As(err, &bad) {
			d := quarantine(bad.Code, bad.Text)
			return &d, nil
		} else if err != nil {
			return nil, fmt.Errorf("probe: %w", err)
		}
		sum, err := f.hash(ctx, l.file, l.entry)
		if err != nil {
			return nil, err
		}
		l.sha256 = hex.EncodeToString(sum[:])
		env.File, env.Audio = fileFacts(l.path, l.entry), audioFacts(info)
		env.File.SHA256 = l.sha256
		if env.Names, err = f.src.Mapping.Names(l.path); err != nil {
			d, err := fieldProblem(err)
			return &d, err
		}
		record, d, err := f.mapped(env)
		if d != nil || err != nil {
			return d, err
		}
		l.who = record.Leg
		if d, err := f.intact(ctx, env, l.file); d != nil || err != nil {
			return d, err
		}
	}
	return nil, nil
}

// lay makes one file of two legs and hashes it, without writing it anywhere.
func (f *feed) lay(ctx context.Context, env *mapping.Env, left, right leg, agentRight bool) (c content, d *ledger.Decision, err error) {
	m, err := media.Merge(left.media(), right.media())
	var bad *media.Error
	if errors.As(err, &bad) {
		d := quarantine(bad.Code, bad.Text)
		return c, &d, nil
	} else if err != nil {
		return c, nil, err
	}
	sum := sha256.New()
	n, err := io.Copy(sum, &ctxReader{ctx: ctx, r: m.NewReader()})
	if err != nil {
		return c, nil, fmt.Errorf("read: %w", pathless(err))
	}
	if err := errors.Join(unchanged(left.file, left.entry), unchanged(right.file, right.entry)); err != nil || n != m.Size {
		return c, nil, errChanged
	}
	c.sum = [sha256.Size]byte(sum.Sum(nil))
	c.merge = &ledger.Merge{Size: m.Size, Parts: []ledger.Part{left.part(), right.part()}}
	env.Audio = audioFacts(m.Info)
	env.File.SHA256 = hex.EncodeToString(c.sum[:])
	env.File = mergedFacts(env.File, m.Size, env.Audio)
	if c.record, d, err = f.mapped(*env); d != nil || err != nil {
		return c, d, err
	}
	agent := 0
	if agentRight {
		agent = 1
	}
	customer := 1 - agent
	c.record.Leg, c.record.AgentChannel, c.record.CustomerChannel = "", &agent, &customer
	return c, nil, nil
}
