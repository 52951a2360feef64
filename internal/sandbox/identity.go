package sandbox

import (
	"crypto/subtle"
	"io"
	"mime"
	"net/http"
	"net/url"
)

// identity is the identity provider of a vendor with client credentials.
type identity struct {
	tokens                 *tokenStore
	scope                  string // the only one it grants
	clientID, clientSecret string // both empty: every non-empty pair is known
}

func newIdentity(b *bench, o Options, scope string) *identity {
	return &identity{tokens: newTokenStore(b.now, o.TokenLife), scope: scope, clientID: o.ClientID, clientSecret: o.ClientSecret}
}

// token is POST /connect/token: a form with the client-credentials grant; id
// and secret in the form or as HTTP Basic.
func (p *identity) token(x *exchange) {
	if code := p.tokenError(x); code != "" {
		x.reject(http.StatusBadRequest, code, map[string]string{"error": code})
		return
	}
	if !x.meet("") {
		return
	}
	if x.loses() {
		x.lose()
		return
	}
	x.w.Header().Set("Cache-Control", "no-store")
	p.answer(x, http.StatusOK, struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int64  `json:"expires_in"`
		TokenType   string `json:"token_type"`
		Scope       string `json:"scope"`
	}{p.tokens.issue(), int64(p.tokens.life.Seconds()), "Bearer", p.scope})
}

// good reports whether the request carries a token that is valid now.
func (p *identity) good(r *http.Request) bool {
	return p.tokens.good(bearer(r.Header.Get("Authorization")))
}

// answer replies like exchange.answer, and ends the request's token first if
// the fault wants that.
func (p *identity) answer(x *exchange, status int, v any) {
	if x.fault.Kind == ExpireToken {
		p.tokens.expire(bearer(x.r.Header.Get("Authorization")))
	}
	x.answer(status, v)
}

// tokenError reads the form and returns the OAuth error code it deserves, or "".
func (p *identity) tokenError(x *exchange) string {
	media, _, err := mime.ParseMediaType(x.r.Header.Get("Content-Type"))
	if err != nil || media != "application/x-www-form-urlencoded" {
		return "invalid_request"
	}
	const most = 64 << 10
	body, err := io.ReadAll(io.LimitReader(x.r.Body, most+1))
	x.line.Bytes = int64(len(body))
	form, perr := url.ParseQuery(string(body))
	if err != nil || perr != nil || len(body) > most {
		return "invalid_request"
	}
	for _, values := range form {
		if len(values) > 1 { // RFC 6749 section 3.2: never twice
			return "invalid_request"
		}
	}
	id, secret, ok := basicCredentials(x.r)
	if ok && (form.Has("client_id") || form.Has("client_secret")) {
		return "invalid_request" // RFC 6749 section 2.3: one way at a time
	}
	if !ok {
		id, secret = form.Get("client_id"), form.Get("client_secret")
	}
	switch {
	case !p.knows(id, secret):
		return "invalid_client"
	case form.Get("grant_type") != "client_credentials":
		return "unsupported_grant_type"
	case form.Get("scope") != p.scope:
		return "invalid_scope"
	}
	return ""
}

// basicCredentials reads HTTP Basic as RFC 6749 section 2.3.1 has it: both
// halves are form-encoded first.
func basicCredentials(r *http.Request) (id, secret string, ok bool) {
	rawID, rawSecret, ok := r.BasicAuth()
	if !ok {
		return "", "", false
	}
	id, err1 := url.QueryUnescape(rawID)
	secret, err2 := url.QueryUnescape(rawSecret)
	if err1 != nil || err2 != nil {
		return rawID, rawSecret, true
	}
	return id, secret, true
}

// knows checks the client's credentials.
func (p *identity) knows(id, secret string) bool {
	if id == "" || secret == "" {
		return false
	}
	if p.clientID == "" && p.clientSecret == "" {
		return true
	}
	return subtle.ConstantTimeCompare([]byte(id), []byte(p.clientID)) == 1 &&
		subtle.ConstantTimeCompare([]byte(secret), []byte(p.clientSecret)) == 1
}
