package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"ingestd/internal/call"
	"ingestd/internal/ledger"
	"ingestd/internal/mapping"
	"ingestd/internal/media"
	"ingestd/internal/senders"
	"ingestd/internal/watcher"
)

const hashBuffer = 64 << 10 // bytes read at once

var errChanged = errors.New("file changed while it was read")

// admit decides about a complete file: probe, pair, map, hash, in this order,
// so that the dearest step comes last and only once.
func (f *feed) admit(ctx context.Context, r ledger.Recording, file *os.File, entry watcher.Entry, p probe) (ledger.Decision, error) {
	if !p.done {
		p.info, p.err = media.Probe(file, entry.Identity.Size)
	}
	var bad *media.Error
	chats := media.IsArchive(p.info.Container) && f.takesArchives()
	if errors.As(p.err, &bad) && !chats {
		return quarantine(bad.Code, bad.Text), nil
	}
	if p.err != nil && bad == nil {
		return ledger.Decision{}, fmt.Errorf("probe: %w", p.err)
	}
	env := mapping.Env{Docs: map[string]map[string]any{}, File: fileFacts(r.Path, entry), Audio: audioFacts(p.info)}
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
	g := &group{}
	d, err := f.decide(ctx, r, env, pairing, g, file, entry)
	d.Documents, d.Group, d.WakeGroup = pairing.uses, g.looked, f.src.Mapping.Groups()
	return d, err
}

// decide maps a recording with the documents that were found; g is filled
// with the other recordings of its call, as far as they counted.
func (f *feed) decide(ctx context.Context, r ledger.Recording, env *mapping.Env, pairing pairing, g *group, file *os.File, entry watcher.Entry) (ledger.Decision, error) {
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
			ReasonText: "the source's accept rule said no"}, nil
	}
	if d, err := f.gather(ctx, r, *env, pairing, g); d != nil || err != nil {
		return derefOr(d), err
	}
	take := f.whole
	if f.merges(g) {
		take = f.merge
	}
	c, d, err := take(ctx, r, env, g, file, entry)
	if d != nil || err != nil {
		return derefOr(d), err
	}
	return f.ready(ctx, r, *env, c)
}

// content is what is sent of a recording and what is known of it.
type content struct {
	sum    [sha256.Size]byte
	record call.Record
	merge  *ledger.Merge // nil: the file as it is
}

// whole takes the file as it is.
func (f *feed) whole(ctx context.Context, _ ledger.Recording, env *mapping.Env, _ *group, file *os.File, entry watcher.Entry) (c content, d *ledger.Decision, err error) {
	if d := f.oversized(entry.Identity.Size); d != nil {
		return c, d, nil
	}
	if c.sum, err = f.hash(ctx, file, entry); err != nil {
		return c, nil, err
	}
	env.File.SHA256 = hex.EncodeToString(c.sum[:])
	if c.record, d, err = f.mapped(*env); d != nil || err != nil {
		return c, d, err
	}
	d, err = f.intact(ctx, *env, file)
	return c, d, err
}

// hash is hashFile with one of the source's buffers.
func (f *feed) hash(ctx context.Context, file *os.File, entry watcher.Entry) ([sha256.Size]byte, error) {
	buffer := <-f.reading
	defer func() { f.reading <- buffer }()
	return hashFile(ctx, file, entry, buffer)
}

// mapped is the call record; what is wrong with it is a decision.
func (f *feed) mapped(env mapping.Env) (call.Record, *ledger.Decision, error) {
	record, err := f.src.Mapping.Call(env)
	if err == nil {
		return record, nil, nil
	}
	d, err := fieldProblem(err)
	if err != nil {
		return record, nil, err
	}
	if record.CallID != "" || record.RecordingID != "" {
		d.Call = &record // a person looks it up under these
	}
	return record, &d, nil
}

// ready decides about a recording whose content is known.
func (f *feed) ready(ctx context.Context, r ledger.Recording, env mapping.Env, c content) (ledger.Decision, error) {
	if d := f.lasts(r, env, c.record); d != nil {
		return *d, nil
	}
	// The number of a segment is no part of the key: it depends on what was
	// known when it was counted.
	key, named := c.record.BusinessKey(f.src.Name, r.Path)
	instead, d, err := f.copyOf(ctx, r, key, named, env.File.SHA256)
	if d != nil || err != nil {
		return derefOr(d), err
	}
	if d, err := f.number(ctx, r, &c.record); d != nil || err != nil {
		return derefOr(d), err
	}
	ready := ledger.Decision{
		State: ledger.Ready, SHA256: env.File.SHA256, BusinessKey: key, Named: named,
		Call: &c.record, Merge: c.merge, Copies: len(f.src.Copies) > 0, Instead: instead,
	}
	for _, name := range f.src.Destinations {
		ready.Deliveries = append(ready.Deliveries, f.plan(name, call.Item{
			Call: c.record, Audio: env.Audio, File: env.File, Delivery: call.NewDelivery(name, key, c.sum),
		}))
	}
	return ready, nil
}

func derefOr(d *ledger.Decision) ledger.Decision {
	if d == nil {
		return ledger.Decision{}
	}
	return *d
}

// oversized refuses, before it is read, a recording of so many bytes that no
// destination of its source would take it: a sparse file of a terabyte costs
// its writer nothing, and us an hour. What some take is read, and refused by
// the others.
func (f *feed) oversized(bytes int64) *ledger.Decision {
	most, whose := int64(0), ""
	for _, name := range f.src.Destinations {
		limit := f.p.pools[name].dest.Sender.Traits().MaxBytes
		if limit == 0 || bytes <= limit {
			return nil
		}
		if limit > most {
			most, whose = limit, name
		}
	}
	d := quarantine("too_large", fmt.Sprintf("it has %d bytes, and of its source's destinations %s takes the most, %d; it was not read: split it, or exclude such files", bytes, whose, most))
	return &d
}

// takesArchives tells whether a destination of the source takes archives of
// chats; without one they are quarantined as no audio.
func (f *feed) takesArchives() bool {
	return slices.ContainsFunc(f.src.Destinations, func(name string) bool {
		return f.p.pools[name].dest.Sender.Traits().Archives
	})
}

// refusesArchive is an error for an archive on its way to a destination that
// takes audio only, while another one of its source takes it.
func (pl *pool) refusesArchive(item call.Item) error {
	if !media.IsArchive(item.Audio.Container) || pl.dest.Sender.Traits().Archives {
		return nil
	}
	return &senders.Error{Class: senders.Rejected, Code: media.Archive, Text: "the file is an archive, which this destination does not take; unpack it before it is dropped, or exclude it from the source"}
}

// plan asks the destination's sender whether it would take the recording. A
// refusal is recorded as the delivery's state before a byte is sent.
func (f *feed) plan(destination string, item call.Item) ledger.NewDelivery {
	n := ledger.NewDelivery{Destination: destination, IdemKey: item.Delivery.IdemKey, State: ledger.Planned}
	pl := f.p.pools[destination]
	err := pl.refusesArchive(item)
	if err == nil {
		_, err = pl.dest.Sender.Plan(item)
	}
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

// announce logs one truthful line for a decision, and wakes who has work now.
func (f *feed) announce(r ledger.Recording, d ledger.Decision) {
	log := f.p.log.With("recording", r.ID, "source", f.src.Name)
	switch d.State {
	case ledger.Ready:
		log.Info("recording ready", "bytes", r.Look.Identity.Size, "deliveries", len(d.Deliveries))
		for _, n := range d.Deliveries {
			if n.State != ledger.Planned {
				log.Warn("delivery "+string(n.State)+" before it is sent", "destination", n.Destination, "reason", n.Reason)
			}
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
func hashFile(ctx context.Context, file *os.File, entry watcher.Entry, buffer []byte) (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	n, err := io.CopyBuffer(h, &ctxReader{ctx: ctx, r: io.NewSectionReader(file, 0, entry.Identity.Size+1)}, buffer)
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
