package senders

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
	"golang.org/x/sync/singleflight"
)

const (
	assumedTokenLife = 5 * time.Minute // of an answer without expires_in
	tokenRetryPause  = 15 * time.Second
	maxTokenLength   = 16 << 10
)

// TokenConfig says where and how a bearer token is asked for.
type TokenConfig struct {
	URL      string
	ClientID string
	Secret   Secret // resolved anew for each request
	Scopes   []string
	Lane     *Lane // nil: token requests do not count against the quota
	Now      func() time.Time
}

// Token hands out the bearer token of one destination: OAuth2 client
// credentials in a form, one request at a time however many workers ask,
// renewed at 90 % of its life. While a renewal fails, the old token is used
// until its end.
type Token struct {
	config TokenConfig
	client *Client
	flight singleflight.Group

	mu      sync.Mutex
	value   string
	fetched time.Time
	expiry  time.Time
	retryAt time.Time // after a failed renewal of a token that still lives
}

// NewToken returns a token source that asks through client.
func NewToken(c TokenConfig, client *Client) *Token {
	return &Token{config: c, client: client}
}

// Get returns a token that lives for need longer, as far as the vendor's
// token life allows. Errors are of class Auth (the credentials were refused,
// or cannot be read), RateLimited or NotSent.
func (t *Token) Get(ctx context.Context, need time.Duration) (string, error) {
	if value, fresh := t.current(need); fresh {
		return value, nil
	}
	// The renewal serves everybody who waits, so it must survive the caller
	// that happened to start it.
	done := t.flight.DoChan("", func() (any, error) {
		if _, fresh := t.current(need); fresh {
			return nil, nil // renewed between the look above and now
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), totalTimeout)
		defer cancel()
		err := t.renew(ctx)
		if err != nil {
			t.mu.Lock()
			t.retryAt = t.config.Now().Add(tokenRetryPause)
			t.mu.Unlock()
		}
		return nil, err
	})
	select {
	case r := <-done:
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.value != "" && t.config.Now().Before(t.expiry) {
			return t.value, nil // new, or the old one that still lives
		}
		if r.Err == nil {
			r.Err = &Error{Class: NotSent, Code: "token_unusable", Text: "the token expired while it was handed out"}
		}
		return "", r.Err
	case <-ctx.Done():
		return "", &Error{Class: NotSent, Code: "cancelled", Text: "stopped before a token was there", Err: ctx.Err()}
	}
}

// Invalidate drops a token that the vendor refused. A token that has been
// renewed meanwhile stays: eight workers with one refused token cause one
// renewal, not eight.
func (t *Token) Invalidate(used string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.value == used {
		t.value = ""
	}
}

// current returns the token and whether it is good enough. A need beyond half
// of the vendor's token life is cut to that, or every call would renew.
func (t *Token) current(need time.Duration) (string, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now, life := t.config.Now(), t.expiry.Sub(t.fetched)
	if t.value == "" || !now.Before(t.expiry) {
		return "", false
	}
	need = max(min(need, life/2), life/10)
	return t.value, t.expiry.Sub(now) > need || now.Before(t.retryAt)
}

func (t *Token) renew(ctx context.Context) error {
	secret, err := t.config.Secret.Resolve()
	if err != nil {
		return &Error{Class: Auth, Code: "secret_unreadable", Text: "the client secret could not be read", Err: err}
	}
	if t.config.Lane != nil {
		if err := t.config.Lane.Wait(ctx); err != nil {
			return &Error{Class: NotSent, Code: "cancelled", Text: "stopped while waiting for the request limit", Err: err}
		}
	}
	asked := t.config.Now()
	config := clientcredentials.Config{
		ClientID: t.config.ClientID, ClientSecret: secret, TokenURL: t.config.URL,
		Scopes: t.config.Scopes, AuthStyle: oauth2.AuthStyleInParams,
	}
	got, err := config.Token(context.WithValue(ctx, oauth2.HTTPClient, t.client.api))
	if err != nil {
		return t.refused(ctx, err)
	}
	if !usableToken(got.AccessToken) || got.Type() != "Bearer" {
		return &Error{Class: NotSent, Code: "token_unusable", Text: "the identity provider's answer holds no usable bearer token; check token_url"}
	}
	life := assumedTokenLife
	if !got.Expiry.IsZero() {
		life = time.Until(got.Expiry) // the library counts from its own clock
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.value, t.fetched, t.expiry, t.retryAt = got.AccessToken, asked, asked.Add(life), time.Time{}
	return nil
}

// refused classifies a failed token request. Nothing of a recording was sent,
// so it is never a doubt; and a redirect or an odd 4xx concerns the whole
// destination, so no recording is held for it. The library's error is not
// kept: it quotes the answer.
func (t *Token) refused(ctx context.Context, err error) *Error {
	var answer *oauth2.RetrieveError
	if !errors.As(err, &answer) || answer.Response == nil || answer.Response.StatusCode < 300 {
		return &Error{
			Class: NotSent, Code: "token_unavailable",
			Text: "no token could be had from the identity provider; it is tried again", Err: redact(ctx, err),
		}
	}
	e := Classify(Answer{Status: answer.Response.StatusCode, Header: answer.Response.Header, Connected: true}, t.config.Now())
	switch {
	case e.Class == RateLimited:
		e.Code, e.Text = "token_rate_limited", "the identity provider asked for fewer requests"
	case e.HTTPStatus >= 500 || e.HTTPStatus == http.StatusRequestTimeout:
		e.Class, e.Code, e.Text = NotSent, "token_unavailable", "the identity provider had a fault; it is tried again"
	case e.HTTPStatus == http.StatusNotFound || e.HTTPStatus < 400:
		e.Class, e.Code, e.Text = Auth, "token_url", "the identity provider does not answer at token_url; check it"
	default:
		e.Class, e.Code, e.Text = Auth, "token_refused", "the identity provider refused client_id and client_secret; check both and the scope granted to them"
	}
	return e
}

// usableToken keeps anything that could not stand in a header out of it.
func usableToken(s string) bool {
	if s == "" || len(s) > maxTokenLength {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// Bearer is the header of a request that shows an access token (RFC 6750,
// section 2.1).
func Bearer(token string) http.Header {
	return http.Header{"Authorization": {"Bearer " + token}}
}
