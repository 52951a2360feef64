package elevateai

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"ingestd/internal/senders"
)

// idName is the vendor id of the interaction that the recording is sent to.
// Those that came to nothing before it are former_interaction_1, ...
const (
	idName       = "interaction_identifier"
	formerPrefix = "former_interaction_"
)

// forget changes the ids so that the next attempt declares anew. The old
// identifier stays findable.
func forget(ids map[string]string, id string) map[string]string {
	n := 1
	for name := range ids {
		if strings.HasPrefix(name, formerPrefix) {
			n++
		}
	}
	return map[string]string{idName: "", fmt.Sprint(formerPrefix, n): id}
}

// voided are the changes of ids after a status with which the identifier has
// no future: without them, a person's retry would end where this one did.
func voided(e *senders.Error, ids map[string]string, id string) map[string]string {
	if e.Code == codeGone || e.Code == codeTwofold {
		return forget(ids, id)
	}
	return nil
}

// remoteID is what an identifier may look like. The documents show a GUID; it
// goes into URLs, the ledger and a terminal.
var remoteID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:~-]{0,127}$`)

// readDeclared finds the identifier in the answer to a declare.
func (c *Client) readDeclared(a senders.Answer, known map[string]string) (string, error) {
	var got struct {
		InteractionIdentifier *string `json:"interactionIdentifier"`
	}
	if a.BodyErr != nil || json.Unmarshal(a.Body, &got) != nil || got.InteractionIdentifier == nil {
		return "", c.undeclared(a)
	}
	id := *got.InteractionIdentifier
	former := false
	for _, value := range known {
		former = former || value == id
	}
	switch {
	case !remoteID.MatchString(id):
		return "", held(a, "bad_remote_id", "ElevateAI's interactionIdentifier is empty or of a form that is not sent back; nothing was uploaded")
	case former || !c.given.note(id, c.deps.Now()).IsZero():
		return "", held(a, "bad_remote_id", "ElevateAI gave out an interactionIdentifier twice; nothing was uploaded, because it belongs to another recording")
	}
	return id, nil
}

// readUploaded decides what an upload came to.
func (c *Client) readUploaded(ctx context.Context, a senders.Attempt, answer senders.Answer, id string) (senders.Receipt, error) {
	ids := map[string]string{idName: id}
	success := answer.Passed && (answer.Status == http.StatusCreated || answer.Status == http.StatusOK)
	switch named, proven := readTaken(answer); {
	case success && named != "" && !strings.EqualFold(named, id):
		return senders.Receipt{}, held(answer, "foreign_id", "ElevateAI's answer names another interaction; ask for the status of both")
	case success && proven:
		return senders.Receipt{IDs: ids, HTTPStatus: answer.Status, Text: "ElevateAI is taking the recording in"}, nil
	}
	e := c.failed(answer)
	switch answer.Status {
	case http.StatusNotFound:
		return senders.Receipt{}, c.gone(e, a, id)
	case http.StatusBadRequest, http.StatusConflict:
		// Neither says what is wrong with the interaction; its status does.
		return c.look(ctx, a, answer, e, id)
	}
	return senders.Receipt{}, e
}

// readTaken reads the body of a successful upload. The documents show none, so
// the status is the evidence; but a page or an error in a 2xx comes from
// somebody else, and the status of the interaction has to tell.
func readTaken(a senders.Answer) (named string, proven bool) {
	body := bytes.TrimSpace(a.Body)
	if len(body) == 0 {
		return "", a.BodyErr == nil && a.Header.Get("Content-Encoding") == ""
	}
	var got map[string]json.RawMessage
	if a.BodyErr != nil || json.Unmarshal(body, &got) != nil || got == nil {
		return "", false
	}
	proven = true
	for name, raw := range got {
		var text string
		switch strings.ToLower(name) {
		case "error", "errors", "errormessage":
			proven = proven && string(raw) == "null"
		case "interactionidentifier", "identifier":
			if json.Unmarshal(raw, &text) == nil && text != "" {
				named = text
			}
		}
	}
	return named, proven
}

// gone is a 404 for an identifier. It is a new beginning, unless the recording
// may have gone there: results are kept for 45 days, so a 404 proves nothing.
func (c *Client) gone(e *senders.Error, a senders.Attempt, id string) *senders.Error {
	e.IDs = forget(a.IDs, id)
	if a.Own {
		e.Class, e.Code = senders.Held, "interaction_gone"
		e.Text = "ElevateAI does not know the interaction any more, and an earlier upload to it was never cleared up; look the recording up in ElevateAI, then `ingestd retry` declares it anew"
		return e
	}
	e.Class, e.Code, e.Text = senders.Refused, "not_found", "ElevateAI does not know the interaction; it is declared anew"
	return e
}

// look asks for the status after an upload was refused with 400 or 409, once.
func (c *Client) look(ctx context.Context, a senders.Attempt, answer senders.Answer, e *senders.Error, id string) (senders.Receipt, error) {
	conflict := answer.Status == http.StatusConflict
	s, err := c.status(ctx, id)
	switch {
	case err == nil && s.landed() && (a.Own || answer.Passed):
		return senders.Receipt{
			IDs: map[string]string{idName: id}, HTTPStatus: answer.Status, Duplicate: true,
			Text: "ElevateAI refused the upload because it holds the recording already",
		}, nil
	case err == nil && s.landed():
		e = held(answer, "foreign_upload", "ElevateAI holds a recording under an interaction to which none was sent whole; compare it in ElevateAI, then `ingestd retry` declares it anew")
		e.IDs = forget(a.IDs, id)
	case err == nil && s.failed():
		e.Class, e.Code, e.IDs = senders.Refused, "upload_failed", forget(a.IDs, id)
		e.Text = "ElevateAI gave the interaction up; the recording is declared anew"
	case err != nil && err.Class == senders.Held && err.Code != codeGone:
		err.HTTPStatus, err.Bytes, err.IDs = answer.Status, answer.Sent, voided(err, a.IDs, id)
		return senders.Receipt{}, err
	case err != nil && err.Code == codeGone && !answer.Passed:
		return senders.Receipt{}, c.gone(e, a, id)
	case conflict && answer.Passed:
		e.Class, e.Code = senders.InDoubt, "conflict"
		e.Text = "ElevateAI says that the interaction has an upload already, and its status does not tell yet which"
	case conflict:
		e.Class, e.Code = senders.Refused, "conflict"
		e.Text = "ElevateAI says that the interaction has an upload already, and its status shows none; it is tried again later"
	}
	return senders.Receipt{}, e
}

func held(a senders.Answer, code, text string) *senders.Error {
	return &senders.Error{Class: senders.Held, Code: code, Text: text, HTTPStatus: a.Status, Bytes: a.Sent}
}

// recent remembers the last few thousand identifiers with a time. The zero
// value is ready.
type recent struct {
	mu    sync.Mutex
	at    map[string]time.Time
	order []string // ring
	next  int
}

const remembered = 4096

// note sets the time of an identifier and returns the one before; zero: none.
func (s *recent) note(id string, at time.Time) (before time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at == nil {
		s.at, s.order = make(map[string]time.Time), make([]string, remembered)
	}
	before, known := s.at[id]
	if !known {
		delete(s.at, s.order[s.next])
		s.order[s.next] = id
		s.next = (s.next + 1) % remembered
	}
	s.at[id] = at
	return before
}

// last is the time of an identifier; zero: none.
func (s *recent) last(id string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at[id]
}
