package status

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed" // the page and its style
	"encoding/base64"
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"ingestd/internal/ledger"
)

var (
	//go:embed page.html
	pageText string
	//go:embed page.css
	pageStyle string
)

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{"clock": clock, "plain": plain, "list": listLink}).Parse(pageText))

// maxText is how many characters of a sentence the page shows.
const maxText = 500

// pageData is what the page shows.
type pageData struct {
	Style        template.CSS
	Version      string
	At           time.Time
	Stuck        string
	Status       ledger.Status
	Age          time.Duration // of the oldest that is pending
	Sources      table
	Destinations table
	Needs        []need
}

// table has one column per state.
type table struct {
	States []string
	Rows   []row
}

type row struct {
	Name   string
	Counts []count
	Health *SourceHealth // nil: not known
}

type count struct {
	N    int64
	Link string // the rows behind it; empty: a list cannot select them
}

// need is what a person must decide about, by reason.
type need struct {
	Reason string
	N      int64
}

// page answers with one page of HTML that needs no script.
func (s *server) page(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), queryTime)
	defer cancel()
	status, err := s.Reader.Status(ctx)
	if err != nil {
		http.Error(w, unreadable(err), http.StatusServiceUnavailable)
		return
	}
	d := pageData{Style: template.CSS(pageStyle), Version: s.Version, At: s.Now(), Stuck: s.stuck(), Status: status,
		Sources: s.sources(status), Destinations: destinations(status)}
	if status.OldestPendingAt != nil {
		d.Age = max(0, d.At.Sub(*status.OldestPendingAt)).Round(time.Second)
	}
	for _, reason := range sortedKeys(status.NeedsPerson) {
		d.Needs = append(d.Needs, need{reason, status.NeedsPerson[reason]})
	}
	slices.SortStableFunc(d.Needs, func(a, b need) int { return int(b.N - a.N) })
	var out bytes.Buffer
	if err := pageTemplate.Execute(&out, d); err != nil {
		http.Error(w, "the page cannot be made: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(out.Bytes()) // an error means that the reader is gone
}

// sources lists the configured sources and those of which only the ledger
// knows. `list` gives a recording with deliveries the states of those, so
// ready and done select nothing there.
func (s *server) sources(status ledger.Status) table {
	t := table{States: recordingStates()}
	health := map[string]*SourceHealth{}
	names := maps.Clone(status.Sources)
	for _, h := range s.Health() {
		health[h.Name] = &h
		names[h.Name] = status.Sources[h.Name]
	}
	for _, name := range sortedKeys(names) {
		r := row{Name: name, Health: health[name]}
		for _, state := range t.States {
			c := count{N: names[name][state]}
			if state != string(ledger.Ready) && state != string(ledger.Done) {
				c.Link = listLink("source", name, "state", state)
			}
			r.Counts = append(r.Counts, c)
		}
		t.Rows = append(t.Rows, r)
	}
	return t
}

func destinations(status ledger.Status) table {
	t := table{States: deliveryStates()}
	for _, name := range sortedKeys(status.Destinations) {
		r := row{Name: name}
		for _, state := range t.States {
			r.Counts = append(r.Counts, count{N: status.Destinations[name][state], Link: listLink("destination", name, "state", state)})
		}
		t.Rows = append(t.Rows, r)
	}
	return t
}

// listLink is the address of a filtered list, from names and values in turn.
func listLink(pairs ...string) string {
	query := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		query.Set(pairs[i], pairs[i+1])
	}
	return "/api/v1/list?" + query.Encode()
}

// plain makes a text of others fit to be looked at: no control or direction
// characters, no endless line. The template escapes the rest.
func plain(s string) string {
	if runes := []rune(s); len(runes) > maxText {
		s = string(runes[:maxText]) + "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

// hashOf is how a content security policy names an inline style.
func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
