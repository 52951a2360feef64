package voyc_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"ingestd/internal/call"
	"ingestd/internal/senders"
)

// The form's fields go out as they came, which is no order that a map or an
// encoder would choose, and byte for byte; the file is last.
func TestFormKeepsItsOrder(t *testing.T) {
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/bucket" {
			fmt.Fprintf(w, `{"data":{"s3":{"fields":{"z":"1","policy":%q,"a":"ä \u0026 \"q\" \r\n--x","key":"k/${filename}","m":7},"url":"http://%s/bucket"}}}`,
				policy(time.Now().Add(time.Hour)), r.Host)
			return
		}
		if r.Header.Get("Authorization") != "" {
			t.Error("the token was sent to the storage")
		}
		form, err := r.MultipartReader()
		for err == nil {
			part, e := form.NextRawPart()
			if err = e; e == nil {
				b, _ := io.ReadAll(part)
				got = append(got, fmt.Sprintf("%s=%s=%s", part.FormName(), part.FileName(), b[:min(len(b), 20)]))
			}
		}
		w.Header().Set("ETag", `"not-an-md5-1"`)
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(server.Close)
	data := bytes.Repeat([]byte("r"), 20)
	r, e := send(t, sender(t, config(t, server.URL), senders.Deps{}), item(), data, kept{}, false)
	if e != nil || r.IDs["etag"] != "not-an-md5-1" {
		t.Fatalf("%+v, %v", r, e)
	}
	got = slices.DeleteFunc(got, func(s string) bool { return strings.HasPrefix(s, "policy") })
	want := []string{"z==1", "a==ä & \"q\" \r\n--x", "key==k/${filename}", "m==7", "file=abcdefghijklmnopqrstuvwxyz.wav=" + string(data)}
	if !slices.Equal(got, want) {
		t.Errorf("parts %q\nwant  %q", got, want)
	}
}

// One place for two recordings: the second would replace the first.
func TestPlaceGivenTwice(t *testing.T) {
	var base string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("ETag", `"x-1"`)
			return
		}
		// Signed anew, for the same place.
		fmt.Fprintf(w, `{"upload_url":%q}`, putURL(base, 1, time.Now().Add(-time.Minute), time.Hour)+fmt.Sprint(time.Now().UnixNano()))
	}))
	t.Cleanup(server.Close)
	base = server.URL
	s := sender(t, config(t, base), senders.Deps{})
	if _, e := send(t, s, item(), recording(100), kept{}, false); e != nil {
		t.Fatal(e)
	}
	other := item()
	other.Delivery = call.DeliveryOf("zyxwvutsrqponmlkjihgfedcba")
	if _, e := send(t, s, other, recording(200), kept{}, false); e == nil || e.Class != senders.Held || e.Code != "foreign_id" {
		t.Fatalf("%v", e)
	}
}
