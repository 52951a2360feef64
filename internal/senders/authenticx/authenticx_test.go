package authenticx_test

import (
	"testing"

	"ingestd/internal/senders/authenticx"
)

func sender(t *testing.T, c authenticx.Config, d authenticx.Deps) *authenticx.Client {
	t.Helper()
	s, err := authenticx.New(c, d)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
