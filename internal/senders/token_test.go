package senders

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// idp answers with status and body, and counts.
type idp struct {
	*httptest.Server
	asked  atomic.Int64
	mu     sync.Mutex
	form   map[string][]string
	answer func(w http.ResponseWriter, n int64)
}

func newIDP(t *testing.T) *idp {
	i := &idp{answer: grant}
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := i.asked.Add(1)
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		i.mu.Lock()
		i.form = r.PostForm
		answer := i.answer
		i.mu.Unlock()
		answer(w, n)
	}))
	t.Cleanup(i.Close)
	return i
}

func (i *idp) set(answer func(w http.ResponseWriter, n int64)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answer = answer
}

func grant(w http.ResponseWriter, n int64) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"access_token":"token-%d","expires_in":3600,"token_type":"Bearer"}`, n)
}

func refuse(status int) func(http.ResponseWriter, int64) {
	return func(w http.ResponseWriter, _ int64) {
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"error":"invalid_client","error_description":%q}`, canary)
	}
}

// hand is a clock that a test moves; the identity provider's own clock, which
// only yields expires_in, stays real.
type hand struct{ offset atomic.Int64 }

func (h *hand) now() time.Time          { return time.Now().Add(time.Duration(h.offset.Load())) }
func (h *hand) forward(d time.Duration) { h.offset.Add(int64(d)) }

func tokenOf(t *testing.T, i *idp, h *hand) *Token {
	return NewToken(TokenConfig{
		URL: i.URL + "/connect/token", ClientID: "acme", Secret: parseSecret(t, "plain:"+canary),
		Scopes: []string{"scope-1"}, Now: h.now,
	}, NewClient(Options{KeepAlive: true}))
}

func get(t *testing.T, k *Token, need time.Duration, want string) {
	t.Helper()
	if got, err := k.Get(t.Context(), need); err != nil || got != want {
		t.Fatalf("got %q, %v, want %q", got, err, want)
	}
}

func TestTokenRenewsAtNineTenths(t *testing.T) {
	i, h := newIDP(t), &hand{}
	k := tokenOf(t, i, h)
	get(t, k, 0, "token-1")
	form := fmt.Sprint(i.form)
	if form != fmt.Sprintf("map[client_id:[acme] client_secret:[%s] grant_type:[client_credentials] scope:[scope-1]]", canary) {
		t.Fatalf("form %s", form)
	}
	h.forward(53 * time.Minute)
	get(t, k, 0, "token-1")
	get(t, k, time.Minute, "token-1")
	h.forward(90 * time.Second) // 54.5 of 60 minutes
	get(t, k, 0, "token-2")
	h.forward(20 * time.Minute)
	get(t, k, 39*time.Minute, "token-2")
	h.forward(15 * time.Minute) // 25 left
	get(t, k, 26*time.Minute, "token-3")
	get(t, k, 24*time.Hour, "token-3") // no token lives that long: not asked for again and again
	get(t, k, 24*time.Hour, "token-3")
}

func TestTokenInvalidate(t *testing.T) {
	i, h := newIDP(t), &hand{}
	k := tokenOf(t, i, h)
	get(t, k, 0, "token-1")
	k.Invalidate("token-1")
	get(t, k, 0, "token-2")
	k.Invalidate("token-1") // a slower worker learns of the old refusal
	get(t, k, 0, "token-2")
}

func TestTokenSingleFlight(t *testing.T) {
	i, h := newIDP(t), &hand{}
	arrived, release := make(chan struct{}, 1), make(chan struct{})
	i.set(func(w http.ResponseWriter, n int64) { arrived <- struct{}{}; <-release; grant(w, n) })
	k := tokenOf(t, i, h)
	gone, cancel := context.WithCancel(t.Context())
	first := make(chan error)
	go func() { _, err := k.Get(gone, 0); first <- err }()
	<-arrived
	cancel() // the one who started the request leaves
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Fatalf("%v, want cancelled", err)
	}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if got, err := k.Get(t.Context(), 0); err != nil || got != "token-1" {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	close(release)
	wg.Wait()
	if n := i.asked.Load(); n != 1 {
		t.Fatalf("%d requests", n)
	}
}

func TestTokenOutlivesAFailedRenewal(t *testing.T) {
	i, h := newIDP(t), &hand{}
	k := tokenOf(t, i, h)
	get(t, k, 0, "token-1")
	i.set(refuse(503))
	h.forward(55 * time.Minute)
	get(t, k, 0, "token-1")
	get(t, k, 0, "token-1")
	if n := i.asked.Load(); n != 2 {
		t.Fatalf("%d requests: a failed renewal is not repeated for every call", n)
	}
	h.forward(20 * time.Second)
	get(t, k, 0, "token-1")
	if n := i.asked.Load(); n != 3 {
		t.Fatalf("%d requests: the renewal is tried again", n)
	}
	h.forward(5 * time.Minute)
	if _, err := k.Get(t.Context(), 0); err == nil {
		t.Fatal("an expired token was handed out")
	}
	i.set(grant)
	get(t, k, 0, "token-5")
}

func TestTokenUnreadableSecret(t *testing.T) {
	i, h := newIDP(t), &hand{}
	k := tokenOf(t, i, h)
	k.config.Secret = parseSecret(t, "env:INGESTD_TEST_NOT_THERE")
	_, err := k.Get(t.Context(), 0)
	if e := new(Error); !errors.As(err, &e) || e.Class != Auth || i.asked.Load() != 0 {
		t.Fatalf("%v, want auth and no request", err)
	}
}

func TestTokenCountsOnTheLane(t *testing.T) {
	i, h := newIDP(t), &hand{}
	k := tokenOf(t, i, h)
	k.config.Lane = NewLane(Rate{Count: 1, Per: time.Hour}, time.Now)
	get(t, k, 0, "token-1")
	if d := k.config.Lane.limit.Reserve().Delay(); d < 50*time.Minute {
		t.Fatalf("the next request would wait %v: the token did not count", d)
	}
}

func TestTokenWithoutLife(t *testing.T) {
	i, h := newIDP(t), &hand{}
	i.set(func(w http.ResponseWriter, n int64) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"access_token":"token-%d","token_type":"bearer"}`, n)
	})
	k := tokenOf(t, i, h)
	get(t, k, 0, "token-1")
	h.forward(4 * time.Minute)
	get(t, k, 0, "token-1")
	h.forward(time.Minute)
	get(t, k, 0, "token-2")
}

func TestTokenWaitEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := NewToken(TokenConfig{
			URL: "http://127.0.0.1:80/", ClientID: "a", Secret: parseSecret(t, "plain:x"), Now: time.Now,
		}, NewClient(Options{Dial: silent(t)}))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		start := time.Now()
		_, err := k.Get(ctx, 0)
		if e := new(Error); !errors.As(err, &e) || e.Class != NotSent || time.Since(start) != 5*time.Second {
			t.Fatalf("%v after %v", err, time.Since(start))
		}
		start = time.Now()
		if _, err = k.Get(t.Context(), 0); err == nil || time.Since(start) > time.Minute {
			t.Fatalf("%v after %v: the token request has its own end", err, time.Since(start))
		}
	})
}
