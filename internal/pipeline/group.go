package pipeline

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ingestd/internal/ledger"
	"ingestd/internal/mapping"
)

// group is the recordings of one folder that make up one call.
type group struct {
	members []member          // in the order of the metadata; empty: the recording stands alone
	own     int               // the recording itself
	looked  []ledger.Awaited  // the others as they were looked up
	keys    map[string]string // of the recording's documents: another version of them may name other parts
}

// member is one recording of a group.
type member struct {
	name string           // path below the source as the metadata has it, perhaps without extension
	path string           // "": it is not there
	row  ledger.Recording // zero: only the file is known (in a dry run)
}

// gather finds the other recordings of the call. It decides when one of them
// is not there, because half a call is never sent as the whole.
func (f *feed) gather(ctx context.Context, r ledger.Recording, env mapping.Env, pairing pairing, g *group) (*ledger.Decision, error) {
	g.keys = pairing.keys
	names, err := f.src.Mapping.Parts(env)
	if err != nil {
		d, err := fieldProblem(err)
		return &d, err
	}
	if len(names) == 0 {
		return nil, nil
	}
	g.own = slices.IndexFunc(names, func(name string) bool { return isNamed(r.Path, path.Join(path.Dir(r.Path), name)) })
	if g.own < 0 {
		d := quarantine("not_a_part", "the metadata names the recordings of this call, and this file is none of them; correct `parts`, or exclude such files")
		return &d, nil
	}
	for i, name := range names {
		m, twice, err := f.find(ctx, r, path.Join(path.Dir(r.Path), name))
		if err != nil {
			return nil, err
		}
		if twice != "" {
			d := quarantine("ambiguous", fmt.Sprintf("two recordings could be the part %q of this call (%s and %s); remove the wrong one, then `ingestd retry`", name, m.path, twice))
			return &d, nil
		}
		if i == g.own {
			m.path, m.row = r.Path, r
		} else {
			g.looked = append(g.looked, ledger.Awaited{Name: m.name, ID: m.row.ID, Ver: m.row.Ver})
		}
		g.members = append(g.members, m)
	}
	for i, m := range g.members {
		if i == g.own {
			continue
		}
		if why := f.lacks(m); why != "" {
			return f.awaits(r, g, m, why), nil
		}
	}
	return nil, nil
}

// isNamed tells whether name means the file: its path, or its path without
// its extension.
func isNamed(file, name string) bool {
	return file == name || strings.TrimSuffix(file, path.Ext(file)) == name
}

// find looks a recording up by its name. twice is another one that the name
// means as well.
func (f *feed) find(ctx context.Context, r ledger.Recording, name string) (m member, twice string, err error) {
	m.name = name
	rows, err := f.p.ledger.PartsNamed(ctx, f.src.Name, name)
	if err != nil {
		return m, "", err
	}
	for _, row := range rows {
		if m.path != "" && row.Path != m.path {
			return m, row.Path, nil
		}
		m.path, m.row = row.Path, row
	}
	if m.path == "" && f.p.opt.DryRun {
		m.path, err = f.onDisk(name)
	}
	return m, "", err
}

// onDisk finds a file by its name for a dry run, which looks only at the
// recordings it was asked for.
func (f *feed) onDisk(name string) (string, error) {
	dir := path.Dir(name)
	entries, err := os.ReadDir(filepath.Join(f.src.Path, filepath.FromSlash(dir)))
	if err != nil {
		return "", pathless(err)
	}
	for _, e := range entries {
		rel := path.Join(dir, e.Name())
		lower := strings.ToLower(rel)
		if e.Type().IsRegular() && isNamed(rel, name) && matchAny(f.src.Include, lower) && !matchAny(f.src.Exclude, lower) {
			return rel, nil
		}
	}
	return "", nil
}

// lacks says why the group is not complete without a member; "" when it is
// there and whole.
func (f *feed) lacks(m member) string {
	label := path.Base(m.name)
	switch {
	case m.path == "":
		return fmt.Sprintf("the part %q of its call has not come yet", label)
	case f.p.opt.DryRun:
		return ""
	case m.row.State == ledger.Settling:
		return fmt.Sprintf("the part %q of its call is not complete yet", label)
	case m.row.State == ledger.Quarantined:
		return fmt.Sprintf("the part %q of its call, recording %d, is quarantined (%s)", label, m.row.ID, m.row.Reason)
	default:
		return ""
	}
}

// awaits lets a recording wait for a part of its call: for wait_for_sidecar as
// one that is on its way, then as one that a person should look at. Only the
// part wakes it, or other metadata.
func (f *feed) awaits(r ledger.Recording, g *group, m member, why string) *ledger.Decision {
	until := r.FirstSeen.Add(f.src.WaitForSidecar)
	d := ledger.Decision{State: ledger.Waiting, Reason: "incomplete_group", ReasonText: why, Keys: g.keys, Part: m.name, WaitUntil: until, Due: until}
	if !f.p.now().Before(until) || f.p.opt.DryRun {
		d.Due = time.Time{} // only the part itself wakes it from here on
		d.ReasonText += "; it is taken up when the part comes"
	}
	return &d
}
