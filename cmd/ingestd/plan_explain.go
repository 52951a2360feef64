package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"ingestd/internal/config"
	"ingestd/internal/ledger"
	"ingestd/internal/mapping"
	"ingestd/internal/pipeline"
	"ingestd/internal/sidecar"
)

// explainer is the expression that --explain asks for, wherever it stands.
type explainer struct {
	field       string
	sources     map[string]*mapping.Tracer // by source: of those that have it, or send to the destination that has it
	sidecar     string                     // whose rows it is about; "": recordings
	destination string                     // which has it; "": sources do
}

// newExplainer refuses a field that nobody has, before anything is read.
func newExplainer(cfg *config.Config, field string) (*explainer, error) {
	x := &explainer{field: field, sources: map[string]*mapping.Tracer{}}
	var known []string
	for _, s := range cfg.Sources {
		rows := s.Mapping.RowFields()
		known = append(known, s.Mapping.Fields()...)
		known = slices.AppendSeq(known, maps.Keys(rows))
		if t := s.Mapping.Tracer(field); t != nil {
			x.sources[s.Name], x.sidecar = t, rows[field]
		}
	}
	for _, d := range cfg.Destinations {
		prefix := "destination." + d.Common.Name + "."
		tracers := map[string]func() *mapping.Tracer{}
		for key, text := range d.Texts {
			tracers[prefix+key] = func() *mapping.Tracer { return text.Tracer(field) }
		}
		if d.Fields != nil {
			for _, name := range d.Fields.Names() {
				tracers[prefix+"fields."+name] = func() *mapping.Tracer { return d.Fields.Tracer(field, name) }
			}
		}
		known = slices.AppendSeq(known, maps.Keys(tracers))
		tracer, ok := tracers[field]
		for _, s := range cfg.Sources {
			if ok && slices.Contains(s.Destinations, d.Common.Name) {
				x.destination, x.sources[s.Name] = d.Common.Name, tracer()
			}
		}
	}
	if len(x.sources) == 0 {
		hint := "the configuration has none: documents whose fields have the names of the call record need none"
		if slices.Sort(known); len(known) > 0 {
			hint = "there are " + strings.Join(slices.Compact(known), ", ")
		}
		return nil, usage(fmt.Sprintf("no source and no destination has an expression %q", field), hint)
	}
	return x, nil
}

// explained is the JSON of `plan --explain`: one object per recording, or per
// row of a document.
type explained struct {
	Source string          `json:"source"`
	Path   string          `json:"path"`
	Row    *int            `json:"row,omitempty"` // of the document at path
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

// add takes a trace over, or why there is none; an error that is not about
// what was read comes back.
func (out *explained) add(x mapping.Explanation, err error) error {
	for _, p := range x.Steps {
		part := explainedPart{Expr: p.Expr, Value: p.Value}
		if text, ok := defectOf(p.Err); ok {
			part.Error = &text
		}
		out.Parts = append(out.Parts, part)
	}
	out.Expr = x.Expr
	if text, ok := defectOf(err); ok {
		out.Error = &text
		return nil
	}
	return err
}

// defectOf is what is wrong with a recording's or a row's values.
func defectOf(err error) (string, bool) {
	var field *mapping.FieldError
	var row *sidecar.Error
	switch {
	case errors.As(err, &field):
		return field.Text, true
	case errors.As(err, &row):
		return row.Text, true
	}
	return "", false
}

// explain traces one expression over everything that it is about.
func (a *app) explain(ctx context.Context, pl *planner, x *explainer) error {
	asked := askedRows{}
	err := pl.recordings(ctx, func(row ledger.Row) error {
		if x.sources[row.Source] == nil {
			return nil
		}
		one, err := pl.one(ctx, row.ID)
		if err != nil {
			return err
		}
		out := explained{Source: row.Source, Path: row.Path, Field: x.field, Parts: []explainedPart{}}
		switch {
		case x.destination != "":
			return a.explainDelivery(ctx, pl, x, one, out)
		case x.sidecar != "":
			return a.askRows(ctx, pl, x, one, asked, out)
		}
		if err := out.add(pl.p.Explain(ctx, row.Source, row.Path, one.Audio, x.sources[row.Source])); err != nil {
			return err
		}
		return a.printExplained(out)
	})
	if err != nil || x.sidecar == "" {
		return err
	}
	return a.explainRows(ctx, pl, x, asked)
}

// recordings calls fn once for each recording of the plan.
func (pl *planner) recordings(ctx context.Context, fn func(ledger.Row) error) error {
	last := int64(0)
	return pl.led.Reader().List(ctx, ledger.Filter{}, func(row ledger.Row) error {
		if row.ID == last {
			return nil // a further delivery
		}
		last = row.ID
		return fn(row)
	})
}

func (a *app) explainDelivery(ctx context.Context, pl *planner, x *explainer, one planned, out explained) error {
	for _, d := range one.Deliveries {
		if d.Destination != x.destination {
			continue
		}
		item, err := pl.p.Item(ctx, d.id)
		if err != nil {
			return err
		}
		if err := out.add(x.sources[one.Source].Item(item), nil); err != nil {
			return err
		}
		return a.printExplained(out)
	}
	out.Expr = x.sources[one.Source].Expr()
	out.Error = new(fmt.Sprintf("it is %s (%s), so there is no call record", one.State, deref(one.Reason)))
	return a.printExplained(out)
}

// askedRows are the keys of the recordings that were named, by source.
type askedRows map[string]map[string]*askedKey

type askedKey struct {
	recordings []string
	found      bool // a row has it
}

// askRows asks for the rows of one recording. Where no PATH was named all rows
// are shown.
func (a *app) askRows(ctx context.Context, pl *planner, x *explainer, one planned, asked askedRows, out explained) error {
	if pl.only == nil {
		return nil
	}
	key, err := pl.p.KeyOf(ctx, one.Source, one.Path, one.Audio, x.sidecar)
	if err != nil || key == "" {
		if err := out.add(mapping.Explanation{}, err); err != nil {
			return err
		}
		if out.Error == nil {
			out.Error = new(fmt.Sprintf("it has no key to look for a row of %q by", x.sidecar))
		}
		return a.printExplained(out)
	}
	if asked[one.Source] == nil {
		asked[one.Source] = map[string]*askedKey{}
	}
	k := asked[one.Source][key]
	if k == nil {
		k = &askedKey{}
		asked[one.Source][key] = k
	}
	k.recordings = append(k.recordings, one.Path)
	return nil
}

// explainRows traces over the rows that were asked for, by document or by key,
// and says which recordings have none.
func (a *app) explainRows(ctx context.Context, pl *planner, x *explainer, asked askedRows) error {
	for _, source := range sortedKeys(x.sources) {
		keys := asked[source]
		wanted := func(document string, has []string) bool {
			show := pl.only == nil || pl.only(source, document)
			for _, key := range has {
				if k := keys[key]; k != nil {
					k.found, show = true, true
				}
			}
			return show
		}
		err := pl.p.ExplainRows(ctx, source, x.sidecar, x.sources[source], wanted, func(r pipeline.ExplainedRow) error {
			out := explained{Source: source, Path: r.Path, Field: x.field, Parts: []explainedPart{}}
			if r.Row > 0 {
				out.Row = &r.Row
			}
			if err := out.add(r.Explanation, r.Err); err != nil {
				return err
			}
			return a.printExplained(out)
		})
		if err != nil {
			return err
		}
		for _, key := range sortedKeys(keys) {
			if keys[key].found {
				continue
			}
			why := fmt.Sprintf("no row of %q has its key %q", x.sidecar, key)
			for _, recording := range keys[key].recordings {
				if err := a.printExplained(explained{Source: source, Path: recording, Field: x.field, Parts: []explainedPart{}, Error: &why}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (a *app) printExplained(x explained) error {
	if a.json {
		return a.printJSON(x)
	}
	where := ""
	if x.Row != nil {
		where = fmt.Sprintf(" row %d", *x.Row)
	}
	fmt.Fprintf(a.ui.out, "%s/%s%s  %s\n", x.Source, escape(x.Path), where, x.Field)
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
