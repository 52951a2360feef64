package sandbox_test

import (
	"encoding/base64"
	"net/url"
	"strings"
	"testing"
	"time"

	"ingestd/internal/sandbox"
)

func TestToken(t *testing.T) {
	l := newLab(t, sandbox.Options{ClientID: "acme", ClientSecret: "s3cret", TokenLife: 90 * time.Second})
	set := func(k, v string) url.Values {
		f := tokenForm()
		f.Set(k, v)
		return f
	}
	twice := tokenForm()
	twice.Add("scope", "x")
	bare := tokenForm()
	bare.Del("client_id")
	bare.Del("client_secret")
	basic := map[string]string{"Authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte("acme:s3cret"))}
	wrong := map[string]string{"Authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte("acme:other"))}
	for name, tc := range map[string]struct {
		form   url.Values
		header map[string]string
		status int
		code   string
	}{
		"form":             {tokenForm(), nil, 200, ""},
		"charset":          {tokenForm(), map[string]string{"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}, 200, ""},
		"basic":            {bare, basic, 200, ""},
		"basic wrong":      {bare, wrong, 400, "invalid_client"},
		"both ways":        {tokenForm(), basic, 400, "invalid_request"},
		"no credentials":   {bare, nil, 400, "invalid_client"},
		"wrong id":         {set("client_id", "other"), nil, 400, "invalid_client"},
		"wrong secret":     {set("client_secret", "other"), nil, 400, "invalid_client"},
		"grant":            {set("grant_type", "password"), nil, 400, "unsupported_grant_type"},
		"scope":            {set("scope", "openid"), nil, 400, "invalid_scope"},
		"field twice":      {twice, nil, 400, "invalid_request"},
		"json by its name": {tokenForm(), map[string]string{"Content-Type": "application/json"}, 400, "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			a := l.form(tc.form, tc.header)
			if a.status != tc.status {
				t.Fatalf("status = %d, want %d (%s)", a.status, tc.status, a.body)
			}
			if tc.code != "" {
				if got := a.field(t, "error"); got != tc.code {
					t.Fatalf("error = %q, want %q", got, tc.code)
				}
				return
			}
			if a.field(t, "expires_in") != "90" || a.field(t, "token_type") != "Bearer" ||
				a.field(t, "scope") != tokenForm().Get("scope") || a.field(t, "access_token") == "" {
				t.Fatalf("reply = %s", a.body)
			}
		})
	}
	if a := l.do("GET", "/connect/token", nil, nil, 0); a.status != 405 {
		t.Fatalf("GET: status %d, want 405", a.status)
	}
	if a := l.do("POST", "/connect/token?"+tokenForm().Encode(), map[string]string{
		"Content-Type": "application/x-www-form-urlencoded"}, nil, 0); a.status != 400 {
		t.Fatalf("credentials in the query: status %d, want 400", a.status)
	}
}

func TestAnyCredentialsByDefault(t *testing.T) {
	l := newLab(t, sandbox.Options{})
	if l.token == "" {
		t.Fatal("no token for made-up credentials")
	}
	f := tokenForm()
	f.Set("client_secret", "")
	if a := l.form(f, nil); a.status != 400 {
		t.Fatalf("empty secret: status %d, want 400", a.status)
	}
}

func TestBearer(t *testing.T) {
	l := newLab(t, sandbox.Options{})
	ended := newLab(t, sandbox.Options{}) // its tokens are unknown here
	for name, tc := range map[string]struct {
		header string
		status int
	}{
		"good":       {"Bearer " + l.token, 200},
		"missing":    {"", 401},
		"other host": {"Bearer " + ended.token, 401},
		"jwt scheme": {"JWT " + l.token, 401},
		"bare":       {l.token, 401},
	} {
		t.Run(name, func(t *testing.T) {
			h := map[string]string{}
			if tc.header != "" {
				h["Authorization"] = tc.header
			}
			for _, path := range []string{"GET info/callmetadataconfig", "POST session/metadatamedia",
				"POST session/metadatamedia/segments", "POST session/metadata", "POST media/1"} {
				method, route, _ := strings.Cut(path, " ")
				a := l.do(method, "/ingestion/api/"+route, h, nil, 0)
				if (a.status == 401) != (tc.status == 401) {
					t.Fatalf("%s: status %d", path, a.status)
				}
			}
		})
	}
	l.c.ExpireTokens()
	if a := l.do("GET", "/ingestion/api/info/callmetadataconfig",
		map[string]string{"Authorization": "Bearer " + l.token}, nil, 0); a.status != 401 {
		t.Fatalf("after ExpireTokens: status %d, want 401", a.status)
	}
}
