package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"

	"ingestd/internal/ledger"
	"ingestd/internal/sidecar"
	"ingestd/internal/watcher"
)

const indexChunk = 500 // rows handed to the ledger at once

// document settles one sidecar file and indexes its rows.
func (f *feed) document(ctx context.Context, d ledger.Document) error {
	root := f.watch.Root()
	if root == nil {
		return nil
	}
	file, entry, err := root.Open(d.Path)
	if err != nil {
		if lost := root.Check(); lost != nil {
			return lost
		}
		code, text := "unreadable", "the document may not be read; give the service user access"
		var refused *watcher.Refused
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return f.p.ledger.DocumentGone(ctx, d.ID, d.Ver)
		case errors.As(err, &refused):
			code, text = refused.Code, refused.Text
		case !errors.Is(err, fs.ErrPermission):
			return fmt.Errorf("document %d: %w", d.ID, pathless(err))
		}
		return f.failDocument(ctx, d, code, text)
	}
	defer file.Close()
	now := f.p.now()
	verdict := f.documentRule(d.Path).Judge(watcherLook(d.Look), entry.Identity, watcher.Evidence{Hint: true}, now)
	list, growing := f.growing(d.Path)
	if verdict.Complete && !growing && !f.p.opt.DryRun {
		if busy, _ := watcher.BusyWriter(file); busy {
			verdict = f.documentRule(d.Path).Judge(watcherLook(d.Look), entry.Identity, watcher.Evidence{Hint: true, Busy: true}, now)
		}
	}
	if !verdict.Complete && !f.p.opt.DryRun {
		return f.p.ledger.RelookDocuments(ctx, []ledger.Relook{{ID: d.ID, Ver: d.Ver, Look: ledgerLook(verdict.Next), Due: verdict.Again, Why: verdict.Why}})
	}
	if growing {
		return f.indexGrowing(ctx, d, list, file, entry)
	}
	return f.index(ctx, d, file, entry)
}

// index reads a settled document once, row by row, into the ledger. A
// document that cannot be read is remembered with its reason under the key it
// would have had, so that its recording says why.
func (f *feed) index(ctx context.Context, d ledger.Document, file *os.File, entry watcher.Entry) error {
	ix := f.p.ledger.IndexDocument(d.ID, d.Ver)
	sum := sha256.New()
	var err error
	for _, s := range f.src.Sidecars {
		if !s.Matches(d.Path) {
			continue
		}
		sum.Reset()
		err = f.indexAs(ctx, ix, s, d.Path, io.TeeReader(io.NewSectionReader(file, 0, entry.Identity.Size), sum), entry.Identity.Size)
		if err != nil {
			break
		}
	}
	var bad *sidecar.Error
	if errors.As(err, &bad) {
		if err := ix.Abort(ctx); err != nil {
			return err
		}
		return f.failDocument(ctx, d, bad.Code, documentText(bad))
	}
	if err == nil {
		err = unchanged(file, entry)
	}
	if err != nil {
		if abort := ix.Abort(ctx); abort != nil {
			return abort
		}
		if errors.Is(err, errChanged) {
			next, due := f.relook(d.Look, entry.Identity, f.p.now())
			return f.p.ledger.RelookDocuments(ctx, []ledger.Relook{{ID: d.ID, Ver: d.Ver, Look: next, Due: due, Why: "changed"}})
		}
		return fmt.Errorf("index document %d: %w", d.ID, err)
	}
	return f.finishIndex(ctx, ix, d, sum)
}

func (f *feed) finishIndex(ctx context.Context, ix *ledger.Indexer, d ledger.Document, sum hash.Hash) error {
	woken, err := ix.Finish(ctx, hex.EncodeToString(sum.Sum(nil)))
	if err != nil {
		return fmt.Errorf("index document %d: %w", d.ID, err)
	}
	if f.src.Rule.Complete.Kind == watcher.Sidecar {
		for _, s := range f.src.Sidecars {
			if s.Matches(d.Path) && s.Pair != sidecar.PairKey {
				if err := f.p.ledger.WakeIncomplete(ctx, f.src.Name, s.DocumentKey(d.Path)); err != nil {
					return fmt.Errorf("wake what document %d completes: %w", d.ID, err)
				}
			}
		}
	}
	f.p.log.Info("document indexed", "document", d.ID, "source", f.src.Name, "recordings_woken", woken)
	f.wake()
	return nil
}

func unchanged(file *os.File, entry watcher.Entry) error {
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("stat: %w", pathless(err))
	}
	if info.Size() != entry.Identity.Size || info.ModTime().UnixNano() != entry.Identity.MtimeNS {
		return errChanged
	}
	return nil
}

// indexAs reads the document as one of the source's sidecars.
func (f *feed) indexAs(ctx context.Context, ix *ledger.Indexer, s sidecar.Config, rel string, r io.Reader, size int64) error {
	chunk := make([]ledger.IndexRow, 0, indexChunk)
	flush := func() error {
		err := ix.Add(ctx, chunk)
		chunk = chunk[:0]
		return err
	}
	err := sidecar.Read(r, size, s.For(rel), func(row sidecar.Row) error {
		for _, out := range f.indexRows(s, rel, row) {
			if chunk = append(chunk, out); len(chunk) == indexChunk {
				if err := flush(); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return flush()
}

// indexRows is a row as the index holds it: once under each of its keys, or not
// at all when the sidecar's where says that it does not count.
func (f *feed) indexRows(s sidecar.Config, rel string, row sidecar.Row) []ledger.IndexRow {
	out := ledger.IndexRow{Sidecar: s.Name, Key: s.DocumentKey(rel), Row: row.Number, Content: row.Value}
	bad := func(code, text string) []ledger.IndexRow {
		out.Reason, out.ReasonText = code, text
		return []ledger.IndexRow{out}
	}
	if row.Err != nil {
		return bad(row.Err.Code, documentText(row.Err))
	}
	wanted, err := f.src.Mapping.RowWanted(s.Name, rel, row.Value)
	switch {
	case err != nil:
		return bad("bad_where", err.Error())
	case !wanted:
		return nil
	}
	keys, err := f.keysOf(s, rel, row.Value)
	if err != nil {
		return bad("bad_key", err.Error())
	}
	if len(keys) == 0 {
		return []ledger.IndexRow{out} // never found, but listed as an orphan
	}
	rows := make([]ledger.IndexRow, len(keys))
	for i, key := range keys {
		rows[i] = out
		rows[i].Key = key
	}
	return rows
}

// keysOf are the keys under which a row is found.
func (f *feed) keysOf(s sidecar.Config, rel string, row map[string]any) ([]string, error) {
	if s.Pair != sidecar.PairKey {
		return []string{s.DocumentKey(rel)}, nil
	}
	return f.src.Mapping.RowKeys(s.Name, rel, row)
}

// documentText is the sentence of a document's defect; the code stands beside
// it.
func documentText(e *sidecar.Error) string {
	if e.Line > 0 {
		return fmt.Sprintf("line %d: %s", e.Line, e.Text)
	}
	return e.Text
}

// failDocument records why a document is of no use and wakes the recordings
// that wait for it.
func (f *feed) failDocument(ctx context.Context, d ledger.Document, code, text string) error {
	keys := map[string]string{}
	for _, s := range f.src.Sidecars {
		if s.Matches(d.Path) && s.Pair != sidecar.PairKey {
			keys[s.Name] = s.DocumentKey(d.Path)
		}
	}
	if err := f.p.ledger.FailDocument(ctx, d.ID, d.Ver, code, text, keys); err != nil {
		return err
	}
	f.p.log.Warn("document of no use", "document", d.ID, "source", f.src.Name, "reason", code)
	f.wake()
	return nil
}
