package behavioralsignals_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/internal/call"
	"ingestd/internal/sandbox"
	"ingestd/internal/sandbox/pipenet"
	"ingestd/internal/senders"
)

// Questions that wait at the same time share one reading, which begins after
// the last of them was asked and reaches back to the earliest beginning.
func TestQuestionsShareReadings(t *testing.T) {
	c := config(t, "v5", "http://127.0.0.1:80")
	synctest.Test(t, func(t *testing.T) {
		blocked := make(chan struct{})
		l := &lister{date: time.Now(), page: func(q url.Values) string {
			<-blocked
			if q.Get("page") != "0" {
				return "[]"
			}
			return `[{"pid":3,"name":"key-3"},{"pid":5,"name":"key-5"},{"pid":7,"name":"key-5"}]`
		}}
		ln := pipenet.Listen()
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error)
		go func() { served <- sandbox.Serve(ctx, ln, http.Handler(l)) }()
		s := sender(t, c, senders.Deps{Now: time.Now, Dial: ln.DialContext}).(senders.Reconciler)

		verdicts := make([]senders.Verdict, 8)
		var wg sync.WaitGroup
		ask := func(i int, ctx context.Context) {
			wg.Go(func() {
				it := item()
				it.Delivery = call.Delivery{IdemKey: fmt.Sprintf("key-%d", i)}
				verdicts[i], _ = s.Reconcile(ctx, senders.Attempt{Item: it, Began: time.Now().Add(-time.Duration(i) * 24 * time.Hour)})
			})
		}
		ask(0, t.Context())
		synctest.Wait() // its reading has begun
		gone, leave := context.WithCancel(t.Context())
		ask(1, gone)
		for i := 2; i < len(verdicts); i++ {
			ask(i, t.Context())
		}
		synctest.Wait()
		leave()
		synctest.Wait()
		close(blocked)
		wg.Wait()
		for i, v := range verdicts {
			want := map[int]senders.Outcome{1: senders.Unknown, 3: senders.Present, 5: senders.Present}[i]
			if i != 1 && want == senders.Unknown {
				want = senders.Absent
			}
			if v.Outcome != want || (i == 5) != (v.Duplicates == 1) {
				t.Errorf("question %d: %+v", i, v)
			}
		}
		if n := len(l.asked); n != 8 {
			t.Errorf("%d requests for 8 questions, want two readings of two passes of two pages", n)
		}
		if first, last := l.asked[0].Get("startDate"), l.asked[7].Get("startDate"); first != "1999-12-30" || last != "1999-12-23" {
			t.Errorf("read from %s and from %s", first, last)
		}
		cancel()
		<-served
	})
}
