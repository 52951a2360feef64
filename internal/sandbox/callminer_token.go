package sandbox

import (
	"crypto/subtle"
	"io"
	"mime"
	"net/http"
	"net/url"
)

// token is POST /connect/token of the identity provider: a form with the
// client-credentials grant; id and secret in the form or as HTTP Basic.
func (c *CallMiner) token(x *exchange) {
	if code := c.tokenError(x); code != "" {
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
	c.answer(x, http.StatusOK, struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int64  `json:"expires_in"`
		TokenType   string `json:"token_type"`
		Scope       string `json:"scope"`
	}{c.tokens.issue(), int64(c.o.TokenLife.Seconds()), "Bearer", callMinerScope})
}

// tokenError reads the form and returns the OAuth error code it deserves, or "".
func (c *CallMiner) tokenError(x *exchange) string {
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
	case !c.knows(id, secret):
		return "invalid_client"
	case form.Get("grant_type") != "client_credentials":
		return "unsupported_grant_type"
	case form.Get("scope") != callMinerScope:
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
func (c *CallMiner) knows(id, secret string) bool {
	if id == "" || secret == "" {
		return false
	}
	if c.o.ClientID == "" && c.o.ClientSecret == "" {
		return true
	}
	return subtle.ConstantTimeCompare([]byte(id), []byte(c.o.ClientID)) == 1 &&
		subtle.ConstantTimeCompare([]byte(secret), []byte(c.o.ClientSecret)) == 1
}
