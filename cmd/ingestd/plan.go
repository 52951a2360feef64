package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"ingestd/internal/call"
	"ingestd/internal/config"
	"ingestd/internal/ledger"
	"ingestd/internal/pipeline"
	"ingestd/internal/senders"
)

func (a *app) planCommand() *cobra.Command {
	var verbose bool
	var explain string
	c := &cobra.Command{
		Use:   "plan [PATH...]",
		Short: "Dry run: pairs, call records and requests; sends nothing",
		Long: "Decide about the files of the sources (or of the PATHs within them) exactly as the daemon\n" +
			"would, without waiting, sending or moving anything, and show what pairs with what, the call\n" +
			"record, each destination's request, and everything refused with its reason. What an existing\n" +
			"ledger says was sent before is marked, and so is what has changed since. One line a recording;\n" +
			"everything with PATHs or --verbose.\n\n" +
			"--explain traces one expression, part by part, over every recording (or those among the PATHs):\n" +
			"call.started_at, call.custom.Site, accept, sidecar.users.media_key, destination.acme.fields.Agent.\n" +
			"What a sidecar says of its rows (sidecar.users.key, where, prefer, at) is traced over every row,\n" +
			"or those of the documents among the PATHs and those with the key of a recording among them.",
		RunE: func(c *cobra.Command, args []string) error {
			return a.plan(c.Context(), args, planView{verbose: verbose || len(args) > 0, explain: explain})
		},
	}
	a.jsonFlag(c)
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "call records and requests of every recording")
	c.Flags().StringVar(&explain, "explain", "", "trace the expression of this `field`, part by part")
	return c
}

// planView is what of a plan is printed.
type planView struct {
	verbose bool
	explain string // a field; "": the plans
}

// planned is the JSON contract of `plan`: one object per recording.
type planned struct {
	Source     string            `json:"source"`
	Path       string            `json:"path"`
	State      string            `json:"state"`
	Reason     *string           `json:"reason"`
	ReasonText *string           `json:"reason_text"`
	Notes      []string          `json:"notes,omitempty"` // what a person should know before it is sent
	Known      *knownRecording   `json:"known,omitempty"` // the ledger knows this path
	Sidecars   []plannedSidecar  `json:"sidecars"`
	Parts      []plannedPart     `json:"parts,omitempty"` // the files that are merged into it, by channel
	Call       *call.Record      `json:"call"`
	Audio      *call.Audio       `json:"audio"`
	Deliveries []plannedDelivery `json:"deliveries"`
}

type plannedSidecar struct {
	Name string `json:"name"`
	Path string `json:"path"`
	Row  int    `json:"row"`
	Rule string `json:"rule"`
}

type plannedPart struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
}

type plannedDelivery struct {
	Destination string                            `json:"destination"`
	Request     map[string]senders.PlannedRequest `json:"request,omitempty"` // by step
	Refused     bool                              `json:"refused"`
	Known       *knownDelivery                    `json:"known,omitempty"` // the ledger has it already
	Reason      *string                           `json:"reason"`
	ReasonText  *string                           `json:"reason_text"`

	id    int64
	steps []string // of Request, in the order they are made
}

type planSummary struct {
	Recordings int `json:"recordings"`
	Matched    int `json:"matched"` // with every required sidecar
	Sendable   int `json:"sendable"`
	Refused    int `json:"refused"`
	Known      int `json:"known"`   // in the ledger already, so not sent again
	Changed    int `json:"changed"` // recordings whose file has changed since the ledger recorded it
	// AgentUnknown counts two-channel recordings of which nobody knows the
	// agent's channel.
	AgentUnknown int            `json:"agent_unknown"`
	Unmatched    planUnmatched  `json:"unmatched"`
	States       map[string]int `json:"states"`
	Reasons      map[string]int `json:"reasons"`

	examples map[string]string // by reason: the first recording that has it, and the text
}

// planUnmatched counts what no recording was paired with.
type planUnmatched struct {
	Documents int `json:"documents"`
	Rows      int `json:"rows"`
	Bad       int `json:"bad"` // documents that cannot be read
}

// plan runs the daemon's own intake over a ledger of its own that is thrown
// away, so that plan and daemon cannot disagree.
func (a *app) plan(ctx context.Context, args []string, view planView) error {
	cfg, err := a.loadConfig()
	if err != nil {
		return err
	}
	only, err := within(cfg, args)
	if err != nil {
		return err
	}
	var explain *explainer
	if view.explain != "" {
		if explain, err = newExplainer(cfg, view.explain); err != nil {
			return err
		}
	}
	dir, err := os.MkdirTemp("", "ingestd-plan-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	led, err := ledger.Open(ctx, ledger.Options{Path: filepath.Join(dir, "plan.db"), Now: a.now, Log: quietLogger(), AllowNetworkFS: true})
	if err != nil {
		return err
	}
	defer led.Close()
	p, err := a.build(cfg, led, quietLogger(), pipeline.Options{DryRun: true, Only: only})
	if err != nil {
		return err
	}
	if err := p.Run(ctx, ctx); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return &problem{code: exitTemporary, what: "stopped by a signal", hint: "run ingestd plan again"}
	}
	pl := &planner{led: led, p: p, only: only, copies: map[string]bool{}}
	for _, s := range cfg.Sources {
		pl.copies[s.Name] = len(s.Copies) > 0
	}
	if explain != nil {
		return a.explain(ctx, pl, explain)
	}
	pl.known = a.ledgerBeside(ctx, cfg)
	return a.printPlans(ctx, pl, view.verbose)
}

// ledgerBeside opens the real ledger, if there is one that may be read.
func (a *app) ledgerBeside(ctx context.Context, cfg *config.Config) *ledger.Reader {
	r, err := ledger.OpenReader(ctx, cfg.Ledger.Path)
	if err != nil {
		if !errors.Is(err, ledger.ErrMissing) {
			a.ui.say("note: the ledger cannot be read, so what was sent before is not marked")
		}
		return nil
	}
	return r
}

// planner is one run of plan.
type planner struct {
	led   *ledger.Ledger // thrown away afterwards
	p     *pipeline.Pipeline
	known *ledger.Reader                // the real one; may be nil
	only  func(source, rel string) bool // what was asked for; nil: everything

	copies map[string]bool // sources that keep several copies of a recording
}

// within turns arguments into a filter over source and relative path.
func within(cfg *config.Config, args []string) (func(source, rel string) bool, error) {
	if len(args) == 0 {
		return nil, nil
	}
	wanted := map[string][]string{}
	for _, arg := range args {
		abs, err := filepath.Abs(arg)
		if err != nil {
			return nil, err
		}
		if _, err := os.Lstat(abs); err != nil {
			return nil, usage(err.Error(), "give a file or directory below the path of a configured source")
		}
		found := false
		for _, s := range cfg.Sources {
			rel, err := filepath.Rel(s.Path, abs)
			if err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
				wanted[s.Name] = append(wanted[s.Name], filepath.ToSlash(rel))
				found = true
			}
		}
		if !found {
			return nil, usage(fmt.Sprintf("%s is in no source", arg), "give a file or directory below the path of a configured source")
		}
	}
	return func(source, rel string) bool {
		for _, w := range wanted[source] {
			if w == "." || rel == w || strings.HasPrefix(rel, w+"/") {
				return true
			}
		}
		return false
	}, nil
}

func (a *app) printPlans(ctx context.Context, pl *planner, verbose bool) error {
	if pl.known != nil {
		defer pl.known.Close()
	}
	sum := planSummary{States: map[string]int{}, Reasons: map[string]int{}, examples: map[string]string{}}
	err := pl.recordings(ctx, func(row ledger.Row) error {
		one, err := pl.one(ctx, row.ID)
		if err != nil {
			return err
		}
		sum.count(one)
		if a.json {
			return a.printJSON(one)
		}
		if !verbose {
			a.printPlanLine(one)
			return nil
		}
		return a.printPlan(one)
	})
	if err != nil {
		return err
	}
	if pl.only == nil { // else other recordings have them
		if err := a.printUnmatched(ctx, pl, &sum.Unmatched); err != nil {
			return err
		}
	}
	if a.json {
		return a.printJSON(map[string]planSummary{"summary": sum})
	}
	a.printSummary(sum)
	return nil
}

func (s *planSummary) count(one planned) {
	s.Recordings++
	s.States[one.State]++
	if one.Reason != nil && one.State != string(ledger.Ready) {
		s.refuse(one, *one.Reason, one.ReasonText)
	}
	if one.Call != nil {
		s.Matched++
	}
	if one.Known != nil && one.Known.Changed {
		s.Changed++
	}
	s.AgentUnknown += len(one.Notes)
	for _, d := range one.Deliveries {
		switch {
		case d.Known != nil:
			s.Known++
		case d.Refused:
			s.Refused++
			s.refuse(one, deref(d.Reason), d.ReasonText)
		default:
			s.Sendable++
		}
	}
}

// refuse counts a reason; a code alone mends nothing, so the first text of
// each is kept.
func (s *planSummary) refuse(one planned, reason string, text *string) {
	if s.Reasons[reason]++; s.Reasons[reason] == 1 {
		s.examples[reason] = one.Source + "/" + one.Path + ": " + deref(text)
	}
}

func (pl *planner) one(ctx context.Context, id int64) (planned, error) {
	found, err := pl.led.Reader().Show(ctx, fmt.Sprint(id))
	if err != nil {
		return planned{}, err
	}
	for _, s := range found {
		if s.Recording.ID != id {
			continue
		}
		r := s.Recording
		one := planned{Source: r.Source, Path: r.Path, State: r.State, Reason: r.Reason, ReasonText: r.ReasonText,
			Sidecars: []plannedSidecar{}, Call: r.Call, Audio: r.Audio, Deliveries: []plannedDelivery{}}
		uses, err := pl.led.DocumentsOf(ctx, id)
		if err != nil {
			return one, err
		}
		for _, u := range uses {
			one.Sidecars = append(one.Sidecars, plannedSidecar{Name: u.Sidecar, Path: u.Path, Row: u.Row, Rule: u.Rule})
		}
		for _, part := range r.Parts {
			one.Parts = append(one.Parts, plannedPart{Path: part.Path, SHA256: part.SHA256})
		}
		if agentUnknown(r) {
			one.Notes = append(one.Notes, "it has two channels, and agent_channel is not known: the vendor has to guess who is the agent")
		}
		var keys []string
		for _, d := range s.Deliveries {
			pd, err := pl.delivery(ctx, d)
			if err != nil {
				return one, err
			}
			one.Deliveries, keys = append(one.Deliveries, pd), append(keys, deref(d.IdempotencyKey))
		}
		return one, pl.know(ctx, &one, deref(r.SHA256), keys)
	}
	return planned{}, fmt.Errorf("recording %d: %w", id, ledger.ErrNotFound)
}

// agentUnknown tells that a recording has the agent on one of two channels
// and nobody said which.
func agentUnknown(r ledger.ShownRecording) bool {
	return r.Call != nil && r.Audio != nil && r.Audio.Channels == 2 && r.Call.AgentChannel == nil && r.Call.Direction != call.Internal
}

func (pl *planner) delivery(ctx context.Context, row ledger.Row) (planned plannedDelivery, err error) {
	planned = plannedDelivery{id: derefInt(row.DeliveryID), Destination: deref(row.Destination), Reason: row.Reason, ReasonText: row.ReasonText}
	planned.Refused = row.State != string(ledger.Planned)
	requests, err := pl.p.Request(ctx, planned.id)
	var refused *senders.Error
	if err != nil && !errors.As(err, &refused) {
		return planned, err
	}
	if len(requests.Requests) > 0 {
		planned.Request = make(map[string]senders.PlannedRequest, len(requests.Requests))
		for _, r := range requests.Requests {
			planned.Request[r.Step] = r
			planned.steps = append(planned.steps, r.Step)
		}
	}
	return planned, nil
}

func (a *app) printPlan(one planned) error {
	out := a.ui.out
	fmt.Fprintf(out, "%s/%s\n", one.Source, escape(one.Path))
	fmt.Fprintf(out, "  %s", one.State)
	if one.Reason != nil {
		fmt.Fprintf(out, " (%s): %s", *one.Reason, escape(deref(one.ReasonText)))
	}
	fmt.Fprintln(out)
	if text := one.Known.text(); text != "" {
		fmt.Fprintf(out, "  file: %s\n", text)
	}
	for _, s := range one.Sidecars {
		fmt.Fprintf(out, "  %s: %s row %d, by %s\n", s.Name, escape(s.Path), s.Row, s.Rule)
	}
	for channel, part := range one.Parts {
		fmt.Fprintf(out, "  channel %d: %s, sha256 %s\n", channel, escape(part.Path), part.SHA256)
	}
	for _, note := range one.Notes {
		fmt.Fprintf(out, "  note: %s\n", note)
	}
	if one.Audio != nil {
		fmt.Fprintf(out, "  audio: %s/%s %d Hz, %d channel(s), %.3f s\n", one.Audio.Container, one.Audio.Codec, one.Audio.SampleRate, one.Audio.Channels, one.Audio.DurationSeconds)
	}
	if one.Call != nil {
		if err := printIndented(a, "call", one.Call); err != nil {
			return err
		}
	}
	for _, d := range one.Deliveries {
		if d.Refused {
			fmt.Fprintf(out, "  %s: refused (%s): %s\n", d.Destination, deref(d.Reason), escape(deref(d.ReasonText)))
		}
		if d.Known != nil {
			fmt.Fprintf(out, "  %s: %s\n", d.Destination, d.Known.text())
		}
		for _, step := range d.steps {
			if err := printIndented(a, d.Destination+" "+step, d.Request[step]); err != nil {
				return err
			}
		}
	}
	return nil
}

func printIndented(a *app, title string, v any) error {
	raw, err := json.MarshalIndent(v, "    ", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.ui.out, "  %s: %s\n", title, escape(string(raw)))
	return err
}

// printPlanLine is one recording in one line.
func (a *app) printPlanLine(one planned) {
	text := one.State
	if one.Reason != nil {
		text += " (" + *one.Reason + ")"
	}
	for _, d := range one.Deliveries {
		switch {
		case d.Known != nil:
			text += fmt.Sprintf("  %s: %s", d.Destination, d.Known.text())
		case d.Refused:
			text += fmt.Sprintf("  %s: refused (%s)", d.Destination, deref(d.Reason))
		default:
			text += fmt.Sprintf("  %s: would be sent", d.Destination)
		}
	}
	if changed := one.Known.text(); changed != "" {
		text += "  file: " + changed
	}
	fmt.Fprintf(a.ui.out, "%s/%s  %s\n", one.Source, escape(one.Path), text)
}

// printSummary makes "0 of 312 matched" impossible to overlook.
func (a *app) printSummary(s planSummary) {
	out := a.ui.out
	fmt.Fprintf(out, "\n%d of %d recordings matched; %d deliveries would be sent, %d are in the ledger already, %d are refused\n", s.Matched, s.Recordings, s.Sendable, s.Known, s.Refused)
	for _, r := range sortedKeys(s.Reasons) {
		fmt.Fprintf(out, "  %6d  %s, as %s\n", s.Reasons[r], r, escape(s.examples[r]))
	}
	if u := s.Unmatched; u.Documents+u.Rows+u.Bad > 0 {
		fmt.Fprintf(out, "without a recording: %d documents, %d rows of lists; %d that cannot be read\n", u.Documents, u.Rows, u.Bad)
	}
	if s.Changed > 0 {
		fmt.Fprintf(out, "note: %d recordings have another file than the ledger recorded at their path\n", s.Changed)
	}
	if s.AgentUnknown > 0 {
		fmt.Fprintf(out, "note: %d recordings have two channels, and agent_channel is not known; set it under [source.call]\n", s.AgentUnknown)
	}
	if s.Recordings > 0 && s.Matched == 0 {
		fmt.Fprintln(out, "NOTHING MATCHED: look at the reasons above, and at the pairing of the source;\n"+
			"`ingestd plan --explain call.started_at`, or sidecar.NAME.key, traces an expression over these files")
	}
}
