package status

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"ingestd/internal/ledger"
)

// apiStatus answers with the object of `ingestd status --json`.
func (s *server) apiStatus(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), queryTime)
	defer cancel()
	status, err := s.Reader.Status(ctx)
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, "ledger", unreadable(err))
		return
	}
	answer(w, http.StatusOK, status)
}

// apiList answers with the lines of `ingestd list --json`, the oldest first.
// As many rows as the limit mean that there may be more.
func (s *server) apiList(w http.ResponseWriter, r *http.Request) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		refuse(w, http.StatusBadRequest, "bad_query", "the query is not URL-encoded")
		return
	}
	filter, err := parseFilter(query, s.Now())
	if err != nil {
		refuse(w, http.StatusBadRequest, "bad_query", err.Error())
		return
	}
	s.inTurn(w, r, func(ctx context.Context, out *lines) error {
		return s.Reader.List(ctx, filter, func(row ledger.Row) error { return out.write(row) })
	})
}

// apiShow answers with the lines of `ingestd show --json ID`.
func (s *server) apiShow(w http.ResponseWriter, r *http.Request) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	id := strings.TrimSpace(query.Get("id"))
	if err != nil || id == "" || len(query) != 1 || len(query["id"]) != 1 {
		refuse(w, http.StatusBadRequest, "bad_query", "give one id: of the ledger, of the call, of the recorder, of the vendor, or a path")
		return
	}
	s.inTurn(w, r, func(ctx context.Context, out *lines) error {
		found, err := s.Reader.Show(ctx, id)
		for _, shown := range found {
			if err := out.write(shown); err != nil {
				return err
			}
		}
		return err
	})
}

// inTurn runs one long query at a time, so that status, metrics and readiness
// always find a connection to the ledger.
func (s *server) inTurn(w http.ResponseWriter, r *http.Request, query func(context.Context, *lines) error) {
	ctx, cancel := context.WithTimeout(r.Context(), queryTime)
	defer cancel()
	wait := time.NewTimer(turnTime)
	defer wait.Stop()
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-wait.C:
		w.Header().Set("Retry-After", "5")
		refuse(w, http.StatusServiceUnavailable, "busy", "another query is still running: try again in a few seconds")
		return
	case <-ctx.Done():
		return // nobody waits for the answer
	}
	out := &lines{w: w, kind: "application/x-ndjson"}
	w.Header().Add("Vary", "Accept")
	if strings.Contains(r.Header.Get("Accept"), "text/html") {
		out.kind = "text/plain; charset=utf-8" // a browser shows it; the other it would download
	}
	err := query(ctx, out)
	switch {
	case err == nil:
		out.begin()
	case out.begun:
		panic(http.ErrAbortHandler) // a list that broke off must not look whole
	case errors.Is(err, ledger.ErrNotFound):
		refuse(w, http.StatusNotFound, "not_found", "the ledger knows nothing of it: give a ledger id, a path, a call id or a vendor's id")
	default:
		refuse(w, http.StatusServiceUnavailable, "ledger", unreadable(err))
	}
}

// lines writes JSON objects, one per line, as they come.
type lines struct {
	w     http.ResponseWriter
	kind  string
	begun bool
}

func (l *lines) begin() {
	if !l.begun {
		l.begun = true
		l.w.Header().Set("Content-Type", l.kind)
		l.w.WriteHeader(http.StatusOK)
	}
}

func (l *lines) write(v any) error {
	line, err := encode(v)
	if err != nil {
		return err
	}
	l.begin()
	_, err = l.w.Write(line)
	return err
}

// refuse answers with a stable code and a sentence.
func refuse(w http.ResponseWriter, status int, code, text string) {
	answer(w, status, map[string]string{"code": code, "text": text})
}

func answer(w http.ResponseWriter, status int, v any) {
	line, err := encode(v)
	if err != nil {
		http.Error(w, "the answer cannot be written as JSON", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(line) // an error means that the reader is gone
}

// encode writes a value as one line of JSON. Invisible characters (control,
// direction) are escaped: JSON readers get them back, while a terminal does
// not obey them and an eye is not deceived.
func encode(v any) ([]byte, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, len(raw)+1)
	for len(raw) > 0 {
		r, n := utf8.DecodeRune(raw)
		if unicode.IsPrint(r) {
			out = append(out, raw[:n]...)
		} else {
			for _, unit := range utf16.AppendRune(nil, r) {
				out = fmt.Appendf(out, `\u%04x`, unit)
			}
		}
		raw = raw[n:]
	}
	return append(out, '\n'), nil
}
