package watcher

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// openat opens rel below the root and nowhere else. A symbolic link anywhere
// in it is ELOOP, but for O_PATH|O_NOFOLLOW, which opens a last one itself.
func (r *Root) openat(rel string, flags int) (fd int, err error) {
	if !filepath.IsLocal(rel) || strings.IndexByte(rel, 0) >= 0 {
		return -1, refuse("bad_path")
	}
	rel = filepath.Clean(rel) // without "..", the kernel never asks to try again
	flags |= unix.O_CLOEXEC
	err = r.control(func(dir int) (err error) {
		if r.byComponent {
			fd, err = openByComponent(dir, rel, flags, r.id.dev)
			return err
		}
		fd, err = unix.Openat2(dir, rel, &unix.OpenHow{
			Flags: uint64(flags),
			Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS |
				unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
		})
		return err
	})
	return fd, err
}

// openByComponent does what openat2 does, one name at a time, and answers
// with the same error numbers.
func openByComponent(root int, rel string, flags int, dev uint64) (int, error) {
	parts := strings.Split(rel, "/")
	at := root
	for i, name := range parts {
		how := unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC
		last := i == len(parts)-1
		if last {
			how = flags | unix.O_NOFOLLOW
		}
		fd, err := unix.Openat(at, name, how, 0)
		if errors.Is(err, unix.ENOTDIR) {
			var st unix.Stat_t // O_DIRECTORY hides that it is a symbolic link
			if unix.Fstatat(at, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK {
				err = unix.ELOOP
			}
		}
		if at != root {
			_ = unix.Close(at)
		}
		if err != nil {
			return -1, err
		}
		at = fd
		var st unix.Stat_t
		if err = unix.Fstat(fd, &st); err == nil {
			switch mode := st.Mode & unix.S_IFMT; {
			case uint64(st.Dev) != dev:
				err = unix.EXDEV
			case !last && mode == unix.S_IFLNK:
				err = unix.ELOOP
			case !last && mode != unix.S_IFDIR:
				err = unix.ENOTDIR
			}
		}
		if err != nil {
			_ = unix.Close(fd)
			return -1, err
		}
	}
	return at, nil
}

// pathError turns an error number into what the caller can act upon.
func pathError(op, rel string, err error) error {
	var refused *Refused
	switch {
	case errors.As(err, &refused):
		return refused
	case errors.Is(err, unix.ELOOP):
		return refuse("symlink")
	case errors.Is(err, unix.EXDEV):
		return refuse("xdev")
	case errors.Is(err, unix.ENXIO):
		return refuse("not_regular") // a socket that took the file's name
	case errors.Is(err, unix.ENOTDIR):
		err = fs.ErrNotExist // a parent is a file now: this name is gone
	}
	return &fs.PathError{Op: op, Path: rel, Err: err}
}

// retry repeats a call that a signal interrupted.
func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
