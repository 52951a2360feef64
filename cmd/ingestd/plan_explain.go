package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"ingestd/internal/config"
	"ingestd/internal/ledger"
	"ingestd/internal/mapping"
)

// mostUnmatched is how many unmatched documents and rows of a kind are listed
// for people; --json has all.
const mostUnmatched = 20

// printUnmatched lists the documents and rows that no recording was paired
// with, and those that cannot be read.
func (a *app) printUnmatched(ctx context.Context, pl *planner, sum *planUnmatched) error {
	shown := map[string]int{}
	return pl.led.Reader().Orphans(ctx, func(o ledger.Orphan) error {
		switch o.Kind {
		case ledger.RecordingWithoutSidecar:
			return nil // it stands among the recordings
		case ledger.BadDocument:
			sum.Bad++
		case ledger.RowWithoutRecording:
			sum.Rows++
		default:
			sum.Documents++
		}
		if a.json {
			return a.printJSON(map[string]ledger.Orphan{"unmatched": o})
		}
		if shown[o.Kind]++; shown[o.Kind] > mostUnmatched {
			if shown[o.Kind] == mostUnmatched+1 {
				fmt.Fprintf(a.ui.out, "... and more; --json lists all\n")
			}
			return nil
		}
		where := ""
		if o.Row != nil {
			where = fmt.Sprintf(" row %d", *o.Row)
		}
		fmt.Fprintf(a.ui.out, "%s/%s%s  %s\n", o.Source, escape(o.Path), where, escape(o.Text))
		return nil
	})
}

// explainable refuses a field that no source has, before anything is read.
func explainable(cfg *config.Config, field string) error {
	if field == "" {
		return nil
	}
	var known []string
	for _, s := range cfg.Sources {
		known = append(known, s.Mapping.Explainable()...)
	}
	if slices.Contains(known, field) {
		return nil
	}
	slices.Sort(known)
	return usage(fmt.Sprintf("no source has an expression %q", field), "there are "+strings.Join(slices.Compact(known), ", "))
}

// explained is the JSON of `plan --explain`: one object per recording.
type explained struct {
	Source string          `json:"source"`
	Path   string          `json:"path"`
	Field  string          `json:"field"`
	Expr   string          `json:"expr"`
	Parts  []explainedPart `json:"parts"`
	Error  *string         `json:"error"` // why there is nothing to trace
}

type explainedPart struct {
	Expr  string  `json:"expr"`
	Value any     `json:"value"` // null: absent
	Error *string `json:"error"`
}

// explain traces one expression over every recording of the sources that have
// it.
func (a *app) explain(ctx context.Context, pl *planner, field string) error {
	last := int64(0)
	return pl.led.Reader().List(ctx, ledger.Filter{}, func(row ledger.Row) error {
		if row.ID == last {
			return nil
		}
		last = row.ID
		one, err := pl.one(ctx, row.ID)
		if err != nil {
			return err
		}
		x, err := pl.p.Explain(ctx, row.Source, row.Path, one.Audio, field)
		var bad *mapping.FieldError
		if err != nil && !errors.As(err, &bad) {
			return err
		}
		out := explained{Source: row.Source, Path: row.Path, Field: field, Expr: x.Expr, Parts: []explainedPart{}}
		if bad != nil {
			out.Error = &bad.Text
		}
		for _, p := range x.Steps {
			part := explainedPart{Expr: p.Expr, Value: p.Value}
			if errors.As(p.Err, &bad) {
				part.Error = &bad.Text
			}
			out.Parts = append(out.Parts, part)
		}
		if a.json {
			return a.printJSON(out)
		}
		return a.printExplained(out)
	})
}

func (a *app) printExplained(x explained) error {
	fmt.Fprintf(a.ui.out, "%s/%s  %s\n", x.Source, escape(x.Path), x.Field)
	if x.Error != nil {
		fmt.Fprintf(a.ui.out, "  nothing to trace: %s\n", escape(*x.Error))
	}
	for _, p := range x.Parts {
		value := "absent"
		switch {
		case p.Error != nil:
			value = "refused: " + *p.Error
		case p.Value != nil:
			raw, err := json.Marshal(p.Value)
			if err != nil {
				return err
			}
			value = string(raw)
		}
		fmt.Fprintf(a.ui.out, "  %s\n      => %s\n", escape(p.Expr), escape(value))
	}
	return nil
}
