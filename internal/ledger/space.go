package ledger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	ballastName = "ledger.ballast"
	ballastSize = 32 << 20  // bytes kept back for the day the disk is full
	spaceFloor  = 16 << 20  // bytes: below this SQLite is not opened (SIGBUS in -shm)
	spaceLow    = 256 << 20 // bytes: below this nothing new is begun
)

// fsKinds are the file systems on which SQLite's WAL and locks do not hold.
var fsKinds = map[int64]string{
	0x6969:     "NFS",
	0x517b:     "SMB",
	0xff534d42: "CIFS",
	0xfe534d42: "SMB2",
	0x65735546: "FUSE",
	0x01021997: "9P",
	0x00c36400: "Ceph",
	0x5346414f: "AFS",
	0x47504653: "GPFS",
	0x0bd00bd0: "Lustre",
	0x7461636f: "OCFS2",
	0x01161970: "GFS2",
	0x786f4256: "VirtualBox shared folders",
	0xbacbacbc: "VMware shared folders",
}

// networkFS names the network or FUSE file system that holds a directory, or
// "".
func networkFS(dir string) (string, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return "", fmt.Errorf("ask for the file system of %s: %w", dir, err)
	}
	return fsKinds[int64(s.Type)&0xffffffff], nil // some architectures sign-extend the number
}

// freeSpace returns the bytes that an ordinary user may still write, and the
// size of the file system.
func freeSpace(dir string) (free, size uint64, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, 0, fmt.Errorf("ask for the file system of %s: %w", dir, err)
	}
	return s.Bavail * uint64(s.Bsize), s.Blocks * uint64(s.Bsize), nil
}

// lowMark is the watermark of a file system of this size in bytes: below it
// nothing new is begun. 256 MiB or 5 %, whichever is more; but no more than a
// quarter of a small file system, and 2 GiB of a large one.
func lowMark(size uint64) uint64 {
	return max(min(spaceLow, size/4), min(size/20, 2<<30))
}

// SpaceMissing returns how many bytes must become free in a ledger's directory
// before a daemon begins anything new; 0: none.
func SpaceMissing(dir string) (uint64, error) {
	free, size, err := freeSpace(dir)
	if low := lowMark(size); err == nil && free < low {
		return low - free, nil
	}
	return 0, err
}

// needSpace gives the ballast back when less than 16 MiB are free, and
// refuses if that is not enough: a WAL ledger on a full file system can kill
// the process.
func needSpace(dir string, free func(string) (uint64, uint64, error)) error {
	n, _, err := free(dir)
	if err != nil || n >= spaceFloor {
		return err
	}
	if err := removeBallast(dir); err != nil {
		return err
	}
	if n, _, err = free(dir); err != nil || n >= spaceFloor {
		return err
	}
	return &OpenError{
		Text: fmt.Sprintf("only %d MiB are free on the file system of %s", n>>20, dir),
		Hint: "free at least 16 MiB there; the ledger is not opened on a full disk",
	}
}

func removeBallast(dir string) error {
	err := os.Remove(filepath.Join(dir, ballastName))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("give the ballast back: %w", err)
	}
	return nil
}

// makeBallast allocates the ballast unless it is there or would make space
// low.
func makeBallast(dir string, space func(string) (uint64, uint64, error)) error {
	name := filepath.Join(dir, ballastName)
	if info, err := os.Stat(name); err == nil && info.Size() == ballastSize {
		return nil
	}
	free, size, err := space(dir)
	if low := lowMark(size); err != nil || free < low+low/8+ballastSize {
		return err
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("make ballast: %w", err)
	}
	defer f.Close()
	if err := unix.Fallocate(int(f.Fd()), 0, 0, ballastSize); err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		return errors.Join(fmt.Errorf("make ballast: %w", err), removeBallast(dir))
	}
	return nil
}
