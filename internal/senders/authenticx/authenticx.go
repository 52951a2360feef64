// Package authenticx delivers recordings and chat archives through AuthenticX's
// AcxAPI: one multipart request to POST /Media/Upload.
//
// It promises that one recording carries one FileName for ever, made of its
// idempotency key, and that "accepted" rests on a 200 with the interaction's
// id, on the vendor's listing, or on the vendor's refusal of our own second
// upload. The vendor refuses a used FileName, so a doubt is settled by asking
// and, without a usable answer, by sending the same name again. A refusal of a
// name that this ledger never sent is held: somebody else holds it.
//
// It never claims that an interaction was processed, never uses signedUrl, and
// never sends under a second name what may already be there under the first.
package authenticx

import (
	"context"
	"errors"
	"net/http"
	"time"

	"ingestd/internal/senders"
)

// Client sends to one AuthenticX organisation.
type Client struct {
	config      Config
	deps        senders.Deps
	base        string
	http        *senders.Client
	token       *senders.Token
	hierarchies hierarchies
	given       senders.Given
}

var (
	_ senders.Sender     = (*Client)(nil)
	_ senders.Reconciler = (*Client)(nil)
	_ senders.Checker    = (*Client)(nil)
)

// New returns the sender of a destination. It makes no request.
func New(c Config, d senders.Deps) (*Client, error) {
	if errs := c.Validate(); len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	d = d.WithDefaults(c.Rate)
	base, tokenURL := c.urls()
	client := senders.NewClient(senders.Options{AllowHTTP: c.AllowHTTP, Dial: d.Dial})
	tc := senders.TokenConfig{
		URL: tokenURL, ClientID: c.ClientID, Secret: c.ClientSecret,
		Scopes: []string{scope}, Now: d.Now,
	}
	if senders.SameHost(base, tokenURL) {
		tc.Lane = d.Lane
	}
	return &Client{
		config: c, deps: d, base: base, http: client, token: senders.NewToken(tc, client),
		hierarchies: hierarchies{turn: make(chan struct{}, 1)},
	}, nil
}

// Traits implements senders.Sender.
func (c *Client) Traits() senders.Traits {
	return senders.Traits{ResendSafe: true, Archives: true, MaxBytes: maxBytes}
}

// Names of the ids that are journalled before the upload, and of the vendor's
// own, which comes back with the answer.
const (
	idFileName     = "file_name"
	idClientCallID = "client_call_id"
	idInteraction  = "authenticx_id"
)

// Assumed upload speed when deciding whether a token will outlive an upload.
const assumedRate = 1 << 20 // bytes per second

// Send implements senders.Sender. A file name that an earlier attempt sent is
// kept, whatever the configuration says now: only under that name does the
// vendor notice a second upload.
func (c *Client) Send(ctx context.Context, a senders.Attempt, j senders.Journal) (senders.Receipt, error) {
	r, err := c.build(a.Item, a.IDs[idFileName])
	if err != nil {
		return senders.Receipt{}, err
	}
	if err := c.checkHierarchy(ctx, r.metadata); err != nil {
		return senders.Receipt{}, err
	}
	token, err := c.ready(ctx, time.Minute+time.Duration(r.size/assumedRate)*time.Second)
	if err != nil {
		return senders.Receipt{}, err
	}
	media, err := a.Open()
	if err != nil {
		return senders.Receipt{}, senders.NotOpened(err)
	}
	gate := senders.NewBody(media, r.size, r.sha256, j, nil)
	gate.Frame(r.prologue, r.epilogue)
	if err := j.Sending(r.ids()); err != nil {
		gate.Close()
		return senders.Receipt{}, senders.NotJournalled(err, nil)
	}
	h := senders.Bearer(token)
	h.Set("Content-Type", r.contentType())
	answer := c.http.Media(ctx, http.MethodPost, c.uploadURL(), h, gate)
	if answer.Status == http.StatusUnauthorized {
		c.token.Invalidate(token) // the next attempt asks for a new one
	}
	if err := gate.Err(); err != nil {
		err.Bytes, err.HTTPStatus = answer.Sent, answer.Status
		return senders.Receipt{}, err
	}
	switch {
	case answer.Status == http.StatusOK && answer.Passed:
		return c.readReceipt(answer, r)
	case answer.Status == http.StatusBadRequest:
		return c.readRefusal(ctx, answer, a, r)
	}
	return senders.Receipt{}, c.failed(answer)
}

// ready waits for the request's turn and a token that lives for need longer.
// The token comes second: the turn may take minutes.
func (c *Client) ready(ctx context.Context, need time.Duration) (string, error) {
	if err := c.deps.Lane.Wait(ctx); err != nil {
		return "", &senders.Error{Class: senders.NotSent, Code: "cancelled", Text: "stopped before the request was made", Err: err}
	}
	return c.token.Get(ctx, need)
}

// get asks one of the reading routes, and once more with a new token when the
// vendor answers 401. Its error says why there is no 200.
func (c *Client) get(ctx context.Context, url string) (senders.Answer, error) {
	for repeated := false; ; repeated = true {
		token, err := c.ready(ctx, 0)
		if err != nil {
			return senders.Answer{}, err
		}
		answer := c.http.JSON(ctx, http.MethodGet, url, senders.Bearer(token), nil)
		if answer.Status == http.StatusUnauthorized && !repeated {
			c.token.Invalidate(token)
			continue
		}
		if answer.Status != http.StatusOK || answer.BodyErr != nil {
			return answer, c.failed(answer)
		}
		return answer, nil
	}
}

// limitPause is how long requests stop after a 429 without Retry-After: the
// vendor declares the header in its OpenAPI and omits it elsewhere, and
// publishes no number.
const limitPause = 30 * time.Second

// failed classifies an answer that is no success. A 404 on a fixed path
// concerns every recording, so the destination waits and none is parked.
func (c *Client) failed(a senders.Answer) *senders.Error {
	now := c.deps.Now()
	e := senders.Classify(a, now)
	switch {
	case e.Class == senders.RateLimited:
		if e.RetryAfter == 0 {
			e.RetryAfter = limitPause
		}
		c.deps.Lane.Pause(now.Add(e.RetryAfter), "rate_limited")
	case a.Status == http.StatusNotFound:
		e.Class, e.Text = senders.Auth, "AuthenticX does not know this address; check environment or base_url"
	}
	return e
}
