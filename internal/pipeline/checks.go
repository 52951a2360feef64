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

// copyOf decides about a recording of which the recorder keeps several copies
// (WAV and MP3, original and redacted): the one whose path comes first in the
// source's copies is sent. A lesser one waits for a better, one place in the
// list longer than the next, and is skipped when a copy was taken already.
func (f *feed) copyOf(ctx context.Context, r ledger.Recording, key string, named bool, sha256 string) (*ledger.Decision, error) {
	if len(f.src.Copies) == 0 || !named {
		return nil, nil
	}
	other, err := f.p.ledger.CopyTaken(ctx, f.src.Name, key, r.ID, sha256)
	if err != nil {
		return nil, err
	}
	if other != 0 {
		return &ledger.Decision{State: ledger.Skipped, Reason: "copy", SHA256: sha256,
			ReasonText: fmt.Sprintf("the same recording was taken from another file, recording %d", other)}, nil
	}
	rank := 0
	for rank < len(f.src.Copies) && !matchAny(f.src.Copies[rank:rank+1], strings.ToLower(r.Path)) {
		rank++
	}
	until := r.FirstSeen.Add(time.Duration(rank) * f.src.WaitForCopy)
	if f.p.opt.DryRun || !f.p.now().Before(until) {
		return nil, nil
	}
	return &ledger.Decision{State: ledger.Waiting, Due: until, WaitUntil: until,
		Reason: "waiting_for_copy", ReasonText: "a better copy of the same recording may come"}, nil
}
