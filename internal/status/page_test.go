package status_test

import (
	"crypto/sha256"
	"encoding/base64"
	"html"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"ingestd/internal/status"
)

func TestPage(t *testing.T) {
	s := newScene(t)
	a := get(t, status.New(s.options()), "/")
	if a.code != 200 || a.header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("%d %v", a.code, a.header)
	}
	for _, part := range []string{
		"ingestd 1.2.3", "2025-01-02 11:00:00Z · daemon running, pid ", "oldest pending since 2025-01-02 10:00:00Z (1h0m0s)",
		"<b>nice</b> is polled: nfs gives no events", "<b>lost</b> cannot be read: /mnt/drop is not there &lt;b&gt;",
		`<td>403</td><td>the vendor refused the secret</td>`, `<td>not_sent</td>`, "&lt;script&gt;document.title=&#39;owned&#39;&lt;/script&gt;\ufffd\ufffd[31m",
	} {
		if !strings.Contains(a.body, part) {
			t.Errorf("the page lacks %q", part)
		}
	}
	for _, part := range []string{"<script", "\u202e", "\x1b", "\u009b", "http://", "https://", "ZgotmplZ", canary, phone, "id=\"stuck\""} {
		if strings.Contains(a.body, part) {
			t.Errorf("the page has %q", part)
		}
	}
}

// What needs a person most comes first, and no text fills the page.
func TestPageIsShortAndOrdered(t *testing.T) {
	o := newScene(t).options()
	o.Health = func() []status.SourceHealth {
		return []status.SourceHealth{{Name: "nice", Lost: strings.Repeat("ö", 501)}}
	}
	body := get(t, status.New(o), "/").body
	if !strings.Contains(body, strings.Repeat("ö", 500)+"…") || strings.Contains(body, strings.Repeat("ö", 501)) {
		t.Error("a long text is not cut")
	}
	if two, one := strings.Index(body, "<td>not_audio"), strings.Index(body, "<td>auth"); two < 0 || two > one {
		t.Errorf("two at %d, one at %d", two, one)
	}
}

// The policy allows exactly the page's own style.
func TestPagePolicyNamesItsStyle(t *testing.T) {
	a := get(t, status.New(newScene(t).options()), "/")
	style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(a.body)
	if style == nil || len(style[1]) < 100 {
		t.Fatal("the page has no style")
	}
	sum := sha256.Sum256([]byte(style[1]))
	want := "style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "';"
	if policy := a.header.Get("Content-Security-Policy"); !strings.Contains(policy, want) {
		t.Errorf("%s lacks %s", policy, want)
	}
}

// A number on the page leads to so many rows.
func TestPageLinksLeadToRows(t *testing.T) {
	h := status.New(newScene(t).options())
	links := regexp.MustCompile(`<a href="(/api/v1/list\?[^"]*)">(\d+)</a>`).FindAllStringSubmatch(get(t, h, "/").body, -1)
	if len(links) != 7 { // two reasons, one state of a source, four of destinations
		t.Errorf("%d links", len(links))
	}
	for _, link := range links {
		a := get(t, h, html.UnescapeString(link[1]))
		if n := strings.Count(a.body, "\n"); a.code != 200 || strconv.Itoa(n) != link[2] {
			t.Errorf("%s shows %s, leads to %d %d rows", link[1], link[2], a.code, n)
		}
	}
}

// An error leads to the recording that met it, whatever became of it since.
func TestPageErrorLeadsToItsRecording(t *testing.T) {
	h := status.New(newScene(t).options())
	link := regexp.MustCompile(`<a href="(/api/v1/show\?id=\d+)">`).FindStringSubmatch(get(t, h, "/").body)
	if link == nil {
		t.Fatal("no error has a link")
	}
	wantCode(t, "the error's recording", get(t, h, link[1]), 200, `"class":"`)
}

func TestPageWhenNothingIsThereOrMoves(t *testing.T) {
	s := newScene(t)
	o := s.options()
	o.LastBeat = func() time.Time { return epoch }
	wantCode(t, "stuck", get(t, status.New(o), "/"), 200, `id="stuck">no progress since 2025-01-02 10:00:00Z`)
	empty := get(t, status.New(status.Options{Reader: emptyReader(t)}), "/")
	for _, part := range []string{"Nothing needs a person.", "None yet.", "No errors.", "nothing is pending"} {
		wantCode(t, "empty", empty, 200, part)
	}
}
