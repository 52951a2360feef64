package watcher

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/fsnotify/fsnotify"
)

// Event says that something happened at an absolute path. Gone is set when
// the name was removed or renamed away.
type Event struct {
	Path string
	Gone bool
}

// Events is a source of hints; the default is fsnotify. Add and Remove may be
// called while another goroutine is in Recv.
type Events interface {
	// Add watches one directory, not those below it. syscall.ENOSPC means that
	// the limit of watches is reached.
	Add(dir string) error
	// Remove ends a watch; one that does not exist is no error.
	Remove(dir string) error
	// Watched lists the directories whose watch is alive. The kernel drops
	// the watch of a directory that was removed or unmounted.
	Watched() []string
	// Recv waits for the next event. ErrOverflow means that some were lost;
	// after any other error no event comes any more.
	Recv(ctx context.Context) (Event, error)
	Close() error
}

// ErrOverflow says that events came faster than they were taken.
var ErrOverflow = errors.New("event queue overflow")

// inotify is fsnotify behind Events.
type inotify struct{ *fsnotify.Watcher }

var _ Events = inotify{}

func newInotify() (Events, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	return inotify{w}, nil
}

func (i inotify) Remove(dir string) error {
	err := i.Watcher.Remove(dir)
	if errors.Is(err, fsnotify.ErrNonExistentWatch) || errors.Is(err, syscall.EINVAL) {
		return nil // the kernel was faster
	}
	return err
}

func (i inotify) Watched() []string { return i.WatchList() }

func (i inotify) Recv(ctx context.Context) (Event, error) {
	select {
	case <-ctx.Done():
		return Event{}, ctx.Err()
	case e, ok := <-i.Events:
		if !ok {
			return Event{}, fsnotify.ErrClosed
		}
		gone := e.Has(fsnotify.Remove) || e.Has(fsnotify.Rename)
		return Event{Path: e.Name, Gone: gone && !e.Has(fsnotify.Create)}, nil
	case err, ok := <-i.Errors:
		switch {
		case !ok:
			return Event{}, fsnotify.ErrClosed
		case errors.Is(err, fsnotify.ErrEventOverflow):
			return Event{}, ErrOverflow
		}
		return Event{}, err
	}
}

// limit explains an error that means "no more watches" and is empty for any
// other. The kernel's own words for it are about a full disk or open files.
func limit(err error) string {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.ENOMEM):
		return "inotify watch limit reached: raise the sysctl fs.inotify.max_user_watches"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return "inotify instance limit reached: raise the sysctl fs.inotify.max_user_instances or the limit of open files"
	}
	return ""
}

// watchError puts limit's sentence before an error that has one.
func watchError(err error) string {
	if text := limit(err); text != "" {
		return text
	}
	return fmt.Sprintf("events cannot be had: %v", err)
}
