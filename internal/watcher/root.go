package watcher

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Kind says what a directory entry is.
type Kind uint8

// The kinds of entries. Only Regular can ever be a recording.
const (
	Regular Kind = iota + 1
	Dir
	Symlink
	Other // FIFO, socket or device
)

// String is the kind in lower case, for reasons and tests.
func (k Kind) String() string {
	switch k {
	case Regular:
		return "regular"
	case Dir:
		return "dir"
	case Symlink:
		return "symlink"
	default:
		return "other"
	}
}

// Identity tells one state of one file from every other. Times are
// nanoseconds since 1970. The change time is part of it because a rewrite can
// restore size, inode and modification time, but not the change time.
type Identity struct {
	Dev, Ino uint64
	Size     int64
	MtimeNS  int64
	CtimeNS  int64
}

// Entry is one name in the watched tree. Path is relative to the root with
// "/" between its parts; its bytes are as the kernel gave them, not always
// UTF-8.
type Entry struct {
	Path     string
	Kind     Kind
	Links    uint64 // hard links; more than 1 may be somebody else's file
	Identity Identity
}

// ErrRootLost says that the configured path no longer names the directory
// that was opened: deleted, created anew, unmounted, or stale.
var ErrRootLost = errors.New("watched directory lost")

// Refused is an entry that is not opened, for a reason that looking again
// does not change. Code is one of symlink, not_regular, hardlink, xdev,
// bad_path; Text says what the operator can do, without the path.
type Refused struct{ Code, Text string }

func (r *Refused) Error() string { return r.Code + ": " + r.Text }

func refuse(code string) *Refused {
	texts := map[string]string{
		"symlink":     "symbolic links are never followed; deliver the file itself",
		"not_regular": "this is not a regular file; remove it from the watched directory",
		"hardlink":    "the file has several hard links and may belong to somebody else; deliver a copy",
		"xdev":        "this lies on another file system mounted inside the watched directory; make it a source of its own",
		"bad_path":    "the path leaves the watched directory or cannot be a file name",
	}
	return &Refused{Code: code, Text: texts[code]}
}

// inode is the part of an identity that survives a change of content.
type inode struct{ dev, ino uint64 }

// Root is a held directory. Every access is relative to its descriptor, so
// renaming or replacing a directory above it cannot redirect an access. It is
// safe for concurrent use; after Close every method answers os.ErrClosed.
type Root struct {
	path string
	dir  *os.File
	id   inode
	// byComponent replaces openat2 where the kernel (before 5.6) or a system
	// call filter does not have it. It finds a mount point only by its device
	// number, so a bind mount from the same file system is crossed.
	byComponent bool
}

// OpenRoot opens the directory path and holds it. The path itself may be a
// symbolic link: it comes from the operator.
func OpenRoot(path string) (*Root, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("watched directory %q: %w", path, err)
	}
	dir, err := os.OpenFile(abs, os.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("watched directory: %w", err)
	}
	r := &Root{path: abs, dir: dir}
	st, err := r.fstat()
	if err != nil {
		_ = dir.Close()
		return nil, err
	}
	r.id = inode{uint64(st.Dev), st.Ino}
	fd, err := r.openat(".", unix.O_PATH)
	switch {
	case err == nil:
		_ = unix.Close(fd)
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM):
		r.byComponent = true
	default:
		_ = dir.Close()
		return nil, fmt.Errorf("watched directory %q: %w", abs, err)
	}
	return r, nil
}

// Path is the absolute path the root was opened by.
func (r *Root) Path() string { return r.path }

// Close gives the directory back. Files opened through the root stay open.
func (r *Root) Close() error { return r.dir.Close() }

// Check answers nil while the path still names the held directory, else an
// error that is ErrRootLost and the cause.
func (r *Root) Check() error {
	held, err := r.fstat()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRootLost, err)
	}
	var named unix.Stat_t
	if err := retry(func() error { return unix.Stat(r.path, &named) }); err != nil {
		return fmt.Errorf("%w: stat %q: %w", ErrRootLost, r.path, err)
	}
	if named.Dev != held.Dev || named.Ino != held.Ino {
		return fmt.Errorf("%w: %q is another directory now", ErrRootLost, r.path)
	}
	return nil
}

// Stat looks at one entry without opening it. A missing entry is
// fs.ErrNotExist, a path through a symbolic link or a mount point a *Refused.
func (r *Root) Stat(rel string) (Entry, error) {
	fd, err := r.openat(rel, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return Entry{}, pathError("stat", rel, err)
	}
	defer func() { _ = unix.Close(fd) }()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return Entry{}, pathError("stat", rel, err)
	}
	return entry(rel, &st), nil
}

// Open opens a regular file for reading. Everything else is a *Refused: a
// symbolic link, a FIFO, a file with several hard links, a mount point. The
// entry describes the open file, whatever the name means by now.
func (r *Root) Open(rel string) (*os.File, Entry, error) {
	f, e, err := r.openRegular(rel)
	if err == nil && e.Links > 1 {
		_ = f.Close()
		return nil, e, refuse("hardlink")
	}
	return f, e, err
}

func (r *Root) openRegular(rel string) (*os.File, Entry, error) {
	// Looking first keeps a device or FIFO from noticing us at all; O_NONBLOCK
	// and the second look cover a name that changed between the two calls.
	e, err := r.Stat(rel)
	if err != nil {
		return nil, e, err
	}
	if err := mustBeRegular(e.Kind); err != nil {
		return nil, e, err
	}
	fd, err := r.openat(rel, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW)
	if err != nil {
		return nil, e, pathError("open", rel, err)
	}
	f := os.NewFile(uintptr(fd), rel)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		_ = f.Close()
		return nil, e, pathError("open", rel, err)
	}
	e = entry(rel, &st)
	if err := mustBeRegular(e.Kind); err != nil {
		_ = f.Close()
		return nil, e, err
	}
	return f, e, nil
}

func mustBeRegular(k Kind) error {
	switch k {
	case Regular:
		return nil
	case Symlink:
		return refuse("symlink")
	default:
		return refuse("not_regular")
	}
}

// parent opens the directory that holds rel, for the *at calls and fsync.
func (r *Root) parent(rel string) (*os.File, string, error) {
	rel = filepath.Clean(rel)
	dir, name := filepath.Split(rel)
	if name == "." || name == ".." {
		return nil, "", refuse("bad_path")
	}
	dir = filepath.Clean("./" + dir)
	fd, err := r.openat(dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, "", pathError("open directory of", rel, err)
	}
	return os.NewFile(uintptr(fd), dir), name, nil
}

func (r *Root) fstat() (unix.Stat_t, error) {
	var st unix.Stat_t
	err := r.control(func(fd int) error { return unix.Fstat(fd, &st) })
	if err != nil {
		return st, fmt.Errorf("watched directory %q: %w", r.path, err)
	}
	return st, nil
}

// control runs fn with the held descriptor, which cannot be closed and given
// to another file meanwhile.
func (r *Root) control(fn func(fd int) error) error {
	raw, err := r.dir.SyscallConn()
	if err != nil {
		return err
	}
	var ferr error
	if err := raw.Control(func(fd uintptr) { ferr = retry(func() error { return fn(int(fd)) }) }); err != nil {
		return fs.ErrClosed // the only failure; the net package's own text would mislead
	}
	return ferr
}

func entry(rel string, st *unix.Stat_t) Entry {
	e := Entry{
		Path: rel, Kind: Other, Links: uint64(st.Nlink),
		Identity: Identity{
			Dev: uint64(st.Dev), Ino: st.Ino, Size: st.Size,
			MtimeNS: st.Mtim.Nano(), CtimeNS: st.Ctim.Nano(),
		},
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		e.Kind = Regular
	case unix.S_IFDIR:
		e.Kind = Dir
	case unix.S_IFLNK:
		e.Kind = Symlink
	}
	return e
}
