package watcher

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"ingestd/internal/failpoint"
)

const maxName = 255 // bytes in a file name on every Linux file system

// ErrReplaced says that another file has the name now; nothing was touched.
var ErrReplaced = errors.New("another file has taken the name")

// is tells whether two identities are of one unchanged file. A change of
// ctime alone (chmod, link, rename) does not make it another. Nor does one of
// the device: a mount may get another number, and a root has one device.
func (id Identity) is(other Identity) bool {
	id.CtimeNS, id.Dev = other.CtimeNS, other.Dev
	return id == other
}

// Move puts the regular file rel at target, an absolute path, if it is still
// the file that want describes (else ErrReplaced), and answers where it lies
// now: target, or target with "-2", "-3" ... before the
// extension where that name was taken. Nothing is ever overwritten. Missing
// directories are made with mode 0700; modification time and permissions stay.
//
// When it answers nil, both directories are on disk. Across file systems the
// file is copied, synced, read back and compared by SHA-256 before the source
// is unlinked. On an error the source is still there, unless final is not
// empty: then the file is at final and only its durability is unproven.
func (r *Root) Move(rel, target string, want Identity) (final string, err error) {
	if !filepath.IsAbs(target) {
		return "", fmt.Errorf("move: target %q is not an absolute path", target)
	}
	e, err := r.Stat(rel)
	if err != nil {
		return "", err
	}
	if err := mustBeRegular(e.Kind); err != nil {
		return "", err
	}
	if !e.Identity.is(want) {
		return "", ErrReplaced
	}
	src, name, err := r.parent(rel)
	if err != nil {
		return "", err
	}
	defer func() { _ = src.Close() }()
	dst, err := openOrMake(filepath.Dir(target))
	if err != nil {
		return "", fmt.Errorf("move: %w", err)
	}
	defer func() { _ = dst.Close() }()

	if err := failpoint.Hit("rename.before"); err != nil {
		return "", err
	}
	placed, err := place(src, name, dst, filepath.Base(target))
	if errors.Is(err, unix.EXDEV) {
		return r.moveAcross(e, src, name, dst, filepath.Base(target))
	}
	if err != nil {
		return "", fmt.Errorf("move %q to %q: %w", rel, target, err)
	}
	final = filepath.Join(dst.Name(), placed)
	if err := failpoint.Hit("rename.after"); err != nil {
		return final, err
	}
	if err := sure(src, name, dst, placed, want); err != nil {
		return "", err
	}
	if err := failpoint.Hit("dirsync.before"); err != nil {
		return final, err
	}
	// The new name first: a power cut may leave both, never neither.
	if err := errors.Join(dst.Sync(), src.Sync()); err != nil {
		return final, fmt.Errorf("move %q to %q: sync directory: %w", rel, final, err)
	}
	return final, nil
}

// sure looks at a renamed file once more: between the look and the rename
// somebody may have put another file under the name. That one goes back.
func sure(src *os.File, name string, dst *os.File, placed string, want Identity) error {
	err := still(dst, placed, want)
	if err == nil {
		return nil
	}
	if back := renameNew(int(dst.Fd()), placed, int(src.Fd()), name); back != nil {
		return errors.Join(ErrReplaced, fmt.Errorf("put it back: %w", back))
	}
	return err
}

// still looks whether a name is the file that want describes.
func still(dir *os.File, name string, want Identity) error {
	var st unix.Stat_t
	if err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return pathError("stat", name, err)
	}
	if !entry(name, &st).Identity.is(want) {
		return ErrReplaced
	}
	return nil
}

// Remove unlinks rel, if it is still the file that want describes (else
// ErrReplaced), and syncs its directory. It takes the file to a name of its
// own first: between a look and an unlink somebody could put another file
// there.
func (r *Root) Remove(rel string, want Identity) error {
	dir, name, err := r.parent(rel)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	mine := fmt.Sprintf(".ingestd-%x-%x.tmp", want.Dev, want.Ino)
	e, err := r.Stat(rel)
	switch {
	case errors.Is(err, fs.ErrNotExist) && still(dir, mine, want) == nil:
		return unlink(dir, mine) // a crash came between the two steps
	case err != nil:
		return err
	case mustBeRegular(e.Kind) != nil:
		return mustBeRegular(e.Kind)
	case !e.Identity.is(want):
		return ErrReplaced
	}
	err = renameNew(int(dir.Fd()), name, int(dir.Fd()), mine)
	if errors.Is(err, unix.EEXIST) {
		// Left by a crash: the same inode cannot lie under both names.
		if err = unlink(dir, mine); err == nil {
			err = renameNew(int(dir.Fd()), name, int(dir.Fd()), mine)
		}
	}
	if err != nil {
		return fmt.Errorf("remove: %w", err)
	}
	if err := sure(dir, name, dir, mine, want); err != nil {
		return err
	}
	return unlink(dir, mine)
}

func unlink(dir *os.File, name string) error {
	if err := retry(func() error { return unix.Unlinkat(int(dir.Fd()), name, 0) }); err != nil {
		return pathError("remove", name, err)
	}
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("remove: sync directory: %w", err)
	}
	return nil
}

// place renames src/name to dst/base or to the first free name after it.
func place(src *os.File, name string, dst *os.File, base string) (string, error) {
	for n := 1; ; n++ {
		free := numbered(base, n)
		err := renameNew(int(src.Fd()), name, int(dst.Fd()), free)
		if err == nil {
			return free, nil
		}
		if !errors.Is(err, unix.EEXIST) {
			return "", err
		}
	}
}

// renameNew renames unless the new name exists (EEXIST).
func renameNew(src int, name string, dst int, base string) error {
	err := retry(func() error { return unix.Renameat2(src, name, dst, base, unix.RENAME_NOREPLACE) })
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.ENOTSUP) {
		return err
	}
	// NFS and some FUSE file systems have no such flag: take the name by an
	// exclusive create, which they do have, then rename over our own file.
	return renameReserved(src, name, dst, base)
}

func renameReserved(src int, name string, dst int, base string) error {
	fd, err := unix.Openat(dst, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	_ = unix.Close(fd)
	if err := unix.Renameat(src, name, dst, base); err != nil {
		_ = unix.Unlinkat(dst, base, 0)
		return err
	}
	return nil
}

// numbered is base for n = 1, else base with "-n" before its extension,
// shortened where the name would be too long.
func numbered(base string, n int) string {
	if n == 1 {
		return base
	}
	ext, suffix := filepath.Ext(base), "-"+strconv.Itoa(n)
	stem := base[:len(base)-len(ext)]
	if over := len(stem) + len(suffix) + len(ext) - maxName; over > 0 && over < len(stem) {
		stem = stem[:len(stem)-over]
	}
	return stem + suffix + ext
}

// moveAcross is Move between file systems.
func (r *Root) moveAcross(e Entry, src *os.File, name string, dst *os.File, base string) (final string, err error) {
	in, got, err := r.openRegular(e.Path)
	if err != nil {
		return "", err
	}
	defer func() { _ = in.Close() }()
	// One name per source file: a copy that a crash left is written over by
	// the next try, and two files never share one.
	id := got.Identity
	temp := fmt.Sprintf(".ingestd-%x-%x.tmp", id.Dev, id.Ino)
	if err := copyVerified(in, got, dst, temp); err != nil {
		_ = unix.Unlinkat(int(dst.Fd()), temp, 0)
		return "", fmt.Errorf("copy %q to %q: %w", e.Path, dst.Name(), err)
	}
	placed, err := place(dst, temp, dst, base)
	if err != nil {
		_ = unix.Unlinkat(int(dst.Fd()), temp, 0)
		return "", fmt.Errorf("copy %q to %q: %w", e.Path, dst.Name(), err)
	}
	final = filepath.Join(dst.Name(), placed)
	undo := func() { _ = unix.Unlinkat(int(dst.Fd()), placed, 0) }
	if err := dst.Sync(); err != nil {
		undo()
		return "", fmt.Errorf("copy %q to %q: sync directory: %w", e.Path, final, err)
	}
	// The name must still be the file that was copied, or somebody's new
	// recording would be unlinked.
	now, err := r.Stat(e.Path)
	if err != nil || now.Identity != id {
		undo()
		return "", errors.Join(fmt.Errorf("move %q: the file changed while it was copied", e.Path), err)
	}
	if err := unlink(src, name); err != nil {
		if _, gone := r.Stat(e.Path); errors.Is(gone, fs.ErrNotExist) {
			return final, err
		}
		undo()
		return "", err
	}
	return final, nil
}

// copyVerified writes in to dst/name, syncs it, and reads it back.
func copyVerified(in *os.File, e Entry, dst *os.File, name string) error {
	fd, err := unix.Openat(int(dst.Fd()), name, unix.O_RDWR|unix.O_CREAT|unix.O_TRUNC|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	out := os.NewFile(uintptr(fd), name)
	defer func() { _ = out.Close() }()
	sum, err := copySum(out, in, e.Identity.Size)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(in.Fd()), &st); err != nil {
		return err
	}
	if entry(e.Path, &st).Identity != e.Identity {
		return errors.New("the file changed while it was copied")
	}
	if err := out.Chmod(fs.FileMode(st.Mode & 0o777)); err != nil {
		return err
	}
	times := []unix.Timespec{unix.NsecToTimespec(st.Atim.Nano()), unix.NsecToTimespec(st.Mtim.Nano())}
	if err := unix.UtimesNanoAt(int(dst.Fd()), name, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if err := out.Sync(); err != nil {
		return err
	}
	// Out of the page cache, so that the comparison reads the disk.
	_ = unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED)
	if _, err := out.Seek(0, io.SeekStart); err != nil {
		return err
	}
	back, err := copySum(io.Discard, out, e.Identity.Size)
	if err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	if back != sum {
		return errors.New("read back: the copy differs from the file")
	}
	return nil
}

// copySum copies exactly size bytes and answers their SHA-256.
func copySum(w io.Writer, r io.Reader, size int64) (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, h), r)
	if err != nil {
		return sum, err
	}
	if n != size {
		return sum, fmt.Errorf("%d bytes instead of %d", n, size)
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}

// openOrMake opens a directory, making it and its parents durably.
func openOrMake(dir string) (*os.File, error) {
	f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	parent := filepath.Dir(dir)
	if parent == dir {
		return nil, err
	}
	up, err := openOrMake(parent)
	if err != nil {
		return nil, err
	}
	defer func() { _ = up.Close() }()
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	if err := up.Sync(); err != nil {
		return nil, fmt.Errorf("sync directory %q: %w", parent, err)
	}
	return os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY, 0)
}
