package status_test

import (
	"context"
	"image/png"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ingestd/internal/status"
)

// chromium opens an address in a real browser without a window and returns
// the document as it stands after loading, and what the browser complained
// about. It leaves a picture in dir.
func chromium(t *testing.T, dir, address string) (document, complaints string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out, said strings.Builder
	// Its own sandbox needs rights that a build machine seldom gives.
	cmd := exec.CommandContext(ctx, "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
		"--no-first-run", "--user-data-dir="+filepath.Join(dir, "profile"), "--enable-logging=stderr", "--window-size=1280,900",
		"--screenshot="+filepath.Join(dir, "page.png"), "--dump-dom", address)
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		t.Fatalf("chromium (apt-get install chromium): %v\n%s", err, said.String())
	}
	for line := range strings.Lines(said.String()) {
		if strings.Contains(line, "CONSOLE") || strings.Contains(line, "Content Security Policy") {
			complaints += line
		}
	}
	return out.String(), complaints
}

// A real browser shows the page with its style, runs nothing that others
// wrote into it, and has nothing to complain about.
func TestPageInABrowser(t *testing.T) {
	o := newScene(t).options()
	o.LastBeat = func() time.Time { return epoch } // shows the red mark
	srv := httptest.NewServer(status.New(o))
	defer srv.Close()
	dir := t.TempDir()
	document, complaints := chromium(t, dir, srv.URL+"/")
	if complaints != "" {
		t.Errorf("the browser complains:\n%s", complaints)
	}
	if !strings.Contains(document, "<title>ingestd</title>") || !strings.Contains(document, "&lt;script&gt;") || strings.Contains(document, "<script") {
		t.Errorf("the document is\n%s", document)
	}
	f, err := os.Open(filepath.Join(dir, "page.png"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	picture, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	red := 0 // #c62828, which only the style has
	for y := range picture.Bounds().Dy() {
		for x := range picture.Bounds().Dx() {
			if r, g, b, _ := picture.At(x, y).RGBA(); r>>8 == 0xc6 && g>>8 == 0x28 && b>>8 == 0x28 {
				red++
			}
		}
	}
	if red < 50 {
		t.Errorf("%d red pixels: the style is not in force", red)
	}
}
