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
	"strings"
	"syscall"
	"time"

	"ingestd/internal/call"
	"ingestd/internal/ledger"
	"ingestd/internal/mapping"
	"ingestd/internal/media"
	"ingestd/internal/senders"
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
	if verdict.Complete || f.p.opt.DryRun {
		// Quiet so far: now the dearer questions.
		ev.Busy, _ = watcher.BusyWriter(file)
		info, _ := media.Probe(file, entry.Identity.Size) // admit judges the error
		ev.Short = info.Missing > 0
		if ev.Busy || ev.Short {
			verdict = f.rule().Judge(watcherLook(r.Look), entry.Identity, ev, now)
		}
	}
	unchanged := r.State == ledger.Waiting && identity(entry.Identity) == r.Look.Identity
	if late := now.After(r.FirstSeen.Add(f.src.WaitForSidecar)); late && verdict.Why == "no_marker" {
		_, err := f.p.ledger.Decide(ctx, r.ID, r.Ver, quarantine("no_marker",
			"its marker did not come within "+f.src.WaitForSidecar.String()+"; drop it, then `ingestd retry`"))
		return err
	} else if late && verdict.Why == "no_sidecar" {
		unchanged = true // on_missing_sidecar decides
	} else if ev.Short && now.After(verdict.Next.Since.Add(f.src.WaitForSidecar)) {
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
	d, err := f.admit(ctx, r, file, entry)
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

var errChanged = errors.New("file changed while it was read")

// admit decides about a complete file: probe, pair, map, hash, in this order,
// so that the dearest step comes last and only once.
func (f *feed) admit(ctx context.Context, r ledger.Recording, file *os.File, entry watcher.Entry) (ledger.Decision, error) {
	info, err := media.Probe(file, entry.Identity.Size)
	var bad *media.Error
	if errors.As(err, &bad) {
		return quarantine(bad.Code, bad.Text), nil
	}
	if err != nil {
		return ledger.Decision{}, fmt.Errorf("probe: %w", err)
	}
	env := mapping.Env{Docs: map[string]map[string]any{}, File: fileFacts(r.Path, entry), Audio: audioFacts(info)}
	d, err := f.pairAndMap(ctx, r, &env, file, entry)
	d.Audio = &env.Audio
	return d, err
}

func (f *feed) pairAndMap(ctx context.Context, r ledger.Recording, env *mapping.Env, file *os.File, entry watcher.Entry) (ledger.Decision, error) {
	var err error
	if env.Names, err = f.src.Mapping.Names(r.Path); err != nil {
		return fieldProblem(err)
	}
	pairing, err := f.pair(ctx, r, env)
	if err != nil {
		return fieldProblem(err)
	}
	if pairing.problem != nil {
		return *pairing.problem, nil
	}
	if len(pairing.missing) > 0 {
		if d, wait := f.missing(r, pairing); wait {
			return d, nil
		}
	}
	accepted, err := f.src.Mapping.Accept(*env)
	if err != nil {
		return fieldProblem(err)
	}
	if !accepted {
		return ledger.Decision{State: ledger.Skipped, Reason: "not_accepted",
			ReasonText: "the source's accept rule said no", Documents: pairing.uses}, nil
	}
	sum, err := hashFile(ctx, file, entry)
	if err != nil {
		return ledger.Decision{}, err
	}
	env.File.SHA256 = hex.EncodeToString(sum[:])
	record, err := f.src.Mapping.Call(*env)
	if err != nil {
		d, err := fieldProblem(err)
		d.Documents = pairing.uses
		return d, err
	}
	key, named := record.BusinessKey(f.src.Name, r.Path)
	d := ledger.Decision{
		State: ledger.Ready, SHA256: env.File.SHA256, BusinessKey: key, Named: named,
		Call: &record, Documents: pairing.uses,
	}
	for _, name := range f.src.Destinations {
		d.Deliveries = append(d.Deliveries, f.plan(name, call.Item{
			Call: record, Audio: env.Audio, File: env.File, Delivery: call.NewDelivery(name, key, sum),
		}))
	}
	return d, nil
}

// plan asks the destination's sender whether it would take the recording. A
// refusal is recorded as the delivery's state before a byte is sent.
func (f *feed) plan(destination string, item call.Item) ledger.NewDelivery {
	n := ledger.NewDelivery{Destination: destination, IdemKey: item.Delivery.IdemKey, State: ledger.Planned}
	_, err := f.p.pools[destination].dest.Sender.Plan(item)
	var refused *senders.Error
	switch {
	case err == nil:
	case errors.As(err, &refused) && refused.Class == senders.Rejected:
		n.State, n.Reason, n.ReasonText = ledger.Rejected, refused.Code, refused.Text
	case errors.As(err, &refused):
		n.State, n.Reason, n.ReasonText = ledger.Held, refused.Code, refused.Text
	default:
		n.State, n.Reason, n.ReasonText = ledger.Held, "bad_request", "the request could not be built: "+err.Error()
	}
	return n
}

// pairing is what a recording's lookups gave.
type pairing struct {
	uses    []ledger.DocumentUse
	missing map[string]string // required sidecar -> the key it waits for
	problem *ledger.Decision
}

// pair looks the recording's documents up, one sidecar after the other, so
// that a later one may use a key found in an earlier one (a join).
func (f *feed) pair(ctx context.Context, r ledger.Recording, env *mapping.Env) (pairing, error) {
	p := pairing{missing: map[string]string{}}
	for _, s := range f.src.Sidecars {
		key := s.MediaKey(r.Path)
		if s.Pair == sidecar.PairKey {
			var err error
			if key, err = f.src.Mapping.MediaKey(s.Name, *env); err != nil {
				return p, err
			}
		}
		var rows []ledger.DocumentRow
		if key != "" {
			var err error
			if rows, err = f.p.ledger.Lookup(ctx, f.src.Name, s.Name, key, 2); err != nil {
				return p, err
			}
			if rows, err = f.present(ctx, s, rows); err != nil {
				return p, err
			}
		}
		switch {
		case len(rows) == 0 && s.IsRequired():
			p.missing[s.Name] = key
		case len(rows) == 0:
		case len(rows) > 1:
			d := quarantine("ambiguous", fmt.Sprintf("more than one document or row pairs as %q (%s row %d, %s row %d); remove the wrong one, then `ingestd retry`",
				s.Name, rows[0].Path, rows[0].Row, rows[1].Path, rows[1].Row))
			p.problem = &d
			return p, nil
		case rows[0].Reason != "":
			d := quarantine(rows[0].Reason, fmt.Sprintf("its document %s: %s", rows[0].Path, rows[0].ReasonText))
			p.problem = &d
			return p, nil
		default:
			env.Docs[s.Name] = rows[0].Content
			p.uses = append(p.uses, ledger.DocumentUse{
				Sidecar: s.Name, DocumentID: rows[0].DocumentID, RowID: rows[0].RowID,
				Path: rows[0].Path, Row: rows[0].Row, Rule: s.Pair, SHA256: rows[0].SHA256,
			})
		}
	}
	return p, nil
}

// present leaves out documents of one recording whose file is gone or is
// another by now: names are used again, and a call must not get the metadata
// of an earlier one. A list may go once it was read.
func (f *feed) present(ctx context.Context, s sidecar.Config, rows []ledger.DocumentRow) ([]ledger.DocumentRow, error) {
	root := f.watch.Root()
	if (s.Pair != sidecar.PairStem && s.Pair != sidecar.PairSuffix) || len(rows) == 0 || root == nil {
		return rows, nil
	}
	var there []ledger.DocumentRow
	for _, row := range rows {
		known, err := f.p.ledger.DocumentsAt(ctx, f.src.Name, []string{row.Path})
		if err != nil {
			return nil, err
		}
		doc := known[row.Path]
		entry, err := root.Stat(row.Path)
		switch {
		case errors.Is(err, fs.ErrNotExist) && root.Check() == nil:
			if err := f.p.ledger.DocumentGone(ctx, doc.ID, doc.Ver); err != nil {
				return nil, err
			}
		case err != nil:
			return nil, fmt.Errorf("look at a document: %w", pathless(err))
		case sameFile(doc.Look.Identity, entry.Identity):
			there = append(there, row)
		}
	}
	return there, nil
}

// missing says what to do while a required sidecar is not there. The timer
// counts from the persisted first sight, so a restart does not extend it.
func (f *feed) missing(r ledger.Recording, p pairing) (d ledger.Decision, wait bool) {
	until := r.FirstSeen.Add(f.src.WaitForSidecar)
	d = ledger.Decision{State: ledger.Waiting, Keys: p.missing, WaitUntil: until, Due: until,
		Reason: "waiting_for_sidecar", ReasonText: "its sidecar has not come yet"}
	if ready := f.documentsKnown(); ready.After(until) {
		d.Due = ready // it may have come while nobody watched
	}
	if f.p.now().Before(d.Due) && !f.p.opt.DryRun {
		return d, true
	}
	d.Due = time.Time{} // only the sidecar itself wakes it from here on
	d.Reason, d.ReasonText = "no_sidecar", "no sidecar came within "+f.src.WaitForSidecar.String()+"; it is taken up when the sidecar comes"
	switch f.src.OnMissing {
	case OnMissingSend:
		return ledger.Decision{}, false
	case OnMissingQuarantine:
		q := quarantine("no_sidecar", "no sidecar came within "+f.src.WaitForSidecar.String()+"; drop it, then `ingestd retry`")
		q.Keys = p.missing
		return q, true
	default:
		return d, true
	}
}

// announce logs one truthful line for a decision, and wakes who has work now.
func (f *feed) announce(r ledger.Recording, d ledger.Decision) {
	log := f.p.log.With("recording", r.ID, "source", f.src.Name)
	switch d.State {
	case ledger.Ready:
		log.Info("recording ready", "bytes", r.Look.Identity.Size, "deliveries", len(d.Deliveries))
		for _, n := range d.Deliveries {
			f.p.pools[n.Destination].wake()
		}
		f.wake() // all may be duplicates: then the file is to be disposed of
	case ledger.Waiting:
		log.Info("recording waits for its sidecar", "reason", d.Reason)
	default:
		log.Warn("recording "+string(d.State), "reason", d.Reason)
	}
}

func quarantine(code, text string) ledger.Decision {
	return ledger.Decision{State: ledger.Quarantined, Reason: code, ReasonText: text}
}

// fieldProblem turns a mapping error about this recording into its
// quarantine; any other error is ours.
func fieldProblem(err error) (ledger.Decision, error) {
	var fe *mapping.FieldError
	if errors.As(err, &fe) {
		return quarantine(fe.Code, fe.Text), nil
	}
	return ledger.Decision{}, err
}

// hashFile hashes the whole file from its start and looks again at the
// descriptor: a file that changed meanwhile goes back to settling.
func hashFile(ctx context.Context, file *os.File, entry watcher.Entry) (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	n, err := io.Copy(h, &ctxReader{ctx: ctx, r: io.NewSectionReader(file, 0, entry.Identity.Size+1)})
	if err != nil {
		return sum, fmt.Errorf("read: %w", pathless(err))
	}
	info, err := file.Stat()
	if err != nil {
		return sum, fmt.Errorf("stat: %w", pathless(err))
	}
	if n != entry.Identity.Size || info.Size() != n || info.ModTime().UnixNano() != entry.Identity.MtimeNS {
		return sum, errChanged
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}

// ctxReader stops a long hash when the intake stops.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *ctxReader) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(b)
}

func fileFacts(rel string, e watcher.Entry) call.File {
	name := path.Base(rel)
	ext := path.Ext(name)
	return call.File{
		Path: rel, Name: name, Stem: strings.TrimSuffix(name, ext), Ext: strings.ToLower(strings.TrimPrefix(ext, ".")),
		Bytes: e.Identity.Size, ModifiedAt: time.Unix(0, e.Identity.MtimeNS).UTC(),
	}
}

func audioFacts(i media.Info) call.Audio {
	return call.Audio{
		Container: i.Container, Codec: i.Codec, SampleRate: i.SampleRate, Channels: i.Channels,
		DurationSeconds: i.Duration.Seconds(), Ext: i.Ext, Video: i.Video,
	}
}
