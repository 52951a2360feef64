package ledger

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// listing is every file of a directory with what a write would change.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	for _, e := range must[[]os.DirEntry](t)(os.ReadDir(dir)) {
		info := must[os.FileInfo](t)(e.Info())
		b.WriteString(e.Name() + " " + info.ModTime().String() + " " + info.Mode().String() + "\n")
	}
	return b.String()
}

// A look at a ledger tells what an opening would find, and leaves no trace.
func TestInspect(t *testing.T) {
	ctx := t.Context()
	l, _ := openTest(t)
	dir := filepath.Dir(l.path)
	planned(t, l, "a.wav", "a", "", "alpha")
	_, ds := planned(t, l, "b.wav", "b", "", "alpha", "beta")
	walk(t, l, ds[1], Sending, Committing, Accepted)
	in := must[Inspection](t)(Inspect(ctx, l.path))
	if !in.Running || in.Clean || in.Open["alpha"] != 2 || len(in.Open) != 1 || in.Version != in.Newest {
		t.Errorf("beside the daemon: %+v", in)
	}
	closeOnce(t, l)
	before := listing(t, dir)
	in = must[Inspection](t)(Inspect(ctx, l.path))
	if in.Running || !in.Clean || in.Open["alpha"] != 2 {
		t.Errorf("closed: %+v", in)
	}
	if after := listing(t, dir); after != before {
		t.Errorf("the look left a trace: before\n%safter\n%s", before, after)
	}
}

func TestInspectAfterACrash(t *testing.T) {
	l, _ := openTest(t)
	planned(t, l, "a.wav", "a", "", "alpha")
	crash(t, l)
	before := listing(t, filepath.Dir(l.path))
	in := must[Inspection](t)(Inspect(t.Context(), l.path))
	if in.Running || in.Clean || in.Open != nil {
		t.Errorf("%+v", in)
	}
	if after := listing(t, filepath.Dir(l.path)); after != before {
		t.Errorf("the look left a trace: before\n%safter\n%s", before, after)
	}
}

func TestInspectRefuses(t *testing.T) {
	marker := func(t *testing.T, path string) string { return filepath.Join(filepath.Dir(path), markerName) }
	for name, c := range map[string]struct {
		prepare func(t *testing.T, path string)
		says    string
	}{
		"lost":             {func(t *testing.T, path string) { check(t, os.Remove(path)) }, "is missing"},
		"another's":        {func(t *testing.T, path string) { check(t, os.WriteFile(marker(t, path), []byte("other\n"), 0o600)) }, "belongs elsewhere"},
		"a newer one":      {func(t *testing.T, path string) { setVersion(t, path, 99) }, "newer ingestd"},
		"no ledger at all": {func(t *testing.T, path string) { check(t, os.WriteFile(path, []byte("no ledger"), 0o600)) }, "cannot be read as a ledger"},
	} {
		t.Run(name, func(t *testing.T) {
			path := made(t)
			c.prepare(t, path)
			_, err := Inspect(t.Context(), path)
			var open *OpenError
			if !errors.As(err, &open) || !strings.Contains(open.Text, c.says) || open.Hint == "" {
				t.Errorf("%v, want an OpenError that says %q", err, c.says)
			}
		})
	}
	if _, err := Inspect(t.Context(), filepath.Join(t.TempDir(), "ledger.db")); !errors.Is(err, ErrMissing) {
		t.Errorf("nothing there: %v", err)
	}
}

// An older version is told, not brought up to date.
func TestInspectOlderVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	all := must[schema](t)(programSchema())
	check(t, os.WriteFile(path, nil, 0o600))
	check(t, build(t.Context(), path, schema{files: onlyFirst{all.files}, version: 1}, "0123456789abcdef", 0, epoch))
	in := must[Inspection](t)(Inspect(t.Context(), path))
	if again := must[Inspection](t)(Inspect(t.Context(), path)); in.Version != 1 || again.Version != 1 || in.Newest != all.version {
		t.Errorf("%+v, then %+v", in, again)
	}
}
