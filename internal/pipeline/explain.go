package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"

	"ingestd/internal/call"
	"ingestd/internal/ledger"
	"ingestd/internal/mapping"
	"ingestd/internal/sidecar"
	"ingestd/internal/watcher"
)

// Explain traces one expression over a recording, as far as the ledger knows
// it. t is about recordings of this source.
func (p *Pipeline) Explain(ctx context.Context, source, path string, audio *call.Audio, t *mapping.Tracer) (mapping.Explanation, error) {
	_, env, err := p.lookedUp(ctx, source, path, audio)
	if err != nil {
		return mapping.Explanation{}, err
	}
	return t.Recording(env), nil
}

// KeyOf is the key under which a recording looks for its row or document of a
// sidecar; "" when it is not known.
func (p *Pipeline) KeyOf(ctx context.Context, source, path string, audio *call.Audio, sidecar string) (string, error) {
	found, _, err := p.lookedUp(ctx, source, path, audio)
	return found.keys[sidecar], err
}

// Item is what the expressions of a destination see of one delivery.
func (p *Pipeline) Item(ctx context.Context, deliveryID int64) (call.Item, error) {
	d, rec, err := p.ledger.Job(ctx, deliveryID)
	if err != nil {
		return call.Item{}, err
	}
	return item(d, rec), nil
}

// lookedUp is a recording with what its lookups give.
func (p *Pipeline) lookedUp(ctx context.Context, source, path string, audio *call.Audio) (pairing, mapping.Env, error) {
	f := p.feeds[source]
	if f == nil {
		return pairing{}, mapping.Env{}, fmt.Errorf("there is no source %q", source)
	}
	known, err := p.ledger.RecordingsAt(ctx, source, []string{path})
	if err != nil {
		return pairing{}, mapping.Env{}, err
	}
	r, ok := known[path]
	if !ok {
		return pairing{}, mapping.Env{}, ledger.ErrNotFound
	}
	entry := watcher.Entry{Path: path, Identity: watcherLook(r.Look).Identity}
	env := mapping.Env{Docs: map[string]map[string]any{}, File: fileFacts(path, entry)}
	env.File.SHA256 = r.SHA256
	if audio != nil {
		env.Audio = *audio
	}
	if env.Names, err = f.src.Mapping.Names(path); err != nil {
		return pairing{}, env, err
	}
	found, err := f.pair(ctx, r, &env)
	return found, env, err
}

// ExplainedRow is one row with a trace over it.
type ExplainedRow struct {
	Path string // of its document, below the source
	Row  int
	Keys []string // under which recordings find it
	mapping.Explanation
	Err error // why there is nothing to trace: a defect of the row
}

// ExplainRows traces one expression over the rows of a sidecar's documents, and
// hands those to fn that wanted names by document and key. Unlike the index it
// leaves none out: not those of which where says no.
func (p *Pipeline) ExplainRows(ctx context.Context, source, name string, t *mapping.Tracer, wanted func(path string, keys []string) bool, fn func(ExplainedRow) error) error {
	f := p.feeds[source]
	root, err := watcher.OpenRoot(f.src.Path)
	if err != nil {
		return pathless(err)
	}
	defer root.Close()
	for _, s := range f.src.Sidecars {
		if s.Name != name {
			continue
		}
		return p.ledger.Reader().Documents(ctx, source, func(rel string) error {
			if !s.Matches(rel) {
				return nil
			}
			return f.explainDocument(ctx, root, s, rel, t, wanted, fn)
		})
	}
	return nil
}

// explainDocument reads a document as the index does. One that cannot be read
// stands among the unmatched ones with its reason.
func (f *feed) explainDocument(ctx context.Context, root *watcher.Root, s sidecar.Config, rel string, t *mapping.Tracer, wanted func(string, []string) bool, fn func(ExplainedRow) error) error {
	file, entry, err := root.Open(rel)
	if err != nil {
		return nil
	}
	defer file.Close()
	var told error
	each := func(row sidecar.Row) error {
		if told = ctx.Err(); told != nil {
			return told
		}
		out := ExplainedRow{Path: rel, Row: row.Number}
		if row.Err == nil {
			out.Keys, out.Err = f.keysOf(s, rel, row.Value)
			out.Explanation = t.Row(rel, row.Value)
		} else {
			out.Err = row.Err
		}
		if wanted(rel, out.Keys) {
			told = fn(out)
		}
		return told
	}
	err = sidecar.Read(io.NewSectionReader(file, 0, entry.Identity.Size), entry.Identity.Size, s.For(rel), each)
	if told != nil {
		return told
	}
	var bad *sidecar.Error
	if errors.As(err, &bad) && wanted(rel, nil) {
		return fn(ExplainedRow{Path: rel, Err: bad})
	}
	return nil
}
