package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"

	"ingestd/internal/call"
	"ingestd/internal/ledger"
	"ingestd/internal/media"
	"ingestd/internal/senders"
	"ingestd/internal/watcher"
)

// mergedFacts is the file that is sent in place of the carrier's own.
func mergedFacts(own call.File, size int64, audio call.Audio) call.File {
	own.Name, own.Ext, own.Bytes = own.Stem+"."+audio.Ext, audio.Ext, size
	return own
}

// openMerged opens every part anew; what is read is the merged file.
func (pl *pool) openMerged(ctx context.Context, root *watcher.Root, rec ledger.Recording) (senders.Media, error) {
	parts, err := pl.p.ledger.PartsOf(ctx, rec.ID)
	if err != nil {
		return nil, notNow("ledger", "its parts could not be looked up", err)
	}
	o := &openMerged{progress: pl.p.opt.Progress}
	var legs []media.Leg
	for _, p := range parts {
		file, err := pl.openFile(root, p.Path, p.Identity)
		var gone *senders.Error
		if errors.As(err, &gone) && gone.Class == senders.Changed && p.Path != rec.Path {
			err = &senders.Error{Class: senders.Changed, Code: "part_changed", Text: "a part of it changed before it was sent; it is looked at anew", Err: err}
		}
		if err != nil {
			o.Close()
			return nil, err
		}
		o.files = append(o.files, file)
		legs = append(legs, media.Leg{R: file.File, Size: p.Identity.Size})
	}
	if len(legs) != 2 {
		o.Close()
		return nil, &senders.Error{Class: senders.Held, Code: "merge_parts", Text: fmt.Sprintf("the ledger has %d parts of it instead of 2; report it", len(legs))}
	}
	m, err := media.Merge(legs[0], legs[1])
	if err != nil || m.Size != rec.MergedSize {
		o.Close()
		return nil, &senders.Error{Class: senders.Changed, Code: "file_changed", Text: "a part of it is another than was read first; it is looked at anew", Err: err}
	}
	o.stream = m.NewReader()
	return o, nil
}

// openMerged is a merged recording: Verify answers for every part.
type openMerged struct {
	files    []*openFile
	stream   io.Reader
	progress func(bytes int64)
}

func (o *openMerged) Read(b []byte) (int, error) {
	n, err := o.stream.Read(b)
	o.progress(int64(n))
	return n, err
}

func (o *openMerged) Verify() error {
	for _, file := range o.files {
		if err := file.Verify(); err != nil {
			return err
		}
	}
	return nil
}

func (o *openMerged) Close() error {
	var errs []error
	for _, file := range o.files {
		errs = append(errs, file.Close())
	}
	return errors.Join(errs...)
}

// fileSHA256 is the hash of a recording's own file.
func fileSHA256(r ledger.Recording, parts []ledger.Part) string {
	for _, p := range parts {
		if p.Path == r.Path {
			return p.SHA256
		}
	}
	return r.SHA256
}

// disposeParts takes the other parts of a merged recording the way that it
// goes itself. One that is not the file that was sent stays: it is a recording
// of its own.
func (f *feed) disposeParts(ctx context.Context, root *watcher.Root, r ledger.Recording, parts []ledger.Part) error {
	for _, p := range parts {
		if p.Path == r.Path || p.MovedTo != "" {
			continue
		}
		target := deleted
		if r.MoveTo != deleted {
			target = filepath.Join(filepath.Dir(r.MoveTo), path.Base(p.Path))
		}
		final, err := "", f.stillSent(ctx, root, p.Path, p.Identity, p.SHA256)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			final, err = f.away(root, p.Path, target, watcher.Identity(p.Identity))
		}
		switch {
		case err == nil:
		case errors.Is(err, watcher.ErrReplaced):
			continue
		case f.gone(root, p.Path):
			final = target // before a crash
		default:
			return err
		}
		if err := f.p.ledger.PartMoved(ctx, r.ID, p, final); err != nil {
			return err
		}
	}
	return nil
}
