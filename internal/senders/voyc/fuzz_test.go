package voyc

import (
	"net/url"
	"reflect"
	"strings"
	"testing"
)

// Whatever step 1 answers: no crash, a target is kept as it was found, and
// none is used that is not https on an allowed host.
func FuzzTarget(f *testing.F) {
	f.Add(`{"id":7,"data":{"url":"https://b.s3.amazonaws.com/","fields":{"key":"k","policy":"eyJleHBpcmF0aW9uIjoiMjAyNi0wMS0wMVQwMDowMDowMFoifQ=="}}}`)
	for address := range addresses() {
		if len(address) < 200 {
			f.Add(`{"upload_url":"` + address + `?X-Amz-Date=20260101T000000Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=1"}`)
		}
	}
	f.Add(`{"signed_url":"https://kept.store.example.org/k?Signature=x&Expires=1","method":"PUT","headers":{"a":"b"}}`)
	f.Fuzz(func(t *testing.T, answer string) {
		root, err := parse([]byte(answer))
		if err != nil {
			return
		}
		_ = root.shape()
		tg := findTarget(root)
		if tg == nil {
			return
		}
		if again := storedTarget(tg.store()); again == nil || again.URL != tg.URL || !reflect.DeepEqual(again.Fields, tg.Fields) || !reflect.DeepEqual(again.Headers, tg.Headers) || !again.Expires.Equal(tg.Expires) {
			t.Fatalf("found %#v, kept %#v", *tg, again)
		}
		if tg.wrong(false, allowed) != "" {
			return
		}
		u, err := url.Parse(tg.URL)
		if err != nil || u.Scheme != "https" || u.User != nil || u.Port() != "" && u.Port() != "443" {
			t.Fatalf("%q is taken: %v", tg.URL, err)
		}
		host := "." + strings.ToLower(u.Hostname())
		if !strings.HasSuffix(host, ".amazonaws.com") && !strings.HasSuffix(host, ".kept.store.example.org") {
			t.Fatalf("%q is taken", tg.URL)
		}
	})
}
