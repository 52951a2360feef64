package elevateai

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"ingestd/internal/senders"
)

// askEvery is how often, at most, the status of one interaction may be asked
// for (documentation, "Check the processing status": 30 s for audio).
const askEvery = 30 * time.Second

// codeGone marks a 404 for an identifier, codeTwofold a status that says two
// things, codeTooSoon a question not asked.
const (
	codeGone    = "interaction_gone"
	codeTwofold = "contradictory_status"
	codeTooSoon = "asked_lately"
)

// interaction is what the vendor says about one. Times are only looked at for
// being there: their form varies.
type interaction struct {
	Identifier string  `json:"identifier"`
	Status     string  `json:"status"`
	Uploaded   *string `json:"uploaded"`
	Downloaded *string `json:"downloaded"`
	Processed  *string `json:"processed"`
}

// processingFailed is the one failure of a file that arrived.
const processingFailed = "processingfailed"

// landed: the vendor took the whole file in, whatever became of it later.
func (i interaction) landed() bool {
	return set(i.Uploaded) || set(i.Processed) || strings.ToLower(i.Status) == processingFailed
}

// failed: the interaction is over without a result. The names between are not
// documented, so only the ending counts.
func (i interaction) failed() bool {
	return strings.HasSuffix(strings.ToLower(i.Status), "failed")
}

func set(s *string) bool { return s != nil && *s != "" }

// status asks for one interaction. The error is of class Held when asking again
// cannot help.
func (c *Client) status(ctx context.Context, id string) (interaction, *senders.Error) {
	now := c.deps.Now()
	if last := c.asked.last(id); !last.IsZero() && now.Sub(last) < askEvery {
		return interaction{}, &senders.Error{Class: senders.Refused, Code: codeTooSoon, Text: "the status was asked for less than 30 s ago"}
	}
	answer, e := c.ask(ctx, id)
	if e != nil {
		return interaction{}, e
	}
	var got interaction
	switch {
	case answer.Status == http.StatusNotFound:
		return got, held(answer, codeGone, "ElevateAI does not know the interaction, which after 45 days it may have forgotten; look the recording up in ElevateAI, then `ingestd retry` declares it anew")
	case answer.Status != http.StatusOK || answer.BodyErr != nil || json.Unmarshal(answer.Body, &got) != nil || got.Status == "":
		return interaction{}, c.failed(answer)
	case got.Identifier != "" && !strings.EqualFold(got.Identifier, id):
		return interaction{}, held(answer, "foreign_id", "ElevateAI answered with the status of another interaction")
	case got.landed() && got.failed() && strings.ToLower(got.Status) != processingFailed:
		return interaction{}, held(answer, codeTwofold, "ElevateAI says that the upload failed and that it is complete; look the interaction up in ElevateAI, then `ingestd retry`")
	}
	return got, nil
}

// ask makes the request of a status question.
func (c *Client) ask(ctx context.Context, id string) (senders.Answer, *senders.Error) {
	h, err := c.ready(ctx)
	if err != nil {
		var e *senders.Error
		errors.As(err, &e) // ready makes no other
		return senders.Answer{}, e
	}
	c.asked.note(id, c.deps.Now())
	return c.http.JSON(ctx, http.MethodGet, c.statusURL(id), h, nil), nil
}

// Reconcile implements senders.Reconciler.
func (c *Client) Reconcile(ctx context.Context, a senders.Attempt) (senders.Verdict, error) {
	id := a.IDs[idName]
	if id == "" {
		return senders.Verdict{}, &senders.Error{
			Class: senders.Held, Code: "no_identifier",
			Text: "the ledger does not know the interactionIdentifier, and ElevateAI has no search; look the recording up in ElevateAI, then `ingestd retry` declares it anew",
		}
	}
	s, e := c.status(ctx, id)
	switch {
	case e != nil && e.Code == codeTooSoon:
		return senders.Verdict{Outcome: senders.Unknown, Text: e.Text}, nil
	case e != nil:
		e.IDs = voided(e, a.IDs, id)
		return senders.Verdict{}, e
	case s.landed():
		return senders.Verdict{Outcome: senders.Present, Text: "ElevateAI holds the recording"}, nil
	case s.failed():
		return senders.Verdict{Outcome: senders.Void, IDs: forget(a.IDs, id), Text: "ElevateAI gave the interaction up; the recording is declared anew"}, nil
	}
	return senders.Verdict{Outcome: senders.Absent, Text: "ElevateAI still waits for the recording"}, nil
}

// Confirm implements senders.Confirmer.
func (c *Client) Confirm(ctx context.Context, a senders.Attempt) (senders.Verdict, error) {
	s, e := c.status(ctx, a.IDs[idName])
	switch {
	case e != nil && e.Code == codeTooSoon:
		return senders.Verdict{Outcome: senders.Unknown, Text: e.Text}, nil
	case e != nil && e.Code == codeGone:
		e.Text = "ElevateAI does not know the interaction any more; whether it was processed is not known"
		return senders.Verdict{}, e
	case e != nil:
		return senders.Verdict{}, e
	case s.failed():
		return senders.Verdict{Outcome: senders.Void, Text: "ElevateAI took the recording and could not process it"}, nil
	case set(s.Processed):
		return senders.Verdict{Outcome: senders.Present, Text: "ElevateAI processed the recording"}, nil
	}
	return senders.Verdict{Outcome: senders.Unknown, Text: "ElevateAI is still working on the recording"}, nil
}

// Check asks for the status of an interaction that does not exist. That a 404
// then proves the token is not documented, only likely; a 401 is documented.
func (c *Client) Check(ctx context.Context) ([]senders.Finding, error) {
	var findings []senders.Finding
	if !knownLanguage(c.config.LanguageTag) {
		findings = append(findings, senders.Finding{Text: fmt.Sprintf("language_tag: %q is none of %s; right only if ElevateAI has added it", c.config.LanguageTag, strings.Join(languages(), ", "))})
	}
	answer, e := c.ask(ctx, randomGUID())
	if e == nil && answer.Status != http.StatusNotFound && answer.Status != http.StatusOK {
		e = c.failed(answer)
	}
	switch {
	case e == nil:
		return append(findings, senders.Finding{OK: true, Text: "token: ElevateAI answered a question about an interaction that does not exist as it should"}), nil
	case e.Class == senders.Auth:
		return append(findings, senders.Finding{Stop: true, Text: "token: " + e.Error()}), nil
	}
	return findings, fmt.Errorf("token: %w", e)
}

// randomGUID names an interaction that nobody declared.
func randomGUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// languages are those of the vendor's list as it was; it has grown over time,
// so another one is worth a warning and no refusal.
func languages() []string { return []string{"en-us", "en", "es-419", "pt-br", "ja"} }

func knownLanguage(tag string) bool { return slices.Contains(languages(), tag) }

// warnLanguage logs the first unknown tag, without it: it comes from the call.
func (c *Client) warnLanguage(ctx context.Context, tag string) {
	if !knownLanguage(tag) {
		c.warned.Do(func() {
			c.deps.Log.WarnContext(ctx, "a languageTag is not in the vendor's list as it was known; right only if ElevateAI has added it")
		})
	}
}
