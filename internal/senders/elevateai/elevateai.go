// Package elevateai delivers recordings to ElevateAI: an interaction is
// declared with JSON, then the bytes are uploaded to its identifier as a form
// with one file.
//
// It promises that the interactionIdentifier, which the vendor chooses and
// nobody can search for, is durable before a byte of the recording leaves;
// that a recording goes to a second identifier only after the vendor said
// that the first came to nothing; and that an unclear upload is settled by
// asking for the status. A declare whose answer is lost is repeated: without
// a file it is never processed and never billed, it only counts towards the
// monthly quota. For that reason downloadUri is never sent.
package elevateai

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"ingestd/internal/senders"
)

// Client sends to one ElevateAI account.
type Client struct {
	config Config
	deps   senders.Deps
	base   string
	http   *senders.Client
	given  recent    // identifiers that the vendor gave out
	asked  recent    // identifiers whose status was asked for
	warned sync.Once // of an unknown language tag
}

var (
	_ senders.Sender     = (*Client)(nil)
	_ senders.Reconciler = (*Client)(nil)
	_ senders.Confirmer  = (*Client)(nil)
	_ senders.Checker    = (*Client)(nil)
)

// New returns the sender of a destination. It makes no request.
func New(c Config, d senders.Deps) (*Client, error) {
	if errs := c.Validate(); len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	d = d.WithDefaults(c.Rate)
	return &Client{
		config: c, deps: d, base: strings.TrimRight(c.BaseURL, "/"),
		http: senders.NewClient(senders.Options{AllowHTTP: c.AllowHTTP, Dial: d.Dial}),
	}, nil
}

// Traits implements senders.Sender.
func (c *Client) Traits() senders.Traits {
	return senders.Traits{TwoStep: true, ReuseDeclared: true}
}

// Send implements senders.Sender.
func (c *Client) Send(ctx context.Context, a senders.Attempt, j senders.Journal) (senders.Receipt, error) {
	r, err := c.build(a.Item)
	if err != nil {
		return senders.Receipt{}, err
	}
	c.warnLanguage(ctx, r.declaration.LanguageTag)
	id := a.IDs[idName]
	if id == "" {
		if id, err = c.declare(ctx, r, a.IDs, j); err != nil {
			return senders.Receipt{}, err
		}
	}
	return c.upload(ctx, a, r, id, j)
}

// declare is step 1. The identifier is stored on its own, and not with the
// first media byte: until then a crash would lose it and leave an orphan.
func (c *Client) declare(ctx context.Context, r *request, known map[string]string, j senders.Journal) (string, error) {
	h, err := c.ready(ctx)
	if err != nil {
		return "", err
	}
	if err := j.Declaring(); err != nil {
		return "", senders.NotJournalled(err, nil)
	}
	answer := c.http.JSON(ctx, http.MethodPost, c.declareURL(), h, r.body)
	if answer.Status != http.StatusCreated && answer.Status != http.StatusOK {
		return "", c.undeclared(answer)
	}
	id, err := c.readDeclared(answer, known)
	if err != nil {
		return "", err
	}
	if err := j.Declared(map[string]string{idName: id}); err != nil {
		return "", senders.NotJournalled(err, nil)
	}
	return id, nil
}

// undeclared classifies a declare without an identifier. One that may have
// been taken is an orphan: harmless, and counted because of the quota.
func (c *Client) undeclared(a senders.Answer) *senders.Error {
	e := c.failed(a)
	switch {
	case a.Status == 0 && a.Connected:
		e.Code, e.Text = senders.CodeOrphanDeclare, "no answer to the declare came back; another is made, and this one stays unused"
		if a.Err == nil || !errors.Is(a.Err, context.Canceled) {
			e.Class = senders.Refused
		}
	case a.Status == http.StatusNotFound:
		e.Text = "ElevateAI does not know the address for interactions; check base_url"
	case e.Class == senders.Refused:
		e.Code, e.Text = senders.CodeOrphanDeclare, "the answer to the declare was a fault or could not be understood; another is made, and this one stays unused"
	}
	return e
}

// ready waits for the request's turn and reads the token, which is static: the
// vendor renews it in its dashboard only, so it is read anew each time.
func (c *Client) ready(ctx context.Context) (http.Header, error) {
	if err := c.deps.Lane.Wait(ctx); err != nil {
		return nil, &senders.Error{Class: senders.NotSent, Code: "cancelled", Text: "stopped before the request was made", Err: err}
	}
	token, err := c.config.Token.Resolve()
	if err == nil && strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		err = errors.New("it holds characters that cannot stand in a header")
	}
	if err != nil {
		return nil, &senders.Error{Class: senders.Auth, Code: "secret_unreadable", Text: "the API token could not be read", Err: err}
	}
	return http.Header{"X-Api-Token": {token}}, nil
}

// upload is step 2.
func (c *Client) upload(ctx context.Context, a senders.Attempt, r *request, id string, j senders.Journal) (senders.Receipt, error) {
	contentType, prologue, epilogue, err := r.frame()
	if err != nil {
		return senders.Receipt{}, rejected("bad_value", "the form cannot be written", err)
	}
	h, err := c.ready(ctx)
	if err != nil {
		return senders.Receipt{}, err
	}
	media, err := a.Open()
	if err != nil {
		return senders.Receipt{}, senders.NotOpened(err)
	}
	gate := senders.NewBody(media, r.bytes, r.sha256, j, nil)
	gate.Frame(prologue, epilogue)
	if err := j.Sending(nil); err != nil {
		gate.Close()
		return senders.Receipt{}, senders.NotJournalled(err, nil)
	}
	h.Set("Content-Type", contentType)
	answer := c.http.Media(ctx, http.MethodPost, c.uploadURL(id), h, gate)
	if err := gate.Err(); err != nil {
		err.Bytes, err.HTTPStatus = answer.Sent, answer.Status
		return senders.Receipt{}, err
	}
	return c.readUploaded(ctx, a, answer, id)
}

// restAfter429 stands in where a 429 names no time; the vendor documents none.
const restAfter429 = 30 * time.Second

// failed classifies an answer that is no success.
func (c *Client) failed(a senders.Answer) *senders.Error {
	e := senders.Classify(a, c.deps.Now())
	if e.Class == senders.RateLimited && e.RetryAfter == 0 {
		e.RetryAfter = restAfter429
	}
	return e
}
