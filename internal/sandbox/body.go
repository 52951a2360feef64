package sandbox

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
)

// body takes the bytes of one recording: hash, length, and the file if bodies
// are kept. It never holds more than the caller's buffer.
type body struct {
	sum   hash.Hash
	bytes int64
	file  *os.File // nil: not kept
	kept  string   // path of the whole file
}

// newBody begins a recording. With Options.KeepDir it is kept under a number:
// names and ids are the client's and the vendor's, not file names.
func (b *bench) newBody() (*body, error) {
	in := &body{sum: sha256.New()}
	if b.keepDir == "" {
		return in, nil
	}
	if err := os.MkdirAll(b.keepDir, 0o700); err != nil {
		return nil, err
	}
	in.kept = filepath.Join(b.keepDir, fmt.Sprintf("%08d.media", b.kept.Add(1)))
	file, err := os.OpenFile(in.kept+".part", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	in.file = file
	return in, err
}

func (in *body) Write(p []byte) (int, error) {
	in.bytes += int64(len(p))
	in.sum.Write(p)
	if in.file == nil {
		return len(p), nil
	}
	return in.file.Write(p)
}

// close ends the file; a whole body loses its ending .part. It returns the
// error of the body if there was one, else its own.
func (in *body) close(failed error) error {
	if in.file == nil {
		return failed
	}
	err := in.file.Close()
	if failed != nil {
		return failed
	}
	if err == nil {
		err = os.Rename(in.file.Name(), in.kept)
	}
	return err
}

// path of the kept file; "" if bodies are not kept.
func (in *body) path() string {
	if in.file == nil {
		return ""
	}
	return in.kept
}

var _ io.Writer = (*body)(nil)

// sha256 of the bytes so far, as hex.
func (in *body) sha256() string { return hex.EncodeToString(in.sum.Sum(nil)) }
