package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"

	"ingestd/internal/ledger"
	"ingestd/internal/media"
	"ingestd/internal/sidecar"
	"ingestd/internal/watcher"
)

// recording takes one due recording a step further: settling rows are looked
// at again, waiting rows look for their sidecar again.
func (f *feed) recording(ctx context.Context, r ledger.Recording) error {
	root := f.watch.Root()
	if root == nil {
		return nil
	}
	file, entry, err := root.Open(r.Path)
	if err != nil {
		return f.unopened(ctx, root, r, err)
	}
	defer file.Close()

	now := f.p.now()
	ev := watcher.Evidence{Hint: f.hint(ctx, root, r.Path)}
	verdict := f.rule().Judge(watcherLook(r.Look), entry.Identity, ev, now)
	probed := probe{}
	if verdict.Complete || f.p.opt.DryRun {
		// Quiet so far: now the dearer questions.
		ev.Busy, _ = watcher.BusyWriter(file)
		probed.info, probed.err = media.Probe(file, entry.Identity.Size) // admit judges the error
		probed.done = true
		ev.Short = probed.info.Missing > 0
		if ev.Busy || ev.Short {
			verdict = f.rule().Judge(watcherLook(r.Look), entry.Identity, ev, now)
		}
	}
	unchanged := r.State == ledger.Waiting && sameState(r.Look.Identity, entry.Identity)
	// Counted from the last change: a call may be written for hours before
	// its marker or sidecar comes.
	late := now.After(verdict.Next.Since.Add(f.src.WaitForSidecar))
	if late && verdict.Why == "no_marker" {
		_, err := f.p.ledger.Decide(ctx, r.ID, r.Ver, quarantine("no_marker",
			"its marker did not come within "+f.src.WaitForSidecar.String()+"; drop it, then `ingestd retry`"))
		return err
	} else if late && verdict.Why == "no_sidecar" {
		unchanged = true // on_missing_sidecar decides
	} else if late && ev.Short {
		_, err := f.p.ledger.Decide(ctx, r.ID, r.Ver, quarantine("truncated",
			"its header promises more bytes than came, and nothing was written for "+f.src.WaitForSidecar.String()+"; it is looked at anew when it changes"))
		return err
	}
	if f.p.opt.DryRun {
		unchanged = !ev.Short && !ev.Busy
		verdict.Again = now.Add(time.Hour) // not in this run
	}
	if !verdict.Complete && !unchanged {
		return f.p.ledger.RelookRecordings(ctx, []ledger.Relook{{
			ID: r.ID, Ver: r.Ver, Look: ledgerLook(verdict.Next), Due: verdict.Again, Why: verdict.Why, Text: settlingText(verdict.Why),
		}})
	}
	look := ledgerLook(verdict.Next)
	d, err := f.admit(ctx, r, file, entry, probed)
	if errors.Is(err, errChanged) {
		next, due := f.relook(r.Look, entry.Identity, now)
		return f.p.ledger.RelookRecordings(ctx, []ledger.Relook{{ID: r.ID, Ver: r.Ver, Look: next, Due: due, Why: "changed"}})
	}
	if err != nil {
		return err
	}
	d.Look = &look
	if _, err := f.p.ledger.Decide(ctx, r.ID, r.Ver, d); err != nil {
		return err
	}
	f.announce(r, d)
	return nil
}

// probe is what the audio's headers said, if they were read.
type probe struct {
	done bool
	info media.Info
	err  error
}

// settlingText says why a file still settles.
func settlingText(why string) string {
	switch why {
	case "short":
		return "its header promises more bytes than have come"
	case "busy":
		return "a program still has it open for writing"
	case "empty":
		return "it is still empty"
	case "no_marker":
		return "its marker has not come yet"
	case "no_sidecar":
		return "its sidecar, which completes it, has not come yet"
	case "future_mtime":
		return "its modification time lies in the future"
	default:
		return ""
	}
}

// unopened decides about a file that could not be opened. That it is gone is
// believed only while the root itself is there.
func (f *feed) unopened(ctx context.Context, root *watcher.Root, r ledger.Recording, err error) error {
	if lost := root.Check(); lost != nil {
		return lost
	}
	var refused *watcher.Refused
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return f.p.ledger.Vanish(ctx, r.ID, r.Ver, "the file is no longer in the drop directory")
	case errors.As(err, &refused):
		_, err := f.p.ledger.Decide(ctx, r.ID, r.Ver, quarantine(refused.Code, refused.Text))
		return err
	case errors.Is(err, fs.ErrPermission):
		_, err := f.p.ledger.Decide(ctx, r.ID, r.Ver, quarantine("unreadable", "the file may not be read; give the service user access, then `ingestd retry`"))
		return err
	default:
		return fmt.Errorf("open: %w", pathless(err))
	}
}

// pathless keeps names out of logs: a path may hold a phone number.
func pathless(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return fmt.Errorf("%s: %w", pe.Op, pe.Err)
	}
	return err
}

// hint tells whether the source's own sign of completeness is there.
func (f *feed) hint(ctx context.Context, root *watcher.Root, rel string) bool {
	switch c := f.src.Rule.Complete; c.Kind {
	case watcher.Marker:
		for _, m := range c.MarkerPaths(rel) {
			if _, err := root.Stat(m); err == nil {
				return true
			}
		}
		return false
	case watcher.Sidecar:
		for _, s := range f.src.Sidecars {
			if s.Pair == sidecar.PairKey {
				continue
			}
			rows, err := f.p.ledger.Lookup(ctx, f.src.Name, s.Name, s.MediaKey(rel), 1)
			if err == nil && len(rows) > 0 {
				return true
			}
		}
		return false
	default:
		return true
	}
}
