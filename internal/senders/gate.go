package senders

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"sync"
	"sync/atomic"

	"ingestd/internal/failpoint"
)

// TailBytes of media are withheld until COMMITTING is durable. One byte, or
// only the closing delimiter of a multipart body, is not enough: servers that
// stream a part and never read past it would already hold the whole file.
const TailBytes = 1 << 10

var errAttemptOver = errors.New("the attempt ended before the last bytes were released")

// Gate is the request body of a media upload. It streams everything but the
// tail: the last [TailBytes] of media (all of it, if smaller) and whatever
// follows the media. The tail is read into memory, so that the hash covers
// every byte, and released only after, in this order:
//
//  1. the bytes read have the pinned length and SHA-256, and Media.Verify
//     finds the pinned size and modification time on the open descriptor;
//  2. the attempt is still open: neither answered nor cancelled;
//  3. Journal.Committing has returned success.
//
// When one of them fails, Read returns an error, the body stays shorter than
// its Content-Length, and no correct server can accept it.
//
// Gate deliberately has no methods through which net/http or io.Copy could
// take the bytes past it (WriterTo, Seek, a bare file).
type Gate struct {
	media    Media
	size     int64
	sum      string
	journal  Journal
	progress func(int64)

	// Set by Client.Media: the attempt's context, and its stall watchdog.
	ctx   context.Context
	alive func()

	prologue, epilogue []byte

	// Owned by Read, which is never called concurrently with itself.
	hash   hash.Hash
	prefix int64  // media bytes still to stream before the tail
	out    []byte // bytes in memory to hand out next
	stage  stage
	err    error // sticky

	passed atomic.Bool
	sent   atomic.Int64

	mu       sync.Mutex // guards what follows: all of it may change during a Read
	change   sync.Cond
	arriving bool // see answering
	over     bool // see End
	reading  bool
	closing  bool
	closed   chan struct{}
}

type stage int

const (
	atStart stage = iota
	inMedia
	inTail
	atEnd
)

// NewBody returns the gate over media of the given size and lower-case hex
// SHA-256, both as pinned. It owns media and closes it. progress (may be nil)
// is told the length of each piece that is handed out.
func NewBody(media Media, size int64, sha256hex string, j Journal, progress func(int64)) *Gate {
	if progress == nil {
		progress = func(int64) {}
	}
	g := &Gate{
		media: media, size: size, sum: sha256hex, journal: j, progress: progress,
		ctx: context.Background(), alive: func() {},
		hash: sha256.New(), prefix: max(size-TailBytes, 0), closed: make(chan struct{}),
	}
	g.change.L = &g.mu
	return g
}

// Frame puts the media between a prologue and an epilogue, as multipart
// needs: the part headers, and the closing delimiter, which belongs to the
// tail. The media must be the last part.
func (g *Gate) Frame(prologue, epilogue []byte) {
	g.prologue, g.epilogue = prologue, epilogue
}

// Len is the exact Content-Length of the body.
func (g *Gate) Len() int64 {
	return int64(len(g.prologue)) + g.size + int64(len(g.epilogue))
}

// Read implements io.Reader for the transport.
func (g *Gate) Read(p []byte) (int, error) {
	if !g.begin() {
		return 0, errAttemptOver
	}
	defer g.end()
	if g.err != nil {
		return 0, g.err
	}
	n, err := g.read(p)
	if n > 0 {
		g.sent.Add(int64(n))
		g.progress(int64(n))
		g.alive()
	}
	g.err = err
	return n, err
}

func (g *Gate) read(p []byte) (int, error) {
	for {
		if len(g.out) > 0 {
			n := copy(p, g.out)
			g.out = g.out[n:]
			return n, nil
		}
		switch g.stage {
		case atStart:
			g.out, g.stage = g.prologue, inMedia
		case inMedia:
			if g.prefix > 0 {
				return g.readPrefix(p)
			}
			tail, err := g.pass()
			if err != nil {
				return 0, err
			}
			g.out, g.stage = tail, inTail
		case inTail:
			g.stage = atEnd
		default:
			return 0, io.EOF
		}
		if len(p) == 0 {
			return 0, nil
		}
	}
}

func (g *Gate) readPrefix(p []byte) (int, error) {
	n, err := g.media.Read(p[:min(int64(len(p)), g.prefix)])
	g.hash.Write(p[:n])
	g.prefix -= int64(n)
	switch {
	case err == io.EOF && g.prefix > 0:
		return n, changed("it is shorter than it was", nil)
	case err != nil && err != io.EOF:
		return n, unreadable(err)
	}
	return n, nil
}

// pass reads the tail, makes the checks and opens the gate.
func (g *Gate) pass() ([]byte, error) {
	tail := make([]byte, min(g.size, TailBytes), int(min(g.size, TailBytes))+len(g.epilogue))
	if _, err := io.ReadFull(g.media, tail); err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil, changed("it is shorter than it was", nil)
	} else if err != nil {
		return nil, unreadable(err)
	}
	g.hash.Write(tail)
	if err := g.atMediaEnd(); err != nil {
		return nil, err
	}
	if hex.EncodeToString(g.hash.Sum(nil)) != g.sum {
		return nil, changed("its content is not the one that was read first", nil)
	}
	if err := g.media.Verify(); err != nil {
		return nil, changed("its size or modification time changed", err)
	}
	if g.isOver() {
		return nil, errAttemptOver
	}
	if err := failpoint.Hit("gate.before-commit"); err != nil {
		return nil, err
	}
	// Set before the call: while it runs, or when it never returns, the row
	// may already say committing.
	g.passed.Store(true)
	if err := g.journal.Committing(); err != nil {
		g.passed.Store(false)
		return nil, &Error{Class: Incomplete, Code: "ledger", Text: "the ledger could not record that the last bytes go out, so they did not", Err: err}
	}
	if err := failpoint.Hit("gate.before-tail"); err != nil {
		return nil, err
	}
	// The commit may have taken long enough for an answer to arrive. The row
	// says committing now, so Passed stays true; the bytes still stay here.
	if g.isOver() {
		return nil, errAttemptOver
	}
	return append(tail, g.epilogue...), nil
}

// atMediaEnd makes sure that nothing follows the pinned size.
func (g *Gate) atMediaEnd() error {
	var one [1]byte
	switch _, err := io.ReadFull(g.media, one[:]); err {
	case nil:
		return changed("it is longer than it was", nil)
	case io.EOF:
		return nil
	default:
		return unreadable(err)
	}
}

func changed(what string, err error) *Error {
	return &Error{Class: Changed, Code: "file_changed", Text: "the recording changed while it was sent: " + what, Err: err}
}

func unreadable(err error) *Error {
	return &Error{Class: Incomplete, Code: "source_unreadable", Text: "the recording could not be read to its end; check its directory and disk", Err: err}
}
