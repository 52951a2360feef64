package behavioralsignals

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"ingestd/internal/senders"
)

// checkRoute answers 200 when token and project fit together.
type checkRoute struct {
	url   string
	extra http.Header
}

// v5Check is what the vendor's SDK asks first.
func (c *client) v5Check() checkRoute {
	return checkRoute{c.base + "/auth", http.Header{"X-Auth-Client": {c.config.Client}}}
}

func (c *client) legacyCheck() checkRoute { return checkRoute{url: c.clientURL()} }

// Check implements senders.Checker: whether token and project are accepted.
func (c *client) Check(ctx context.Context) ([]senders.Finding, error) {
	answer, err := c.get(ctx, c.check.url, c.check.extra)
	if err == nil && answer.Status != http.StatusOK {
		err = c.failed(answer)
	}
	var e *senders.Error
	switch {
	case err == nil:
		return []senders.Finding{{OK: true, Text: "credentials: Behavioral Signals accepts token and client"}}, nil
	case errors.As(err, &e) && (e.Class == senders.Auth || e.Class == senders.Rejected || e.Class == senders.Held):
		return []senders.Finding{{Stop: true, Text: "credentials: " + e.Error()}}, nil
	}
	return nil, fmt.Errorf("credentials: %w", err)
}

// Process states (first-steps page and SDK).
const (
	statusComplete = 2
	statusCredits  = -2
)

// Confirm implements senders.Confirmer: GET processes/{pid}. A process that
// failed, also for want of credits, is there and was charged or will be: it is
// never sent again by itself.
func (c *V5) Confirm(ctx context.Context, a senders.Attempt) (senders.Verdict, error) {
	pid := a.IDs["pid"]
	if !processNumber.MatchString(pid) {
		return senders.Verdict{Text: "there is no process number to ask for"}, &senders.Error{Class: senders.Held, Code: "no_pid", Text: "there is no process number to ask for"}
	}
	answer, err := c.get(ctx, c.processesURL()+"/"+url.PathEscape(pid), nil)
	if err == nil && answer.Status != http.StatusOK {
		err = c.failed(answer)
	}
	if err != nil {
		return senders.Verdict{Text: "the process could not be asked for"}, err
	}
	var got process
	if answer.BodyErr != nil || json.Unmarshal(answer.Body, &got) != nil || got.PID == nil || string(*got.PID) != pid || got.Status == nil {
		return senders.Verdict{Text: "the answer about the process could not be understood"}, c.failed(answer)
	}
	switch status := *got.Status; {
	case status == statusComplete:
		return senders.Verdict{Outcome: senders.Present, IDs: map[string]string{"pid": pid}, Text: "Behavioral Signals has processed the recording"}, nil
	case status == statusCredits:
		return senders.Verdict{Outcome: senders.Void, Text: "Behavioral Signals holds the recording but has no credits to process it (status -2)"}, nil
	case status < 0:
		return senders.Verdict{Outcome: senders.Void, Text: fmt.Sprintf("Behavioral Signals holds the recording but failed to process it (status %d)", status)}, nil
	}
	return senders.Verdict{Text: "Behavioral Signals is still processing the recording"}, nil
}
