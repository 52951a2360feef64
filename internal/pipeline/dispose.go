package pipeline

import (
	"context"
	"encoding/hex"
	"errors"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"time"

	"ingestd/internal/failpoint"
	"ingestd/internal/ledger"
	"ingestd/internal/sidecar"
	"ingestd/internal/watcher"
)

const moveRetry = time.Minute

// dispose keeps, moves or deletes files whose every delivery is accepted. The
// intent is durable before the file is touched, so that a crash in between is
// told from a vanished file. A move that fails is tried again and never a
// reason to send again.
func (f *feed) dispose(ctx context.Context) (int, error) {
	if f.src.After == AfterKeep {
		return f.p.ledger.Keep(ctx, f.src.Name, f.p.now(), dueBatch, "kept where it is")
	}
	rows, err := f.p.ledger.Disposable(ctx, f.src.Name, f.p.now(), dueBatch)
	if err != nil {
		return 0, err
	}
	return len(rows), sideBySide(ctx, rows, func(ctx context.Context, r ledger.Recording) error {
		err := f.disposeOne(ctx, r)
		if err != nil {
			f.unfinished.Store(true) // its move may have been begun
		}
		return err
	})
}

func (f *feed) disposeOne(ctx context.Context, r ledger.Recording) error {
	root := f.watch.Root()
	if root == nil {
		return f.deferDisposal(ctx, r, "source_unavailable", errors.New("the drop directory is not there"))
	}
	target := filepath.Join(f.archiveDir(r), path.Base(r.Path))
	if f.src.After == AfterDelete {
		target = deleted
	}
	entry, err := root.Stat(r.Path)
	if errors.Is(err, fs.ErrNotExist) && root.Check() == nil {
		return f.p.ledger.Done(ctx, r.ID, r.Ver, "", "somebody else had already removed the file")
	}
	if err != nil {
		return f.deferDisposal(ctx, r, "disposal_failed", err)
	}
	if !sameFile(r.Look.Identity, entry.Identity) {
		return f.replaced(ctx, root, r)
	}
	ver, err := f.p.ledger.Disposing(ctx, r.ID, r.Ver, target)
	if err != nil {
		return err
	}
	r.Ver, r.MoveTo = ver, target
	return f.finishMove(ctx, r)
}

// replaced ends a recording whose name another file has taken: that one is a
// recording of its own, which the scan of this run may have passed by already.
// A disk that came back under another device number looks so too: the file
// then resolves as a duplicate.
func (f *feed) replaced(ctx context.Context, root *watcher.Root, r ledger.Recording) error {
	if err := f.p.ledger.Done(ctx, r.ID, r.Ver, "(replaced)", "another file has taken its name"); err != nil {
		return err
	}
	entry, err := root.Stat(r.Path)
	if err != nil {
		return nil // gone, or the next scan sees it
	}
	return f.Look(ctx, f.p.now(), []watcher.Entry{entry})
}

// deleted stands for a path where a file was deleted instead of moved.
const deleted = "(deleted)"

// finishMoves completes moves that a crash interrupted.
func (f *feed) finishMoves(ctx context.Context) error {
	rows, err := f.p.ledger.PendingMoves(ctx, f.src.Name, 1000)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if err := failpoint.Hit("recover.move"); err != nil {
			return err
		}
		if err := f.finishMove(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// finishMove makes a recorded move true: the recording first, then the
// sidecars that belong to it alone.
func (f *feed) finishMove(ctx context.Context, r ledger.Recording) error {
	root := f.watch.Root()
	if root == nil {
		return nil
	}
	parts, err := f.p.ledger.PartsOf(ctx, r.ID)
	if err != nil {
		return err
	}
	final, err := "", f.stillSent(ctx, root, r.Path, r.Look.Identity, fileSHA256(r, parts))
	if err == nil || errors.Is(err, fs.ErrNotExist) { // a removal may have been cut in two
		// Its own file goes last: while it is there, a disposal that failed is
		// tried again.
		if err := f.disposeParts(ctx, root, r, parts); err != nil {
			return f.deferDisposal(ctx, r, "disposal_failed", err)
		}
		final, err = f.away(root, r.Path, r.MoveTo, watcher.Identity(r.Look.Identity))
	}
	switch {
	case err == nil:
	case errors.Is(err, watcher.ErrReplaced):
		return f.replaced(ctx, root, r) // its sidecars may be those of the file that is there now
	case f.gone(root, r.Path):
		// Gone before the crash. What lies there under its name since then
		// is another recording.
		final = r.MoveTo
	default:
		return f.deferDisposal(ctx, r, "disposal_failed", err)
	}
	gone, err := f.disposeSidecars(ctx, root, r)
	if err != nil {
		return err
	}
	text := "moved to the archive"
	if final == deleted {
		text = "deleted from the drop directory"
	}
	if err := f.p.ledger.Done(ctx, r.ID, r.Ver, final, text, gone...); err != nil {
		return err
	}
	f.p.log.Info("recording done", "recording", r.ID, "source", f.src.Name)
	return nil
}

// gone tells that nothing has the name, in a drop directory that is there. An
// error of a move may as well be about the archive.
func (f *feed) gone(root *watcher.Root, rel string) bool {
	_, err := root.Stat(rel)
	return errors.Is(err, fs.ErrNotExist) && root.Check() == nil
}

// disposeSidecars takes the documents that belong to this recording alone the
// same way, if they are still the ones it was paired with, and returns those
// that are no longer in the drop directory.
// documentKey is the key under which a document is found by its name.
func (f *feed) documentKey(u ledger.DocumentUse) string {
	for _, s := range f.src.Sidecars {
		if s.Name == u.Sidecar {
			return s.DocumentKey(u.Path)
		}
	}
	return ""
}

func (f *feed) disposeSidecars(ctx context.Context, root *watcher.Root, r ledger.Recording) (gone []int64, err error) {
	uses, err := f.p.ledger.DocumentsOf(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	for _, u := range uses {
		if u.Rule != sidecar.PairStem && u.Rule != sidecar.PairSuffix {
			continue // a list or table serves other recordings too
		}
		now, err := f.p.ledger.DocumentsAt(ctx, f.src.Name, []string{u.Path})
		if err != nil {
			return nil, err
		}
		doc := now[u.Path]
		if doc.ID != u.DocumentID || doc.SHA256 != u.SHA256 || doc.State != ledger.DocumentIndexed {
			continue // a newer version, perhaps not read yet, is somebody else's
		}
		if needed, err := f.p.ledger.DocumentNeeded(ctx, f.src.Name, u.Sidecar, f.documentKey(u), r.ID); err != nil || needed {
			if err != nil {
				return nil, err
			}
			continue // another file of the call, a copy perhaps, is not decided yet
		}
		target := deleted
		if r.MoveTo != deleted {
			target = filepath.Join(filepath.Dir(r.MoveTo), path.Base(u.Path))
		}
		_, err = f.away(root, u.Path, target, watcher.Identity(doc.Look.Identity))
		if err != nil && !f.gone(root, u.Path) && !errors.Is(err, watcher.ErrReplaced) {
			f.p.log.Warn("sidecar stays in the drop directory", "recording", r.ID, "document", u.DocumentID, "error", pathless(err))
			continue
		}
		gone = append(gone, doc.ID)
	}
	return gone, nil
}

// stillSent answers watcher.ErrReplaced if the file is not the one that was
// sent. Where its ctime moved since it was pinned, only the content can tell:
// a program that writes in place may set the old modification time again.
func (f *feed) stillSent(ctx context.Context, root *watcher.Root, rel string, pinned ledger.Identity, sha256 string) error {
	file, entry, err := root.Open(rel)
	if err != nil {
		return err
	}
	defer file.Close()
	switch {
	case !sameFile(pinned, entry.Identity):
		return watcher.ErrReplaced
	case entry.Identity.CtimeNS == pinned.CtimeNS:
		return nil
	}
	sum, err := hashFile(ctx, file, entry, make([]byte, hashBuffer))
	if errors.Is(err, errChanged) || err == nil && hex.EncodeToString(sum[:]) != sha256 {
		return watcher.ErrReplaced
	}
	return err
}

func (f *feed) away(root *watcher.Root, rel, target string, want watcher.Identity) (string, error) {
	if target == deleted {
		return deleted, root.Remove(rel, want)
	}
	return root.Move(rel, target, want)
}

// sameState tells whether a file is as it was. The device does not count: a
// source lies on one, and its number may be another after a restart of the
// machine, as with a share or a volume that is mounted in another order.
func sameState(then ledger.Identity, now watcher.Identity) bool {
	then.Dev = now.Dev
	return watcher.Identity(then) == now
}

// sameFile tells whether a file is the one that was pinned. A change of ctime
// alone does not make it another.
func sameFile(pinned ledger.Identity, now watcher.Identity) bool {
	pinned.CtimeNS = now.CtimeNS
	return sameState(pinned, now)
}

func (f *feed) deferDisposal(ctx context.Context, r ledger.Recording, code string, err error) error {
	f.p.log.Warn("file could not be disposed of; it is accepted and is not sent again", "recording", r.ID, "source", f.src.Name, "error", pathless(err))
	return f.p.ledger.DeferDisposal(ctx, r.ID, r.Ver, f.p.now().Add(moveRetry), code,
		"the file could not be moved or deleted ("+pathless(err).Error()+"); give the service user write access to both directories")
}

// archiveDir fills the archive template with the start of the call in the
// source's zone.
func (f *feed) archiveDir(r ledger.Recording) string {
	at := r.FirstSeen
	if r.Call != nil && !r.Call.StartedAt.IsZero() {
		at = r.Call.StartedAt
	}
	at = at.In(f.src.Zone)
	return strings.NewReplacer(
		"{source}", f.src.Name,
		"{year}", at.Format("2006"), "{month}", at.Format("01"), "{day}", at.Format("02"), "{hour}", at.Format("15"),
	).Replace(f.src.Archive)
}
