package main

import (
	"fmt"
	"log/slog"
	"time"

	"ingestd/internal/call"
	"ingestd/internal/config"
	"ingestd/internal/ledger"
	"ingestd/internal/mapping"
	"ingestd/internal/pipeline"
	"ingestd/internal/senders"
	"ingestd/internal/sidecar"
)

// build wires a configuration to an open ledger. What opt already says stays.
func (a *app) build(cfg *config.Config, led *ledger.Ledger, log *slog.Logger, opt pipeline.Options) (*pipeline.Pipeline, error) {
	opt.Ledger, opt.Log, opt.Now = led, log, a.now
	for _, s := range cfg.Sources {
		opt.Sources = append(opt.Sources, source(s))
	}
	for _, d := range cfg.Destinations {
		dest, err := a.destination(d, log)
		if err != nil {
			return nil, fmt.Errorf("destination %q: %w", d.Common.Name, err)
		}
		opt.Destinations = append(opt.Destinations, dest)
	}
	return pipeline.New(opt)
}

func source(s config.Source) pipeline.Source {
	sidecars := make([]sidecar.Config, len(s.Sidecars))
	for i, c := range s.Sidecars {
		sidecars[i] = c.WithDefaults()
	}
	return pipeline.Source{
		Name: s.Name, Path: s.Path, Destinations: s.Destinations, Include: s.Include, Exclude: s.Exclude,
		Rule: s.Rule, ScanEvery: time.Duration(s.ScanEvery), Sidecars: sidecars, Mapping: s.Mapping,
		WaitForSidecar: time.Duration(s.WaitForSidecar), OnMissing: s.OnMissingSidecar,
		After: s.After, Archive: s.Archive, Zone: s.Zone,
		Copies: s.Copies, WaitForCopy: time.Duration(s.WaitForCopy),
		DurationTolerance: time.Duration(s.DurationTolerance), OnDurationMismatch: s.OnDurationMismatch,
		Merge: s.Legs.Merge, NumberSegments: s.NumberSegments,
		OnLateChange: s.OnLateChange,
	}
}

// destination gives one destination its lane and its vendor's sender.
func (a *app) destination(d config.Destination, log *slog.Logger) (pipeline.Destination, error) {
	lane := senders.NewLane(d.Common.Rate, a.now)
	out := pipeline.Destination{
		Name: d.Common.Name, Lane: lane, Workers: d.Common.Workers, OnDoubt: d.Common.OnDoubt,
		DoubtSettle: time.Duration(d.Common.DoubtSettle), Retry: d.Common.Retry,
	}
	texts := make(map[string]func(call.Item) (string, error), len(d.Texts))
	for key, text := range d.Texts {
		texts[key] = text.Eval
	}
	if c, ok := d.Vendor.(interface{ Confirms() bool }); ok {
		out.Confirm = c.Confirms()
	}
	var err error
	out.Sender, err = d.Vendor.NewSender(senders.Deps{Fields: fields(d.Fields), Texts: texts, Lane: lane, Log: log, Now: a.now, Dial: a.dial})
	return out, err
}

// fields evaluates [destination.fields]; without any it gives none.
func fields(f *mapping.Fields) func(call.Item) (map[string]string, error) {
	if f == nil {
		return func(call.Item) (map[string]string, error) { return nil, nil }
	}
	return f.Eval
}
