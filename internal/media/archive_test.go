package media_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"errors"
	"strings"
	"testing"

	"ingestd/internal/media"
)

// archives returns a zip and a tar with one chat each.
func archives(t *testing.T) map[string][]byte {
	t.Helper()
	chat := []byte(strings.Repeat("agent: hello\n", 500))
	var z, a bytes.Buffer
	zw := zip.NewWriter(&z)
	w, err := zw.Create("chat.json")
	if err == nil {
		_, err = w.Write(chat)
	}
	tw := tar.NewWriter(&a)
	if err := errors.Join(err, zw.Close(), tw.WriteHeader(&tar.Header{Name: "chat.json", Mode: 0o600, Size: int64(len(chat))})); err != nil {
		t.Fatal(err)
	}
	if _, err := tw.Write(chat); err != nil {
		t.Fatal(err)
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{"zip": z.Bytes(), "tar": a.Bytes()}
}

// A whole archive is refused by name, so that who takes archives can; one that
// was cut anywhere is refused without.
func TestArchives(t *testing.T) {
	for kind, b := range archives(t) {
		in, err := probe(b)
		if bad := new(media.Error); !errors.As(err, &bad) || bad.Code != media.Archive || in != (media.Info{Container: kind, Ext: kind}) || !media.IsArchive(in.Container) {
			t.Errorf("%s: %+v, %v", kind, in, err)
		}
		for n := 600; n < len(b); n += 37 {
			in, err := probe(b[:n])
			if bad := new(media.Error); !errors.As(err, &bad) || bad.Code != media.Archive || in.Container != "" {
				// A tar whose second zero block is cut is whole for some writers,
				// but then its length is no multiple of 512.
				t.Fatalf("%s cut to %d of %d: %+v, %v", kind, n, len(b), in, err)
			}
		}
	}
	for _, container := range []string{"", "wav", "gzip"} {
		if media.IsArchive(container) {
			t.Errorf("%q is an archive", container)
		}
	}
}
