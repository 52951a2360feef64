package senders

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	secretShown = "<secret>"
	secretLimit = 64 << 10 // bytes
)

// ErrNoCredentials means that systemd handed no credentials to this process,
// as to a command that a person runs beside the service.
var ErrNoCredentials = errors.New("systemd gave this process no credentials (LoadCredential=), only the service has them")

// Secret is a reference to a credential. It shows itself as "<secret>" in
// every format; only [Secret.Resolve] reads the value, anew at each call, so
// that a rotated file takes effect without a restart.
//
// The reference sits inside a function, because fmt prints unexported fields
// of enclosing structs without asking their methods, and follows pointers for
// verbs that do not fit.
type Secret struct{ ref func() secretRef }

type secretRef struct{ kind, name string }

// UnmarshalText parses "file:PATH", "env:NAME", "cred:NAME" (a systemd
// credential) or "plain:VALUE". Its errors never repeat the text, which may
// be the credential itself.
func (s *Secret) UnmarshalText(text []byte) error {
	kind, name, ok := strings.Cut(string(text), ":")
	switch {
	case !ok || !slices.Contains([]string{"file", "env", "cred", "plain"}, kind):
		return errors.New(`a secret is a reference: "file:PATH", "env:NAME", "cred:NAME", or "plain:VALUE" to have it in the configuration`)
	case name == "":
		return fmt.Errorf("nothing follows %q in the secret", kind+":")
	case kind == "cred" && (strings.ContainsRune(name, '/') || name == "." || name == ".."):
		return errors.New("a systemd credential name has no slash")
	}
	s.ref = func() secretRef { return secretRef{kind, name} }
	return nil
}

// IsZero reports whether no reference was given.
func (s Secret) IsZero() bool { return s.ref == nil }

// Equal compares references, not values.
func (s Secret) Equal(o Secret) bool {
	if s.IsZero() || o.IsZero() {
		return s.IsZero() && o.IsZero()
	}
	return s.ref() == o.ref()
}

// Resolve reads the value. One line end is cut off; an empty value, a control
// character inside or more than 64 KiB is an error. The errors name the
// reference, never the value.
func (s Secret) Resolve() (string, error) {
	if s.ref == nil {
		return "", errors.New("no secret is configured")
	}
	ref := s.ref()
	value := ref.name
	switch ref.kind {
	case "env":
		value = os.Getenv(ref.name)
	case "file", "cred":
		path, err := ref.path()
		if err != nil {
			return "", err
		}
		if value, err = readSecret(path); err != nil {
			return "", fmt.Errorf("read secret: %w", err)
		}
	}
	value = strings.TrimSuffix(strings.TrimSuffix(value, "\n"), "\r")
	if value == "" {
		return "", fmt.Errorf("secret %s is empty or not set", ref)
	}
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", fmt.Errorf("secret %s holds a control character or several lines", ref)
	}
	return value, nil
}

// Inline reports whether the value itself stands in the configuration.
func (s Secret) Inline() bool { return !s.IsZero() && s.ref().kind == "plain" }

// Warning says what is unsafe about where the secret lies, or "".
func (s Secret) Warning() string {
	if s.IsZero() || s.ref().kind != "file" {
		return ""
	}
	path := s.ref().name
	if st, err := os.Stat(path); err == nil && st.Mode().Perm()&0o007 != 0 {
		return fmt.Sprintf("secret file %q can be reached by every user; chmod o= it", path)
	}
	return ""
}

func (r secretRef) path() (string, error) {
	if r.kind == "file" {
		return r.name, nil
	}
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" {
		return "", fmt.Errorf("%w: %s", ErrNoCredentials, r)
	}
	return filepath.Join(dir, r.name), nil
}

// String names where the value lies, which is no secret unless it lies here.
func (r secretRef) String() string {
	if r.kind == "plain" {
		return "plain:..."
	}
	return r.kind + ":" + r.name
}

func readSecret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, secretLimit+1))
	if err == nil && len(b) > secretLimit {
		err = fmt.Errorf("%q is larger than %d bytes", path, secretLimit)
	}
	return string(b), err
}

func (s Secret) String() string               { return secretShown }
func (s Secret) GoString() string             { return secretShown }
func (s Secret) Format(f fmt.State, _ rune)   { _, _ = io.WriteString(f, secretShown) }
func (s Secret) MarshalText() ([]byte, error) { return []byte(secretShown), nil }
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + secretShown + `"`), nil }
func (s Secret) LogValue() slog.Value         { return slog.StringValue(secretShown) }
