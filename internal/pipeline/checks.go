package pipeline

import (
	"context"
	"crypto/md5" //nolint:gosec // G501: compared with what a recorder states, never trusted
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"ingestd/internal/call"
	"ingestd/internal/ledger"
	"ingestd/internal/mapping"
)

// What happens when a recording is not as long as its metadata says.
const (
	OnMismatchWarn = "warn"
	OnMismatchHold = "hold"
)

// intact compares the file with what its metadata says of it: size and
// checksums when the source names them.
func (f *feed) intact(ctx context.Context, env mapping.Env, file *os.File) (*ledger.Decision, error) {
	stated, err := f.src.Mapping.Integrity(env)
	if err != nil {
		d, err := fieldProblem(err)
		return &d, err
	}
	for _, c := range []struct {
		name, stated string
		measure      func() (string, error)
	}{
		{"size", stated.Bytes, func() (string, error) { return fmt.Sprint(env.File.Bytes), nil }},
		{"SHA-256", stated.SHA256, func() (string, error) { return env.File.SHA256, nil }},
		{"MD5", stated.MD5, func() (string, error) { return md5File(ctx, file, env.File.Bytes) }},
	} {
		if c.stated == "" {
			continue
		}
		is, err := c.measure()
		if err != nil {
			return nil, err
		}
		if !strings.EqualFold(is, c.stated) {
			d := quarantine("integrity", fmt.Sprintf("the %s of the file is not the one that its metadata states; have it exported again", c.name))
			return &d, nil
		}
	}
	return nil, nil
}

// lasts compares the measured length with the stated one.
func (f *feed) lasts(r ledger.Recording, env mapping.Env, record call.Record) *ledger.Decision {
	if f.src.DurationTolerance == 0 || record.MetadataDurationSeconds == nil {
		return nil
	}
	off := env.Audio.DurationSeconds - *record.MetadataDurationSeconds
	if time.Duration(off*float64(time.Second)).Abs() <= f.src.DurationTolerance {
		return nil
	}
	text := fmt.Sprintf("the file lasts %.1f s, but its metadata says %.1f s; look whether it is whole and whether the metadata is its own",
		env.Audio.DurationSeconds, *record.MetadataDurationSeconds)
	if f.src.OnDurationMismatch == OnMismatchHold {
		d := quarantine("duration_mismatch", text)
		return &d
	}
	f.p.log.Warn("length differs from the metadata", "recording", r.ID, "source", f.src.Name, "seconds", off)
	return nil
}

func md5File(ctx context.Context, file *os.File, size int64) (string, error) {
	h := md5.New() //nolint:gosec // G401: see the import
	if _, err := io.Copy(h, &ctxReader{ctx: ctx, r: io.NewSectionReader(file, 0, size)}); err != nil {
		return "", fmt.Errorf("read: %w", pathless(err))
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

const waitingForCopy = "waiting_for_copy"

// copyOf decides about a recording of which the recorder keeps several copies
// (WAV and MP3, original and redacted): the one whose path comes first in the
// source's copies is sent. A lesser one waits for a better, one place in the
// list longer than the next, from when its metadata named the recording. It is
// skipped when a better copy was taken already, or any that was sent; those
// that it is better than give way to it (instead).
func (f *feed) copyOf(ctx context.Context, r ledger.Recording, key string, named bool, sha256 string) (instead []int64, d *ledger.Decision, err error) {
	if len(f.src.Copies) == 0 || !named {
		return nil, nil, nil
	}
	taken, err := f.p.ledger.CopiesTaken(ctx, f.src.Name, key, r.ID, sha256)
	if err != nil {
		return nil, nil, err
	}
	place := f.copyPlace(r.Path)
	for _, c := range taken {
		if c.Sent || f.copyPlace(c.Path) <= place {
			return nil, &ledger.Decision{State: ledger.Skipped, Reason: "copy", SHA256: sha256,
				ReasonText: fmt.Sprintf("the same recording was taken from another file, recording %d", c.ID)}, nil
		}
		instead = append(instead, c.ID)
	}
	now := f.p.now()
	until := now.Add(time.Duration(place) * f.src.WaitForCopy)
	switch r.Reason {
	case waitingForCopy:
		until = r.WaitUntil
		// A better one may have come while nobody watched.
		if known := f.documentsKnown().Add(time.Duration(place) * f.src.Rule.Quiet); known.After(until) {
			until = known
		}
	case numbering: // which follows this
		until = now
	}
	if f.p.opt.DryRun || len(instead) > 0 || !now.Before(until) {
		return instead, nil, nil
	}
	return nil, &ledger.Decision{State: ledger.Waiting, Due: until, WaitUntil: until,
		Reason: waitingForCopy, ReasonText: "a better copy of the same recording may come"}, nil
}

// copyPlace is the place of a path in the source's copies, from 0; one that is
// in none comes last.
func (f *feed) copyPlace(rel string) int {
	rel = strings.ToLower(rel)
	for i := range f.src.Copies {
		if matchAny(f.src.Copies[i:i+1], rel) {
			return i
		}
	}
	return len(f.src.Copies)
}
