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
	"ingestd/internal/senders/authenticx"
	"ingestd/internal/senders/behavioralsignals"
	"ingestd/internal/senders/callminer"
	"ingestd/internal/senders/elevateai"
	"ingestd/internal/senders/voyc"
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
	}
}

// destination gives one destination its lane and its vendor's sender: the
// place where a further vendor is added.
func (a *app) destination(d config.Destination, log *slog.Logger) (pipeline.Destination, error) {
	lane := senders.NewLane(d.Common.Rate, a.now)
	out := pipeline.Destination{
		Name: d.Common.Name, Lane: lane, Workers: d.Common.Workers, OnDoubt: d.Common.OnDoubt,
		DoubtSettle: time.Duration(d.Common.DoubtSettle), Retry: d.Common.Retry,
	}
	var err error
	switch {
	case d.CallMiner != nil:
		deps := callminer.Deps{Fields: fields(d.Fields), Lane: lane, Log: log, Now: a.now, Dial: a.dial}
		if d.CorrelationID != nil {
			deps.CorrelationID = d.CorrelationID.Eval
		}
		out.Sender, err = callminer.New(*d.CallMiner, deps)
	case d.AuthenticX != nil:
		out.Sender, err = authenticx.New(*d.AuthenticX, authenticx.Deps{Fields: fields(d.Fields), Lane: lane, Now: a.now, Dial: a.dial})
	case d.BehavioralSignals != nil:
		out.Sender, err = behavioralsignals.New(*d.BehavioralSignals, behavioralsignals.Deps{Fields: fields(d.Fields), Lane: lane, Now: a.now, Dial: a.dial})
	case d.Voyc != nil:
		deps := voyc.Deps{Fields: fields(d.Fields), Lane: lane, Log: log, Now: a.now, Dial: a.dial}
		if d.ChannelID != nil {
			deps.ChannelID = d.ChannelID.Eval
		}
		out.Sender, err = voyc.New(*d.Voyc, deps)
	case d.ElevateAI != nil:
		out.Confirm = d.ElevateAI.Confirm
		out.Sender, err = elevateai.New(*d.ElevateAI, elevateai.Deps{Fields: fields(d.Fields), Lane: lane, Log: log, Now: a.now, Dial: a.dial})
	default:
		err = fmt.Errorf("type %q has no sender", d.Common.Type)
	}
	return out, err
}

// fields evaluates [destination.fields]; without any it gives none.
func fields(f *mapping.Fields) func(call.Item) (map[string]string, error) {
	if f == nil {
		return func(call.Item) (map[string]string, error) { return nil, nil }
	}
	return f.Eval
}
