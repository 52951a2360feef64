package pipeline

import (
	"context"
	"fmt"

	"ingestd/internal/call"
	"ingestd/internal/ledger"
	"ingestd/internal/mapping"
	"ingestd/internal/watcher"
)

// Explain traces one expression of a recording's source over what the ledger
// knows of the recording; see [mapping.Source.Explain] for the field.
func (p *Pipeline) Explain(ctx context.Context, source, path string, audio *call.Audio, field string) (mapping.Explanation, error) {
	f := p.feeds[source]
	if f == nil {
		return mapping.Explanation{}, fmt.Errorf("there is no source %q", source)
	}
	known, err := p.ledger.RecordingsAt(ctx, source, []string{path})
	if err != nil {
		return mapping.Explanation{}, err
	}
	r, ok := known[path]
	if !ok {
		return mapping.Explanation{}, ledger.ErrNotFound
	}
	entry := watcher.Entry{Path: path, Identity: watcherLook(r.Look).Identity}
	env := mapping.Env{Docs: map[string]map[string]any{}, File: fileFacts(path, entry)}
	env.File.SHA256 = r.SHA256
	if audio != nil {
		env.Audio = *audio
	}
	if env.Names, err = f.src.Mapping.Names(path); err != nil {
		return mapping.Explanation{}, err
	}
	if _, err := f.pair(ctx, r, &env); err != nil {
		return mapping.Explanation{}, err
	}
	return f.src.Mapping.Explain(field, env)
}
