// Package behavioralsignals delivers recordings to Behavioral Signals through
// one multipart request each, in either generation of its API: v5, or the
// older one, here called legacy.
//
// Neither compares anything it is sent: a second upload is a second process
// and a second charge. The package promises that each upload carries the
// delivery's key, in v5 in `meta` and `name`, and that "accepted" rests on a
// 200 with a process number. In v5 a lost answer is settled by looking the key
// up in the list of processes. Legacy documents no list, so [Legacy] is no
// Reconciler and a person decides. It never claims that a recording was
// analysed, and never shows a legacy request's query, which is personal data.
package behavioralsignals

import (
	"context"
	"errors"
	"net/http"

	"ingestd/internal/call"
	"ingestd/internal/senders"
)

// client is what both generations share: one upload, one static token.
type client struct {
	config Config
	deps   senders.Deps
	base   string
	http   *senders.Client
	build  func(call.Item) (*request, error)
	check  checkRoute
	given  pids
	clock  vendorClock
}

// V5 sends to one project through API v5.
type V5 struct {
	*client
	pages    pageSize
	readings readings
}

// Legacy sends to one project through the older API.
type Legacy struct{ *client }

var (
	_ senders.Sender     = (*V5)(nil)
	_ senders.Checker    = (*V5)(nil)
	_ senders.Reconciler = (*V5)(nil)
	_ senders.Confirmer  = (*V5)(nil)
	_ senders.Sender     = (*Legacy)(nil)
	_ senders.Checker    = (*Legacy)(nil)
)

// New returns the sender of a destination, a *V5 or a *Legacy. It makes no
// request.
func New(c Config, d senders.Deps) (senders.Sender, error) {
	if errs := c.Validate(); len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	d = d.WithDefaults(c.Rate)
	cl := &client{
		config: c, deps: d, base: c.base(),
		http: senders.NewClient(senders.Options{AllowHTTP: c.AllowHTTP, Dial: d.Dial}),
	}
	if c.API == APILegacy {
		cl.build, cl.check = cl.legacyRequest, cl.legacyCheck()
		return &Legacy{cl}, nil
	}
	cl.build, cl.check = cl.v5Request, cl.v5Check()
	return &V5{client: cl}, nil
}

// Traits implements senders.Sender: one step, and a second upload is a second
// process.
func (c *client) Traits() senders.Traits { return senders.Traits{} }

// Plan implements senders.Sender.
func (c *client) Plan(item call.Item) (senders.Plan, error) {
	r, err := c.build(item)
	if err != nil {
		return senders.Plan{}, err
	}
	return senders.Plan{Requests: []senders.PlannedRequest{r.planned()}}, nil
}

// Send implements senders.Sender.
func (c *client) Send(ctx context.Context, a senders.Attempt, j senders.Journal) (senders.Receipt, error) {
	r, err := c.build(a.Item)
	if err != nil {
		return senders.Receipt{}, err
	}
	h, err := c.ready(ctx)
	if err != nil {
		return senders.Receipt{}, err
	}
	h.Set("Content-Type", r.contentType())
	media, err := a.Open()
	if err != nil {
		return senders.Receipt{}, senders.NotOpened(err)
	}
	gate := senders.NewBody(media, r.bytes, r.sha256, j, nil)
	gate.Frame(r.frame())
	if err := j.Sending(nil); err != nil {
		gate.Close()
		return senders.Receipt{}, senders.NotJournalled(err, nil)
	}
	answer := c.http.Media(ctx, http.MethodPost, r.url, h, gate)
	c.clock.note(answer, c.deps.Now())
	if err := gate.Err(); err != nil {
		err.Bytes, err.HTTPStatus = answer.Sent, answer.Status
		return senders.Receipt{}, err
	}
	if answer.Status != http.StatusOK || !answer.Passed {
		return senders.Receipt{}, c.failed(answer)
	}
	return c.readReceipt(answer, a.Delivery.IdemKey)
}

// ready waits for the request's turn and returns the headers of every request
// of this vendor. The token is read anew each time: a rotated file takes
// effect with the attempt after a refusal.
func (c *client) ready(ctx context.Context) (http.Header, error) {
	if err := c.deps.Lane.Wait(ctx); err != nil {
		return nil, &senders.Error{Class: senders.NotSent, Code: "cancelled", Text: "stopped before the request was made", Err: err}
	}
	token, err := c.config.Token.Resolve()
	if err != nil {
		return nil, &senders.Error{Class: senders.Auth, Code: "secret_unreadable", Text: "the token could not be read", Err: err}
	}
	return http.Header{"X-Auth-Token": {token}, "Accept": {"application/json"}}, nil
}

// get makes one request without a body.
func (c *client) get(ctx context.Context, url string, extra http.Header) (senders.Answer, error) {
	h, err := c.ready(ctx)
	if err != nil {
		return senders.Answer{}, err
	}
	for name, values := range extra {
		h[name] = values
	}
	answer := c.http.JSON(ctx, http.MethodGet, url, h, nil)
	c.clock.note(answer, c.deps.Now())
	return answer, nil
}
