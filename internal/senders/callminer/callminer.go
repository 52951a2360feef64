// Package callminer delivers recordings through CallMiner's Media Ingestion
// API v2: a session opened with JSON, then the bytes as a raw body.
//
// It promises that one recording carries one CorrelationId for ever, that no
// session is used for two media requests, and that "accepted" rests on a 201
// whose lengths equal the recording's. It never claims that a contact was
// published: this API cannot tell. A second complete upload is harmless,
// because a contact with a used CorrelationId fails to publish; that is how a
// doubt is settled here.
package callminer

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"ingestd/internal/senders"
)

// Client sends to one CallMiner tenant.
type Client struct {
	config  Config
	deps    senders.Deps
	base    string
	http    *senders.Client
	token   *senders.Token
	given   senders.Given
	columns atomic.Pointer[map[string]column] // of the last Check; nil: unknown
}

var (
	_ senders.Sender  = (*Client)(nil)
	_ senders.Checker = (*Client)(nil)
)

// New returns the sender of a destination. It makes no request.
func New(c Config, d senders.Deps) (*Client, error) {
	if errs := c.Validate(); len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	d = d.WithDefaults(c.Rate)
	base, tokenURL := c.urls()
	client := senders.NewClient(senders.Options{AllowHTTP: c.AllowHTTP, KeepAlive: c.KeepAlive, Dial: d.Dial})
	tc := senders.TokenConfig{
		URL: tokenURL, ClientID: c.ClientID, Secret: c.ClientSecret,
		Scopes: []string{scope}, Now: d.Now,
	}
	if senders.SameHost(base, tokenURL) {
		tc.Lane = d.Lane // the quota is that of the API's host
	}
	return &Client{config: c, deps: d, base: base, http: client, token: senders.NewToken(tc, client)}, nil
}

// Traits implements senders.Sender.
func (c *Client) Traits() senders.Traits {
	return senders.Traits{TwoStep: true, ResendSafe: true, MaxBytes: maxBytes}
}

// Send implements senders.Sender.
func (c *Client) Send(ctx context.Context, a senders.Attempt, j senders.Journal) (senders.Receipt, error) {
	r, err := c.build(a.Item)
	if err != nil {
		return senders.Receipt{}, err
	}
	c.warnColumns(ctx, r.session.Metadata)
	sessionID, err := c.openSession(ctx, r, a.IDs["session_id"], j)
	if err != nil {
		return senders.Receipt{}, err
	}
	return c.sendMedia(ctx, a, r, sessionID, j)
}

// openSession is step 1. A lost or unclear answer is harmless: a session
// without media never becomes a contact.
func (c *Client) openSession(ctx context.Context, r *request, previous string, j senders.Journal) (string, error) {
	answer, err := c.call(ctx, http.MethodPost, c.sessionURL(), r.body, j.Declaring)
	if err != nil {
		return "", err
	}
	if answer.Status == http.StatusOK {
		return c.readSession(answer, r.session.CorrelationID, previous)
	}
	e := c.failed(answer)
	switch {
	case e.Class == senders.Incomplete && e.Code == "connection_lost":
		e.Class, e.Code, e.Text = senders.Refused, "no_answer", "no answer to the session request came back; another session is opened"
	case answer.Status == http.StatusNotFound:
		e.Text = "CallMiner does not know the address for sessions; check region or base_url"
	}
	return "", e
}

// call makes a JSON request with a token, and once more with a new token when
// the vendor answers 401. before runs ahead of the first byte.
func (c *Client) call(ctx context.Context, method, url string, body []byte, before func() error) (senders.Answer, error) {
	for repeated := false; ; repeated = true {
		token, err := c.ready(ctx, 0)
		if err != nil {
			return senders.Answer{}, err
		}
		if !repeated {
			if err := before(); err != nil {
				return senders.Answer{}, senders.NotJournalled(err, nil)
			}
		}
		answer := c.http.JSON(ctx, method, url, senders.Bearer(token), body)
		if answer.Status != http.StatusUnauthorized || repeated {
			return answer, nil
		}
		c.token.Invalidate(token)
	}
}

// ready waits for the request's turn and a token that lives for need longer.
// The token comes second: the turn may take minutes.
func (c *Client) ready(ctx context.Context, need time.Duration) (string, error) {
	if err := c.deps.Lane.Wait(ctx); err != nil {
		return "", &senders.Error{Class: senders.NotSent, Code: "cancelled", Text: "stopped before the request was made", Err: err}
	}
	return c.token.Get(ctx, need)
}

// Assumed upload speed when deciding whether a token will outlive an upload.
const assumedRate = 1 << 20 // bytes per second

// sendMedia is step 2. Whatever ends it, the session is never used again.
func (c *Client) sendMedia(ctx context.Context, a senders.Attempt, r *request, sessionID string, j senders.Journal) (senders.Receipt, error) {
	size := r.session.TotalMediaLength
	token, err := c.ready(ctx, time.Minute+time.Duration(size/assumedRate)*time.Second)
	if err != nil {
		return senders.Receipt{}, err
	}
	media, err := a.Open()
	if err != nil {
		return senders.Receipt{}, senders.NotOpened(err)
	}
	gate := senders.NewBody(media, size, r.sha256, j, nil)
	sent := map[string]string{"correlation_id": r.session.CorrelationID, "session_id": sessionID}
	if err := j.Sending(sent); err != nil {
		gate.Close()
		return senders.Receipt{}, senders.NotJournalled(err, nil)
	}
	h := senders.Bearer(token)
	h.Set("Content-Type", r.session.MediaType)
	answer := c.http.Media(ctx, http.MethodPost, c.mediaURL(sessionID), h, gate)
	if answer.Status == http.StatusUnauthorized {
		c.token.Invalidate(token) // the next attempt opens a new session with a new token
	}
	if err := gate.Err(); err != nil {
		err.Bytes, err.HTTPStatus = answer.Sent, answer.Status
		return senders.Receipt{}, err
	}
	if answer.Status != http.StatusCreated || !answer.Passed {
		return senders.Receipt{}, c.failed(answer)
	}
	return c.readReceipt(answer, size, sent)
}

// failed classifies an answer that is no success. The guide names no
// Retry-After for 429 and counts per minute.
func (c *Client) failed(a senders.Answer) *senders.Error {
	now := c.deps.Now()
	e := senders.Classify(a, now)
	if e.Class != senders.RateLimited {
		return e
	}
	if e.RetryAfter == 0 {
		e.RetryAfter = max(now.Truncate(time.Minute).Add(time.Minute).Sub(now), time.Second)
	}
	c.deps.Lane.Pause(now.Add(e.RetryAfter), "rate_limited")
	return e
}
