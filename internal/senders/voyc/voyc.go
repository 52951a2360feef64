// Package voyc delivers recordings to Voyc through its conversation upload
// API v2: metadata as JSON, answered by a presigned place in object storage,
// then the bytes straight to that place.
//
// It promises that step 1 is made once, unless its answer proves that it had
// no effect, its target ended unused, or a person or on_doubt = "resend"
// orders another; and that the bytes of one recording go to one place for as
// long as that place can be written, where equal bytes replace each other.
// What it cannot promise: a lost answer of step 1 may leave a conversation
// without audio, and nobody can be asked; see docs/vendors/voyc.md.
//
// The vendor publishes neither the answer of step 1 nor step 2. What is
// recognised here is what its platform makes (boto3); anything else is held,
// with the structure of the answer and none of its contents.
package voyc

import (
	"context"
	"errors"
	"net/url"

	"ingestd/internal/senders"
)

// Names of the two steps in a plan.
const (
	stepDeclare = "upload_data"
	stepUpload  = "upload"
)

// Names under which ids are kept. Those that begin with "_" are secret.
const (
	idTarget       = "_target"
	idExpired      = "_expired" // a target of this delivery ended unused
	idConversation = "conversation_id"
	idOrphan       = "orphan_conversation_id"
	idETag         = "etag"
)

// Client sends to one organisation at Voyc.
type Client struct {
	config  Config
	deps    senders.Deps
	api     *senders.Client
	storage *senders.Client
	trusted bool // a rehearsal: targets may be anywhere
	given   senders.Given
}

var (
	_ senders.Sender     = (*Client)(nil)
	_ senders.Perishable = (*Client)(nil)
	_ senders.Checker    = (*Client)(nil)
)

// New returns the sender of a destination. It makes no request.
func New(c Config, d senders.Deps) (*Client, error) {
	errs := c.Validate()
	if c.ChannelExpression() != "" && d.Texts["channel_id"] == nil {
		errs = append(errs, errors.New("channel_id: is an expression that was not compiled"))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	d = d.WithDefaults(c.Rate)
	base, err := url.Parse(c.BaseURL)
	if err != nil {
		return nil, err
	}
	o := senders.Options{AllowHTTP: c.AllowHTTP, Dial: d.Dial}
	client := &Client{config: c, deps: d, api: senders.NewClient(o)}
	client.trusted = c.AllowHTTP || senders.IsLoopback(base.Hostname())
	o.AllowHTTP, o.PublicOnly = client.trusted, !client.trusted
	client.storage = senders.NewClient(o)
	return client, nil
}

// Traits implements senders.Sender.
func (c *Client) Traits() senders.Traits {
	return senders.Traits{TwoStep: true, ReuseDeclared: true, DeclareOnce: c.config.OnDoubt != senders.OnDoubtResend, MaxBytes: maxBytes}
}

// Usable implements senders.Perishable.
func (c *Client) Usable(a senders.Attempt) bool {
	t := storedTarget(a.IDs[idTarget])
	return t != nil && t.lasts(c.deps.Now(), a.File.Bytes)
}

// Send implements senders.Sender.
func (c *Client) Send(ctx context.Context, a senders.Attempt, j senders.Journal) (senders.Receipt, error) {
	up := upload{attempt: a, target: storedTarget(a.IDs[idTarget]), ids: map[string]string{}}
	up.reused = up.target != nil
	if up.reused && !c.Usable(a) {
		return senders.Receipt{}, c.over(up, nil)
	}
	if up.reused {
		if why := up.target.wrong(c.trusted, c.config.UploadHosts); why != "" { // it was kept under other settings
			return senders.Receipt{}, &senders.Error{Class: senders.Held, Code: "ssrf",
				Text: "the upload address that was kept is one " + why + "; look the recording up at Voyc, then `ingestd retry` makes a new conversation"}
		}
	}
	var declare *declaration
	if up.target == nil {
		var err error
		if declare, err = c.prepare(ctx, a); err != nil {
			return senders.Receipt{}, err
		}
	}
	// Before step 1, so that a recording that cannot be read makes no
	// conversation.
	media, err := a.Open()
	if err != nil {
		return senders.Receipt{}, senders.NotOpened(err)
	}
	if declare != nil {
		if up.target, err = c.declare(ctx, a, declare, j, up.ids); err != nil {
			_ = media.Close() // only read
			return senders.Receipt{}, err
		}
	}
	return c.upload(ctx, up, media, j)
}

// declaration is step 1, ready to be made.
type declaration struct {
	request *request
	token   string
}

func (c *Client) prepare(ctx context.Context, a senders.Attempt) (*declaration, error) {
	r, err := c.build(a.Item)
	if err != nil {
		return nil, err
	}
	token, err := c.token()
	if err != nil {
		return nil, err
	}
	if err := c.deps.Lane.Wait(ctx); err != nil {
		return nil, cancelled(err)
	}
	return &declaration{r, token}, nil
}

func (c *Client) token() (string, error) {
	token, err := c.config.Token.Resolve()
	if err != nil {
		return "", &senders.Error{Class: senders.Auth, Code: "secret_unreadable", Text: "the token could not be read", Err: err}
	}
	return token, nil
}

func cancelled(err error) *senders.Error {
	return &senders.Error{Class: senders.NotSent, Code: "cancelled", Text: "stopped before the request was made", Err: err}
}

// over is a target that ended before the recording was whole. If an earlier
// upload was complete it may lie there, and another conversation would be a
// second copy; otherwise another is declared, and the first stays without
// audio. Two ends in a row are no accident.
func (c *Client) over(up upload, refused *senders.Error) *senders.Error {
	e := &senders.Error{Class: senders.Held, Code: "target_expired"}
	if refused != nil {
		e.HTTPStatus, e.Bytes = refused.HTTPStatus, refused.Bytes
	}
	const look = "; look the recording up at Voyc, then `ingestd retry` makes a new conversation"
	switch {
	case up.attempt.Own && up.reused:
		e.Text = "the presigned target ended while an earlier upload to it was unclear" + look
	case c.config.OnDoubt == senders.OnDoubtHold:
		e.Text = `the presigned target ended before the recording was whole, and on_doubt = "hold"` + look
	case up.attempt.IDs[idExpired] != "":
		e.Text = "two presigned targets in a row ended before the recording was whole; check this machine's clock and the line's speed, then `ingestd retry`"
	default:
		e.Class, e.Code, e.Text = senders.Refused, senders.CodeOrphanDeclare, "the presigned target ended before the recording was whole; another conversation is made, and the first stays without audio"
		e.IDs = map[string]string{idTarget: "", idExpired: "1"}
	}
	return e
}
