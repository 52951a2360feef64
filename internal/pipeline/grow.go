package pipeline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"ingestd/internal/ledger"
	"ingestd/internal/sidecar"
	"ingestd/internal/watcher"
)

// growing finds the one sidecar by which a document is a list that is never
// finished. Whole records of such a list count at once, while its writer still
// has it open: it is never quiet on a busy day.
func (f *feed) growing(rel string) (sidecar.Config, bool) {
	var found []sidecar.Config
	for _, s := range f.src.Sidecars {
		if s.Matches(rel) {
			found = append(found, s)
		}
	}
	if len(found) != 1 || !found[0].Growing {
		return sidecar.Config{}, false
	}
	return found[0].For(rel), true
}

// indexGrowing reads a growing list from where the last reading ended, if the
// file has only grown since, and else anew.
func (f *feed) indexGrowing(ctx context.Context, d ledger.Document, s sidecar.Config, file *os.File, entry watcher.Entry) error {
	from, err := resume(d.Place, file, entry)
	if err != nil {
		return fmt.Errorf("index document %d: %w", d.ID, err)
	}
	l := &growingList{file: file, entry: entry, at: from}
	if from.End > 0 {
		added := f.p.ledger.AppendDocument(d.ID, d.Ver)
		l.add, l.finish = added.Add, added.Finish
		err = f.readOn(ctx, l, s, d.Path)
	} else {
		ix := f.p.ledger.IndexDocument(d.ID, d.Ver)
		l.add = func(ctx context.Context, rows []ledger.IndexRow, place string) error {
			ix.Place = place
			return ix.Add(ctx, rows)
		}
		l.finish = func(ctx context.Context) (int, error) { return ix.Finish(ctx, "") }
		if err = f.readOn(ctx, l, s, d.Path); err != nil {
			if abort := ix.Abort(ctx); abort != nil {
				return abort
			}
		}
	}
	var bad *sidecar.Error
	switch {
	case errors.As(err, &bad):
		return f.failDocument(ctx, d, bad.Code, documentText(bad))
	case errors.Is(err, errChanged):
		next, due := f.relook(d.Look, entry.Identity, f.p.now())
		return f.p.ledger.RelookDocuments(ctx, []ledger.Relook{{ID: d.ID, Ver: d.Ver, Look: next, Due: due, Why: "changed"}})
	case err != nil:
		return fmt.Errorf("index document %d: %w", d.ID, err)
	}
	woken, err := l.finish(ctx)
	if err != nil {
		return fmt.Errorf("index document %d: %w", d.ID, err)
	}
	f.p.log.Info("document indexed", "document", d.ID, "source", f.src.Name, "rows", l.at.Rows-from.Rows, "recordings_woken", woken)
	f.wake()
	return nil
}

// growingList is one reading of a growing list.
type growingList struct {
	file   *os.File
	entry  watcher.Entry
	at     sidecar.Place // read up to here
	add    func(ctx context.Context, rows []ledger.IndexRow, place string) error
	finish func(context.Context) (int, error)
}

// readOn hands the rows behind l.at over, chunk by chunk, each with the place
// that it reaches.
func (f *feed) readOn(ctx context.Context, l *growingList, s sidecar.Config, rel string) error {
	var chunk []ledger.IndexRow
	from, dirty := l.at, false
	flush := func() error {
		if !dirty {
			return nil
		}
		place, err := placeText(l.at, l.file, l.entry)
		if err != nil {
			return err
		}
		err = l.add(ctx, chunk, place)
		chunk, dirty = chunk[:0], false
		return err
	}
	err := sidecar.ReadOn(l.file, l.entry.Identity.Size, from, s, func(row sidecar.Row, to sidecar.Place) error {
		chunk = append(chunk, f.indexRows(s, rel, row)...)
		l.at, dirty = to, true
		if len(chunk) < indexChunk {
			return nil
		}
		return flush()
	})
	if err != nil {
		return err
	}
	if err := flush(); err != nil {
		return err
	}
	if info, err := l.file.Stat(); err != nil || info.Size() < l.entry.Identity.Size {
		return errors.Join(errChanged, pathless(err))
	}
	return nil
}

// placeText is a place as the ledger keeps it: with the file that it is in.
func placeText(at sidecar.Place, file *os.File, entry watcher.Entry) (string, error) {
	if at.End == 0 {
		return "", nil
	}
	at, err := at.Vouch(file)
	if err != nil {
		return "", pathless(err)
	}
	return fileText(entry) + at.String(), nil
}

// resume is the place from which a file is read on; the begin, when it is
// another file, or its begin says something else by now.
func resume(place string, file *os.File, entry watcher.Entry) (sidecar.Place, error) {
	text, same := strings.CutPrefix(place, fileText(entry))
	if !same || place == "" {
		return sidecar.Place{}, nil
	}
	at := sidecar.ParsePlace(text)
	holds, err := at.Holds(file, entry.Identity.Size)
	if err != nil || !holds {
		return sidecar.Place{}, pathless(err)
	}
	return at, nil
}

func fileText(entry watcher.Entry) string {
	return fmt.Sprintf("%d:%d ", entry.Identity.Dev, entry.Identity.Ino)
}
