package senders

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const canary = "canary-4711"

func parseSecret(t *testing.T, text string) Secret {
	t.Helper()
	var s Secret
	if err := s.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSecretShowsNothing(t *testing.T) {
	s := parseSecret(t, "plain:"+canary)
	// hidden is unexported: fmt does not ask the methods of what is inside.
	type config struct {
		Open   Secret
		hidden Secret
	}
	c := config{s, s}
	var log bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(h).Info("x", "secret", s, "config", c, "pointer", &s)
	}
	j, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	text, err := s.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	shown := s.String() + s.GoString() + string(j) + string(text) + log.String()
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if got := fmt.Sprintf(format, s); got != "<secret>" {
			t.Errorf("%s shows %s", format, got)
		}
		for _, v := range []any{s, &s, c, &c, []Secret{s}, map[string]Secret{"a": s}} {
			shown += fmt.Sprintf(format, v)
		}
	}
	if strings.Contains(shown, canary) || strings.Contains(shown, fmt.Sprintf("%x", canary)) {
		t.Fatalf("the secret shows: %s", shown)
	}
	if fmt.Sprint(s) != "<secret>" || string(j) != `{"Open":"\u003csecret\u003e"}` {
		t.Fatalf("%s, %s", s, j)
	}
}

func TestSecretResolve(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	t.Setenv("INGESTD_TEST_SECRET", canary)
	t.Setenv("INGESTD_TEST_EMPTY", "")
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, good := range []string{
		"plain:" + canary, "env:INGESTD_TEST_SECRET", "file:" + write("plain", canary),
		"file:" + write("newline", canary+"\n"), "file:" + write("crlf", canary+"\r\n"), "cred:plain",
	} {
		if got, err := parseSecret(t, good).Resolve(); err != nil || got != canary {
			t.Errorf("%s: %q, %v", good, got, err)
		}
	}
	for _, bad := range []string{
		"env:INGESTD_TEST_EMPTY", "env:INGESTD_TEST_UNSET", "file:" + write("empty", "\n"), "file:" + dir,
		"file:" + write("two", canary+"\n"+canary), "file:" + write("nul", canary+"\x00"),
		"file:" + write("big", strings.Repeat(canary, 10_000)), "file:" + filepath.Join(dir, "none"), "cred:none",
	} {
		_, err := parseSecret(t, bad).Resolve()
		if err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if _, err := (Secret{}).Resolve(); err == nil {
		t.Error("no reference resolves")
	}
	rotating := parseSecret(t, "file:"+write("rotating", "old"))
	write("rotating", "new")
	if got, err := rotating.Resolve(); err != nil || got != "new" {
		t.Errorf("after rotation: %q, %v", got, err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	if _, err := parseSecret(t, "cred:plain").Resolve(); !errors.Is(err, ErrNoCredentials) {
		t.Errorf("without CREDENTIALS_DIRECTORY: %v", err)
	}
}

func TestSecretParse(t *testing.T) {
	for _, bad := range []string{"", canary, "file:", "plain:", "vault:" + canary, "file env:" + canary, "cred:../" + canary, "cred:.."} {
		var s Secret
		err := s.UnmarshalText([]byte(bad))
		if err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	a, b := parseSecret(t, "env:A"), parseSecret(t, "env:A")
	if !a.Equal(b) || a.Equal(parseSecret(t, "env:B")) || a.Equal(Secret{}) || !(Secret{}).Equal(Secret{}) || !(Secret{}).IsZero() || a.IsZero() {
		t.Error("Equal or IsZero is wrong")
	}
}

func TestSecretWarning(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := parseSecret(t, "file:"+path)
	if w := s.Warning(); w != "" {
		t.Fatal(w)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if w := s.Warning(); w == "" {
		t.Fatal("no warning for a secret that everybody reads")
	}
}
